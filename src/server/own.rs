//! What the gateway answers itself: the portal, the API, preflights.

use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;

use super::Gateway;
use super::body::Content;
use super::dispatch::{self, Answerer, Question};
use super::live::Live;
use super::record::Record;
use super::request::Head;
use crate::accounts::visit::Visit;
use crate::policy::PlaceTakes;
use crate::proxy::{Resource, sanitise};
use crate::session::Credentials;
use crate::web::cors;
use crate::web::failure::Failure;
use crate::web::fields::Fields;

/// Tells who answers a request.
pub(super) fn answerer(live: &Live, head: &Head, method: &Method, fields: &Fields<'_>) -> Answerer {
    let (host, target) = (&head.resource.origin.host, &head.resource.target);
    dispatch::answerer(&live.config, &live.policy, &Question { host, target, method, fields })
}

/// Answers as the API or the portal, on the control runtime, where hashing, database and pages may
/// take their time.
pub(super) async fn serve(
    gateway: &Arc<Gateway>,
    head: Head,
    is_api: bool,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<Response<Content>, Failure> {
    let live = Arc::clone(&record.live);
    let (parts, body) = request.into_parts();
    let cookie = &live.config.sessions.cookie.wire_name;
    let found = sanitise::credentials(&Fields::of(&parts.headers), cookie);
    let (credentials, has_two_authorizations) = match found {
        Ok(credentials) => (credentials, false),
        Err(_) => (Credentials::default(), true),
    };
    let caller = gateway.sessions.recognise(&credentials, record.now).await;
    if let Ok(caller) = &caller {
        record.subject = caller.identity().map(|identity| identity.user().id);
    }
    let Resource { origin, target } = Arc::unwrap_or_clone(head.resource);
    let visit = Visit {
        request_id: record.request_id().to_owned(),
        now: record.now,
        client: head.client,
        own_origin: origin,
        caller,
        credentials,
        has_two_authorizations,
        is_navigation: record.as_page(),
        method: parts.method,
        target,
        headers: parts.headers,
        config: Arc::clone(&live.config),
        policy: Arc::clone(&live.policy),
    };
    let (api, portal) = (gateway.api.clone(), gateway.portal.clone());
    // A task of its own: a client that goes away does not leave a sign-in half done.
    let answering = gateway.control.spawn(async move {
        if is_api { api.serve(&visit, body).await } else { portal.serve(&visit, body).await }
    });
    let answer = match answering.await {
        Ok(answer) => answer,
        // A panic of a page is a panic of its request.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => return Err(error.into()),
    };
    Ok(answer.map(Content::Own))
}

/// The answer to a preflight from a listed origin to a guarded place; the upstream is not asked.
pub(super) fn preflight(
    live: &Live,
    fields: &Fields<'_>,
    asked: &Method,
    place: PlaceTakes,
) -> Response<Content> {
    let allowed = place.takes_method.then_some(asked);
    let mut answer = cors::preflight_answer(fields, &live.config.origins, allowed);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.map(Content::Own)
}
