//! Log set-up, names of metrics, the access-log line.
//!
//! Nothing here decides anything; what is counted and logged is handed in.

pub mod access;
pub mod log;
pub mod metrics;
