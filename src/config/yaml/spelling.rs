//! The words of the file: each kind of scalar with the pattern that holds its spelling and the
//! phrase that says what was expected.
//!
//! The pattern stands in the JSON Schema, so an editor or another validator finds what we find. What
//! a pattern cannot say (a network with host bits, a role that is not declared) is `meaning`'s.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Value as Json, json};

use crate::config::{Cache, ClientAuth, LinkByEmail, LogFormat, Registration, SameSite};
use crate::web::headers::{Field, Preset, Separator, UserField};
use crate::web::target::Forms;

/// Text of one kind.
pub(crate) trait Spelling {
    /// Its name in the schema.
    const NAME: &'static str;
    /// What is expected, as in "expected a duration".
    const TITLE: &'static str;
    /// The whole of it, as a regular expression every JSON Schema validator reads alike.
    const PATTERN: &'static str;
    /// Characters at most, where the pattern does not say it. Counting characters of all of Unicode is
    /// what makes an expression large: a path's would take megabytes.
    const LONGEST: Option<u32>;

    /// What a schema says of text of this kind.
    fn schema() -> Schema {
        match Self::LONGEST {
            None => json_schema!({ "title": Self::TITLE, "pattern": Self::PATTERN }),
            Some(longest) => {
                json_schema!({ "title": Self::TITLE, "pattern": Self::PATTERN, "maxLength": longest })
            }
        }
    }
}

/// Text that fits its kind's pattern.
pub(crate) struct Text<K> {
    pub(crate) text: String,
    kind: PhantomData<K>,
}

impl<'de, K> Deserialize<'de> for Text<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self { text, kind: PhantomData })
    }
}

impl<K: Spelling> JsonSchema for Text<K> {
    fn schema_name() -> Cow<'static, str> {
        K::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = K::schema();
        schema.insert("type".to_owned(), "string".into());
        schema
    }
}

macro_rules! spellings {
    ($($name:ident, $title:literal, $pattern:expr $(, $longest:expr)?;)*) => {$(
        #[doc = concat!("Text: ", $title)]
        pub(crate) enum $name {}

        impl Spelling for $name {
            const NAME: &'static str = stringify!($name);
            const TITLE: &'static str = $title;
            const PATTERN: &'static str = $pattern;
            const LONGEST: Option<u32> = spellings!(@longest $($longest)?);
        }
    )*};
    (@longest) => { None };
    (@longest $longest:expr) => { Some($longest) };
}

