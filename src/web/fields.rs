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

    use http::{Method, Uri};
    use proptest::prelude::*;

    use super::*;
    use crate::web::authority::Authority;
    use crate::web::client::client;
    use crate::web::cors::{listed_origin, preflight_method};
    use crate::web::headers::{
        Authorization, authorization, check_request, is_navigation, is_websocket, kind_of,
    };
    use crate::web::origin::{Origin, Scheme};

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

    /// The same answers, each name looked up by itself.
    mod looked_up {
        use http::header::{
            ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, UPGRADE,
        };
        use http::{HeaderMap, HeaderValue, Method};

        use super::Authority;

        fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none())
        }

        fn tokens(headers: &HeaderMap) -> Vec<Vec<u8>> {
            let lines = headers.get_all(CONNECTION).into_iter();
            let tokens = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
            tokens.map(|token| token.trim_ascii().to_ascii_lowercase()).collect()
        }

        pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
            one(headers, UPGRADE.as_str())
                .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
                && tokens(headers).iter().any(|token| token == b"upgrade")
        }

        /// Where `Accept` is one type at most.
        pub(super) fn is_navigation(headers: &HeaderMap) -> bool {
            if headers.contains_key("sec-fetch-mode") {
                return one(headers, "sec-fetch-mode").is_some_and(|mode| mode == "navigate");
            }
            headers.get_all("accept").iter().any(|kind| kind == "text/html")
        }

        pub(super) fn is_unambiguous(headers: &HeaderMap) -> bool {
            let is_framed = |name: &str, is_taken: fn(&HeaderValue) -> bool| {
                !headers.contains_key(name) || one(headers, name).is_some_and(is_taken)
            };
            let essential: [&[u8]; 6] = [
                b"host",
                b"cookie",
                b"authorization",
                b"content-length",
                b"transfer-encoding",
                b"origin",
            ];
            is_framed("transfer-encoding", |coding| coding == "chunked")
                && is_framed(CONTENT_LENGTH.as_str(), |length| length == "1")
                && !tokens(headers).iter().any(|token| essential.contains(&token.as_slice()))
        }

        pub(super) fn authority(headers: &HeaderMap) -> Option<Authority> {
            one(headers, HOST.as_str()).and_then(|host| Authority::parse(host.as_bytes()).ok())
        }

        /// Ours, if anything; an error where there are several.
        pub(super) fn token(headers: &HeaderMap) -> Result<bool, ()> {
            match headers.get_all(AUTHORIZATION).iter().count() {
                0 => Ok(false),
                1 => Ok(one(headers, "authorization").is_some_and(|field| field == "Bearer pc_x")),
                _ => Err(()),
            }
        }

        pub(super) fn is_listed(headers: &HeaderMap) -> bool {
            one(headers, "origin").is_some_and(|origin| origin == "https://a.example")
        }

        pub(super) fn preflight(headers: &HeaderMap) -> Option<Method> {
            let asked =
                headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| is_listed(headers))?;
            Method::from_bytes(asked.as_bytes()).ok()
        }

        /// The last hop that is no proxy, and whether the scheme is `https`; an error for nonsense.
        pub(super) fn client(headers: &HeaderMap) -> Result<(bool, bool), ()> {
            let hops: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
            let schemes: Vec<_> = headers.get_all("x-forwarded-proto").iter().collect();
            let is_sound = hops.iter().all(|hop| *hop == "1.2.3.4")
                && schemes.iter().all(|scheme| *scheme == "https");
            if is_sound { Ok((!hops.is_empty(), !schemes.is_empty())) } else { Err(()) }
        }
    }

    /// Values that mean something under one name or another.
    const VALUES: [&str; 21] = [
        "",
        "websocket",
        "upgrade",
        "keep-alive, Upgrade",
        "chunked",
        "1",
        "01",
        "navigate",
        "text/html",
        "https://a.example",
        "https://b.example",
        "PUT",
        "a.example",
        "b..c",
        "close, HOST",
        "origin",
        "x-team",
        "Bearer pc_x",
        "Basic x",
        "1.2.3.4",
        "https",
    ];

    proptest! {
        #[test]
        fn answers_are_those_of_looking_up_each_name(
            fields in prop::collection::vec((names(), prop::sample::select(VALUES.to_vec())), 0..12),
            // So that there is something to answer, most heads hold the names of one kind of question.
            question in prop::sample::select(vec![
                &[Name::Upgrade, Name::Connection][..],
                &[Name::Accept, Name::SecFetchMode],
                &[Name::Host, Name::Authorization],
                &[Name::Origin, Name::AskedMethod],
                &[Name::ForwardedFor, Name::ForwardedProto],
                &[Name::ContentLength, Name::TransferEncoding, Name::Connection],
            ]),
            values in prop::collection::vec(prop::sample::select(VALUES.to_vec()), 0..5),
        ) {
            let asked = question.iter().cycle().map(|name| NAMES[*name as usize].as_str());
            let asked = asked.zip(values).map(|(name, value)| (name.to_owned(), value));
            let mut headers = HeaderMap::new();
            for (name, value) in fields.into_iter().chain(asked) {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                headers.append(name, HeaderValue::from_static(value));
            }
            let fields = &Fields::of(&headers);
            prop_assert_eq!(is_websocket(&Method::GET, fields), looked_up::is_websocket(&headers));
            prop_assert_eq!(is_navigation(&Method::GET, fields), looked_up::is_navigation(&headers));
            prop_assert_eq!(check_request(fields).is_ok(), looked_up::is_unambiguous(&headers));
            let authority = Authority::of_request(&Uri::from_static("/"), fields).ok();
            prop_assert_eq!(authority, looked_up::authority(&headers));
            let token = match authorization(fields) {
                Authorization::NotOurs => Ok(false),
                Authorization::Ours(_) => Ok(true),
                Authorization::Several => Err(()),
            };
            prop_assert_eq!(token, looked_up::token(&headers));
            let listed = [Origin::parse("https://a.example").unwrap()];
            prop_assert_eq!(listed_origin(fields, &listed).is_some(), looked_up::is_listed(&headers));
            let asked = preflight_method(&Method::OPTIONS, fields, &listed);
            prop_assert_eq!(asked, looked_up::preflight(&headers));
            let proxy = "10.0.0.1/32".parse().unwrap();
            let said = client("10.0.0.1".parse().unwrap(), Scheme::Http, fields, &[proxy]);
            let said = said.map(|client| (client.address.is_some(), client.scheme == Scheme::Https));
            prop_assert_eq!(said.map_err(|_| ()), looked_up::client(&headers));
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
