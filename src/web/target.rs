//! The canonical request target (RFC 9112 section 3.2, RFC 3986).
//!
//! A target is parsed once, into decoded segments for matching and the received bytes for
//! forwarding, together with the irregular forms found in it. Policy, portal and upstream all use
//! this one value.

use super::readings;

/// Irregular forms of a path that a route may permit (`permit_in_path`); a small bit set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Forms(u8);

impl Forms {
    /// No form.
    pub const NONE: Self = Self(0);
    /// `%2f`.
    pub const ENCODED_SLASH: Self = Self(1);
    /// `%5c`.
    pub const ENCODED_BACKSLASH: Self = Self(2);
    /// `;` and `%3b`.
    pub const SEMICOLON: Self = Self(4);
    /// `//`.
    pub const DOUBLE_SLASH: Self = Self(8);
    /// Decoded bytes that are not UTF-8.
    pub const NON_UTF8: Self = Self(16);
    /// Every form with its spelling in the configuration.
    pub const NAMED: [(Self, &'static str); 5] = [
        (Self::ENCODED_SLASH, "encoded-slash"),
        (Self::ENCODED_BACKSLASH, "encoded-backslash"),
        (Self::SEMICOLON, "semicolon"),
        (Self::DOUBLE_SLASH, "double-slash"),
        (Self::NON_UTF8, "non-utf8"),
    ];

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every form of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The forms of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Bytes of a path that room is made for at once: what follows may be a long query.
const SHORT: usize = 64;
/// Segments whose ends are kept without a further allocation.
const INLINE: usize = 16;

/// The decoded segments of a path. `/` is one empty segment, `/a` is `["a"]`, `/a/` is `["a", ""]`:
/// a trailing slash shows as a last, empty segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segments {
    bytes: Vec<u8>,
    count: u16,
    /// End of each of the first segments in `bytes`; unused places are zero.
    ends: [u16; INLINE],
    /// Ends of the segments after those.
    more: Vec<u16>,
}

impl Segments {
    /// Number of segments, at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Never: a path has at least one segment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The decoded bytes of a segment, or `None` past the last.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = self.end(index)?;
        let start = if index == 0 { 0 } else { self.end(index - 1)? };
        self.bytes.get(start..end)
    }

    /// The segments in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Whether any of them holds a capital letter of ASCII.
    #[must_use]
    pub fn has_capital(&self) -> bool {
        self.bytes.iter().any(u8::is_ascii_uppercase)
    }

    fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), count: 0, ends: [0; INLINE], more: Vec::new() }
    }

    /// Segments from their decoded bytes; `None` past what a target can hold.
    pub(super) fn collect<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut segments = Self::with_capacity(0);
        for part in parts {
            segments.bytes.extend_from_slice(part);
            segments.close()?;
        }
        Some(segments)
    }

    fn end(&self, index: usize) -> Option<usize> {
        if index >= self.len() {
            return None;
        }
        let end = self.ends.get(index).or_else(|| self.more.get(index - INLINE))?;
        Some(usize::from(*end))
    }

    /// Where the segment being read begins.
    fn open(&self) -> usize {
        self.len().checked_sub(1).and_then(|last| self.end(last)).unwrap_or(0)
    }

    /// Ends the segment being read. `None` past what a target can hold.
    fn close(&mut self) -> Option<()> {
        let end = u16::try_from(self.bytes.len()).ok()?;
        match self.ends.get_mut(usize::from(self.count)) {
            Some(place) => *place = end,
            None => self.more.push(end),
        }
        self.count = self.count.checked_add(1)?;
        Some(())
    }
}

/// A request target that may be decided on.
#[derive(Clone, Debug)]
pub struct Target {
    /// Path and query as received.
    raw: String,
    /// Length of the path in `raw`.
    path_end: usize,
    segments: Segments,
    forms: Forms,
}

/// Why a target is refused outright.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Longer than [`MAX_TARGET`] bytes: 414.
    #[error("the request target is longer than 8 KiB")]
    TooLong,
    /// Not in origin form, or holding what no route may permit: 400.
    #[error("the request target is {0}")]
    Malformed(&'static str),
}

