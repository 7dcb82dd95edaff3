//! What a worker recognised last, remembered before anything is decoded, verified or looked up.
//!
//! Each worker has its own. It is never the only one to say who somebody is: a slot counts only while the
//! session's entry is in the cache behind it ([`Identity::is_kept`]), was made under the roles and the
//! configuration in force, and has not come to an end by time; anything else is asked of that cache.
//!
//! Credentials are not kept, nor anything they could be found from: a slot holds SipHash-2-4 with 128
//! bits of output under a random key that never leaves this value. That two credentials have the same,
//! or that somebody makes one that has the same as another's, takes knowing the key or 2^128 tries.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use siphasher::sip128::{Hash128, SipHasher24};
use subtle::ConstantTimeEq as _;

use super::Carrier;
use super::identity::Identity;
use crate::clock::{Entropy, Moment, Tick, Timestamp};
use crate::store::SessionKind;

/// Credentials remembered, a power of two. Two that fall on one slot push each other out.
const SLOTS: usize = 1024;
/// How long a slot spares the cache behind it: that one must go on hearing what is in use.
const SPELL: Duration = Duration::from_secs(1);

/// What one worker recognised last.
pub struct Front {
    /// The worker's number.
    pub(super) worker: usize,
    cookies: SipHasher24,
    tokens: SipHasher24,
    /// Only its worker's thread takes this lock; no other waits for it.
    slots: Mutex<Box<[Option<Slot>]>>,
}

/// A credential by its digest under a key of its kind.
#[derive(Clone, Copy)]
pub(super) struct Digest {
    digest: Hash128,
    kind: SessionKind,
}

struct Slot {
    digest: Digest,
    identity: Arc<Identity>,
    /// End of the credential itself.
    until: Timestamp,
    since: Tick,
}

impl Front {
    pub(super) fn new(worker: usize, entropy: &Entropy) -> Self {
        let hasher = || SipHasher24::new_with_key(&entropy.bytes());
        let slots = std::iter::repeat_with(|| None).take(SLOTS).collect();
        Self { worker, cookies: hasher(), tokens: hasher(), slots: Mutex::new(slots) }
    }

    /// The digest of a credential as it was received.
    pub(super) fn digest(&self, kind: SessionKind, credential: &[u8]) -> Digest {
        let hasher = match kind {
            SessionKind::Cookie => &self.cookies,
            SessionKind::Bearer => &self.tokens,
        };
        Digest { digest: hasher.hash(credential), kind }
    }

    /// Whom a credential stood for when it was last recognised, if that holds at `moment` under the state
    /// of roles and configuration numbered `generation`. The caller has found the change log's last read
    /// fresh *before*: what that read brought has then been taken out of the cache.
    pub(super) fn recall(
        &self,
        digest: &Digest,
        generation: u64,
        Moment { now, tick }: Moment,
    ) -> Option<Arc<Identity>> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(digest.slot())?.as_ref()?;
        let identity = &slot.identity;
        let may_be_believed = slot.digest.is_same(digest)
            && identity.is_kept()
            && identity.generation() == generation
            && identity.is_usable(digest.kind)
            && identity.nearest_end() > now
            && slot.until > now
            && tick.since(slot.since) < SPELL;
        may_be_believed.then(|| Arc::clone(identity))
    }

    /// Remembers what the cache said of a credential that itself ends at `until`.
    pub(super) fn remember(
        &self,
        digest: Digest,
        identity: &Arc<Identity>,
        until: Timestamp,
        since: Tick,
    ) {
        let slot = Slot { digest, identity: Arc::clone(identity), until, since };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = slots.get_mut(digest.slot()) {
            *place = Some(slot);
        }
    }
}

impl Digest {
    /// What carried the credential.
    pub(super) const fn carrier(&self) -> Carrier {
        match self.kind {
            SessionKind::Cookie => Carrier::Cookie,
            SessionKind::Bearer => Carrier::Bearer,
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "any part of a digest serves")]
    const fn slot(&self) -> usize {
        self.digest.h1 as usize % SLOTS
    }

    fn is_same(&self, other: &Self) -> bool {
        let (a, b) = (&self.digest, &other.digest);
        self.kind == other.kind && bool::from(a.h1.ct_eq(&b.h1) & a.h2.ct_eq(&b.h2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::identity::Book;

    #[test]
    fn a_credential_is_known_by_all_of_its_bytes_its_kind_and_its_own_end() {
        let entropy = Entropy::seeded(1);
        let front = Front::new(0, &entropy);
        let at = Timestamp::from_seconds;
        let loaded = crate::session::cache::tests::loaded([1; 32], uuid::Uuid::from_u128(1));
        let identity = Arc::new(Identity::resolve(loaded, &Book::default(), at(0)));
        let (cookie, bearer) = (SessionKind::Cookie, SessionKind::Bearer);
        let digest = front.digest(cookie, b"value");
        front.remember(digest, &identity, at(10), Tick::default());
        let recalls = |digest: &Digest, seconds| {
            let moment = Moment { now: at(seconds), tick: Tick::default() };
            front.recall(digest, 0, moment).is_some()
        };
        assert!(!recalls(&digest, 1), "what is not in the cache is not believed");
        identity.remembered().set_kept(true);
        assert!(recalls(&digest, 1));
        assert!(recalls(&digest, 9) && !recalls(&digest, 10), "its end is its own");
        for (kind, credential) in [(bearer, "value"), (cookie, "valuf"), (cookie, "value ")] {
            let other = front.digest(kind, credential.as_bytes());
            assert!(!recalls(&other, 1), "{credential}");
            // Even if it fell on the same slot.
            let beside = Digest { digest: Hash128 { h2: 0, ..digest.digest }, kind: cookie };
            assert!(!recalls(&beside, 1));
            assert!(!recalls(&Digest { kind: bearer, ..digest }, 1));
        }
        let elsewhere = Front::new(0, &entropy).digest(cookie, b"value");
        assert!(!elsewhere.is_same(&digest), "every worker has a key of its own");
    }
}
