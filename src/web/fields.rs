//! The fields of a request's head as questions are asked of them.
//!
//! Nearly every question is whether some name is there, and nearly always it is not. One walk over the
//! head answers all of them, and looks out for names that no application may get on the way; so nothing is
//! looked up by name on the way of an ordinary request.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::hygiene;

/// A name that something asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    /// `Accept`
    Accept,
    /// `Access-Control-Request-Method`
    AskedMethod,
    /// `Authorization`
    Authorization,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Cookie`
    Cookie,
    /// `Expect`
    Expect,
    /// `X-Forwarded-For`
    ForwardedFor,
    /// `X-Forwarded-Proto`
    ForwardedProto,
    /// `Host`
    Host,
    /// `Origin`
    Origin,
    /// `X-Request-Id`
    RequestId,
    /// `Sec-Fetch-Mode`
    SecFetchMode,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
}

/// How many names are asked for.
const COUNT: usize = 15;

/// Each name as the map knows it, in the order of [`Name`].
static NAMES: [HeaderName; COUNT] = [
    header::ACCEPT,
    header::ACCESS_CONTROL_REQUEST_METHOD,
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::EXPECT,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    header::HOST,
    header::ORIGIN,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("sec-fetch-mode"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl Name {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "accept" => Self::Accept,
            "access-control-request-method" => Self::AskedMethod,
            "authorization" => Self::Authorization,
            "connection" => Self::Connection,
            "content-length" => Self::ContentLength,
            "cookie" => Self::Cookie,
            "expect" => Self::Expect,
            "x-forwarded-for" => Self::ForwardedFor,
            "x-forwarded-proto" => Self::ForwardedProto,
            "host" => Self::Host,
            "origin" => Self::Origin,
            "x-request-id" => Self::RequestId,
            "sec-fetch-mode" => Self::SecFetchMode,
            "transfer-encoding" => Self::TransferEncoding,
            "upgrade" => Self::Upgrade,
            _ => return None,
        })
    }

    const fn bit(self) -> Names {
        Names(1 << self as u16)
    }
}

/// Some of the names that are asked for; a small bit set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Names(u16);

impl Names {
    /// Those of the names that no application may get: they are in the table of stripped names.
    const STRIPPED: Self = Name::Connection
        .bit()
        .with(Name::ForwardedFor.bit())
        .with(Name::ForwardedProto.bit())
        .with(Name::TransferEncoding.bit())
        .with(Name::Upgrade.bit());

    /// Whether a name is among them.
    #[must_use]
    pub const fn has(self, name: Name) -> bool {
        self.0 & name.bit().0 != 0
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn shares(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a head holds of the names that are asked for, and whether it holds others that may have to go.
/// Outlives the walk it was found by; true as long as the head is not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Notes {
    present: Names,
    repeated: Names,
    is_doubtful: bool,
}

impl Notes {
    /// Whether the head holds a name.
    #[must_use]
    pub const fn has(self, name: Name) -> bool {
        self.present.has(name)
    }

    /// Whether any name of the head is in the table of stripped names, or is one that some applications
    /// take for another.
    #[must_use]
    pub(super) const fn is_doubtful(self) -> bool {
        self.is_doubtful || self.present.shares(Names::STRIPPED)
    }
}

/// The fields of a head, walked once.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    headers: &'a HeaderMap,
    notes: Notes,
    /// The first value under each name.
    first: [Option<&'a HeaderValue>; COUNT],
}

impl<'a> Fields<'a> {
    /// Walks a head.
    #[must_use]
    pub fn of(headers: &'a HeaderMap) -> Self {
        let mut notes = Notes::default();
        let mut first = [None; COUNT];
        for (name, value) in headers {
            let Some(known) = Name::of(name.as_str()) else {
                notes.is_doubtful = notes.is_doubtful || hygiene::is_doubtful(name.as_str());
                continue;
            };
            if notes.has(known) {
                notes.repeated = notes.repeated.with(known.bit());
            } else {
                notes.present = notes.present.with(known.bit());
                first[known as usize] = Some(value);
            }
        }
        Self { headers, notes, first }
    }

    /// Every field, by whatever name.
    #[must_use]
    pub const fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// What was found out about the names.
    #[must_use]
    pub const fn notes(&self) -> Notes {
        self.notes
    }

    /// Whether a name is there.
    #[must_use]
    pub const fn has(&self, name: Name) -> bool {
        self.notes.has(name)
    }

    /// The first value under a name.
    #[must_use]
    pub const fn first(&self, name: Name) -> Option<&'a HeaderValue> {
        self.first[name as usize]
    }

    /// Whether a name stands there more than once.
    #[must_use]
    pub const fn is_repeated(&self, name: Name) -> bool {
        self.notes.repeated.has(name)
    }

    /// Every value under a name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &'a HeaderValue> + use<'a> {
        // Only the seldom name that stands there twice is looked up.
        let further = self
            .is_repeated(name)
            .then(|| self.headers.get_all(&NAMES[name as usize]).iter().skip(1));
        self.first(name).into_iter().chain(further.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::web::headers::kind_of;

    const ALL: [Name; COUNT] = [
        Name::Accept,
        Name::AskedMethod,
        Name::Authorization,
        Name::Connection,
        Name::ContentLength,
        Name::Cookie,
        Name::Expect,
        Name::ForwardedFor,
        Name::ForwardedProto,
        Name::Host,
        Name::Origin,
        Name::RequestId,
        Name::SecFetchMode,
        Name::TransferEncoding,
        Name::Upgrade,
    ];

    #[test]
    fn every_name_is_known_by_its_spelling_and_its_place() {
        for (place, (name, spelled)) in ALL.into_iter().zip(&NAMES).enumerate() {
            assert_eq!(name as usize, place);
            assert_eq!(Name::of(spelled.as_str()), Some(name));
            let is_stripped = kind_of(spelled.as_str()).is_some();
            assert_eq!(Names::STRIPPED.has(name), is_stripped, "{spelled}");
        }
    }

    /// Names that are asked for, names near them, names that must go, and others; some in capitals.
    fn names() -> impl Strategy<Value = String> {
        let near =
            ["hos", "hosts", "cookie2", "x-request-ids", "sec-fetch-site", "x-forwarded-host"];
        let other =
            ["te", "user-agent", "my_name", "x.y", "x-auth-user-id", "cookie_", "proxy-x", "a"];
        let known = NAMES.iter().map(HeaderName::as_str).chain(near).chain(other);
        let known: Vec<String> = known.map(str::to_owned).collect();
        let spelled = (prop::sample::select(known), any::<bool>())
            .prop_map(|(name, is_loud)| if is_loud { name.to_uppercase() } else { name });
        prop_oneof![6 => spelled, 1 => "[a-zA-Z_.-]{1,12}"]
    }

    proptest! {
        #[test]
        fn one_walk_tells_what_looking_up_each_name_tells(
            fields in prop::collection::vec((names(), "[ -~]{0,6}"), 0..24),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            let walked = Fields::of(&headers);
            for (name, spelled) in ALL.into_iter().zip(&NAMES) {
                prop_assert_eq!(walked.has(name), headers.contains_key(spelled));
                prop_assert_eq!(walked.notes().has(name), headers.contains_key(spelled));
                prop_assert_eq!(walked.first(name), headers.get(spelled));
                let all: Vec<_> = headers.get_all(spelled).iter().collect();
                prop_assert_eq!(walked.is_repeated(name), all.len() > 1);
                prop_assert_eq!(walked.all(name).collect::<Vec<_>>(), all);
            }
            let is_doubtful = headers.keys().any(|name| {
                kind_of(name.as_str()).is_some() || name.as_str().contains(['_', '.'])
            });
            prop_assert_eq!(walked.notes().is_doubtful(), is_doubtful);
        }
    }
}
