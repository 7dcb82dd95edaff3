//! Registering, and reading, changing and deleting users (`docs/json-api.md`).

use http::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::bodies::{Complaint, MeBody, UserBody, json, unprocessable};
use super::input::Given;
use super::shape::{CHANGE, OWN_CHANGE, REGISTER};
use super::{Api, unauthorized};
use crate::accounts::visit::{Answer, Visit, empty, store_failure};
use crate::accounts::{
    Acceptance, Change, ChangeError, Confirmation, Mistake, OwnChange, Registration,
};
use crate::identity::user::{Person, Profile, User};
use crate::session::Identity;
use crate::store::Conflict;
use crate::web::failure::Failure;
use crate::web::form::RequestBody;

/// The codes of what may be wrong with an account, which differ between making and changing one.
pub(super) struct Codes {
    exists: &'static str,
    password: &'static str,
}

const REGISTERING: Codes =
    Codes { exists: "REGISTER_USER_ALREADY_EXISTS", password: "REGISTER_INVALID_PASSWORD" };
const UPDATING: Codes =
    Codes { exists: "UPDATE_USER_EMAIL_ALREADY_EXISTS", password: "UPDATE_USER_INVALID_PASSWORD" };

pub(super) const INVITING: Codes = REGISTERING;

impl Api {
    /// Makes an account for whoever asks, or is invited. Where nobody may, the body is not read.
    pub(super) async fn register<B: RequestBody>(
        &self,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        if !self.accounts.people().may_invite() {
            return Err(Failure::new(StatusCode::FORBIDDEN));
        }
        let mut given = Given::read(&visit.headers, body, &REGISTER).await?;
        if let Some(token) = given.text("invitation") {
            return self.accept_invitation(visit, &token, given).await;
        }
        let asked = Registration {
            email: given.text("email").unwrap_or_default(),
            password: given.text("password").unwrap_or_default().into(),
            profile: profile_of(&mut given),
        };
        let email = asked.email.clone();
        let made = self.accounts.register(asked, &visit.actor()).await;
        let user = made.map_err(|mistake| mistake_failure(mistake, &REGISTERING, email))?;
        show(StatusCode::CREATED, &user)
    }

    /// Makes the account somebody is invited to.
    async fn accept_invitation(
        &self,
        visit: &Visit,
        token: &str,
        mut given: Given,
    ) -> Result<Answer, Failure> {
        let email = given.text("email").unwrap_or_default();
        let acceptance = Acceptance {
            password: given.text("password").unwrap_or_default().into(),
            profile: profile_of(&mut given),
        };
        let from = visit.actor();
        let made = self.accounts.accept_invitation(token, Some(&email), acceptance, &from).await;
        let user = made.map_err(|mistake| mistake_failure(mistake, &REGISTERING, email))?;
        show(StatusCode::CREATED, &user)
    }

    /// One's own account.
    pub(super) async fn serve_me<B: RequestBody>(
        &self,
        visit: &Visit,
        identity: &Identity,
        body: B,
    ) -> Result<Answer, Failure> {
        if visit.method != Method::PATCH {
            return json(StatusCode::OK, &MeBody::of(identity));
        }
        let mut given = Given::read(&visit.headers, body, &OWN_CHANGE).await?;
        let current = given.text("current_password").map(Into::into);
        let change = change_of(&mut given);
        let email = change.email.clone().unwrap_or_default();
        let asked = OwnChange {
            identity,
            change,
            confirmation: asked_by(visit, || Confirmation::Asked(current)),
            from: &visit.actor(),
        };
        let changed = self.accounts.change_own(asked).await;
        let user = changed.map_err(|error| change_failure(error, email, || unauthorized(visit)))?;
        show(StatusCode::OK, &user)
    }

    /// Somebody's account, for a superuser. The id comes before the body.
    pub(super) async fn serve_user<B: RequestBody>(
        &self,
        visit: &Visit,
        by: &Identity,
        id: Option<Uuid>,
        body: B,
    ) -> Result<Answer, Failure> {
        let missing = || Failure::new(StatusCode::NOT_FOUND);
        let found = self.accounts.find_user(id.ok_or_else(missing)?).await;
        let user = found.map_err(store_failure)?.ok_or_else(missing)?;
        let from = visit.actor();
        if visit.method == Method::DELETE {
            let deleted = self.accounts.delete_other(user.id, by, &from).await;
            deleted.map_err(|error| change_failure(error, String::new(), missing))?;
            return Ok(empty(StatusCode::NO_CONTENT));
        }
        if visit.method != Method::PATCH {
            return show(StatusCode::OK, &user);
        }
        let mut given = Given::read(&visit.headers, body, &CHANGE).await?;
        let current = given.text("current_password").map(Into::into);
        let change = change_of(&mut given);
        let email = change.email.clone().unwrap_or_default();
        let by = (by, asked_by(visit, || Confirmation::Asked(current)));
        let changed = self.accounts.change_other(&user, change, by, &from).await;
        let user = changed.map_err(|error| change_failure(error, email, missing))?;
        show(StatusCode::OK, &user)
    }
}

