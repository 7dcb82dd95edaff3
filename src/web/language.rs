//! Languages by their codes, and which of those that are offered a request asks for.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

use super::cookies::{self, Found};

/// Longest code: a language, a script or a region, as in `pt-BR` and `zh-Hant`.
const LONGEST: usize = 8;

/// A language.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language([u8; LONGEST]);

impl std::fmt::Debug for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

impl Default for Language {
    fn default() -> Self {
        Self::ENGLISH
    }
}

impl Language {
    /// English, for everybody who asks for no other.
    pub const ENGLISH: Self = Self(*b"en\0\0\0\0\0\0");
    /// German.
    pub const GERMAN: Self = Self(*b"de\0\0\0\0\0\0");
    /// The languages that are built in.
    pub const BUILT_IN: [Self; 2] = [Self::ENGLISH, Self::GERMAN];

    /// Its code (RFC 5646).
    #[must_use]
    pub fn code(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(LONGEST);
        std::str::from_utf8(self.0.get(..end).unwrap_or_default()).unwrap_or_default()
    }

    /// By its code: two or three letters, then perhaps a script or region of two to four letters or
    /// digits. A language is written small; what follows is kept as it is.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let (language, rest) = code.split_once('-').map_or((code, None), |(l, r)| (l, Some(r)));
        let is_language =
            matches!(language.len(), 2 | 3) && language.bytes().all(|b| b.is_ascii_alphabetic());
        let is_rest = rest.is_none_or(|rest| {
            matches!(rest.len(), 2..=4) && rest.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        if !is_language || !is_rest {
            return None;
        }
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..code.len())?.copy_from_slice(code.as_bytes());
        bytes.get_mut(..language.len())?.make_ascii_lowercase();
        Some(Self(bytes))
    }

    /// The language alone, without script or region.
    fn primary(&self) -> &str {
        let code = self.code();
        code.split_once('-').map_or(code, |(language, _)| language)
    }

    /// The one of `offered` that a request asks for: by the cookie of that name, which a choice on a page
    /// has set, else by `Accept-Language`.
    #[must_use]
    pub fn chosen(headers: &HeaderMap, cookie: &str, offered: &[Self]) -> Self {
        let by_cookie = match cookies::find(headers, cookie) {
            Found::One(value) => std::str::from_utf8(value).ok().and_then(Self::parse),
            Found::None | Found::Several => None,
        };
        let by_cookie = by_cookie.filter(|language| offered.contains(language));
        by_cookie.unwrap_or_else(|| Self::accepted(headers, offered))
    }

    /// The one of `offered` that `Accept-Language` weighs most, the first of several; English without
    /// one (RFC 9110 section 12.5.4). Who asks for a region is content with its language, and the other
    /// way round.
    #[must_use]
    pub fn accepted(headers: &HeaderMap, offered: &[Self]) -> Self {
        let lines = headers.get_all(ACCEPT_LANGUAGE).iter();
        let asked = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
        let mut best = (Self::default(), 0);
        for item in asked {
            let (range, parameters) = item.split_once(';').unwrap_or((item, ""));
            let weight = read_weight(parameters);
            if weight > best.1
                && let Some(language) = Self::nearest(range.trim(), offered)
            {
                best = (language, weight);
            }
        }
        best.0
    }

    /// The offered language that a range means: that very one, else one of the same language.
    fn nearest(range: &str, offered: &[Self]) -> Option<Self> {
        let primary = range.split('-').next().unwrap_or_default();
        let find = |is_it: &dyn Fn(&Self) -> bool| offered.iter().copied().find(|o| is_it(o));
        find(&|language| language.code().eq_ignore_ascii_case(range))
            .or_else(|| find(&|language| language.code().eq_ignore_ascii_case(primary)))
            .or_else(|| find(&|language| language.primary().eq_ignore_ascii_case(primary)))
    }
}

/// A weight in thousandths; one that cannot be read is none.
fn read_weight(parameters: &str) -> u16 {
    let Some(written) = parameters.trim().strip_prefix("q=") else { return 1000 };
    match written.trim().split_once('.') {
        None if written.trim() == "1" => 1000,
        Some(("1", zeros)) if zeros.bytes().all(|digit| digit == b'0') => 1000,
        Some(("0", digits)) if digits.len() <= 3 => format!("{digits:0<3}").parse().unwrap_or(0),
        Some(_) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use http::HeaderValue;
    use http::header::COOKIE;

    use super::*;

    const EN: Language = Language::ENGLISH;
    const DE: Language = Language::GERMAN;

    #[test]
    fn a_code_is_a_language_with_perhaps_a_region() {
        for (code, expected) in [
            ("de", Some("de")),
            ("EN", Some("en")),
            ("pt-BR", Some("pt-BR")),
            ("zh-Hant", Some("zh-Hant")),
            ("", None),
            ("e", None),
            ("deutsch", None),
            ("de-", None),
            ("de-DE-1996", None),
            ("../e", None),
            ("d\0", None),
            ("dé", None),
        ] {
            let parsed = Language::parse(code);
            assert_eq!(parsed.as_ref().map(Language::code), expected, "{code}");
        }
        assert_eq!(Language::parse("en"), Some(EN));
        assert_eq!(Language::parse("de"), Some(DE));
    }

    #[test]
    fn the_language_that_is_weighed_most_is_spoken() {
        for (asked, expected) in [
            ("", EN),
            ("fr", EN),
            ("de", DE),
            ("DE-at", DE),
            ("en, de", EN),
            ("fr, de;q=0.5, en;q=0.4", DE),
            ("de;q=0.4, en;q=0.45", EN),
            ("de;q=0", EN),
            ("de;q=0.9,en;q=1.0", EN),
            ("de;q=nonsense", EN),
            ("den", EN),
        ] {
            let value = HeaderValue::from_static(asked);
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, value)]);
            assert_eq!(Language::accepted(&headers, &Language::BUILT_IN), expected, "{asked}");
        }
        assert_eq!(Language::accepted(&HeaderMap::new(), &Language::BUILT_IN), EN);
    }

    #[test]
    fn a_region_and_its_language_stand_for_each_other() {
        let offered = ["en", "pt", "pt-BR", "zh-Hant"].map(|code| Language::parse(code).unwrap());
        for (asked, expected) in [("pt-br", "pt-BR"), ("pt-PT", "pt"), ("zh", "zh-Hant")] {
            let headers =
                HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(asked))]);
            assert_eq!(Language::accepted(&headers, &offered).code(), expected, "{asked}");
        }
    }

    #[test]
    fn out_01_a_choice_is_one_of_those_offered_or_none() {
        for (cookie, expected) in [
            ("p-language=de", DE),
            ("p-language=en", EN),
            ("p-language=fr", EN),
            ("p-language=\"><script>", EN),
            ("p-language=de; p-language=de", EN),
            ("language=de", EN),
        ] {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(cookie))]);
            assert_eq!(Language::chosen(&headers, "p-language", &Language::BUILT_IN), expected);
        }
        let headers = HeaderMap::from_iter([
            (COOKIE, HeaderValue::from_static("p-language=en")),
            (ACCEPT_LANGUAGE, HeaderValue::from_static("de")),
        ]);
        assert_eq!(Language::chosen(&headers, "p-language", &Language::BUILT_IN), EN);
        assert_eq!(Language::chosen(&headers, "q-language", &Language::BUILT_IN), DE);
    }
}