/// More readings than may be decided on: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path can be read in more than {MAX_READINGS} ways")]
pub struct TooManyReadings;

/// Longest accepted target, in bytes.
pub const MAX_TARGET: usize = 8 * 1024;
/// Most readings of one irregular path.
pub const MAX_READINGS: usize = 16;

impl Target {
    /// Reads the path and query of a request line, as received (origin form).
    ///
    /// Refused always: raw `\`, control bytes and NUL (raw or, in the path, encoded), dot segments raw
    /// or encoded, raw bytes outside RFC 3986, bad percent triplets, anything that does not begin with
    /// `/`. `[` and `]` are taken in a query: RFC 3986 reserves them, and applications use them there.
    ///
    /// # Errors
    /// [`TargetError`] says which status the answer has.
    pub fn parse(received: &str) -> Result<Self, TargetError> {
        if received.len() > MAX_TARGET {
            return Err(TargetError::TooLong);
        }
        let (segments, forms, query) = read_path(received.as_bytes())?;
        let path_end = match query {
            Some(query) => {
                check_query(query)?;
                received.len() - query.len() - 1
            }
            None => received.len(),
        };
        Ok(Self { raw: received.to_owned(), path_end, segments, forms })
    }

    /// Path and query, byte for byte as received: what is forwarded.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The path as received, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.raw[..self.path_end]
    }

    /// The query without `?`, if there is one.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.raw.get(self.path_end + 1..)
    }

    /// The decoded segments of the target as received (what chooses the place).
    #[must_use]
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The irregular forms found in the path.
    #[must_use]
    pub fn forms(&self) -> Forms {
        self.forms
    }

    /// Every way an application could read a path that holds `permitted` irregular forms: each form
    /// kept, decoded, cut; dots resolved; slashes merged; what begins with two slashes read as an
    /// authority and a path. Distinct, the received reading first.
    ///
    /// # Errors
    /// [`TooManyReadings`] when there are more than [`MAX_READINGS`].
    pub fn readings(&self, permitted: Forms) -> Result<Vec<Segments>, TooManyReadings> {
        let found = Forms(self.forms.0 & permitted.0);
        if found.is_empty() {
            return Ok(vec![self.segments.clone()]);
        }
        readings::read(&self.segments, self.path().as_bytes(), found)
    }
}

/// Reads a path into decoded segments and finds its irregular forms, in one pass up to the query, which is
/// given back unread.
fn read_path(received: &[u8]) -> Result<(Segments, Forms, Option<&[u8]>), TargetError> {
    let Some((b'/', mut rest)) = received.split_first() else {
        return Err(TargetError::Malformed("not a path beginning with a slash"));
    };
    let mut segments = Segments::with_capacity(rest.len().min(SHORT));
    let mut forms = Forms::NONE;
    let mut is_ascii = true;
    let query = loop {
        let run = rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len());
        let (plain, after) = rest.split_at(run);
        segments.bytes.extend_from_slice(plain);
        let Some((&special, after)) = after.split_first() else { break None };
        rest = after;
        match special {
            b'?' => break Some(rest),
            b'/' => {
                forms = forms.with(end_segment(&mut segments, &mut is_ascii)?);
                if rest.first() == Some(&b'/') {
                    forms = forms.with(Forms::DOUBLE_SLASH);
                }
            }
            b';' => {
                forms = forms.with(Forms::SEMICOLON);
                segments.bytes.push(b';');
            }
            b'%' => {
                let (byte, after) = split_triplet(rest)?;
                rest = after;
                forms = forms.with(form_of(byte)?);
                is_ascii &= byte.is_ascii();
                segments.bytes.push(byte);
            }
            other => return Err(TargetError::Malformed(fault_of(other))),
        }
    };
    // The first slash may be followed by another, which no segment's end has seen.
    if received.get(1) == Some(&b'/') {
        forms = forms.with(Forms::DOUBLE_SLASH);
    }
    forms = forms.with(end_segment(&mut segments, &mut is_ascii)?);
    Ok((segments, forms, query))
}

