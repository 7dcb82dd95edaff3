//! An authorised request's way to its upstream and back.
//!
//! Everything here runs on a worker thread and never waits without a deadline. Whether a request may
//! pass is not decided here: [`forward`](forward::forward) asks for a [`Permit`](crate::policy::Permit),
//! which only `policy` makes, and for a [`Sanitized`], which only this module makes.

mod answer;
mod connection;
pub mod deadline;
pub mod download;
mod exchange;
pub mod forward;
mod framing;
pub mod identity_headers;
mod outgoing;
pub mod pool;
pub mod sanitise;
pub mod tunnel;
pub mod upload;
pub mod wire;

pub use sanitise::{Resource, Sanitized, sanitise};
