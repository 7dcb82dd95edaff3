//! Watches of open streams: they wake when what allowed a stream may have ended.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::cache::Id;
use crate::store::Changed;

/// How often a watch looks whether an end that comes with time has come, or the store is out of reach.
/// It costs two comparisons; nothing is decided anew.
const LOOK: Duration = Duration::from_millis(400);

/// Everyone who watches, one channel per session.
#[derive(Debug, Default)]
pub(super) struct Watches(Mutex<HashMap<Id, (Uuid, watch::Sender<()>)>>);

/// Stands for no session: callers let in without one.
const NOBODY: Id = [0; 32];

/// Watches one session, or the configuration alone, for one open stream.
#[derive(Debug)]
pub struct Watch {
    changed: watch::Receiver<()>,
}

impl Watch {
    /// Waits until the stream's leave to go on must be looked at again: a change touched the session,
    /// its owner or any role, the configuration changed, or `has_run_out` says that an end has come.
    pub async fn next(&mut self, has_run_out: impl Fn() -> bool) {
        loop {
            match tokio::time::timeout(LOOK, self.changed.changed()).await {
                Ok(Ok(())) => return,
                // A closed channel would be ready at once for ever: from here only time wakes.
                Ok(Err(_closed)) => tokio::time::sleep(LOOK).await,
                Err(_elapsed) => {}
            }
            if has_run_out() {
                return;
            }
        }
    }
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, HashMap<Id, (Uuid, watch::Sender<()>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self, id: Id, user: Uuid) -> Watch {
        let mut watches = self.lock();
        // Channels nobody listens to any more go as new ones come, so there are never more than twice
        // the streams that were open at once.
        if watches.len() >= 64 && watches.len().is_power_of_two() {
            watches.retain(|_, (_, sender)| sender.receiver_count() > 0);
        }
        let (_, sender) = watches.entry(id).or_insert_with(|| (user, watch::Sender::new(())));
        Watch { changed: sender.subscribe() }
    }

    /// A watch that only roles and configuration wake.
    pub(super) fn watch_nobody(&self) -> Watch {
        self.watch(NOBODY, Uuid::nil())
    }

    pub(super) fn wake(&self, changed: &Changed) {
        for (id, (user, sender)) in self.lock().iter() {
            let is_touched = match changed {
                Changed::User(other) => user == other,
                Changed::Session(other) => id == other,
                Changed::Role(_) => true,
            };
            if is_touched {
                sender.send_replace(());
            }
        }
    }

    pub(super) fn wake_all(&self) {
        for (_, sender) in self.lock().values() {
            sender.send_replace(());
        }
    }
}
