//! How long something takes or lasts, as the file and the command line write it.

use std::time::Duration;

/// Longest duration that may be asked for: beyond it arithmetic on instants stops making sense.
pub const LONGEST: Duration = Duration::from_hours(3650 * 24);

/// Why text is no duration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidDuration {
    /// Not a whole number and `s`, `m`, `h` or `d`.
    #[error("not a duration such as 30m, 8h or 30d")]
    Malformed,
    /// Longer than [`LONGEST`].
    #[error("longer than 3650d")]
    TooLong,
}

/// Reads a whole number with a unit: `s`, `m`, `h` or `d`.
///
/// # Errors
/// [`InvalidDuration`].
pub fn read(text: &str) -> Result<Duration, InvalidDuration> {
    let mut characters = text.chars();
    let unit = match characters.next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some(_) | None => return Err(InvalidDuration::Malformed),
    };
    let digits = characters.as_str();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidDuration::Malformed);
    }
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let duration = seconds.map(Duration::from_secs).filter(|duration| *duration <= LONGEST);
    duration.ok_or(InvalidDuration::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        let malformed = Err(InvalidDuration::Malformed);
        for (text, seconds) in [
            ("0s", Ok(0)),
            ("90s", Ok(90)),
            ("30m", Ok(1800)),
            ("8h", Ok(28_800)),
            ("30d", Ok(2_592_000)),
            ("3650d", Ok(315_360_000)),
            ("3651d", Err(InvalidDuration::TooLong)),
            ("99999999999999999999d", Err(InvalidDuration::TooLong)),
            ("8", malformed),
            ("h", malformed),
            ("", malformed),
            ("-1h", malformed),
            ("+1h", malformed),
            ("1.5h", malformed),
            ("8ms", malformed),
            ("8ä", malformed),
        ] {
            assert_eq!(read(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
