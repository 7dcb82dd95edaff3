//! Origins (RFC 6454) and the cross-site checks that use them.

use std::fmt;

use http::Method;
use http::header::{HeaderMap, HeaderName, ORIGIN, REFERER};

use super::authority::{Authority, Host};

/// `http` or `https`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme, host and port. Displays as browsers write it: the default port left out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: Host,
    /// The port, the scheme's default filled in.
    pub port: u16,
}

/// The text is no origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an origin: expected http:// or https://, a host and an optional port, nothing else")]
pub struct InvalidOrigin;

impl Origin {
    /// Reads `https://host[:port]`, one final `/` allowed (for configuration).
    ///
    /// # Errors
    /// [`InvalidOrigin`] for anything else, `null` included.
    pub fn parse(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, rest) = split_scheme(text).ok_or(InvalidOrigin)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (name, port) = match rest.rsplit_once(':') {
            // The colons of an IPv6 address stand inside the brackets.
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            Some(_) | None => (rest, None),
        };
        let host = Host::parse(name).map_err(|_| InvalidOrigin)?;
        let port = match port {
            None => scheme.default_port(),
            Some(port) => Authority::parse(format!("h:{port}").as_bytes())
                .ok()
                .and_then(|authority| authority.port())
                .ok_or(InvalidOrigin)?,
        };
        Ok(Self { scheme, host, port })
    }

    /// A request's own origin: its `Host` under a scheme.
    #[must_use]
    pub fn of_request(scheme: Scheme, authority: &Authority) -> Self {
        Self::of_host(scheme, authority.host().clone(), authority.port())
    }

    /// A host's origin under a scheme.
    #[must_use]
    pub fn of_host(scheme: Scheme, host: Host, port: Option<u16>) -> Self {
        Self { scheme, host, port: port.unwrap_or(scheme.default_port()) }
    }

    /// `host` or `host:port`, the default port left out.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// What the headers say about where a request came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Site {
    /// `Sec-Fetch-Site` is `same-origin` or `none`, or `Origin` is the own one or a listed one.
    Own,
    /// The headers name another site (`same-site`, `cross-site`, a foreign or `null` `Origin`, a
    /// foreign `Referer` where neither `Sec-Fetch-Site` nor `Origin` was sent, or a repeated header).
    Foreign,
    /// Neither `Sec-Fetch-Site` nor `Origin` was sent, and no `Referer` names another site.
    Unsaid,
}

/// Judges an unsafe request: `Sec-Fetch-Site` first, then `Origin`, and `Referer` where neither was sent.
#[must_use]
pub fn site_of(headers: &HeaderMap, own: &Origin, listed: &[Origin]) -> Site {
    let fetch_site = Once::of(headers, &SEC_FETCH_SITE);
    let origin = Once::of(headers, &ORIGIN);
    match (fetch_site, origin) {
        (Once::Several, _) | (_, Once::Several) => Site::Foreign,
        (Once::One(b"same-origin" | b"none"), _) => Site::Own,
        (_, Once::One(origin)) => site_of_origin(origin, own, listed),
        (Once::One(_), Once::Absent) => Site::Foreign,
        (Once::Absent, Once::Absent) => match Once::of(headers, &REFERER) {
            Once::Absent | Once::One(b"") => Site::Unsaid,
            Once::Several => Site::Foreign,
            Once::One(referer) => match referer_origin(referer) {
                Some(origin) if origin == *own || listed.contains(&origin) => Site::Unsaid,
                Some(_) | None => Site::Foreign,
            },
        },
    }
}

/// Judges a WebSocket handshake: only an own or listed `Origin` is [`Site::Own`]; none at all is
/// [`Site::Unsaid`]; anything else is foreign.
#[must_use]
pub fn site_of_websocket(headers: &HeaderMap, own: &Origin, listed: &[Origin]) -> Site {
    match Once::of(headers, &ORIGIN) {
        Once::Absent => Site::Unsaid,
        Once::Several => Site::Foreign,
        Once::One(origin) => site_of_origin(origin, own, listed),
    }
}

/// Whether a request that must come from an own or listed page does not: a WebSocket handshake has to
/// name one, anything unsafe must not name another, and reading is free.
#[must_use]
pub fn is_cross_site(
    method: &Method,
    headers: &HeaderMap,
    is_websocket: bool,
    own: &Origin,
    listed: &[Origin],
) -> bool {
    if is_websocket {
        return match site_of_websocket(headers, own, listed) {
            Site::Own => false,
            Site::Foreign | Site::Unsaid => true,
        };
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    match site_of(headers, own, listed) {
        Site::Own | Site::Unsaid => false,
        Site::Foreign => true,
    }
}

/// The listed origin a CORS request comes from, if it comes from one.
#[must_use]
pub fn listed_origin<'a>(headers: &HeaderMap, listed: &'a [Origin]) -> Option<&'a Origin> {
    let Once::One(origin) = Once::of(headers, &ORIGIN) else { return None };
    let origin = sent_origin(origin)?;
    listed.iter().find(|listed| **listed == origin)
}

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A header that means something only when it stands there once.
enum Once<'a> {
    Absent,
    One(&'a [u8]),
    Several,
}

impl<'a> Once<'a> {
    fn of(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) => Self::One(value.as_bytes()),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}

fn site_of_origin(origin: &[u8], own: &Origin, listed: &[Origin]) -> Site {
    match sent_origin(origin) {
        Some(origin) if origin == *own || listed.contains(&origin) => Site::Own,
        Some(_) | None => Site::Foreign,
    }
}

