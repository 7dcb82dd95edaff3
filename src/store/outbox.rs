//! Letters that are to go out, by one node at a time.
//!
//! Whoever sends a letter holds it for a while by the database's clock, which is the same for every node,
//! and while a node holds one no other node is given any. The next attempt is set when a letter is taken, so one
//! whose sender dies is tried again like one that was refused.

use std::time::Duration;

use uuid::Uuid;

use super::sql::{Both, Connection, Row, values};
use super::{Event, HeldLetter, Holder, LetterKind, NewLetter, Store, StoreError, events};
use crate::clock::Timestamp;
use crate::identity::user::{User, mail_address};
use crate::web::language::Language;

/// Taken by whoever takes a letter, so that two nodes never take one each. The number is arbitrary.
/// SQLite has one writer anyway.
const HOLD_OUTBOX: Both =
    Both { sqlite: "", postgres: "SELECT pg_advisory_xact_lock(2930175548210963341)" };

const IS_DUE: &str = "SELECT o.id FROM outbox o WHERE o.next_attempt <= $1 LIMIT 1";

/// Lets go of the letter `$1` that the attempt `$2` holds.
const RELEASE: &str =
    "UPDATE outbox SET holder = NULL, held_until = 0 WHERE id = $1 AND holder = $2";

/// The first letter that is due and nobody is at, unless another node than `$2` is at one.
const FIRST_DUE: &str = "SELECT o.id, o.kind, o.recipient, o.language, o.subject, o.queued_at, \
     o.attempts FROM outbox o WHERE o.next_attempt <= $1 \
     AND o.held_until <= (SELECT d.micros FROM database_time d) \
     AND NOT EXISTS (SELECT 1 FROM outbox held \
     WHERE held.held_until > (SELECT d.micros FROM database_time d) \
     AND held.node IS DISTINCT FROM $2) ORDER BY o.next_attempt, o.id LIMIT 1";

/// How the owner of an account is told of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Telling {
    /// In which language.
    pub language: Language,
    /// When.
    pub now: Timestamp,
    /// As many letters may wait.
    pub most: u32,
}

impl LetterKind {
    /// As the outbox, events and metrics spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Verify => "verify",
            Self::Invite => "invite",
            Self::EmailChanged => "email-changed",
            Self::PasswordChanged => "password-changed",
        }
    }

    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Reset, Self::Verify, Self::Invite, Self::EmailChanged, Self::PasswordChanged];

    fn parse(text: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| StoreError::Corrupt(format!("a letter of kind {text}")))
    }
}

impl Store {
    /// Puts a letter into the outbox; `false` when it holds `most` letters already. One of the same kind
    /// for the same address that still waits is asked for anew instead, for whoever has the address now:
    /// both write as much, so the time this takes does not tell whether one is there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_letter(
        &self,
        letter: &NewLetter<'_>,
        most: u32,
    ) -> Result<bool, StoreError> {
        self.pool.write(async |connection| insert(connection, letter, most).await).await
    }

    /// Takes the first letter that is due for an attempt and is not held, unless another node holds one,
    /// and holds it for a while. Its next attempt is due after `pause`, given the number of attempts before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_letter_to_send(
        &self,
        now: Timestamp,
        holder: Holder,
        hold: Duration,
        pause: impl Fn(u32) -> Duration,
    ) -> Result<Option<HeldLetter>, StoreError> {
        // Most of the time there is none, which needs no transaction that may write.
        let due = self.pool.read(async |connection| connection.row(IS_DUE, values![now]).await);
        if due.await?.is_none() {
            return Ok(None);
        }
        let taken = self.pool.write(async |connection| {
            connection.run(HOLD_OUTBOX).await?;
            let Holder { node, attempt } = holder;
            let row = connection.row(FIRST_DUE, values![now, node]).await?;
            let Some(letter) = row.map(|row| read_letter(&row, attempt)).transpose()? else {
                return Ok(None);
            };
            let sql = "UPDATE outbox SET attempts = attempts + 1, next_attempt = $2, holder = $3, \
                 node = $4, held_until = (SELECT d.micros FROM database_time d) + $5 WHERE id = $1";
            let next = now.after(pause(letter.attempts));
            connection.execute(sql, values![letter.id, next, attempt, node, hold]).await?;
            Ok(Some(letter))
        });
        taken.await
    }

    /// Holds a letter for another while; `false` when it is no longer this holder's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_letter_hold(
        &self,
        letter: &HeldLetter,
        hold: Duration,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE outbox SET held_until = (SELECT d.micros FROM database_time d) + $3 \
             WHERE id = $1 AND holder = $2";
        let values = values![letter.id, letter.holder, hold];
        self.pool.execute(sql, values).await.map(|rows| rows > 0)
    }

    /// Notes whom a letter is for: an attempt after this one sends it to nobody else, unless it was asked for
    /// again meanwhile, since the address may be another's by then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_letter_subject(
        &self,
        letter: &HeldLetter,
        subject: Uuid,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET subject = $4 WHERE id = $1 AND holder = $2 AND queued_at = $3";
        let values = values![letter.id, letter.holder, letter.queued_at, subject];
        self.pool.execute(sql, values).await.map(drop)
    }

    /// Lets go of a letter after a failed attempt.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_letter_released(&self, letter: &HeldLetter) -> Result<(), StoreError> {
        self.pool.execute(RELEASE, values![letter.id, letter.holder]).await.map(drop)
    }

    /// Removes a letter that was sent, or is for nobody, or, with an event, was given up. One that was
    /// asked for again meanwhile is let go of instead, since what was sent may be void by now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_letter(
        &self,
        letter: &HeldLetter,
        event: Option<&Event>,
    ) -> Result<(), StoreError> {
        let deleted = self.pool.write(async |connection| {
            let sql = "DELETE FROM outbox WHERE id = $1 AND holder = $2 AND queued_at = $3";
            let values = values![letter.id, letter.holder, letter.queued_at];
            let rows = connection.execute(sql, values).await?;
            if rows == 0 {
                connection.execute(RELEASE, values![letter.id, letter.holder]).await?;
            }
            match event {
                Some(event) if rows > 0 => events::insert(connection, event).await,
                Some(_) | None => Ok(()),
            }
        });
        deleted.await
    }
}

