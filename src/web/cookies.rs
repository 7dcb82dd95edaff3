//! Cookies: read byte by byte, written with the `cookie` crate.

use bytes::Bytes;
use cookie::Cookie;
use cookie::time::{Duration, OffsetDateTime};
use http::header::{COOKIE, Entry, HeaderMap, HeaderValue, SET_COOKIE};

use super::fields::{Fields, Name};

/// What a request's `Cookie` headers hold under one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'a> {
    /// No cookie of that name.
    None,
    /// Exactly one.
    One(&'a [u8]),
    /// Two or more, possibly planted: none is to be believed.
    Several,
}

/// Finds a cookie by its exact name, compared byte by byte, only SP and HTAB trimmed around a pair.
#[must_use]
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let mut found = Found::None;
    for pair in headers.get_all(COOKIE).iter().flat_map(pairs) {
        found.note(value_of(pair, name));
    }
    found
}

impl<'a> Found<'a> {
    fn note(&mut self, value: Option<&'a [u8]>) {
        if let Some(value) = value {
            *self = match self {
                Self::None => Self::One(value),
                Self::One(_) | Self::Several => Self::Several,
            };
        }
    }
}

/// Suffix and value of every cookie whose name is `prefix` and so many hexadecimal digits in lower case, and
/// whose value is base64url. Others of the prefix are left alone: no such one was ever set.
pub fn numbered<'a>(
    headers: &'a HeaderMap,
    prefix: &str,
    digits: usize,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let pairs = headers.get_all(COOKIE).into_iter().flat_map(pairs);
    pairs.filter_map(move |pair| read_numbered(pair, prefix, digits))
}

fn read_numbered<'a>(pair: &'a [u8], prefix: &str, digits: usize) -> Option<(&'a str, &'a str)> {
    let (suffix, value) = std::str::from_utf8(pair).ok()?.strip_prefix(prefix)?.split_once('=')?;
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_whole =
        suffix.len() == digits && suffix.bytes().all(is_hex) && value.bytes().all(is_base64);
    is_whole.then_some((suffix, value))
}

/// How much of a head's cookies is the gateway's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// Nothing.
    Nothing,
    /// Some of it.
    Part,
    /// Every line holds own cookies and nothing else.
    Whole,
}

/// What [`find`] finds, and how much [`strip_own`] has to take out, in one walk over the cookies.
/// A cookie of this `name` is taken for an own one.
#[must_use]
pub fn read<'a>(fields: &Fields<'a>, name: &str, base: &str) -> (Found<'a>, Share) {
    debug_assert!(is_own(name.as_bytes(), base), "{name} is not stripped as an own cookie");
    let mut found = Found::None;
    let share = Share::of_all(fields.all(Name::Cookie), |pair| {
        let value = value_of(pair, name);
        found.note(value);
        value.is_some() || is_own_pair(pair, base)
    });
    (found, share)
}

/// Whether a cookie name is the gateway's own: without `__Host-` or `__Secure-` (prefixes compared
/// without regard to case, as browsers do) it is `base`, or begins with `base` and `-`.
#[must_use]
pub fn is_own(name: &[u8], base: &str) -> bool {
    let unprefixed = match name {
        [b'_', b'_', ..] => strip_prefix_ignoring_case(name, b"__Host-")
            .or_else(|| strip_prefix_ignoring_case(name, b"__Secure-"))
            .unwrap_or(name),
        _ => name,
    };
    match unprefixed.strip_prefix(base.as_bytes()) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"-"),
        None => false,
    }
}

/// Takes the gateway's own cookies out of every `Cookie` header; headers that become empty go.
/// A request without own cookies keeps its headers byte for byte.
pub fn strip_own(headers: &mut HeaderMap, base: &str) {
    let share = Share::of_all(headers.get_all(COOKIE).iter(), |pair| is_own_pair(pair, base));
    strip_share(headers, base, share);
}

/// The same, when it is known how much that is.
pub fn strip_share(headers: &mut HeaderMap, base: &str, share: Share) {
    match share {
        Share::Nothing => return,
        Share::Whole => {
            headers.remove(COOKIE);
            return;
        }
        Share::Part => {}
    }
    let Entry::Occupied(entry) = headers.entry(COOKIE) else { return };
    let (name, lines) = entry.remove_entry_mult();
    let kept: Vec<HeaderValue> = lines.filter_map(|line| without_own(line, base)).collect();
    for line in kept {
        headers.append(&name, line);
    }
}

