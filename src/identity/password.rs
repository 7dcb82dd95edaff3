//! The password policy: length, strength, common passwords, nothing of one's own profile.
//!
//! Judges new passwords only; what people sign in with is never judged.

use unicode_normalization::UnicodeNormalization as _;
use zxcvbn::feedback::{Feedback, Warning};
use zxcvbn::matching::patterns::{DictionaryPattern, MatchPattern};
use zxcvbn::{Score, zxcvbn};

use crate::config::PasswordPolicy;
use crate::web::text::Text;

use super::user::User;

/// Why a password is refused, in words that help: as JSON and the command line say it, and by
/// [`Rejected::text`] as pages do.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum Rejected {
    /// It has fewer characters than this.
    #[error("Password should be at least {0} characters")]
    TooShort(usize),
    /// It has more characters than this.
    #[error("Password should be at most {0} characters")]
    TooLong(usize),
    /// It holds NUL, which no form brings.
    #[error("Password should not contain the character NUL")]
    Nul,
    /// It is made of the person's own data.
    #[error("Password should not contain {}", .0.as_str())]
    Own(Part),
    /// Everybody takes it.
    #[error("Password is too common")]
    Common,
    /// Guessers find it soon, perhaps for a cause that can be named.
    #[error("Password is too easy to guess{}", .0.map(|why| format!(". {why}")).unwrap_or_default())]
    Guessable(Option<Warning>),
}

/// A part of the person's own data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The e-mail, or what stands before its `@`.
    Email,
    /// The username.
    Username,
    /// The first name.
    FirstName,
    /// The last name.
    LastName,
    /// The organization.
    Organization,
}

impl Part {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "e-mail",
            Self::Username => "username",
            Self::FirstName => "first name",
            Self::LastName => "last name",
            Self::Organization => "organization",
        }
    }
}

impl Rejected {
    /// The reason as pages say it.
    #[must_use]
    pub fn text(self) -> Text {
        match self {
            Self::TooShort(least) => Text::of("password-too-short").with("count", least),
            Self::TooLong(most) => Text::of("password-too-long").with("count", most),
            Self::Nul => Text::of("password-nul"),
            Self::Own(Part::Email) => Text::of("password-has-email"),
            Self::Own(Part::Username) => Text::of("password-has-username"),
            Self::Own(Part::FirstName) => Text::of("password-has-first-name"),
            Self::Own(Part::LastName) => Text::of("password-has-last-name"),
            Self::Own(Part::Organization) => Text::of("password-has-organization"),
            Self::Common => Text::of("password-common"),
            Self::Guessable(warning) => guessable(warning),
        }
    }
}

fn guessable(warning: Option<Warning>) -> Text {
    match warning {
        None => Text::of("password-guessable"),
        Some(Warning::StraightRowsOfKeysAreEasyToGuess) => Text::of("password-rows"),
        Some(Warning::ShortKeyboardPatternsAreEasyToGuess) => Text::of("password-patterns"),
        Some(Warning::RepeatsLikeAaaAreEasyToGuess) => Text::of("password-repeats"),
        Some(Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess) => {
            Text::of("password-repeated-words")
        }
        Some(
            Warning::ThisIsATop10Password
            | Warning::ThisIsATop100Password
            | Warning::ThisIsACommonPassword,
        ) => Text::of("password-listed"),
        Some(Warning::ThisIsSimilarToACommonlyUsedPassword) => Text::of("password-nearly-listed"),
        Some(Warning::SequencesLikeAbcAreEasyToGuess) => Text::of("password-sequences"),
        Some(Warning::RecentYearsAreEasyToGuess) => Text::of("password-years"),
        Some(Warning::AWordByItselfIsEasyToGuess) => Text::of("password-word"),
        Some(Warning::DatesAreOftenEasyToGuess) => Text::of("password-dates"),
        Some(
            Warning::NamesAndSurnamesByThemselvesAreEasyToGuess
            | Warning::CommonNamesAndSurnamesAreEasyToGuess,
        ) => Text::of("password-names"),
    }
}

