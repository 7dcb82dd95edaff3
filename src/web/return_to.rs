//! `next`: where to go after a sign-in. Never another site.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::authority::{Authority, Host};
use super::origin::{Origin, split_scheme};
use super::target::{Segments, Target, decode_literal};

/// Longest accepted `next`, in bytes.
const MAX_NEXT: usize = 2048;

/// Everything but the unreserved characters (RFC 3986 section 2.3).
const QUERY_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Encodes a value for a query.
#[must_use]
pub fn encode_query(value: &str) -> String {
    utf8_percent_encode(value, QUERY_VALUE).to_string()
}

/// A checked `next`: begins with `/` (a path on this site) or is an absolute URL on an allowed host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// As it goes into `Location`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a `next` (already percent-decoded once, as form and query values are).
///
/// Accepted: a path on this site (`/`, not `//`, no `\`, no byte below 0x21 or above 0x7e, no dot
/// segments, at most 2,048 bytes), or an absolute URL with scheme and port of `public` and a host for
/// which `host_allowed` holds. A path at or below `portal_path` becomes `{portal_path}/account`.
#[must_use]
pub fn check(
    next: &str,
    public: &Origin,
    portal_path: &str,
    host_allowed: &dyn Fn(&Host) -> bool,
) -> Option<ReturnTo> {
    let is_printable = next.bytes().all(|byte| matches!(byte, 0x21..=0x7e));
    if next.len() > MAX_NEXT || !is_printable || next.contains('\\') {
        return None;
    }
    let (site, path) = if next.starts_with('/') {
        (String::new(), next)
    } else {
        split_site(next, public, host_allowed)?
    };
    // Behind a site the path is what the browser shows; alone, two slashes would begin a host.
    if path.starts_with("//") {
        return None;
    }
    let target = Target::parse(path.split('#').next()?).ok()?;
    let readings = target.readings(target.forms()).ok()?;
    if readings.iter().any(|reading| is_at_or_below(reading, portal_path)) {
        return Some(ReturnTo(format!("{}/account", portal_path.trim_end_matches('/'))));
    }
    Some(ReturnTo(format!("{site}{path}")))
}

/// Splits an absolute URL on an allowed host into its site, written anew, and its path. What is read
/// is what is compared: userinfo, a final dot and other spellings of a host are refused.
fn split_site<'a>(
    next: &'a str,
    public: &Origin,
    host_allowed: &dyn Fn(&Host) -> bool,
) -> Option<(String, &'a str)> {
    let (scheme, rest) = split_scheme(next)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = if path.is_empty() { "/" } else { path };
    let parsed = Authority::parse(authority.as_bytes()).ok()?;
    let origin = Origin::of_request(scheme, &parsed);
    let is_plain = authority
        .get(..origin.host.as_str().len())
        .is_some_and(|host| host.eq_ignore_ascii_case(origin.host.as_str()))
        && !authority.contains(".:")
        && !authority.ends_with('.');
    let is_public = origin.scheme == public.scheme && origin.port == public.port;
    (is_plain && is_public && host_allowed(&origin.host)).then(|| (origin.to_string(), path))
}

