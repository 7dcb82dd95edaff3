//! The portal, sessions and their cookie, and tokens.

use std::sync::Arc;
use std::time::Duration;

use super::general::General;
use super::{Cursor, duration};
use crate::config::Diagnostic;
use crate::config::route::Route;
use crate::config::settings::{Lifetimes, Portal, SameSite, SessionCookie, Sessions, Tokens};
use crate::config::yaml::spelling::{self, SecureWord, Text};
use crate::config::yaml::{
    Cookie as CookieFile, Portal as PortalFile, Sessions as SessionsFile, Tokens as TokensFile,
};
use crate::web::authority::Host;
use crate::web::logo::Logo;
use crate::web::origin::{Origin, Scheme};
use crate::web::overrides::{Fault, Overrides};
use crate::web::page::{Look, Pages};

type Written = Text<spelling::Duration>;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

pub(super) fn read_portal(written: &PortalFile, at: &Cursor<'_>) -> Portal {
    let path = |text: Option<&str>, key: &str| {
        let text = text?;
        let path = text.strip_suffix('/').unwrap_or(text);
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            at.key(key).report("a path without dot segments is needed");
            return None;
        }
        Some(path.to_owned())
    };
    let portal_path = path(written.path.as_ref().map(|path| path.text.as_str()), "path");
    let portal_path = portal_path.unwrap_or_else(|| "/auth".to_owned());
    let users_path = path(written.users_path.as_ref().map(|path| path.text.as_str()), "users_path");
    if let Some(users_path) = &users_path
        && (is_at_or_below(users_path, &portal_path) || is_at_or_below(&portal_path, users_path))
    {
        at.key("users_path").report("`users_path` and `path` may not lie one below the other");
    }
    Portal { path: portal_path, users_path, pages: read_pages(written, at) }
}

/// How the pages look.
fn read_pages(written: &PortalFile, at: &Cursor<'_>) -> Arc<Pages> {
    let base = at.directory();
    let logo = written.logo.as_ref().and_then(|path| {
        let read = Logo::read(&base.join(&path.text));
        read.map_err(|message| at.key("logo").report(message)).ok()
    });
    let place = at.key("templates");
    let overrides = written.templates.as_ref().and_then(|path| {
        let read = Overrides::read(&base.join(&path.text));
        read.map_err(|faults| report_faults(faults, &place)).ok()
    });
    let look = Look {
        title: written.title.as_ref().map(|title| title.text.clone()),
        logo,
        overrides: overrides.map(Arc::new),
    };
    if look == Look::default() {
        return Pages::built_in();
    }
    let (pages, faults) = Pages::new(look);
    report_faults(faults, &place);
    Arc::new(pages)
}

fn report_faults(faults: Vec<Fault>, at: &Cursor<'_>) {
    for fault in faults {
        at.add(Diagnostic::of_override(fault));
    }
}

fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) fn read_sessions(
    written: &SessionsFile,
    public_url: Option<&Origin>,
    at: &Cursor<'_>,
) -> Sessions {
    let remember = at.key("remember");
    Sessions {
        cookie: read_cookie(&written.cookie, public_url, &at.key("cookie")),
        plain: lifetimes(
            written.idle.as_ref(),
            written.lifetime.as_ref(),
            Lifetimes { idle: 2 * HOUR, lifetime: 12 * HOUR },
            at,
        ),
        remember: lifetimes(
            written.remember.idle.as_ref(),
            written.remember.lifetime.as_ref(),
            Lifetimes { idle: 7 * DAY, lifetime: 30 * DAY },
            &remember,
        ),
        cache_entries: written.cache.entries.unwrap_or(100_000),
        max_staleness: duration(
            written.max_staleness.as_ref(),
            Duration::from_secs(5),
            &at.key("max_staleness"),
        ),
    }
}

