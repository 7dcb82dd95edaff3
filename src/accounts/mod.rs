//! What people do with accounts, once, for pages, JSON and command line alike.
//!
//! [`People`] is what an operator does (make, change, delete accounts; set up the first
//! administrator); it needs no running gateway. [`Accounts`] adds what happens between a browser and
//! the gateway: signing in and out. Kept out: how a request is read and an answer is written, and
//! all SQL.

mod change;
mod draft;
mod invitations;
mod letters;
mod links;
mod own;
mod people;
mod proof;
mod register;
mod sign_in;
pub mod transfer;
pub mod vouching;
pub mod visit;

use std::sync::Arc;

pub use change::{Change, ChangeError, Confirmation, Confirmed, OwnChange};
pub use draft::{Actor, Draft, Mistake};
pub use invitations::{Acceptance, Guest, InvitationState, InviteError, Way};
pub use letters::{LetterDesk, TypedEmail};
pub use links::{Link, LinkError, LinkKind, LinkState};
pub use own::Dossier;
pub use people::{People, SetUpLink, read_id};
pub use register::Registration;
pub use sign_in::{Credential, Opened, SetUpRequest, SignInError, SignInRequest, Wanted};

use uuid::Uuid;

use self::vouching::Vouching;

use crate::identity::user::User;
use crate::limit::Limits;
use crate::mail::Outbox;
use crate::session::Sessions;
use crate::store::StoreError;
use crate::telemetry::metrics::Metrics;

/// Everything people do with accounts. Cloning shares it.
#[derive(Clone)]
pub struct Accounts {
    people: People,
    limits: Arc<Limits>,
    sessions: Sessions,
    metrics: Arc<Metrics>,
    outbox: Option<Outbox>,
    vouching: Vouching,
}

impl Accounts {
    /// Puts together what signing in needs. Without an outbox no mail is sent; no provider vouches for
    /// anybody.
    #[must_use]
    pub fn new(
        people: People,
        limits: Arc<Limits>,
        sessions: Sessions,
        metrics: Arc<Metrics>,
        outbox: Option<Outbox>,
    ) -> Self {
        Self { people, limits, sessions, metrics, outbox, vouching: Vouching::none() }
    }

    /// With providers that vouch for people.
    #[must_use]
    pub fn vouched_by(self, vouching: Vouching) -> Self {
        Self { vouching, ..self }
    }

    /// Who vouches for people.
    #[must_use]
    pub const fn vouching(&self) -> &Vouching {
        &self.vouching
    }

    /// What an operator does with accounts.
    #[must_use]
    pub const fn people(&self) -> &People {
        &self.people
    }

    /// A user by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find_user(&self, id: Uuid) -> Result<Option<User>, StoreError> {
        self.people.store().find_user(id).await
    }

    /// Where letters wait; `None` where no mail is sent.
    #[must_use]
    pub const fn outbox(&self) -> Option<&Outbox> {
        self.outbox.as_ref()
    }

    /// The limits on what is tried.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The sessions.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}
