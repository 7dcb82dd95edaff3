//! No head makes somebody of anybody, moves a client, or carries a credential of the gateway's to an
//! application: told from the recorded bytes.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::parsers::{Read, by_httparse, check_agreement};
use super::{Line, recorded, samples, shown};
use crate::harness::{Gateway, report};
use crate::upstream::Upstream;

const CASES: usize = 1_200;
/// One whom the configuration trusts, and one whom it does not.
const PEERS: [&str; 2] = ["127.0.0.1", "127.0.0.2"];

const YAML: &str = r#"
trusted_proxies: ["127.0.0.1/32", "10.0.0.0/8"]
upstreams:
  app: { targets: ["${APP}"], permit_headers: ["X-Auth-Token", "x_tenant"] }
identity: { preset: portcullis, headers: { X-Team: organization } }
routes:
  - { path: "/public/**", upstream: app, allow: public }
  - { path: "/open/**", upstream: app, allow: optional }
  - { path: "/me/**", upstream: app, allow: authenticated }
  - { path: "/mail/**", upstream: app, allow: optional, identity: { preset: remote-user } }
"#;

const AREAS: [&str; 4] = ["public", "open", "me", "mail"];

/// Header names that applications take the word of, or that steer a request.
const TRUSTED: &str = "
    X-Auth-User-Id X-Auth-Email X-Auth-Name X-Auth-Roles X-Auth-Permissions X-Auth-Email-Verified
    X-Auth-Permissions-Expanded X-Auth-Request-User X-Auth-Anything X-Auth-Token Remote-User Remote-Email
    Remote-Groups Remote-Addr X-Remote-User X-Remote-Groups X-WEBAUTH-USER X-WEBAUTH-ROLE
    X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups X-Forwarded-Host X-Forwarded-Port
    X-Forwarded-Prefix X-Forwarded-Server X-Forwarded-Ssl X-Team Forwarded X-Original-URL X-Original-Host
    X-Rewrite-URL X-Envoy-Original-Path X-Real-IP X-Client-IP X-Cluster-Client-IP True-Client-IP
    CF-Connecting-IP Fastly-Client-IP X-HTTP-Method-Override X-HTTP-Method X-Method-Override
    Proxy-Authorization Proxy X-Tenant
";
/// Folded names that only the gateway may set, or nobody: beginnings, and whole ones.
const FAMILIES: &str = "
    x-auth- remote- x-remote- x-webauth- x-forwarded- x-original- x-rewrite- x-envoy-original- proxy-
";
const EXACT: &str = "
    x-team forwarded x-real-ip x-client-ip x-cluster-client-ip true-client-ip cf-connecting-ip
    fastly-client-ip x-http-method-override x-http-method x-method-override proxy
    connection keep-alive te trailer transfer-encoding upgrade
";

/// What a hop of `X-Forwarded-For` says: the address it is, or nothing that can be read.
const HOPS: [(&str, Option<&str>); 26] = [
    ("203.0.113.9", Some("203.0.113.9")),
    ("203.0.113.9", Some("203.0.113.9")),
    ("10.1.1.1", Some("10.1.1.1")),
    ("10.2.2.2", Some("10.2.2.2")),
    ("127.0.0.1", Some("127.0.0.1")),
    ("127.0.0.2", Some("127.0.0.2")),
    ("2001:db8::1", Some("2001:db8::1")),
    ("[2001:db8::2]:443", Some("2001:db8::2")),
    ("203.0.113.8:80", Some("203.0.113.8")),
    ("::ffff:203.0.113.7", Some("203.0.113.7")),
    ("\t203.0.113.6 ", Some("203.0.113.6")),
    ("::ffff:10.3.3.3", Some("10.3.3.3")),
    ("unknown", None),
    ("", None),
    ("_hidden", None),
    ("1.2.3", None),
    ("0x7f.0.0.1", None),
    ("010.1.1.1", None),
    ("\"203.0.113.9\"", None),
    ("203.0.113.9 10.1.1.1", None),
    ("203.0.113.9;10.1.1.1", None),
    ("[::1", None),
    ("1.2.3.4:", None),
    ("1.2.3.4:99999", None),
    ("\u{e9}", None),
    ("for=203.0.113.9", None),
];
const PROTOS: [(&str, bool); 7] = [
    ("http", true),
    ("https", true),
    ("https", true),
    ("HTTPS", false),
    ("https,http", false),
    ("ftp", false),
    ("", false),
];

