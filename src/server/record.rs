//! What is known of a request under way, for its access line and metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::live::Live;
use super::worker::Worker;
use crate::clock::{Tick, Timestamp};
use crate::policy::RouteId;
use crate::telemetry::access::Line;
use crate::telemetry::metrics::RouteMetrics;

/// Filled in as a request goes its way. Every field is true from the start: "not known yet" is what
/// it says of a request that ends early.
pub(super) struct Record {
    pub(super) now: Timestamp,
    started: Tick,
    pub(super) request_id: HeaderValue,
    pub(super) live: Arc<Live>,
    /// Whether a failure is shown as a page.
    pub(super) as_page: bool,
    /// The listed origin whose page asks, if one does.
    pub(super) listed_origin: Option<HeaderValue>,
    pub(super) address: Option<IpAddr>,
    pub(super) route: Option<RouteId>,
    /// The route whose rule decided: the request's own, or that of another reading of its target.
    pub(super) decided_by: Option<RouteId>,
    pub(super) is_portal: bool,
    /// A bearer token of ours was sent.
    pub(super) sent_bearer: bool,
    pub(super) decision: &'static str,
    pub(super) subject: Option<uuid::Uuid>,
    pub(super) upstream: Option<Duration>,
    /// Kept only while access lines are written.
    pub(super) line: Option<LineParts>,
}

/// A request under way. One whose client goes away is dropped, and finishes all the same.
pub(super) struct Pending<'a> {
    worker: &'a Worker,
    pub(super) record: Record,
    is_finished: bool,
}

/// What the line says of a request whose client went away before the head of the answer.
const CLIENT_LEFT: u16 = 499;

impl<'a> Pending<'a> {
    pub(super) fn begin(worker: &'a Worker) -> Self {
        Self { worker, record: Record::begin(worker), is_finished: false }
    }

    /// Counts the answer and writes its line.
    pub(super) fn finish(mut self, status: StatusCode) {
        self.is_finished = true;
        self.record.finish(self.worker, status.as_u16());
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.record.finish(self.worker, CLIENT_LEFT);
        }
    }
}

/// Parts of a line that the request takes with it.
pub(super) struct LineParts {
    pub(super) method: http::Method,
    pub(super) host: String,
    pub(super) path: String,
}

impl Record {
    fn begin(worker: &Worker) -> Self {
        let gateway = &worker.gateway;
        Self {
            now: gateway.clock.now(),
            started: gateway.clock.tick(),
            request_id: worker.next_request_id(),
            live: gateway.live.load_full(),
            as_page: false,
            listed_origin: None,
            address: None,
            route: None,
            decided_by: None,
            is_portal: false,
            sent_bearer: false,
            decision: "-",
            subject: None,
            upstream: None,
            line: None,
        }
    }

    /// The request's id as text.
    pub(super) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// The counters this request belongs to.
    pub(super) fn metrics(&self) -> &RouteMetrics {
        match self.route {
            Some(route) => &self.live.parts(route).metrics,
            None if self.is_portal => &self.live.portal_metrics,
            None => &self.live.nowhere_metrics,
        }
    }

    /// Counts the answer and writes its line.
    fn finish(&self, worker: &Worker, status: u16) {
        self.metrics().answered(worker.index, status);
        let (Some(log), Some(parts)) = (&worker.gateway.access, &self.line) else { return };
        let client = self.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        let subject = self.subject.map(|id| id.to_string()).unwrap_or_default();
        log.record(
            worker.index,
            &Line {
                at: self.now,
                request_id: self.request_id(),
                client: &client,
                method: parts.method.as_str(),
                host: &parts.host,
                path: &parts.path,
                route: self.route_name(),
                rule: self.decided_by.map_or("-", |route| &self.live.parts(route).rule),
                decision: self.decision,
                subject: &subject,
                status,
                duration: worker.gateway.clock.tick().since(self.started),
                upstream: self.upstream,
            },
        );
    }

    fn route_name(&self) -> &str {
        match self.route {
            Some(route) => &self.live.policy.route(route).name,
            None if self.is_portal => "portal",
            None => "-",
        }
    }
}
