//! What is changed about an account at once, and what the change ends: sessions, links, invitations.

use std::fmt;

use uuid::Uuid;

use super::sql::{Connection, Value, values};
use super::users::{self, HOLD_SUPERUSERS};
use super::{
    Changed, Conflict, EndSessions, Event, LetterKind, Store, StoreError, Telling, TokenKind,
    changes, events, invitations, links, outbox, password_kinds, sessions, tokens,
};
use crate::identity::user::{Profile, User};

/// A change to one flag of an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flag {
    /// `is_active`.
    Active(bool),
    /// `is_verified` becomes true.
    Verified,
}

impl From<Flag> for UserChange {
    fn from(flag: Flag) -> Self {
        match flag {
            Flag::Active(value) => Self { is_active: Some(value), ..Self::default() },
            Flag::Verified => Self { is_verified: Some(true), ..Self::default() },
        }
    }
}

/// What is to be different about an account. `None` leaves a field as it is. Prints no hash.
#[derive(Clone, Default)]
pub struct UserChange {
    /// E-mail, normalised and folded.
    pub email: Option<(String, String)>,
    /// Hash of a new password.
    pub password_hash: Option<String>,
    /// Profile; a text of nothing removes what is there.
    pub profile: Profile,
    /// May sign in.
    pub is_active: Option<bool>,
    /// Superuser.
    pub is_superuser: Option<bool>,
    /// Verified; where the e-mail becomes another one and this says nothing, it is not.
    pub is_verified: Option<bool>,
    /// Where mail is sent: how the owner is told of another e-mail or password.
    pub telling: Option<Telling>,
}

impl fmt::Debug for UserChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserChange").field("email", &self.email).finish_non_exhaustive()
    }
}

/// Who changes an account, and by which session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Author {
    /// Its owner, by this session, which has to exist still and lives on.
    Owner([u8; 32]),
    /// An operator: a superuser, or the command line.
    Operator(Option<Superuser>),
}

/// A superuser who acts, and by which session. What they asked for may have taken a while to come, so both
/// have to be so still when it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Superuser {
    /// Their account.
    pub account: Uuid,
    /// Their session.
    pub session: [u8; 32],
}

impl UserChange {
    /// The account as it is to be.
    #[must_use]
    pub fn applied_to(&self, user: &User) -> User {
        let text = |new: &Option<String>, old: &Option<String>| match new {
            Some(new) => Some(new.clone()).filter(|new| !new.is_empty()),
            None => old.clone(),
        };
        let (new, old) = (&self.profile, &user.profile);
        let mut changed = User {
            profile: Profile {
                first_name: text(&new.first_name, &old.first_name),
                last_name: text(&new.last_name, &old.last_name),
                organization: text(&new.organization, &old.organization),
                department: text(&new.department, &old.department),
                phone: text(&new.phone, &old.phone),
            },
            password_hash: self.password_hash.clone().or_else(|| user.password_hash.clone()),
            is_active: self.is_active.unwrap_or(user.is_active),
            is_superuser: self.is_superuser.unwrap_or(user.is_superuser),
            ..user.clone()
        };
        if let Some((email, folded)) = &self.email {
            changed.is_verified &= **folded == *user.email_folded;
            changed.email.clone_from(email);
            changed.email_folded = folded.as_str().into();
        }
        changed.is_verified = self.is_verified.unwrap_or(changed.is_verified);
        changed
    }
}

impl Store {
    /// Changes an account, and ends what the change ends: a new password or another e-mail every other
    /// session and the links mailed before, an operator's new password every session and link and what is
    /// linked at providers, switching an account off every session and the links to a new password. Whoever
    /// stops being an active superuser takes their open invitations along. The event's detail becomes the
    /// names of the fields that differ, and how many invitations went; where none does nothing is written.
    /// The account as it is then.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Email`]; [`Conflict::LastSuperuser`]; [`Conflict::Gone`] when there is no
    /// such account, or its owner's session has ended; [`Conflict::NoSuperuser`].
    pub async fn update_user(
        &self,
        id: Uuid,
        change: &UserChange,
        author: Author,
        event: &Event,
    ) -> Result<User, StoreError> {
        self.update_user_with_letters(id, change, author, event).await.map(|(user, _)| user)
    }

