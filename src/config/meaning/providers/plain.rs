//! `kind: oauth2`: addresses and fields, said or known of a service.

use super::super::Cursor;
use super::endpoint;
use crate::config::provider::{ClientAuth, FieldMap, OAuth2};
use crate::config::yaml::spelling::{self, PresetWord, Text};
use crate::config::yaml::{Fields, Provider as ProviderFile};

/// What is known of a service.
pub(super) struct Preset {
    pub(super) label: &'static str,
    authorize: &'static str,
    token: &'static str,
    userinfo: &'static str,
    pub(super) auth: ClientAuth,
    pub(super) scopes: [&'static str; 2],
    email_verified: Option<&'static str>,
    first_name: &'static str,
    last_name: Option<&'static str>,
}

const fn preset(word: PresetWord) -> Preset {
    match word {
        PresetWord::Discord => Preset {
            label: "Discord",
            authorize: "https://discord.com/oauth2/authorize",
            token: "https://discord.com/api/oauth2/token",
            userinfo: "https://discord.com/api/users/@me",
            auth: ClientAuth::Post,
            scopes: ["identify", "email"],
            email_verified: Some("verified"),
            first_name: "global_name",
            last_name: None,
        },
        // Facebook does not say whether an e-mail is verified, so none is.
        PresetWord::Facebook => Preset {
            label: "Facebook",
            authorize: "https://www.facebook.com/v23.0/dialog/oauth",
            token: "https://graph.facebook.com/v23.0/oauth/access_token",
            userinfo: "https://graph.facebook.com/v23.0/me?fields=id,email,first_name,last_name",
            auth: ClientAuth::Post,
            scopes: ["public_profile", "email"],
            email_verified: None,
            first_name: "first_name",
            last_name: Some("last_name"),
        },
    }
}

/// What is known of the service that the file names.
pub(super) fn known(written: &ProviderFile) -> Option<Preset> {
    written.preset.as_ref().map(|word| preset(word.0))
}

pub(super) fn read(written: &ProviderFile, at: &Cursor<'_>) -> Option<OAuth2> {
    let known = known(written);
    let known = known.as_ref();
    let address =
        |key: &str, text: Option<&Text<spelling::EndpointText>>, default: Option<&str>| {
            endpoint(text.map(|text| text.text.as_str()).or(default)?, &at.key(key))
        };
    let authorize = address("authorize", written.authorize.as_ref(), known.map(|k| k.authorize));
    let token = address("token", written.token.as_ref(), known.map(|k| k.token));
    let userinfo = address("userinfo", written.userinfo.as_ref(), known.map(|k| k.userinfo));
    let none = Fields::default();
    let fields = written.fields.as_ref().unwrap_or(&none);
    let path = |said: &Option<Text<spelling::FieldPath>>, default: Option<&str>| {
        said.as_ref().map(|said| said.text.as_str()).or(default).map(str::to_owned)
    };
    let fields = FieldMap {
        subject: path(&fields.subject, Some("id")).unwrap_or_default(),
        email: path(&fields.email, Some("email")),
        email_verified: path(&fields.email_verified, known.and_then(|k| k.email_verified)),
        first_name: path(&fields.first_name, known.map(|k| k.first_name)),
        last_name: path(&fields.last_name, known.and_then(|k| k.last_name)),
    };
    Some(OAuth2 { authorize: authorize?, token: token?, userinfo: userinfo?, fields })
}
