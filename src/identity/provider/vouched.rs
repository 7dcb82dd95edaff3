//! What a provider said of somebody.

use secrecy::SecretString;

use crate::clock::Timestamp;
use crate::identity::user::Profile;

/// What a provider vouches for.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// Who says so: the issuer, or the address of a provider that has none. A person is this and
    /// `subject`; the same provider under another address is another provider.
    pub issuer: String,
    /// The id that never changes: `sub`, `tid/oid` at Microsoft, the account's id at GitHub and the like.
    /// 1 to 255 bytes, printable.
    pub subject: String,
    /// E-mail as the provider wrote it, if that is an address; not folded.
    pub email: Option<String>,
    /// The provider says, by the boolean true and nothing else, that the e-mail is this person's.
    pub email_is_verified: bool,
    /// Names, cut to 100 characters, without control characters.
    pub profile: Profile,
    /// Roles of this gateway that the person's groups stand for, sorted, each once.
    pub roles: Vec<String>,
    /// Whether the person is among the provider's `who`.
    pub is_admitted: bool,
    /// What to ask by later.
    pub tokens: Tokens,
    /// The provider's session (`sid`), which a back-channel logout may name.
    pub session_id: Option<String>,
}

/// Tokens of a provider. Sealed at rest, never shown.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// For its interfaces.
    pub access: SecretString,
    /// For the next access token. `None` where none came: one from before stays good.
    pub refresh: Option<SecretString>,
    /// Says who signed in. Read when it comes, and not kept.
    pub id_token: Option<SecretString>,
    /// End of the access token, if the provider said.
    pub expires_at: Option<Timestamp>,
}

/// What a back-channel logout token says. At least one of subject and session is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutNotice {
    /// As [`Vouched::subject`]: all sessions of this person, if `session` is absent.
    pub subject: Option<String>,
    /// As [`Vouched::session_id`]: this session only.
    pub session: Option<String>,
    /// `jti`: good for one use.
    pub id: String,
    /// After this the token is refused anyway, so its id need not be remembered any longer.
    pub until: Timestamp,
}
