//! Writing `last_seen`, after the answer and not often.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::cache::Id;
use super::identity::Identity;
use crate::clock::Timestamp;
use crate::store::Store;

/// Writes that may wait. Beyond it a later request writes instead.
const QUEUE: usize = 4096;
/// Deadline of one write.
const DEADLINE: Duration = Duration::from_secs(2);

/// Queues writes of `last_seen`.
#[derive(Clone, Debug)]
pub(super) struct SeenWriter(mpsc::Sender<(Id, Timestamp)>);

impl SeenWriter {
    /// Starts the writing task. It ends when the last writer is dropped.
    pub(super) fn start(store: Store, control: &Handle) -> Self {
        let (sender, mut queue) = mpsc::channel::<(Id, Timestamp)>(QUEUE);
        control.spawn(async move {
            while let Some((id, seen)) = queue.recv().await {
                let write = store.update_session_seen(&id, seen);
                match tokio::time::timeout(DEADLINE, write).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "last_seen was not written"),
                    Err(_elapsed) => tracing::debug!("last_seen was not written in time"),
                }
            }
        });
        Self(sender)
    }

    /// Notes a use of a session. Never waits.
    pub(super) fn touch(&self, identity: &Arc<Identity>, now: Timestamp) {
        let seen = identity.seen();
        if !seen.note(now) {
            return;
        }
        let interval = identity.seen_interval();
        if seen.may_write(now, interval) && self.0.try_send((identity.session().id, now)).is_err() {
            seen.unwrite(now, interval);
        }
    }
}
