//! What can be done at each address of the API, one row each: the document of the API is made of these, and
//! `document` adds what is the same everywhere.

use http::Method;

use super::endpoint::{Backend, Endpoint};
use super::shape::{ASK, CHANGE, INVITE, OWN_CHANGE, REGISTER, RESET, Shape, VERIFY};
use super::vouching::{Leg, Step};
use crate::accounts::LinkKind;
use crate::accounts::vouching::Errand;
use crate::store::LetterKind;

/// One method of an address.
pub(super) struct Operation {
    pub(super) method: Method,
    /// Its name, unique in the document.
    pub(super) id: &'static str,
    /// One sentence, without full stop.
    pub(super) summary: &'static str,
    pub(super) takes: Takes,
    /// The answer when all is well: status and body.
    pub(super) gives: (u16, Gives),
    /// Codes of `detail` with 400.
    pub(super) codes: &'static [&'static str],
    /// Parameters of the query.
    pub(super) asks: &'static [&'static str],
    /// The operations on what it makes, which its answer names as `id`.
    pub(super) leads_to: &'static [&'static str],
    /// It asks a provider, which may fail: 502.
    pub(super) asks_provider: bool,
    /// It counts attempts, or waits for a password to be hashed: 429.
    pub(super) is_limited: bool,
}

/// The body of a request.
pub(super) enum Takes {
    Nothing,
    Json(&'static Shape),
    /// The form of a sign-in.
    Login,
    /// The form by which a provider says that somebody signed out there.
    Notice,
}

/// The body of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    Nothing,
    /// The JSON value `null`.
    Null,
    User,
    /// The caller's own user.
    Me,
    Session,
    Token,
    /// Where to go at a provider.
    Departure,
    /// What is linked at providers.
    Links,
    Invitation,
    /// A list of them.
    Invitations,
    /// The document itself.
    Document,
}

/// The addresses that are always there; a test holds that each leads to itself.
const ALWAYS: [Endpoint; 14] = [
    Endpoint::Login(Backend::Jwt),
    Endpoint::Login(Backend::Cookie),
    Endpoint::Logout,
    Endpoint::Session,
    Endpoint::Register,
    Endpoint::Letter(LetterKind::Reset),
    Endpoint::Link(LinkKind::Reset),
    Endpoint::Letter(LetterKind::Verify),
    Endpoint::Link(LinkKind::Verify),
    Endpoint::Me,
    Endpoint::User(None),
    Endpoint::Invitations,
    Endpoint::Invitation(None),
    Endpoint::Document,
];

/// Every address that there is with these providers.
pub(super) fn endpoints<'a>(providers: impl Iterator<Item = &'a str>) -> Vec<Endpoint> {
    let legs = providers.flat_map(|provider| {
        Step::ALL.map(|step| Endpoint::Vouch(Leg { provider: provider.to_owned(), step }))
    });
    let list = Endpoint::Vouch(Leg { provider: String::new(), step: Step::List });
    ALWAYS.into_iter().chain([list]).chain(legs).collect()
}

