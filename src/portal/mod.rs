//! Pages for people: registering, signing in (by providers too) and out, the account and what is done with
//! it, setting up the first administrator, and what links of letters lead to.
//!
//! Every page works without JavaScript. Kept out: what signing in means (`accounts`), how a page looks
//! (`web::page`), and every JSON endpoint.

mod account;
mod arrival;
mod change;
mod devices;
mod entered;
mod forgot;
mod forms;
mod invitation;
mod language;
mod leave;
mod linking;
mod links;
mod opened;
mod register;
mod set_up;
mod sign_in;
mod sign_out;
mod trail;
mod vouching;

use std::sync::Arc;

use http::header::{ACCEPT, CACHE_CONTROL, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;

use self::change::Changing;
use self::forgot::Wish;
use self::language::choose_language;
use self::linking::Linking;
use crate::accounts::visit::{Answer, Visit};
use crate::accounts::vouching::Errand;
use crate::accounts::{Accounts, LinkKind};
use crate::clock::Entropy;
use crate::session::Identity;
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::logo::Logo;
use crate::web::origin::Site;
use crate::web::text::Text;

/// The identity headers one kind of route sends, for the account page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownHeaders {
    /// Which routes, by their names; empty: by default.
    pub routes: String,
    /// Name and value as an application gets them.
    pub headers: Vec<(String, String)>,
}

/// Renders the headers that applications get for somebody. It stands in `server`, beside what really
/// sets them.
pub type HeaderPreview = Arc<dyn Fn(&Visit, &Arc<Identity>) -> Vec<ShownHeaders> + Send + Sync>;

/// The pages. Cloning shares what is behind them.
#[derive(Clone)]
pub struct Portal {
    accounts: Accounts,
    entropy: Entropy,
    preview: HeaderPreview,
}

/// A page of the portal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Page {
    SignIn,
    Continue,
    SignOut,
    Account,
    SetUp,
    Part(Part),
    Register,
    Letter(Wish),
    Language,
    Logo,
    Invitation,
    Link(LinkKind),
    /// Off to a provider.
    Depart(Errand),
    /// Back from one.
    ComeBack(Errand),
    /// Links a provider, or takes a link away, once that is confirmed.
    Confirm(Linking),
}

/// A page below the account page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Change(Changing),
    Devices,
    Data,
    Delete,
}

impl Part {
    fn of(name: &str) -> Option<Self> {
        match name {
            "profile" => Some(Self::Change(Changing::Profile)),
            "email" => Some(Self::Change(Changing::Email)),
            "password" => Some(Self::Change(Changing::Password)),
            "devices" => Some(Self::Devices),
            "data" => Some(Self::Data),
            "delete" => Some(Self::Delete),
            _ => None,
        }
    }
}

impl Page {
    fn of(segments: &[String]) -> Option<Self> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let name = match segments.as_slice() {
            [name] => name,
            ["account", part] => return Part::of(part).map(Self::Part),
            [_, "authorize"] => return Some(Self::Depart(Errand::SignIn)),
            [_, "callback"] => return Some(Self::ComeBack(Errand::SignIn)),
            ["associate", _, "authorize"] => return Some(Self::Depart(Errand::Link)),
            ["associate", _, "callback"] => return Some(Self::ComeBack(Errand::Link)),
            ["associate", _, "link"] => return Some(Self::Confirm(Linking::Link)),
            ["associate", _, "unlink"] => return Some(Self::Confirm(Linking::Unlink)),
            _ => return None,
        };
        match *name {
            "login" => Some(Self::SignIn),
            "continue" => Some(Self::Continue),
            "logout" => Some(Self::SignOut),
            "account" => Some(Self::Account),
            "setup" => Some(Self::SetUp),
            "register" => Some(Self::Register),
            "forgot-password" => Some(Self::Letter(Wish::NewPassword)),
            "request-verify-token" => Some(Self::Letter(Wish::Verification)),
            "language" => Some(Self::Language),
            "logo" => Some(Self::Logo),
            "invitation" => Some(Self::Invitation),
            "reset-password" => Some(Self::Link(LinkKind::Reset)),
            "verify" => Some(Self::Link(LinkKind::Verify)),
            _ => None,
        }
    }

    /// The provider that a page is about, as its address names it.
    fn provider(self, segments: &[String]) -> Option<&str> {
        match self {
            Self::Depart(_) | Self::ComeBack(_) | Self::Confirm(_) => {
                segments.iter().rev().nth(1).map(String::as_str)
            }
            Self::SignIn
            | Self::Continue
            | Self::SignOut
            | Self::Account
            | Self::SetUp
            | Self::Part(_)
            | Self::Register
            | Self::Letter(_)
            | Self::Language
            | Self::Logo
            | Self::Invitation
            | Self::Link(_) => None,
        }
    }

    const fn methods(self) -> &'static [Method] {
        match self {
            Self::SignIn
            | Self::SignOut
            | Self::SetUp
            | Self::Part(Part::Change(_) | Part::Devices | Part::Delete)
            | Self::Register
            | Self::Letter(_)
            | Self::Invitation
            | Self::Link(_) => &[Method::GET, Method::POST],
            Self::Continue
            | Self::Account
            | Self::Part(Part::Data)
            | Self::Language
            | Self::Logo
            | Self::Depart(_)
            | Self::ComeBack(_) => &[Method::GET],
            Self::Confirm(_) => &[Method::POST],
        }
    }
}

