//! What `providers` mean: who vouches for people, and for whom it may.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use jsonschema::Validator;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::KeyPath;
use super::yaml::spelling::{ProviderName, Spelling as _};
use crate::web::authority::Host;

/// Names that would stand where an address of the gateway's own does.
const TAKEN: [&str; 34] = [
    "account",
    "admin",
    "associate",
    "authorize",
    "callback",
    "continue",
    "cookie",
    "data",
    "delete",
    "devices",
    "download",
    "email",
    "forgot-password",
    "forward",
    "invitation",
    "invitations",
    "invite",
    "jwt",
    "language",
    "link",
    "login",
    "logo",
    "logout",
    "openapi",
    "password",
    "profile",
    "providers",
    "register",
    "request-verify-token",
    "reset-password",
    "session",
    "setup",
    "users",
    "verify",
];

/// Whether a provider of this name would stand where an address of the gateway's own does.
pub(super) fn is_own_address(name: &str) -> bool {
    TAKEN.contains(&name)
}

/// Whether a provider may have this name.
#[must_use]
pub fn is_provider_name(name: &str) -> bool {
    static SPELLING: LazyLock<Option<Validator>> =
        LazyLock::new(|| jsonschema::validator_for(ProviderName::schema().as_value()).ok());
    let is_spelled = SPELLING.as_ref().is_some_and(|spelling| spelling.is_valid(&name.into()));
    is_spelled && !is_own_address(name)
}

/// One of `providers`.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The name: `[a-z][a-z0-9-]{0,31}`, part of addresses and of stored links.
    pub name: String,
    /// What it speaks, and where it is.
    pub kind: ProviderKind,
    /// On its button.
    pub label: String,
    /// Our name there.
    pub client_id: String,
    /// What proves that name; `None`: a public client.
    pub client_secret: Option<SecretString>,
    /// How the secret is sent; `None`: as the provider announces.
    pub client_auth: Option<ClientAuth>,
    /// Whom it may vouch for.
    pub who: Who,
    /// Whether it makes accounts for people who have none.
    pub register: bool,
    /// Whether a person's first sign-in joins an account of the same e-mail.
    pub link_by_email: LinkByEmail,
    /// What is asked for, the kind's own needs included.
    pub scopes: Vec<String>,
    /// The claim with a person's groups, for `who.groups` and `roles`: a member's name, or a path of
    /// names joined by dots. `None` where the kind knows groups itself, or none at all.
    pub roles_claim: Option<String>,
    /// Role by group.
    pub roles: BTreeMap<String, String>,
    /// How often it is asked whether it still vouches; `None`: never.
    pub recheck: Option<Duration>,
    /// How far its clock may differ from ours.
    pub leeway: Duration,
    /// Where it stands.
    pub at: KeyPath,
}

/// What a provider speaks, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// OpenID Connect; the hosted domain (`hd`) is what `who.domains` compares.
    Google {
        /// Its issuer.
        issuer: String,
    },
    /// GitHub's own OAuth 2.0 and REST interface.
    GitHub {
        /// `https://github.com`, or an Enterprise Server.
        base: Url,
    },
    /// OpenID Connect of many tenants; a person is tenant and object id.
    Microsoft {
        /// `https://login.microsoftonline.com`, or a national cloud's.
        base: Url,
    },
    /// OpenID Connect, groups in the userinfo answer.
    GitLab {
        /// Its issuer.
        issuer: String,
    },
    /// OpenID Connect by discovery.
    Oidc {
        /// Its issuer.
        issuer: String,
    },
    /// OAuth 2.0 with an address that says who somebody is.
    OAuth2(Box<OAuth2>),
}

/// Addresses and fields of a provider that speaks plain OAuth 2.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// Where the browser is sent.
    pub authorize: Url,
    /// Where a code is redeemed.
    pub token: Url,
    /// Who somebody is, as JSON.
    pub userinfo: Url,
    /// What of that JSON is what.
    pub fields: FieldMap,
}

/// Where in a userinfo answer something stands: a member's name, or a path of names joined by dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMap {
    /// The id that never changes.
    pub subject: String,
    /// E-mail.
    pub email: Option<String>,
    /// Whether it is verified; only `true` counts.
    pub email_verified: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
}

/// How a client proves itself where codes are redeemed (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the `Authorization` field.
    Basic,
    /// In the form.
    Post,
}

/// `link_by_email`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkByEmail {
    /// Where the provider has the e-mail verified; an account that nobody had verified is emptied first.
    Verified,
    /// Not at all.
    Never,
}

/// Whom a provider may vouch for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody it knows.
    Anyone,
    /// Those of whom one thing holds.
    Any(Admission),
}

/// What admits somebody: one entry of any list is enough, except that where tenants are listed nobody of
/// another one comes in, and groups narrow them. Domains, e-mails, organisations and tenants are folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Domains of verified e-mails, as A-labels.
    pub domains: Vec<String>,
    /// Verified e-mails.
    pub emails: Vec<String>,
    /// Organisations at the provider.
    pub organisations: Vec<String>,
    /// Groups at the provider (`organisation:team` at GitHub).
    pub groups: Vec<String>,
    /// Tenants, by id.
    pub tenants: Vec<String>,
}

impl Admission {
    /// Whether nothing is listed, which admits nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

impl Provider {
    /// Whether both say the same, wherever they stand. Secrets are compared too.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let secret =
            |one: &Self| one.client_secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        // Compared as text, the secrets left out of it, so that no field can be forgotten.
        let plain = |one: &Self| {
            let at = KeyPath::default();
            format!("{:?}", Self { at, client_secret: None, ..one.clone() })
        };
        secret(self) == secret(other) && plain(self) == plain(other)
    }

    /// Whether anybody at all may sign in by it and gets an account.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.who == Who::Anyone && self.register
    }
}

/// Whether what is sent to an address cannot be read on its way: https, or this machine. Addresses
/// with a user or a fragment are none that anything is sent to.
#[must_use]
pub fn is_protected(url: &Url) -> bool {
    let is_plain = url.username().is_empty() && url.password().is_none();
    let is_safe = match url.scheme() {
        "https" => url.host_str().is_some_and(|host| !host.is_empty()),
        "http" => is_here(url),
        _ => false,
    };
    is_safe && is_plain && url.fragment().is_none()
}

/// Whether an address is on this machine.
#[must_use]
pub fn is_here(url: &Url) -> bool {
    Host::parse(url.host_str().unwrap_or_default()).is_ok_and(|host| host.is_loopback())
}