/// What is asked, if anything is.
pub(super) fn asked_by(visit: &Visit, asked: impl FnOnce() -> Confirmation) -> Confirmation {
    if visit.config.accounts.confirm_changes { asked() } else { Confirmation::NotAsked }
}

fn show(status: StatusCode, user: &User) -> Result<Answer, Failure> {
    json(status, &UserBody::of(&Person::of(user)))
}

fn change_of(given: &mut Given) -> Change {
    Change {
        email: given.text("email"),
        password: given.text("password").map(Into::into),
        profile: profile_of(given),
        is_active: given.flag("is_active"),
        is_superuser: given.flag("is_superuser"),
        is_verified: given.flag("is_verified"),
    }
}

fn profile_of(given: &mut Given) -> Profile {
    Profile {
        first_name: given.text("first_name"),
        last_name: given.text("last_name"),
        organization: given.text("organization"),
        department: given.text("department"),
        phone: given.text("phone"),
    }
}

/// What an account that was not changed or deleted is answered with; `gone` where it does not exist
/// (any more).
pub(super) fn change_failure(
    error: ChangeError,
    email: String,
    gone: impl FnOnce() -> Failure,
) -> Failure {
    match error {
        ChangeError::Unconfirmed => refused_password(&UPDATING, "The current password is needed"),
        ChangeError::WrongPassword => refused_password(&UPDATING, "The current password is wrong"),
        ChangeError::NotRecent => refused_password(
            &UPDATING,
            "Without a current password, sign in once more and try again within five minutes; a provider that \
             was linked only just now does not count",
        ),
        ChangeError::TooMany(after) => Failure::too_many(after),
        ChangeError::Gone => gone(),
        ChangeError::Mistake(mistake) => mistake_failure(mistake, &UPDATING, email),
        error @ ChangeError::Session(_) => error.into(),
    }
}

/// What a mistake is answered with; `email` is the one that was sent.
pub(super) fn mistake_failure(mistake: Mistake, codes: &Codes, email: String) -> Failure {
    let bad = |code: &'static str| Failure::new(StatusCode::BAD_REQUEST).detail(code);
    match mistake {
        Mistake::Email => unprocessable(&[Complaint::NotAnEmail("email", email)]),
        Mistake::Domain => {
            let reason = "addresses of this domain are not admitted";
            unprocessable(&[Complaint::Unfit("email", reason, email)])
        }
        Mistake::Profile(field) => {
            let reason = "it is longer than 200 characters or holds a control character";
            unprocessable(&[Complaint::Unfit(field.as_str(), reason, String::new())])
        }
        // Whoever acts was a superuser when the call came.
        Mistake::Closed | Mistake::Conflict(Conflict::NoSuperuser) => {
            Failure::new(StatusCode::FORBIDDEN)
        }
        Mistake::Password(reason) => refused_password(codes, &reason.to_string()),
        Mistake::TooMany(after) => Failure::too_many(after),
        Mistake::Conflict(Conflict::Email) => bad(codes.exists),
        Mistake::Conflict(Conflict::Token) => bad("INVITATION_BAD_TOKEN"),
        Mistake::Conflict(Conflict::LastSuperuser) => bad("LAST_SUPERUSER"),
        Mistake::Store(error) => store_failure(error),
        mistake @ (Mistake::Username
        | Mistake::Role(_)
        | Mistake::Session(_)
        | Mistake::Conflict(
            Conflict::Username
            | Conflict::Role
            | Conflict::SetUpDone
            | Conflict::Gone
            | Conflict::Verified
            | Conflict::Linked
            | Conflict::LastWayIn,
        )) => mistake.into(),
    }
}

fn refused_password(codes: &Codes, reason: &str) -> Failure {
    let detail = json!({"code": codes.password, "reason": reason});
    Failure::new(StatusCode::BAD_REQUEST).detail(detail)
}
