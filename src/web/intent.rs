//! What a request's head asks for: a page, a WebSocket, to be let in by a bearer token.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde::Deserialize;

use super::fields::{Fields, Name};

/// Whether a request is a browser navigation: `Sec-Fetch-Mode: navigate`, or without that header a
/// GET or HEAD whose `Accept` prefers HTML.
#[must_use]
pub fn is_navigation(method: &Method, fields: &Fields<'_>) -> bool {
    match fields.first(Name::SecFetchMode) {
        Some(mode) => mode.as_bytes() == b"navigate" && !fields.is_repeated(Name::SecFetchMode),
        None => {
            matches!(*method, Method::GET | Method::HEAD)
                && fields.has(Name::Accept)
                && prefers_html(fields)
        }
    }
}

/// Whether `Accept` names HTML, and no JSON type above it (RFC 9110 section 12.5.1). Of two with the
/// same weight the first counts. `*/*` names nothing: it is what scripts and programs send.
fn prefers_html(fields: &Fields<'_>) -> bool {
    let mut html = 0;
    let mut json = 0;
    for range in fields.all(Name::Accept).flat_map(|line| line.as_bytes().split(is_comma)) {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default();
        let weight = parts.find_map(weight_of).unwrap_or(1000);
        if kind.eq_ignore_ascii_case(b"text/html")
            || kind.eq_ignore_ascii_case(b"application/xhtml+xml")
        {
            // A type of the same weight that stands before it is preferred.
            if weight > json {
                html = html.max(weight);
            }
        } else if is_json(kind) {
            json = json.max(weight);
        }
    }
    html > 0 && html >= json
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape `slice::split` asks for")]
const fn is_comma(byte: &u8) -> bool {
    *byte == b','
}

fn is_json(kind: &[u8]) -> bool {
    kind.eq_ignore_ascii_case(b"application/json")
        || kind.len() > 5 && kind[kind.len() - 5..].eq_ignore_ascii_case(b"+json")
}

/// A `q` parameter in thousandths. One that does not parse weighs nothing.
fn weight_of(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', weight @ ..] = parameter else { return None };
    let (whole, fraction) = match weight {
        [whole @ (b'0' | b'1')] => (*whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return Some(0),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Some(0);
    }
    let digit = |at: usize| u16::from(fraction.get(at).map_or(0, |digit| digit - b'0'));
    let thousandths = digit(0) * 100 + digit(1) * 10 + digit(2);
    Some((u16::from(whole - b'0') * 1000 + thousandths).min(1000))
}

/// Whether a request asks for a WebSocket (RFC 6455 section 4.1): GET, `Connection` names `upgrade`,
/// `Upgrade` is exactly one `websocket`. The version is not looked at: hyper upgrades HTTP/1.1 alone.
#[must_use]
pub fn is_websocket(method: &Method, fields: &Fields<'_>) -> bool {
    let Some(upgrade) = fields.first(Name::Upgrade) else { return false };
    *method == Method::GET
        && !fields.is_repeated(Name::Upgrade)
        && upgrade.as_bytes().eq_ignore_ascii_case(b"websocket")
        && fields
            .all(Name::Connection)
            .flat_map(|line| line.as_bytes().split(is_comma))
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// What the request carried in `Authorization`.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// Nothing, or something that is the application's and goes on untouched.
    NotOurs,
    /// A bearer token with our shape (`kid` beginning `pc-`, or `pc_…`), valid or not.
    Ours(String),
    /// Two or more fields: 400.
    Several,
}

/// Without the token: what is printed ends up in logs.
impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotOurs => "NotOurs",
            Self::Ours(_) => "Ours(…)",
            Self::Several => "Several",
        })
    }
}

/// Reads `Authorization` without changing it.
#[must_use]
pub fn authorization(fields: &Fields<'_>) -> Authorization {
    let Some(field) = fields.first(Name::Authorization) else { return Authorization::NotOurs };
    if fields.is_repeated(Name::Authorization) {
        return Authorization::Several;
    }
    match bearer(field.as_bytes()) {
        Some(token) if has_our_shape(token) => {
            // Ours are plain text, which is checked many bytes at a time; only a forged one is not.
            Authorization::Ours(
                std::str::from_utf8(token)
                    .map_or_else(|_| String::from_utf8_lossy(token).into_owned(), str::to_owned),
            )
        }
        Some(_) | None => Authorization::NotOurs,
    }
}

