//! A request's way through the gateway, step by step. `ARCHITECTURE.md` draws it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{FutureExt as _, TryFutureExt as _};
use http::header;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;

use super::body::{Answered, Content};
use super::dispatch::{self, Answerer, RefusedMethod};
use super::live::Live;
use super::own;
use super::record::{LineParts, Pending, Reader, Record, RequestId};
use super::refuse;
use super::respond;
use super::stream_leave::StreamLeave;
use super::worker::Worker;
use crate::clock::Moment;
use crate::policy::{Decision, Destination, Facts, Located, Permit};
use crate::proxy::forward::{self, Said, Way};
use crate::proxy::sanitise::{Findings, Rules};
use crate::proxy::wire::ClientState;
use crate::proxy::{Resource, Sanitized, identity_headers, sanitise};
use crate::session::{Caller, Credentials, HeaderSet, RecogniseError};
use crate::telemetry::metrics::Refused;
use crate::web::authority::LastHost;
use crate::web::client::{self, Client};
use crate::web::cors;
use crate::web::failure::Failure;
use crate::web::fields::{Fields, Name};
use crate::web::headers::{REQUEST_ID, Unambiguous, check_request, is_navigation, is_websocket};
use crate::web::origin::{Origin, Scheme};
use crate::web::target::{Target, TargetError};

