//! Why nobody was signed in or linked, and what is answered (`docs/json-api.md`).

use std::time::Duration;

use http::StatusCode;
use uuid::Uuid;

use crate::accounts::visit::{store_failure, unavailable};
use crate::identity::provider::ProviderError;
use crate::session::OpenError;
use crate::store::{Conflict, StoreError};
use crate::telemetry::log::Causes;
use crate::web::failure::Failure;
use crate::web::text::Text;

/// Why somebody whom a provider vouches for is not admitted. For the event alone: clients are not told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Exclusion {
    /// No list of the provider's `who` names the person.
    #[error("not in who")]
    Who,
    /// The same, and `domains` and `emails` did not count.
    #[error("not in who; no e-mail is verified there")]
    WhoUnverified,
    /// The account is switched off.
    #[error("the account is switched off")]
    Inactive,
    /// The account was deleted, switched off or unlinked meanwhile.
    #[error("the account is gone")]
    Gone,
    /// The link was made with another provider of this name.
    #[error("the link was made with another provider of this name")]
    OtherIssuer,
    /// There is no account, and the provider's `register` makes none.
    #[error("there is no account, and register is off")]
    NoAccount,
    /// There is no account, and `accounts.email_domains` allows none of this e-mail.
    #[error("accounts.email_domains does not admit the e-mail")]
    Domain,
    /// The provider does not vouch any more.
    #[error("the provider does not vouch any more")]
    NoLonger,
}

/// Why somebody who came back from a provider was neither signed in nor linked.
#[derive(Debug, thiserror::Error)]
pub enum VouchError {
    /// There is no provider of this name.
    #[error("there is no such provider")]
    Unknown,
    /// What is asked for beside the configured scopes is none, or too much.
    #[error("a scope is none")]
    BadScope,
    /// The provider sent an error instead of a code: its name, if it is one.
    #[error("the provider refused")]
    Refused(Option<String>),
    /// Neither a code nor an error came.
    #[error("there is no code")]
    NoCode,
    /// The state is missing, not ours, or made for something else.
    #[error("the state is not one of these")]
    NoState,
    /// The state is past its end.
    #[error("the state is past its end")]
    OldState,
    /// The state was made for another browser, or came before.
    #[error("the state is not this browser's, or was used before")]
    ForeignState,
    /// Somebody else is signed in than the one who went away to link an account.
    #[error("somebody else is signed in")]
    OtherPerson,
    /// Nobody is signed in who could link an account.
    #[error("nobody is signed in")]
    Anonymous,
    /// The provider knows no e-mail.
    #[error("the provider says no e-mail")]
    NoEmail,
    /// The e-mail belongs to an account that is not to be linked.
    #[error("it belongs to another account")]
    Taken,
    /// The account at the provider is linked to another account than the one it was to be linked to.
    #[error("it is linked to another account")]
    LinkedElsewhere,
    /// The person may not sign in.
    #[error("{why}")]
    NotAdmitted {
        /// What for.
        why: Exclusion,
        /// Theirs, if it is known which that is.
        account: Option<Uuid>,
    },
    /// The e-mail is not verified, and `accounts.require_verified` asks for it.
    #[error("the e-mail is not verified")]
    NotVerified,
    /// The provider is at fault, or the way to it.
    #[error("the provider failed")]
    Provider(#[source] ProviderError),
    /// The code, or what came along with it, is not good.
    #[error("the code is not good")]
    BadCode(#[source] ProviderError),
    /// Too many attempts that were none, or too much under way: 429.
    #[error("too many attempts")]
    TooMany(Duration),
    /// It cannot be told now who this browser is signed in as.
    #[error("the former session cannot be looked up")]
    Unrecognised,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// The session could not be made, or something was not to be sealed.
    #[error("the session could not be made")]
    Session(#[source] OpenError),
}

/// What a code that is not good is refused with: by RFC 6749 section 5.2, and by GitHub.
const BAD_CODES: [&str; 2] = ["invalid_grant", "bad_verification_code"];

impl From<ProviderError> for VouchError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::NoLonger(_) => {
                Self::NotAdmitted { why: Exclusion::NoLonger, account: None }
            }
            ProviderError::Refused(ref code) if BAD_CODES.contains(&code.as_str()) => {
                Self::BadCode(error)
            }
            ProviderError::MixUp => Self::BadCode(error),
            ProviderError::Scope => Self::BadScope,
            ProviderError::Refused(_)
            | ProviderError::IdToken(_)
            | ProviderError::Clock { .. }
            | ProviderError::NothingToAskBy
            | ProviderError::Unreachable(_)
            | ProviderError::Status(_)
            | ProviderError::Malformed(_)
            | ProviderError::Unsupported => Self::Provider(error),
        }
    }
}

impl From<StoreError> for VouchError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(Conflict::Linked | Conflict::Email) => Self::Taken,
            StoreError::Conflict(Conflict::Gone) => {
                Self::NotAdmitted { why: Exclusion::Gone, account: None }
            }
            error @ (StoreError::Conflict(_)
            | StoreError::Unavailable(_)
            | StoreError::Failed(_)
            | StoreError::Empty
            | StoreError::Schema(_)
            | StoreError::Corrupt(_)) => Self::Store(error),
        }
    }
}