/// Ends a segment: refuses dot segments, notes bytes that are not UTF-8.
fn end_segment(segments: &mut Segments, is_ascii: &mut bool) -> Result<Forms, TargetError> {
    let segment = segments.bytes.get(segments.open()..).unwrap_or_default();
    if matches!(segment, b"." | b"..") {
        return Err(TargetError::Malformed("holding a dot segment"));
    }
    let forms = if *is_ascii || std::str::from_utf8(segment).is_ok() {
        Forms::NONE
    } else {
        Forms::NON_UTF8
    };
    *is_ascii = true;
    segments.close().ok_or(TargetError::TooLong)?;
    Ok(forms)
}

/// The irregular form an encoded byte is, if it is one.
fn form_of(encoded: u8) -> Result<Forms, TargetError> {
    match encoded {
        b'/' => Ok(Forms::ENCODED_SLASH),
        b'\\' => Ok(Forms::ENCODED_BACKSLASH),
        b';' => Ok(Forms::SEMICOLON),
        byte if byte.is_ascii_control() => {
            Err(TargetError::Malformed("holding an encoded control byte"))
        }
        _ => Ok(Forms::NONE),
    }
}

/// Why a raw byte is refused.
const fn fault_of(byte: u8) -> &'static str {
    match byte {
        b'\\' => "holding a backslash",
        byte if byte.is_ascii_control() => "holding a control byte",
        _ => "holding a byte that must be percent-encoded",
    }
}

/// Refuses what no query may hold. What it encodes is the application's business.
fn check_query(mut query: &[u8]) -> Result<(), TargetError> {
    while let Some((&byte, rest)) = query.split_first() {
        query = rest;
        match byte {
            b'/' | b'?' | b';' | b'[' | b']' => {}
            b'%' => query = split_triplet(rest)?.1,
            byte if is_plain(byte) => {}
            other => return Err(TargetError::Malformed(fault_of(other))),
        }
    }
    Ok(())
}

/// Splits the two digits after a `%` off and decodes them.
fn split_triplet(after_percent: &[u8]) -> Result<(u8, &[u8]), TargetError> {
    const BAD: TargetError =
        TargetError::Malformed("holding a percent sign without two hex digits");
    let ([high, low], rest) = after_percent.split_first_chunk::<2>().ok_or(BAD)?;
    match (hex_value(*high), hex_value(*low)) {
        (Some(high), Some(low)) => Ok((high << 4 | low, rest)),
        (None, _) | (_, None) => Err(BAD),
    }
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether a byte stands for itself in a segment: `pchar` of RFC 3986 section 3.3 without `%` and `;`.
const fn is_plain(byte: u8) -> bool {
    PLAIN[byte as usize]
}

static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b'='
                    | b':'
                    | b'@'
            );
        byte += 1;
    }
    plain
};

