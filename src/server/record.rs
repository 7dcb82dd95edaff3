//! What is known of a request under way, for its access line and metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_LANGUAGE, COOKIE, HeaderName};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::live::Live;
use super::worker::Worker;
use crate::clock::{Tick, Timestamp};
use crate::config::Config;
use crate::policy::RouteId;
use crate::proxy::Resource;
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
    pub(super) reader: Option<Reader>,
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

/// A person who navigates: what a page of the gateway's own is made of. Most navigations never see one,
/// so only shared parts of the head are kept here, and read when there is such a page.
pub(super) struct Reader {
    /// What they asked for, where they can ask for it again.
    target: Option<PathAndQuery>,
    /// Of whom, once that is read.
    pub(super) resource: Option<Arc<Resource>>,
    cookie: Option<HeaderValue>,
    accept_language: Option<HeaderValue>,
}

impl Reader {
    pub(super) fn of(request: &http::Request<hyper::body::Incoming>) -> Self {
        let target = match *request.method() {
            Method::GET | Method::HEAD => request.uri().path_and_query().cloned(),
            _ => None,
        };
        let headers = request.headers();
        Self {
            target,
            resource: None,
            cookie: whole(headers, &COOKIE, b"; "),
            accept_language: whole(headers, &ACCEPT_LANGUAGE, b", "),
        }
    }

    /// The language of the page.
    pub(super) fn language(&self, config: &Config) -> Language {
        let kept = [(COOKIE, &self.cookie), (ACCEPT_LANGUAGE, &self.accept_language)];
        let kept = kept.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        config.language_of(&kept.collect())
    }

    /// Path and query of what they asked for.
    pub(super) fn address(&self) -> &str {
        self.target.as_ref().map_or("/", PathAndQuery::as_str)
    }

    /// The origin they asked, once it is read.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.resource.as_ref().map(|resource| &resource.origin)
    }
}

/// A header's value, shared with the head. Several lines of it, which are seldom, mean the same as one
/// (RFC 9110 section 5.3; RFC 9113 section 8.2.3 for cookies).
fn whole(headers: &HeaderMap, name: &HeaderName, between: &[u8]) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.next().is_none() {
        return Some(first.clone());
    }
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&lines.join(between)).ok()
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
    fn several_lines_of_a_header_are_kept_as_one() {
        let lines = |values: &[&'static str]| -> HeaderMap {
            values.iter().map(|value| (COOKIE, HeaderValue::from_static(value))).collect()
        };
        for (values, expected) in [
            (&[][..], None),
            (&["a=1"], Some("a=1")),
            (&["a=1", "b=2", "c=3"], Some("a=1; b=2; c=3")),
        ] {
            let kept = whole(&lines(values), &COOKIE, b"; ");
            assert_eq!(kept, expected.map(HeaderValue::from_static), "{values:?}");
        }
    }

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