/// Characters a part of the profile must have to be looked for inside a password; shorter ones
/// stand in too many words. A password that *is* such a part is refused whatever its length.
const MIN_PART: usize = 4;

/// Characters handed to zxcvbn at once. Where a text of keys side by side is longer, its count of
/// guesses overflows (4 and 5 to the power of the turns in 64 bits); and what it needs for a text
/// full of digits for letters grows with the square, 30 ms here and more than half a second for its
/// own limit of 100 characters.
const PIECE: usize = 28;

/// Pieces looked at.
const MAX_PIECES: usize = 4;

/// Checks a new password against the policy. Length is counted in characters and checked first
/// (`Password should be at least N characters`), so nothing dear is done with an over-long one.
///
/// `deny_common` refuses what zxcvbn knows as one of the 30,000 commonest passwords, spelled in any
/// case, backwards or with the usual digits for letters, and what a thousand guesses find (repeats,
/// rows of keys, sequences). `deny_profile` refuses what is, in any case, the person's e-mail or
/// its local part, a name, the username or the organization, or is too short without it. `min_strength` is zxcvbn's score, the
/// profile being known to the guesser; 0 asks for nothing. A long password is judged by the strongest
/// of its first four pieces of 28 characters.
///
/// # Errors
/// [`Rejected`] with the reason shown to the person.
pub fn check(password: &str, user: &User, policy: &PasswordPolicy) -> Result<(), Rejected> {
    let length = password.chars().count();
    if length < policy.min_length {
        return Err(Rejected::TooShort(policy.min_length));
    }
    if length > policy.max_length {
        return Err(Rejected::TooLong(policy.max_length));
    }
    if password.contains('\0') {
        return Err(Rejected::Nul);
    }
    let profile = profile_parts(user);
    if policy.deny_profile {
        let folded = fold(password);
        if let Some((part, _)) =
            profile.iter().find(|(_, words)| is_made_of(&folded, words, policy.min_length))
        {
            return Err(Rejected::Own(*part));
        }
    }
    let pieces = pieces(password);
    if policy.deny_common && pieces.iter().all(|piece| is_common(piece)) {
        return Err(Rejected::Common);
    }
    if policy.min_strength > 0 {
        let known: Vec<&str> = profile.iter().map(|(_, words)| words.as_str()).collect();
        return check_strength(&pieces, &known, policy.min_strength);
    }
    Ok(())
}

/// The password in pieces that zxcvbn can count.
fn pieces(password: &str) -> Vec<String> {
    let characters: Vec<char> = password.chars().take(PIECE * MAX_PIECES).collect();
    characters.chunks(PIECE).map(|piece| piece.iter().collect()).collect()
}

/// A password is as strong as its strongest piece at least. Ends at the first that is strong enough.
fn check_strength(pieces: &[String], known: &[&str], min_strength: u8) -> Result<(), Rejected> {
    let mut warning = None;
    for piece in pieces {
        let entropy = zxcvbn(piece, known);
        if u8::from(entropy.score()) >= min_strength {
            return Ok(());
        }
        warning = warning.or_else(|| entropy.feedback().and_then(Feedback::warning));
    }
    Err(Rejected::Guessable(warning))
}

/// What a guesser who knows the person tries first, folded, and what it is.
fn profile_parts(user: &User) -> Vec<(Part, String)> {
    let local = user.email.rsplit_once('@').map(|(local, _)| local.to_owned());
    [
        (Part::Email, Some(user.email.clone())),
        (Part::Email, local),
        (Part::Username, user.username.clone()),
        (Part::FirstName, user.profile.first_name.clone()),
        (Part::LastName, user.profile.last_name.clone()),
        (Part::Organization, user.profile.organization.clone()),
    ]
    .into_iter()
    .filter_map(|(part, words)| Some((part, fold(words?.trim()))))
    .filter(|(_, words)| !words.is_empty())
    .collect()
}

fn fold(text: &str) -> String {
    text.nfc().collect::<String>().to_lowercase()
}

