//! Password hashing on a bounded pool with a bounded queue and a memory budget.
//!
//! `kind` says what a hash costs and what is too dear, `stored` reads and checks stored hashes,
//! `queue` bounds who waits, `pool` runs one verification for every attempt. Which account a hash
//! belongs to, and what is written to the store, is decided by the callers.

mod kind;
mod pool;
mod queue;
mod stored;

pub use kind::{Kind, Unusable};
pub use pool::{Hasher, PoolStatus};
pub use queue::Busy;
