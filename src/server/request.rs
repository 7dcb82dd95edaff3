//! A request's way through the gateway, step by step. `ARCHITECTURE.md` draws it.

use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use http::header;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;

use super::body::{Answered, Content};
use super::dispatch::{self, Answerer, RefusedMethod};
use super::live::Live;
use super::own;
use super::record::{LineParts, Pending, Record};
use super::refuse;
use super::respond;
use super::stream_leave::StreamLeave;
use super::worker::Worker;
use crate::accounts::visit::wrong_method;
use crate::policy::{Decision, Destination, Facts, Located, Permit};
use crate::proxy::forward::{self, Way, X_REQUEST_ID};
use crate::proxy::sanitise::Rules;
use crate::proxy::wire::ClientState;
use crate::proxy::{Sanitized, identity_headers, sanitise};
use crate::session::{Caller, Credentials, RecogniseError};
use crate::telemetry::metrics::Refused;
use crate::web::authority::Authority;
use crate::web::client::{self, Client};
use crate::web::failure::Failure;
use crate::web::headers::{check_request, is_navigation, is_websocket};
use crate::web::origin::{Origin, Scheme};
use crate::web::target::{Target, TargetError};

/// Answers one request. A panic ends the request, not the worker.
pub(super) async fn serve(
    worker: Arc<Worker>,
    state: Arc<ClientState>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<Answered> {
    state.begin_request(!request.body().is_end_stream());
    let mut pending = Pending::begin(&worker);
    let record = &mut pending.record;
    record.as_page = is_navigation(request.method(), request.headers());
    record.listed_origin = own::listed_origin(&record.live, request.headers());
    let is_head = request.method() == Method::HEAD;
    let is_handshake = request.method() == Method::CONNECT
        || is_websocket(request.method(), request.headers());
    let way = answer(&worker, &state, peer, request, record);
    let mut response = match or_panic(way).await {
        Ok(Ok(response)) => response,
        Ok(Err(failure)) => refused(failure, &pending.record),
        Err(Panicked) => {
            worker.gateway.metrics.counters.panics.fetch_add(1, Ordering::Relaxed);
            refused(Failure::new(StatusCode::INTERNAL_SERVER_ERROR), &pending.record)
        }
    };
    if let Content::Own(_) = response.body() {
        count_refusal(&worker, &pending.record, response.status());
        response.headers_mut().insert(X_REQUEST_ID, pending.record.request_id.clone());
        if is_head {
            *response.body_mut() = Content::Own(Full::default());
        }
    }
    if is_handshake && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // A client that did not wait may have sent bytes of the other protocol behind its handshake.
        // They are no requests (RFC 9931).
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    pending.finish(response.status());
    response.map(|content| Answered::new(content, &state))
}

/// A handler panicked. What it said is in the log already.
#[derive(Debug, PartialEq, Eq)]
struct Panicked;

/// Runs a handler; a panic of it ends here.
async fn or_panic<T>(handler: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(handler).catch_unwind().await.map_err(|_said| Panicked)
}

/// Counts what no route had a say in.
fn count_refusal(worker: &Worker, record: &Record, status: StatusCode) {
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => Refused::Limited,
        StatusCode::BAD_REQUEST if record.route.is_none() && !record.is_portal => Refused::Invalid,
        _ => return,
    };
    record.metrics().refused(worker.index, kind);
}

