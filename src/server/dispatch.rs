//! Who answers a request, told by its head alone, before any rule is asked. `explain` asks here too, so
//! that it cannot tell something else than what the gateway does.

use http::Method;

use crate::api;
use crate::config::Config;
use crate::policy::{HostMatch, PlaceTakes, Policy};
use crate::session::Carrier;
use crate::web::authority::Host;
use crate::web::cors::preflight_method;
use crate::web::fields::Fields;
use crate::web::target::Target;

/// What of a request's head tells who answers it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The host asked for.
    pub host: &'a Host,
    /// The target.
    pub target: &'a Target,
    /// The method, one that [`check_method`] lets pass.
    pub method: &'a Method,
    /// Every field as received.
    pub fields: &'a Fields<'a>,
}

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answerer {
    /// An endpoint of the API.
    Api,
    /// A page of the portal, or its 404.
    Portal,
    /// Nobody (404): the address is the gateway's own, and its pages are not served on this host.
    Nobody,
    /// The gateway, a preflight from a listed origin to a guarded place: the method asked for, and what
    /// the place says of it.
    Preflight(Method, PlaceTakes),
    /// Whatever the routes say.
    Routes,
}

impl Answerer {
    /// Whether the address is the gateway's own.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        match self {
            Self::Api | Self::Portal | Self::Nobody => true,
            Self::Preflight(..) | Self::Routes => false,
        }
    }
}

/// Why no route takes a method, whatever it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RefusedMethod {
    /// 405: CONNECT and TRACE.
    #[error("CONNECT and TRACE are taken nowhere")]
    NotTaken,
    /// 400: not `[A-Z]{1,20}(-[A-Z]{1,20})?`.
    #[error("the method is not one")]
    Malformed,
}

/// Refuses methods that nothing takes.
///
/// # Errors
/// [`RefusedMethod`].
pub fn check_method(method: &Method) -> Result<(), RefusedMethod> {
    let is_word =
        |word: &str| (1..=20).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_uppercase());
    match *method {
        Method::CONNECT | Method::TRACE => return Err(RefusedMethod::NotTaken),
        Method::GET | Method::HEAD | Method::POST => return Ok(()),
        _ => {}
    }
    let is_method = match method.as_str().split_once('-') {
        None => is_word(method.as_str()),
        Some((first, second)) => is_word(first) && is_word(second),
    };
    if is_method { Ok(()) } else { Err(RefusedMethod::Malformed) }
}

/// Tells who answers. At or below `portal.path` it is never an application, on any host.
#[must_use]
pub fn answerer(config: &Config, policy: &Policy, question: &Question<'_>) -> Answerer {
    let Question { host, target, method, fields } = question;
    let is_portal = policy.is_portal(target.segments());
    let may_be_api = is_portal || config.portal.users_path.is_some();
    let is_api = may_be_api && api::claims(config, target, method, fields);
    if is_portal || is_api {
        // The API's shapes below `users_path` are an application's where the gateway is not served.
        return match (is_served_on(host, config, policy), is_api) {
            (true, true) => Answerer::Api,
            (true, false) => Answerer::Portal,
            (false, _) if is_portal => Answerer::Nobody,
            (false, _) => preflight(config, policy, question),
        };
    }
    preflight(config, policy, question)
}

/// Whether a request that may pass has to come from a page of our own or a listed origin: what lets it
/// pass goes along with every request of a browser. `carrier` is `None` for anonymous callers.
#[must_use]
pub const fn must_be_own_site(carrier: Option<Carrier>, is_by_network: bool) -> bool {
    match carrier {
        Some(Carrier::Cookie) => true,
        Some(Carrier::Bearer) => false,
        None => is_by_network,
    }
}

/// Whether the portal answers on a host.
fn is_served_on(host: &Host, config: &Config, policy: &Policy) -> bool {
    *host == config.public_url.host
        || (config.sessions.cookie.domain.is_none()
            && policy.takes_host(host) != HostMatch::Nowhere)
}

/// Preflights from listed origins to guarded places are the gateway's. Any other follows the rule like
/// every OPTIONS.
fn preflight(config: &Config, policy: &Policy, question: &Question<'_>) -> Answerer {
    let Question { host, target, method, fields } = question;
    let Some(asked) = preflight_method(method, fields, &config.origins) else {
        return Answerer::Routes;
    };
    let place = policy.place_takes(host, target, &asked);
    if place.exists && place.is_guarded {
        Answerer::Preflight(asked, place)
    } else {
        Answerer::Routes
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn what_is_no_method_is_taken_nowhere() {
        for (method, expected) in [
            ("GET", Ok(())),
            ("M-SEARCH", Ok(())),
            ("PROPFIND", Ok(())),
            ("TRACE", Err(RefusedMethod::NotTaken)),
            ("CONNECT", Err(RefusedMethod::NotTaken)),
            ("get", Err(RefusedMethod::Malformed)),
            ("GET-", Err(RefusedMethod::Malformed)),
            ("A-B-C", Err(RefusedMethod::Malformed)),
            ("G1", Err(RefusedMethod::Malformed)),
            ("ABCDEFGHIJKLMNOPQRSTU", Err(RefusedMethod::Malformed)),
        ] {
            let method = Method::from_bytes(method.as_bytes()).expect(method);
            assert_eq!(check_method(&method), expected, "{method}");
        }
    }
}
