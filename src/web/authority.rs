//! `Host` (RFC 9112 section 3.2.2): parsed and normalised once, for routing, links and checks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::header::HeaderValue;
use http::uri::Uri;
use idna::AsciiDenyList;

use super::fields::{Fields, Name};

/// Longest accepted `Host`, in bytes.
const MAX_AUTHORITY: usize = 255;
/// Longest host name (RFC 1035 section 2.3.4, written out), and label.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Which bytes a label is made of.
static IN_LABEL: [bool; 256] = {
    let mut taken = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        taken[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        byte += 1;
    }
    taken
};

/// A normalised host: lower case, A-labels, no port, no final dot; IPv6 addresses in brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Host(Arc<str>);

/// A `Host` header: the normalised host, the port if one was given, and the bytes as received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authority {
    host: Host,
    port: Option<u16>,
    received: HeaderValue,
}

/// The value is no host with optional port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a host name or address with an optional port")]
pub struct InvalidAuthority;

impl Host {
    /// Normalises a host name or address without port (Unicode labels allowed, for configuration).
    ///
    /// # Errors
    /// [`InvalidAuthority`] for anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidAuthority> {
        let is_plain = text.is_ascii() && !text.to_ascii_lowercase().contains("xn--");
        if is_plain || text.starts_with('[') {
            return Self::read(text.as_bytes());
        }
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::URL)
            .map_err(|_| InvalidAuthority)?;
        Self::read(ascii.as_bytes())
    }

    /// The normalised text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this host equals `domain` or lies below it, at a label edge.
    #[must_use]
    pub fn is_within(&self, domain: &str) -> bool {
        let Some(edge) = self.0.len().checked_sub(domain.len()) else { return false };
        let (above, tail) = self.0.as_bytes().split_at(edge);
        if domain.is_empty() || !tail.eq_ignore_ascii_case(domain.as_bytes()) {
            return false;
        }
        // An address has no domains above it: `1.2.3.4` is not within `3.4`.
        above.is_empty() || (above.ends_with(b".") && self.address().is_none())
    }

    /// Whether this is `localhost`, a name below it, or a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.address() {
            Some(address) => address.to_canonical().is_loopback(),
            None => self.is_within("localhost"),
        }
    }

    /// The address, if this is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.0.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse().ok().map(IpAddr::V6),
            None => self.0.parse().ok().map(IpAddr::V4),
        }
    }

    /// Reads a host written in ASCII.
    fn read(text: &[u8]) -> Result<Self, InvalidAuthority> {
        if let Some(rest) = text.strip_prefix(b"[") {
            let address = rest.strip_suffix(b"]").and_then(|rest| std::str::from_utf8(rest).ok());
            let address: Ipv6Addr =
                address.and_then(|text| text.parse().ok()).ok_or(InvalidAuthority)?;
            return Ok(Self(format!("[{address}]").into()));
        }
        let text = text.strip_suffix(b".").unwrap_or(text);
        if text.is_empty() || text.len() > MAX_NAME {
            return Err(InvalidAuthority);
        }
        let mut label = 0;
        for byte in text {
            if *byte == b'.' && label > 0 {
                label = 0;
            } else if IN_LABEL[usize::from(*byte)] && label < MAX_LABEL {
                label += 1;
            } else {
                return Err(InvalidAuthority);
            }
        }
        let last = text.get(text.len() - label..).unwrap_or_default();
        let name = std::str::from_utf8(text).map_err(|_| InvalidAuthority)?;
        if label == 0 || (is_number(last) && name.parse::<Ipv4Addr>().is_err()) {
            return Err(InvalidAuthority);
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Authority {
    /// Parses a `Host` header's value: ASCII only, at most 255 bytes, no userinfo, no path, no list.
    ///
    /// # Errors
    /// [`InvalidAuthority`] for anything else (400).
    pub fn parse(value: &[u8]) -> Result<Self, InvalidAuthority> {
        Self::read(HeaderValue::from_bytes(value).map_err(|_| InvalidAuthority)?)
    }

    /// Reads a header's value, which is kept as it is.
    fn read(received: HeaderValue) -> Result<Self, InvalidAuthority> {
        let value = received.as_bytes();
        if value.len() > MAX_AUTHORITY {
            return Err(InvalidAuthority);
        }
        let host_end = if value.starts_with(b"[") {
            value.iter().position(|byte| *byte == b']').map(|end| end + 1)
        } else {
            value.iter().position(|byte| *byte == b':')
        };
        let (host, rest) = value.split_at(host_end.unwrap_or(value.len()));
        let port = match rest.split_first() {
            None => None,
            Some((b':', digits)) => Some(read_port(digits)?),
            Some(_) => return Err(InvalidAuthority),
        };
        let host = Host::read(host)?;
        Ok(Self { host, port, received })
    }

    /// A request's authority: its one `Host` header, which a target in absolute form
    /// (`GET http://host/path`) must repeat (RFC 9112 section 3.2.2).
    ///
    /// # Errors
    /// [`InvalidAuthority`] (400): no `Host` or several, one that does not parse, a target in authority
    /// form, or a target that names another host, another port or a scheme that is not HTTP's.
    pub fn of_request(uri: &Uri, fields: &Fields<'_>) -> Result<Self, InvalidAuthority> {
        LastHost::default().of_request(uri, fields)
    }

    /// The same host under the same port, as another request sent it.
    fn sent_as(&self, received: HeaderValue) -> Self {
        Self { host: self.host.clone(), port: self.port, received }
    }

    fn check_repeated(&self, uri: &Uri) -> Result<(), InvalidAuthority> {
        let Some(target) = uri.authority() else { return Ok(()) };
        let target = Self::parse(target.as_str().as_bytes())?;
        let default = match uri.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            Some(_) | None => return Err(InvalidAuthority),
        };
        let is_same = target.host == self.host
            && target.port.unwrap_or(default) == self.port.unwrap_or(default);
        if is_same { Ok(()) } else { Err(InvalidAuthority) }
    }

    /// The normalised host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, if given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host, port and the value as received.
    #[must_use]
    pub fn into_parts(self) -> (Host, Option<u16>, HeaderValue) {
        (self.host, self.port, self.received)
    }

    /// As received, for forwarding.
    #[must_use]
    pub const fn received(&self) -> &HeaderValue {
        &self.received
    }
}

/// The host that a connection's last request named. Nearly every one names the same again, in the same
/// bytes, which are then not read again.
#[derive(Debug, Default)]
pub struct LastHost(Option<Authority>);

impl LastHost {
    /// [`Authority::of_request`] for the connection's next request.
    ///
    /// # Errors
    /// As there.
    pub fn of_request(
        &mut self,
        uri: &Uri,
        fields: &Fields<'_>,
    ) -> Result<Authority, InvalidAuthority> {
        let field = fields.first(Name::Host).filter(|_| !fields.is_repeated(Name::Host));
        let field = field.ok_or(InvalidAuthority)?;
        let authority = match &self.0 {
            Some(last) if last.received == *field => last.sent_as(field.clone()),
            Some(_) | None => {
                // A copy of the value is kept, since the value itself keeps the whole head in memory.
                let kept = Authority::parse(field.as_bytes())?;
                self.0.insert(kept).sent_as(field.clone())
            }
        };
        authority.check_repeated(uri)?;
        Ok(authority)
    }
}

/// Whether a name's last label is a number, which makes the name an address or nothing (WHATWG URL, "ends
/// in a number"): `127.1` or `0x7f.1` reach the loopback with some resolvers.
fn is_number(last: &[u8]) -> bool {
    match last {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

fn read_port(digits: &[u8]) -> Result<u16, InvalidAuthority> {
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(InvalidAuthority);
    }
    let port = digits.iter().fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0'));
    match u16::try_from(port) {
        Ok(port) if port != 0 => Ok(port),
        Ok(_) | Err(_) => Err(InvalidAuthority),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use http::header::{HOST, HeaderMap};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_are_normalised() {
        for (received, host, port) in [
            ("a", "a", None),
            ("ADMIN.Example.COM.:8443", "admin.example.com", Some(8443)),
            ("my_app:3000", "my_app", Some(3000)),
            ("127.0.0.1", "127.0.0.1", None),
            ("[::1]", "[::1]", None),
            ("[2001:DB8:0:0::1]:80", "[2001:db8::1]", Some(80)),
            ("xn--Bcher-kva.example", "xn--bcher-kva.example", None),
        ] {
            let authority = Authority::parse(received.as_bytes()).unwrap();
            assert_eq!((authority.host().as_str(), authority.port()), (host, port));
            assert_eq!(authority.received().as_bytes(), received.as_bytes());
        }
        assert_eq!(Host::parse("Bücher.example").unwrap().as_str(), "xn--bcher-kva.example");
        assert_eq!(Host::parse("ＡＢＣ.example").unwrap().as_str(), "abc.example");
        assert!(Host::parse("xn--zzzzz-.example").is_err());
        assert!(Host::parse("a:80").is_err());
    }

    #[test]
    fn smg_29_what_is_no_host_is_refused() {
        let long = "a".repeat(254);
        let label = format!("{}.example", "a".repeat(64));
        for received in [
            "",
            ".",
            "a..b",
            ".a",
            "a@b",
            "u:p@b",
            "a/../b",
            "a b",
            "a, b",
            "a:99999",
            "a:",
            "a:0",
            "a:-1",
            "a:+1",
            "a:80:80",
            "a:8x",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[fe80::1%25eth0]",
            "[1.2.3.4]",
            "1.2.3",
            "127.1",
            "0x7f.1",
            "1.2.3.4.5",
            "256.1.1.1",
            "a?b",
            "a#b",
            "a%62",
            "a\\b",
            "a\t",
            "bücher",
            "a:000080",
            &long,
            &label,
        ] {
            assert_eq!(Authority::parse(received.as_bytes()), Err(InvalidAuthority), "{received}");
        }
    }

    #[test]
    fn a_domain_holds_itself_and_what_is_below_it_at_a_label_edge() {
        for (host, domain, expected) in [
            ("example.com", "example.com", true),
            ("a.example.com", "example.com", true),
            ("a.b.example.com", "EXAMPLE.com", true),
            ("evil-example.com", "example.com", false),
            ("example.com.evil", "example.com", false),
            ("com", "example.com", false),
            ("1.2.3.4", "3.4", false),
            ("1.2.3.4", "1.2.3.4", true),
            ("a", "", false),
        ] {
            assert_eq!(Host::parse(host).unwrap().is_within(domain), expected, "{host} {domain}");
        }
    }

    #[test]
    fn loopback_names_and_addresses_are_known() {
        for host in
            ["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"]
        {
            assert!(Host::parse(host).unwrap().is_loopback(), "{host}");
        }
        for host in ["localhost.evil", "notlocalhost", "128.0.0.1", "[::2]", "127.0.0.1.evil"] {
            assert!(!Host::parse(host).unwrap().is_loopback(), "{host}");
        }
    }

    #[test]
    fn smg_28_a_request_has_one_host_and_an_absolute_target_repeats_it() {
        for (target, hosts, accepted) in [
            ("/x", &["a"][..], true),
            ("/x", &[], false),
            ("/x", &["a", "a"], false),
            ("http://a/x", &["a"], true),
            ("http://A:80/x", &["a"], true),
            ("http://a:81/x", &["a"], false),
            ("http://evil/x", &["a"], false),
            ("http://u@a/x", &["a"], false),
            ("ftp://a/x", &["a"], false),
            ("a", &["a"], false),
            ("a:80", &["a"], false),
        ] {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            let uri: Uri = target.parse().unwrap();
            assert_eq!(
                Authority::of_request(&uri, &Fields::of(&headers)).is_ok(),
                accepted,
                "{target} {hosts:?}"
            );
        }
    }

    #[test]
    fn a_connections_next_request_is_read_as_if_it_were_the_first() {
        let requests: [(&str, &[&str]); 14] = [
            ("/x", &["a.example"]),
            ("/x", &["a.example"]),
            ("/x", &["A.example"]),
            ("/x", &["b.example"]),
            ("/x", &["a.example:81"]),
            ("/x", &["a.example:82"]),
            ("http://a.example:81/x", &["a.example:81"]),
            ("http://a.example/x", &["a.example:81"]),
            ("/x", &["a..example"]),
            ("/x", &["a.example:81"]),
            ("/x", &["a.example:81", "a.example:81"]),
            ("/x", &[]),
            ("http://b/x", &["a.example:81"]),
            ("/x", &["b"]),
        ];
        let mut last = LastHost::default();
        for (target, hosts) in requests {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            let (uri, fields) = (target.parse().unwrap(), Fields::of(&headers));
            let first = Authority::of_request(&uri, &fields);
            assert_eq!(last.of_request(&uri, &fields), first, "{target} {hosts:?}");
        }
    }

    proptest! {
        #[test]
        fn no_authority_panics_and_parsing_again_changes_nothing(
            received in prop::collection::vec(any::<u8>(), 0..40),
            text in "[a-zA-Z0-9.:\\[\\]_-]{0,30}",
        ) {
            for value in [received.as_slice(), text.as_bytes()] {
                if let Ok(authority) = Authority::parse(value) {
                    let again = Authority::parse(authority.host().as_str().as_bytes()).unwrap();
                    prop_assert_eq!(authority.host(), again.host());
                }
            }
        }
    }
}