fn refused(failure: Failure, record: &Record) -> Response<Content> {
    let is_malformed = failure.status == StatusCode::BAD_REQUEST;
    let mut response = failure.answer(record.as_page, record.request_id()).map(Content::Own);
    let headers = response.headers_mut();
    if is_malformed {
        // Where one request was not understood, what follows on the connection is not trusted to be
        // another (RFC 9112 section 11.2).
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(origin) = &record.listed_origin {
        // A front end on a listed origin may read why it was refused.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// What was read of a request's head.
pub(super) struct Head {
    pub(super) client: Client,
    pub(super) authority: Authority,
    pub(super) target: Target,
    /// The request's own origin.
    pub(super) origin: Origin,
}

/// The way itself: read, dispatch, sanitise, recognise, decide, forward, return.
async fn answer(
    worker: &Arc<Worker>,
    state: &Arc<ClientState>,
    peer: IpAddr,
    request: Request<Incoming>,
    record: &mut Record,
) -> Result<Response<Content>, Failure> {
    let gateway = &worker.gateway;
    let live = Arc::clone(&record.live);
    if state.had_fragment() {
        return Err(refuse::malformed("the request target is not in origin form"));
    }
    let head = read(peer, &request, &live, record, gateway.access.is_some())?;
    let answerer = own::answerer(&live, &head, &request);
    record.is_portal = answerer.is_own();
    // Boxed, as every seldom way is: the future of each request has room for all it does not box.
    match answerer {
        Answerer::Api => return Box::pin(own::serve(gateway, head, true, request, record)).await,
        Answerer::Portal => {
            return Box::pin(own::serve(gateway, head, false, request, record)).await;
        }
        Answerer::Nobody => return Err(Failure::new(StatusCode::NOT_FOUND)),
        Answerer::Preflight(asked, place) => {
            return Ok(own::preflight(&live, request.headers(), &asked, place));
        }
        Answerer::Routes => {}
    }
    let destination = locate(&live, &head, &request)?;
    record.route = Some(destination.route);

    let rules = Rules {
        hygiene: &live.parts(destination.route).hygiene,
        cookie_base: &live.config.sessions.cookie.name,
        cookie_name: &live.config.sessions.cookie.wire_name,
    };
    let Head { client, authority, target, origin } = head;
    let host = authority.host().clone();
    let (sanitized, credentials) = sanitise(request, target, authority, &rules)
        .map_err(|error| refuse::invalid(worker, record, error.0))?;

    record.sent_bearer = credentials.bearer.is_some();
    let caller = recognise(worker, &live, &destination, &credentials, record).await?;
    let asked = Asked { caller: &caller, client: &client, origin: &origin, connection: state };
    let permit = decide(worker, &destination, &asked, &sanitized, record)
        .map_err(|failure| refuse::clear_stray(failure, &credentials, &gateway.sessions))?;
    let leave = (permit.is_identified() || permit.is_by_network()).then(|| StreamLeave {
        gateway: Arc::clone(gateway),
        identity: caller.identity().filter(|_| permit.is_identified()).cloned(),
        host,
        target: sanitized.target().clone(),
        method: sanitized.method().clone(),
        address: client.address,
    });
    let passed = pass(worker, sanitized, permit, &asked, record).await;
    if let Some(identity) = caller.identity() {
        // Last, so that what it may write does not come before the answer.
        gateway.sessions.touch(identity, record.now);
    }
    let answer = passed?;
    let clear = refuse::stray_cookies(&credentials, &gateway.sessions);
    Ok(respond::finish(worker, state, answer, respond::Ending { leave, clear }, record))
}

/// Reads the head: client, host, method, target. What no route may permit is refused here.
fn read(
    peer: IpAddr,
    request: &Request<Incoming>,
    live: &Live,
    record: &mut Record,
    with_line: bool,
) -> Result<Head, Failure> {
    let headers = request.headers();
    if with_line {
        record.line = Some(LineParts {
            method: request.method().clone(),
            host: "-".to_owned(),
            path: request.uri().path().to_owned(),
        });
    }
    record.address = Some(peer.to_canonical());
    let client = client::client(peer, Scheme::Http, headers, &live.config.trusted_proxies)
        .map_err(|error| refuse::malformed(error.to_string()))?;
    record.address = client.address;
    if client.peer_is_trusted
        && let Some(id) = headers.get(X_REQUEST_ID).filter(|id| is_request_id(id.as_bytes()))
    {
        record.request_id = id.clone();
    }
    dispatch::check_method(request.method()).map_err(|error| match error {
        RefusedMethod::NotTaken => wrong_method(&[Method::GET, Method::HEAD]),
        RefusedMethod::Malformed => refuse::malformed(error.to_string()),
    })?;
    check_request(headers).map_err(|error| refuse::malformed(error.0))?;
    let authority = Authority::of_request(request.uri(), headers)
        .map_err(|_| refuse::malformed("a request names exactly one host"))?;
    if let Some(line) = &mut record.line {
        authority.host().as_str().clone_into(&mut line.host);
    }
    let origin = Origin::of_request(client.scheme, &authority);
    let received = request.uri().path_and_query().map_or("", |path| path.as_str());
    let target = Target::parse(received).map_err(|error| match error {
        TargetError::TooLong => Failure::new(StatusCode::URI_TOO_LONG),
        TargetError::Malformed(_) => refuse::malformed(error.to_string()),
    })?;
    Ok(Head { client, authority, target, origin })
}

/// `[A-Za-z0-9._-]{8,64}`
fn is_request_id(id: &[u8]) -> bool {
    (8..=64).contains(&id.len())
        && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Finds the route.
fn locate(live: &Live, head: &Head, request: &Request<Incoming>) -> Result<Destination, Failure> {
    match live.policy.locate(head.authority.host(), &head.target, request.method()) {
        Located::Route(destination) => Ok(destination),
        Located::NoPlace => Err(Failure::new(StatusCode::NOT_FOUND)),
        Located::Ambiguous(why) => Err(refuse::malformed(why)),
        Located::MethodNotAllowed(methods) => Err(wrong_method(&methods)),
    }
}

/// Finds out who asks, unless every route involved is public.
async fn recognise(
    worker: &Worker,
    live: &Live,
    destination: &Destination,
    credentials: &Credentials,
    record: &mut Record,
) -> Result<Caller, Failure> {
    if credentials.is_empty() || !live.policy.needs_caller(destination) {
        return Ok(Caller::Anonymous);
    }
    match worker.gateway.sessions.recognise(credentials, record.now).await {
        Ok(caller) => {
            record.subject = caller.identity().map(|identity| identity.user().id);
            Ok(caller)
        }
        Err(RecogniseError::Contradiction) => Err(refuse::invalid(
            worker,
            record,
            "the bearer token and the cookie name different people",
        )),
        Err(RecogniseError::Unavailable) => {
            record.metrics().refused(worker.index, Refused::Unavailable);
            Err(refuse::unavailable())
        }
    }
}

/// Who asks, from where, on which connection.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) caller: &'a Caller,
    pub(super) client: &'a Client,
    pub(super) origin: &'a Origin,
    connection: &'a Arc<ClientState>,
}

/// Asks policy, and then whether another site's page sent what a cookie or network let pass.
fn decide(
    worker: &Worker,
    destination: &Destination,
    asked: &Asked<'_>,
    request: &Sanitized,
    record: &mut Record,
) -> Result<Permit, Failure> {
    let live = &Arc::clone(&record.live);
    let facts = Facts {
        caller: asked.caller.identity().map(|identity| &identity.subject),
        client: asked.client.address,
    };
    match live.policy.decide(destination, &facts) {
        Decision::Allow(permit) => {
            record.decided_by = Some(permit.route());
            if refuse::is_cross_site(live, asked, request, &permit) {
                record.decision = "deny";
                record.metrics().refused(worker.index, Refused::CrossSite);
                return Err(refuse::cross_site());
            }
            record.decision = "allow";
            Ok(permit)
        }
        Decision::Challenge(refusal) => {
            record.decision = "challenge";
            record.decided_by = Some(refusal.route);
            record.metrics().refused(worker.index, Refused::Challenge);
            Err(refuse::challenge(live, &refusal, asked, request, record))
        }
        Decision::Deny(refusal) => {
            record.decision = "deny";
            record.decided_by = Some(refusal.route);
            record.metrics().refused(worker.index, Refused::Deny);
            Err(refuse::deny(live, &refusal, asked, request))
        }
    }
}

/// Forwards what may pass, with the identity the permit says goes along.
async fn pass(
    worker: &Arc<Worker>,
    request: Sanitized,
    permit: Permit,
    asked: &Asked<'_>,
    record: &mut Record,
) -> Result<forward::Answer, Failure> {
    let live = Arc::clone(&record.live);
    let route = live.policy.route(permit.route());
    let identity = match asked.caller.identity().filter(|_| permit.is_identified()) {
        None => None,
        Some(identity) => {
            let profile = live.policy.profile(permit.route());
            let render = || identity_headers::render(profile, identity);
            let set = identity.headers(live.generation, route.profile, render);
            Some(set.ok_or_else(|| refuse::unrenderable(record))?)
        }
    };
    let request_id = record.request_id.clone();
    let way = Way {
        upstream: &route.upstream,
        timeout: route.timeout,
        client: asked.client,
        request_id: &request_id,
        identity: identity.as_deref(),
        deadlines: &asked.connection.deadlines,
    };
    match forward::forward(&worker.reach, request, permit, &way).await {
        Ok(answer) => {
            record.upstream = Some(answer.took);
            record.metrics().took(worker.index, answer.took);
            Ok(answer)
        }
        Err(error) => Err(refuse::upstream(worker, record, &route.upstream.name, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dos_26_a_panic_ends_the_request_it_happens_in() {
        assert_eq!(or_panic(async { 200 }).await, Ok(200));
        assert_eq!(or_panic(async { panic!("a handler at fault") }).await, Err::<(), _>(Panicked));
    }

    #[test]
    fn a_request_id_of_a_trusted_peer_is_short_and_plain() {
        for (id, is_one) in
            [("abcdefgh", true), ("a.b_c-d1", true), ("short", false), ("with space", false)]
        {
            assert_eq!(is_request_id(id.as_bytes()), is_one, "{id}");
        }
        assert!(is_request_id(&[b'a'; 64]) && !is_request_id(&[b'a'; 65]));
    }
}
