//! What goes out of a head before it is passed on, in either direction.
//!
//! Runs on every request: each name is judged once, by its first byte and then its rows of the table,
//! and nothing is allocated for a head in which at most [`PLACES`] names must go.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};

use super::framing::FramingFields;
use super::headers::{Kind, fold, is_essential, is_set_here, kind_of};

/// What stripping needs to know beyond the table.
#[derive(Clone, Debug, Default)]
pub struct Hygiene {
    /// Folded names (lower case, `_` and `.` as `-`) of every header in any `identity.headers`.
    pub identity: Vec<String>,
    /// Names (lower case) an upstream lets through.
    pub permitted: Vec<String>,
}

/// A request whose head cannot be forwarded (400).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unforwardable(pub &'static str);

/// That [`check_request`] found a request's head to be readable in one way only.
#[must_use]
#[derive(Debug)]
pub struct Unambiguous(());

/// Takes out of a request's headers what no application may get: every name and family of the table,
/// what `Connection` names, the headers of `hygiene.identity`, and names with `_` or `.`.
/// `Content-Length` stays; own cookies and our bearer are not its business.
///
/// # Errors
/// [`Unforwardable`]: `Connection` names what is no name.
pub fn sanitise_request(
    headers: &mut HeaderMap,
    hygiene: &Hygiene,
    _checked: &Unambiguous,
) -> Result<(), Unforwardable> {
    let mut doomed = Doomed::default();
    for name in headers.keys() {
        if is_stripped(name.as_str(), hygiene) {
            doomed.push(name.clone());
        }
    }
    if doomed.count == 0 {
        // `Connection` is not there either: it would have to go.
        return Ok(());
    }
    for value in headers.get_all(CONNECTION) {
        for token in tokens(value) {
            doom_named(token, headers, &mut doomed)
                .ok_or(Unforwardable("a Connection header does not parse"))?;
        }
    }
    doomed.remove_from(headers);
    Ok(())
}

/// Refuses a request's head that could be read in two ways, or that would have taken away what the
/// gateway judges by. For requests that are answered here and those that go on alike.
///
/// # Errors
/// [`Unforwardable`]: `Transfer-Encoding` other than exactly one `chunked`, a `Content-Length` that is
/// not the canonical decimal, `Connection` naming a framing or end-to-end essential header
/// (`Host`, `Content-Length`, `Cookie`, `Authorization`) or one the cross-site check looks at.
pub fn check_request(headers: &HeaderMap) -> Result<Unambiguous, Unforwardable> {
    check_framing(headers)?;
    for value in headers.get_all(CONNECTION) {
        if tokens(value).any(|token| is_essential(token) || is_judged_by(token)) {
            return Err(Unforwardable("a Connection header names a header it may not"));
        }
    }
    Ok(Unambiguous(()))
}

/// Whether the cross-site check looks at a header.
fn is_judged_by(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"origin")
        || name.eq_ignore_ascii_case(b"referer")
        || name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"sec-fetch-"))
}

/// The fields of an upstream's answer that go on to the client: no hop-by-hop field, and none that
/// `Connection` names.
#[derive(Debug)]
pub struct AnswerFields {
    kept: HeaderMap,
    named: Vec<HeaderName>,
    closes: bool,
    keeps_alive: bool,
}

impl AnswerFields {
    /// None yet, with room for some.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let kept = HeaderMap::with_capacity(capacity);
        Self { kept, named: Vec::new(), closes: false, keeps_alive: false }
    }

    /// Adds a field, unless it goes no further.
    pub fn push(&mut self, name: HeaderName, value: HeaderValue) {
        if kind_of(name.as_str()) != Some(Kind::Hop) {
            self.kept.append(name, value);
        } else if name == CONNECTION {
            for token in tokens(&value) {
                if token.eq_ignore_ascii_case(b"close") {
                    self.closes = true;
                } else if token.eq_ignore_ascii_case(b"keep-alive") {
                    self.keeps_alive = true;
                } else if !is_essential(token) {
                    // What is no name names nothing, and framing is not its business.
                    self.named.extend(HeaderName::from_bytes(token));
                }
            }
        }
    }

    /// Whether the connection may serve another request (RFC 9112 section 9.3).
    #[must_use]
    pub const fn is_persistent(&self, is_http_11: bool) -> bool {
        !self.closes && (is_http_11 || self.keeps_alive)
    }

    /// What is left.
    #[must_use]
    pub fn finish(mut self) -> HeaderMap {
        for name in self.named {
            self.kept.remove(name);
        }
        self.kept
    }
}