impl Endpoint {
    /// The addresses below `portal.path`; `{id}` stands for an id.
    pub(super) fn paths(&self) -> Vec<String> {
        let paths: &[&str] = match self {
            Self::Login(Backend::Jwt) => &["jwt/login"],
            Self::Login(Backend::Cookie) => &["cookie/login"],
            Self::Logout => &["jwt/logout", "cookie/logout"],
            Self::Session => &["session"],
            Self::Register => &["register"],
            Self::Letter(LetterKind::Reset) => &["forgot-password"],
            Self::Link(LinkKind::Reset) => &["reset-password"],
            Self::Letter(LetterKind::Verify) => &["request-verify-token"],
            // Nobody asks for one of these.
            Self::Letter(
                LetterKind::Invite | LetterKind::EmailChanged | LetterKind::PasswordChanged,
            ) => &[],
            Self::Link(LinkKind::Verify) => &["verify"],
            Self::Me => &["users/me"],
            Self::User(_) => &["users/{id}"],
            Self::Invitations => &["invitations"],
            Self::Invitation(_) => &["invitations/{id}"],
            Self::Document => &["openapi.json"],
            Self::Vouch(leg) => return vec![leg.path()],
        };
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    /// What can be done there: one operation for each of [`Endpoint::methods`].
    pub(super) fn operations(&self) -> Vec<Operation> {
        match self {
            Self::Login(backend) => vec![sign_in(*backend)],
            Self::Logout => vec![sign_out()],
            Self::Session => vec![Operation {
                gives: (200, Gives::Session),
                ..get("session", "Says who is signed in, if anybody is")
            }],
            Self::Register => vec![register()],
            Self::Letter(kind) => ask(*kind).into_iter().collect(),
            Self::Link(kind) => vec![follow(*kind)],
            Self::Me => vec![
                Operation {
                    gives: (200, Gives::Me),
                    ..get("me", "The caller's own user, with roles and permissions")
                },
                Operation {
                    method: Method::PATCH,
                    takes: Takes::Json(&OWN_CHANGE),
                    codes: CHANGING,
                    is_limited: true,
                    ..get("change_me", "Changes the caller's own user; the flags are left out")
                },
            ],
            Self::User(_) => of_user(),
            Self::Vouch(leg) => vec![vouch(leg.step)],
            Self::Invitations => vec![
                Operation {
                    gives: (200, Gives::Invitations),
                    ..get("invitations", "Who is invited")
                },
                Operation {
                    gives: (201, Gives::Invitation),
                    codes: &["REGISTER_USER_ALREADY_EXISTS", "MAIL_NOT_CONFIGURED"],
                    ..post("invite", "Invites somebody by mail", &INVITE)
                },
            ],
            Self::Invitation(_) => vec![Operation {
                method: Method::DELETE,
                gives: (204, Gives::Nothing),
                ..get("revoke_invitation", "Takes an invitation back")
            }],
            Self::Document => vec![Operation {
                gives: (200, Gives::Document),
                ..get("document", "This document")
            }],
        }
    }
}

const CHANGING: &[&str] = &["UPDATE_USER_EMAIL_ALREADY_EXISTS", "UPDATE_USER_INVALID_PASSWORD"];

const OPERATING: &[&str] =
    &["UPDATE_USER_EMAIL_ALREADY_EXISTS", "UPDATE_USER_INVALID_PASSWORD", "LAST_SUPERUSER"];

/// The plainest operation, which the others differ from.
fn get(id: &'static str, summary: &'static str) -> Operation {
    Operation {
        method: Method::GET,
        id,
        summary,
        takes: Takes::Nothing,
        gives: (200, Gives::User),
        codes: &[],
        asks: &[],
        leads_to: &[],
        asks_provider: false,
        is_limited: false,
    }
}

fn post(id: &'static str, summary: &'static str, body: &'static Shape) -> Operation {
    Operation {
        method: Method::POST,
        takes: Takes::Json(body),
        is_limited: true,
        ..get(id, summary)
    }
}

/// What a superuser does with somebody's account.
fn of_user() -> Vec<Operation> {
    vec![
        get("user", "A user"),
        Operation {
            method: Method::PATCH,
            takes: Takes::Json(&CHANGE),
            codes: OPERATING,
            is_limited: true,
            ..get("change_user", "Changes a user")
        },
        Operation {
            method: Method::DELETE,
            gives: (204, Gives::Nothing),
            codes: &["LAST_SUPERUSER"],
            ..get("delete_user", "Deletes a user with everything that is theirs")
        },
    ]
}

fn sign_in(backend: Backend) -> Operation {
    let (id, gives) = match backend {
        Backend::Jwt => ("jwt_login", (200, Gives::Token)),
        Backend::Cookie => ("cookie_login", (204, Gives::Nothing)),
    };
    Operation {
        method: Method::POST,
        takes: Takes::Login,
        gives,
        codes: &["LOGIN_BAD_CREDENTIALS", "LOGIN_USER_NOT_VERIFIED"],
        is_limited: true,
        ..get(id, "Signs in with an e-mail or a username and a password")
    }
}

fn sign_out() -> Operation {
    Operation {
        method: Method::POST,
        gives: (204, Gives::Nothing),
        ..get("logout", "Ends the session that the request is made with")
    }
}

fn register() -> Operation {
    Operation {
        gives: (201, Gives::User),
        codes: &[
            "REGISTER_USER_ALREADY_EXISTS",
            "REGISTER_INVALID_PASSWORD",
            "INVITATION_BAD_TOKEN",
        ],
        leads_to: &["user", "change_user", "delete_user"],
        ..post("register", "Makes an account, where that is open", &REGISTER)
    }
}

fn ask(kind: LetterKind) -> Option<Operation> {
    let (id, summary) = match kind {
        LetterKind::Invite | LetterKind::EmailChanged | LetterKind::PasswordChanged => {
            return None;
        }
        LetterKind::Reset => ("forgot_password", "Asks for a link to a new password"),
        LetterKind::Verify => ("request_verify_token", "Asks for a link that verifies the e-mail"),
    };
    Some(Operation { gives: (202, Gives::Null), ..post(id, summary, &ASK) })
}

fn follow(kind: LinkKind) -> Operation {
    match kind {
        LinkKind::Reset => Operation {
            gives: (200, Gives::Null),
            codes: &["RESET_PASSWORD_BAD_TOKEN", "RESET_PASSWORD_INVALID_PASSWORD"],
            ..post("reset_password", "Sets a new password by the token of a link", &RESET)
        },
        LinkKind::Verify => Operation {
            codes: &["VERIFY_USER_BAD_TOKEN", "VERIFY_USER_ALREADY_VERIFIED"],
            ..post("verify", "Verifies an e-mail by the token of a link", &VERIFY)
        },
    }
}

fn vouch(step: Step) -> Operation {
    const COMES_WITH: &[&str] = &["code", "state", "error"];
    let asking = |id, summary| Operation {
        asks: COMES_WITH,
        codes: ARRIVING,
        asks_provider: true,
        is_limited: true,
        ..get(id, summary)
    };
    match step {
        Step::Depart(errand) => Operation {
            gives: (200, Gives::Departure),
            asks: &["scopes"],
            asks_provider: true,
            ..match errand {
                Errand::SignIn => get("authorize", "Where to go at the provider to sign in"),
                Errand::Link => Operation {
                    codes: &["UPDATE_USER_INVALID_PASSWORD"],
                    is_limited: true,
                    ..get("associate", "Where to go at the provider to link it")
                },
            }
        },
        Step::Arrive(Errand::SignIn) => Operation {
            gives: (204, Gives::Nothing),
            ..asking("callback", "Signs in whoever comes back from the provider")
        },
        Step::Arrive(Errand::Link) => {
            asking("associated", "Links the provider to the account that is signed in")
        }
        Step::List => Operation {
            gives: (200, Gives::Links),
            ..get("associates", "The providers that are linked to the account that is signed in")
        },
        Step::Unlink => Operation {
            method: Method::DELETE,
            gives: (204, Gives::Nothing),
            codes: &["LAST_WAY_IN", "UPDATE_USER_INVALID_PASSWORD"],
            ..get("dissociate", "Takes the links to a provider away, unless nothing else signs in")
        },
        Step::Notice => Operation {
            method: Method::POST,
            takes: Takes::Notice,
            gives: (200, Gives::Nothing),
            asks_provider: true,
            is_limited: true,
            ..get("backchannel_logout", "The provider says that somebody signed out there")
        },
    }
}

const ARRIVING: &[&str] = &[
    "ACCESS_TOKEN_DECODE_ERROR",
    "ACCESS_TOKEN_ALREADY_EXPIRED",
    "OAUTH_INVALID_STATE",
    "OAUTH_NOT_AVAILABLE_EMAIL",
    "OAUTH_USER_ALREADY_EXISTS",
    "LOGIN_BAD_CREDENTIALS",
    "LOGIN_USER_NOT_VERIFIED",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_the_document_leads_to_its_endpoint() {
        for endpoint in endpoints(["corp"].into_iter()) {
            for path in endpoint.paths() {
                let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
                assert_eq!(Endpoint::below_portal(&segments).as_ref(), Some(&endpoint), "{path}");
            }
            let methods: Vec<Method> =
                endpoint.operations().into_iter().map(|operation| operation.method).collect();
            assert_eq!(methods, endpoint.methods(), "{endpoint:?}");
        }
    }

    #[test]
    fn no_two_operations_have_one_name() {
        let all = endpoints(["corp"].into_iter());
        let mut names: Vec<&str> =
            all.iter().flat_map(Endpoint::operations).map(|operation| operation.id).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
