//! The table of header names, families and fields that drives both stripping and setting.
//!
//! What an upstream may trust is set from this table and taken out of requests by this table, so no
//! name can be set that is not stripped. What is done with it stands in the modules re-exported here.

use http::header::HeaderName;

pub use super::caching::guard_caching;
pub use super::framing::FramingFields;
pub use super::hygiene::{
    AnswerFields, Hygiene, Unambiguous, Unforwardable, check_request, sanitise_request,
};
pub use super::intent::{Authorization, authorization, is_navigation, is_websocket};

/// A family of identity header names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Preset {
    /// `X-Auth-*` by the gateway's own names.
    Portcullis,
    /// `Remote-*` and `X-Remote-User`.
    RemoteUser,
    /// `X-Forwarded-User` and friends.
    XForwarded,
    /// `X-WEBAUTH-*`.
    XWebauth,
    /// `X-Auth-Request-*`.
    XAuthRequest,
}

/// What fills the user header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UserField {
    /// The id.
    Id,
    /// The verified e-mail.
    Email,
    /// The username.
    Username,
}

/// Between the items of a list header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Separator {
    /// `,`
    Comma,
    /// `|`
    Pipe,
    /// One space.
    Space,
}

/// A field of an identity that a header may carry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Field {
    /// `id`
    Id,
    /// `email` (sent only when verified)
    Email,
    /// `username`
    Username,
    /// `email_verified`
    EmailVerified,
    /// `name`: first and last, else the e-mail
    Name,
    /// `first_name`
    FirstName,
    /// `last_name`
    LastName,
    /// `organization`
    Organization,
    /// `department`
    Department,
    /// `phone`
    Phone,
    /// `roles`
    Roles,
    /// `permissions`
    Permissions,
    /// `superuser`
    Superuser,
    /// `session`
    Session,
    /// `method`
    Method,
    /// `signed_in_at`
    SignedInAt,
}

impl Field {
    /// Every field with its spelling in the configuration, and whether people edit it themselves.
    pub const NAMED: [(Self, &'static str, bool); 16] = [
        (Self::Id, "id", false),
        (Self::Email, "email", false),
        (Self::Username, "username", false),
        (Self::EmailVerified, "email_verified", false),
        (Self::Name, "name", true),
        (Self::FirstName, "first_name", true),
        (Self::LastName, "last_name", true),
        (Self::Organization, "organization", true),
        (Self::Department, "department", true),
        (Self::Phone, "phone", true),
        (Self::Roles, "roles", false),
        (Self::Permissions, "permissions", false),
        (Self::Superuser, "superuser", false),
        (Self::Session, "session", false),
        (Self::Method, "method", false),
        (Self::SignedInAt, "signed_in_at", false),
    ];
}

impl Preset {
    /// Every preset with its spelling in the configuration.
    pub const NAMED: [(Self, &'static str); 5] = [
        (Self::Portcullis, "portcullis"),
        (Self::RemoteUser, "remote-user"),
        (Self::XForwarded, "x-forwarded"),
        (Self::XWebauth, "x-webauth"),
        (Self::XAuthRequest, "x-auth-request"),
    ];

    /// The names of the user header(s) of this preset.
    #[must_use]
    pub fn user_names(self) -> &'static [HeaderName] {
        match self {
            Self::Portcullis => &PORTCULLIS.0,
            Self::RemoteUser => &REMOTE_USER.0,
            Self::XForwarded => &X_FORWARDED.0,
            Self::XWebauth => &X_WEBAUTH.0,
            Self::XAuthRequest => &X_AUTH_REQUEST.0,
        }
    }

    /// What fills the user header unless the configuration says otherwise.
    #[must_use]
    pub const fn default_user(self) -> UserField {
        match self {
            Self::Portcullis => UserField::Id,
            Self::RemoteUser | Self::XForwarded | Self::XWebauth | Self::XAuthRequest => {
                UserField::Email
            }
        }
    }

    /// The other headers of this preset and what fills each.
    #[must_use]
    pub fn fields(self) -> &'static [(HeaderName, Field)] {
        match self {
            Self::Portcullis => &PORTCULLIS.1,
            Self::RemoteUser => &REMOTE_USER.1,
            Self::XForwarded => &X_FORWARDED.1,
            Self::XWebauth => &X_WEBAUTH.1,
            Self::XAuthRequest => &X_AUTH_REQUEST.1,
        }
    }

    /// Whether any preset sets a header whose name folds to `folded` (see [`fold`]).
    fn any_sets(folded: &str) -> bool {
        Self::NAMED.iter().any(|(preset, _)| {
            let users = preset.user_names().iter();
            let fields = preset.fields().iter().map(|(name, _)| name);
            users.chain(fields).any(|name| name.as_str() == folded)
        })
    }
}

