//! An upstream's answer on its way to the client.

use std::sync::Arc;

use http::{HeaderValue, Response, header};
use http_body_util::Full;

use super::body::Content;
use super::record::Record;
use super::stream_leave::StreamLeave;
use super::worker::Worker;
use crate::config::{Allow, Cache, Route};
use crate::proxy::download::{Download, Leave as _};
use crate::proxy::forward::{Answer, AnswerBody};
use crate::proxy::tunnel::{self, Oversight};
use crate::proxy::wire::{CLIENT_WRITE, ClientState};
use crate::web::cookies;
use crate::web::headers::guard_caching;

/// What a request leaves to be done with its answer.
pub(super) struct Ending<L> {
    /// Makes the caller's leave, if the answer depends on one. An answer that is here already does not.
    pub(super) leave: L,
    /// Cookies to clear.
    pub(super) clear: Vec<HeaderValue>,
}

/// Takes out what is not the upstream's to say, and lets the body stream.
pub(super) fn finish(
    worker: &Arc<Worker>,
    client: &Arc<ClientState>,
    answer: Answer,
    ending: Ending<impl FnOnce() -> Option<StreamLeave>>,
    record: &Record,
) -> Response<Content> {
    let live = &record.live;
    // The record of a forwarded request always names its route.
    let route = record.route.map(|route| live.policy.route(route));
    let Answer { status, reason, mut headers, body } = answer;
    if headers.contains_key(header::SET_COOKIE) {
        cookies::strip_own_set(&mut headers, &live.config.sessions.cookie.name);
    }
    if let Some(route) = route {
        guard(&mut headers, route);
    }
    for value in ending.clear {
        headers.append(header::SET_COOKIE, value);
    }
    let content = match body {
        AnswerBody::Whole(body) => Content::Whole(Full::new(body)),
        AnswerBody::Stream(body) => {
            let idle = route.map_or(CLIENT_WRITE, |route| route.upstream.idle_timeout);
            let deadlines = Arc::clone(&client.deadlines);
            Content::Proxied(Box::new(Download::new(*body, deadlines, idle, (ending.leave)())))
        }
        AnswerBody::Switched(client_side, upstream_side) => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            client.become_tunnel();
            let oversight = oversee(worker, (ending.leave)(), route);
            let clock = worker.gateway.clock.clone();
            worker.tunnels.spawn(async move {
                // The client may be gone before the protocol has changed; then there is nothing to carry.
                if let Ok(client) = client_side.await {
                    tunnel::carry(client, upstream_side, oversight, clock).await;
                }
            });
            Content::Own(Full::default())
        }
    };
    let mut response = Response::new(content);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(reason) = reason {
        response.extensions_mut().insert(reason);
    }
    response
}

fn guard(headers: &mut http::HeaderMap, route: &Route) {
    match route.allow {
        Allow::Public => {
            if route.no_store {
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
        }
        Allow::Optional(_) | Allow::Rule(_) => {
            guard_caching(headers, route.cache == Cache::Upstream, route.no_store);
        }
    }
}

fn oversee(worker: &Worker, leave: Option<StreamLeave>, route: Option<&Arc<Route>>) -> Oversight {
    let cut = worker.gateway.drain.cut.clone();
    let on_use: Box<dyn Fn() + Send + Sync> = match &leave {
        Some(leave) => leave.on_use(),
        None => Box::new(|| {}),
    };
    Oversight {
        leave: match leave {
            Some(leave) => leave.ended(),
            None => Box::pin(std::future::pending()),
        },
        on_use,
        idle: route.map_or(CLIENT_WRITE, |route| route.upstream.idle_timeout),
        cut: Box::pin(async move { cut.cancelled().await }),
    }
}