impl From<OpenError> for VouchError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            OpenError::Sign(_) | OpenError::Cookie => Self::Session(error),
        }
    }
}

impl VouchError {
    /// Whether the browser only lost what it was sent away with: it may be sent away once more.
    #[must_use]
    pub const fn is_lost_state(&self) -> bool {
        matches!(self, Self::NoState | Self::OldState | Self::ForeignState)
    }

    /// Whether whoever came with a good state has tried something that is counted: the state again, or a
    /// code that is not theirs. A provider that fails is nobody's guess.
    pub(super) const fn is_guess(&self) -> bool {
        matches!(self, Self::ForeignState | Self::BadCode(_) | Self::NotAdmitted { .. })
    }

    /// The account of somebody who is not admitted, if it is known.
    pub(super) const fn account(&self) -> Option<Uuid> {
        if let Self::NotAdmitted { account, .. } = self { *account } else { None }
    }

    /// The code that JSON tells.
    fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(code) => code.as_deref(),
            Self::NoState => Some("ACCESS_TOKEN_DECODE_ERROR"),
            Self::OldState => Some("ACCESS_TOKEN_ALREADY_EXPIRED"),
            Self::ForeignState => Some("OAUTH_INVALID_STATE"),
            Self::NoEmail => Some("OAUTH_NOT_AVAILABLE_EMAIL"),
            Self::Taken | Self::LinkedElsewhere => Some("OAUTH_USER_ALREADY_EXISTS"),
            Self::NotAdmitted { .. } => Some("LOGIN_BAD_CREDENTIALS"),
            Self::NotVerified => Some("LOGIN_USER_NOT_VERIFIED"),
            Self::Unknown
            | Self::BadScope
            | Self::NoCode
            | Self::OtherPerson
            | Self::Anonymous
            | Self::Provider(_)
            | Self::BadCode(_)
            | Self::TooMany(_)
            | Self::Unrecognised
            | Self::Store(_)
            | Self::Session(_) => None,
        }
    }

    /// What people read: nothing of what the provider said.
    fn words(&self, provider: &str) -> Option<Text> {
        Some(match self {
            Self::Refused(_) => Text::of("vouching-refused").with("provider", provider),
            Self::NoCode
            | Self::NoState
            | Self::OldState
            | Self::ForeignState
            | Self::BadCode(_) => Text::of("vouching-lost").with("provider", provider),
            Self::OtherPerson => Text::of("vouching-other-person"),
            Self::NoEmail => Text::of("vouching-no-email").with("provider", provider),
            Self::Taken => Text::of("vouching-taken").with("provider", provider),
            Self::LinkedElsewhere => {
                Text::of("vouching-linked-elsewhere").with("provider", provider)
            }
            Self::NotAdmitted { .. } => {
                Text::of("vouching-not-admitted").with("provider", provider)
            }
            Self::NotVerified => Text::of("vouching-not-verified"),
            Self::Provider(_) => Text::of("vouching-failed").with("provider", provider),
            Self::Unknown
            | Self::BadScope
            | Self::Anonymous
            | Self::TooMany(_)
            | Self::Unrecognised
            | Self::Store(_)
            | Self::Session(_) => return None,
        })
    }

    /// What stands above [`Self::words`]: whatever the request was, people did nothing wrong with it.
    fn heading(&self, provider: &str) -> Text {
        if matches!(self, Self::NotAdmitted { .. }) {
            return Text::of("vouching-not-admitted-heading");
        }
        Text::of("vouching-heading").with("provider", provider)
    }

    /// The answer, page and JSON alike; `provider` as people call it. What is not for the client is logged.
    #[must_use]
    pub fn failure(self, provider: &str) -> Failure {
        let status = match &self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Anonymous => StatusCode::UNAUTHORIZED,
            Self::Provider(error) => {
                tracing::warn!(provider, error = %Causes(error), "the provider failed");
                StatusCode::BAD_GATEWAY
            }
            Self::BadCode(error) => {
                tracing::info!(provider, error = %Causes(error), "a code was not good");
                StatusCode::BAD_REQUEST
            }
            Self::BadScope
            | Self::Refused(_)
            | Self::NoCode
            | Self::NoState
            | Self::OldState
            | Self::ForeignState
            | Self::OtherPerson
            | Self::NoEmail
            | Self::Taken
            | Self::LinkedElsewhere
            | Self::NotVerified
            | Self::NotAdmitted { .. } => StatusCode::BAD_REQUEST,
            Self::TooMany(after) => return Failure::too_many(*after),
            Self::Unrecognised => return unavailable(),
            Self::Store(_) | Self::Session(_) => return self.unplanned(),
        };
        let failure = match self.words(provider) {
            Some(words) => Failure::new(status).heading(self.heading(provider)).explanation(words),
            None => Failure::new(status),
        };
        match self.code() {
            Some(code) => failure.detail(code),
            None => failure,
        }
    }

    fn unplanned(self) -> Failure {
        if let Self::Store(error) = self { store_failure(error) } else { self.into() }
    }
}
