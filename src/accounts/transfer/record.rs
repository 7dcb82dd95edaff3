//! An account as a file has it.

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::read::{Cell, Columns};
use crate::accounts::draft::{Draft, Mistake};
use crate::accounts::people::read_id;
use crate::clock::Timestamp;
use crate::identity::grant::is_role_name;
use crate::identity::hashing::Kind;
use crate::identity::user::{Profile, RoleGrant, User};
use crate::store::{Past, StagedUser};

/// The fields of an account, in the order in which they are written.
pub(super) const COLUMNS: &Columns = &[
    ("id", Cell::Text),
    ("email", Cell::Text),
    ("username", Cell::Text),
    ("password", Cell::Text),
    ("password_hash", Cell::Text),
    ("is_active", Cell::Flag),
    ("is_superuser", Cell::Flag),
    ("is_verified", Cell::Flag),
    ("first_name", Cell::Text),
    ("last_name", Cell::Text),
    ("organization", Cell::Text),
    ("department", Cell::Text),
    ("phone", Cell::Text),
    ("roles", Cell::List),
    ("created_at", Cell::Text),
];

/// A line of a file. What is absent or null is as in a new account that nobody has signed in to.
#[derive(Deserialize, Serialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    id: Option<String>,
    email: String,
    username: Option<String>,
    /// Never written. Not a text yet, so that what is none is not repeated in an error.
    #[serde(default, deserialize_with = "present", skip_serializing)]
    password: Option<Value>,
    /// Null says that there is none; absent, that an account that exists keeps its password.
    #[serde(default, deserialize_with = "present")]
    password_hash: Option<Value>,
    is_active: Option<bool>,
    is_superuser: Option<bool>,
    is_verified: Option<bool>,
    first_name: Option<String>,
    last_name: Option<String>,
    organization: Option<String>,
    department: Option<String>,
    phone: Option<String>,
    roles: Option<Vec<String>>,
    created_at: Option<String>,
}

/// What is there, null too.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// An account to come, with the password that is to be hashed for it.
pub(super) struct Incoming {
    pub(super) staged: StagedUser,
    /// The file says which id it has.
    pub(super) has_id: bool,
    pub(super) password: Option<SecretString>,
}

/// Why a record is no account.
pub(super) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Mistake> for Refused {
    fn from(mistake: Mistake) -> Self {
        Self(mistake.to_string())
    }
}

impl From<&str> for Refused {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl Record {
    /// An account as it is written; grants that are past at `now` are left out.
    pub(super) fn of(user: &User, grants: &[RoleGrant], now: Timestamp) -> Self {
        let lives = |grant: &&RoleGrant| grant.until.is_none_or(|until| until > now);
        let profile = user.profile.clone();
        Self {
            id: Some(user.id.to_string()),
            email: user.email.clone(),
            username: user.username.clone(),
            password: None,
            password_hash: Some(user.password_hash.clone().into()),
            is_active: Some(user.is_active),
            is_superuser: Some(user.is_superuser),
            is_verified: Some(user.is_verified),
            first_name: profile.first_name,
            last_name: profile.last_name,
            organization: profile.organization,
            department: profile.department,
            phone: profile.phone,
            roles: Some(grants.iter().filter(lives).map(write_grant).collect()),
            created_at: Some(user.created_at.exact()),
        }
    }

    /// The account a record stands for; `fresh` is its id if it says none.
    pub(super) fn account(self, line: u64, fresh: Uuid) -> Result<Incoming, Refused> {
        let id = self.id.as_deref().map(|text| read_id(text.trim()).ok_or("the id is no UUID"));
        let id = id.transpose()?;
        let keeps_password = self.password.is_none() && self.password_hash.is_none();
        let (password, hash) = credentials(self.password, self.password_hash)?;
        let created_at = self.created_at.as_deref().map(|text| {
            Timestamp::parse(text.trim())
                .ok_or("created_at is no time such as 2027-01-31T18:00:00Z")
        });
        let grants = self.roles.unwrap_or_default();
        let grants = grants.iter().map(|text| read_grant(text)).collect::<Result<Vec<_>, _>>()?;
        if (1..grants.len()).any(|i| grants[..i].iter().any(|held| held.role == grants[i].role)) {
            return Err("a role is there twice".into());
        }
        let draft = Draft {
            email: self.email,
            username: self.username,
            profile: Profile {
                first_name: self.first_name,
                last_name: self.last_name,
                organization: self.organization,
                department: self.department,
                phone: self.phone,
            },
            is_active: self.is_active.unwrap_or(true),
            is_superuser: self.is_superuser.unwrap_or(false),
            is_verified: self.is_verified.unwrap_or(false),
            ..Draft::default()
        };
        let mut user = draft.row()?;
        user.password_hash = hash;
        let staged = StagedUser {
            line,
            id: id.unwrap_or(fresh),
            user,
            grants,
            created_at: created_at.transpose()?,
            keeps_password,
            links: None,
            past: Past::default(),
        };
        Ok(Incoming { staged, has_id: id.is_some(), password })
    }
}

/// A password to be hashed or a hash, never both.
fn credentials(
    password: Option<Value>,
    hash: Option<Value>,
) -> Result<(Option<SecretString>, Option<String>), Refused> {
    let text = |value: Option<Value>, refusal: &str| match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Refused::from(refusal))
        }
    };
    let password = text(password, "the password is no text")?;
    let hash = text(hash, "the password_hash is no text")?;
    if password.is_some() && hash.is_some() {
        return Err("both a password and a password_hash".into());
    }
    if let Some(hash) = &hash {
        Kind::of(hash).map_err(|unusable| Refused(unusable.to_string()))?;
    }
    Ok((password.map(SecretString::from), hash))
}

