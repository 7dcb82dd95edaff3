//! Sending a permitted request upstream and taking the head of its answer.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;

use super::answer::{AnswerHead, Asked, HeadError};
use super::connection::{Connection, Switched};
use super::deadline::Wait;
use super::download::Stream;
use super::exchange::Exchange;
pub use super::exchange::{ForwardError, Reach, Said, Way};
use super::outgoing::Outgoing;
use super::pool::Lease;
use super::sanitise::Sanitized;
use crate::policy::Permit;

/// An upstream's answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// What the upstream calls the status, where that is not the usual name.
    pub reason: Option<ReasonPhrase>,
    /// Its fields that go on to the client.
    pub headers: HeaderMap,
    /// What follows its head.
    pub body: AnswerBody,
}

/// What follows the head of an answer.
#[derive(Debug)]
pub enum AnswerBody {
    /// A body that came with it, or none.
    Whole(Bytes),
    /// A body that is still on its way.
    Stream(Box<Stream>),
    /// Another protocol: the client's end and the upstream's.
    Switched(OnUpgrade, Switched),
}

/// Forwards a request. `permit` is spent: one permit, one request.
///
/// The head is put together before the future is made, so that the future holds little.
///
/// # Errors
/// [`ForwardError`].
pub fn forward<'a>(
    reach: &'a Reach,
    mut request: Sanitized,
    permit: Permit,
    way: Way<'a>,
    said: &Said<'_>,
) -> impl Future<Output = Result<Answer, ForwardError>> + Send + use<'a> {
    let deadlines = &way.connection.deadlines;
    if let Some(timeout) = way.timeout {
        deadlines.set(Wait::Route, timeout);
    }
    deadlines.set(Wait::Upstream, way.upstream.response_timeout);
    let identity = if permit.spend() { said.identity } else { None };
    let said = Said { identity, ..*said };
    let asked = Asked::new(&request.method, request.is_websocket());
    let client_upgrade = request.upgrade.take();
    let outgoing = Outgoing::new(reach, request, way, &said, asked);
    let mut exchange = Exchange::new(reach, way, outgoing, asked);
    async move {
        let outcome = exchange.answer(reach, way).await;
        if let Some(upload) = &exchange.outgoing.upload {
            // The body may go on; from here the answer's own deadlines count.
            upload.note_answer();
        }
        deadlines.clear(Wait::Route);
        deadlines.clear(Wait::Upstream);
        accept(*outcome?, exchange.into_connection()?, client_upgrade, reach, way)
    }
}

/// Takes an upstream's answer. Its connection goes back at once if the body is there already.
fn accept(
    head: AnswerHead,
    mut connection: Connection,
    client_upgrade: Option<OnUpgrade>,
    reach: &Reach,
    way: Way<'_>,
) -> Result<Answer, ForwardError> {
    let AnswerHead { status, headers, reason, mut framing, is_persistent } = head;
    let answer = |body| Ok(Answer { status, reason, headers, body });
    // A connection on which a change of protocol was asked for serves nothing else, whatever the answer:
    // bytes of that protocol may be on their way.
    let is_persistent = is_persistent && client_upgrade.is_none();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody else was answered so: without being asked for, it is no head.
        let ends = client_upgrade.zip(connection.switch());
        let (client, upstream) = ends.ok_or(ForwardError::Head(HeadError::UnaskedUpgrade))?;
        return answer(AnswerBody::Switched(client, upstream));
    }
    let lease = |connection| {
        let (upstream, pool) = (Arc::clone(way.upstream), Arc::clone(&reach.pool));
        Lease { connection, is_persistent, upstream, pool }
    };
    match framing.take(&mut connection.arrived) {
        Ok(whole) if framing.is_done() => {
            reach.pool.give_back(way.upstream, connection, is_persistent);
            answer(AnswerBody::Whole(whole))
        }
        first => {
            answer(AnswerBody::Stream(Box::new(Stream::new(framing, first, lease(connection)))))
        }
    }
}