impl Share {
    fn of_all<'a>(
        lines: impl Iterator<Item = &'a HeaderValue>,
        mut is_own: impl FnMut(&'a [u8]) -> bool,
    ) -> Self {
        let mut all = None;
        for line in lines {
            let share = Self::of(line, &mut is_own);
            all = Some(if all.is_none_or(|all| all == share) { share } else { Self::Part });
        }
        all.unwrap_or(Self::Nothing)
    }

    /// Of one line.
    fn of<'a>(line: &'a HeaderValue, is_own: &mut impl FnMut(&'a [u8]) -> bool) -> Self {
        let (mut has_own, mut has_other) = (false, false);
        for pair in pairs(line) {
            if is_own(pair) {
                has_own = true;
            } else {
                has_other |= !pair.is_empty();
            }
        }
        match (has_own, has_other) {
            (false, _) => Self::Nothing,
            (true, true) => Self::Part,
            (true, false) => Self::Whole,
        }
    }
}

/// Takes an upstream's attempts to set the gateway's own cookies out of its `Set-Cookie` headers.
pub fn strip_own_set(headers: &mut HeaderMap, base: &str) {
    let sets_own =
        |line: &HeaderValue| pairs(line).next().is_some_and(|pair| is_own_pair(pair, base));
    if !headers.get_all(SET_COOKIE).iter().any(sets_own) {
        return;
    }
    let Entry::Occupied(entry) = headers.entry(SET_COOKIE) else { return };
    let (name, lines) = entry.remove_entry_mult();
    let kept: Vec<HeaderValue> = lines.filter(|line| !sets_own(line)).collect();
    for line in kept {
        headers.append(&name, line);
    }
}

/// The pairs of a line, trimmed.
fn pairs(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line.as_bytes());
    std::iter::from_fn(move || {
        let bytes = rest?;
        let (pair, behind) = bytes.split_at(end_of_pair(bytes));
        rest = behind.get(1..);
        Some(trim(pair))
    })
}

/// Where the first semicolon stands, else the end. Cookies are long, so eight bytes are looked at at once:
/// of a word with a zero in the place of each semicolon, the lowest zero byte is the lowest one whose top
/// bit is set when one is taken from each.
fn end_of_pair(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const SEMICOLONS: u64 = u64::from_ne_bytes([b';'; 8]);
    let (words, rest) = bytes.as_chunks();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word) ^ SEMICOLONS;
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zeros != 0 {
            return place * 8 + zeros.trailing_zeros() as usize / 8;
        }
    }
    let last = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
    words.len() * 8 + last
}

/// Trims what RFC 6265 section 5.2 trims. Unicode white space is part of a name: browsers keep it, and
/// a sub-domain may set `U+2000__Host-name` where it may not set `__Host-name`.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The value of a trimmed pair, if it has this very name.
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// Whether a pair could be read as one of ours by anybody: more is taken out than [`find`] believes.
/// A cookie without a name is stored by browsers and sent back as its value alone, so `=name=value`
/// counts as `name=value`, and a name alone counts too.
fn is_own_pair(pair: &[u8], base: &str) -> bool {
    let mut rest = trim(pair);
    while let Some(after) = rest.strip_prefix(b"=") {
        rest = trim(after);
    }
    let name = rest.split(|byte| *byte == b'=').next().unwrap_or_default();
    is_own(trim(name), base)
}

/// A `Cookie` line without own cookies; `None` when nothing else is in it.
fn without_own(line: HeaderValue, base: &str) -> Option<HeaderValue> {
    match Share::of(&line, &mut |pair| is_own_pair(pair, base)) {
        Share::Nothing => return Some(line),
        Share::Whole => return None,
        Share::Part => {}
    }
    let mut kept = Vec::with_capacity(line.len());
    for pair in pairs(&line) {
        if pair.is_empty() || is_own_pair(pair, base) {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(pair);
    }
    // A part of a header value is a header value; were it none, the line would go.
    let mut kept = HeaderValue::from_maybe_shared(Bytes::from(kept)).ok()?;
    kept.set_sensitive(line.is_sensitive());
    Some(kept)
}

fn strip_prefix_ignoring_case<'a>(name: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Attributes of a cookie the gateway sets.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    /// `Domain`, if any.
    pub domain: Option<&'a str>,
    /// `Lax`, `Strict` or `None`.
    pub same_site: cookie::SameSite,
    /// `Secure`.
    pub secure: bool,
    /// `Max-Age` in seconds; `None` for a browser-session cookie.
    pub max_age: Option<i64>,
    /// Hidden from scripts.
    pub http_only: bool,
}

