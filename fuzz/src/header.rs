//! Heads of requests: which address and credential are believed, and that nothing an upstream could
//! take for the gateway's word is left.

use std::net::{IpAddr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use ipnet::IpNet;
use portcullis::web::authority::Authority;
use portcullis::web::client::client;
use portcullis::web::headers::{
    AnswerFields, Authorization, Hygiene, Separator, authorization, encode_value, is_navigation,
    is_websocket, sanitise_request,
};
use portcullis::web::origin::{Origin, Scheme, listed_origin, site_of, site_of_websocket};

/// Name and value of each field, in order.
type Fields = Vec<(String, Vec<u8>)>;

/// Checks a head, a field a line.
pub fn check(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            // As many as a request may have.
            if headers.len() < 100 {
                headers.append(name, value);
            }
        }
    }
    check_client(&headers);
    check_authorization(&headers);
    check_intent(&headers);
    check_values(&headers);
    check_answer(&headers);
    check_request(headers);
}

fn lines(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}

// ---- the client's address ----

fn trusted() -> [IpNet; 2] {
    ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"))
}

fn is_trusted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.octets()[0] == 0xfd,
    }
}

fn check_client(headers: &HeaderMap) {
    for peer in ["203.0.113.9", "::ffff:203.0.113.9", "2001:db8::9"] {
        let peer: IpAddr = peer.parse().expect("an address");
        let found = client(peer, Scheme::Http, headers, &trusted()).expect("nothing is read");
        assert_eq!(found.address, Some(unmapped(peer)), "a stranger is believed");
        assert_eq!((found.scheme, found.peer_is_trusted), (Scheme::Http, false));
    }
    for peer in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1"] {
        let peer: IpAddr = peer.parse().expect("an address");
        let found = client(peer, Scheme::Http, headers, &trusted());
        let (hops, scheme) = (said_hops(headers), said_scheme(headers));
        match (hops, scheme) {
            (Some(hops), Some(scheme)) => {
                let found = found.expect("all of it parses");
                let last = hops.into_iter().rev().find(|hop| !is_trusted(*hop));
                assert_eq!((found.address, found.scheme), (last, scheme));
                assert!(found.peer_is_trusted);
            }
            _ => assert!(found.is_err(), "{found:?} of {:?}", lines(headers, "x-forwarded-for")),
        }
    }
}

fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Every hop that a trusted proxy names; `None` if one is no address, or there are more than 64.
fn said_hops(headers: &HeaderMap) -> Option<Vec<IpAddr>> {
    let said = lines(headers, "x-forwarded-for");
    if said.is_empty() {
        return Some(Vec::new());
    }
    let said = String::from_utf8(said.join(&b","[..])).ok()?;
    let hops: Option<Vec<IpAddr>> =
        said.split(',').map(|hop| read_hop(hop.trim_matches([' ', '\t']))).collect();
    hops.filter(|hops| hops.len() <= 64)
}

fn read_hop(hop: &str) -> Option<IpAddr> {
    if hop.contains('%') {
        return None; // No zone means anything here.
    }
    let plain = hop.parse::<IpAddr>().ok();
    let four = || hop.parse::<SocketAddrV4>().ok().map(|hop| IpAddr::V4(*hop.ip()));
    let six = || hop.parse::<SocketAddrV6>().ok().map(|hop| IpAddr::V6(*hop.ip()));
    let bracketed = || {
        let inner = hop.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    plain.or_else(four).or_else(six).or_else(bracketed).map(unmapped)
}

fn said_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let said = lines(headers, "x-forwarded-proto");
    match said.first().map(Vec::as_slice) {
        Some(first) if said.iter().any(|other| other != first) => None,
        None | Some(b"http") => Some(Scheme::Http),
        Some(b"https") => Some(Scheme::Https),
        Some(_) => None,
    }
}

// ---- credentials ----

