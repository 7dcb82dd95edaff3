//! The caching rules of answers behind a guard (RFC 9111).

use http::header::{CACHE_CONTROL, EXPIRES, HeaderMap, HeaderName, HeaderValue, PRAGMA, VARY};

/// `Cache-Control` by other names, for shared caches alone (RFC 9213, and its forerunner).
static SHARED_CONTROLS: [HeaderName; 2] =
    [HeaderName::from_static("cdn-cache-control"), HeaderName::from_static("surrogate-control")];

/// Applies the caching rules for answers of guarded routes.
///
/// Without `Cache-Control` it becomes `private, no-cache`. Unless `shared_allowed`, `public` and
/// `s-maxage` go and `private` is added to what a shared cache could keep otherwise. `no_store`
/// replaces everything. `Vary` names what the answer depends on.
pub fn guard_caching(headers: &mut HeaderMap, shared_allowed: bool, no_store: bool) {
    add_vary(headers);
    if no_store {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.remove(EXPIRES);
        headers.remove(PRAGMA);
    } else if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, PRIVATE);
    } else if !shared_allowed && let Some(value) = made_private(headers) {
        headers.insert(CACHE_CONTROL, value);
    }
    // Seldom there, and walking over a few names is less work than looking these up.
    if (no_store || !shared_allowed) && headers.keys().any(|name| SHARED_CONTROLS.contains(name)) {
        for name in &SHARED_CONTROLS {
            headers.remove(name);
        }
    }
}

const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// `Cache-Control` without what lets shared caches keep the answer. `None` if it may stay as it is.
fn made_private(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut kept: Vec<u8> = Vec::new();
    let mut is_private = false;
    let mut is_changed = false;
    for line in headers.get_all(CACHE_CONTROL) {
        for directive in split_list(line.as_bytes()) {
            let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default();
            if is_any(name, &[b"public", b"s-maxage"]) {
                is_changed = true;
                continue;
            }
            // `private="field"` covers that field alone.
            is_private |= is_any(directive, &[b"private", b"no-store"]);
            if !kept.is_empty() {
                kept.extend_from_slice(b", ");
            }
            kept.extend_from_slice(directive);
        }
    }
    if is_private && !is_changed {
        return None;
    }
    if !is_private {
        let rest = std::mem::replace(&mut kept, b"private".to_vec());
        if !rest.is_empty() {
            kept.extend_from_slice(b", ");
            kept.extend_from_slice(&rest);
        }
    }
    Some(HeaderValue::from_bytes(&kept).unwrap_or(PRIVATE))
}

fn is_any(text: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|word| text.trim_ascii().eq_ignore_ascii_case(word))
}

/// The members of a comma-separated list, commas in quoted strings not counted.
fn split_list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    line.split(move |byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
        *byte == b',' && !is_quoted
    })
    .map(<[u8]>::trim_ascii)
    .filter(|member| !member.is_empty())
}

/// Adds `Cookie` and `Authorization` to `Vary` where they are not named.
fn add_vary(headers: &mut HeaderMap) {
    let mut has_cookie = false;
    let mut has_authorization = false;
    for member in headers.get_all(VARY).iter().flat_map(|line| split_list(line.as_bytes())) {
        has_cookie |= is_any(member, &[b"*", b"cookie"]);
        has_authorization |= is_any(member, &[b"*", b"authorization"]);
    }
    let missing = match (has_cookie, has_authorization) {
        (true, true) => return,
        (true, false) => "Authorization",
        (false, true) => "Cookie",
        (false, false) => "Cookie, Authorization",
    };
    headers.append(VARY, HeaderValue::from_static(missing));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn guarded(fields: &[(&'static str, &'static str)], shared: bool, no_store: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        guard_caching(&mut headers, shared, no_store);
        headers
    }

    #[test]
    fn answers_behind_a_guard_are_kept_out_of_shared_caches() {
        for (sent, shared, no_store, expected) in [
            (&[][..], false, false, "private, no-cache"),
            (&[], true, false, "private, no-cache"),
            (&["public, max-age=60"], false, false, "private, max-age=60"),
            (&["public, max-age=60"], true, false, "public, max-age=60"),
            (&["PUBLIC"], false, false, "private"),
            (&["s-maxage=60"], false, false, "private"),
            (&["S-MaxAge = 60, max-age=5"], false, false, "private, max-age=5"),
            (&["max-age=60", "public"], false, false, "private, max-age=60"),
            (&["private, max-age=60"], false, false, "private, max-age=60"),
            (&["private, public"], false, false, "private"),
            (
                &["private=\"x, public\", max-age=1"],
                false,
                false,
                "private, private=\"x, public\", max-age=1",
            ),
            (&["no-store"], false, false, "no-store"),
            (&["max-age=60"], false, false, "private, max-age=60"),
            (&["public, max-age=60"], true, true, "no-store"),
            (&[], false, true, "no-store"),
        ] {
            let fields: Vec<_> = sent.iter().map(|value| ("cache-control", *value)).collect();
            let headers = guarded(&fields, shared, no_store);
            let found: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
            assert_eq!(found, [expected], "{sent:?} {shared} {no_store}");
        }
    }

    #[test]
    fn what_an_answer_depends_on_is_named_once() {
        for (sent, expected) in [
            (&[][..], &["Cookie, Authorization"][..]),
            (&["Accept-Encoding"], &["Accept-Encoding", "Cookie, Authorization"]),
            (&["accept, COOKIE"], &["accept, COOKIE", "Authorization"]),
            (&["authorization", "cookie"], &["authorization", "cookie"]),
            (&["*"], &["*"]),
        ] {
            let fields: Vec<_> = sent.iter().map(|value| ("vary", *value)).collect();
            let headers = guarded(&fields, false, false);
            let found: Vec<_> = headers.get_all(VARY).iter().map(|v| v.to_str().unwrap()).collect();
            assert_eq!(found, expected, "{sent:?}");
        }
    }

    #[test]
    fn controls_of_shared_caches_alone_go() {
        let sent = [("cdn-cache-control", "max-age=60"), ("surrogate-control", "max-age=60")];
        assert_eq!(guarded(&sent, false, false).len(), 2);
        assert_eq!(guarded(&sent, true, false).len(), 4);
    }
}
