//! Sends what waits in the outbox, a few letters at a time: one that is slow delays no other.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use uuid::Uuid;

use super::carrier::CarryError;
use super::{Addressee, Carrier, Desk, DeskError, Outbox, Stationery};
use crate::clock::Entropy;
use crate::store::{Event, HeldLetter, Holder, StoreError};
use crate::telemetry::log::Causes;
use crate::telemetry::metrics::MailOutcome;

/// How often the outbox is looked into when nobody says that there is something: what waits for another
/// attempt, and what came from another node or was left by one that died.
const LOOK: Duration = Duration::from_secs(1);
/// How long a letter is held; one whose sender died is free for another after that.
const HOLD: Duration = Duration::from_secs(6);
/// How often holding is renewed while a letter is being sent.
const RENEW: Duration = Duration::from_secs(2);
/// Letters sent at the same time at most: enough for one mail server, which the others have to take part in.
const AT_ONCE: usize = 4;
/// After the first failed attempt; twice as long after each further one.
const PAUSE: Duration = Duration::from_secs(10);
/// Between attempts at most.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);
/// How long after it was last asked for a letter is given up.
const GIVE_UP: Duration = Duration::from_hours(24);

/// The one who sends. Cloning shares what is behind it.
pub struct Courier<D> {
    outbox: Outbox,
    desk: Arc<D>,
    stationery: Arc<Stationery>,
    carrier: Arc<Carrier>,
    entropy: Entropy,
    /// Which of the nodes this is.
    node: Uuid,
}

impl<D> Clone for Courier<D> {
    fn clone(&self) -> Self {
        Self {
            outbox: self.outbox.clone(),
            desk: Arc::clone(&self.desk),
            stationery: Arc::clone(&self.stationery),
            carrier: Arc::clone(&self.carrier),
            entropy: self.entropy.clone(),
            node: self.node,
        }
    }
}

/// How an attempt ended.
enum Outcome {
    Sent,
    /// There is nobody to send it to.
    ForNobody,
    /// To be tried again; why it failed.
    Failed(String),
    /// Trying again would end the same way.
    Hopeless(String),
}

impl<D: Desk> Courier<D> {
    /// Puts together what sending needs.
    #[must_use]
    pub fn new(
        outbox: Outbox,
        desk: D,
        stationery: Stationery,
        carrier: Carrier,
        entropy: Entropy,
    ) -> Self {
        let (desk, stationery) = (Arc::new(desk), Arc::new(stationery));
        let node = entropy.uuid();
        Self { outbox, desk, stationery, carrier: Arc::new(carrier), entropy, node }
    }

    /// Sends for as long as it is polled.
    pub async fn deliver(self) {
        let mut is_failing = false;
        // Dropped with this future, it ends what is under way.
        let mut attempts = JoinSet::new();
        loop {
            while attempts.len() >= AT_ONCE {
                // A panic has been reported where it happened.
                let _panicked = attempts.join_next().await;
            }
            match self.take().await {
                Ok(Some(letter)) => {
                    is_failing = false;
                    attempts.spawn(self.clone().attempt_alone(letter));
                    continue;
                }
                Ok(None) => is_failing = false,
                // Said once: the store's own trouble is logged where it is followed.
                Err(_) if is_failing => {}
                Err(error) => {
                    is_failing = true;
                    tracing::warn!(error = %Causes(&error), "the outbox could not be read");
                }
            }
            // Either is a reason to look.
            let _woken = tokio::time::timeout(LOOK, self.outbox.wake.notified()).await;
            while attempts.try_join_next().is_some() {}
        }
    }

    async fn take(&self) -> Result<Option<HeldLetter>, StoreError> {
        let now = self.outbox.clock.now();
        let holder = Holder { node: self.node, attempt: self.entropy.uuid() };
        self.outbox.store.find_letter_to_send(now, holder, HOLD, pause_after).await
    }

    /// An attempt as a task of its own: should it panic, the others are sent nevertheless.
    async fn attempt_alone(self, letter: HeldLetter) {
        if let Err(error) = self.attempt(&letter).await {
            // Nobody lets go of the letter: it is taken again when holding it has ended.
            let error = Causes(&error);
            tracing::warn!(mail.id = letter.id, %error, "the outbox could not be used");
        }
    }