/// Decodes a path pattern's or portal path's literal the way targets are decoded: triplets decoded,
/// letters outside ASCII allowed raw. For use on configuration, not on requests. `*` and `{` as marks
/// of a pattern are the caller's business: `*` is taken as it stands, `{` must be encoded.
///
/// # Errors
/// Says what is wrong: a bad triplet, `%2f`, a dot segment, an empty segment.
pub fn decode_literal(segment: &str) -> Result<Vec<u8>, &'static str> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let (byte, after) =
                    split_triplet(after).map_err(|_| "a percent sign without two hex digits")?;
                rest = after;
                match byte {
                    b'/' => return Err("an encoded slash"),
                    byte if byte.is_ascii_control() => return Err("an encoded control byte"),
                    byte => decoded.push(byte),
                }
            }
            b'/' => return Err("a slash inside a segment"),
            b'\\' => return Err("a backslash"),
            byte if byte.is_ascii_control() => return Err("a control byte"),
            byte if is_plain(byte) || byte == b';' || !byte.is_ascii() => decoded.push(byte),
            _ => return Err("a character that must be percent-encoded"),
        }
    }
    match decoded.as_slice() {
        b"" => Err("an empty segment"),
        b"." | b".." => Err("a dot segment"),
        _ => Ok(decoded),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn segments(target: &str) -> Vec<String> {
        let target = Target::parse(target).unwrap();
        target.segments().iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect()
    }

    #[test]
    fn paths_are_read_into_decoded_segments() {
        let table: [(&str, &[&str]); 14] = [
            ("/", &[""]),
            ("/a", &["a"]),
            ("/a/", &["a", ""]),
            ("/a/b?c/../d", &["a", "b"]),
            ("/a?", &["a"]),
            ("/%61/b%2Dc", &["a", "b-c"]),
            ("/a%20b/%23/%25/%3f", &["a b", "#", "%", "?"]),
            ("/%E2%82%AC", &["€"]),
            ("/%e2%82%ac", &["€"]),
            ("/a%252fb", &["a%2fb"]),
            ("/...", &["..."]),
            ("/.a/a.", &[".a", "a."]),
            ("/%252e%252e", &["%2e%2e"]),
            ("/a:@!$&'()*+,=~-_.", &["a:@!$&'()*+,=~-_."]),
        ];
        for (target, expected) in table {
            assert_eq!(segments(target), expected, "{target}");
            assert!(Target::parse(target).unwrap().forms().is_empty(), "{target}");
        }
    }

    #[test]
    fn a_path_may_have_more_segments_than_fit_inline() {
        let target = Target::parse(&"/ab".repeat(100)).unwrap();
        assert_eq!(target.segments().len(), 100);
        assert!(target.segments().iter().all(|segment| segment == b"ab"));
        assert_eq!(target.segments().get(100), None);
        let slashes = Target::parse(&"/".repeat(MAX_TARGET)).unwrap();
        assert_eq!(slashes.segments().len(), MAX_TARGET);
        assert_eq!(slashes.forms(), Forms::DOUBLE_SLASH);
    }

    #[test]
    fn path_and_query_are_kept_apart_and_as_received() {
        for (target, path, query) in [
            ("/a", "/a", None),
            ("/a?", "/a", Some("")),
            ("/a?b?c", "/a", Some("b?c")),
            ("/%41?x[]=%00&y=../z;", "/%41", Some("x[]=%00&y=../z;")),
        ] {
            let read = Target::parse(target).unwrap();
            assert_eq!((read.raw(), read.path(), read.query()), (target, path, query));
        }
    }

    #[test]
    fn pth_what_no_route_may_permit_is_refused() {
        let fixed = [
            "",
            "*",
            "a",
            "?a",
            "http://h/",
            "/\\",
            "/a\\..\\b",
            "/a b",
            "/é",
            "/a\"",
            "/<",
            "/^",
            "/`",
            "/{",
            "/|",
            "/[",
            "/a#b",
            "/%",
            "/%1",
            "/%zz",
            "/%u0041",
            "/a%2",
            "/?%",
            "/?%zz",
            "/?a b",
            "/?\\",
            "/?é",
            "/?\u{1}",
            "/\u{7f}",
            "/\u{0}",
            "/ａｄｍｉｎ",
            "/\u{212a}",
            "/?a|b",
            "/%+1",
        ];
        for target in fixed {
            assert!(matches!(Target::parse(target), Err(TargetError::Malformed(_))), "{target:?}");
        }
        for byte in (0..0x20).chain([0x7f]) {
            for target in [format!("/a%{byte:02x}"), format!("/a/%{byte:02X}/b")] {
                assert!(Target::parse(&target).is_err(), "{target}");
            }
        }
        for dot in [".", "%2e", "%2E"] {
            for other in ["", ".", "%2e", "%2E"] {
                for (before, after) in
                    [("/", ""), ("/a/", ""), ("/", "/b"), ("/a/", "/"), ("//", "?x")]
                {
                    let target = format!("{before}{dot}{other}{after}");
                    assert!(Target::parse(&target).is_err(), "{target}");
                }
            }
        }
    }

    #[test]
    fn a_target_of_8_kib_is_the_longest() {
        let longest = format!("/{}", "a".repeat(MAX_TARGET - 1));
        assert!(Target::parse(&longest).is_ok());
        assert_eq!(Target::parse(&format!("{longest}a")).err(), Some(TargetError::TooLong));
    }

    #[test]
    fn irregular_forms_are_found() {
        for (target, forms) in [
            ("/a%2fb", Forms::ENCODED_SLASH),
            ("/a%2Fb", Forms::ENCODED_SLASH),
            ("/..%2f", Forms::ENCODED_SLASH),
            ("/a%5cb", Forms::ENCODED_BACKSLASH),
            ("/a%5Cb", Forms::ENCODED_BACKSLASH),
            ("/a;b", Forms::SEMICOLON),
            ("/a%3bb", Forms::SEMICOLON),
            ("/..;/a", Forms::SEMICOLON),
            ("//", Forms::DOUBLE_SLASH),
            ("//a", Forms::DOUBLE_SLASH),
            ("/a//", Forms::DOUBLE_SLASH),
            ("/a//b", Forms::DOUBLE_SLASH),
            ("/%ff", Forms::NON_UTF8),
            ("/%c0%ae%c0%ae", Forms::NON_UTF8),
            ("/%e2/%82%ac", Forms::NON_UTF8),
            ("/a;//%2f", Forms::SEMICOLON.with(Forms::DOUBLE_SLASH).with(Forms::ENCODED_SLASH)),
            ("/a?b;//%2f%ff", Forms::NONE),
        ] {
            assert_eq!(Target::parse(target).unwrap().forms(), forms, "{target}");
        }
    }

    fn readings(target: &str) -> Vec<String> {
        let target = Target::parse(target).unwrap();
        let read = |segments: &Segments| {
            let parts: Vec<_> = segments.iter().map(String::from_utf8_lossy).collect();
            parts.join("|")
        };
        target.readings(target.forms()).unwrap().iter().map(read).collect()
    }

    #[test]
    fn every_way_to_read_an_irregular_path_is_found() {
        let table: [(&str, &[&str]); 14] = [
            ("/a/b", &["a|b"]),
            ("/a%2fb", &["a/b", "a|b"]),
            ("/public/..%2fadmin", &["public|../admin", "public|..|admin", "admin"]),
            ("/p%5c..%5cadmin", &["p\\..\\admin", "p|..|admin", "admin"]),
            ("/admin;x=1/y", &["admin;x=1|y", "admin|y", "admin"]),
            ("/admin%3bx", &["admin;x", "admin"]),
            ("/p/..;/admin", &["p|..;|admin", "p|..|admin", "admin", "p|..", ""]),
            ("/a/;x/b", &["a|;x|b", "a||b", "a|b", "a|"]),
            ("//admin", &["|admin", "", "admin"]),
            ("/a//", &["a||", "a|"]),
            ("/a//%2e%2ex", &["a||..x", "a|..x"]),
            ("/caf%e9", &["caf\u{fffd}", "café", "caf"]),
            (
                "/%c0%ae%c0%ae/x",
                &["\u{fffd}\u{fffd}\u{fffd}\u{fffd}|x", "..|x", "x", "À®À®|x", "|x", ""],
            ),
            (
                "/p/x%c1%9cadmin",
                &["p|x\u{fffd}\u{fffd}admin", "p|x|admin", "p|xÁ\u{9c}admin", "p|xadmin"],
            ),
        ];
        for (target, expected) in table {
            assert_eq!(readings(target), expected, "{target}");
        }
        // Cutting before or after a slash is found makes a difference.
        for semicolon in [";", "%3b"] {
            let found = readings(&format!("/a{semicolon}x%2f..%2fadmin"));
            for reading in ["a;x/../admin", "a", "a|..|admin", "admin", "a;x|..|admin"] {
                assert!(found.iter().any(|found| found == reading), "{reading} in {found:?}");
            }
        }
    }

    #[test]
    fn pth_05_what_two_slashes_begin_is_also_read_behind_an_authority() {
        for (target, expected) in [
            ("//h/admin/x", "admin|x"),
            ("//h/secret", "secret"),
            ("//h", ""),
            ("//h/", ""),
            ("//u:p@h:80/admin", "admin"),
            ("//h//admin/x", "admin|x"),
            ("//h/a//x", "a|x"),
            ("///h/admin/x", "admin|x"),
            ("///admin/x", "admin|x"),
            ("/////h/admin/x", "admin|x"),
            ("/%5ch/admin/x", "admin|x"),
            ("/%5c%5ch%5cadmin", "admin"),
            ("/%2fh/admin/x", "admin|x"),
            ("/%2Fh%2Fadmin%2Fx", "admin|x"),
            ("/%5c%2fh/admin", "admin"),
            ("//h/a/..%2fadmin", "admin"),
            ("/a%2f..%2f%2fh/admin", "admin"),
            ("/;v/h/admin", "admin"),
            ("/%c0%af/h/admin", "admin"),
        ] {
            let found = readings(target);
            assert!(found.iter().any(|found| found == expected), "{expected} in {found:?}");
        }
        // In the middle two slashes begin nothing.
        assert_eq!(readings("/a//h/x"), ["a||h|x", "a|h|x"]);
        assert_eq!(readings("/h%2fadmin"), ["h/admin", "h|admin"]);
    }

    #[test]
    fn pth_07_a_semicolon_may_cut_the_rest_of_a_path() {
        for (target, expected) in [
            ("/secret;/x", "secret"),
            ("/secret%3b/x", "secret"),
            ("/secret%3B/x/y", "secret"),
            ("/a/secret;v=1/x;w/y", "a|secret"),
            ("/secret;/x%3b/y", "secret"),
            ("/a%3bb/secret;/x", "a;b|secret"),
            ("/a%2fsecret;%2fx", "a|secret"),
            ("/p/%2e%2e;/x", ""),
            ("/;/admin", ""),
        ] {
            let found = readings(target);
            assert!(found.iter().any(|found| found == expected), "{expected} in {found:?}");
        }
    }

    #[test]
    fn forms_that_are_not_permitted_are_read_as_received() {
        let target = Target::parse("/a;b%2fc").unwrap();
        assert_eq!(target.readings(Forms::NONE).unwrap().len(), 1);
        assert_eq!(target.readings(Forms::ENCODED_SLASH).unwrap().len(), 2);
    }

    #[test]
    fn more_than_sixteen_readings_are_refused() {
        let target =
            Target::parse("/a;b%2f..;c%5c..%3bd//%c0%ae%c0%ae/%ff%2fe//..;%5c..%3b/g").unwrap();
        assert_eq!(target.readings(target.forms()).err(), Some(TooManyReadings));
    }

    #[test]
    fn literals_are_decoded_like_targets() {
        for (literal, decoded) in [
            ("a", Ok("a")),
            ("%61", Ok("a")),
            ("café", Ok("café")),
            ("caf%c3%a9", Ok("café")),
            ("a%20b", Ok("a b")),
            ("%2a", Ok("*")),
            ("...", Ok("...")),
            ("a;b", Ok("a;b")),
            ("", Err("an empty segment")),
            (".", Err("a dot segment")),
            ("%2e%2E", Err("a dot segment")),
            ("%2f", Err("an encoded slash")),
            ("a/b", Err("a slash inside a segment")),
            ("a\\b", Err("a backslash")),
            ("%zz", Err("a percent sign without two hex digits")),
            ("%00", Err("an encoded control byte")),
            ("a b", Err("a character that must be percent-encoded")),
            ("a{b", Err("a character that must be percent-encoded")),
        ] {
            let expected = decoded.map(|text: &str| text.as_bytes().to_vec());
            assert_eq!(decode_literal(literal), expected, "{literal}");
        }
    }

    proptest! {
        #[test]
        fn no_target_panics_and_what_is_accepted_is_kept(received in "\\PC*") {
            if let Ok(target) = Target::parse(&received) {
                prop_assert_eq!(target.raw(), received);
            }
        }

        #[test]
        fn paths_of_hostile_parts_are_read_without_panic(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "/", "a", "..", ".", ";", "%2f", "%5c", "%3b", "%2e", "%c0", "%af", "%ff", "?", "%", "é", "\\",
                ]),
                0..24,
            ),
        ) {
            let received = format!("/{}", parts.concat());
            if let Ok(target) = Target::parse(&received) {
                prop_assert_eq!(target.raw(), &received);
                prop_assert!(target.segments().iter().all(|s| s != b"." && s != b".."));
                if let Ok(readings) = target.readings(target.forms()) {
                    prop_assert_eq!(readings.first(), Some(target.segments()));
                    prop_assert!(readings.len() <= MAX_READINGS);
                }
            }
        }
    }
}