spellings! {
    Duration, "a duration such as 30s, 15m, 12h or 30d", "^[1-9][0-9]{0,5}[smhd]$";
    DurationOrNone, "a duration such as 30s, 15m, 12h or 30d, or 0s", "^(0|[1-9][0-9]{0,5})[smhd]$";
    RateOrOff, "how many times (999 at most) within how long, such as 20/10m, or off",
        "^(off|[1-9][0-9]{0,2}/[1-9][0-9]{0,5}[smhd])$";
    Address, "an IP address and a port, such as 127.0.0.1:8080",
        r"^([0-9.]{7,15}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$";
    AddressOrOff, "an IP address and a port, such as 127.0.0.1:9180, or off",
        r"^(off|([0-9.]{7,15}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5})$";
    OriginText, "an origin such as https://auth.example.com: a scheme, a host, a port if need be, nothing else",
        r"^https?://[^/?#@\\\s*]+/?$";
    Network, "a network such as 10.0.0.0/8", "^[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?$";
    Secret, "a secret of at least 32 bytes", "^[^\\x00]+$";
    FilePath, "a path", "^[^\\x00]+$";
    DatabaseText, "sqlite:// and a path, or a postgres:// URL", "^(sqlite|postgres|postgresql):.+$";
    Level, "a level (error, warn, info, debug, trace, off) or a filter such as info,portcullis::proxy=debug",
        "^[A-Za-z0-9_:=,.\\-\\[\\]{}\"/ ]{1,500}$";
    AccessLogText, "on, off or a path", "^[^\\x00]+$";
    PortalPath, "a path such as /auth, of letters, digits, -, ., _ and ~", "^(/[A-Za-z0-9._~-]+)+/?$";
    Title, "a title of 1 to 100 characters", "^[^\\x00-\\x1f]+$", 100;
    CookieName, "a cookie name of letters, digits and !#$%&'*+-.^_`|~",
        "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$";
    Domain, "a domain such as example.com", r"^[^/:@\\\s*]+$", 253;
    Audience, "a name of 1 to 200 visible characters", r"^[^\s\x00-\x1f]+$", 200;
    RoleName, "a role name: a letter or digit, then letters, digits, spaces and ._- (50 at most)",
        "^[A-Za-z0-9][A-Za-z0-9 ._-]{0,49}$";
    Permission, "a permission such as dashboard:read, without *",
        "^(?=[a-z0-9_.:-]{1,50}:[a-z0-9_.-]{1,20}$)[a-z0-9_.-]+(:[a-z0-9_.-]+)+$";
    Grant, "a grant such as dashboard:read, dashboard:* or *:read",
        r"^(\*|(?=[a-z0-9_.:-]{1,50}:(\*|[a-z0-9_.-]{1,20})$)[a-z0-9_.-]+(:[a-z0-9_.-]+)*):(\*|[a-z0-9_.-]{1,20})$";
    Description, "a description of at most 200 characters", "^[^\\x00-\\x1f]*$", 200;
    UpstreamName, "an upstream name: a letter or digit, then letters, digits and ._- (64 at most)",
        "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    Target, "a target such as http://127.0.0.1:3000: scheme, host and port, nothing else",
        r"^https?://[^/?#@\\\s*]+$";
    HeaderText, "a header name", "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$";
    RouteName, "a route name: a letter or digit, then letters, digits, spaces and ._- (64 at most)",
        "^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$";
    HostText, "a host such as app.example.com, or *.example.com for every host below it",
        r"^(\*\.)?([^*/:@\\\s\[\]]+|\[[0-9A-Fa-f:.]{2,45}\])$", 255;
    PathText, "a path pattern that begins with /", r"^/[^?#\\\s]*$", 2001;
    MethodText, "a method in upper case, such as GET (CONNECT and TRACE never pass)",
        "^(?!(CONNECT|TRACE)$)[A-Z]{1,20}(-[A-Z]{1,20})?$";
    UserText, "a user id or an e-mail address",
        r"^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[^@\s]+@[^@\s]+)$", 318;
    MailboxText, "an address such as no-reply@example.com, or a name with it: Portcullis <no-reply@example.com>",
        r"^([^@<>\x00-\x1f]*<[^@<>\s]+@[^@<>\s]+>|[^@<>\s]+@[^@<>\s]+)$", 400;
    MailServer, "a mail server such as smtp://user:password@mail.example.com:587, or smtps://…",
        r"^smtps?://[^\s]+$", 2000;
    ProviderName, "a provider name: a lower-case letter, then letters, digits and - (32 at most)",
        "^[a-z][a-z0-9-]{0,31}$";
    ClientText, "a client id of 1 to 500 visible characters", "^[\\x21-\\x7e]+$", 500;
    ClientSecret, "a client secret", "^[^\\x00-\\x1f]+$", 1000;
    IssuerText, "an address such as https://id.example.com, without query and fragment",
        r"^https?://[^\s?#@\\]+$", 500;
    EndpointText, "an address such as https://id.example.com/token",
        r"^https?://[^\s/?#@\\]+([/?][^\s#\\]*)?$", 1000;
    ScopeText, "a scope, such as profile", r"^[\x21\x23-\x5b\x5d-\x7e]+$", 200;
    FieldPath, "a name, or names joined by dots, such as user.email", "^[^\\x00-\\x1f]+$", 200;
    GroupText, "a name of 1 to 200 characters", "^[^\\x00-\\x1f]+$", 200;
    EmailText, "an e-mail address", r"^[^@\s]+@[^@\s]+$", 254;
    TenantText, "a tenant's id, such as 8eaef023-2b34-4da1-9baa-8bc8c9d6a490",
        "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";
    DurationOrOff, "a duration such as 30s, 15m, 12h or 30d, or off", "^(off|[1-9][0-9]{0,5}[smhd])$";
    Glob, "a file pattern such as routes.d/*.yaml", "^[^\\x00]+$";
}

/// A value that is one of a table's words.
pub(crate) trait Choice: Copy + 'static {
    /// Its name in the schema.
    const NAME: &'static str;

    /// Each value with its spelling.
    fn table() -> Vec<(Self, Json)>;
}

/// One of the words of a table.
pub(crate) struct Chosen<T>(pub(crate) T);

impl<'de, T: Choice> Deserialize<'de> for Chosen<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Json::deserialize(deserializer)?;
        T::table()
            .into_iter()
            .find(|(_, word)| *word == written)
            .map(|(value, _)| Self(value))
            .ok_or_else(|| D::Error::custom("not one of the words this key takes"))
    }
}

impl<T: Choice> JsonSchema for Chosen<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<Json> = T::table().into_iter().map(|(_, word)| word).collect();
        json_schema!({ "enum": words })
    }
}

