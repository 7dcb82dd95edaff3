//! What happened to accounts, by whom.

use uuid::Uuid;

use super::sql::{Connection, Row, Value, values};
use super::{Event, EventFilter, PastWrongPassword, Store, StoreError};
use crate::clock::Timestamp;

// Characters that are kept of each text; what is longer is cut.
const KIND: usize = 64;
const ACTOR: usize = 256;
pub(super) const AGENT: usize = 256;
const DETAIL: usize = 512;

const INSERT: &str = "INSERT INTO events (at, kind, user_id, actor, address, agent, detail) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";

macro_rules! columns {
    () => {
        "e.at, e.kind, e.user_id, e.actor, e.address, e.agent, e.detail"
    };
}

/// What a wrong password was given for: each is the kind of an event, and counts in the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WrongPassword {
    /// Signing in.
    SignIn,
    /// Showing, signed in, to be the owner still.
    Confirmation,
}

impl WrongPassword {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::SignIn, Self::Confirmation];

    /// The kind of its event.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in-failed",
            Self::Confirmation => "confirmation-failed",
        }
    }
}

impl Store {
    /// Writes an event alone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert_event(&self, event: &Event) -> Result<(), StoreError> {
        self.pool.execute(INSERT, &parameters(event)).await.map(drop)
    }

    /// Newest events first, of one account or all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_events(
        &self,
        user: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.list_events_like(&EventFilter { user, ..EventFilter::default() }, limit).await
    }

    /// Newest events first, of those that fit.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_events_like(
        &self,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        const OF_ALL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM events e WHERE e.at >= $2 AND ($3 IS NULL OR e.kind = $3) \
             ORDER BY e.at DESC, e.id DESC LIMIT $1"
        );
        const OF_ONE: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM events e WHERE e.at >= $2 AND ($3 IS NULL OR e.kind = $3) AND e.user_id = $4 \
             ORDER BY e.at DESC, e.id DESC LIMIT $1"
        );
        let since = filter.since.unwrap_or(Timestamp::from_micros(i64::MIN));
        let kind = &filter.kind;
        let rows = self.pool.read(async |connection| match filter.user {
            None => connection.rows(OF_ALL, values![limit, since, kind]).await,
            Some(id) => connection.rows(OF_ONE, values![limit, since, kind, id]).await,
        });
        rows.await?.iter().map(read_event).collect()
    }

    /// Wrong passwords since a time, oldest first, of those the newest `limit`: when, from where, at the
    /// account with which folded e-mail (or, where there is none, with which it was tried).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_wrong_passwords(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<PastWrongPassword>, StoreError> {
        // The same condition as above, for which both databases walk along the index of times.
        const SQL: &str = "SELECT e.at, e.address, COALESCE((SELECT u.email_folded FROM users u \
             WHERE u.id = e.user_id), e.actor) FROM events e \
             WHERE e.at >= $2 AND ($3 IS NULL OR e.kind IN ($3, $4)) \
             ORDER BY e.at DESC, e.id DESC LIMIT $1";
        let [sign_in, confirmation] = WrongPassword::ALL.map(WrongPassword::kind);
        let rows = self.pool.read(async |connection| {
            connection.rows(SQL, values![limit, since, sign_in, confirmation]).await
        });
        let read = |row: &Row| {
            let mut cells = row.cells();
            let (at, address, account) = (cells.time()?, cells.optional_address()?, cells.text()?);
            Ok(PastWrongPassword { at, address, account })
        };
        rows.await?.iter().rev().map(read).collect()
    }

    /// Removes events older than `before`.
    pub(super) async fn delete_old_events(&self, before: Timestamp) -> Result<(), StoreError> {
        self.delete_in_batches(
            "DELETE FROM events WHERE id IN (SELECT e.id FROM events e WHERE e.at < $1 \
             ORDER BY e.at LIMIT 1000)",
            values![before],
        )
        .await
    }
}

impl Event {
    /// With one thing more in its detail, if there is one.
    pub(super) fn and(mut self, more: Option<String>) -> Self {
        if let Some(more) = more {
            let separator = if self.detail.is_empty() { "" } else { "; " };
            self.detail = format!("{}{separator}{more}", self.detail);
        }
        self
    }
}

/// Writes an event within the transaction it tells of.
pub(super) async fn insert(connection: &mut Connection, event: &Event) -> Result<(), StoreError> {
    connection.execute(INSERT, &parameters(event)).await.map(drop)
}

fn parameters(event: &Event) -> [Value; 7] {
    [
        event.at.into(),
        clip(&event.kind, KIND).into(),
        event.user.into(),
        clip(&event.actor, ACTOR).into(),
        event.address.into(),
        clip(&event.agent, AGENT).into(),
        clip(&event.detail, DETAIL).into(),
    ]
}

/// The first `characters` of a text, without NUL, which PostgreSQL cannot store.
pub(super) fn clip(text: &str, characters: usize) -> String {
    text.chars().filter(|character| *character != '\0').take(characters).collect()
}

fn read_event(row: &Row) -> Result<Event, StoreError> {
    let mut cells = row.cells();
    Ok(Event {
        at: cells.time()?,
        kind: cells.text()?,
        user: cells.optional_uuid()?,
        actor: cells.text()?,
        address: cells.optional_address()?,
        agent: cells.text()?,
        detail: cells.text()?,
    })
}
