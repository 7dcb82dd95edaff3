//! The matcher and the evaluator against slow ones written from the words of the specification, and
//! `explain` against `decide`, on random tables, rules and requests.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod matcher;
mod rules;
