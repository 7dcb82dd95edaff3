//! What the tables hold, and what is written to them, as values.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use uuid::Uuid;

use super::SessionOrigin;
use crate::clock::Timestamp;
use crate::identity::grant::Grant;
use crate::identity::user::{Method, Profile, RoleGrant, User};
use crate::web::language::Language;

/// A session as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// SHA-256 of the cookie's random bytes, or 32 random bytes of a bearer session.
    pub id: [u8; 32],
    /// Whose it is.
    pub user: Uuid,
    /// How it was signed in.
    pub method: Method,
    /// Cookie or bearer.
    pub kind: SessionKind,
    /// Sign-in.
    pub created_at: Timestamp,
    /// Last use written.
    pub last_seen: Timestamp,
    /// Idle limit; `None` for a bearer session.
    pub idle: Option<Duration>,
    /// Absolute end.
    pub expires_at: Timestamp,
    /// Address of the sign-in.
    pub address: Option<IpAddr>,
    /// `User-Agent` of the sign-in, at most 256 characters.
    pub agent: String,
    /// The provider it came from, if one vouched for the person.
    pub origin: Option<SessionOrigin>,
}

/// What carries a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionKind {
    /// A cookie.
    Cookie,
    /// An access token.
    Bearer,
}

/// A session with everything a request needs to know about its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSession {
    /// The session.
    pub session: SessionRow,
    /// Its owner.
    pub user: User,
    /// The roles granted to its owner, past ones too.
    pub grants: Vec<RoleGrant>,
}

/// A role of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRow {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it grants.
    pub grants: Vec<Grant>,
}

/// One row of `changes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Sequence number (not commit order on PostgreSQL).
    pub id: i64,
    /// What changed.
    pub subject: Changed,
}

/// What a change touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// A person: flags, names, grants, all of their sessions.
    User(Uuid),
    /// One session.
    Session([u8; 32]),
    /// A role of the database: made, changed or deleted.
    Role(String),
}

/// What one good read of the change log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesRead {
    /// Rows of the window, oldest first.
    pub rows: Vec<Change>,
    /// Another number after another database has taken the place of the one that was read before: ids
    /// of the two say nothing of each other.
    pub database: u64,
}

/// A one-time token's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// Sets up the first administrator.
    SetUp,
    /// Sets a new password.
    Reset,
    /// Verifies an e-mail.
    Verify,
    /// Has verified an e-mail: kept until its end, so that whoever opens the link again can be told.
    Verified,
    /// Something that may come once, and came.
    Spent,
}

/// A one-time token of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserToken {
    /// What it is good for.
    pub kind: TokenKind,
    /// Whose it is.
    pub user: Uuid,
    /// The digest of what the link holds.
    pub digest: [u8; 32],
    /// Its end.
    pub expires_at: Timestamp,
}

/// An invitation to make an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// Its id.
    pub id: Uuid,
    /// Whom it is for, as entered, normalised.
    pub email: String,
    /// Folded.
    pub email_folded: String,
    /// Given name to begin with.
    pub first_name: Option<String>,
    /// Family name to begin with.
    pub last_name: Option<String>,
    /// Roles that the account begins with.
    pub roles: Vec<String>,
    /// Who invites: an e-mail or `cli`.
    pub invited_by: String,
    /// The account of the superuser who invites; none for the command line.
    pub inviter: Option<Uuid>,
    /// When.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Timestamp,
}

/// What a letter of the outbox is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LetterKind {
    /// A link for setting a new password.
    Reset,
    /// A link for verifying the e-mail.
    Verify,
    /// An invitation to make an account.
    Invite,
    /// To the e-mail that an account had before: it has another one now.
    EmailChanged,
    /// The account has another password now.
    PasswordChanged,
}

/// A letter that is to go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewLetter<'a> {
    /// What it is about.
    pub kind: LetterKind,
    /// The folded e-mail it was asked for with, whether or not there is such an account; of what tells of a
    /// change, the address it goes to.
    pub recipient: &'a str,
    /// In which language.
    pub language: Language,
    /// When.
    pub queued_at: Timestamp,
}

/// Who takes a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The node.
    pub node: Uuid,
    /// This attempt of its.
    pub attempt: Uuid,
}

/// A letter of the outbox, taken for an attempt to send it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldLetter {
    /// Its number.
    pub id: i64,
    /// What it is about.
    pub kind: LetterKind,
    /// As [`NewLetter::recipient`].
    pub recipient: String,
    /// In which language.
    pub language: Language,
    /// The account that an earlier attempt found it to be for.
    pub subject: Option<Uuid>,
    /// When it was last asked for.
    pub queued_at: Timestamp,
    /// Attempts before this one.
    pub attempts: u32,
    /// The attempt that it was taken for, which holds it.
    pub holder: Uuid,
}

/// An event: what happened to an account, by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What: one of [`Event::KINDS`].
    pub kind: String,
    /// The account it is about, if there is one.
    pub user: Option<Uuid>,
    /// Who did it: an e-mail, `cli`, or empty.
    pub actor: String,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// `User-Agent`, at most 256 characters.
    pub agent: String,
    /// One line more: a role, a reason. Never a secret.
    pub detail: String,
}

impl Event {
    /// Every kind there is.
    pub const KINDS: [&'static str; 31] = [
        "sign-in",
        "sign-in-failed",
        "confirmation-failed",
        "sign-in-refused",
        "sign-out",
        "sign-out-everywhere",
        "link",
        "unlink",
        "set-up",
        "user-created",
        "register",
        "update",
        "delete",
        "users-imported",
        "users-replaced",
        "reset-link",
        "verify-link",
        "reset",
        "verify",
        "grant",
        "revoke",
        "sessions-revoked",
        "role-created",
        "role-deleted",
        "role-granted",
        "role-revoked",
        "roles-imported",
        "roles-replaced",
        "invite",
        "invitation-revoked",
        "mail-failed",
    ];
}

/// Which events are asked for; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this account, which may be gone.
    pub user: Option<Uuid>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Not older than this.
    pub since: Option<Timestamp>,
}

/// A wrong password that was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastWrongPassword {
    /// When.
    pub at: Timestamp,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The folded e-mail of the account, or the one it was tried with; empty if that was none.
    pub account: String,
}

/// A new account. Prints no hash.
#[derive(Clone, Default)]
pub struct NewUser {
    /// As entered, normalised.
    pub email: String,
    /// Folded.
    pub email_folded: String,
    /// Username.
    pub username: Option<String>,
    /// Hash.
    pub password_hash: Option<String>,
    /// Profile.
    pub profile: Profile,
    /// May sign in.
    pub is_active: bool,
    /// Superuser.
    pub is_superuser: bool,
    /// Verified.
    pub is_verified: bool,
    /// Roles granted at once.
    pub roles: Vec<String>,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser").field("email", &self.email).finish_non_exhaustive()
    }
}

/// What a sign-in writes in one transaction.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The new session.
    pub session: SessionRow,
    /// A session this browser had before, ended by the sign-in.
    pub replaces: Option<[u8; 32]>,
    /// The event.
    pub event: Event,
}

/// Which sessions to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndSessions {
    /// One.
    One([u8; 32]),
    /// All of a person.
    OfUser(Uuid),
    /// All of a person but one.
    OfUserBut(Uuid, [u8; 32]),
    /// Every one.
    All,
}
