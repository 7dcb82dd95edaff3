//! The account page: who one is, what one may, what applications get to know.

use http::StatusCode;
use serde::Serialize;

use super::forms::{Purpose, TOKEN_FIELD, session_token};
use super::sign_in::sign_in_address;
use super::vouching::{Button, Linked};
use super::{Portal, ShownHeaders, render};
use crate::accounts::visit::{Answer, Visit, see_other};
use crate::identity::user::Method;
use crate::session::Identity;
use crate::web::failure::Failure;
use crate::web::form::Form;
use crate::web::text::Text;

#[derive(Serialize)]
struct Shown<'a> {
    name: String,
    email: &'a str,
    is_verified: bool,
    is_superuser: bool,
    /// What was just changed: `profile`, `email` or `password`.
    done: Option<&'a str>,
    /// Where the letter that verifies the e-mail can be asked for, if anywhere.
    verify: Option<String>,
    username: Option<&'a str>,
    organization: Option<&'a str>,
    department: Option<&'a str>,
    phone: Option<&'a str>,
    roles: Vec<ShownRole<'a>>,
    permissions: &'a [String],
    applications: Vec<ShownHeaders>,
    method: Text,
    signed_in_at: String,
    expires_at: String,
    token_field: &'static str,
    token: String,
    links: Vec<Linked>,
    link_token: String,
    providers: Vec<Button>,
}

#[derive(Serialize, PartialEq, Eq, Debug)]
struct ShownRole<'a> {
    name: &'a str,
    until: Option<String>,
}

impl Portal {
    /// GET: the page; to the sign-in page for nobody.
    pub(super) async fn show_account(
        &self,
        visit: &Visit,
        query: &Form,
    ) -> Result<Answer, Failure> {
        let Some((identity, _)) = visit.identity()? else { return Ok(sign_in_first(visit)) };
        let again = || format!("{}/request-verify-token", visit.config.portal.path);
        let user = identity.user();
        let (links, link_token) = self.linked(visit, identity).await?;
        let shown = Shown {
            name: user.display_name(),
            email: &user.email,
            is_verified: user.is_verified,
            is_superuser: user.is_superuser,
            done: query.get("done"),
            verify: self.accounts.sends_mail().then(again),
            username: user.username(),
            organization: user.organization(),
            department: user.department(),
            phone: user.phone(),
            roles: shown_roles(identity),
            permissions: &identity.subject.access.expanded,
            applications: (self.preview)(visit, identity),
            method: method_text(identity.session().method),
            signed_in_at: identity.session().created_at.to_string(),
            expires_at: identity.session().expires_at.to_string(),
            token_field: TOKEN_FIELD,
            token: session_token(self.accounts.sessions(), Purpose::SignOut, identity),
            providers: self.link_buttons(visit, &links),
            links,
            link_token,
        };
        Ok(render(visit, "account", StatusCode::OK, shown))
    }
}

/// To the sign-in page, and from there to the account.
pub(super) fn sign_in_first(visit: &Visit) -> Answer {
    let own = format!("{}/account", visit.config.portal.path);
    see_other(&sign_in_address(visit, Some(&own)))
}

/// How somebody signed in, as pages say it.
pub(super) fn method_text(method: Method) -> Text {
    match method {
        Method::Password => Text::of("method-password"),
        Method::Provider => Text::of("method-provider"),
    }
}

/// The roles in force, each with its end if it has one.
fn shown_roles(identity: &Identity) -> Vec<ShownRole<'_>> {
    let end_of = |role: &str| {
        let grant = identity.grants().iter().find(|grant| grant.role == role);
        grant.and_then(|grant| grant.until).map(|until| until.to_string())
    };
    let names = identity.subject.access.role_names.iter();
    names.map(|name| ShownRole { name, until: end_of(name) }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    fn shown<'a>(permissions: &'a [String], roles: Vec<ShownRole<'a>>) -> Shown<'a> {
        Shown {
            name: "Ann<b>".into(),
            email: "ann@example.com",
            is_verified: false,
            is_superuser: true,
            done: None,
            verify: None,
            username: Some("ann"),
            organization: None,
            department: None,
            phone: Some("+1"),
            roles,
            permissions,
            applications: vec![ShownHeaders {
                routes: String::new(),
                headers: vec![("X-Auth-Email".into(), "ann@example.com".into())],
            }],
            method: method_text(Method::Password),
            signed_in_at: "2026-01-01T00:00:00Z".into(),
            expires_at: "2026-01-01T12:00:00Z".into(),
            token_field: TOKEN_FIELD,
            token: "t".into(),
            links: Vec::new(),
            link_token: "t".into(),
            providers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn the_page_shows_what_one_is_and_what_applications_get() {
        let permissions = ["dashboard:read".to_owned()];
        let role = ShownRole { name: "analyst", until: Some("2026-02-01T00:00:00Z".into()) };
        let page = page_of("account", shown(&permissions, vec![role])).await;
        for part in [
            "Ann&lt;b&gt;",
            "(not verified)",
            "<dt>Phone</dt><dd>+1</dd>",
            "analyst until",
            "<code>dashboard:read</code>",
            "<td><code>X-Auth-Email</code></td>",
            "name=\"everywhere\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let page = page_of("account", shown(&[], Vec::new())).await;
        assert!(page.contains("You hold no role.") && page.contains("no permission"), "{page}");
    }
}
