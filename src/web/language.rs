//! The languages the gateway speaks, and which of them a request asks for.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

/// A language.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Language {
    /// English, for everybody who asks for no other.
    #[default]
    English,
    /// German.
    German,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// Its code (RFC 5646).
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// By its code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code().eq_ignore_ascii_case(code))
    }

    /// The language of ours that `Accept-Language` weighs most, the first of several; English without
    /// one (RFC 9110 section 12.5.4; a region says no more than its language).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT_LANGUAGE).iter();
        let asked = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
        let mut best = (Self::default(), 0);
        for item in asked {
            let (range, parameters) = item.split_once(';').unwrap_or((item, ""));
            let code = range.trim().split('-').next().unwrap_or_default();
            let weight = read_weight(parameters);
            if let Some(language) = Self::parse(code)
                && weight > best.1
            {
                best = (language, weight);
            }
        }
        best.0
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
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_language_that_is_weighed_most_is_spoken() {
        for (asked, expected) in [
            ("", Language::English),
            ("fr", Language::English),
            ("de", Language::German),
            ("DE-at", Language::German),
            ("en, de", Language::English),
            ("fr, de;q=0.5, en;q=0.4", Language::German),
            ("de;q=0.4, en;q=0.45", Language::English),
            ("de;q=0", Language::English),
            ("de;q=0.9,en;q=1.0", Language::English),
            ("de;q=nonsense", Language::English),
            ("den", Language::English),
        ] {
            let value = HeaderValue::from_static(asked);
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, value)]);
            assert_eq!(Language::of(&headers), expected, "{asked}");
        }
        assert_eq!(Language::of(&HeaderMap::new()), Language::English);
    }
}
