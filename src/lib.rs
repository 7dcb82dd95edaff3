//! Portcullis: a reverse-proxy authentication gateway.
//!
//! Modules stand in the order of their dependencies: each imports only from those above it, which a
//! test holds. `ARCHITECTURE.md` tells what each is for and draws a request's way through them.

pub mod clock;
pub mod telemetry;
pub mod web;
pub mod config;
pub mod identity;
pub mod store;
pub mod limit;
pub mod session;
pub mod policy;
pub mod mail;
pub mod accounts;
pub mod proxy;
pub mod portal;
pub mod api;
pub mod server;
pub mod cli;