/// Names by which a cookie could be taken for the gateway's. `{own}` stands for the real value.
const OWN: [&[u8]; 9] = [
    b"portcullis={own}",
    b"portcullis={own}",
    b"__Host-portcullis={own}",
    b"__Secure-portcullis={own}",
    b"portcullis-flow={own}",
    b" \tportcullis={own}\t",
    b"=portcullis={own}",
    b"__hOST-portcullis={own}",
    b"portcullis=",
];
const OTHER: [&[u8]; 20] = [
    b"theme=dark",
    b"a=b=c",
    b"portcullisx=1",
    b"Portcullis=1",
    b"xportcullis=1",
    b"a=\"portcullis\"",
    b"\"portcullis\"=1",
    b"portcullis=forged",
    b"portcullis=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    b"",
    b"=",
    b"a",
    b"a=\xff\xfe",
    b"\xe2\x80\x80portcullis=1",
    b"\x85portcullis=1",
    b"\xa0a=1",
    b"$Version=1",
    b"a=b,c=d",
    b"a={}[]<>",
    b"portcullis%3D1=1",
];
const BETWEEN: [&[u8]; 6] = [b"; ", b";", b";;", b" ;\t", b"; ; ", b";\t"];

const AUTHORIZATIONS: [&str; 9] = [
    "Bearer {bearer}",
    "Bearer {bearer}",
    "Bearer pc_forged",
    "bearer pc_forged",
    "Basic YTpi",
    "Bearer of-the-application",
    "Bearer eyJhbGciOiJFZERTQSIsImtpZCI6InBjLTAwMDAwMDAwIn0.e30.AAAA",
    "",
    "pc_forged",
];
const CONNECTIONS: [&str; 11] = [
    "keep-alive",
    "close",
    "X-Auth-User-Id",
    "x-forwarded-for",
    "X-Request-Id, X-Forwarded-Host",
    "cookie",
    "authorization",
    "@@",
    ",,",
    "upgrade",
    "remote-user , x-team",
];

/// A header line, its value with marks for real credentials.
type Field = (String, Vec<u8>);

fn respelled(name: &'static str) -> impl Strategy<Value = String> {
    let change = (any::<Index>(), select(&["_", ".", "case", "case"][..]));
    prop::collection::vec(change, 0..4).prop_map(move |changes| {
        let mut name = name.as_bytes().to_vec();
        for (at, to) in changes {
            let at = at.index(name.len());
            match (name[at], to) {
                (b'-', "_") => name[at] = b'_',
                (b'-', ".") => name[at] = b'.',
                (byte, _) if byte.is_ascii_lowercase() => name[at] = byte.to_ascii_uppercase(),
                (byte, _) => name[at] = byte.to_ascii_lowercase(),
            }
        }
        String::from_utf8(name).unwrap()
    })
}

fn field() -> impl Strategy<Value = Field> {
    let joined = |name: &'static str, parts: Vec<&str>, between: &str| {
        (name.to_owned(), parts.join(between).into_bytes())
    };
    let cookie = prop::collection::vec(
        (prop_oneof![1 => select(&OWN[..]), 2 => select(&OTHER[..])], select(&BETWEEN[..])),
        1..5,
    );
    let hops = prop_oneof![3 => select(&HOPS[..12]), 1 => select(&HOPS[..])];
    let hops = prop::collection::vec(hops, 1..4);
    let value = select(&["root", "admin", "1", "10.1.1.1", "/admin", "\u{e9}", "x\u{1}"][..]);
    prop_oneof![
        5 => (select(TRUSTED.split_whitespace().collect::<Vec<_>>()).prop_flat_map(respelled), value)
            .prop_map(|(name, value)| (name, value.as_bytes().to_vec())),
        4 => (select(&["Cookie", "cookie", "COOKIE"][..]), cookie).prop_map(|(name, pairs)| {
            (name.to_owned(), pairs.into_iter().flat_map(|(pair, end)| [pair, end].concat()).collect())
        }),
        3 => hops.prop_map(move |hops| {
            joined("X-Forwarded-For", hops.into_iter().map(|(hop, _)| hop).collect(), ",")
        }),
        2 => Just(("Cookie".to_owned(), OWN[0].to_vec())),
        1 => select(&PROTOS[..]).prop_map(move |(said, _)| joined("X-Forwarded-Proto", vec![said], "")),
        1 => select(&AUTHORIZATIONS[..]).prop_map(move |said| joined("Authorization", vec![said], "")),
        1 => select(&CONNECTIONS[..]).prop_map(move |said| joined("Connection", vec![said], "")),
        1 => Just(("X-Request-Id".to_owned(), b"forged-by-the-client".to_vec())),
        1 => Just(("Upgrade".to_owned(), b"h2c".to_vec())),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    peer: &'static str,
    area: &'static str,
    fields: Vec<Field>,
}