/// The user headers of a preset, and its other headers.
type Names<const USERS: usize, const FIELDS: usize> =
    ([HeaderName; USERS], [(HeaderName, Field); FIELDS]);

const fn named(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

static PORTCULLIS: Names<1, 5> = (
    [named("x-auth-user-id")],
    [
        (named("x-auth-email"), Field::Email),
        (named("x-auth-name"), Field::Name),
        (named("x-auth-roles"), Field::Roles),
        (named("x-auth-permissions"), Field::Permissions),
        (named("x-auth-email-verified"), Field::EmailVerified),
    ],
);

static REMOTE_USER: Names<2, 3> = (
    [named("remote-user"), named("x-remote-user")],
    [
        (named("remote-email"), Field::Email),
        (named("remote-name"), Field::Name),
        (named("remote-groups"), Field::Roles),
    ],
);

static X_FORWARDED: Names<1, 3> = (
    [named("x-forwarded-user")],
    [
        (named("x-forwarded-email"), Field::Email),
        (named("x-forwarded-preferred-username"), Field::Username),
        (named("x-forwarded-groups"), Field::Roles),
    ],
);

static X_WEBAUTH: Names<1, 3> = (
    [named("x-webauth-user")],
    [
        (named("x-webauth-email"), Field::Email),
        (named("x-webauth-name"), Field::Name),
        (named("x-webauth-groups"), Field::Roles),
    ],
);

static X_AUTH_REQUEST: Names<1, 3> = (
    [named("x-auth-request-user")],
    [
        (named("x-auth-request-email"), Field::Email),
        (named("x-auth-request-preferred-username"), Field::Username),
        (named("x-auth-request-groups"), Field::Roles),
    ],
);

/// Says that a list of permissions was sent as granted, wildcards not expanded, because it is long.
pub static PERMISSIONS_EXPANDED: HeaderName = named("x-auth-permissions-expanded");
/// The client's address, for upstreams.
pub static FORWARDED_FOR: HeaderName = named("x-forwarded-for");
/// The client's scheme, for upstreams.
pub static FORWARDED_PROTO: HeaderName = named("x-forwarded-proto");
/// The host the client asked for, for upstreams.
pub static FORWARDED_HOST: HeaderName = named("x-forwarded-host");

/// The request's id, on its way up and on answers of the gateway's own.
pub static REQUEST_ID: HeaderName = named("x-request-id");

/// How a row of the table of stripped names compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// This name.
    Exact(&'static str),
    /// Every name that begins like this.
    Prefix(&'static str),
}

/// Why a name is stripped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It speaks to the next hop alone (RFC 9110 section 7.6.1). Never let through.
    Hop,
    /// It says who the caller is.
    Identity,
    /// It says where the request came from or went to.
    Forwarding,
    /// It changes the method behind the decision's back.
    Override,
}

/// Every stripped name and family, folded (see [`fold`]), sorted by first byte.
pub(super) static STRIPPED: [(Shape, Kind); 28] = [
    (Shape::Exact("cf-connecting-ip"), Kind::Forwarding),
    (Shape::Exact("connection"), Kind::Hop),
    (Shape::Exact("fastly-client-ip"), Kind::Forwarding),
    (Shape::Exact("forwarded"), Kind::Forwarding),
    (Shape::Exact("http2-settings"), Kind::Hop),
    (Shape::Exact("keep-alive"), Kind::Hop),
    // CGI hands a header `Proxy` on as the variable HTTP_PROXY.
    (Shape::Exact("proxy"), Kind::Hop),
    (Shape::Prefix("proxy-"), Kind::Hop),
    (Shape::Prefix("remote-"), Kind::Identity),
    (Shape::Exact("te"), Kind::Hop),
    (Shape::Exact("trailer"), Kind::Hop),
    (Shape::Exact("transfer-encoding"), Kind::Hop),
    (Shape::Exact("true-client-ip"), Kind::Forwarding),
    (Shape::Exact("upgrade"), Kind::Hop),
    (Shape::Prefix("x-auth-"), Kind::Identity),
    (Shape::Exact("x-client-ip"), Kind::Forwarding),
    (Shape::Exact("x-cluster-client-ip"), Kind::Forwarding),
    (Shape::Prefix("x-envoy-original-"), Kind::Forwarding),
    (Shape::Prefix("x-forwarded-"), Kind::Forwarding),
    (Shape::Exact("x-forwarded"), Kind::Forwarding),
    (Shape::Exact("x-http-method"), Kind::Override),
    (Shape::Exact("x-http-method-override"), Kind::Override),
    (Shape::Exact("x-method-override"), Kind::Override),
    (Shape::Prefix("x-original-"), Kind::Forwarding),
    (Shape::Exact("x-real-ip"), Kind::Forwarding),
    (Shape::Prefix("x-remote-"), Kind::Identity),
    (Shape::Prefix("x-rewrite-"), Kind::Forwarding),
    (Shape::Prefix("x-webauth-"), Kind::Identity),
];

/// The rows of [`STRIPPED`] for each first byte: from, to.
static ROWS: [(u8, u8); 256] = {
    let mut rows = [(0_u8, 0_u8); 256];
    let mut row = 0_u8;
    while (row as usize) < STRIPPED.len() {
        let (Shape::Exact(text) | Shape::Prefix(text), _) = STRIPPED[row as usize];
        let first = text.as_bytes()[0] as usize;
        if rows[first].1 == 0 {
            rows[first].0 = row;
        }
        rows[first].1 = row + 1;
        row += 1;
    }
    rows
};

/// Why the table strips a folded name, if it does.
#[must_use]
pub(super) fn kind_of(folded: &str) -> Option<Kind> {
    let (from, to) = *ROWS.get(usize::from(*folded.as_bytes().first()?))?;
    let rows = STRIPPED.get(usize::from(from)..usize::from(to))?;
    rows.iter()
        .find(|(shape, _)| match shape {
            Shape::Exact(text) => folded == *text,
            Shape::Prefix(text) => folded.starts_with(text),
        })
        .map(|(_, kind)| *kind)
}

/// Percent-encodes a value for a header: bytes outside 0x20–0x7e, `%`, and (inside list items) the
/// separator. A space at either end is encoded as well, since a header's value has none there
/// (RFC 9110 section 5.5): unencoded, two names that differ in it would arrive as one.
#[must_use]
pub fn encode_value(value: &str, separator: Option<Separator>) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let last = value.len().saturating_sub(1);
    let mut encoded = String::with_capacity(value.len());
    for (at, byte) in value.bytes().enumerate() {
        let is_separator = separator.is_some_and(|separator| separator.byte() == byte);
        let is_edge = byte == b' ' && (at == 0 || at == last);
        if matches!(byte, 0x20..=0x7e) && byte != b'%' && !is_separator && !is_edge {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

impl Separator {
    /// The byte itself.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Pipe => b'|',
            Self::Space => b' ',
        }
    }
}

/// Names that frame a message or carry what the gateway judges by; no configuration may touch them.
const ESSENTIAL: [&str; 5] =
    ["authorization", "content-length", "cookie", "host", "transfer-encoding"];

/// Whether a folded name (in any case) is one of those no `Connection` and no configuration may touch.
#[must_use]
pub(super) fn is_essential(folded: &[u8]) -> bool {
    ESSENTIAL.iter().any(|name| folded.eq_ignore_ascii_case(name.as_bytes()))
}

/// Checks that a name may stand in `identity.headers`.
///
/// # Errors
/// A reason: hop-by-hop, framing, `Host`, `Cookie`, `Authorization`, `X-Forwarded-*`, `X-Request-Id`.
pub fn check_identity_name(name: &HeaderName) -> Result<(), &'static str> {
    let folded = fold(name.as_str());
    match folded.as_str() {
        "content-length" | "transfer-encoding" => return Err("it frames the message"),
        "host" => return Err("it names the host"),
        "cookie" => return Err("it carries the application's cookies"),
        "authorization" => return Err("it carries the application's credentials"),
        "x-request-id" => return Err("it carries the request's id"),
        folded if folded.starts_with("x-forwarded-") => {
            return Err("X-Forwarded-* headers say where the request came from");
        }
        _ => {}
    }
    match kind_of(&folded) {
        Some(Kind::Hop) => Err("it is a hop-by-hop header"),
        Some(Kind::Identity | Kind::Forwarding | Kind::Override) | None => Ok(()),
    }
}

