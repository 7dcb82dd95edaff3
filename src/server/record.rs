//! What is known of a request under way, for its access line and metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};

use super::live::Live;
use super::worker::Worker;
use crate::clock::{Tick, Timestamp};
use crate::policy::RouteId;
use crate::telemetry::access::Line;
use crate::telemetry::metrics::RouteMetrics;
use crate::web::language::Language;
use crate::web::origin::Origin;

/// Filled in as a request goes its way. Every field is true from the start: "not known yet" is what
/// it says of a request that ends early.
pub(super) struct Record {
    pub(super) now: Timestamp,
    pub(super) started: Tick,
    pub(super) request_id: RequestId,
    pub(super) live: Arc<Live>,
    /// Whom a failure is shown to as a page; `None`: to a program.
    pub(super) reader: Option<Box<Reader>>,
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

/// A person who navigates.
pub(super) struct Reader {
    pub(super) language: Language,
    /// What they asked for, as they can ask for it again.
    pub(super) address: String,
    /// Of whom, once that is read.
    pub(super) origin: Option<Origin>,
}

impl Reader {
    pub(super) fn of(request: &http::Request<hyper::body::Incoming>, live: &Live) -> Self {
        let path = match *request.method() {
            Method::GET | Method::HEAD => request.uri().path_and_query().map(PathAndQuery::as_str),
            _ => None,
        };
        Self {
            language: live.config.language_of(request.headers()),
            address: path.unwrap_or("/").to_owned(),
            origin: None,
        }
    }
}

/// Longest id taken from a trusted proxy.
const LONGEST_ID: usize = 64;

/// A request's id. Kept in place: most are written once, into the head that goes upstream.
#[derive(Clone, Copy)]
pub(super) struct RequestId {
    text: [u8; LONGEST_ID],
    length: u8,
}

impl RequestId {
    /// An id of our own: 32 hexadecimal digits.
    pub(super) fn new(digits: [u8; 32]) -> Self {
        let mut text = [0; LONGEST_ID];
        text[..32].copy_from_slice(&digits);
        Self { text, length: 32 }
    }

    /// The id a trusted proxy gave: `[A-Za-z0-9._-]{8,64}`.
    pub(super) fn of_proxy(said: &[u8]) -> Option<Self> {
        let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if said.len() < 8 || !said.iter().all(is_plain) {
            return None;
        }
        let mut text = [0; LONGEST_ID];
        text.get_mut(..said.len())?.copy_from_slice(said);
        Some(Self { text, length: u8::try_from(said.len()).ok()? })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.get(..usize::from(self.length)).unwrap_or_default()
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    pub(super) fn to_value(self) -> HeaderValue {
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// A request under way. One whose client goes away is dropped, and finishes all the same.
pub(super) struct Pending {
    pub(super) worker: Arc<Worker>,
    pub(super) record: Record,
    /// Whether another protocol is asked for, so that bytes of it may follow the head. Until the head is
    /// read it may be.
    pub(super) is_handshake: bool,
    is_finished: bool,
}

/// What the line says of a request whose client went away before the head of the answer.
const CLIENT_LEFT: u16 = 499;

impl Pending {
    pub(super) fn begin(worker: &Arc<Worker>) -> Self {
        let record = Record::begin(worker);
        Self { worker: Arc::clone(worker), record, is_handshake: true, is_finished: false }
    }

    /// Counts the answer and writes its line.
    pub(super) fn finish(mut self, status: StatusCode) {
        self.is_finished = true;
        self.record.finish(&self.worker, status.as_u16());
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_finished {
            self.record.finish(&self.worker, CLIENT_LEFT);
        }
    }
}

/// Parts of a line that the request takes with it.
pub(super) struct LineParts {
    pub(super) method: http::Method,
    pub(super) host: String,
    pub(super) path: String,
}

impl LineParts {
    pub(super) fn of(request: &http::Request<hyper::body::Incoming>) -> Self {
        Self {
            method: request.method().clone(),
            host: "-".to_owned(),
            path: request.uri().path().to_owned(),
        }
    }
}

impl Record {
    fn begin(worker: &Worker) -> Self {
        let gateway = &worker.gateway;
        Self {
            now: gateway.clock.now(),
            started: gateway.clock.tick(),
            request_id: worker.next_request_id(),
            live: gateway.live.load_full(),
            reader: None,
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

    /// Whether a failure is shown as a page.
    pub(super) const fn as_page(&self) -> bool {
        self.reader.is_some()
    }

    /// The request's id as text.
    pub(super) fn request_id(&self) -> &str {
        self.request_id.as_str()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_of_a_trusted_peer_is_short_and_plain() {
        let longest = "a".repeat(LONGEST_ID);
        let too_long = "a".repeat(LONGEST_ID + 1);
        for (id, is_one) in [
            ("abcdefgh", true),
            ("a.b_c-d1", true),
            ("short", false),
            ("with space", false),
            (&longest, true),
            (&too_long, false),
        ] {
            let taken = RequestId::of_proxy(id.as_bytes());
            assert_eq!(taken.as_ref().map(RequestId::as_str), is_one.then_some(id), "{id}");
        }
    }
}
