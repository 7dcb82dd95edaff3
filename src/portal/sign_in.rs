//! The sign-in page.

use http::header::{CONTENT_SECURITY_POLICY, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use secrecy::SecretString;
use serde::Serialize;
use url::Url;

use super::arrival::explain_loop;
use super::forms::{Browser, Purpose, TOKEN_FIELD, Unbound, check_browser};
use super::trail::{Note, Trail};
use super::vouching::Button;
use super::{Portal, add_cookie, render};
use crate::accounts::visit::{Answer, Visit, encode_query, form_failure, see_other, store_failure};
use crate::accounts::{Credential, Opened, SignInError, SignInRequest, Wanted};
use crate::session::Identity;
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What the sign-in form shows.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    /// `next`, if one is allowed: goes along in a hidden field.
    next: Option<String>,
    /// What was typed as the name.
    name: String,
    remember: bool,
    /// What led here: a new `password` that a link has set, or an account that was `deleted`.
    after: Option<&'static str>,
    /// A form that was sent before did not arrive.
    form_lost: bool,
    /// One sentence about what went wrong.
    error: Option<Text>,
    name_error: Option<Text>,
    password_error: Option<Text>,
    /// Who vouches for people here.
    providers: Vec<Button>,
    /// Where a link to a new password can be asked for, if anywhere.
    forgot: Option<String>,
    /// Where an account can be made, if anywhere.
    register: Option<String>,
    /// Where the letter that verifies an e-mail can be asked for again, if it is missing.
    verify: Option<String>,
    token_field: &'static str,
    token: String,
}

/// What somebody already signed in sees on the sign-in page.
#[derive(Serialize)]
struct AlreadyShown<'a> {
    name: String,
    email: &'a str,
    destination: String,
    another: String,
}

impl Portal {
    /// GET: the form; or who is signed in; or, after too many bounces, why signing in does not hold.
    pub(super) fn show_sign_in(&self, visit: &Visit, query: &Form) -> Result<Answer, Failure> {
        let next = read_next(visit, query);
        let wants_another = query.get("another").is_some();
        let known = visit.identity()?.map(|(identity, _)| identity);
        let trail = if query.get("next").is_some() && !wants_another {
            self.challenged(visit, next.as_deref(), known.is_some())
        } else {
            None
        };
        if trail.is_some_and(Trail::is_loop) {
            return Ok(explain_loop(visit, next.as_deref()));
        }
        let mut answer = match known.filter(|_| !wants_another) {
            Some(identity) => show_already(visit, identity, next.as_deref()),
            None => self.form(
                visit,
                StatusCode::OK,
                Shown {
                    form_lost: query.get("form").is_some(),
                    after: read_after(query),
                    next,
                    ..Shown::default()
                },
            ),
        };
        let cookie = &visit.config.sessions.cookie;
        add_cookie(&mut answer, trail.and_then(|t| t.set_cookie(self.accounts.sessions(), cookie)));
        Ok(answer)
    }

    /// The trail after a challenge, if this visit is a bounce. Somebody known here is bounced only by
    /// another host: here a challenge cannot have happened, the page was opened again.
    fn challenged(&self, visit: &Visit, next: Option<&str>, is_known: bool) -> Option<Trail> {
        let leads_away = next.and_then(other_host).is_some();
        if is_known && !leads_away {
            return None;
        }
        Trail::after_challenge(Trail::of(visit, self.accounts.sessions()), visit.now)
    }

    /// The form, bound to this browser.
    fn form(&self, visit: &Visit, status: StatusCode, mut shown: Shown) -> Answer {
        let browser = Browser::of(visit, &self.entropy);
        let page = |name: &str| format!("{}/{name}", visit.config.portal.path);
        shown.forgot = self.accounts.sends_mail().then(|| page("forgot-password"));
        let is_open = self.accounts.people().is_registration_open();
        let next = shown.next.clone();
        shown.register = is_open.then(|| page_address(visit, "register", next.as_deref()));
        shown.providers = self.sign_in_buttons(visit, next.as_deref());
        shown.token_field = TOKEN_FIELD;
        shown.token = browser.token(self.accounts.sessions(), Purpose::SignIn);
        let mut answer = render(visit, "login", status, shown);
        allow_form_to_lead(&mut answer, next.as_deref());
        add_cookie(&mut answer, browser.set_cookie(&visit.config.sessions.cookie));
        answer
    }