/// Between a role and the end of its grant. No role's name holds a colon, so no name is mistaken.
const UNTIL: &str = " until ";

fn write_grant(grant: &RoleGrant) -> String {
    match grant.until {
        Some(until) => format!("{}{UNTIL}{}", grant.role, until.exact()),
        None => grant.role.clone(),
    }
}

fn read_grant(text: &str) -> Result<RoleGrant, Refused> {
    let text = text.trim();
    let with_end = text.rsplit_once(UNTIL).and_then(|(role, end)| {
        Some(RoleGrant { role: role.trim().to_owned(), until: Some(Timestamp::parse(end.trim())?) })
    });
    let grant = with_end.unwrap_or_else(|| RoleGrant { role: text.to_owned(), until: None });
    if is_role_name(&grant.role) { Ok(grant) } else { Err(Mistake::Role(grant.role).into()) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
         RdescudvJCsgt3ub+b3dWRWJTmaQCg8XcpTuCZzmYXk";

    fn account(json: &str) -> Result<Incoming, String> {
        let record: Record = serde_json::from_str(json).map_err(|error| error.to_string())?;
        record.account(7, Uuid::from_u128(9)).map_err(|refused| refused.to_string())
    }

    #[test]
    fn what_a_line_leaves_out_is_as_in_a_new_account_nobody_vouches_for() {
        let Incoming { staged, has_id, password } =
            account(r#"{"email":" Ann@EXAMPLE.com","username":"","roles":null}"#).ok().unwrap();
        assert_eq!((staged.line, staged.id, has_id), (7, Uuid::from_u128(9), false));
        assert_eq!(staged.user.email, "Ann@example.com");
        assert!(staged.user.is_active && !staged.user.is_superuser && !staged.user.is_verified);
        assert!(staged.user.username.is_none() && staged.user.password_hash.is_none());
        assert!(staged.keeps_password && password.is_none() && staged.grants.is_empty());
        for json in [
            r#"{"email":"a@b.example","password_hash":null}"#,
            r#"{"email":"a@b.example","password":null}"#,
        ] {
            assert!(!account(json).ok().unwrap().staged.keeps_password, "{json}");
        }
    }

    #[test]
    fn an_account_that_was_written_is_read_as_it_was() {
        let (now, until) = (Timestamp::from_seconds(1_000), Timestamp::from_micros(2_000_000_001));
        let user = User {
            username: Some("ann".to_owned()),
            password_hash: Some(HASH.to_owned()),
            is_superuser: true,
            ..User::sample()
        };
        let grant = |role: &str, until| RoleGrant { role: role.to_owned(), until };
        let grants =
            [grant("lives until then", None), grant("b", Some(until)), grant("past", Some(now))];
        let text = serde_json::to_string(&Record::of(&user, &grants, now)).unwrap();
        let Incoming { staged, has_id, .. } = account(&text).ok().unwrap();
        assert!(has_id && staged.id == user.id && staged.created_at == Some(user.created_at));
        assert_eq!(staged.user.password_hash.as_deref(), Some(HASH));
        assert_eq!(staged.user.username.as_deref(), Some("ann"));
        assert!(staged.user.is_superuser && staged.user.is_verified && staged.user.is_active);
        assert_eq!(staged.grants, grants[..2]);
    }

    #[test]
    fn what_is_no_account_is_refused_and_no_secret_is_repeated() {
        let of = |rest: &str| account(&format!(r#"{{"email":"a@b.example",{rest}}}"#));
        for (rest, reason) in [
            (r#""id":"{0b1c}""#.to_owned(), "the id is no UUID"),
            (r#""username":"a@b""#.to_owned(), "a username is 1 to 50"),
            (r#""password":12345"#.to_owned(), "the password is no text"),
            (r#""password_hash":["x"]"#.to_owned(), "the password_hash is no text"),
            (format!(r#""password":"x","password_hash":"{HASH}""#), "both a password"),
            (r#""password_hash":"s3cret""#.to_owned(), "unusable password hash: its format"),
            (
                format!(r#""password_hash":"{}""#, HASH.replace("m=19456", "m=2000000")),
                "unusable password hash: it needs more than 256 MiB",
            ),
            (
                format!(r#""password_hash":"{}""#, HASH.replace("t=2", "t=99")),
                "unusable password hash: it takes too many rounds",
            ),
            (r#""roles":["a:b"]"#.to_owned(), "not a role name: a:b"),
            (r#""roles":["a","a until 2027-01-31T18:00:00Z"]"#.to_owned(), "a role is there twice"),
            (r#""created_at":"yesterday""#.to_owned(), "created_at is no time"),
            (r#""first_name":"a\u0000b""#.to_owned(), "the first name is longer"),
        ] {
            let Err(found) = of(&rest) else { panic!("{rest} is taken") };
            assert!(found.starts_with(reason), "{rest}: {found}");
            assert!(!found.contains("12345") && !found.contains("s3cret"), "{found}");
        }
        assert!(account(r#"{"email":"ann"}"#).is_err_and(|reason| reason.contains("e-mail")));
    }
}