/// Names kept without allocating.
const PLACES: usize = 4;

/// Names that must go: a map cannot be changed while it is walked.
#[derive(Default)]
struct Doomed {
    first: [Option<HeaderName>; PLACES],
    count: usize,
    more: Vec<HeaderName>,
}

impl Doomed {
    fn push(&mut self, name: HeaderName) {
        match self.first.get_mut(self.count) {
            Some(place) => *place = Some(name),
            None => self.more.push(name),
        }
        self.count += 1;
    }

    fn remove_from(&self, headers: &mut HeaderMap) {
        for name in self.first.iter().take(self.count).flatten().chain(&self.more) {
            headers.remove(name);
        }
    }
}

/// Whether a name (lower case, as `http` keeps them) must go.
fn is_stripped(name: &str, hygiene: &Hygiene) -> bool {
    let kind = kind_of(name);
    if kind == Some(Kind::Hop) {
        return true;
    }
    let is_foldable = name.bytes().any(|byte| matches!(byte, b'_' | b'.'));
    let is_named = hygiene.identity.iter().any(|identity| identity == name);
    if !is_foldable && !is_named && kind.is_none() {
        return false;
    }
    !is_permitted(name, hygiene)
}

/// Whether the upstream lets a name through that would go. The configuration refuses names that the
/// gateway sets; they are refused here as well, since a mistake there would let anybody be anybody.
fn is_permitted(name: &str, hygiene: &Hygiene) -> bool {
    if !hygiene.permitted.iter().any(|permitted| permitted == name) {
        return false;
    }
    let folded = fold(name);
    !is_set_here(&folded)
        && kind_of(&folded) != Some(Kind::Hop)
        && !is_essential(folded.as_bytes())
        && !hygiene.identity.contains(&folded)
}

/// Refuses framing that another reader could take otherwise (RFC 9112 section 6).
fn check_framing(headers: &HeaderMap) -> Result<(), Unforwardable> {
    let mut fields = FramingFields::default();
    for name in [TRANSFER_ENCODING, CONTENT_LENGTH] {
        for value in headers.get_all(&name) {
            fields.note(&name, value);
        }
    }
    fields.check()
}

/// The non-empty members of a comma-separated list.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
}

