//! HTTP vocabulary shared by everything that reads a request or writes an answer.
//!
//! It takes what it needs as arguments and knows no configuration, no store and no session.

pub mod authority;
mod caching;
mod catalog;
pub mod client;
pub mod cookies;
pub mod cors;
pub mod failure;
pub mod fields;
pub mod form;
pub mod headers;
mod framing;
mod hygiene;
mod intent;
pub mod json;
pub mod language;
pub mod logo;
pub mod origin;
pub mod overrides;
pub mod page;
mod readings;
mod restyle;
pub mod return_to;
pub mod target;
mod templates;
pub mod text;
mod wording;