/// Puts a letter in, as [`Store::insert_letter`].
pub(super) async fn insert(
    connection: &mut Connection,
    letter: &NewLetter<'_>,
    most: u32,
) -> Result<bool, StoreError> {
    let count = "SELECT COUNT(*) FROM (SELECT o.id FROM outbox o LIMIT $1) AS waiting";
    let row = connection.row(count, values![most]).await?;
    if row.map_or(Ok(0), |row| row.cells().int())? >= i64::from(most) {
        return Ok(false);
    }
    let sql = "INSERT INTO outbox \
         (kind, recipient, language, queued_at, attempts, next_attempt, held_until) \
         VALUES ($1, $2, $3, $4, 0, $4, 0) ON CONFLICT (recipient, kind) DO UPDATE \
         SET language = excluded.language, queued_at = excluded.queued_at, \
         next_attempt = excluded.next_attempt, subject = NULL, attempts = 0";
    let (kind, language) = (letter.kind.as_str(), letter.language.code());
    let values = values![kind, letter.recipient, language, letter.queued_at];
    connection.execute(sql, values).await.map(|_| true)
}

/// Tells the owner of an account what became another one: by letters to the e-mail that they had `before`, if
/// it was verified. Says how many; the change stands when the outbox has no room for them. No account stands
/// in them, since they would go with it, and whoever took it over may delete it.
pub(super) async fn tell_owner(
    connection: &mut Connection,
    before: &User,
    kinds: &[LetterKind],
    telling: Option<Telling>,
) -> Result<u32, StoreError> {
    let mut told = 0;
    let Some(telling) = telling.filter(|_| before.is_verified) else { return Ok(told) };
    // As written: nobody can look that up when it is sent.
    let recipient = mail_address(&before.email, &before.email_folded);
    for kind in kinds {
        let letter = NewLetter {
            kind: *kind,
            recipient: &recipient,
            language: telling.language,
            queued_at: telling.now,
        };
        if insert(connection, &letter, telling.most).await? {
            told += 1;
        } else {
            let kind = kind.as_str();
            tracing::warn!(user.id = %before.id, mail.kind = kind, "the outbox is full: a letter \
                 that tells of a change is not sent");
        }
    }
    Ok(told)
}

fn read_letter(row: &Row, holder: Uuid) -> Result<HeldLetter, StoreError> {
    let mut cells = row.cells();
    let (id, kind, recipient) = (cells.int()?, cells.text()?, cells.text()?);
    let language = cells.text()?;
    Ok(HeldLetter {
        id,
        kind: LetterKind::parse(&kind)?,
        recipient,
        language: Language::parse(&language)
            .ok_or_else(|| StoreError::Corrupt(format!("the language {language}")))?,
        subject: cells.optional_uuid()?,
        queued_at: cells.time()?,
        attempts: u32::try_from(cells.int()?).unwrap_or(u32::MAX),
        holder,
    })
}