/// Notes a header that `Connection` names, if the head holds it. `None` when the token is no name.
fn doom_named(token: &[u8], headers: &HeaderMap, doomed: &mut Doomed) -> Option<()> {
    if token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close") {
        return Some(());
    }
    let name = HeaderName::from_bytes(token).ok()?;
    if headers.contains_key(&name) {
        doomed.push(name);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::web::headers::Preset;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn sanitise(headers: &mut HeaderMap, hygiene: &Hygiene) -> Result<(), Unforwardable> {
        let checked = check_request(headers)?;
        sanitise_request(headers, hygiene, &checked)
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn hdr_01_what_an_upstream_may_trust_is_taken_out() {
        for name in [
            "X-Auth-User-Id",
            "x-auth-anything",
            "Remote-User",
            "REMOTE-X",
            "X-Remote-User",
            "X-WEBAUTH-USER",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Prefix",
            "X-Forwarded-Port",
            "X-Forwarded-Server",
            "Forwarded",
            "X-Original-URL",
            "X-Original-URI",
            "X-Rewrite-URL",
            "X-Envoy-Original-Path",
            "X-Real-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "True-Client-IP",
            "CF-Connecting-IP",
            "Fastly-Client-IP",
            "X-HTTP-Method-Override",
            "X-HTTP-Method",
            "X-Method-Override",
            "X_Auth_User",
            "X-Auth_User",
            "x.auth.user",
            "x_forwarded_proto",
            "my_header",
            "my.header",
            "_",
            "X-Team",
            "X_Team",
            "x.team",
            "Connection",
            "Keep-Alive",
            "Proxy",
            "Proxy-Connection",
            "Proxy-Authorization",
            "TE",
            "Trailer",
            "Upgrade",
            "HTTP2-Settings",
            "Transfer_Encoding",
        ] {
            let mut headers = map(&[(name, "admin"), ("accept", "*/*"), (name, "other")]);
            let hygiene = Hygiene { identity: vec!["x-team".to_owned()], permitted: Vec::new() };
            assert_eq!(sanitise(&mut headers, &hygiene), Ok(()), "{name}");
            assert_eq!(names(&headers), ["accept"], "{name}");
        }
    }

    #[test]
    fn what_the_application_needs_stays() {
        let fields = [
            ("host", "a"),
            ("cookie", "a=1"),
            ("authorization", "Basic x"),
            ("content-length", "10"),
            ("accept", "*/*"),
            ("x-request-id", "abcdefgh"),
            ("traceparent", "00-x"),
            ("x-requested-with", "XMLHttpRequest"),
            ("x-authority", "1"),
            ("remoteness", "1"),
            ("x-csrf-token", "t"),
            ("origin", "null"),
            ("tea", "1"),
            ("upgrade-insecure-requests", "1"),
        ];
        let mut headers = map(&fields);
        let before = headers.clone();
        assert_eq!(sanitise(&mut headers, &Hygiene::default()), Ok(()));
        assert_eq!(headers, before);
    }

    #[test]
    fn single_names_may_be_permitted_but_none_the_gateway_sets() {
        let permitted: Vec<String> = [
            "x-auth-token",
            "x_tenant",
            "x_auth_email",
            "x-forwarded-for",
            "te",
            "content_length",
            "x_team",
        ]
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
        let hygiene = Hygiene { identity: vec!["x-team".to_owned()], permitted };
        let mut headers = map(&[
            ("x-auth-token", "t"),
            ("x_tenant", "t"),
            ("x_auth_token", "t"),
            ("x-auth-email", "e"),
            ("x_auth_email", "e"),
            ("x-forwarded-for", "f"),
            ("te", "trailers"),
            ("content_length", "3"),
            ("x_team", "t"),
            ("x-team", "t"),
        ]);
        assert_eq!(sanitise(&mut headers, &hygiene), Ok(()));
        assert_eq!(names(&headers), ["x-auth-token", "x_tenant"]);
    }

    #[test]
    fn what_connection_names_goes_and_essential_names_are_refused() {
        for (connection, left) in [
            ("close", Some(&["a", "x-b", "x-c"][..])),
            ("keep-alive, X-B", Some(&["a", "x-c"])),
            ("x-b ,, x-c,", Some(&["a"])),
            ("Upgrade, nothing", Some(&["a", "x-b", "x-c"])),
            ("TE", Some(&["a", "x-b", "x-c"])),
            ("Host", None),
            ("close, CONTENT-LENGTH", None),
            ("cookie", None),
            ("Authorization", None),
            ("transfer-encoding", None),
            ("a b", None),
            ("x-b;x-c", None),
        ] {
            let mut headers =
                map(&[("a", "1"), ("x-b", "1"), ("x-c", "1"), ("connection", connection)]);
            let result = sanitise(&mut headers, &Hygiene::default());
            assert_eq!(result.is_ok(), left.is_some(), "{connection}");
            if let Some(left) = left {
                assert_eq!(names(&headers), left, "{connection}");
            }
        }
        let mut headers = map(&[("connection", "close"), ("connection", "x-b"), ("x-b", "1")]);
        assert_eq!(sanitise(&mut headers, &Hygiene::default()), Ok(()));
        assert!(headers.is_empty());
    }

    #[test]
    fn smg_02_and_04_framing_is_plain_or_refused() {
        for (name, values, accepted) in [
            ("transfer-encoding", &["chunked"][..], true),
            ("transfer-encoding", &["Chunked"], true),
            ("transfer-encoding", &["chunked", "chunked"], false),
            ("transfer-encoding", &[",chunked"], false),
            ("transfer-encoding", &["gzip, chunked"], false),
            ("transfer-encoding", &["xchunked"], false),
            ("transfer-encoding", &["chunked;x"], false),
            ("transfer-encoding", &["chunked, identity"], false),
            ("transfer-encoding", &[""], false),
            ("content-length", &["0"], true),
            ("content-length", &["10"], true),
            ("content-length", &["01"], false),
            ("content-length", &["00"], false),
            ("content-length", &["+1"], false),
            ("content-length", &["-1"], false),
            ("content-length", &[""], false),
            ("content-length", &["0x1"], false),
            ("content-length", &["1, 1"], false),
            ("content-length", &["12345678901234567890123"], false),
            ("content-length", &["1", "1"], false),
            ("content-length", &["1", "2"], false),
        ] {
            let fields: Vec<_> = values.iter().map(|value| (name, *value)).collect();
            let mut headers = map(&fields);
            let result = sanitise(&mut headers, &Hygiene::default());
            assert_eq!(result.is_ok(), accepted, "{name}: {values:?}");
            assert!(!accepted || !headers.contains_key(TRANSFER_ENCODING));
        }
    }

    #[test]
    fn an_answer_loses_what_speaks_to_the_gateway_alone() {
        let headers = map(&[
            ("content-length", "3"),
            ("x-auth-user-id", "theirs"),
            ("set-cookie", "a=1"),
            ("connection", "x-hop, content-length, a b"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("te", "x"),
        ]);
        let mut answer = AnswerFields::with_capacity(0);
        for (name, value) in &headers {
            answer.push(name.clone(), value.clone());
        }
        assert_eq!(names(&answer.finish()), ["content-length", "set-cookie", "x-auth-user-id"]);
    }

    #[test]
    fn more_names_than_places_are_all_taken_out() {
        let names: Vec<String> = (0..50).map(|number| format!("x-auth-{number}")).collect();
        let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let mut headers = map(&fields);
        assert_eq!(sanitise(&mut headers, &Hygiene::default()), Ok(()));
        assert!(headers.is_empty());
    }

    /// A name in some spelling that folds to it.
    fn spelled(name: &str, marks: &[u8]) -> String {
        name.bytes()
            .enumerate()
            .map(|(at, byte)| match (byte, marks.get(at % marks.len().max(1)).unwrap_or(&0) % 3) {
                (b'-', 1) => '_',
                (b'-', 2) => '.',
                (letter, 1) => char::from(letter.to_ascii_uppercase()),
                (letter, _) => char::from(letter),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn no_spelling_of_a_trusted_name_is_let_through(
            tails in prop::collection::vec("[a-z_.-]{1,8}", 1..10),
            marks in prop::collection::vec(any::<u8>(), 1..20),
            other in "[a-z][a-z0-9-]{0,12}",
        ) {
            let families = ["x-auth-", "remote-", "x-remote-", "x-webauth-", "x-forwarded-", "x-original-", "x-rewrite-",
                "x-envoy-original-", "proxy-"];
            let mut names: Vec<String> = Vec::new();
            for (tail, family) in tails.iter().zip(families) {
                names.push(spelled(&format!("{family}{tail}"), &marks));
            }
            for (preset, _) in Preset::NAMED {
                names.extend(preset.user_names().iter().map(|name| spelled(name.as_str(), &marks)));
                names.extend(preset.fields().iter().map(|(name, _)| spelled(name.as_str(), &marks)));
            }
            names.push(spelled("x-real-ip", &marks));
            names.push(spelled("x-team", &marks));
            names.push(other);
            let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
            let mut headers = map(&fields);
            let hygiene = Hygiene { identity: vec!["x-team".to_owned()], permitted: Vec::new() };
            if sanitise(&mut headers, &hygiene).is_ok() {
                for name in headers.keys() {
                    let folded = fold(name.as_str());
                    prop_assert!(kind_of(&folded).is_none() && folded != "x-team", "{name} was let through");
                }
            }
        }
    }
}
