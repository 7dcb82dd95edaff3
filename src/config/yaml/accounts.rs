//! What the file says of what people do with accounts, of the limits on what is tried at them, of what is
//! written down about it, and of mail.

use schemars::JsonSchema;
use serde::Deserialize;

use super::spelling::{self, Chosen, OffWord, Text};
use super::{Duration, FilePath, RateText};
use crate::config::Registration;

/// What people do with accounts.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Accounts {
    /// Who may make an account for themselves: nobody (closed), whoever was invited (invite) or anybody
    /// (open, which needs `mail`). Default: closed.
    #[serde(default)]
    #[schemars(with = "Chosen<Registration>")]
    pub(in crate::config) registration: Option<Chosen<Registration>>,
    /// Let nobody sign in before their e-mail is verified; needs `mail`. Default: false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(in crate::config) require_verified: Option<bool>,
    /// How long an invitation is good for. Default: 7d.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) invitation_lifetime: Option<Duration>,
    /// Domains of which people may register an e-mail, or change theirs to one. Default: [], every
    /// domain.
    #[serde(default)]
    pub(in crate::config) email_domains: Vec<Text<spelling::Domain>>,
    /// Roles granted to whoever registers. Default: [].
    #[serde(default)]
    pub(in crate::config) default_roles: Vec<Text<spelling::RoleName>>,
    /// Ask for the current password when somebody changes their e-mail or password through the API; the
    /// pages always ask. Default: false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(in crate::config) confirm_changes: Option<bool>,
    /// Rules for passwords.
    #[serde(default)]
    pub(in crate::config) password: Password,
}

/// Rules for passwords.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Password {
    /// Characters at least. Default: 8.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 1024))]
    pub(in crate::config) min_length: Option<u32>,
    /// Characters at most. Default: 256.
    #[serde(default)]
    #[schemars(with = "u32", range(min = 1, max = 1024))]
    pub(in crate::config) max_length: Option<u32>,
    /// zxcvbn score at least, 0 to 4. Default: 0.
    #[serde(default)]
    #[schemars(with = "u8", range(min = 0, max = 4))]
    pub(in crate::config) min_strength: Option<u8>,
    /// Refuse the commonest passwords. Default: true.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(in crate::config) deny_common: Option<bool>,
    /// Refuse passwords made of the person's own data, where they choose it themselves. Default: true.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(in crate::config) deny_profile: Option<bool>,
}

/// Limits on what is tried from outside: `off`, or a map.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "off, or a map with auth")]
pub(in crate::config) enum Limits {
    /// None.
    Off(Chosen<OffWord>),
    /// As a map.
    Map(LimitsMap),
}

/// Limits on what is tried from outside.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct LimitsMap {
    /// Limits on what people try who have not proved who they are, or off.
    #[serde(default)]
    #[schemars(with = "AuthLimits")]
    pub(in crate::config) auth: Option<AuthLimits>,
}

/// Limits on what people try who have not proved who they are: `off`, or a map.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "off, or a map of limits")]
pub(in crate::config) enum AuthLimits {
    /// None.
    Off(Chosen<OffWord>),
    /// As a map.
    Map(AuthLimitsMap),
}

/// Limits on what people try who have not proved who they are: how many times within how long, or off.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AuthLimitsMap {
    /// Failed sign-ins from one address (IPv6: of one /64), over all accounts. Default: 20/10m.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(in crate::config) failures_per_address: Option<RateText>,
    /// Failed sign-ins from one address at one account. Default: 10/10m.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(in crate::config) failures_per_account_and_address: Option<RateText>,
    /// Failed sign-ins at one account, from wherever. Default: 100/1h.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(in crate::config) failures_per_account: Option<RateText>,
    /// Links from one address that are not good: guesses at their tokens. Default: 20/10m.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(in crate::config) links_per_address: Option<RateText>,
    /// Registrations, and changes to another e-mail, from one address, whatever comes of them. Default: 20/1h.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(in crate::config) registrations_per_address: Option<RateText>,
    /// Letters that one address asks for. Default: 20/10m.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(in crate::config) letters_per_address: Option<RateText>,
    /// Letters of a kind to one recipient, whoever asks. Default: 5/1h.
    #[serde(default)]
    #[schemars(with = "RateText")]
    pub(in crate::config) letters_per_recipient: Option<RateText>,
}

/// What happened to accounts, as it is written down.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Events {
    /// How long an event is kept. Default: 90d.
    #[serde(default)]
    #[schemars(with = "Duration")]
    pub(in crate::config) retention: Option<Duration>,
}

/// How mail is sent: one of `smtp`, `smtp_file` and `directory`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "a map with from and one of smtp, smtp_file and directory")]
pub(in crate::config) struct Mail {
    /// Who the mail is from: an address, or a name with the address in angle brackets.
    pub(in crate::config) from: Text<spelling::MailboxText>,
    /// The mail server: `smtp://` (STARTTLS, port 587) or `smtps://` (TLS at once, port 465), with user
    /// and password if it asks for them.
    pub(in crate::config) smtp: Option<Text<spelling::MailServer>>,
    /// A file that holds the mail server's URL, readable by its owner only.
    pub(in crate::config) smtp_file: Option<FilePath>,
    /// A directory, relative to the data directory, in which each message becomes a file.
    pub(in crate::config) directory: Option<FilePath>,
}
