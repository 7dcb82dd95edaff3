//! What can go wrong with a provider: for the log in words, for an answer as a kind. No variant holds a
//! token, a code or a provider's text beyond a short code of printable characters.

use crate::clock::Timestamp;

/// Why a provider did not vouch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It refused, with an error code of RFC 6749 section 5.2 (or its own), cut to 64 characters of
    /// `[A-Za-z0-9_.-]`.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// It does not vouch for the person any more.
    #[error("the provider no longer vouches for this person: {0}")]
    NoLonger(&'static str),
    /// The callback came from another provider, or not from where it says (RFC 9207).
    #[error("the callback does not come from this provider")]
    MixUp,
    /// The ID token, or logout token, is not good.
    #[error("the token is not good: {0}")]
    IdToken(#[from] IdTokenFault),
    /// The clocks differ by more than the leeway.
    #[error(
        "the clocks differ by more than the leeway: here it is {ours}, the token says {claim} {theirs}; \
         set both clocks by NTP, or raise the provider's `leeway`"
    )]
    Clock {
        /// Which claim does not fit.
        claim: &'static str,
        /// Our time.
        ours: Timestamp,
        /// The token's.
        theirs: Timestamp,
    },
    /// More scopes than a request may ask for, or one that is none (RFC 6749 section 3.3).
    #[error("a scope that was asked for is none, or there are too many")]
    Scope,
    /// There is nothing to ask by: no refresh token, or an access token that is over.
    #[error("no token was kept by which the provider could be asked")]
    NothingToAskBy,
    /// It could not be asked.
    #[error("the provider could not be reached: {0}")]
    Unreachable(String),
    /// It answered with a status that helps nobody.
    #[error("the provider answered {0}")]
    Status(u16),
    /// It answered something that means nothing.
    #[error("the provider's answer means nothing: {0}")]
    Malformed(&'static str),
    /// It does not do that.
    #[error("the provider does not support this")]
    Unsupported,
}

impl ProviderError {
    /// Whether a person's sessions by this provider have to end, as against a provider that could not
    /// be asked now.
    #[must_use]
    pub fn vouches_no_longer(&self) -> bool {
        match self {
            Self::NoLonger(_) => true,
            Self::Refused(_)
            | Self::MixUp
            | Self::IdToken(_)
            | Self::Clock { .. }
            | Self::Scope
            | Self::NothingToAskBy
            | Self::Unreachable(_)
            | Self::Status(_)
            | Self::Malformed(_)
            | Self::Unsupported => false,
        }
    }

    /// Whether it would say the same of anybody now: it is in trouble, or asks for mercy.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Status(429 | 500..) | Self::Malformed(_) => true,
            Self::Refused(_)
            | Self::NoLonger(_)
            | Self::MixUp
            | Self::IdToken(_)
            | Self::Clock { .. }
            | Self::Scope
            | Self::NothingToAskBy
            | Self::Status(_)
            | Self::Unsupported => false,
        }
    }
}

/// Why a signed token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenFault {
    /// Not three parts of base64url with JSON in them, or too long.
    #[error("it is no signed token")]
    Form,
    /// A header parameter that changes what the token means.
    #[error("its header holds what is not taken")]
    Header,
    /// Not an algorithm that the provider announces and that is taken here.
    #[error("its algorithm is not one the provider announces")]
    Algorithm,
    /// No key of the provider's has this name and kind.
    #[error("no key of the provider fits it")]
    Key,
    /// The signature.
    #[error("its signature is wrong")]
    Signature,
    /// `iss`.
    #[error("it is another issuer's")]
    Issuer,
    /// `aud` or `azp`.
    #[error("it is for somebody else")]
    Audience,
    /// `nonce`.
    #[error("it answers another sign-in")]
    Nonce,
    /// `sub`, or `tid` and `oid`.
    #[error("it does not say whom it is about")]
    Subject,
    /// A tenant that does not fit the issuer.
    #[error("its tenant is not its issuer's")]
    Tenant,
    /// `at_hash`.
    #[error("it belongs to another access token")]
    AccessToken,
    /// A claim that is missing or of the wrong type.
    #[error("its `{0}` is missing or of the wrong type")]
    Claim(&'static str),
    /// Not a logout token.
    #[error("it is no logout token")]
    NoLogout,
}