/// Whether a path stands at or below the portal's. A portal path that does not decode covers all.
fn is_at_or_below(path: &Segments, portal_path: &str) -> bool {
    let Some(portal) = portal_path.strip_prefix('/') else { return true };
    let parts = portal.trim_end_matches('/').split('/');
    parts.enumerate().all(|(index, part)| match decode_literal(part) {
        Ok(part) => path.get(index) == Some(&part),
        Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn checked(next: &str) -> Option<String> {
        let public = Origin::parse("https://auth.example.com").unwrap();
        let allowed = |host: &Host| matches!(host.as_str(), "app.example.com" | "auth.example.com");
        check(next, &public, "/auth", &allowed).map(|next| next.as_str().to_owned())
    }

    #[test]
    fn paths_on_this_site_and_listed_hosts_are_kept() {
        for (next, expected) in [
            ("/", "/"),
            ("/a/b?c=d&e=/f", "/a/b?c=d&e=/f"),
            ("/a?next=//evil", "/a?next=//evil"),
            ("/a%20b", "/a%20b"),
            ("/a//b", "/a//b"),
            ("/a#part", "/a#part"),
            ("/authors", "/authors"),
            ("/Auth/login", "/Auth/login"),
            ("https://app.example.com", "https://app.example.com/"),
            ("https://app.example.com/x?y", "https://app.example.com/x?y"),
            ("HTTPS://APP.example.com:443/x", "https://app.example.com/x"),
        ] {
            assert_eq!(checked(next).as_deref(), Some(expected), "{next}");
        }
    }

    #[test]
    fn red_01_other_sites_in_disguise_are_refused() {
        for next in [
            "//evil",
            "/\\evil",
            "\\\\evil",
            "https:evil",
            "https:/evil",
            "https:///evil",
            "////evil//",
            "/./\\evil",
            "/./../../\\evil",
            "//evil.com/..",
            "//evil.com/%2f..",
            "/.//evil",
            "/..//evil",
            "/%2e/%2e%2e",
            "evil",
            "",
            "?x",
            "#x",
            ".",
            "/a/../b",
            "https://app.example.com//evil",
        ] {
            assert_eq!(checked(next), None, "{next}");
        }
    }

    #[test]
    fn red_02_white_space_and_control_bytes_are_refused() {
        for byte in (0..0x21_u8).chain([0x7f]) {
            for next in [
                format!("/{}/evil", char::from(byte)),
                format!("{}/evil", char::from(byte)),
                format!("/evil{}", char::from(byte)),
                format!("/{0}{0}\\{0}/evil", char::from(byte)),
                format!("/%{byte:02x}/evil"),
            ] {
                assert!(checked(&next).is_none() || next == "/%20/evil", "{next:?}");
            }
        }
        for next in
            ["/é", "/\u{2000}/evil", "/\u{feff}//evil", "/％2f", "https://app.example.com/\u{3002}"]
        {
            assert_eq!(checked(next), None, "{next}");
        }
    }

    #[test]
    fn red_04_and_10_hosts_are_compared_whole() {
        for next in [
            "https://evil-app.example.com",
            "https://app.example.com.evil",
            "https://.app.example.com",
            "https://app.example.com.",
            "https://app.example.com.:443/",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com:x",
            "https://app.example.com@evil",
            "https://evil@app.example.com",
            "https://u:p@app.example.com/",
            "https://evil?app.example.com",
            "https://evil#app.example.com",
            "https://evil/app.example.com",
            "https://app.example.com\\@evil",
            "https://app.example.com:443:443",
            "https://127.0.0.1.evil",
            "https://xn--app",
            "https://app%2eexample.com",
            "https://app.example.com?x",
            "https://",
            "https://:443",
        ] {
            assert_eq!(checked(next), None, "{next}");
        }
    }

    #[test]
    fn red_05_other_schemes_are_refused() {
        for next in [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "javascript://app.example.com/%0aalert(1)",
            "data:text/html,x",
            "evil_protocol://app.example.com/",
            "\u{1}javascript:x",
            "ftp://app.example.com/",
            "blob:https://app.example.com/",
            "wss://app.example.com/",
            "httpss://app.example.com",
        ] {
            assert_eq!(checked(next), None, "{next}");
        }
    }

    #[test]
    fn red_11_the_portal_itself_leads_to_the_account_page() {
        for next in [
            "/auth",
            "/auth/",
            "/auth/login?next=/auth/login?next=/",
            "/auth/logout",
            "/%61uth/logout",
            "/auth;x/login",
            "/x/..;/auth/login",
            "/auth%2flogout",
            "https://app.example.com/auth/logout",
            "/auth?x",
            "/auth#x",
        ] {
            assert_eq!(checked(next).as_deref(), Some("/auth/account"), "{next}");
        }
        let nested = format!("/a?next={}", "/login?next=".repeat(700));
        assert_eq!(checked(&nested), None);
        assert_eq!(checked(&format!("/{}", "a".repeat(MAX_NEXT))), None);
        assert!(checked(&format!("/{}", "a".repeat(MAX_NEXT - 1))).is_some());
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_on_this_site(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "/", "\\", "evil", "https:", "//", ".", "..", "@", "?", "#", ":443", "app.example.com", "%2f", "%5c", "\t", ";",
                    "javascript:", "auth",
                ]),
                0..12,
            ),
        ) {
            let next = parts.concat();
            if let Some(kept) = checked(&next) {
                let base = url::Url::parse("https://auth.example.com/auth/login").unwrap();
                let went = base.join(&kept).unwrap();
                prop_assert!(matches!(went.host_str(), Some("auth.example.com" | "app.example.com")), "{kept}");
                prop_assert_eq!(went.scheme(), "https");
                prop_assert!(went.username().is_empty());
            }
        }
    }
}
