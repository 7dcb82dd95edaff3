//! Where one is signed in, and ending that.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::Serialize;

use super::account::{method_text, sign_in_first};
use super::forms::{Purpose, TOKEN_FIELD, is_of_session, session_token};
use super::{Portal, render};
use crate::accounts::visit::{Answer, Visit, form_failure, see_other, store_failure};
use crate::session::Identity;
use crate::store::{Conflict, SessionRow, StoreError};
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What the page shows.
#[derive(Debug, Serialize)]
struct Shown {
    devices: Vec<Device>,
    has_others: bool,
    /// Some were just signed out.
    done: bool,
    error: Option<Text>,
    token_field: &'static str,
    token: String,
    sign_out_token: String,
}

#[derive(Debug, Serialize)]
struct Device {
    /// The session's id, which is no secret, in unpadded base64url.
    id: String,
    is_this: bool,
    agent: String,
    address: Option<String>,
    method: Text,
    signed_in_at: String,
    last_seen: String,
}

impl Device {
    fn of(row: SessionRow, this: &[u8; 32]) -> Self {
        Self {
            id: URL_SAFE_NO_PAD.encode(row.id),
            is_this: row.id == *this,
            agent: row.agent,
            address: row.address.map(|address| address.to_string()),
            method: method_text(row.method),
            signed_in_at: row.created_at.to_string(),
            last_seen: row.last_seen.to_string(),
        }
    }
}

impl Portal {
    /// GET: the list; to the sign-in page for nobody.
    pub(super) async fn show_devices(
        &self,
        visit: &Visit,
        query: &Form,
    ) -> Result<Answer, Failure> {
        let Some((identity, _)) = visit.identity()? else { return Ok(sign_in_first(visit)) };
        let done = query.get("done").is_some();
        self.devices(visit, identity, (StatusCode::OK, None), done).await
    }

    /// POST: signs one out, or all but this one.
    pub(super) async fn sign_out_devices<B: RequestBody>(
        &self,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let Some((identity, _)) = visit.identity()? else { return Ok(sign_in_first(visit)) };
        let (sessions, from) = (self.accounts.sessions(), visit.actor());
        if !is_of_session(sessions, Purpose::Devices, identity, form.get(TOKEN_FIELD)) {
            let error = Some(Text::of("form-out-of-date"));
            return self.devices(visit, identity, (StatusCode::FORBIDDEN, error), false).await;
        }
        let has_ended = if form.get("others").is_some() {
            self.accounts.sign_out_elsewhere(identity, &from).await.map(|_| true)
        } else {
            match form.get("device").and_then(read_id) {
                Some(id) => self.accounts.sign_out_device(identity, id, &from).await,
                None => Ok(false),
            }
        };
        match has_ended {
            Ok(true) => {}
            Ok(false) => {
                let error = Some(Text::of("devices-gone"));
                return self.devices(visit, identity, (StatusCode::NOT_FOUND, error), false).await;
            }
            Err(StoreError::Conflict(Conflict::Gone)) => return Ok(sign_in_first(visit)),
            Err(error) => return Err(store_failure(error)),
        }
        Ok(see_other(&format!("{}/account/devices?done=1", visit.config.portal.path)))
    }

    async fn devices(
        &self,
        visit: &Visit,
        identity: &Identity,
        (status, error): (StatusCode, Option<Text>),
        done: bool,
    ) -> Result<Answer, Failure> {
        let rows = match self.accounts.own_sessions(identity).await {
            Err(StoreError::Conflict(Conflict::Gone)) => return Ok(sign_in_first(visit)),
            rows => rows.map_err(store_failure)?,
        };
        let this = identity.session().id;
        let mut devices: Vec<_> = rows.into_iter().map(|row| Device::of(row, &this)).collect();
        devices.sort_by_key(|device| !device.is_this);
        let sessions = self.accounts.sessions();
        let shown = Shown {
            has_others: devices.iter().any(|device| !device.is_this),
            devices,
            done,
            error,
            token_field: TOKEN_FIELD,
            token: session_token(sessions, Purpose::Devices, identity),
            sign_out_token: session_token(sessions, Purpose::SignOut, identity),
        };
        Ok(render(visit, "devices", status, shown))
    }
}

/// An id as the form has it.
fn read_id(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[test]
    fn an_id_is_32_bytes_written_in_one_way() {
        assert_eq!(read_id(&URL_SAFE_NO_PAD.encode([10; 32])), Some([10; 32]));
        for text in ["", "CgoK", &"A".repeat(44), &"+".repeat(43), &"é".repeat(43)] {
            assert_eq!(read_id(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn out_01_an_agent_is_shown_as_the_words_it_is() {
        let device = |is_this, agent: &str| Device {
            id: URL_SAFE_NO_PAD.encode([10; 32]),
            is_this,
            agent: agent.into(),
            address: None,
            method: Text::of("method-password"),
            signed_in_at: "2026-01-01T00:00:00Z".into(),
            last_seen: "2026-01-01T00:00:00Z".into(),
        };
        let shown = Shown {
            devices: vec![device(true, "<script>alert(1)</script>"), device(false, "")],
            has_others: true,
            done: true,
            error: None,
            token_field: TOKEN_FIELD,
            token: "t".into(),
            sign_out_token: "s".into(),
        };
        let page = page_of("devices", shown).await;
        for part in [
            "&lt;script&gt;",
            "This device",
            "A program that does not say its name",
            "Sign out everywhere else",
            "aria-label=\"Sign out device 2\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
