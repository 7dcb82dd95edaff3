//! `/metrics` and `/health/*`, on an address of their own.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Gateway;
use crate::telemetry::access::AccessLog;
use crate::telemetry::metrics::Readings;

/// Connections at a time.
const CONNECTIONS: usize = 64;
/// From a connection to its whole head, and at most for an answer.
const HEAD: Duration = Duration::from_secs(10);
/// A whole connection.
const LIFE: Duration = Duration::from_mins(5);
const BACK_OFF: Duration = Duration::from_millis(50);

type Plain = [(HeaderName, HeaderValue); 2];

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

fn headers(kind: HeaderValue) -> Plain {
    [(CONTENT_TYPE, kind), (CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}

/// Serves the management address for ever.
pub(super) async fn serve(listener: TcpListener, gateway: Arc<Gateway>) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(gateway);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(BACK_OFF).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            // A scraper that goes away has nobody to be told.
            let _ended = tokio::time::timeout(LIFE, connection).await;
            drop(permit);
        });
    }
}

async fn metrics(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    let pool = gateway.hasher.status();
    let text = gateway.metrics.expose(Readings {
        hash_waiting: pool.waiting as u64,
        hash_running: pool.running as u64,
        hash_verified: pool.verified,
        hash_waited: pool.waited,
        freshness: gateway.sessions.staleness(),
        cached_sessions: gateway.sessions.cached(),
        access_dropped: gateway.access.as_ref().map_or(0, AccessLog::dropped),
    });
    (headers(OPEN_METRICS), text)
}

async fn live() -> impl IntoResponse {
    (headers(TEXT), "live\n")
}

/// 200 while requests are served as configured; else 503 with a line for each thing that is wrong.
/// A refused configuration is named and does not make the node unready: the former one serves. So is a
/// database that cannot be written: who is signed in is served, and it is every node's.
async fn ready(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    let mut wrong = Vec::new();
    if gateway.drain.begun.is_cancelled() {
        wrong.push("draining: no new requests are taken".to_owned());
    }
    if !gateway.sessions.is_fresh() {
        let age = gateway.sessions.staleness().as_secs();
        wrong.push(format!("store: the change log was last read {age} s ago"));
    }
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if wrong.is_empty() {
        wrong.push("ready".into());
    }
    if let Some(trouble) = gateway.store.write_trouble().filter(|_| gateway.sessions.is_fresh()) {
        wrong.push(format!("store: the last write failed: {trouble}"));
    }
    wrong.extend(gateway.reload_trouble().map(|trouble| format!("configuration: {trouble}")));
    wrong.push(String::new());
    (status, headers(TEXT), wrong.join("\n"))
}