/// A `Set-Cookie` value with `Path=/`. The value must be made of token characters (base64url is).
///
/// # Errors
/// `None` when name and value do not make a header value.
#[must_use]
pub fn set(name: &str, value: &str, attributes: &Attributes<'_>) -> Option<HeaderValue> {
    let max_age = attributes.max_age.map(Duration::seconds);
    write(build(name, value, attributes)?, max_age)
}

/// A `Set-Cookie` value that clears a cookie, with the same domain and flags.
#[must_use]
pub fn clear(name: &str, attributes: &Attributes<'_>) -> Option<HeaderValue> {
    let mut cookie = build(name, "", attributes)?;
    // Said in both ways, as old user agents know `Expires` alone. The crate's own removal cookie would
    // read the system clock.
    cookie.set_expires(OffsetDateTime::UNIX_EPOCH);
    write(cookie, Some(Duration::ZERO))
}

fn build<'a>(name: &'a str, value: &'a str, attributes: &Attributes<'a>) -> Option<Cookie<'a>> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().chain(value.bytes()).all(is_token) {
        return None;
    }
    let mut cookie = Cookie::build((name, value))
        .path("/")
        .secure(attributes.secure)
        .http_only(attributes.http_only)
        .same_site(attributes.same_site)
        .build();
    if let Some(domain) = attributes.domain {
        if !domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            return None;
        }
        cookie.set_domain(domain);
    }
    Some(cookie)
}

