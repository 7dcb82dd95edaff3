//! What must hold of any input, checked against slow readers written from the words of the standards
//! and of the gateway's documentation, never from its code. The fuzz targets call these, and so do
//! the ordinary tests: over the corpus, and over inputs made of hostile parts.

pub mod configuration;
pub mod cookie;
pub mod header;
pub mod target;
