//! Inviting people, for superusers. The token of an invitation goes to its guest by mail and to nobody else.

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Api;
use super::bodies::{Complaint, json, unprocessable};
use super::input::Given;
use super::people::{INVITING, mistake_failure};
use super::shape::INVITE;
use crate::accounts::visit::{Answer, Visit, empty, store_failure};
use crate::accounts::{Guest, InviteError, Mistake};
use crate::session::Identity;
use crate::store::Invitation;
use crate::web::failure::Failure;
use crate::web::form::RequestBody;

/// Invitations shown at most.
const MOST_SHOWN: u32 = 1000;

/// An invitation as it is shown: never its token.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Invitation")]
pub(super) struct InvitationBody<'a> {
    #[schemars(with = "String", extend("format" = "uuid"))]
    id: Uuid,
    email: &'a str,
    first_name: Option<&'a str>,
    last_name: Option<&'a str>,
    roles: &'a [String],
    invited_by: &'a str,
    #[schemars(extend("format" = "date-time"))]
    created_at: String,
    #[schemars(extend("format" = "date-time"))]
    expires_at: String,
}

impl<'a> InvitationBody<'a> {
    fn of(invitation: &'a Invitation) -> Self {
        Self {
            id: invitation.id,
            email: &invitation.email,
            first_name: invitation.first_name.as_deref(),
            last_name: invitation.last_name.as_deref(),
            roles: &invitation.roles,
            invited_by: &invitation.invited_by,
            created_at: invitation.created_at.to_string(),
            expires_at: invitation.expires_at.to_string(),
        }
    }
}

impl Api {
    /// Invites somebody, or lists who is invited.
    pub(super) async fn serve_invitations<B: RequestBody>(
        &self,
        visit: &Visit,
        by: &Identity,
        body: B,
    ) -> Result<Answer, Failure> {
        if visit.method != Method::POST {
            let found = self.accounts.people().list_invitations(MOST_SHOWN).await;
            let found = found.map_err(store_failure)?;
            let bodies: Vec<_> = found.iter().map(InvitationBody::of).collect();
            return json(StatusCode::OK, &bodies);
        }
        let mut given = Given::read(&visit.headers, body, &INVITE).await?;
        let guest = Guest {
            email: given.text("email").unwrap_or_default(),
            first_name: given.text("first_name"),
            last_name: given.text("last_name"),
            roles: given.list("roles").unwrap_or_default(),
        };
        let (email, language) = (guest.email.clone(), visit.language());
        let invited = self.accounts.invite(guest, language, by, &visit.actor()).await;
        let invitation = invited.map_err(|error| match error {
            InviteError::NoMail => {
                Failure::new(StatusCode::BAD_REQUEST).detail("MAIL_NOT_CONFIGURED")
            }
            InviteError::Mistake(Mistake::Role(role)) => {
                let reason = "it is not the name of a role";
                unprocessable(&[Complaint::Unfit("roles", reason, role)])
            }
            InviteError::Mistake(other) => mistake_failure(other, &INVITING, email),
        })?;
        json(StatusCode::CREATED, &InvitationBody::of(&invitation))
    }

    /// Takes an invitation back.
    pub(super) async fn revoke_invitation(
        &self,
        visit: &Visit,
        by: &Identity,
        id: Option<Uuid>,
    ) -> Result<Answer, Failure> {
        let missing = || Failure::new(StatusCode::NOT_FOUND);
        let id = id.ok_or_else(missing)?;
        let revoked = self.accounts.revoke_invitation(id, by, &visit.actor()).await;
        let refused = |mistake| mistake_failure(mistake, &INVITING, String::new());
        if !revoked.map_err(refused)? {
            return Err(missing());
        }
        Ok(empty(StatusCode::NO_CONTENT))
    }
}