fn write(mut cookie: Cookie<'_>, max_age: Option<Duration>) -> Option<HeaderValue> {
    cookie.set_max_age(max_age);
    let mut value = HeaderValue::try_from(cookie.to_string()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "portcullis";

    type Lines<'a> = &'a [&'a [u8]];

    fn map(name: &http::HeaderName, lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn lines(headers: &HeaderMap, name: &http::HeaderName) -> Vec<Vec<u8>> {
        headers.get_all(name).iter().map(|line| line.as_bytes().to_vec()).collect()
    }

    #[test]
    fn ses_07_a_cookie_is_found_by_its_exact_bytes() {
        let table: [(Lines<'_>, Found<'_>); 20] = [
            (&[], Found::None),
            (&[b"__Host-portcullis=v"], Found::One(b"v")),
            (&[b"a=1; __Host-portcullis=v; b=2"], Found::One(b"v")),
            (&[b"a=1;__Host-portcullis=v;b=2"], Found::One(b"v")),
            (&[b"a=1", b"\t__Host-portcullis=v \t"], Found::One(b"v")),
            (&[b"__Host-portcullis=a=b"], Found::One(b"a=b")),
            (&[b"__Host-portcullis="], Found::One(b"")),
            (&[b"__Host-portcullis=\"v\""], Found::One(b"\"v\"")),
            (&[b"a=\xff\xfe; __Host-portcullis=v"], Found::One(b"v")),
            (&[b"\xe2\x80\x80__Host-portcullis=evil; __Host-portcullis=v"], Found::One(b"v")),
            (&[b"\xc2\xa0__Host-portcullis=evil"], Found::None),
            (&[b"\xc2\x85__Host-portcullis=evil"], Found::None),
            (&[b"__Host-portcullis =evil"], Found::None),
            (&[b"__host-portcullis=evil"], Found::None),
            (&[b"portcullis=evil"], Found::None),
            (&[b"__Host-portcullis"], Found::None),
            (&[b"$Version=1; __Host-portcullis=v"], Found::One(b"v")),
            (&[b"a=\"x; __Host-portcullis=v; b=y\""], Found::One(b"v")),
            (&[b"__Host-portcullis=a; __Host-portcullis=a"], Found::Several),
            (&[b"__Host-portcullis=a", b"x=1; __Host-portcullis=b"], Found::Several),
        ];
        for (cookies, expected) in table {
            assert_eq!(find(&map(&COOKIE, cookies), "__Host-portcullis"), expected, "{cookies:?}");
        }
    }

    #[test]
    fn own_names_are_told_from_the_applications() {
        for name in [
            "portcullis",
            "__Host-portcullis",
            "__Secure-portcullis",
            "__HOST-portcullis",
            "__secure-portcullis",
            "portcullis-csrf",
            "__Host-portcullis-csrf",
            "portcullis-",
        ] {
            assert!(is_own(name.as_bytes(), BASE), "{name}");
        }
        for name in [
            "",
            "Portcullis",
            "portcullisx",
            "portcullis_x",
            "xportcullis",
            "__Host-x",
            "__Hostportcullis",
            "__Host-",
        ] {
            assert!(!is_own(name.as_bytes(), BASE), "{name}");
        }
    }

    #[test]
    fn hdr_13_own_cookies_do_not_reach_the_application() {
        let table: [(Lines<'_>, Lines<'_>); 14] = [
            (&[b"a=1"], &[b"a=1"]),
            (&[b" a=1;;b=2 ; \xff"], &[b" a=1;;b=2 ; \xff"]),
            (&[b"portcullis=v"], &[]),
            (&[b"a=1; portcullis=v; b=2"], &[b"a=1; b=2"]),
            (&[b"portcullis=v; a=1"], &[b"a=1"]),
            (&[b"a=1;portcullis=v"], &[b"a=1"]),
            (&[b"a=1;  ", b"__Host-portcullis=v; ;", b"b=2;c=3"], &[b"a=1;  ", b"b=2;c=3"]),
            (&[b"portcullis"], &[]),
            (&[b"portcullis =v"], &[]),
            (&[b"=portcullis=v"], &[]),
            (&[b"a=\"x; portcullis-csrf=v; b=y\""], &[b"a=\"x; b=y\""]),
            (&[b"\xe2\x80\x80portcullis=v"], &[b"\xe2\x80\x80portcullis=v"]),
            (&[b"a=portcullis=v"], &[b"a=portcullis=v"]),
            (&[b"\xff=\xfe; portcullis=v"], &[b"\xff=\xfe"]),
        ];
        for (cookies, expected) in table {
            let mut headers = map(&COOKIE, cookies);
            strip_own(&mut headers, BASE);
            assert_eq!(lines(&headers, &COOKIE), expected, "{cookies:?}");
        }
    }

    #[test]
    fn hdr_20_an_upstream_cannot_set_own_cookies() {
        let table: [(Lines<'_>, Lines<'_>); 6] = [
            (&[b"a=1; Path=/", b"b=portcullis"], &[b"a=1; Path=/", b"b=portcullis"]),
            (&[b"a=1", b"__Host-portcullis=x; Path=/; Secure", b"b=2"], &[b"a=1", b"b=2"]),
            (&[b"portcullis-csrf=1"], &[]),
            (&[b" \tportcullis = 1"], &[]),
            (&[b"=portcullis=1; Path=/"], &[]),
            (&[b"a=1; portcullis=2"], &[b"a=1; portcullis=2"]),
        ];
        for (cookies, expected) in table {
            let mut headers = map(&SET_COOKIE, cookies);
            strip_own_set(&mut headers, BASE);
            assert_eq!(lines(&headers, &SET_COOKIE), expected, "{cookies:?}");
        }
    }

    #[test]
    fn ses_14_cookies_are_written_with_their_attributes() {
        let mut attributes = Attributes {
            domain: None,
            same_site: cookie::SameSite::Lax,
            secure: true,
            max_age: None,
            http_only: true,
        };
        let written = |name: &str, value: &str, attributes: &Attributes<'_>| {
            set(name, value, attributes).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(
            written("__Host-portcullis", "abc_-", &attributes).unwrap(),
            "__Host-portcullis=abc_-; HttpOnly; SameSite=Lax; Secure; Path=/"
        );
        attributes.domain = Some("example.com");
        attributes.max_age = Some(60);
        attributes.secure = false;
        assert_eq!(
            written("portcullis", "v", &attributes).unwrap(),
            "portcullis=v; HttpOnly; SameSite=Lax; Path=/; Domain=example.com; Max-Age=60"
        );
        assert_eq!(
            clear("portcullis", &attributes).unwrap().to_str().unwrap(),
            "portcullis=; HttpOnly; SameSite=Lax; Path=/; Domain=example.com; Max-Age=0; \
             Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        );
        for (name, value) in [
            ("", "v"),
            ("a b", "v"),
            ("a", "v;"),
            ("a", "v\r\nx"),
            ("a=", "v"),
            ("a", "é"),
            ("a", "\""),
        ] {
            assert_eq!(written(name, value, &attributes), None, "{name} {value}");
        }
        attributes.domain = Some("a; Secure");
        assert_eq!(written("a", "v", &attributes), None);
    }

    proptest! {
        #[test]
        fn no_own_cookie_is_left_after_stripping(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "portcullis", "__Host-", "__secure-", "=", "; ", ";", " ", "\t", "-csrf", "x", "\"", "\u{2000}", "\u{a0}",
                ]),
                0..30,
            ),
        ) {
            let mut headers = map(&COOKIE, &[parts.concat().as_bytes(), b"a=1"]);
            strip_own(&mut headers, BASE);
            for name in ["portcullis", "__Host-portcullis", "__secure-portcullis", "portcullis-csrf"] {
                prop_assert_eq!(find(&headers, name), Found::None);
            }
            prop_assert!(lines(&headers, &COOKIE).contains(&b"a=1".to_vec()));
        }

        #[test]
        fn pairs_are_what_stands_between_semicolons(
            line in prop::collection::vec(prop_oneof![Just(b';'), Just(b':'), Just(b'<'), 0x20..=0xff_u8], 0..60),
        ) {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                let split: Vec<_> = line.as_bytes().split(|byte| *byte == b';').map(trim).collect();
                prop_assert_eq!(pairs(&line).collect::<Vec<_>>(), split);
            }
        }

        #[test]
        fn reading_and_stripping_in_one_walk_is_reading_and_stripping(
            parts in prop::collection::vec(
                prop::sample::select(vec!["portcullis", "portcullis=", "__Host-", "=", ";", " ", "-x", "a=1"]),
                0..20,
            ),
            more in prop::collection::vec(prop::sample::select(vec!["", ";", "portcullis=2", "b=2"]), 0..3),
        ) {
            let parts = parts.concat();
            let all: Vec<&[u8]> =
                std::iter::once(parts.as_str()).chain(more).map(str::as_bytes).collect();
            let mut headers = map(&COOKIE, &all);
            for name in ["portcullis", "__Host-portcullis"] {
                prop_assert_eq!(read(&Fields::of(&headers), name, BASE).0, find(&headers, name));
            }
            let kept: Vec<Vec<u8>> = all
                .iter()
                .filter_map(|line| without_own(HeaderValue::from_bytes(line).unwrap(), BASE))
                .map(|line| line.as_bytes().to_vec())
                .collect();
            let (_, share) = read(&Fields::of(&headers), "portcullis", BASE);
            strip_share(&mut headers, BASE, share);
            prop_assert_eq!(lines(&headers, &COOKIE), kept);
        }

        #[test]
        fn no_cookie_header_panics(line in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                let mut headers = HeaderMap::from_iter([(COOKIE, line.clone()), (SET_COOKIE, line)]);
                let _found = find(&headers, BASE);
                strip_own(&mut headers, BASE);
                strip_own_set(&mut headers, BASE);
            }
        }
    }

    #[test]
    fn numbered_cookies_are_well_formed_or_none() {
        let prefix = "__Host-portcullis-form-";
        for (pair, is_good) in [
            (&b"__Host-portcullis-form-0123abcd=AAAA-_9z"[..], true),
            (b"__Host-portcullis-form-0123ABCD=AAAA", false),
            (b"__Host-portcullis-form-0123abc=AAAA", false),
            (b"__Host-portcullis-form-0123abcde=AAAA", false),
            (b"__Host-portcullis-form-0123abcd=\"AAAA\"", false),
            (b"__Host-portcullis-form-0123abcd", false),
            (b"portcullis-form-0123abcd=AAAA", false),
            (b"\xff=", false),
            (b"", false),
        ] {
            let found = read_numbered(pair, prefix, 8);
            assert_eq!(found.is_some(), is_good, "{}", String::from_utf8_lossy(pair));
        }
    }
}
