//! People as they are stored, and how their names are compared. No database and no policy.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use crate::clock::Timestamp;

/// A person's account. Prints no hash.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The id, never reused.
    pub id: Uuid,
    /// As entered: surrounding space trimmed, domain in lower case; see [`normalise_email`].
    pub email: String,
    /// What uniqueness and look-ups compare; see [`fold_email`].
    pub email_folded: Arc<str>,
    /// Unique without regard to case; set by operators only.
    pub username: Option<String>,
    /// The stored hash (PHC or crypt form); `None`: no password.
    pub password_hash: Option<String>,
    /// Profile.
    pub profile: Profile,
    /// May sign in.
    pub is_active: bool,
    /// May administer the gateway. Grants no role by itself.
    pub is_superuser: bool,
    /// The e-mail is verified.
    pub is_verified: bool,
    /// When the account was made.
    pub created_at: Timestamp,
    /// Last successful sign-in.
    pub last_login_at: Option<Timestamp>,
    /// Address of the last successful sign-in.
    pub last_address: Option<IpAddr>,
    /// Successful sign-ins.
    pub login_count: i64,
    /// Failed sign-ins.
    pub failed_login_count: i64,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

/// What people say about themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Organization.
    pub organization: Option<String>,
    /// Department.
    pub department: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
}

/// A field of a [`Profile`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProfileField {
    /// Given name.
    FirstName,
    /// Family name.
    LastName,
    /// Organization.
    Organization,
    /// Department.
    Department,
    /// Telephone number.
    Phone,
}

impl ProfileField {
    /// As bodies and forms name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::Organization => "organization",
            Self::Department => "department",
            Self::Phone => "phone",
        }
    }
}

/// A person as requests need them: an account without its history and its password hash. There may be a
/// hundred thousand of these in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The id, never reused.
    pub id: Uuid,
    /// As entered: surrounding space trimmed, domain in lower case; see [`normalise_email`].
    pub email: Arc<str>,
    /// May sign in.
    pub is_active: bool,
    /// May administer the gateway.
    pub is_superuser: bool,
    /// The e-mail is verified.
    pub is_verified: bool,
    /// What else is known, one behind the other, and where each ends.
    texts: Box<str>,
    ends: [u32; TEXTS],
}

/// Username, and the fields of [`Profile`] in their order.
const TEXTS: usize = 6;

impl Person {
    /// Of an account.
    #[must_use]
    pub fn of(user: &User) -> Self {
        let Profile { first_name, last_name, organization, department, phone } = &user.profile;
        let known = [&user.username, first_name, last_name, organization, department, phone];
        let (mut texts, mut ends) = (String::new(), [0; TEXTS]);
        for (text, end) in known.into_iter().zip(&mut ends) {
            texts.push_str(text.as_deref().unwrap_or_default());
            *end = u32::try_from(texts.len()).unwrap_or(u32::MAX);
        }
        // Nearly everybody's are the same: kept once.
        let is_folded = user.email == *user.email_folded;
        Self {
            id: user.id,
            email: if is_folded { Arc::clone(&user.email_folded) } else { (&*user.email).into() },
            is_active: user.is_active,
            is_superuser: user.is_superuser,
            is_verified: user.is_verified,
            texts: texts.into_boxed_str(),
            ends,
        }
    }

    /// A text; an empty one is none.
    fn text(&self, number: usize) -> Option<&str> {
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        let text = self.texts.get(start as usize..self.ends[number] as usize)?;
        (!text.is_empty()).then_some(text)
    }