fn cases() -> Vec<Case> {
    let fields = prop::collection::vec(field(), 0..7);
    let strategy = (select(&PEERS[..]), select(&AREAS[..]), fields);
    let case = |(peer, area, fields)| Case { peer, area, fields };
    samples(CASES, &strategy).into_iter().map(case).collect()
}

/// Ann's real credentials.
struct Credentials {
    cookie: String,
    bearer: String,
}

impl Case {
    /// The values of a header, as sent.
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |(known, _): &&Field| known.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(|(_, value)| value.as_slice())
    }

    fn bytes(&self, number: usize, credentials: &Credentials) -> Vec<u8> {
        let area = self.area;
        let mut bytes = format!("GET /{area}/{number} HTTP/1.1\r\nHost: app.test\r\n").into_bytes();
        for (name, value) in &self.fields {
            bytes.extend(format!("{name}: ").bytes());
            bytes.extend(replaced(value, credentials));
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"\r\n");
        bytes
    }

    fn told(&self) -> String {
        let fields: Vec<String> =
            self.fields.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
        format!("/{} from {} with {fields:#?}", self.area, self.peer)
    }

    fn is_trusted(&self) -> bool {
        self.peer == PEERS[0]
    }

    /// Whether the sender is Ann: one cookie of the name, with her value, or her bearer token.
    fn is_ann(&self) -> bool {
        let pairs = self.all("cookie").flat_map(|line| line.split(|byte| *byte == b';'));
        let own: Vec<&[u8]> =
            pairs.filter_map(|pair| trim(pair).strip_prefix(b"portcullis=")).collect();
        own == [b"{own}"] || self.all("authorization").any(|said| said == b"Bearer {bearer}")
    }

    /// The client's address: the right-most hop that is not trusted; `None` when one cannot be read.
    fn client(&self) -> Option<IpAddr> {
        let peer: IpAddr = self.peer.parse().unwrap();
        if !self.is_trusted() {
            return Some(peer);
        }
        let mut client = peer;
        for line in self.all("x-forwarded-for") {
            for said in std::str::from_utf8(line).unwrap().split(',') {
                let (_, address) = HOPS.iter().find(|(hop, _)| *hop == said)?;
                let address: IpAddr = (*address)?.parse().unwrap();
                let text = address.to_string();
                if text != "127.0.0.1" && !text.starts_with("10.") {
                    client = address;
                }
            }
        }
        Some(client)
    }

    /// The scheme; `None` when a trusted peer says none, or two.
    fn scheme(&self) -> Option<&'static str> {
        let mut schemes = Vec::new();
        if self.is_trusted() {
            for said in self.all("x-forwarded-proto") {
                let proto = PROTOS.iter().find(|(proto, _)| proto.as_bytes() == said)?;
                schemes.push(proto.1.then_some(proto.0)?);
            }
        }
        schemes.dedup();
        match schemes[..] {
            [] => Some("http"),
            [one] => Some(one),
            _ => None,
        }
    }
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn replaced(value: &[u8], credentials: &Credentials) -> Vec<u8> {
    // Bytes as characters and back, so that what is no UTF-8 stays.
    let text: String = value.iter().copied().map(char::from).collect();
    let text = text.replace("{own}", &credentials.cookie).replace("{bearer}", &credentials.bearer);
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

/// Names that only the gateway may set, or nobody.
fn is_suspicious(name: &str) -> bool {
    let folded = name.replace(['_', '.'], "-");
    folded != name
        || FAMILIES.split_whitespace().any(|family| folded.starts_with(family))
        || EXACT.split_whitespace().any(|exact| folded == exact)
}

/// The identity headers among those of a request.
fn identity(read: &Read) -> Vec<(String, String)> {
    const OURS: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    const PERMITTED: [&str; 2] = ["x-auth-token", "x_tenant"];
    let is_one =
        |name: &str| is_suspicious(name) && !OURS.contains(&name) && !PERMITTED.contains(&name);
    let mut found: Vec<_> = read.headers.iter().filter(|(name, _)| is_one(name)).cloned().collect();
    found.sort();
    found
}

/// What has to be so of a request that arrived.
fn check(case: &Case, read: &Read, of_ann: &[(String, String)], credentials: &Credentials) {
    let told = format!("{}\narrived as {read:#?}", case.told());
    let found = identity(read);
    let is_ann = case.is_ann() && case.area != "public";
    let wanted = if is_ann { of_ann } else { &[] };
    assert_eq!(found, wanted, "{told}");
    let client = case.client().unwrap_or_else(|| panic!("no such client: {told}"));
    assert_eq!(read.one("x-forwarded-for"), client.to_string(), "{told}");
    assert_eq!(Some(read.one("x-forwarded-proto")), case.scheme(), "{told}");
    assert_eq!(read.one("x-forwarded-host"), "app.test", "{told}");
    let is_forged = read.one("x-request-id").contains("forged");
    assert!(case.is_trusted() || !is_forged, "{told}");
    for (_, value) in &read.headers {
        assert!(!value.contains(&credentials.cookie), "the session's cookie: {told}");
        assert!(!value.contains(&credentials.bearer), "the bearer token: {told}");
        assert!(!value.contains("Bearer pc_"), "a bearer token of ours: {told}");
    }
    let lines = read.all("cookie");
    for pair in lines.iter().flat_map(|line| line.split(';')) {
        let name = pair.trim_matches([' ', '\t', '=']).split('=').next().unwrap_or_default();
        let name = name.trim_start_matches("__Host-").trim_start_matches("__Secure-");
        let is_own = name == "portcullis" || name.starts_with("portcullis-");
        assert!(!is_own, "{pair} is a cookie of ours: {told}");
    }
    assert!(read.all("authorization").len() < 2, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_head_forges_an_identity_an_address_or_a_credential() {
    let app = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &app.url()).start().await;
    let ann = gateway.person("ann").role("admin").set(|draft| {
        draft.profile.organization = Some("Harbour".into());
    });
    let ann = ann.sign_in().await;
    let bearer = gateway.sign_in_with_bearer("ann").await;
    let bearer = String::from_utf8(bearer.get("/").bytes()).unwrap();
    let bearer = bearer.split("Bearer ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let credentials = Credentials { cookie: ann.cookie("portcullis").unwrap(), bearer };
    let mut of_ann = Vec::new();
    for area in AREAS {
        ann.get(&format!("/{area}/clean")).send().await.expect(200);
        of_ann.push(identity(&by_httparse(&app.last().head)));
    }
    assert!(of_ann[0].is_empty() && of_ann[1] == of_ann[2], "{of_ann:?}");
    assert!(of_ann[1].iter().any(|(name, value)| name == "x-team" && value == "Harbour"));
    assert!(of_ann[3].contains(&("remote-user".to_owned(), "ann@example.com".to_owned())));

    let cases = cases();
    let mut connections = PEERS.map(|peer| Line::new(&gateway, peer));
    let mut statuses = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let line = &mut connections[usize::from(!case.is_trusted())];
        let answer = line.ask(&case.bytes(number, &credentials)).await;
        let status = answer.unwrap_or_else(|| panic!("no answer to {}", case.told())).status;
        assert!(matches!(status, 200 | 400 | 401), "{status} to {}", case.told());
        let may_pass = case.client().is_some() && case.scheme().is_some();
        assert!(may_pass || status == 400, "{status} to {}", case.told());
        statuses.push(status);
    }
    let heads: Vec<Vec<u8>> =
        recorded(&[&app]).into_iter().map(|(_, head)| head).skip(AREAS.len()).collect();
    let forwarded = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(heads.len(), forwarded);
    let mut identified = 0;
    for head in &heads {
        let read = by_httparse(head);
        let number: usize = read.target.rsplit('/').next().unwrap().parse().unwrap();
        let case = &cases[number];
        assert_eq!(statuses[number], 200, "{}", case.told());
        let at = AREAS.iter().position(|area| *area == case.area).unwrap();
        identified += usize::from(!identity(&read).is_empty());
        check(case, &read, &of_ann[at], &credentials);
    }
    let agreeing = tokio::task::spawn_blocking(move || check_agreement(&heads));
    agreeing.await.unwrap();
    report(&format!("{forwarded} of {CASES} heads passed, {identified} with an identity"));
    assert!(forwarded > CASES / 4 && identified > CASES / 40, "too little was tried");
}
