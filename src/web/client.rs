//! The client's address, and what a trusted peer says about it.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::fields::{Fields, Name};
use super::origin::Scheme;

/// Who is at the other end, worked out once per request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    /// The peer of the TCP connection, IPv4-mapped addresses made IPv4.
    pub peer: IpAddr,
    /// The right-most untrusted hop; `None` when every hop named is a trusted proxy.
    pub address: Option<IpAddr>,
    /// The scheme the client used: the listener's, or what a trusted peer says.
    pub scheme: Scheme,
    /// Whether the peer is a trusted proxy.
    pub peer_is_trusted: bool,
}

/// A trusted peer sent an `X-Forwarded-For` or `-Proto` that does not parse (400).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the {0} header from a trusted proxy does not parse")]
pub struct InvalidForwarded(pub &'static str);

/// Works the client out. Headers of an untrusted peer are not looked at.
///
/// # Errors
/// [`InvalidForwarded`] (400): a trusted peer's header does not parse, is repeated with different
/// schemes, or names more than 64 hops.
pub fn client(
    peer: IpAddr,
    listener: Scheme,
    fields: &Fields<'_>,
    trusted: &[IpNet],
) -> Result<Client, InvalidForwarded> {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return Ok(Client { peer, address: Some(peer), scheme: listener, peer_is_trusted: false });
    }
    let address = last_untrusted(fields, trusted)?;
    let scheme = said_scheme(fields, listener).ok_or(InvalidForwarded("X-Forwarded-Proto"))?;
    Ok(Client { peer, address, scheme, peer_is_trusted: true })
}

/// Most hops a trusted proxy may name.
const MAX_HOPS: usize = 64;

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The right-most hop that is not trusted, over all lines in order. The whole list must parse: a proxy
/// that passes nonsense on is not one whose word can be taken.
fn last_untrusted(
    fields: &Fields<'_>,
    trusted: &[IpNet],
) -> Result<Option<IpAddr>, InvalidForwarded> {
    const INVALID: InvalidForwarded = InvalidForwarded("X-Forwarded-For");
    let mut last = None;
    let mut hops = 0;
    for line in fields.all(Name::ForwardedFor) {
        for hop in line.as_bytes().split(|byte| *byte == b',') {
            hops += 1;
            if hops > MAX_HOPS {
                return Err(INVALID);
            }
            let address = read_hop(hop).ok_or(INVALID)?;
            if !is_trusted(address, trusted) {
                last = Some(address);
            }
        }
    }
    Ok(last)
}

/// A hop: an address, with a port as some load balancers write it (`1.2.3.4:80`, `[::1]:80`).
fn read_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let (address, port) = match hop.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')?) };
            (IpAddr::V6(address.parse().ok()?), port)
        }
        None => match hop.split_once(':') {
            Some((address, port)) if !port.contains(':') => {
                (IpAddr::V4(address.parse().ok()?), Some(port))
            }
            Some(_) | None => (hop.parse().ok()?, None),
        },
    };
    if let Some(port) = port {
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse::<u16>().ok().filter(|_| is_number)?;
    }
    Some(address.to_canonical())
}

/// The scheme a trusted peer says, else the listener's. `None` when it says nonsense.
fn said_scheme(fields: &Fields<'_>, listener: Scheme) -> Option<Scheme> {
    let mut said = None;
    for value in fields.all(Name::ForwardedProto) {
        let scheme = match value.as_bytes() {
            b"http" => Scheme::Http,
            b"https" => Scheme::Https,
            _ => return None,
        };
        if said.is_some_and(|before| before != scheme) {
            return None;
        }
        said = Some(scheme);
    }
    Some(said.unwrap_or(listener))
}