macro_rules! choices {
    ($($name:literal, $type:ty, [$($word:expr => $value:expr),* $(,)?];)*) => {$(
        impl Choice for $type {
            const NAME: &'static str = $name;

            fn table() -> Vec<(Self, Json)> {
                vec![$(($value, json!($word))),*]
            }
        }
    )*};
}

/// `auto`, `true` or `false` of `sessions.cookie.secure`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SecureWord {
    Auto,
    Yes,
    No,
}

/// `host` of an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HostWord {
    Preserve,
    Upstream,
}

/// A rule that is one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AllowWord {
    Public,
    Optional,
    Authenticated,
}

/// The only word inside a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AuthenticatedWord;

/// `off` where a map may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OffWord;

/// `auto` where a number may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AutoWord;

/// `anyone` of a provider's `who`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AnyoneWord;

/// `kind` of a provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KindWord {
    Google,
    GitHub,
    Microsoft,
    GitLab,
    Oidc,
    OAuth2,
}

impl KindWord {
    /// As the file spells it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::GitHub => "github",
            Self::Microsoft => "microsoft",
            Self::GitLab => "gitlab",
            Self::Oidc => "oidc",
            Self::OAuth2 => "oauth2",
        }
    }
}

impl Choice for KindWord {
    const NAME: &'static str = "ProviderKind";

    fn table() -> Vec<(Self, Json)> {
        [Self::Google, Self::GitHub, Self::Microsoft, Self::GitLab, Self::Oidc, Self::OAuth2]
            .map(|kind| (kind, json!(kind.as_str())))
            .into()
    }
}

/// `preset` of a provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PresetWord {
    Discord,
    Facebook,
}

choices! {
    "Anyone", AnyoneWord, ["anyone" => Self];
    "OAuth2Preset", PresetWord, ["discord" => Self::Discord, "facebook" => Self::Facebook];
    "ClientAuth", ClientAuth, ["basic" => Self::Basic, "post" => Self::Post];
    "LinkByEmail", LinkByEmail, ["verified" => Self::Verified, "never" => Self::Never];
    "SameSite", SameSite, ["lax" => Self::Lax, "strict" => Self::Strict, "none" => Self::None];
    "Secure", SecureWord, ["auto" => Self::Auto, true => Self::Yes, false => Self::No];
    "LogFormat", LogFormat, ["text" => Self::Text, "json" => Self::Json];
    "Registration", Registration, ["closed" => Self::Closed, "invite" => Self::Invite, "open" => Self::Open];
    "HostHeader", HostWord, ["preserve" => Self::Preserve, "upstream" => Self::Upstream];
    "Cache", Cache, ["private" => Self::Private, "upstream" => Self::Upstream];
    "Unauthenticated", crate::config::Unauthenticated,
        ["auto" => Self::Auto, "redirect" => Self::Redirect, 401 => Self::Status401, "401" => Self::Status401];
    "UserField", UserField, ["id" => Self::Id, "email" => Self::Email, "username" => Self::Username];
    "Separator", Separator, ["," => Self::Comma, "|" => Self::Pipe, " " => Self::Space];
    "AllowWord", AllowWord, ["public" => Self::Public, "optional" => Self::Optional, "authenticated" => Self::Authenticated];
    "AuthenticatedWord", AuthenticatedWord, ["authenticated" => Self];
    "OffWord", OffWord, ["off" => Self];
    "AutoWord", AutoWord, ["auto" => Self];
}

impl Choice for Preset {
    const NAME: &'static str = "Preset";

    fn table() -> Vec<(Self, Json)> {
        Self::NAMED.iter().map(|(value, word)| (*value, json!(word))).collect()
    }
}

impl Choice for Field {
    const NAME: &'static str = "Field";

    fn table() -> Vec<(Self, Json)> {
        Self::NAMED.iter().map(|(value, word, _)| (*value, json!(word))).collect()
    }
}

impl Choice for Forms {
    const NAME: &'static str = "Form";

    fn table() -> Vec<(Self, Json)> {
        Self::NAMED.iter().map(|(value, word)| (*value, json!(word))).collect()
    }
}

/// The value `true`: conditions that are either asked for or left out.
pub(crate) struct Asked;

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? {
            Ok(Self)
        } else {
            Err(D::Error::custom("takes only true"))
        }
    }
}

impl JsonSchema for Asked {
    fn schema_name() -> Cow<'static, str> {
        "Asked".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "true (leave the key out otherwise)", "const": true })
    }
}