    /// POST: signs in, and sends the browser through `continue`.
    pub(super) async fn sign_in<B: RequestBody>(
        &self,
        visit: &Visit,
        body: B,
    ) -> Result<Answer, Failure> {
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let shown = read_shown(visit, &form);
        let sessions = self.accounts.sessions();
        match check_browser(visit, sessions, Purpose::SignIn, form.get(TOKEN_FIELD)) {
            Ok(()) => {}
            Err(Unbound::NoCookie) => return Ok(self.probe(visit, shown.next.as_deref())),
            Err(Unbound::Mismatch) => {
                let shown = Shown { error: Some(Text::of("sign-in-out-of-date")), ..shown };
                return Ok(self.form(visit, StatusCode::FORBIDDEN, shown));
            }
        }
        let password = form.get("password").unwrap_or_default();
        if shown.name.trim().is_empty() || password.is_empty() {
            return Ok(self.form(
                visit,
                StatusCode::UNPROCESSABLE_ENTITY,
                complain(shown, password),
            ));
        }
        self.attempt(visit, shown, password.to_owned().into()).await
    }

    async fn attempt(
        &self,
        visit: &Visit,
        shown: Shown,
        password: SecretString,
    ) -> Result<Answer, Failure> {
        let from = visit.actor();
        let old = visit.cookie_identity(self.accounts.sessions()).await?;
        let request = SignInRequest {
            credential: Credential::Password(shown.name.clone(), password),
            wanted: Wanted::Cookie { remember: shown.remember },
            from: &from,
            replaces: old.as_deref(),
            now: visit.now,
        };
        match self.accounts.sign_in(request).await {
            Ok((_, Opened::Cookie(set_cookie))) => {
                Ok(self.leave(visit, shown.next.as_deref(), set_cookie))
            }
            // Only asked for by the API; nothing is handed out here.
            Ok((_, Opened::Bearer { .. })) => Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR)),
            Err(SignInError::BadCredentials) => {
                let shown = Shown { error: Some(Text::of("sign-in-wrong")), ..shown };
                Ok(self.form(visit, StatusCode::BAD_REQUEST, shown))
            }
            Err(SignInError::NotVerified) => {
                let again = format!("{}/request-verify-token", visit.config.portal.path);
                let verify = self.accounts.sends_mail().then_some(again);
                let error = Some(Text::of("sign-in-unverified"));
                let shown = Shown { error, verify, ..shown };
                Ok(self.form(visit, StatusCode::BAD_REQUEST, shown))
            }
            Err(SignInError::TooMany(after)) => {
                let again = sign_in_address(visit, shown.next.as_deref());
                Err(Failure::too_many(after)
                    .explanation(Text::of("sign-in-too-many"))
                    .link(Text::of("back-to-sign-in"), again))
            }
            Err(SignInError::Store(error)) => Err(store_failure(error)),
            Err(error @ SignInError::Session(_)) => Err(error.into()),
        }
    }

    /// Sends a browser just signed in through `continue`.
    pub(super) fn leave(&self, visit: &Visit, next: Option<&str>, session: HeaderValue) -> Answer {
        let host = visit.own_origin.host.as_str().to_owned();
        let note = Note { at: visit.now, host }.seal(self.accounts.sessions());
        let destination = visit.destination(next);
        let mut answer = see_other(&format!(
            "{}/continue?next={}&note={}",
            visit.config.portal.path,
            encode_query(&destination),
            encode_query(&note)
        ));
        answer.headers_mut().append(SET_COOKIE, session);
        answer
    }

    /// Finds out whether the browser keeps cookies at all: sets one and looks whether `continue` sees
    /// it.
    fn probe(&self, visit: &Visit, next: Option<&str>) -> Answer {
        let portal = &visit.config.portal.path;
        let next = next.map(|next| format!("&next={}", encode_query(next))).unwrap_or_default();
        let mut answer = see_other(&format!("{portal}/continue?probe=1{next}"));
        let browser = Browser::of(visit, &self.entropy);
        add_cookie(&mut answer, browser.set_cookie(&visit.config.sessions.cookie));
        answer
    }
}

/// Who is signed in, and where to go from here.
fn show_already(visit: &Visit, identity: &Identity, next: Option<&str>) -> Answer {
    let another = format!("{}&another=1", sign_in_address(visit, Some(next.unwrap_or("/"))));
    let shown = AlreadyShown {
        name: identity.user().display_name(),
        email: &identity.user().email,
        destination: visit.destination(next),
        another,
    };
    render(visit, "signed-in", StatusCode::OK, shown)
}

/// The sign-in page's own address.
pub(super) fn sign_in_address(visit: &Visit, next: Option<&str>) -> String {
    page_address(visit, "login", next)
}

/// The address of a page from which people go on to `next`.
fn page_address(visit: &Visit, page: &str, next: Option<&str>) -> String {
    let portal = &visit.config.portal.path;
    match next {
        Some(next) => format!("{portal}/{page}?next={}", encode_query(next)),
        None => format!("{portal}/{page}"),
    }
}

/// The `next` of a query or a form, if it is allowed.
pub(super) fn read_next(visit: &Visit, form: &Form) -> Option<String> {
    let next = form.get("next").and_then(|next| visit.checked(next));
    next.map(|next| next.as_str().to_owned())
}