    /// Tries to send a letter, holding it all the while.
    async fn attempt(&self, letter: &HeldLetter) -> Result<(), StoreError> {
        if self.outbox.clock.now().since(letter.queued_at) >= GIVE_UP {
            return self.give_up(letter, "it could not be sent within a day").await;
        }
        let mut sending = std::pin::pin!(self.send(letter));
        let mut renewal = tokio::time::interval(RENEW);
        renewal.reset();
        let outcome = loop {
            tokio::select! {
                outcome = &mut sending => break outcome,
                _ = renewal.tick() => {
                    if !self.outbox.store.update_letter_hold(letter, HOLD).await? {
                        let id = letter.id;
                        tracing::warn!(mail.id = id, "a letter was taken over by another node");
                        return Ok(());
                    }
                }
            }
        };
        self.conclude(letter, outcome).await
    }

    async fn send(&self, letter: &HeldLetter) -> Outcome {
        let to = match self.address(letter).await {
            Ok(Some(to)) => to,
            Ok(None) => return Outcome::ForNobody,
            Err(error) => return Outcome::Failed(Causes(error.as_ref()).to_string()),
        };
        let now = self.outbox.clock.now();
        let message = match self.stationery.write(letter, &to, now, self.entropy.uuid()) {
            Ok(message) => message,
            Err(error) => return Outcome::Hopeless(Causes(&error).to_string()),
        };
        let name = format!("{}-{}.eml", now.as_micros(), letter.holder);
        match self.carrier.carry(message, name).await {
            Ok(()) => Outcome::Sent,
            Err(error @ CarryError::Refused(_)) => Outcome::Hopeless(Causes(&error).to_string()),
            Err(error) => Outcome::Failed(Causes(&error).to_string()),
        }
    }

    /// Whom a letter is for, which is noted: no later attempt sends it to anybody else.
    async fn address(&self, letter: &HeldLetter) -> Result<Option<Addressee>, DeskError> {
        let to = self.desk.address(letter).await?;
        if letter.subject.is_none()
            && let Some(user) = to.as_ref().and_then(|to| to.user)
        {
            self.outbox.store.update_letter_subject(letter, user).await?;
        }
        Ok(to)
    }

    async fn conclude(&self, letter: &HeldLetter, outcome: Outcome) -> Result<(), StoreError> {
        let (store, counters) = (&self.outbox.store, &self.outbox.metrics.counters);
        match outcome {
            Outcome::Sent => {
                counters.mailed(MailOutcome::Sent);
                store.delete_letter(letter, None).await
            }
            Outcome::ForNobody => store.delete_letter(letter, None).await,
            Outcome::Failed(error) => {
                counters.mailed(MailOutcome::Failed);
                let (id, kind) = (letter.id, letter.kind.as_str());
                let attempt = letter.attempts.saturating_add(1);
                tracing::warn!(
                    mail.id = id,
                    mail.kind = kind,
                    mail.attempt = attempt,
                    error,
                    "a letter could not be sent yet"
                );
                store.update_letter_released(letter).await
            }
            Outcome::Hopeless(error) => {
                counters.mailed(MailOutcome::Failed);
                self.give_up(letter, &error).await
            }
        }
    }

    async fn give_up(&self, letter: &HeldLetter, error: &str) -> Result<(), StoreError> {
        let kind = letter.kind.as_str();
        tracing::error!(mail.id = letter.id, mail.kind = kind, error, "a letter was given up");
        let event = Event {
            at: self.outbox.clock.now(),
            kind: "mail-failed".to_owned(),
            user: letter.subject,
            actor: letter.recipient.clone(),
            address: None,
            agent: String::new(),
            detail: format!("{kind}: {error}"),
        };
        self.outbox.store.delete_letter(letter, Some(&event)).await?;
        self.outbox.metrics.counters.mailed(MailOutcome::GivenUp);
        Ok(())
    }
}

/// Until the next attempt, after a number of attempts before this one.
fn pause_after(attempts: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(attempts)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let seconds: Vec<u64> =
            [0, 1, 2, 6, 7, 40, u32::MAX].map(|attempts| pause_after(attempts).as_secs()).into();
        assert_eq!(seconds, [10, 20, 40, 640, 900, 900, 900]);
    }
}
