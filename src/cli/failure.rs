//! How a command fails: what is told on standard error, and the exit code.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use crate::config::Diagnostic;
use crate::store::StoreError;
use crate::telemetry::log::Causes;

/// Exit code of a command line that makes no sense.
pub(super) const USAGE: u8 = 2;
/// Exit code when the store or a listener is unavailable (`EX_UNAVAILABLE` of sysexits).
pub(super) const UNAVAILABLE: u8 = 69;
/// Exit code of a configuration that cannot be used (`EX_CONFIG` of sysexits).
pub(super) const CONFIGURATION: u8 = 78;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The configuration cannot be used: everything wrong with it.
    #[error("{}", count(.0.len()))]
    Configuration(Vec<Diagnostic>),
    /// There is no configuration to use.
    #[error("{0}")]
    NoConfiguration(String),
    /// The store or a listener is unavailable.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// The process's exit code.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => USAGE,
            Self::Configuration(_) | Self::NoConfiguration(_) => CONFIGURATION,
            Self::Unavailable(_) => UNAVAILABLE,
            Self::Failed(_) => 1,
        })
    }

    /// Writes what went wrong, one thing a line.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn write(&self, to: &mut impl io::Write) -> io::Result<()> {
        if let Self::Configuration(diagnostics) = self {
            for diagnostic in diagnostics {
                writeln!(to, "{diagnostic}")?;
            }
        }
        writeln!(to, "portcullis: {self}")
    }

    /// A failure with the causes beneath it, which an operator at a terminal may read.
    pub(super) fn failed(error: &dyn Error) -> Self {
        Self::Failed(Causes(error).to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable(_) | StoreError::Empty | StoreError::Schema(_) => {
                Self::Unavailable(Causes(&error).to_string())
            }
            StoreError::Failed(_) | StoreError::Conflict(_) | StoreError::Corrupt(_) => {
                Self::failed(&error)
            }
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(format!("cannot write the output: {error}"))
    }
}

fn count(errors: usize) -> String {
    match errors {
        1 => "1 error in the configuration".to_owned(),
        n => format!("{n} errors in the configuration"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_the_exit_code_of_the_documentation() {
        let codes = [
            (Failure::Usage(String::new()), 2),
            (Failure::Configuration(Vec::new()), 78),
            (Failure::NoConfiguration(String::new()), 78),
            (Failure::Unavailable(String::new()), 69),
            (Failure::Failed(String::new()), 1),
        ];
        for (failure, code) in codes {
            let got = format!("{:?}", failure.exit_code());
            assert_eq!(got, format!("{:?}", ExitCode::from(code)), "{failure:?}");
        }
    }
}