fn check_authorization(headers: &HeaderMap) {
    let fields = lines(headers, "authorization");
    let found = authorization(headers);
    match fields.as_slice() {
        [] => assert!(found == Authorization::NotOurs),
        [field] => {
            let text = String::from_utf8_lossy(field);
            let mut words = text.split_ascii_whitespace();
            let is_bearer = words.next().is_some_and(|word| word.eq_ignore_ascii_case("bearer"));
            let token = words.next().unwrap_or_default();
            if is_bearer && token.starts_with("pc_") {
                assert!(matches!(&found, Authorization::Ours(own) if own.starts_with(token)));
            }
            match found {
                Authorization::Ours(own) => {
                    assert!(is_bearer, "{text:?}");
                    assert!(own.starts_with("pc_") || own.contains('.'), "{text:?}");
                    assert!(text.ends_with(&own), "{text:?}");
                }
                Authorization::NotOurs => {}
                Authorization::Several => panic!("one field is not several"),
            }
        }
        _ => assert!(found == Authorization::Several),
    }
}

fn check_intent(headers: &HeaderMap) {
    let upgrades = lines(headers, "upgrade");
    let is_one = upgrades.len() == 1 && upgrades[0].eq_ignore_ascii_case(b"websocket");
    if is_websocket(&Method::GET, headers) {
        assert!(is_one && headers.contains_key("connection"));
    }
    assert!(!is_websocket(&Method::POST, headers));
    let modes = lines(headers, "sec-fetch-mode");
    if !modes.is_empty() {
        assert_eq!(is_navigation(&Method::GET, headers), modes == [b"navigate".to_vec()]);
    }
    for host in lines(headers, "host") {
        let Ok(authority) = Authority::parse(&host) else { continue };
        assert_eq!(authority.received().as_bytes(), host);
        let again = Authority::parse(authority.host().as_str().as_bytes());
        assert_eq!(again.map(|again| again.host().clone()), Ok(authority.host().clone()));
        check_origin(headers, &Origin::of_request(Scheme::Http, &authority));
    }
    let _one_host_or_none = Authority::of_request(&Uri::from_static("/"), headers);
}

/// Only an `Origin` that spells the one listed is taken for it.
fn check_origin(headers: &HeaderMap, own: &Origin) {
    let listed = [Origin::parse("https://app.example.org").expect("an origin")];
    let said = lines(headers, "origin");
    if let Some(found) = listed_origin(headers, &listed) {
        assert_eq!(found, &listed[0]);
        let text = String::from_utf8_lossy(&said[0]).to_ascii_lowercase();
        assert!(said.len() == 1 && text.starts_with("https://app.example.org"), "{said:?}");
        let rest = &text["https://app.example.org".len()..];
        assert!(
            ["", "/", ".", ":443", ".:443", "./", ":443/", ".:443/"].contains(&rest),
            "{said:?}"
        );
    }
    let _site = (site_of(headers, own, &listed), site_of_websocket(headers, own, &listed));
}

// ---- what is set ----

/// However hostile the items of a list are, as many arrive as were sent, each as it was.
fn check_values(headers: &HeaderMap) {
    let values: Vec<&str> =
        headers.values().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()).collect();
    for separator in [Separator::Comma, Separator::Pipe, Separator::Space] {
        let encoded: Vec<String> =
            values.iter().map(|value| encode_value(value, Some(separator))).collect();
        let mark = match separator {
            Separator::Comma => ",",
            Separator::Pipe => "|",
            Separator::Space => " ",
        };
        let sent = encoded.join(mark);
        assert!(sent.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{sent:?}");
        let arrived: Vec<Vec<u8>> = sent.split(mark).map(decode).collect();
        let meant: Vec<Vec<u8>> = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        assert!(arrived == meant || values.is_empty(), "{arrived:?}, not {meant:?}");
    }
}

fn decode(text: &str) -> Vec<u8> {
    let mut pieces = text.split('%');
    let mut decoded = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).expect("two digits");
        decoded.push(u8::from_str_radix(digits, 16).expect("hexadecimal digits"));
        decoded.extend_from_slice(&piece.as_bytes()[2..]);
    }
    decoded
}

// ---- what is taken out ----

