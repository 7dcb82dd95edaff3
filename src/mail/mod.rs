//! The durable outbox and its delivery.
//!
//! What somebody asks for is put into the outbox by the address they typed, in one write whether or not
//! there is such an account, and that is all that happens before they are answered. One node at a time
//! takes a letter, looks up whom it is for, has its link made and sends it; a letter leaves the outbox
//! once a mail server or a directory has taken it, so what is interrupted is sent again. Kept out: who may
//! get which letter, and what a link is good for (`accounts` tells by [`Desk`]).

mod carrier;
mod courier;
mod letter;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Notify;
use uuid::Uuid;

pub use carrier::{Carrier, CarrierError};
pub use courier::Courier;
pub use letter::{Letterhead, Stationery, TemplateError};

use crate::clock::{Clock, Timestamp};
use crate::limit::{Limited, Limits};
use crate::store::{HeldLetter, LetterKind, NewLetter, Store, StoreError};
use crate::telemetry::metrics::{MailOutcome, Metrics};
use crate::web::language::Language;

/// Letters that may wait. Few wait unless the mail server is away; beyond it nobody is promised one.
pub const MOST_LETTERS: u32 = 10_000;
/// When to ask again after the outbox was full.
pub const FULL_RETRY: Duration = Duration::from_mins(1);

/// Where letters wait. Cloning shares it.
#[derive(Clone)]
pub struct Outbox {
    store: Store,
    clock: Clock,
    metrics: Arc<Metrics>,
    limits: Arc<Limits>,
    wake: Arc<Notify>,
}

/// Why a letter was not put into the outbox.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Asked for too often, by this client or for this address, or the outbox is full: 429.
    #[error("too many letters were asked for")]
    TooMany(Duration),
    /// The store failed.
    #[error("the outbox cannot be written")]
    Store(#[from] StoreError),
}

/// Whom a letter is for, and where it leads.
#[derive(Debug)]
pub struct Addressee {
    /// The account that the letter is for and goes with, if there is one.
    pub user: Option<Uuid>,
    /// The e-mail, as [`crate::identity::user::mail_address`] has it.
    pub email: String,
    /// The link, made for this attempt, or the address of a page.
    pub link: SecretString,
    /// The end of the link.
    pub expires_at: Option<Timestamp>,
}

/// Why it could not be told whom a letter is for.
pub type DeskError = Box<dyn std::error::Error + Send + Sync>;

/// Knows accounts.
pub trait Desk: Send + Sync + 'static {
    /// Whom a letter is for, with a link made for this attempt; `None` if nobody is to get it (any more).
    fn address(
        &self,
        letter: &HeldLetter,
    ) -> impl Future<Output = Result<Option<Addressee>, DeskError>> + Send;
}

impl Outbox {
    /// An outbox in a store.
    #[must_use]
    pub fn new(store: Store, clock: Clock, metrics: Arc<Metrics>, limits: Arc<Limits>) -> Self {
        Self { store, clock, metrics, limits, wake: Arc::default() }
    }

    /// Puts a letter in, for a folded e-mail, whether or not there is such an account: nothing that
    /// happens here depends on it.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(
        &self,
        kind: LetterKind,
        recipient: &str,
        language: Language,
        from: Option<IpAddr>,
    ) -> Result<(), AskError> {
        let letter = self.count(kind, recipient, language, from)?;
        if !self.store.insert_letter(&letter, MOST_LETTERS).await? {
            tracing::warn!("the outbox is full: a letter was refused");
            return Err(AskError::TooMany(FULL_RETRY));
        }
        self.note_queued();
        Ok(())
    }

    /// Counts a letter, for whoever puts it in together with what it is about.
    ///
    /// # Errors
    /// [`AskError::TooMany`].
    pub fn count<'a>(
        &self,
        kind: LetterKind,
        recipient: &'a str,
        language: Language,
        from: Option<IpAddr>,
    ) -> Result<NewLetter<'a>, AskError> {
        let refused = |Limited { retry_after }| AskError::TooMany(retry_after);
        self.limits.ask(from, (kind.as_str(), recipient)).map_err(refused)?;
        let queued_at = self.clock.now();
        Ok(NewLetter { kind, recipient, language, queued_at })
    }

    /// Says that a letter was put in, so that it goes out at once.
    pub fn note_queued(&self) {
        self.metrics.counters.mailed(MailOutcome::Queued);
        self.wake.notify_one();
    }
}
