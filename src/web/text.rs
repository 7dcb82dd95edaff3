//! What pages say, before it is said in a language: a key of the texts with its arguments.
//!
//! The texts stand in `texts/*.ftl`, one file a language. A test holds that every key that code or a
//! template names is there in every language with the arguments that are given, and that none is unused;
//! it finds them in the source by their spelling, so a key is always written out in the call.

use serde::Serialize;

/// Something to say.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Text {
    key: &'static str,
    arguments: Vec<(&'static str, Argument)>,
}

/// What is filled in. It is shown as it is, whatever it holds: pages escape it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum Argument {
    /// A number, by which languages choose singular or plural.
    Number(u64),
    /// Words that are the same in every language: a name, an address.
    Words(String),
}

impl Text {
    /// The text of a key that takes no arguments, or is given them next.
    #[must_use]
    pub const fn of(key: &'static str) -> Self {
        Self { key, arguments: Vec::new() }
    }

    /// With an argument.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Argument>) -> Self {
        self.arguments.push((name, value.into()));
        self
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        self.key
    }
}

impl From<String> for Argument {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl From<&str> for Argument {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}

impl From<usize> for Argument {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}