    /// As [`Store::update_user`]; says how many letters that tell the owner were put in, in the same
    /// transaction.
    ///
    /// # Errors
    /// As [`Store::update_user`].
    pub async fn update_user_with_letters(
        &self,
        id: Uuid,
        change: &UserChange,
        author: Author,
        event: &Event,
    ) -> Result<(User, u32), StoreError> {
        let now = self.clock.now();
        let written = self.pool.write(async |connection| {
            if change.is_active.is_some() || change.is_superuser.is_some() {
                connection.run(HOLD_SUPERUSERS).await?;
            }
            let before = users::hold_for(connection, id, author).await?;
            let after = change.applied_to(&before);
            let mut differing = differences(&before, &after);
            if differing.is_empty() {
                return Ok((before, 0));
            }
            if !users::is_operating(&after) {
                users::keep_a_superuser(connection, &before).await?;
            }
            let (former, email) = (&before.email_folded, &after.email_folded);
            // Asked before it is written: two who take each other's would wait for each other.
            if former != email && users::has_email(connection, email).await? {
                return Err(StoreError::Conflict(Conflict::Email));
            }
            update(connection, &before, &after).await?;
            end_what_ends(connection, (&before, &after), author, event).await?;
            if users::is_operating(&before) && !users::is_operating(&after) {
                differing.extend(invitations::delete_of_inviter(connection, id, now).await?);
            }
            changes::insert(connection, &Changed::User(id)).await?;
            let event = Event { detail: differing.join(", "), ..event.clone() };
            events::insert(connection, &event).await?;
            let kinds = told_changes(&before, &after);
            let told = outbox::tell_owner(connection, &before, &kinds, change.telling).await?;
            Ok((after, told))
        });
        written.await
    }
}

/// The fields in which two states of an account differ, flags with what they became: never a text that
/// somebody entered.
fn differences(before: &User, after: &User) -> Vec<String> {
    let (old, new) = (&before.profile, &after.profile);
    let texts = [
        ("email", before.email != after.email),
        ("password", before.password_hash != after.password_hash),
        ("first_name", old.first_name != new.first_name),
        ("last_name", old.last_name != new.last_name),
        ("organization", old.organization != new.organization),
        ("department", old.department != new.department),
        ("phone", old.phone != new.phone),
    ];
    let flags = [
        ("is_active", before.is_active, after.is_active),
        ("is_superuser", before.is_superuser, after.is_superuser),
        ("is_verified", before.is_verified, after.is_verified),
    ];
    let texts = texts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned());
    let flags = flags.into_iter().filter(|(_, old, new)| old != new);
    texts.chain(flags.map(|(name, _, new)| format!("{name}={new}"))).collect()
}

async fn update(
    connection: &mut Connection,
    before: &User,
    after: &User,
) -> Result<(), StoreError> {
    if let Some(hash) = after.password_hash.as_deref().filter(|_| is_new_password(before, after)) {
        let kind = password_kinds::insert(connection, hash).await?;
        let sql = "UPDATE users SET password_hash = $2, password_kind = $3 WHERE id = $1";
        connection.execute(sql, values![after.id, hash, kind]).await?;
    }
    let sql = "UPDATE users SET email = $2, email_folded = $3, first_name = $4, last_name = $5, \
         organization = $6, department = $7, phone = $8, is_active = $9, is_superuser = $10, \
         is_verified = $11 WHERE id = $1";
    let profile = &after.profile;
    let values: [Value; 11] = [
        after.id.into(),
        after.email.as_str().into(),
        (&*after.email_folded).into(),
        (&profile.first_name).into(),
        (&profile.last_name).into(),
        (&profile.organization).into(),
        (&profile.department).into(),
        (&profile.phone).into(),
        after.is_active.into(),
        after.is_superuser.into(),
        after.is_verified.into(),
    ];
    connection.execute(sql, &values).await.map(drop)
}

fn is_new_email(before: &User, after: &User) -> bool {
    before.email_folded != after.email_folded
}

/// What of a change its owner is told by mail.
fn told_changes(before: &User, after: &User) -> Vec<LetterKind> {
    let email = is_new_email(before, after).then_some(LetterKind::EmailChanged);
    let password = is_new_password(before, after).then_some(LetterKind::PasswordChanged);
    email.into_iter().chain(password).collect()
}

fn is_new_password(before: &User, after: &User) -> bool {
    before.password_hash != after.password_hash
}

/// Ends the sessions and voids the links that do not outlive a change.
async fn end_what_ends(
    connection: &mut Connection,
    (before, after): (&User, &User),
    author: Author,
    event: &Event,
) -> Result<(), StoreError> {
    let (id, is_new_password) = (after.id, is_new_password(before, after));
    let is_new_email = is_new_email(before, after);
    let is_off = before.is_active && !after.is_active;
    let (spared, is_operator) = match author {
        Author::Owner(session) => (Some(session), false),
        Author::Operator(by) => (by.map(|by| by.session), true),
    };
    let ended = match spared {
        _ if is_off || (is_operator && is_new_password) => Some(EndSessions::OfUser(id)),
        Some(spared) if is_new_password || is_new_email => Some(EndSessions::OfUserBut(id, spared)),
        None if is_new_email => Some(EndSessions::OfUser(id)),
        Some(_) | None => None,
    };
    if let Some(ended) = ended {
        sessions::delete(connection, ended).await?;
    }
    if is_operator && is_new_password {
        // Whoever had a session may have linked an account of their own to come back by.
        links::delete_of_user(connection, id, event).await?;
    }
    if is_new_email || (is_operator && is_new_password) {
        tokens::delete_of_user(connection, id).await?;
    } else if is_off || is_new_password {
        // An e-mail may be verified all the same.
        tokens::delete_of_kind(connection, TokenKind::Reset, id).await?;
    }
    Ok(())
}
