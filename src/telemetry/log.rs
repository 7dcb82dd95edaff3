//! The process' log: set up once, text or JSON, on standard error.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal as _};

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The filter directive does not parse.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.level is neither a level nor a filter directive")]
pub struct InvalidFilter(#[source] tracing_subscriber::filter::ParseError);

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
    let filter = EnvFilter::try_new(level).map_err(InvalidFilter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(StandardError);
    // An error here means a log is set up already (a test's, or an embedding program's): it stays.
    let _already = if as_json {
        builder.json().flatten_event(true).finish().with(calm()).try_init()
    } else {
        builder.with_target(false).finish().with(calm()).try_init()
    };
    Ok(())
}

/// Leaves out what the watcher of the configuration's directory says below `info`: that a file changed there,
/// which the log itself may be, so that each line would make the next.
fn calm() -> FilterFn {
    filter_fn(|line| !(line.target().starts_with("notify") && *line.level() > Level::INFO))
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

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn no_level_has_the_log_feed_itself() {
        for (level, expected) in [("trace", "wi."), ("notify::inotify=trace", "wi"), ("off", "")] {
            let lines = Lines::default();
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::try_new(level).unwrap())
                .with_writer(lines.clone())
                .without_time()
                .with_level(false)
                .with_target(false)
                .finish()
                .with(calm());
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(target: "notify::inotify", "w");
                tracing::info!(target: "notify::inotify", "i");
                tracing::debug!(target: "notify::inotify", "d");
                tracing::trace!(target: "notify::inotify", "t");
                tracing::trace!(target: "portcullis", ".");
            });
            let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert_eq!(written.replace('\n', ""), expected, "{level}");
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn causes_are_told_once_each() {
        let told = |inner: &str| Causes(&Outer(io::Error::other(inner.to_owned()))).to_string();
        assert_eq!(told("inner"), "outer: inner");
        assert_eq!(told("outer"), "outer");
    }
}
