//! Asking for letters, as JSON (`docs/json-api.md`). The answer is the same whether or not
//! there is such an account, and so is what is done before it.

use http::StatusCode;
use serde_json::json;

use super::Api;
use super::bodies::{Complaint, json, unprocessable};
use super::input::Given;
use super::shape::ASK;
use crate::accounts::TypedEmail;
use crate::accounts::visit::{Answer, Visit, store_failure};
use crate::mail::AskError;
use crate::store::LetterKind;
use crate::web::failure::Failure;
use crate::web::form::RequestBody;

impl Api {
    /// Asks for a letter: 202, whoever it is for. Where no mail is sent nothing comes of it.
    pub(super) async fn ask_for_letter<B: RequestBody>(
        &self,
        visit: &Visit,
        kind: LetterKind,
        body: B,
    ) -> Result<Answer, Failure> {
        let mut given = Given::read(&visit.headers, body, &ASK).await?;
        let text = given.text("email").unwrap_or_default();
        let typed = TypedEmail::parse(&text);
        let email = typed.map_err(|_| unprocessable(&[Complaint::NotAnEmail("email", text)]))?;
        match self.accounts.ask_for_letter(kind, &email, &visit.actor()).await {
            Ok(()) => json(StatusCode::ACCEPTED, &json!(null)),
            Err(AskError::TooMany(after)) => Err(Failure::too_many(after)),
            Err(AskError::Store(error)) => Err(store_failure(error)),
        }
    }
}