/// The token behind the scheme `Bearer` (RFC 6750 section 2.1; schemes ignore case).
fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = field.trim_ascii().split_at_checked(6)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && matches!(rest, [b' ' | b'\t', ..]);
    is_bearer.then(|| rest.trim_ascii())
}

/// How the headers of the tokens issued here begin: `{"typ":"at+jwt","alg":"HS256","kid":"pc`, encoded.
pub const USUAL_JWT_START: &str = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJIUzI1NiIsImtpZCI6InBj";

/// Whether a header is, byte for byte, one that a token issued here has: behind the beginning stand a hyphen,
/// eight hexadecimal digits and the end of the object. No more need be read of it to know its `kid`.
fn is_usual_header(encoded: &[u8]) -> bool {
    let Some(rest) = encoded.strip_prefix(USUAL_JWT_START.as_bytes()) else { return false };
    let mut decoded = [0; 12];
    let Ok(11) = URL_SAFE_NO_PAD.decode_slice(rest, &mut decoded) else { return false };
    let [b'-', digits @ .., b'"', b'}', _] = decoded else { return false };
    digits.iter().all(u8::is_ascii_hexdigit)
}

/// Longest JWT header looked into, in encoded bytes: ours are far shorter.
const MAX_JWT_HEADER: usize = 1024;