/// Whether a password is a part of the profile, or no password without it: too short.
fn is_made_of(password: &str, part: &str, min_length: usize) -> bool {
    if password == part {
        return true;
    }
    part.chars().count() >= MIN_PART
        && password.contains(part)
        && password.replace(part, "").chars().count() < min_length
}

fn is_common(piece: &str) -> bool {
    let entropy = zxcvbn(piece, &[]);
    if entropy.score() == Score::Zero {
        return true;
    }
    let [only] = entropy.sequence() else { return false };
    let MatchPattern::Dictionary(found) = &only.pattern else { return false };
    // The type that names dictionaries cannot be spelled outside its crate; its default is the
    // list of passwords, which a test holds.
    found.dictionary_name == DictionaryPattern::default().dictionary_name && only.token == piece
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::user::Profile;

    const DEFAULT: PasswordPolicy = PasswordPolicy {
        min_length: 8,
        max_length: 256,
        min_strength: 0,
        deny_common: true,
        deny_profile: true,
    };
    const LENGTH_ONLY: PasswordPolicy =
        PasswordPolicy { deny_common: false, deny_profile: false, ..DEFAULT };

    fn person() -> User {
        User {
            email: "Marianne.K@example.com".to_owned(),
            email_folded: "marianne.k@example.com".into(),
            username: Some("mkay".to_owned()),
            profile: Profile {
                first_name: Some("Zo\u{eb}".to_owned()),
                last_name: Some("Ke\u{301}pler".to_owned()),
                organization: Some("Acme Works".to_owned()),
                department: None,
                phone: None,
            },
            ..User::sample()
        }
    }

    fn reason(password: &str, policy: &PasswordPolicy) -> String {
        check(password, &person(), policy)
            .map_or_else(|rejected| rejected.to_string(), |()| String::new())
    }

    #[test]
    fn length_is_counted_in_characters() {
        for (length, expected) in [
            (0, "Password should be at least 8 characters"),
            (7, "Password should be at least 8 characters"),
            (8, ""),
            (256, ""),
            (257, "Password should be at most 256 characters"),
        ] {
            for letter in ["x", "\u{e9}", "\u{1f511}"] {
                assert_eq!(
                    reason(&letter.repeat(length), &LENGTH_ONLY),
                    expected,
                    "{length} {letter}"
                );
            }
        }
        // Forms refuse it, so nobody could ever sign in with it.
        let nul = "Password should not contain the character NUL";
        assert_eq!(reason("pass\0word", &LENGTH_ONLY), nul);
        let policy = PasswordPolicy { min_length: 12, max_length: 12, ..LENGTH_ONLY };
        assert_eq!(reason("elevenchars", &policy), "Password should be at least 12 characters");
        assert_eq!(reason("thirteenchars", &policy), "Password should be at most 12 characters");
    }

    #[test]
    fn common_passwords_are_refused_in_every_disguise() {
        for common in [
            "password",
            "12345678",
            "123456789",
            "qwertyuiop",
            "Password1",
            "PASSWORD",
            "baseball",
            "trustno1",
            "iloveyou",
            "sunshine",
            "1qaz2wsx",
            "11111111",
            "aaaaaaaa",
            "abcdefgh",
            "87654321",
            "P@ssw0rd",
            "drowssap",
            "abcabcabc",
            "passwordpassword",
            "qwertyqwerty",
        ] {
            assert_eq!(reason(common, &DEFAULT), "Password is too common", "{common}");
            assert_eq!(reason(common, &LENGTH_ONLY), "", "{common}");
        }
    }

    #[test]
    fn uncommon_passwords_pass() {
        for good in [
            "correct horse battery staple",
            "tr0ub4dor&3xyz",
            "xkq9-vbn2-ppl7",
            "w\u{f6}rterbuch-seite",
            "sunshine over the harbour",
            "\u{1f511}\u{1f431}\u{1f681}\u{1f34b}\u{1f9ca}\u{1f33c}\u{1f6f6}\u{1f98a}",
            "demo-admin-2f7c",
            "guest-pass-41",
            "analyst-pass-77",
        ] {
            assert_eq!(reason(good, &DEFAULT), "", "{good}");
        }
    }

    #[test]
    fn a_password_made_of_ones_own_profile_is_refused() {
        for (password, expected) in [
            ("marianne.k@EXAMPLE.com", "Password should not contain e-mail"),
            ("xx-MARIANNE.K-yy", "Password should not contain e-mail"),
            ("my-MKay-7", "Password should not contain username"),
            ("2-K\u{c9}PLER-K\u{c9}PLER", "Password should not contain last name"),
            ("acme works gate", "Password should not contain organization"),
            // What is left is long enough by itself.
            ("long-MKay-password", ""),
            // Three characters stand in too many words, the domain and parts of words in all.
            ("long zo\u{eb} password", ""),
            ("an example gate 77", ""),
            ("marian-77-gates", ""),
        ] {
            assert_eq!(reason(password, &DEFAULT), expected, "{password}");
            assert_eq!(reason(password, &LENGTH_ONLY), "", "{password}");
        }
        let short = PasswordPolicy { min_length: 1, deny_common: false, ..DEFAULT };
        assert_eq!(reason("ZO\u{cb}", &short), "Password should not contain first name");
    }

    #[test]
    fn strength_is_the_score_and_knows_the_profile() {
        let of = |min_strength| PasswordPolicy { min_strength, ..LENGTH_ONLY };
        let weak = "Password is too easy to guess";
        for (password, score) in [("password", 0), ("correct horse battery staple", 4)] {
            for min_strength in 0..=4 {
                let text = reason(password, &of(min_strength));
                assert_eq!(
                    text.is_empty(),
                    score >= min_strength,
                    "{password} {min_strength} {text}"
                );
                assert!(text.is_empty() || text.starts_with(weak), "{text}");
            }
        }
        assert_eq!(reason("Acme Works", &of(2)), weak, "made of the profile");
        let stranger = User { profile: Profile::default(), ..person() };
        assert_eq!(check("Acme Works", &stranger, &of(2)), Ok(()));
    }

    #[test]
    fn long_passwords_are_judged_by_their_strongest_piece() {
        let strong = PasswordPolicy { min_strength: 4, ..DEFAULT };
        let tail = format!("{}kqv-8thwz-31rpl", "a".repeat(28));
        assert_eq!(reason(&tail, &strong), "");
        for weak in ["12".repeat(50), "a".repeat(256), "password".repeat(3)] {
            assert_eq!(reason(&weak, &DEFAULT), "Password is too common", "{weak}");
        }
        let keys = reason("qawsedrftgyhujikolp".repeat(3).as_str(), &strong);
        assert!(keys.is_empty() || keys.starts_with("Password is"), "{keys}");
    }

    #[test]
    fn the_list_of_passwords_is_the_librarys_default() {
        let name = format!("{:?}", DictionaryPattern::default().dictionary_name);
        assert_eq!(name, "Passwords");
    }

    proptest! {
        #[test]
        fn no_password_breaks_the_policy(
            any in "\\PC{0,40}",
            keys in "[1-9]{28,60}|[12]{28,60}|[a-z]{20,60}|[qwasQW!@12]{28,60}|[0147369]{28,60}",
            digits in "[aA4@8({<369!|1075$+7%2]{8,40}",
            dates in "([0-9]{1,4}[-/. ]){3,20}",
            repeats in "([a-zA4@]{1,6}){20}|(ab|A1|p@){10,50}",
            profile in "([mM][aA4@]r[iI1!][aA4@][nN]{2}[eE3]|[mM]k[aA4]y|acme w[o0]rks){1,8}",
        ) {
            let strict = PasswordPolicy { min_strength: 4, ..DEFAULT };
            let loose = PasswordPolicy { deny_profile: false, deny_common: false, ..strict };
            for password in [any, keys, digits, dates, repeats, profile] {
                // Whatever is said of it, something is: nothing overflows and nothing panics.
                let _judged = check(&password, &person(), &strict);
                let _judged = check(&password, &person(), &loose);
            }
        }
    }
}