/// The sign-in page for somebody who has just set a new password, whoever else is signed in here.
pub(super) fn set_password_address(visit: &Visit) -> String {
    format!("{}?another=1&password=set", sign_in_address(visit, None))
}

/// What led here, of what there is.
fn read_after(query: &Form) -> Option<&'static str> {
    match (query.get("password"), query.get("account")) {
        (Some("set"), _) => Some("password"),
        (_, Some("deleted")) => Some("deleted"),
        _ => None,
    }
}

fn read_shown(visit: &Visit, form: &Form) -> Shown {
    Shown {
        next: read_next(visit, form),
        name: form.get("username").unwrap_or_default().to_owned(),
        remember: form.get("remember").is_some(),
        ..Shown::default()
    }
}

fn complain(shown: Shown, password: &str) -> Shown {
    let is_unnamed = shown.name.trim().is_empty();
    let name_error = is_unnamed.then_some(Text::of("sign-in-name-missing"));
    let password_error = password.is_empty().then_some(Text::of("sign-in-password-missing"));
    Shown { name_error, password_error, ..shown }
}

/// The host that an absolute address leads to.
pub(super) fn other_host(next: &str) -> Option<String> {
    Url::parse(next).ok()?.host_str().map(str::to_owned)
}

/// Browsers hold the redirects after a form to `form-action` as well (CSP level 3, section 6.4.2.1), so
/// an allowed `next` on another host has to be named there.
pub(super) fn allow_form_to_lead(answer: &mut Answer, next: Option<&str>) {
    let Some(url) = next.and_then(|next| Url::parse(next).ok()) else { return };
    let Some(policy) = answer.headers().get(CONTENT_SECURITY_POLICY) else { return };
    let Ok(policy) = policy.to_str() else { return };
    let origin = url.origin().ascii_serialization();
    let wider = policy.replace("form-action 'self'", &format!("form-action 'self' {origin}"));
    if let Ok(value) = HeaderValue::from_str(&wider) {
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;
    use crate::accounts::visit::empty;

    #[test]
    fn a_form_may_lead_to_the_allowed_host_and_no_other() {
        let policy = HeaderValue::from_static("default-src 'none'; form-action 'self'");
        for (next, expected) in [
            (None, "default-src 'none'; form-action 'self'"),
            (Some("/a"), "default-src 'none'; form-action 'self'"),
            (
                Some("https://app.example.com/x?y"),
                "default-src 'none'; form-action 'self' https://app.example.com",
            ),
        ] {
            let mut answer = empty(StatusCode::OK);
            answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy.clone());
            allow_form_to_lead(&mut answer, next);
            let value = answer.headers().get(CONTENT_SECURITY_POLICY);
            assert_eq!(value.and_then(|value| value.to_str().ok()), Some(expected));
        }
    }

    #[test]
    fn empty_fields_are_each_told() {
        let shown = complain(Shown { name: " ".into(), ..Shown::default() }, "");
        assert!(shown.name_error.is_some() && shown.password_error.is_some());
        let shown = complain(Shown { name: "ann".into(), ..Shown::default() }, "");
        assert!(shown.name_error.is_none() && shown.password_error.is_some());
    }

    #[tokio::test]
    async fn the_form_shows_mistakes_where_they_are_and_never_a_password() {
        let plain = page_of("login", Shown::default()).await;
        assert!(plain.contains("<h1>Sign in</h1>") && !plain.contains("role=\"alert\""), "{plain}");
        assert!(plain.contains("autocomplete=\"username\""), "{plain}");
        assert!(plain.contains("autocomplete=\"current-password\""), "{plain}");
        assert!(!plain.contains("name=\"next\""), "{plain}");
        let shown = Shown {
            name: "<ann>".into(),
            next: Some("/a?b".into()),
            remember: true,
            form_lost: true,
            error: Some(Text::of("sign-in-wrong")),
            ..Shown::default()
        };
        let page = page_of("login", shown).await;
        for part in [
            "value=\"&lt;ann&gt;\"",
            "name=\"next\" value=\"&#x2f;a?b\"",
            "checked",
            "was not sent",
            "role=\"alert\" id=\"form-error\"",
            "aria-describedby=\"form-error\"",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let page = page_of("login", complain(Shown::default(), "")).await;
        assert!(page.contains("aria-describedby=\"username-error\""), "{page}");
        assert!(page.contains("aria-describedby=\"password-error\""), "{page}");
    }

    #[tokio::test]
    async fn somebody_signed_in_is_told_who_they_are_and_how_to_be_another() {
        let shown = AlreadyShown {
            name: "Ann".into(),
            email: "ann@example.com",
            destination: "/a".into(),
            another: "/auth/login?next=%2Fa&another=1".into(),
        };
        let page = page_of("signed-in", shown).await;
        assert!(page.contains("<strong>Ann</strong> (ann@example.com)"), "{page}");
        assert!(page.contains("another=1"), "{page}");
    }
}
