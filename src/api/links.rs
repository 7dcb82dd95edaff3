//! What links lead to, as JSON (`docs/json-api.md`).

use http::StatusCode;
use serde_json::json;

use super::Api;
use super::bodies::{UserBody, json};
use super::input::Given;
use super::shape::{RESET, VERIFY};
use crate::accounts::visit::{Answer, Visit, store_failure};
use crate::accounts::{LinkError, LinkKind, Mistake};
use crate::identity::user::Person;
use crate::web::failure::Failure;
use crate::web::form::RequestBody;

impl Api {
    /// Spends a link. The body comes first, then the limit, then the token, then what goes with it.
    pub(super) async fn use_link<B: RequestBody>(
        &self,
        visit: &Visit,
        kind: LinkKind,
        body: B,
    ) -> Result<Answer, Failure> {
        match kind {
            LinkKind::Reset => {
                let mut given = Given::read(&visit.headers, body, &RESET).await?;
                let token = given.text("token").unwrap_or_default();
                let password = given.text("password").unwrap_or_default();
                let from = visit.actor();
                let reset = self.accounts.reset_password(&token, password.into(), &from).await;
                reset.map_err(|error| failure_of(kind, error))?;
                json(StatusCode::OK, &json!(null))
            }
            LinkKind::Verify => {
                let mut given = Given::read(&visit.headers, body, &VERIFY).await?;
                let token = given.text("token").unwrap_or_default();
                let verified = self.accounts.verify_email(&token, &visit.actor()).await;
                let user = verified.map_err(|error| failure_of(kind, error))?;
                json(StatusCode::OK, &UserBody::of(&Person::of(&user)))
            }
        }
    }
}

fn failure_of(kind: LinkKind, error: LinkError) -> Failure {
    let bad = |detail: serde_json::Value| Failure::new(StatusCode::BAD_REQUEST).detail(detail);
    match error {
        LinkError::Void => bad(json!(match kind {
            LinkKind::Reset => "RESET_PASSWORD_BAD_TOKEN",
            LinkKind::Verify => "VERIFY_USER_BAD_TOKEN",
        })),
        LinkError::Verified => bad(json!("VERIFY_USER_ALREADY_VERIFIED")),
        LinkError::Password(reason) => {
            bad(json!({"code": "RESET_PASSWORD_INVALID_PASSWORD", "reason": reason.to_string()}))
        }
        LinkError::TooMany(after) => Failure::too_many(after),
        LinkError::Failed(Mistake::Store(error)) => store_failure(error),
        error @ LinkError::Failed(_) => error.into(),
    }
}
