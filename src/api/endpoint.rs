//! The addresses of the API: which methods each takes, and who may call it.

use http::Method;
use uuid::Uuid;

use super::vouching::Leg;
use crate::accounts::{LinkKind, read_id};
use crate::config::Config;
use crate::store::LetterKind;

/// An address of the API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Endpoint {
    Login(Backend),
    Logout,
    Session,
    /// Makes an account for whoever asks.
    Register,
    Me,
    /// What a link leads to, as JSON; the page of the same address is the portal's.
    Link(LinkKind),
    /// Asks for a letter.
    Letter(LetterKind),
    /// Signing in by a provider.
    Vouch(Leg),
    /// A user by id; `None` for text that is no id.
    User(Option<Uuid>),
    /// Invites people.
    Invitations,
    /// An invitation by id; `None` for text that is no id.
    Invitation(Option<Uuid>),
    /// The document of the API.
    Document,
}

/// What a sign-in hands out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Backend {
    Jwt,
    Cookie,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    Anybody,
    /// Whoever is signed in, and verified where that is required.
    SignedIn,
    /// A superuser, verified where that is required.
    Superuser,
}

impl Endpoint {
    /// The endpoint at the segments below `portal.path`.
    pub(super) fn below_portal(segments: &[String]) -> Option<Self> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["jwt", "login"] => Some(Self::Login(Backend::Jwt)),
            ["cookie", "login"] => Some(Self::Login(Backend::Cookie)),
            ["jwt" | "cookie", "logout"] => Some(Self::Logout),
            ["session"] => Some(Self::Session),
            ["register"] => Some(Self::Register),
            ["openapi.json"] => Some(Self::Document),
            ["reset-password"] => Some(Self::Link(LinkKind::Reset)),
            ["verify"] => Some(Self::Link(LinkKind::Verify)),
            ["forgot-password"] => Some(Self::Letter(LetterKind::Reset)),
            ["request-verify-token"] => Some(Self::Letter(LetterKind::Verify)),
            ["users", rest @ ..] => Self::of_users(rest),
            ["invitations"] => Some(Self::Invitations),
            ["invitations", id] => Some(Self::Invitation(read_id(id))),
            other => Leg::of(other).map(Self::Vouch),
        }
    }

    fn of_users(segments: &[&str]) -> Option<Self> {
        match segments {
            ["me"] => Some(Self::Me),
            [id] => Some(Self::User(read_id(id))),
            _ => None,
        }
    }

    /// The endpoint at the segments below `portal.users_path`, where only exact shapes are ours.
    pub(super) fn below_users_path(segments: &[String], method: &Method) -> Option<Self> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        Self::of_users(&segments)
            .filter(|endpoint| endpoint.methods().contains(method) && *endpoint != Self::User(None))
    }

    pub(super) const fn methods(&self) -> &'static [Method] {
        match self {
            Self::Login(_) | Self::Logout | Self::Register | Self::Link(_) | Self::Letter(_) => {
                &[Method::POST]
            }
            Self::Session | Self::Document => &[Method::GET],
            Self::Vouch(leg) => leg.methods(),
            Self::Me => &[Method::GET, Method::PATCH],
            Self::User(_) => &[Method::GET, Method::PATCH, Method::DELETE],
            Self::Invitations => &[Method::GET, Method::POST],
            Self::Invitation(_) => &[Method::DELETE],
        }
    }

    /// Whether a page has the same address: then only what is sent there, and is no form, is the API's.
    pub(super) const fn is_shared(&self) -> bool {
        match self {
            Self::Register | Self::Link(_) | Self::Letter(_) => true,
            Self::Login(_)
            | Self::Logout
            | Self::Session
            | Self::Me
            | Self::Vouch(_)
            | Self::User(_)
            | Self::Invitations
            | Self::Invitation(_)
            | Self::Document => false,
        }
    }

    /// Whether the address is there: those of providers that are configured, and for calls alone, since
    /// navigations to them get pages.
    pub(super) fn is_there(&self, config: &Config, is_navigation: bool) -> bool {
        match self {
            Self::Vouch(leg) => leg.is_there(config, is_navigation),
            Self::Login(_)
            | Self::Logout
            | Self::Session
            | Self::Register
            | Self::Me
            | Self::Link(_)
            | Self::Letter(_)
            | Self::User(_)
            | Self::Invitations
            | Self::Invitation(_)
            | Self::Document => true,
        }
    }

    /// Who may call it; looked at before an id and a body are.
    pub(super) const fn access(&self) -> Access {
        match self {
            Self::Login(_)
            | Self::Session
            | Self::Register
            | Self::Link(_)
            | Self::Letter(_)
            | Self::Document => Access::Anybody,
            Self::Vouch(leg) => leg.access(),
            Self::Logout | Self::Me => Access::SignedIn,
            Self::User(_) | Self::Invitations | Self::Invitation(_) => Access::Superuser,
        }
    }

    /// Whether an answer may set the session cookie.
    pub(super) fn sets_cookie(&self) -> bool {
        *self == Self::Login(Backend::Cookie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    const ID: &str = "6F9619FF-8B86-D011-B42D-00C04FC964FF";

    #[test]
    fn every_address_below_the_portal_leads_to_its_endpoint() {
        let id = read_id(ID);
        assert!(id.is_some());
        for (path, expected) in [
            ("jwt/login", Some(Endpoint::Login(Backend::Jwt))),
            ("cookie/login", Some(Endpoint::Login(Backend::Cookie))),
            ("jwt/logout", Some(Endpoint::Logout)),
            ("cookie/logout", Some(Endpoint::Logout)),
            ("session", Some(Endpoint::Session)),
            ("register", Some(Endpoint::Register)),
            ("openapi.json", Some(Endpoint::Document)),
            ("users/me", Some(Endpoint::Me)),
            ("users/6F9619FF-8B86-D011-B42D-00C04FC964FF", Some(Endpoint::User(id))),
            ("users/6f9619ff8b86d011b42d00c04fc964ff", Some(Endpoint::User(id))),
            ("users/{6f9619ff-8b86-d011-b42d-00c04fc964ff}", Some(Endpoint::User(None))),
            ("users/urn:uuid:6f9619ff-8b86-d011-b42d-00c04fc964ff", Some(Endpoint::User(None))),
            ("users/manage", Some(Endpoint::User(None))),
            ("users", None),
            ("reset-password", Some(Endpoint::Link(LinkKind::Reset))),
            ("verify", Some(Endpoint::Link(LinkKind::Verify))),
            ("forgot-password", Some(Endpoint::Letter(LetterKind::Reset))),
            ("request-verify-token", Some(Endpoint::Letter(LetterKind::Verify))),
            ("invitations", Some(Endpoint::Invitations)),
            ("invitations/6f9619ff8b86d011b42d00c04fc964ff", Some(Endpoint::Invitation(id))),
            ("invitations/x", Some(Endpoint::Invitation(None))),
            ("users/me/sessions", None),
            ("corp/authorize", Leg::of(&["corp", "authorize"]).map(Endpoint::Vouch)),
            (
                "associate/corp/callback",
                Leg::of(&["associate", "corp", "callback"]).map(Endpoint::Vouch),
            ),
            ("corp/unlink", None),
            ("login", None),
            ("jwt/login/", None),
            ("JWT/login", None),
            ("", None),
        ] {
            assert_eq!(Endpoint::below_portal(&segments(path)), expected, "{path}");
        }
    }

    #[test]
    fn below_users_path_only_exact_shapes_are_taken() {
        for (method, path, is_ours) in [
            (Method::GET, "me", true),
            (Method::GET, ID, true),
            (Method::GET, "manage", false),
            (Method::GET, "", false),
            (Method::HEAD, "me", false),
            (Method::PATCH, "me", true),
            (Method::DELETE, "me", false),
            (Method::PATCH, ID, true),
            (Method::DELETE, ID, true),
            (Method::PATCH, "manage", false),
            (Method::PUT, ID, false),
            (Method::POST, "me", false),
        ] {
            let found = Endpoint::below_users_path(&segments(path), &method);
            assert_eq!(found.is_some(), is_ours, "{method} {path}");
        }
    }
}