    /// Unique without regard to case; set by operators only.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.text(0)
    }

    /// Given name.
    #[must_use]
    pub fn first_name(&self) -> Option<&str> {
        self.text(1)
    }

    /// Family name.
    #[must_use]
    pub fn last_name(&self) -> Option<&str> {
        self.text(2)
    }

    /// Organization.
    #[must_use]
    pub fn organization(&self) -> Option<&str> {
        self.text(3)
    }

    /// Department.
    #[must_use]
    pub fn department(&self) -> Option<&str> {
        self.text(4)
    }

    /// Telephone number.
    #[must_use]
    pub fn phone(&self) -> Option<&str> {
        self.text(5)
    }

    /// First and last name, else the e-mail.
    #[must_use]
    pub fn display_name(&self) -> String {
        match (self.first_name(), self.last_name()) {
            (Some(first), Some(last)) => format!("{first} {last}"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => self.email.as_ref().to_owned(),
        }
    }
}

/// A role held by a person, by name, with its optional end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoleGrant {
    /// Name of the role.
    pub role: String,
    /// From this instant on the grant counts for nothing.
    pub until: Option<Timestamp>,
}

/// How a session was signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// With a password.
    Password,
    /// By a provider that vouched for them.
    Provider,
}

impl Method {
    /// As stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Provider => "provider",
        }
    }
}

/// An e-mail address that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address")]
pub struct InvalidEmail;

/// Bytes of a whole address at most (RFC 5321 section 4.5.3.1.3, without the angle brackets).
const MAX_EMAIL: usize = 254;

/// Bytes of a local part at most (RFC 5321 section 4.5.3.1.1).
const MAX_LOCAL: usize = 64;

/// Trims surrounding space and maps the domain as UTS 46 does: what is stored and shown. A domain typed in
/// A-labels stays so; any other becomes its U-labels, so that no domain can be spelled in two ways.
///
/// # Errors
/// [`InvalidEmail`]: no single `@` dividing two parts, over 254 bytes, a local part that is over 64
/// bytes or no dot-atom (RFC 5322 section 3.2.3, letters outside ASCII allowed as RFC 6531 has it;
/// quoted forms are refused), a domain without a dot or that is no host name, space, control or
/// invisible formatting characters.
pub fn normalise_email(text: &str) -> Result<String, InvalidEmail> {
    let (local, domain, ascii) = divide_email(text)?;
    if domain.eq_ignore_ascii_case(&ascii) {
        return Ok(format!("{local}@{ascii}"));
    }
    let stored = format!("{local}@{}", idna::domain_to_unicode(&ascii).0);
    let is_fit = divide_email(&stored).is_ok_and(|(_, _, same)| same == ascii);
    Ok(if is_fit { stored } else { format!("{local}@{ascii}") })
}

/// Folds an address for comparison: NFC, then Unicode lower case, the domain as A-label; nothing else.
///
/// # Errors
/// [`InvalidEmail`], as [`normalise_email`].
pub fn fold_email(text: &str) -> Result<String, InvalidEmail> {
    let (local, _, ascii) = divide_email(text)?;
    let local: String = local.nfc().collect();
    Ok(format!("{}@{ascii}", local.to_lowercase()))
}

/// An address as mail is sent to it: as it is written, with its domain as mail servers know it, which is the
/// folded one's.
#[must_use]
pub fn mail_address(email: &str, folded: &str) -> String {
    match (email.rsplit_once('@'), folded.rsplit_once('@')) {
        (Some((local, _)), Some((_, domain))) => format!("{local}@{domain}"),
        (None, _) | (_, None) => email.to_owned(),
    }
}

/// Trims, limits and divides an address: local part, domain as typed and in A-labels.
fn divide_email(text: &str) -> Result<(&str, &str, String), InvalidEmail> {
    let text = text.trim();
    if text.len() > MAX_EMAIL || text.chars().any(is_unseen) {
        return Err(InvalidEmail);
    }
    let (local, domain) = text.split_once('@').ok_or(InvalidEmail)?;
    let is_dot_atom = local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext));
    if local.len() > MAX_LOCAL || !is_dot_atom {
        return Err(InvalidEmail);
    }
    let ascii = host_name(domain)?;
    // Mail goes to this form (RFC 5321), which may be longer than the one typed.
    if local.len() + 1 + ascii.len() > MAX_EMAIL {
        Err(InvalidEmail)
    } else {
        Ok((local, domain, ascii))
    }
}

