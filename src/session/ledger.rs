//! The ledger of the session cache: what changed lately, and whose sessions are kept.
//!
//! It is the authority on whether a session is kept: the cache takes nothing in but under its lock, and
//! what it lets go of is marked at once, so that whoever holds an identity made before finds out by looking.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use uuid::Uuid;

use super::cache::Id;
use super::identity::Remembered;

/// Changes remembered for loads under way. A load that began before the oldest does not cache.
const REMEMBERED: usize = 1024;

/// What was applied lately, and what is kept.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Number of the last change applied.
    sequence: u64,
    recent: VecDeque<(u64, Touched)>,
    kept: BTreeSet<Kept>,
}

/// What a change touches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Touched {
    /// A person's sessions.
    User(Uuid),
    /// One session.
    Session(Id),
    /// Every session.
    Everything,
}

/// A kept session in its place: by owner, then by id. One pointer, since there are many.
#[derive(Debug)]
struct Kept(Arc<Remembered>);

/// A place in that order, which a session need not have.
trait Place {
    fn place(&self) -> (Uuid, &Id);
}

impl Place for Kept {
    fn place(&self) -> (Uuid, &Id) {
        (self.0.owner(), self.0.id())
    }
}

impl Place for (Uuid, Id) {
    fn place(&self) -> (Uuid, &Id) {
        (self.0, &self.1)
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl<'a> Borrow<dyn Place + 'a> for Kept {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl Ledger {
    /// Number of the last change applied.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Notes a change.
    pub(super) fn note(&mut self, touched: Touched) {
        self.sequence += 1;
        self.recent.push_back((self.sequence, touched));
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }

    /// Whether nothing for this session or owner was applied after change number `begun`.
    pub(super) fn is_untouched(&self, begun: u64, id: &Id, user: Uuid) -> bool {
        let complete = self.recent.front().is_none_or(|(first, _)| *first <= begun + 1);
        complete
            && self.recent.iter().filter(|(sequence, _)| *sequence > begun).all(|(_, touched)| {
                match touched {
                    Touched::User(other) => *other != user,
                    Touched::Session(other) => other != id,
                    Touched::Everything => false,
                }
            })
    }

    /// Enters a session that is about to be cached, in the place of one of the same id.
    pub(super) fn keep(&mut self, session: &Arc<Remembered>) {
        session.set_kept(true);
        if let Some(Kept(former)) = self.kept.replace(Kept(Arc::clone(session))) {
            former.set_kept(false);
        }
    }

    /// Strikes out a session, unless another load of it has taken its place.
    pub(super) fn let_go(&mut self, session: &Arc<Remembered>) {
        session.set_kept(false);
        let place: &dyn Place = &(session.owner(), *session.id());
        if self.kept.get(place).is_some_and(|Kept(known)| Arc::ptr_eq(known, session)) {
            self.kept.remove(place);
        }
    }

    /// Strikes out a person's sessions; says which they were.
    pub(super) fn let_go_of_user(&mut self, user: Uuid) -> Vec<Arc<Remembered>> {
        let (first, last) = ((user, [u8::MIN; 32]), (user, [u8::MAX; 32]));
        let range = (Bound::Included(&first as &dyn Place), Bound::Included(&last as &dyn Place));
        let sessions: Vec<_> = self
            .kept
            .range::<dyn Place, _>(range)
            .map(|Kept(session)| Arc::clone(session))
            .collect();
        for session in &sessions {
            self.let_go(session);
        }
        sessions
    }

    /// Strikes out everything.
    pub(super) fn let_go_of_all(&mut self) {
        for Kept(session) in std::mem::take(&mut self.kept) {
            session.set_kept(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_may_cache_only_if_nothing_of_its_own_changed_since_it_began() {
        let (user, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (id, foreign) = ([1; 32], [2; 32]);
        for (touched, may) in [
            (Touched::User(user), false),
            (Touched::User(other), true),
            (Touched::Session(id), false),
            (Touched::Session(foreign), true),
            (Touched::Everything, false),
        ] {
            let mut ledger = Ledger::default();
            ledger.note(Touched::User(user));
            let begun = ledger.sequence;
            assert!(ledger.is_untouched(begun, &id, user), "what came before does not count");
            ledger.note(touched);
            assert_eq!(ledger.is_untouched(begun, &id, user), may, "{touched:?}");
        }
    }

    #[test]
    fn a_load_older_than_what_is_remembered_does_not_cache() {
        let mut ledger = Ledger::default();
        let begun = ledger.sequence;
        for _ in 0..=REMEMBERED {
            ledger.note(Touched::User(Uuid::from_u128(9)));
        }
        assert!(!ledger.is_untouched(begun, &[1; 32], Uuid::from_u128(1)));
    }
}
