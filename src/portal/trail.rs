//! Whether the session cookie came back after a sign-in, and if not, why.
//!
//! A sign-in sends the browser through `continue` with a sealed note of when and where it happened;
//! `continue` sees at once whether the cookie arrived. What happens after that is told by a cookie of
//! its own: a challenge within 30 s of such a success is a bounce, and the third is answered with the
//! page that explains instead of yet another sign-in form.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

use super::forms::attributes;
use crate::accounts::visit::Visit;
use crate::clock::Timestamp;
use crate::config::SessionCookie;
use crate::session::{CookieCredential, Sessions};
use crate::web::authority::Host;
use crate::web::cookies::{self, Found};
use crate::web::origin::Scheme;

/// A challenge this soon after a success is a bounce.
const BOUNCE: Duration = Duration::from_secs(30);
/// This many bounces in a row show the page.
const MOST_BOUNCES: u8 = 3;
/// How long bounces are remembered without a further success.
const MEMORY: Duration = Duration::from_mins(10);
/// A note older than this belongs to a reloaded or stored page, not to a sign-in under way.
const NOTE_LIFE: Duration = Duration::from_mins(5);
/// How far a note may lie ahead before clocks disagree.
const LEEWAY: Duration = Duration::from_secs(5);

/// Why a sign-in does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// The browser keeps no cookies of this site.
    Blocked,
    /// The cookie is `Secure`, the connection is not.
    SecureOverHttp,
    /// The sign-in happened on a host whose cookies this one does not get.
    OtherHost,
    /// The cookie came, but its session counts as ended: clocks disagree, or somebody ended it.
    Clock,
}

impl Cause {
    /// As the page's template tells causes apart.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::SecureOverHttp => "secure-over-http",
            Self::OtherHost => "other-host",
            Self::Clock => "clock",
        }
    }
}

/// What is seen of a request whose sign-in did not hold.
#[derive(Clone, Copy)]
pub(super) struct Symptoms<'a> {
    /// What came under the session cookie's name.
    pub(super) cookie: &'a CookieCredential,
    /// How the cookie is set.
    pub(super) settings: &'a SessionCookie,
    /// The scheme the client used.
    pub(super) scheme: Scheme,
    /// The host of this request.
    pub(super) host: &'a Host,
    /// The host the person signed in at or wants to go to, if known.
    pub(super) other: Option<&'a str>,
    /// The sign-in lies ahead of this node's clock.
    pub(super) is_ahead: bool,
}

/// Tells why a sign-in did not hold.
pub(super) fn diagnose(seen: &Symptoms<'_>) -> Cause {
    let is_covered =
        seen.settings.domain.as_deref().is_none_or(|domain| seen.host.is_within(domain));
    let has_cookie = match seen.cookie {
        CookieCredential::None => false,
        CookieCredential::One(_) | CookieCredential::Several => true,
    };
    if has_cookie || seen.is_ahead {
        Cause::Clock
    } else if !is_covered || seen.other.is_some_and(|other| other != seen.host.as_str()) {
        Cause::OtherHost
    } else if seen.settings.secure && seen.scheme == Scheme::Http && !seen.host.is_loopback() {
        Cause::SecureOverHttp
    } else {
        Cause::Blocked
    }
}

/// When and where a sign-in happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Note {
    pub(super) at: Timestamp,
    pub(super) host: String,
}

impl Note {
    /// Seals the note for the query of `continue`.
    pub(super) fn seal(&self, sessions: &Sessions) -> String {
        seal(sessions, "continue", &format!("{} {}", self.at.as_micros(), self.host))
    }

    /// Opens a sealed note; `None` for what this gateway did not seal, or long ago.
    pub(super) fn open(sessions: &Sessions, sealed: &str, now: Timestamp) -> Option<Self> {
        let text = open(sessions, "continue", sealed)?;
        let (at, host) = text.split_once(' ')?;
        let note = Self { at: Timestamp::from_micros(at.parse().ok()?), host: host.to_owned() };
        (now.since(note.at) <= NOTE_LIFE).then_some(note)
    }

    /// Whether the sign-in lies ahead of `now`, by more than clocks may differ.
    pub(super) fn is_ahead(&self, now: Timestamp) -> bool {
        self.at.since(now) > LEEWAY
    }
}

/// The last success of this browser and the bounces since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Trail {
    at: Timestamp,
    bounces: u8,
}

impl Trail {
    /// The trail that a request carries.
    pub(super) fn of(visit: &Visit, sessions: &Sessions) -> Option<Self> {
        let name = cookie_name(&visit.config.sessions.cookie);
        let Found::One(value) = cookies::find(&visit.headers, &name) else { return None };
        let text = open(sessions, "bounce", std::str::from_utf8(value).ok()?)?;
        let (at, bounces) = text.split_once(' ')?;
        let at = Timestamp::from_micros(at.parse().ok()?);
        Some(Self { at, bounces: bounces.parse().ok()? })
    }

