//! `continue`: where a browser comes by after signing in, so that a cookie that did not come back is
//! noticed at once.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use super::forms::sends_form_cookie;
use super::sign_in::{other_host, sign_in_address};
use super::trail::{Cause, Note, Symptoms, Trail, diagnose};
use super::{Portal, add_cookie, render};
use crate::accounts::visit::{Answer, Visit, encode_query, see_other};
use crate::session::CookieCredential;
use crate::web::failure::Failure;
use crate::web::form::Form;

/// How long the answer to another tab's sign-in may be under way.
const OTHER_TAB: Duration = Duration::from_millis(250);

/// What the page that explains shows.
#[derive(Serialize)]
struct Explained<'a> {
    cause: &'static str,
    host: &'a str,
    /// The other host, where there is one.
    other: Option<&'a str>,
    again: String,
}

impl Portal {
    /// GET: on to where the person wanted to go, or why that will not work.
    pub(super) async fn arrive(&self, visit: &Visit, query: &Form) -> Result<Answer, Failure> {
        let next = query.get("next");
        if query.get("probe").is_some() {
            return Ok(answer_probe(visit, next));
        }
        let sessions = self.accounts.sessions();
        if visit.identity()?.is_some() {
            let mut answer = see_other(&visit.destination(next));
            let trail = Trail::after_success(Trail::of(visit, sessions), visit.now);
            let cookie = &visit.config.sessions.cookie;
            add_cookie(&mut answer, trail.set_cookie(sessions, cookie));
            return Ok(answer);
        }
        let note = query.get("note").and_then(|note| Note::open(sessions, note, visit.now));
        let Some(note) = note else { return Ok(see_other(&sign_in_address(visit, next))) };
        // Another tab may have signed in meanwhile, which ended this one's session; its cookie is in the
        // browser a moment later.
        if visit.credentials.cookie != CookieCredential::None && query.get("again").is_none() {
            tokio::time::sleep(OTHER_TAB).await;
            return Ok(see_other(&format!(
                "{}/continue?next={}&note={}&again=1",
                visit.config.portal.path,
                encode_query(next.unwrap_or_default()),
                encode_query(query.get("note").unwrap_or_default()),
            )));
        }
        let cause = diagnose(&Symptoms {
            other: Some(&note.host),
            is_ahead: note.is_ahead(visit.now),
            ..symptoms(visit)
        });
        Ok(explain(visit, cause, Some(&note.host), next))
    }
}

/// Whether the probing cookie came back: a sign-in form once more if so.
fn answer_probe(visit: &Visit, next: Option<&str>) -> Answer {
    if sends_form_cookie(visit) {
        let address = sign_in_address(visit, Some(next.unwrap_or("/")));
        return see_other(&format!("{address}&form=lost"));
    }
    explain(visit, diagnose(&symptoms(visit)), None, next)
}

/// The page after too many bounces.
pub(super) fn explain_loop(visit: &Visit, next: Option<&str>) -> Answer {
    let other = next.and_then(other_host);
    let cause = diagnose(&Symptoms { other: other.as_deref(), ..symptoms(visit) });
    let mut answer = explain(visit, cause, other.as_deref(), next);
    add_cookie(&mut answer, Trail::clear_cookie(&visit.config.sessions.cookie));
    answer
}

/// The page that says why a sign-in does not hold.
pub(super) fn explain(
    visit: &Visit,
    cause: Cause,
    other: Option<&str>,
    next: Option<&str>,
) -> Answer {
    let host = visit.own_origin.host.as_str();
    let shown = Explained {
        cause: cause.as_str(),
        host,
        other: other.filter(|other| *other != host),
        again: sign_in_address(visit, next),
    };
    render(visit, "diagnosis", StatusCode::BAD_REQUEST, shown)
}

/// What is seen of a visit by itself.
pub(super) fn symptoms(visit: &Visit) -> Symptoms<'_> {
    Symptoms {
        cookie: &visit.credentials.cookie,
        settings: &visit.config.sessions.cookie,
        scheme: visit.client.scheme,
        host: &visit.own_origin.host,
        other: None,
        is_ahead: false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[tokio::test]
    async fn each_cause_has_its_own_words() {
        for (cause, words) in [
            (Cause::Blocked, "cookies are blocked for <strong>here.example"),
            (Cause::SecureOverHttp, "Open the address with <code>https:"),
            (Cause::OtherHost, "<strong>there.example</strong>"),
            (Cause::Clock, "clocks of the machines disagree"),
        ] {
            let shown = Explained {
                cause: cause.as_str(),
                host: "here.example",
                other: Some("there.example"),
                again: "/auth/login".into(),
            };
            let page = page_of("diagnosis", shown).await;
            assert!(page.contains(words), "{cause:?}: {page}");
            assert!(!page.contains("<input"), "no form to go round in: {page}");
        }
    }
}