/// Answers one request. A panic ends the request, not the worker.
///
/// What needs no waiting is done before the future is made, so that the future holds little: it is
/// moved about and lies in memory for as long as the upstream takes.
pub(super) fn serve(
    worker: &Arc<Worker>,
    state: &Arc<ClientState>,
    last_host: &RefCell<LastHost>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Answered>, Infallible>> + Send + use<> {
    state.begin_request(!request.body().is_end_stream());
    let mut pending = Pending::begin(worker);
    let is_head = request.method() == Method::HEAD;
    let opening = AssertUnwindSafe(|| open(&mut pending, state, last_host, request));
    let opened = catch_unwind(opening).unwrap_or_else(|_said| Err(panicked(worker)));
    let state = Arc::clone(state);
    async move {
        let outcome = match opened {
            Ok(opened) => {
                let worker = Arc::clone(&pending.worker);
                let way = answer(&worker, &state, opened, &mut pending.record);
                or_panic(way).await.unwrap_or_else(|Panicked| Err(panicked(&worker)))
            }
            Err(failure) => Err(failure),
        };
        let is_handshake = pending.is_handshake;
        let mut response = close(outcome, &state, pending, is_head);
        if is_handshake && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // A client that did not wait may have sent bytes of the other protocol behind its handshake.
            // They are no requests (RFC 9931).
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// Ends a request's way: what the gateway says itself gets the request's id, and all is counted.
fn close(
    outcome: Result<Response<Content>, Failure>,
    state: &Arc<ClientState>,
    pending: Pending,
    is_head: bool,
) -> Response<Answered> {
    let record = &pending.record;
    let mut response = outcome.unwrap_or_else(|failure| refuse::answer(failure, record));
    if let Content::Own(_) = response.body() {
        refuse::count(&pending.worker, record, response.status());
        response.headers_mut().insert(&REQUEST_ID, record.request_id.to_value());
        if is_head {
            *response.body_mut() = Content::Own(Full::default());
        }
    }
    pending.finish(response.status());
    response.map(|content| Answered::new(content, state))
}

/// A handler panicked. What it said is in the log already.
#[derive(Debug, PartialEq, Eq)]
struct Panicked;

/// Runs a handler; a panic of it ends here.
fn or_panic<F: Future>(handler: F) -> impl Future<Output = Result<F::Output, Panicked>> {
    AssertUnwindSafe(handler).catch_unwind().map_err(|_said| Panicked)
}

/// Counts a panic.
fn panicked(worker: &Worker) -> Failure {
    worker.gateway.metrics.counters.panics.fetch_add(1, Ordering::Relaxed);
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What was read of a request's head.
pub(super) struct Head {
    pub(super) client: Client,
    pub(super) resource: Arc<Resource>,
    /// `Host` as received.
    host: HeaderValue,
    checked: Unambiguous,
}

/// A request whose head was read, and who answers it.
enum Opened {
    /// Answered already.
    Answered(Box<Response<Content>>),
    /// The gateway itself answers.
    Own { head: Box<Head>, is_api: bool, request: Box<Request<Incoming>> },
    /// A route takes it.
    Routed(Box<Routed>),
}

/// A request that a route takes.
struct Routed {
    destination: Destination,
    client: Client,
    sanitized: Sanitized,
    credentials: Credentials,
}

/// The first half of the way: read, dispatch, sanitise.
fn open(
    pending: &mut Pending,
    state: &ClientState,
    last_host: &RefCell<LastHost>,
    request: Request<Incoming>,
) -> Result<Opened, Failure> {
    let (worker, record) = (&*pending.worker, &mut pending.record);
    let (method, fields) = (request.method(), &Fields::of(request.headers()));
    pending.is_handshake = method == Method::CONNECT || is_websocket(method, fields);
    if is_navigation(method, fields) {
        record.reader = Some(Reader::of(&request));
    }
    record.listed_origin = cors::listed_origin(fields, &record.live.config.origins);
    if worker.gateway.access.is_some() {
        record.line = Some(LineParts::of(&request));
    }
    if state.had_fragment() {
        return Err(refuse::malformed("the request target is not in origin form"));
    }
    let head = read(state.peer, last_host, &request, fields, record)?;
    let live = &*record.live;
    let answerer = own::answerer(live, &head, method, fields);
    record.is_portal = answerer.is_own();
    match answerer {
        Answerer::Api | Answerer::Portal => {
            let is_api = answerer == Answerer::Api;
            let (head, request) = (Box::new(head), Box::new(request));
            return Ok(Opened::Own { head, is_api, request });
        }
        Answerer::Nobody => return Err(Failure::new(StatusCode::NOT_FOUND)),
        Answerer::Preflight(asked, place) => {
            let response = own::preflight(live, fields, &asked, place);
            return Ok(Opened::Answered(Box::new(response)));
        }
        Answerer::Routes => {}
    }
    let destination = locate(live, &head, &request)?;
    record.route = Some(destination.route);

    let Head { client, resource, host, checked } = head;
    let rules = Rules {
        hygiene: &live.parts(destination.route).hygiene,
        cookie_base: &live.config.sessions.cookie.name,
        cookie_name: &live.config.sessions.cookie.wire_name,
    };
    let (sanitized, credentials) = Findings::read(&request, fields, checked, &rules)
        .and_then(|findings| sanitise(request, findings, resource, host, &rules))
        .map_err(|error| refuse::invalid(worker, record, error.0))?;
    record.sent_bearer = credentials.bearer.is_some();
    Ok(Opened::Routed(Box::new(Routed { destination, client, sanitized, credentials })))
}

/// The second half, which may have to wait.
async fn answer(
    worker: &Arc<Worker>,
    state: &Arc<ClientState>,
    opened: Opened,
    record: &mut Record,
) -> Result<Response<Content>, Failure> {
    match opened {
        Opened::Routed(routed) => route(worker, state, routed, record).await,
        Opened::Answered(response) => Ok(*response),
        // Boxed, as every seldom way is: the future of each request has room for all it does not box.
        Opened::Own { head, is_api, request } => {
            Box::pin(own::serve(&worker.gateway, *head, is_api, *request, record)).await
        }
    }
}

/// What is done with a request that a route takes: recognise, decide, forward, return.
async fn route(
    worker: &Arc<Worker>,
    state: &Arc<ClientState>,
    routed: Box<Routed>,
    record: &mut Record,
) -> Result<Response<Content>, Failure> {
    let gateway = &worker.gateway;
    let caller = recognise(worker, &routed, record).await?;
    let (client, credentials) = (&routed.client, &routed.credentials);
    let live = &Arc::clone(&record.live);
    let resource = &Arc::clone(routed.sanitized.resource());
    let asked = Asked { caller: &caller, client, origin: &resource.origin };
    let permit = decide(worker, &routed, &asked, record)
        .map_err(|failure| refuse::clear_stray(failure, credentials, &gateway.sessions))?;
    let is_identified = permit.is_identified();
    let is_watched = is_identified || permit.is_by_network();
    let method = routed.sanitized.method().clone();
    let route = live.policy.route(permit.route());
    let begun = gateway.clock.tick();
    let passing = {
        let identity = identity_headers(live, &permit, &caller, record)?;
        let (upstream, timeout) = (&route.upstream, route.timeout);
        let way = Way { upstream, timeout, client, connection: state };
        let request_id = record.request_id.as_bytes();
        let said = Said { request_id, identity: identity.as_deref() };
        forward::forward(&worker.reach, routed.sanitized, permit, way, &said)
    };
    let passed = passing.await;
    if let Some(identity) = caller.identity() {
        // The upstream has answered or failed by now: `last_seen` is never written before that.
        gateway.sessions.touch(identity, record.now);
    }
    let answer =
        passed.map_err(|error| refuse::upstream(worker, record, &route.upstream.name, &error))?;
    let took = gateway.clock.tick().since(begun);
    record.upstream = Some(took);
    record.metrics().took(worker.index, took);
    let leave = || {
        is_watched.then(|| StreamLeave {
            gateway: Arc::clone(gateway),
            identity: caller.identity().filter(|_| is_identified).cloned(),
            resource: Arc::clone(resource),
            method,
            address: client.address,
        })
    };
    let clear = refuse::stray_cookies(credentials, &gateway.sessions);
    Ok(respond::finish(worker, state, answer, respond::Ending { leave, clear }, record))
}

/// Reads the head: client, host, method, target. What no route may permit is refused here.
fn read(
    peer: IpAddr,
    last_host: &RefCell<LastHost>,
    request: &Request<Incoming>,
    fields: &Fields<'_>,
    record: &mut Record,
) -> Result<Head, Failure> {
    record.address = Some(peer);
    let client = client::client(peer, Scheme::Http, fields, &record.live.config.trusted_proxies)
        .map_err(|error| refuse::malformed(error.to_string()))?;
    record.address = client.address;
    if client.peer_is_trusted
        && let Some(id) = fields.first(Name::RequestId)
        && let Some(id) = RequestId::of_proxy(id.as_bytes())
    {
        record.request_id = id;
    }
    dispatch::check_method(request.method()).map_err(|error| match error {
        RefusedMethod::NotTaken => Failure::wrong_method(&[Method::GET, Method::HEAD]),
        RefusedMethod::Malformed => refuse::malformed(error.to_string()),
    })?;
    let checked = check_request(fields).map_err(|error| refuse::malformed(error.0))?;
    let authority = last_host
        .borrow_mut()
        .of_request(request.uri(), fields)
        .map_err(|_| refuse::malformed("a request names exactly one host"))?;
    if let Some(line) = &mut record.line {
        authority.host().as_str().clone_into(&mut line.host);
    }
    let received = request.uri().path_and_query().map_or("", |path| path.as_str());
    let target = Target::parse(received).map_err(|error| match error {
        TargetError::TooLong => Failure::new(StatusCode::URI_TOO_LONG),
        TargetError::Malformed(_) => refuse::malformed(error.to_string()),
    })?;
    let (name, port, host) = authority.into_parts();
    let origin = Origin::of_host(client.scheme, name, port);
    let resource = Arc::new(Resource { origin, target });
    if let Some(reader) = &mut record.reader {
        reader.resource = Some(Arc::clone(&resource));
    }
    Ok(Head { client, resource, host, checked })
}

/// Finds the route.
fn locate(live: &Live, head: &Head, request: &Request<Incoming>) -> Result<Destination, Failure> {
    let Resource { origin, target } = &*head.resource;
    match live.policy.locate(&origin.host, target, request.method()) {
        Located::Route(destination) => Ok(destination),
        Located::NoPlace => Err(Failure::new(StatusCode::NOT_FOUND)),
        Located::Ambiguous(why) => Err(refuse::malformed(why)),
        Located::MethodNotAllowed(methods) => Err(Failure::wrong_method(&methods)),
    }
}

/// Finds out who asks, unless every route involved is public.
async fn recognise(
    worker: &Worker,
    routed: &Routed,
    record: &mut Record,
) -> Result<Caller, Failure> {
    let Routed { credentials, destination, .. } = routed;
    if credentials.is_empty() || !record.live.policy.needs_caller(destination) {
        return Ok(Caller::Anonymous);
    }
    let moment = Moment { now: record.now, tick: record.started };
    match worker.gateway.sessions.recognise_on(&worker.front, credentials, moment).await {
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
}

/// Asks policy, and then whether another site's page sent what a cookie or network let pass.
fn decide(
    worker: &Worker,
    routed: &Routed,
    asked: &Asked<'_>,
    record: &mut Record,
) -> Result<Permit, Failure> {
    let Routed { destination, sanitized: request, .. } = routed;
    let live = &*record.live;
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

/// The identity that goes along, where the permit says so.
fn identity_headers(
    live: &Live,
    permit: &Permit,
    caller: &Caller,
    record: &Record,
) -> Result<Option<Arc<HeaderSet>>, Failure> {
    let Some(identity) = caller.identity().filter(|_| permit.is_identified()) else {
        return Ok(None);
    };
    let profile = live.policy.profile(permit.route());
    let render = || identity_headers::render(profile, identity);
    let slot = live.policy.route(permit.route()).profile;
    let set = identity.headers(live.generation, slot, render);
    set.map(Some).ok_or_else(|| refuse::unrenderable(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dos_26_a_panic_ends_the_request_it_happens_in() {
        assert_eq!(or_panic(async { 200 }).await, Ok(200));
        assert_eq!(or_panic(async { panic!("a handler at fault") }).await, Err::<(), _>(Panicked));
    }
}