const FAMILIES: [&str; 9] = [
    "x-auth-",
    "remote-",
    "x-remote-",
    "x-webauth-",
    "x-forwarded-",
    "x-original-",
    "x-rewrite-",
    "x-envoy-original-",
    "proxy-",
];

const NAMES: [&str; 20] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "connection",
    "keep-alive",
    "proxy",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "x-team",
];

const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What no `Connection` may name: what frames, authenticates, or is judged by.
const NEVER_NAMED: [&str; 7] =
    ["authorization", "content-length", "cookie", "host", "transfer-encoding", "origin", "referer"];

const PERMITTED: [&str; 2] = ["x-auth-token", "x_tenant"];

fn check_request(mut headers: HeaderMap) {
    let hygiene = Hygiene {
        identity: vec!["x-team".to_owned()],
        permitted: PERMITTED.map(str::to_owned).to_vec(),
    };
    let before = fields(&headers);
    let named = named_by_connection(&headers);
    let is_sound = is_framed(&headers)
        && named.iter().all(|name| {
            HeaderName::from_bytes(name.as_bytes()).is_ok()
                && !NEVER_NAMED.contains(&name.as_str())
                && !name.starts_with("sec-fetch-")
        });
    let done = portcullis::web::headers::check_request(&headers)
        .and_then(|checked| sanitise_request(&mut headers, &hygiene, &checked));
    assert_eq!(done.is_ok(), is_sound, "{before:?}");
    if done.is_err() {
        return;
    }
    let kept: Fields =
        before.into_iter().filter(|(name, _)| !must_go(name) && !named.contains(name)).collect();
    assert_eq!(fields(&headers), kept);
}

/// Whether a name is one an upstream may trust, in any spelling, or one it could confuse with such.
fn must_go(name: &str) -> bool {
    let folded: String = name
        .chars()
        .map(
            |letter| if letter == '_' || letter == '.' { '-' } else { letter.to_ascii_lowercase() },
        )
        .collect();
    let is_known = NAMES.contains(&folded.as_str())
        || FAMILIES.iter().any(|family| folded.starts_with(family));
    (is_known || name.contains(['_', '.'])) && !PERMITTED.contains(&name)
}

/// What `Connection` names, in lower case. `close` and `keep-alive` are no names.
fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    let said = lines(headers, "connection");
    let tokens = said.iter().flat_map(|line| line.split(|byte| *byte == b','));
    let tokens =
        tokens.map(|token| String::from_utf8_lossy(token.trim_ascii()).to_ascii_lowercase());
    tokens.filter(|token| !["", "close", "keep-alive"].contains(&token.as_str())).collect()
}

/// RFC 9112 section 6, strictly: one `chunked` or nothing, one plain decimal or nothing.
fn is_framed(headers: &HeaderMap) -> bool {
    let (codings, lengths) =
        (lines(headers, "transfer-encoding"), lines(headers, "content-length"));
    let is_chunked = match codings.as_slice() {
        [] => true,
        [coding] => coding.eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    let is_number = match lengths.as_slice() {
        [] => true,
        [length] => {
            let text = String::from_utf8_lossy(length);
            text.len() < 20 && text.parse::<u64>().is_ok_and(|number| number.to_string() == text)
        }
        _ => false,
    };
    is_chunked && is_number
}

fn check_answer(headers: &HeaderMap) {
    let mut answer = AnswerFields::with_capacity(0);
    for (name, value) in headers {
        answer.push(name.clone(), value.clone());
    }
    let left = answer.finish();
    let named = named_by_connection(headers);
    let goes = |name: &str| {
        HOP_BY_HOP.contains(&name)
            || name.starts_with("proxy-")
            || (named.iter().any(|named| named == name)
                && !["authorization", "content-length", "cookie", "host"].contains(&name))
    };
    let kept: Fields = fields(headers).into_iter().filter(|(name, _)| !goes(name)).collect();
    assert_eq!(fields(&left), kept);
}

/// The fields in the order of their names, those of one name in the order they came.
fn fields(headers: &HeaderMap) -> Fields {
    let mut all: Fields = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}