fn has_our_shape(token: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Header<'a> {
        #[serde(borrow)]
        kid: Cow<'a, str>,
    }
    if token.starts_with(b"pc_") {
        return true;
    }
    let Some(end) = token.iter().position(|byte| *byte == b'.') else { return false };
    if end > MAX_JWT_HEADER {
        return false;
    }
    let encoded = &token[..end];
    if is_usual_header(encoded) {
        return true;
    }
    let mut decoded = [0; MAX_JWT_HEADER];
    let Ok(length) = URL_SAFE_NO_PAD.decode_slice(encoded, &mut decoded) else {
        return false;
    };
    serde_json::from_slice::<Header<'_>>(&decoded[..length])
        .is_ok_and(|header| header.kid.starts_with("pc-"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.append(*name, value);
            }
        }
        headers
    }

    #[test]
    fn navigations_are_told_from_programs() {
        const CHROME: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (method, fields, expected) in [
            (Method::GET, &[("sec-fetch-mode", "navigate")][..], true),
            (Method::POST, &[("sec-fetch-mode", "navigate")], true),
            (Method::GET, &[("sec-fetch-mode", "cors"), ("accept", CHROME)], false),
            (Method::GET, &[("sec-fetch-mode", "websocket")], false),
            (Method::GET, &[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "navigate")], false),
            (Method::GET, &[("accept", CHROME)], true),
            (Method::HEAD, &[("accept", CHROME)], true),
            (Method::POST, &[("accept", CHROME)], false),
            (Method::GET, &[], false),
            (Method::GET, &[("accept", "*/*")], false),
            (Method::GET, &[("accept", "application/json")], false),
            (Method::GET, &[("accept", "application/json, text/html")], false),
            (Method::GET, &[("accept", "text/html, application/json")], true),
            (Method::GET, &[("accept", "text/html;q=0.5, application/json;q=0.9")], false),
            (Method::GET, &[("accept", "application/json;q=0.5, text/html;q=0.9")], true),
            (Method::GET, &[("accept", "text/html;q=0")], false),
            (Method::GET, &[("accept", "text/html;q=nonsense")], false),
            (Method::GET, &[("accept", "TEXT/HTML;charset=utf-8;q=1.0")], true),
            (
                Method::GET,
                &[("accept", "application/ld+json"), ("accept", "text/html;q=0.8")],
                false,
            ),
        ] {
            assert_eq!(
                is_navigation(&method, &Fields::of(&map(fields))),
                expected,
                "{method} {fields:?}"
            );
        }
    }

    #[test]
    fn smg_13_only_a_plain_websocket_handshake_is_one() {
        for (method, fields, expected) in [
            (Method::GET, &[("connection", "Upgrade"), ("upgrade", "websocket")][..], true),
            (Method::GET, &[("connection", "keep-alive, upgrade"), ("upgrade", "WebSocket")], true),
            (
                Method::GET,
                &[
                    ("connection", "keep-alive"),
                    ("connection", "Upgrade"),
                    ("upgrade", "websocket"),
                ],
                true,
            ),
            (Method::POST, &[("connection", "Upgrade"), ("upgrade", "websocket")], false),
            (Method::GET, &[("upgrade", "websocket")], false),
            (Method::GET, &[("connection", "upgrade")], false),
            (Method::GET, &[("connection", "Upgrade"), ("upgrade", "h2c")], false),
            (Method::GET, &[("connection", "Upgrade"), ("upgrade", "websocket, h2c")], false),
            (
                Method::GET,
                &[("connection", "Upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")],
                false,
            ),
            (Method::GET, &[("connection", "upgrades"), ("upgrade", "websocket")], false),
        ] {
            assert_eq!(
                is_websocket(&method, &Fields::of(&map(fields))),
                expected,
                "{method} {fields:?}"
            );
        }
    }

    #[test]
    fn a_usual_header_is_one_whose_kid_is_ours() {
        for (kid, is_usual) in [
            ("pc-0123abcd", true),
            ("pc-0123abc", false),
            ("pc-0123abcde", false),
            ("pc_0123abcd", false),
            ("pc-0123abcg", false),
            ("pc-\",\"k\":\"1", false),
        ] {
            let header = format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{kid}"}}"#);
            let encoded = URL_SAFE_NO_PAD.encode(header);
            assert_eq!(is_usual_header(encoded.as_bytes()), is_usual, "{kid}");
        }
        for more in [r#","kid":"theirs"}"#, "}"] {
            let header = format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"pc-0123abcd"{more}"#);
            let encoded = URL_SAFE_NO_PAD.encode(header);
            assert_eq!(is_usual_header(encoded.as_bytes()), more == "}", "{more}");
        }
    }

    #[test]
    fn our_bearer_is_told_by_its_shape() {
        let jwt = |header: &str| format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header));
        let ours = jwt(r#"{"alg":"HS256","kid":"pc-1"}"#);
        for (value, expected) in [
            (format!("Bearer {ours}"), Some(ours.clone())),
            (format!("bEARER   {ours} "), Some(ours.clone())),
            ("Bearer pc_abc".to_owned(), Some("pc_abc".to_owned())),
            ("Bearer pc_".to_owned(), Some("pc_".to_owned())),
            (
                format!("Bearer {}", jwt(r#"{"alg":"none","kid":"pc-é"}"#)),
                Some(jwt(r#"{"alg":"none","kid":"pc-é"}"#)),
            ),
            (
                format!("Bearer {}", jwt(r#"{"kid":"\u0070c-1"}"#)),
                Some(jwt(r#"{"kid":"\u0070c-1"}"#)),
            ),
            (format!("Bearer {}", jwt(r#"{"alg":"RS256","kid":"theirs"}"#)), None),
            (format!("Bearer {}", jwt(r#"{"alg":"RS256"}"#)), None),
            (format!("Bearer {}", jwt("nonsense")), None),
            (format!("Bearer {}", jwt(&format!(r#"{{"kid":"pc-{}"}}"#, "x".repeat(2000)))), None),
            (format!("Basic {ours}"), None),
            (format!("Bearer{ours}"), None),
            ("Bearer".to_owned(), None),
            ("Bearer xpc_a".to_owned(), None),
            ("Bearer ..".to_owned(), None),
        ] {
            let found = authorization(&Fields::of(&map(&[("authorization", &value)])));
            let expected = expected.map_or(Authorization::NotOurs, Authorization::Ours);
            assert!(found == expected, "{value}");
        }
        assert!(authorization(&Fields::of(&HeaderMap::new())) == Authorization::NotOurs);
        let two = map(&[("authorization", "Basic x"), ("authorization", "Basic x")]);
        assert!(authorization(&Fields::of(&two)) == Authorization::Several);
        assert!(!format!("{:?}", Authorization::Ours("pc_secret".to_owned())).contains("secret"));
    }
}