    /// After a success: the bounces before it are kept, unless they are long past.
    pub(super) fn after_success(before: Option<Self>, now: Timestamp) -> Self {
        let recent = before.filter(|trail| now.since(trail.at) <= MEMORY);
        Self { at: now, bounces: recent.map_or(0, |trail| trail.bounces) }
    }

    /// After a challenge: one bounce more, or `None` where the challenge is no bounce.
    pub(super) fn after_challenge(before: Option<Self>, now: Timestamp) -> Option<Self> {
        let trail = before.filter(|trail| now.since(trail.at) <= BOUNCE)?;
        Some(Self { at: trail.at, bounces: trail.bounces.saturating_add(1) })
    }

    /// Whether the page that explains is due.
    pub(super) const fn is_loop(self) -> bool {
        self.bounces >= MOST_BOUNCES
    }

    /// `Set-Cookie` of this trail.
    pub(super) fn set_cookie(
        self,
        sessions: &Sessions,
        cookie: &SessionCookie,
    ) -> Option<HeaderValue> {
        let value = seal(sessions, "bounce", &format!("{} {}", self.at.as_micros(), self.bounces));
        let max_age = i64::try_from(MEMORY.as_secs()).ok();
        cookies::set(&cookie_name(cookie), &value, &attributes(cookie, max_age))
    }

    /// `Set-Cookie` that forgets a trail.
    pub(super) fn clear_cookie(cookie: &SessionCookie) -> Option<HeaderValue> {
        cookies::clear(&cookie_name(cookie), &attributes(cookie, None))
    }
}

fn cookie_name(cookie: &SessionCookie) -> String {
    cookie.portal_name("bounce")
}

fn seal(sessions: &Sessions, purpose: &str, text: &str) -> String {
    let token = sessions.form_token(purpose, text.as_bytes());
    format!("{}.{token}", URL_SAFE_NO_PAD.encode(text))
}

fn open(sessions: &Sessions, purpose: &str, sealed: &str) -> Option<String> {
    let (text, token) = sealed.split_once('.')?;
    let text = URL_SAFE_NO_PAD.decode(text).ok()?;
    sessions.is_form_token(token, purpose, &text).then(|| String::from_utf8(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::config::SameSite;

    fn settings(domain: Option<&str>, secure: bool) -> SessionCookie {
        SessionCookie {
            name: "portcullis".into(),
            wire_name: "portcullis".into(),
            domain: domain.map(str::to_owned),
            same_site: SameSite::Lax,
            secure,
        }
    }

    #[test]
    fn each_cause_is_told_from_the_others() {
        let came = CookieCredential::One(b"x".to_vec());
        let none = CookieCredential::None;
        let (plain, secure) = (settings(None, false), settings(None, true));
        let shared = settings(Some("example.com"), true);
        let (http, https) = (Scheme::Http, Scheme::Https);
        let here = "app.example.com";
        for (cookie, settings, scheme, host, other, is_ahead, expected) in [
            (&none, &plain, http, here, None, false, Cause::Blocked),
            (&none, &secure, https, here, Some(here), false, Cause::Blocked),
            (&none, &secure, http, here, None, false, Cause::SecureOverHttp),
            // Browsers take `Secure` cookies from their own machine without TLS.
            (&none, &secure, http, "localhost", None, false, Cause::Blocked),
            (&none, &plain, http, here, Some("auth.example.com"), false, Cause::OtherHost),
            (&none, &shared, https, "app.example.org", None, false, Cause::OtherHost),
            (&came, &plain, http, here, None, false, Cause::Clock),
            (&none, &plain, http, here, None, true, Cause::Clock),
        ] {
            let host = Host::parse(host).unwrap();
            let seen = Symptoms { cookie, settings, scheme, host: &host, other, is_ahead };
            assert_eq!(diagnose(&seen), expected, "{scheme:?} {host:?} {other:?}");
        }
    }

    #[test]
    fn the_third_challenge_soon_after_a_success_is_a_loop_and_a_later_one_is_none() {
        let mut now = Timestamp::from_seconds(1_000);
        let mut trail = None;
        for round in 1..=3 {
            trail = Some(Trail::after_success(trail, now));
            now = now.after(Duration::from_secs(20));
            trail = Trail::after_challenge(trail, now);
            assert_eq!(trail.unwrap().is_loop(), round == 3, "round {round}");
        }
        now = now.after(Duration::from_secs(31));
        assert_eq!(Trail::after_challenge(trail, now), None);
        let later = Trail::after_success(trail, now.after(MEMORY));
        assert_eq!(later.bounces, 0);
    }

    #[test]
    fn a_challenge_without_a_success_before_it_is_no_bounce() {
        assert_eq!(Trail::after_challenge(None, Timestamp::from_seconds(5)), None);
    }

    #[test]
    fn a_note_ahead_of_the_clock_shows_clocks_that_disagree() {
        let note = Note { at: Timestamp::from_seconds(1_000), host: "a".into() };
        assert!(!note.is_ahead(Timestamp::from_seconds(996)));
        assert!(note.is_ahead(Timestamp::from_seconds(994)));
        assert!(!note.is_ahead(Timestamp::from_seconds(2_000)));
    }
}