impl Portal {
    /// Pages over accounts; `preview` renders the headers that the account page shows.
    #[must_use]
    pub const fn new(accounts: Accounts, entropy: Entropy, preview: HeaderPreview) -> Self {
        Self { accounts, entropy, preview }
    }

    /// Answers a request at or below `portal.path` that is not the API's. What is unknown there is 404.
    pub async fn serve<B: RequestBody>(&self, visit: &Visit, body: B) -> Answer {
        let outcome = self.dispatch(visit, body).await;
        let mut answer = outcome.unwrap_or_else(|failure| {
            if wants_page(visit) {
                failure.as_page(&visit.frame(&shown_address(visit)))
            } else {
                failure.as_json(&visit.request_id)
            }
        });
        visit.finish(&mut answer, self.accounts.sessions());
        // What clears a cookie is for this browser alone.
        let is_shared = !answer.headers().contains_key(SET_COOKIE);
        if is_shared && answer.extensions().get::<Kept>().is_some() {
            let kept = HeaderValue::from_static(Logo::CACHING);
            answer.headers_mut().insert(CACHE_CONTROL, kept);
        }
        answer
    }

    async fn dispatch<B: RequestBody>(&self, visit: &Visit, body: B) -> Result<Answer, Failure> {
        let segments = visit.segments().ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST))?;
        let page = Page::of(&segments).ok_or_else(|| Failure::new(StatusCode::NOT_FOUND))?;
        let provider = page.provider(&segments);
        // What was linked may be unlinked when the provider is configured no more.
        let is_unlinked = page == Page::Confirm(Linking::Unlink);
        if !is_unlinked && provider.is_some_and(|name| visit.config.provider(name).is_none()) {
            return Err(Failure::new(StatusCode::NOT_FOUND));
        }
        let provider = provider.unwrap_or_default();
        if let Some(answer) = visit.preflight(page.methods()) {
            return Ok(answer);
        }
        if !page.methods().contains(visit.asked()) {
            return Err(Failure::wrong_method(page.methods()));
        }
        if let Some(answer) = self.open_link(visit, page) {
            return Ok(answer);
        }
        if let Some((identity, _)) = visit.identity()? {
            self.accounts.sessions().touch(identity, visit.now);
        }
        if visit.method == Method::POST {
            refuse_foreign(visit)?;
            return self.take(page, visit, provider, body).await;
        }
        if let Page::Depart(errand) = page {
            return self.depart(visit, (provider, errand)).await;
        }
        let query = read_query(visit)?;
        match page {
            Page::SignIn => self.show_sign_in(visit, &query),
            Page::Continue => self.arrive(visit, &query).await,
            Page::SignOut => self.show_sign_out(visit, &query).await,
            Page::Account => self.show_account(visit, &query).await,
            Page::Part(Part::Change(what)) => self.show_change(visit, what).await,
            Page::Part(Part::Devices) => self.show_devices(visit, &query).await,
            Page::Part(Part::Data) => self.download(visit).await,
            Page::Part(Part::Delete) => self.show_delete(visit),
            Page::Register => self.show_register(visit, &query),
            Page::Depart(_) | Page::Confirm(_) => Err(Failure::wrong_method(page.methods())),
            Page::ComeBack(errand) => self.come_back(visit, (provider, errand), &query).await,
            Page::SetUp => self.show_set_up(visit).await,
            Page::Letter(wish) => self.show_wish(visit, wish),
            Page::Language => choose_language(visit, &query),
            Page::Logo => show_logo(visit),
            Page::Invitation => self.show_invitation(visit).await,
            Page::Link(kind) => self.show_link(visit, kind).await,
        }
    }
}

impl Portal {
    /// POST: what a form sends.
    async fn take<B: RequestBody>(
        &self,
        page: Page,
        visit: &Visit,
        provider: &str,
        body: B,
    ) -> Result<Answer, Failure> {
        match page {
            Page::SignIn => self.sign_in(visit, body).await,
            Page::SignOut => self.sign_out(visit, body).await,
            Page::SetUp => self.set_up(visit, body).await,
            Page::Part(Part::Change(what)) => self.change(visit, what, body).await,
            Page::Part(Part::Devices) => self.sign_out_devices(visit, body).await,
            Page::Part(Part::Delete) => self.delete(visit, body).await,
            Page::Register => self.register(visit, body).await,
            Page::Letter(wish) => self.wish(visit, wish, body).await,
            Page::Invitation => self.accept_invitation(visit, body).await,
            Page::Link(kind) => self.use_link(visit, kind, body).await,
            Page::Confirm(what) => self.confirm(visit, (provider, what), body).await,
            Page::Continue
            | Page::Account
            | Page::Part(Part::Data)
            | Page::Language
            | Page::Logo
            | Page::Depart(_)
            | Page::ComeBack(_) => Err(Failure::wrong_method(page.methods())),
        }
    }
}