/// Checks that a name may stand in an upstream's `permit_headers`.
///
/// # Errors
/// A reason: hop-by-hop, framing, or a header the gateway itself sets (in any spelling), which a
/// client could then forge. Headers named in `identity.headers` are for the caller to refuse.
pub fn check_permitted_name(name: &HeaderName) -> Result<(), &'static str> {
    let folded = fold(name.as_str());
    if kind_of(&folded) == Some(Kind::Hop) {
        return Err("it is a hop-by-hop header");
    }
    if is_essential(folded.as_bytes()) && folded != name.as_str() {
        return Err("some applications read it as a header that frames or authenticates");
    }
    if is_set_here(&folded) {
        return Err("the gateway sets it, so nobody else may");
    }
    Ok(())
}

/// Whether the gateway sets a header of this folded name on requests to upstreams.
#[must_use]
pub(super) fn is_set_here(folded: &str) -> bool {
    [&PERMISSIONS_EXPANDED, &FORWARDED_FOR, &FORWARDED_PROTO, &FORWARDED_HOST]
        .iter()
        .any(|name| name.as_str() == folded)
        || Preset::any_sets(folded)
}

/// Folds a header name for comparison: lower case, `_` and `.` as `-`.
#[must_use]
pub fn fold(name: &str) -> String {
    name.chars()
        .map(|c| if matches!(c, '_' | '.') { '-' } else { c.to_ascii_lowercase() })
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_name_a_preset_sets_is_stripped_by_the_table() {
        let mut names = vec![
            PERMISSIONS_EXPANDED.clone(),
            FORWARDED_FOR.clone(),
            FORWARDED_PROTO.clone(),
            FORWARDED_HOST.clone(),
        ];
        for (preset, _) in Preset::NAMED {
            names.extend_from_slice(preset.user_names());
            names.extend(preset.fields().iter().map(|(name, _)| name.clone()));
        }
        assert!(names.len() > 20);
        for name in names {
            assert!(kind_of(name.as_str()).is_some(), "{name} is set and not stripped");
            assert!(check_permitted_name(&name).is_err(), "{name} is set and could be permitted");
            let underscored = HeaderName::try_from(name.as_str().replace('-', "_"));
            assert!(underscored.is_ok_and(|name| check_permitted_name(&name).is_err()), "{name}");
        }
    }

    #[test]
    fn the_table_is_sorted_by_first_byte_and_folded() {
        let texts: Vec<&str> = STRIPPED
            .iter()
            .map(|(shape, _)| match shape {
                Shape::Exact(text) | Shape::Prefix(text) => *text,
            })
            .collect();
        assert!(texts.is_sorted_by_key(|text| text.as_bytes()[0]));
        for text in texts {
            assert_eq!(fold(text), text);
            assert!(kind_of(text).is_some(), "{text}");
        }
    }

    #[test]
    fn every_preset_fills_user_email_and_groups() {
        for (preset, name) in Preset::NAMED {
            assert!(!preset.user_names().is_empty(), "{name}");
            for field in [Field::Email, Field::Roles] {
                assert_eq!(
                    preset.fields().iter().filter(|(_, f)| *f == field).count(),
                    1,
                    "{name}"
                );
            }
        }
        assert_eq!(Preset::Portcullis.default_user(), UserField::Id);
        assert_eq!(Preset::XWebauth.default_user(), UserField::Email);
    }

    #[test]
    fn smg_23_and_hdr_16_values_are_encoded() {
        for (value, separator, encoded) in [
            ("Ann Lee", None, "Ann Lee"),
            ("a,b|c", None, "a,b|c"),
            ("a,admin", Some(Separator::Comma), "a%2Cadmin"),
            ("a|b,c", Some(Separator::Pipe), "a%7Cb,c"),
            ("a b", Some(Separator::Space), "a%20b"),
            ("100%", None, "100%25"),
            ("%2c", Some(Separator::Comma), "%252c"),
            ("x\r\nX-User: admin", None, "x%0D%0AX-User: admin"),
            ("\0\t\u{7f}", None, "%00%09%7F"),
            ("č😀", None, "%C4%8D%F0%9F%98%80"),
            (" admin ", None, "%20admin%20"),
            ("", None, ""),
        ] {
            let found = encode_value(value, separator);
            assert_eq!(found, encoded, "{value:?}");
            assert!(HeaderValue::from_str(&found).is_ok());
        }
    }

    #[test]
    fn names_that_frame_or_authenticate_may_not_carry_identity() {
        for (name, allowed) in [
            ("x-team", true),
            ("x-auth-user-id", true),
            ("x_team", true),
            ("remote-user", true),
            ("host", false),
            ("cookie", false),
            ("authorization", false),
            ("content-length", false),
            ("content_length", false),
            ("transfer-encoding", false),
            ("connection", false),
            ("keep-alive", false),
            ("te", false),
            ("upgrade", false),
            ("proxy-authorization", false),
            ("x-forwarded-user", false),
            ("x_forwarded_for", false),
            ("x-request-id", false),
        ] {
            let named = HeaderName::from_static(name);
            assert_eq!(check_identity_name(&named).is_ok(), allowed, "{name}");
        }
    }

    #[test]
    fn names_the_gateway_sets_may_not_be_permitted() {
        for (name, allowed) in [
            ("x-auth-token", true),
            ("x_tenant", true),
            ("x-real-ip", true),
            ("x-forwarded-prefix", true),
            ("x-forwarded-for", false),
            ("x.forwarded.for", false),
            ("x-auth-user-id", false),
            ("x_auth_user_id", false),
            ("remote-user", false),
            ("x-webauth-user", false),
            ("connection", false),
            ("transfer_encoding", false),
            ("content_length", false),
        ] {
            let named = HeaderName::from_static(name);
            assert_eq!(check_permitted_name(&named).is_ok(), allowed, "{name}");
        }
    }
}
