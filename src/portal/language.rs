//! Choosing a language. Every page links here, once for each language, and is led back to.

use http::StatusCode;
use http::{HeaderValue, Method};

use super::forms::attributes;
use super::{Page, add_cookie};
use crate::accounts::visit::{Answer, Visit, see_other, segments_below};
use crate::web::cookies::{self, Attributes};
use crate::web::failure::Failure;
use crate::web::form::Form;
use crate::web::language::Language;
use crate::web::origin::Site;
use crate::web::target::Target;

/// How long a choice is kept: browsers keep nothing longer.
const KEPT: i64 = 400 * 24 * 60 * 60;

/// GET: keeps the choice and goes back. A link of another site leads back as well, but chooses nothing.
pub(super) fn choose_language(visit: &Visit, query: &Form) -> Result<Answer, Failure> {
    let chosen = query.get("choose").and_then(Language::parse);
    let chosen = chosen.filter(|l| visit.config.portal.pages.languages().contains(l));
    let chosen = chosen.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND))?;
    let mut answer = see_other(&back(visit, query.get("next").unwrap_or_default()));
    if visit.site() != Site::Foreign {
        add_cookie(&mut answer, cookie(visit, chosen));
    }
    Ok(answer)
}

/// The cookie that keeps a choice, on every host that shares the session's.
fn cookie(visit: &Visit, language: Language) -> Option<HeaderValue> {
    let settings = &visit.config.sessions.cookie;
    let domain = settings.domain.as_deref();
    let attributes = Attributes { domain, ..attributes(settings, Some(KEPT)) };
    cookies::set(&settings.language_name(), language.code(), &attributes)
}

/// Where a choice leads back to: a page of the portal that can be asked for, or wherever a sign-in may
/// lead to.
fn back(visit: &Visit, next: &str) -> String {
    if is_own_page(visit, next) { next.to_owned() } else { visit.destination(Some(next)) }
}

/// Whether an address is that of a page of the portal which asking for changes nothing.
fn is_own_page(visit: &Visit, next: &str) -> bool {
    let is_plain = next.starts_with('/') && next.bytes().all(|b| matches!(b, 0x21..=0x7e));
    let target = Target::parse(next).ok().filter(|_| is_plain && !next.contains(['\\', '#']));
    let segments = target.and_then(|t| segments_below(&t, &visit.config.portal.path));
    segments.as_deref().and_then(Page::of).is_some_and(|page| {
        page.methods().contains(&Method::GET)
            && match page {
                Page::Language
                | Page::Logo
                | Page::SignOut
                | Page::Continue
                | Page::Depart(_)
                | Page::ComeBack(_)
                | Page::Confirm(_) => false,
                Page::SignIn
                | Page::Account
                | Page::Part(_)
                | Page::SetUp
                | Page::Register
                | Page::Letter(_)
                | Page::Invitation
                | Page::Link(_) => true,
            }
    })
}