/// What the page of a failure names as the place to ask again: never an address with a code in it.
fn shown_address(visit: &Visit) -> String {
    match visit.segments().as_deref().and_then(Page::of) {
        Some(Page::ComeBack(_)) => format!("{}/login", visit.config.portal.path),
        Some(_) | None => visit.address().to_owned(),
    }
}

/// A page in the language of the visit, which can be asked for again as the visit asked.
fn render(visit: &Visit, template: &str, status: StatusCode, context: impl Serialize) -> Answer {
    visit.frame(visit.address()).render(template, status, context)
}

/// Marks the one answer that is the same for everybody, and may be kept.
#[derive(Clone, Copy, Debug)]
struct Kept;

/// The picture on every page.
fn show_logo(visit: &Visit) -> Result<Answer, Failure> {
    let logo = visit.config.portal.pages.logo();
    let mut answer = logo.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND))?.answer();
    answer.extensions_mut().insert(Kept);
    Ok(answer)
}

/// Whether an answer to a visit is a page: for navigations, and for forms sent by browsers that do not
/// say that they navigate.
fn wants_page(visit: &Visit) -> bool {
    let accepts_html = || {
        let accept = visit.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    };
    visit.is_navigation || (visit.method == Method::POST && accepts_html())
}

/// Refuses a form that another site's page sent. What the headers do not say, the token decides.
fn refuse_foreign(visit: &Visit) -> Result<(), Failure> {
    match visit.site() {
        Site::Own | Site::Unsaid => Ok(()),
        Site::Foreign => Err(Failure::new(StatusCode::FORBIDDEN)
            .detail("Cross-site request")
            .explanation(Text::of("error-foreign-form"))),
    }
}

fn read_query(visit: &Visit) -> Result<Form, Failure> {
    Form::from_query(visit.target.query().unwrap_or_default())
        .map_err(|_| Failure::new(StatusCode::BAD_REQUEST))
}

/// Adds a cookie to an answer, if there is one to add.
fn add_cookie(answer: &mut Answer, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        answer.headers_mut().append(http::header::SET_COOKIE, cookie);
    }
}

/// A template rendered in English as a page would be; fails the test if it cannot be, there or in another
/// language.
#[cfg(test)]
async fn page_of(template: &str, context: impl Serialize) -> String {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use http_body_util::BodyExt as _;

    let pages = crate::web::page::Pages::built_in();
    let render = |language| {
        let frame = crate::web::page::Frame {
            pages: &pages,
            language,
            portal: "/auth",
            address: "/auth/here",
            request_id: "0123456789",
        };
        frame.render(template, StatusCode::OK, &context)
    };
    for language in pages.languages() {
        assert_eq!(render(language).status(), StatusCode::OK, "{template} in {language:?}");
    }
    let answer = render(crate::web::language::Language::ENGLISH);
    assert_eq!(answer.status(), StatusCode::OK, "{template} cannot be rendered");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let page = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(page.matches("<h1").count(), 1, "{template}: {page}");
    assert!(!page.contains("<script"), "{template}: {page}");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_one_address() {
        let of = |path: &str| Page::of(&path.split('/').map(str::to_owned).collect::<Vec<_>>());
        for (path, page) in [
            ("login", Some(Page::SignIn)),
            ("continue", Some(Page::Continue)),
            ("logout", Some(Page::SignOut)),
            ("account", Some(Page::Account)),
            ("setup", Some(Page::SetUp)),
            ("forgot-password", Some(Page::Letter(Wish::NewPassword))),
            ("request-verify-token", Some(Page::Letter(Wish::Verification))),
            ("register", Some(Page::Register)),
            ("account/email", Some(Page::Part(Part::Change(Changing::Email)))),
            ("account/data", Some(Page::Part(Part::Data))),
            ("account/nothing", None),
            ("account/email/more", None),
            ("login/email", None),
            ("language", Some(Page::Language)),
            ("logo", Some(Page::Logo)),
            ("reset-password", Some(Page::Link(LinkKind::Reset))),
            ("verify", Some(Page::Link(LinkKind::Verify))),
            ("login/", None),
            ("Login", None),
            ("admin/users", None),
            ("", None),
        ] {
            assert_eq!(of(path), page, "{path}");
        }
        assert_eq!(Page::of(&[]), None);
    }
}