/// One of the two alone bends the other's default; both together may not contradict each other.
fn lifetimes(
    idle: Option<&Written>,
    lifetime: Option<&Written>,
    default: Lifetimes,
    at: &Cursor<'_>,
) -> Lifetimes {
    let found = Lifetimes {
        idle: duration(idle, default.idle, &at.key("idle")),
        lifetime: duration(lifetime, default.lifetime, &at.key("lifetime")),
    };
    match (idle, lifetime) {
        (Some(_), Some(_)) if found.idle > found.lifetime => {
            at.key("idle").report("`idle` is longer than `lifetime`");
            found
        }
        (None, _) => Lifetimes { idle: found.idle.min(found.lifetime), ..found },
        (Some(_), _) => Lifetimes { lifetime: found.lifetime.max(found.idle), ..found },
    }
}

fn read_cookie(
    written: &CookieFile,
    public_url: Option<&Origin>,
    at: &Cursor<'_>,
) -> SessionCookie {
    let name = written.name.as_ref().map_or("portcullis", |name| name.text.as_str()).to_owned();
    let folded = name.to_ascii_lowercase();
    if folded.starts_with("__host-") || folded.starts_with("__secure-") {
        at.key("name")
            .report("the prefix is added where it is allowed: name the cookie without it");
    }
    let secure = match written.secure.as_ref().map(|secure| secure.0) {
        None | Some(SecureWord::Auto) => public_url.is_some_and(|url| url.scheme == Scheme::Https),
        Some(SecureWord::Yes) => true,
        Some(SecureWord::No) => false,
    };
    let same_site = written.same_site.as_ref().map_or(SameSite::Lax, |same_site| same_site.0);
    if same_site == SameSite::None && !secure && public_url.is_some() {
        at.key("same_site").report("`none` needs a secure cookie: an https `public_url`");
    }
    let domain = written.domain.as_ref().and_then(|domain| {
        let at = at.key("domain");
        let text = domain.text.strip_prefix('.').unwrap_or(&domain.text);
        let is_domain = |host: &Host| host.as_str().contains('.') && host.address().is_none();
        let host = Host::parse(text).ok().filter(is_domain);
        if host.is_none() {
            at.report(format!("{} is not a domain", at.shown(&domain.text)));
        }
        host.map(|host| host.as_str().to_owned())
    });
    let prefix = match (secure, &domain) {
        (true, None) => "__Host-",
        (true, Some(_)) => "__Secure-",
        (false, _) => "",
    };
    SessionCookie { wire_name: format!("{prefix}{name}"), name, domain, same_site, secure }
}

/// A cookie's domain must cover the portal's host and every host a route names, or people would be
/// signed in where the cookie never comes.
pub(super) fn check_domain(
    cookie: &SessionCookie,
    general: &General,
    routes: &[Route],
    top: &Cursor<'_>,
) {
    let Some(domain) = &cookie.domain else { return };
    let at = top.key("sessions").key("cookie").key("domain");
    let mut outside: Vec<String> = Vec::new();
    if let Some(url) = general.public_url.as_ref().filter(|url| !url.host.is_within(domain)) {
        outside.push(format!("{} of `public_url`", url.host));
    }
    for host in routes.iter().filter_map(|route| route.host.as_ref()) {
        let name = host.strip_prefix("*.").unwrap_or(host);
        let is_outside = Host::parse(name).is_ok_and(|name| !name.is_within(domain));
        if is_outside && !outside.contains(host) {
            outside.push(host.clone());
        }
    }
    if !outside.is_empty() {
        at.report(format!("does not cover {}", outside.join(", ")));
    }
}

pub(super) fn read_tokens(written: &TokensFile, at: &Cursor<'_>) -> Tokens {
    let audience = match &written.audience {
        Some(audience) => audience.iter().map(|name| name.text.clone()).collect(),
        None => vec!["fastapi-users:auth".to_owned()],
    };
    let lifetime = at.key("access_lifetime");
    Tokens {
        access_lifetime: duration(written.access_lifetime.as_ref(), HOUR, &lifetime),
        audience,
    }
}
