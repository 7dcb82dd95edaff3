//! The branches of a tree of path segments, all in one hash table: going down one segment reads one
//! cache line, which holds the segment and what the walk asks of the node behind it.
//!
//! The hash is made for speed and keeps no secret. It need not: the table is filled while a
//! configuration is compiled and never by a request, so how many branches one look-up compares at
//! most is settled by the configuration. Who chooses segments to collide finds that look-up, and
//! cannot make it longer.

use std::num::NonZero;

/// A position in a list in four bytes, also when there may be none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Number(NonZero<u32>);

impl Number {
    /// `None` past four thousand million, where memory ends before.
    pub(super) fn of(position: usize) -> Option<Self> {
        u32::try_from(position.checked_add(1)?).ok().and_then(NonZero::new).map(Self)
    }

    pub(super) const fn position(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A path so far, hashed. A walk carries it along instead of reading it from the node it has come to,
/// so that the next look-up need not wait until that node has arrived from memory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Trail(u64);

impl Trail {
    /// The trail of a branch. A parameter goes by the empty segment, which no literal is.
    pub(super) fn followed_by(self, segment: &[u8]) -> Self {
        let (words, rest) = segment.as_chunks();
        let whole = words.iter().fold(self.0, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        let length = u64::try_from(segment.len()).unwrap_or(u64::MAX);
        Self(mix(mix(whole, word(rest)), length))
    }

    /// One of 32 bits, by which a node tells most segments that no branch from it takes.
    pub(super) const fn bit(self) -> u32 {
        1 << (self.0 % 32)
    }
}

/// The multiplier is 2^64 divided by the golden ratio (Knuth, volume 3, section 6.4). What it spreads
/// best, the upper half, is folded back into the lower one.
const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

/// Up to seven bytes as one number.
fn word(bytes: &[u8]) -> u64 {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// What a walk asks of a place in the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Which node it is: branches name the one they leave by it.
    pub(super) id: u32,
    /// The [`Trail::bit`]s of the literal branches from here.
    pub(super) literals: u32,
    pub(super) has_parameter: bool,
    pub(super) slash: Option<Number>,
    pub(super) end: Option<Number>,
    pub(super) subtree: Option<Number>,
}

/// The bytes of a segment; as many as leave a [`Slot`] one cache line stand in it.
#[derive(Debug)]
enum Key {
    Short(u8, [u8; 22]),
    Long(Box<[u8]>),
}

impl Key {
    fn new(bytes: &[u8]) -> Self {
        let mut short = [0; 22];
        match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(bytes);
                Self::Short(length, short)
            }
            (_, _) => Self::Long(bytes.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Self::Long(bytes) => bytes,
        }
    }
}

/// The way from one node to another.
#[derive(Debug)]
pub(super) struct Branch {
    trail: Trail,
    from: u32,
    key: Key,
    to: Node,
}

impl Branch {
    pub(super) fn new(from: u32, segment: &[u8], trail: Trail, to: Node) -> Self {
        Self { trail, from, key: Key::new(segment), to }
    }
}

#[derive(Default, Debug)]
#[repr(align(64))]
struct Slot(Option<Branch>);

const _: () = assert!(size_of::<Slot>() == 64, "a slot is no longer one cache line");

/// Open addressing with linear probing, at most half full: a search ends at an empty slot.
#[derive(Debug)]
pub(super) struct Branches {
    /// A power of two.
    slots: Box<[Slot]>,
}

impl Branches {
    pub(super) fn new(branches: Vec<Branch>) -> Self {
        let size = (2 * branches.len()).next_power_of_two();
        let slots = std::iter::repeat_with(Slot::default).take(size).collect();
        let mut table = Self { slots };
        for branch in branches {
            let mut at = table.first(branch.trail);
            while table.slots[at].0.is_some() {
                at = table.after(at);
            }
            table.slots[at].0 = Some(branch);
        }
        table
    }

    /// The node that the branch of a segment leads to.
    pub(super) fn get(&self, from: u32, segment: &[u8], trail: Trail) -> Option<&Node> {
        let mut at = self.first(trail);
        loop {
            let branch = self.slots[at].0.as_ref()?;
            let is_it = branch.trail == trail && branch.from == from;
            if is_it && branch.key.bytes() == segment {
                return Some(&branch.to);
            }
            at = self.after(at);
        }
    }

    /// Where the search for a branch begins. The bits [`Trail::bit`] is made of are not used again.
    fn first(&self, trail: Trail) -> usize {
        usize::try_from(trail.0 >> 5).unwrap_or_default() & (self.slots.len() - 1)
    }

    const fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    /// Slots in a row that are taken: what one look-up compares at most.
    #[cfg(test)]
    pub(super) fn longest_run(&self) -> usize {
        self.slots.split(|slot| slot.0.is_none()).map(<[Slot]>::len).max().unwrap_or_default()
    }
}
