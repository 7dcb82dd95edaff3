//! The process' log: set up once, text or JSON, on standard error.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The filter directive does not parse.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.level is neither a level nor a filter directive")]
pub struct InvalidFilter(#[source] tracing_subscriber::filter::ParseError);

/// The watcher of the configuration's directory says at `trace` that a file changed there, which the log itself
/// may be: each such line would make the next.
const SELF_FEEDING: &str = "notify=info";

/// Standard error, where the log belongs: standard output is for what a command prints.
struct StandardError;

impl<'a> MakeWriter<'a> for StandardError {
    type Writer = io::Stderr;

    fn make_writer(&'a self) -> Self::Writer {
        io::stderr()
    }
}

/// Sets the log up for the whole process. A second call changes nothing.
///
/// # Errors
/// [`InvalidFilter`].
pub fn init(level: &str, as_json: bool) -> Result<(), InvalidFilter> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(StandardError);
    // An error here means a log is set up already (a test's, or an embedding program's): it stays.
    let _already = if as_json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_target(false).try_init()
    };
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, InvalidFilter> {
    let quiet = SELF_FEEDING.parse().map_err(InvalidFilter)?;
    Ok(EnvFilter::try_new(level).map_err(InvalidFilter)?.add_directive(quiet))
}

/// An error and everything that caused it on one line, each said once.
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut source = self.0.source();
        while let Some(cause) = source {
            let message = cause.to_string();
            if !text.contains(&message) {
                text = format!("{text}: {message}");
            }
            source = cause.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn no_level_has_the_log_feed_itself() {
        for level in ["trace", "info,notify=trace"] {
            let directives = filter(level).unwrap().to_string();
            let directives: Vec<_> = directives.split(',').collect();
            assert!(directives.contains(&"notify=info"), "{directives:?}");
            assert!(!directives.contains(&"notify=trace"), "{directives:?}");
        }
        assert!(filter("no=such=level").is_err());
    }

    #[test]
    fn causes_are_told_once_each() {
        let told = |inner: &str| Causes(&Outer(io::Error::other(inner.to_owned()))).to_string();
        assert_eq!(told("inner"), "outer: inner");
        assert_eq!(told("outer"), "outer");
    }
}
