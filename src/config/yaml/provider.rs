//! What the file says of providers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::spelling::{self, AnyoneWord, Chosen, KindWord, PresetWord, Text};
use super::{FilePath, Named};
use crate::config::{ClientAuth, LinkByEmail};

/// Somebody who vouches for people.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Provider {
    /// What it speaks.
    pub(in crate::config) kind: Chosen<KindWord>,
    /// On its button. Default: the kind's name, or the provider's.
    #[serde(default)]
    #[schemars(with = "Text<spelling::Title>")]
    pub(in crate::config) label: Option<Text<spelling::Title>>,
    /// Our name there.
    pub(in crate::config) client_id: Text<spelling::ClientText>,
    /// What proves that name. None is a public client.
    pub(in crate::config) client_secret: Option<Text<spelling::ClientSecret>>,
    /// A file that holds the client's secret, readable by its owner only.
    pub(in crate::config) client_secret_file: Option<FilePath>,
    /// How the secret is sent, where the provider does not announce it. Default: basic.
    pub(in crate::config) client_auth: Option<Chosen<ClientAuth>>,
    /// Whom it may vouch for: lists of which one entry is enough, or anyone.
    pub(in crate::config) who: Who,
    /// Make accounts for people who have none. Default: true, except with `who: anyone`.
    pub(in crate::config) register: Option<bool>,
    /// Join the account of an e-mail that the provider has verified. Default: never.
    #[serde(default)]
    #[schemars(with = "Chosen<LinkByEmail>")]
    pub(in crate::config) link_by_email: Option<Chosen<LinkByEmail>>,
    /// Asked for beside what the kind needs.
    #[serde(default)]
    pub(in crate::config) scopes: Vec<Text<spelling::ScopeText>>,
    /// The claim that holds a person's groups: a name, or names joined by dots. Default: groups.
    pub(in crate::config) roles_claim: Option<Text<spelling::FieldPath>>,
    /// Roles by group, given and taken at every sign-in.
    #[serde(default)]
    pub(in crate::config) roles: Named<spelling::GroupText, Text<spelling::RoleName>>,
    /// How often it is asked whether it still vouches, or off. Default: 1h where it can be asked.
    pub(in crate::config) recheck: Option<Text<spelling::DurationOrOff>>,
    /// How far its clock may differ. Default: 60s.
    #[serde(default)]
    #[schemars(with = "Text<spelling::DurationOrNone>")]
    pub(in crate::config) leeway: Option<Text<spelling::DurationOrNone>>,
    /// The issuer of `oidc`, or of a `gitlab` that is not gitlab.com.
    pub(in crate::config) issuer: Option<Text<spelling::IssuerText>>,
    /// A GitHub Enterprise Server, or a national cloud of Microsoft.
    pub(in crate::config) base_url: Option<Text<spelling::IssuerText>>,
    /// `oauth2`: a service that is known.
    pub(in crate::config) preset: Option<Chosen<PresetWord>>,
    /// `oauth2`: where the browser is sent.
    pub(in crate::config) authorize: Option<Text<spelling::EndpointText>>,
    /// `oauth2`: where a code is redeemed.
    pub(in crate::config) token: Option<Text<spelling::EndpointText>>,
    /// `oauth2`: who somebody is, as JSON.
    pub(in crate::config) userinfo: Option<Text<spelling::EndpointText>>,
    /// `oauth2`: what of that JSON is what.
    pub(in crate::config) fields: Option<Fields>,
}

/// Whom a provider may vouch for.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(
    title = "a map of domains, emails, organisations, groups or tenants (one entry is enough), or anyone"
)]
pub(in crate::config) enum Who {
    /// Everybody it knows.
    Anyone(Chosen<AnyoneWord>),
    /// As the lists say.
    Any(Box<Admission>),
}

/// What admits somebody.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Admission {
    /// Domains of verified e-mails.
    #[serde(default)]
    pub(in crate::config) domains: Vec<Text<spelling::Domain>>,
    /// Verified e-mails.
    #[serde(default)]
    pub(in crate::config) emails: Vec<Text<spelling::EmailText>>,
    /// GitHub organisations.
    #[serde(default)]
    pub(in crate::config) organisations: Vec<Text<spelling::GroupText>>,
    /// Groups; `organisation:team` at GitHub. Beside `tenants` they narrow those.
    #[serde(default)]
    pub(in crate::config) groups: Vec<Text<spelling::GroupText>>,
    /// Microsoft tenants, by id.
    #[serde(default)]
    pub(in crate::config) tenants: Vec<Text<spelling::TenantText>>,
}

/// Where in a userinfo answer something stands: a name, or names joined by dots.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Fields {
    /// The id that never changes. Default: id.
    pub(in crate::config) subject: Option<Text<spelling::FieldPath>>,
    /// E-mail. Default: email.
    pub(in crate::config) email: Option<Text<spelling::FieldPath>>,
    /// Whether it is verified. Default: none, it never is.
    pub(in crate::config) email_verified: Option<Text<spelling::FieldPath>>,
    /// First name.
    pub(in crate::config) first_name: Option<Text<spelling::FieldPath>>,
    /// Last name.
    pub(in crate::config) last_name: Option<Text<spelling::FieldPath>>,
}