/// A host name of several labels, as A-labels in lower case (UTS 46 with STD 3 rules and lengths).
fn host_name(domain: &str) -> Result<String, InvalidEmail> {
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmail)?;
    if ascii.contains('.') && !ascii.ends_with('.') { Ok(ascii) } else { Err(InvalidEmail) }
}

/// RFC 5322 `atext`, with everything outside ASCII that shows itself.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

/// Space, control characters, and those format characters (general category Cf) that a person
/// cannot see and that make two addresses look alike.
fn is_unseen(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Whether a username matches `[A-Za-z0-9][A-Za-z0-9._-]{0,49}`.
#[must_use]
pub fn is_username(text: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    match text.as_bytes() {
        [first, rest @ ..] => {
            first.is_ascii_alphanumeric() && rest.len() <= 49 && rest.iter().all(is_inner)
        }
        [] => false,
    }
}

#[cfg(test)]
impl User {
    /// An account for tests: Ann, who may sign in and has neither password nor username.
    pub(crate) fn sample() -> Self {
        Self {
            id: Uuid::from_u128(1),
            email: "ann@example.com".to_owned(),
            email_folded: "ann@example.com".into(),
            username: None,
            password_hash: None,
            profile: Profile::default(),
            is_active: true,
            is_superuser: false,
            is_verified: true,
            created_at: Timestamp::from_seconds(0),
            last_login_at: None,
            last_address: None,
            login_count: 0,
            failed_login_count: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_normalised_for_storage_and_folded_for_comparison() {
        for (text, stored, folded) in [
            ("ann@example.com", "ann@example.com", "ann@example.com"),
            ("  Ann.Lee@EXAMPLE.Com\n", "Ann.Lee@example.com", "ann.lee@example.com"),
            ("ann+tag@example.com", "ann+tag@example.com", "ann+tag@example.com"),
            ("O'Hara@example.com", "O'Hara@example.com", "o'hara@example.com"),
            ("ann@Bücher.example", "ann@bücher.example", "ann@xn--bcher-kva.example"),
            ("ann@BU\u{308}CHER.example", "ann@b\u{fc}cher.example", "ann@xn--bcher-kva.example"),
            ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
            // One spelling of a domain is stored, whichever was typed.
            ("ann@\u{ff25}xample\u{3002}com", "ann@example.com", "ann@example.com"),
            (
                "ann@b\u{fc}cher.XN--bcher-kva.de",
                "ann@b\u{fc}cher.b\u{fc}cher.de",
                "ann@xn--bcher-kva.xn--bcher-kva.de",
            ),
            // NFC before lower case: the two spellings of É are one.
            ("RENE\u{301}@example.com", "RENE\u{301}@example.com", "ren\u{e9}@example.com"),
            ("REN\u{c9}@example.com", "REN\u{c9}@example.com", "ren\u{e9}@example.com"),
            // Nothing else is folded: not ß, not compatibility forms, not dots or tags.
            ("stra\u{df}e@example.com", "stra\u{df}e@example.com", "stra\u{df}e@example.com"),
            ("\u{ff41}nn@example.com", "\u{ff41}nn@example.com", "\u{ff41}nn@example.com"),
        ] {
            assert_eq!(normalise_email(text).as_deref(), Ok(stored), "{text}");
            assert_eq!(fold_email(text).as_deref(), Ok(folded), "{text}");
        }
    }

    #[test]
    fn mail_goes_to_an_address_as_written_with_the_domain_that_mail_servers_know() {
        for (text, sent) in [
            ("Ann.Lee@EXAMPLE.Com", "Ann.Lee@example.com"),
            ("Ann@B\u{fc}cher.example", "Ann@xn--bcher-kva.example"),
            ("RENE\u{301}@example.com", "RENE\u{301}@example.com"),
        ] {
            let stored = normalise_email(text);
            let to = stored.and_then(|stored| Ok(mail_address(&stored, &fold_email(text)?)));
            assert_eq!(to.as_deref(), Ok(sent), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("{}@{}.com", "a".repeat(64), "b.".repeat(100));
        for text in [
            "",
            " ",
            "@",
            "ann",
            "ann@",
            "@example.com",
            "a@b@example.com",
            "ann@localhost",
            "ann@example.",
            "ann@.com",
            "ann@a..com",
            "ann@example.com.",
            "an n@example.com",
            "ann@exa mple.com",
            "ann@example.com\r\nBcc: x@example.com",
            "a\0@example.com",
            "ann@[127.0.0.1]",
            "ann@-a.com",
            "ann@a_b.com",
            "<ann@example.com>",
            "a,b@example.com",
            "\"a b\"@example.com",
            ".ann@example.com",
            "ann.@example.com",
            "a..b@example.com",
            "a\u{200b}nn@example.com",
            "a\u{202e}nn@example.com",
            "ann@exam\u{200b}ple.com",
            "a\u{a0}b@example.com",
            &long_local,
            &long,
        ] {
            assert_eq!(normalise_email(text), Err(InvalidEmail), "{text:?}");
            assert_eq!(fold_email(text), Err(InvalidEmail), "{text:?}");
        }
    }

    #[test]
    fn usernames_match_their_pattern() {
        let (longest, too_long) = ("a".repeat(50), "a".repeat(51));
        for name in ["a", "Ann", "0", "ann.lee_1-x", &longest] {
            assert!(is_username(name), "{name}");
        }
        for name in
            ["", ".ann", "-ann", "_ann", "ann@x", "a n", "ann\n", "\u{e9}", "a/b", &too_long]
        {
            assert!(!is_username(name), "{name}");
        }
    }

    #[test]
    fn a_display_name_falls_back_to_the_address() {
        let mut user = User::sample();
        assert_eq!(Person::of(&user).display_name(), "ann@example.com");
        user.profile.last_name = Some("Lee".to_owned());
        assert_eq!(Person::of(&user).display_name(), "Lee");
        user.profile.first_name = Some("Ann".to_owned());
        assert_eq!(Person::of(&user).display_name(), "Ann Lee");
    }

    #[test]
    fn a_person_is_what_the_account_says() {
        let text = |text: &str| Some(text.to_owned());
        let user = User {
            email: "Ann@example.com".to_owned(),
            username: text("ann"),
            profile: Profile {
                first_name: text("Ann"),
                last_name: None,
                organization: text("B\u{fc}cher"),
                department: text(""),
                phone: text("+1"),
            },
            ..User::sample()
        };
        let person = Person::of(&user);
        assert_eq!((person.id, &*person.email), (user.id, "Ann@example.com"));
        assert_eq!((person.username(), person.first_name()), (Some("ann"), Some("Ann")));
        assert_eq!((person.last_name(), person.organization()), (None, Some("B\u{fc}cher")));
        assert_eq!((person.department(), person.phone()), (None, Some("+1")));
        assert!(person.is_active && person.is_verified && !person.is_superuser);
        assert_eq!(&*Person::of(&User::sample()).email, "ann@example.com");
    }

    proptest! {
        #[test]
        fn no_text_breaks_folding(text in "\\PC{0,20}@\\PC{0,20}\\.?[a-z]{0,3}") {
            assert_eq!(normalise_email(&text).is_ok(), fold_email(&text).is_ok());
        }

        #[test]
        fn what_is_stored_folds_like_what_was_typed(local in "[A-Za-zÀ-ÿ.+]{1,10}", domain in "[A-Za-zÀ-ÿ\u{ff21}-\u{ff5a}]{1,8}\\.[A-Za-z]{2,3}") {
            let typed = format!("{local}@{domain}");
            if let Ok(stored) = normalise_email(&typed) {
                assert_eq!(normalise_email(&stored).as_ref(), Ok(&stored));
                assert!(stored.chars().all(|c| !('\u{ff00}'..='\u{ff60}').contains(&c)), "{stored}");
                assert_eq!(fold_email(&stored), fold_email(&typed));
            }
        }
    }
}