/// An `Origin` header's origin: nothing after the port, `null` is none.
fn sent_origin(value: &[u8]) -> Option<Origin> {
    let (scheme, authority) = split_scheme(std::str::from_utf8(value).ok()?)?;
    Some(Origin::of_request(scheme, &Authority::parse(authority.as_bytes()).ok()?))
}

/// The origin of the page a `Referer` names.
fn referer_origin(value: &[u8]) -> Option<Origin> {
    let (scheme, rest) = split_scheme(std::str::from_utf8(value).ok()?)?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(Origin::of_request(scheme, &Authority::parse(authority.as_bytes()).ok()?))
}

/// Splits `http://` or `https://` off; schemes compare without regard to case (RFC 3986 section 3.1).
pub(super) fn split_scheme(text: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if scheme.eq_ignore_ascii_case("http") {
        Some((Scheme::Http, rest))
    } else if scheme.eq_ignore_ascii_case("https") {
        Some((Scheme::Https, rest))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn origins_are_read_and_written_as_browsers_do() {
        for (text, written) in [
            ("http://a", Some("http://a")),
            ("HTTPS://A.example.:443/", Some("https://a.example")),
            ("https://a:8443", Some("https://a:8443")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("http://[::1]", Some("http://[::1]")),
            ("https://bücher.example", Some("https://xn--bcher-kva.example")),
            ("null", None),
            ("a", None),
            ("//a", None),
            ("ftp://a", None),
            ("https://", None),
            ("https://a/b", None),
            ("https://a//", None),
            ("https://u@a", None),
            ("https://a:", None),
            ("https://a?", None),
            ("https://*.a", None),
            ("https://a:0", None),
        ] {
            assert_eq!(
                Origin::parse(text).ok().map(|o| o.to_string()).as_deref(),
                written,
                "{text}"
            );
        }
    }

    #[test]
    fn ses_11_cross_site_requests_are_told_from_own_ones() {
        let own = Origin::parse("https://own.example").unwrap();
        let listed = [Origin::parse("https://listed.example:8443").unwrap()];
        let site =
            |fields: &[(&'static str, &'static str)]| site_of(&headers(fields), &own, &listed);
        for (fields, expected) in [
            (&[][..], Site::Unsaid),
            (&[("sec-fetch-site", "same-origin")], Site::Own),
            (&[("sec-fetch-site", "none")], Site::Own),
            (&[("sec-fetch-site", "same-site")], Site::Foreign),
            (&[("sec-fetch-site", "cross-site")], Site::Foreign),
            (&[("sec-fetch-site", "Same-Origin")], Site::Foreign),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")], Site::Foreign),
            (
                &[("sec-fetch-site", "cross-site"), ("origin", "https://listed.example:8443")],
                Site::Own,
            ),
            (
                &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
                Site::Foreign,
            ),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], Site::Own),
            (&[("origin", "https://own.example")], Site::Own),
            (&[("origin", "https://own.example:443")], Site::Own),
            (&[("origin", "http://own.example")], Site::Foreign),
            (&[("origin", "https://own.example:8443")], Site::Foreign),
            (&[("origin", "https://listed.example")], Site::Foreign),
            (&[("origin", "https://own.example.evil")], Site::Foreign),
            (&[("origin", "https://own.example/")], Site::Foreign),
            (&[("origin", "null")], Site::Foreign),
            (&[("origin", "")], Site::Foreign),
            (
                &[("origin", "https://own.example"), ("origin", "https://own.example")],
                Site::Foreign,
            ),
            (&[("origin", "https://own.example"), ("referer", "https://evil.example/")], Site::Own),
            (&[("referer", "https://own.example/a?b")], Site::Unsaid),
            (&[("referer", "https://listed.example:8443")], Site::Unsaid),
            (&[("referer", "https://own.example?x")], Site::Unsaid),
            (&[("referer", "")], Site::Unsaid),
            (&[("referer", "https://evil.example/https://own.example/")], Site::Foreign),
            (&[("referer", "https://own.example.evil/")], Site::Foreign),
            (&[("referer", "https://own.example@evil.example/")], Site::Foreign),
            (&[("referer", "https://own.example\\@evil.example/")], Site::Foreign),
            (&[("referer", "http://own.example/")], Site::Foreign),
            (&[("referer", "/path")], Site::Foreign),
            (
                &[("referer", "https://own.example/"), ("referer", "https://own.example/")],
                Site::Foreign,
            ),
        ] {
            assert_eq!(site(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_websocket_handshake_is_judged_by_its_origin_alone() {
        let own = Origin::parse("http://own:8080").unwrap();
        let listed = [Origin::parse("https://listed").unwrap()];
        for (fields, expected) in [
            (&[][..], Site::Unsaid),
            (&[("sec-fetch-site", "same-origin")], Site::Unsaid),
            (&[("origin", "http://own:8080")], Site::Own),
            (&[("origin", "https://listed")], Site::Own),
            (&[("origin", "http://own")], Site::Foreign),
            (&[("origin", "null")], Site::Foreign),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://evil")], Site::Foreign),
            (&[("origin", "http://own:8080"), ("origin", "http://own:8080")], Site::Foreign),
        ] {
            assert_eq!(site_of_websocket(&headers(fields), &own, &listed), expected, "{fields:?}");
        }
    }

    #[test]
    fn only_a_listed_origin_is_answered_for_cors() {
        let listed = [Origin::parse("https://listed").unwrap()];
        for (fields, expected) in [
            (&[("origin", "https://listed")][..], true),
            (&[("origin", "https://listed:443")], true),
            (&[("origin", "http://listed")], false),
            (&[("origin", "https://listed"), ("origin", "https://listed")], false),
            (&[], false),
        ] {
            assert_eq!(listed_origin(&headers(fields), &listed).is_some(), expected, "{fields:?}");
        }
    }
}