/// The key limits count an address under: an IPv4 address whole, an IPv6 address by its /64.
#[must_use]
pub fn limit_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::web::headers::{FORWARDED_FOR, FORWARDED_PROTO};

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().unwrap()).collect()
    }

    fn lines(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn address_of(peer: &str, said: &[&str]) -> Result<Option<String>, InvalidForwarded> {
        let headers = lines(&FORWARDED_FOR, said);
        client(peer.parse().unwrap(), Scheme::Http, &Fields::of(&headers), &trusted())
            .map(|client| client.address.map(|address| address.to_string()))
    }

    #[test]
    fn hdr_07_the_client_is_the_right_most_untrusted_hop() {
        for (peer, said, expected) in [
            ("1.1.1.1", &[][..], Some("1.1.1.1")),
            ("1.1.1.1", &["127.0.0.1"], Some("1.1.1.1")),
            ("1.1.1.1", &["nonsense"], Some("1.1.1.1")),
            ("::ffff:1.1.1.1", &["2.2.2.2"], Some("1.1.1.1")),
            ("10.0.0.1", &[], None),
            ("10.0.0.1", &["10.1.1.1, 10.2.2.2"], None),
            ("10.0.0.1", &["2.2.2.2"], Some("2.2.2.2")),
            ("::ffff:10.0.0.1", &["2.2.2.2"], Some("2.2.2.2")),
            ("10.0.0.1", &["127.0.0.1, 2.2.2.2, 10.3.3.3"], Some("2.2.2.2")),
            ("10.0.0.1", &["3.3.3.3", "2.2.2.2", "10.3.3.3,10.4.4.4"], Some("2.2.2.2")),
            ("10.0.0.1", &["2.2.2.2:80"], Some("2.2.2.2")),
            ("10.0.0.1", &["[2001:db8::1]:80"], Some("2001:db8::1")),
            ("10.0.0.1", &["[2001:db8::1]"], Some("2001:db8::1")),
            ("10.0.0.1", &["2001:db8::1\t,\tfd00::1"], Some("2001:db8::1")),
            ("10.0.0.1", &["::ffff:2.2.2.2"], Some("2.2.2.2")),
            ("fd00::1", &["2.2.2.2, ::ffff:10.1.1.1"], Some("2.2.2.2")),
        ] {
            assert_eq!(address_of(peer, said), Ok(expected.map(str::to_owned)), "{peer} {said:?}");
        }
    }

    #[test]
    fn hdr_08_what_a_trusted_peer_says_must_parse_whole() {
        let many = vec!["2.2.2.2"; MAX_HOPS + 1].join(",");
        for said in [
            "",
            "a",
            "unknown",
            "_hidden",
            "1.2.3.4:",
            "1.2.3.4:x",
            "1.2.3.4:99999",
            "1.2.3.4:+1",
            "[::1",
            "[::1]x",
            "[1.2.3.4]",
            "1.2.3",
            "0x7f.1",
            "2.2.2.2,",
            ",2.2.2.2",
            "2.2.2.2 3.3.3.3",
            "a, 2.2.2.2",
            "evil.example",
            "1.2.3.4\"",
            "é",
            &many,
        ] {
            assert_eq!(
                address_of("10.0.0.1", &[said]),
                Err(InvalidForwarded("X-Forwarded-For")),
                "{said}"
            );
        }
        assert!(address_of("10.0.0.1", &[&vec!["2.2.2.2"; MAX_HOPS].join(",")]).is_ok());
    }

    #[test]
    fn hdr_10_the_scheme_is_a_trusted_peers_or_the_listeners() {
        let proto = Err(InvalidForwarded("X-Forwarded-Proto"));
        for (peer, said, expected) in [
            ("1.1.1.1", &["https"][..], Ok(Scheme::Http)),
            ("1.1.1.1", &["evil"], Ok(Scheme::Http)),
            ("10.0.0.1", &[], Ok(Scheme::Http)),
            ("10.0.0.1", &["https"], Ok(Scheme::Https)),
            ("10.0.0.1", &["https", "https"], Ok(Scheme::Https)),
            ("10.0.0.1", &["https", "http"], proto),
            ("10.0.0.1", &["HTTPS"], proto),
            ("10.0.0.1", &["https,http"], proto),
            ("10.0.0.1", &[""], proto),
            ("10.0.0.1", &["evil_protocol"], proto),
        ] {
            let headers = lines(&FORWARDED_PROTO, said);
            let client =
                client(peer.parse().unwrap(), Scheme::Http, &Fields::of(&headers), &trusted());
            assert_eq!(client.map(|client| client.scheme), expected, "{peer} {said:?}");
        }
    }

    #[test]
    fn limits_count_ipv6_by_its_64() {
        for (address, key) in [
            ("1.2.3.4", "1.2.3.4"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(limit_key(address.parse().unwrap()).to_string(), key);
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(said in prop::collection::vec("[0-9a-f.:,\\[\\] \\x80-\\xff]{0,40}", 0..4)) {
            let said: Vec<&str> = said.iter().map(String::as_str).collect();
            let headers = lines(&FORWARDED_FOR, &said);
            let _client = client("10.0.0.1".parse().unwrap(), Scheme::Http, &Fields::of(&headers), &trusted());
        }
    }
}
