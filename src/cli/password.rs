//! Passwords for a command: from a prompt or from standard input, never from an argument, which
//! every process on the machine can read.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::failure::Failure;

/// A password given on standard input is at most this many bytes long.
const MAX_BYTES: u64 = 4096;

/// Where a command's password comes from.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct PasswordSource {
    /// Read the password from the first line of standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

impl PasswordSource {
    /// Reads a new password.
    ///
    /// # Errors
    /// [`Failure::Failed`]: nothing to read it from, two different entries, or an empty one.
    pub(super) fn read(self, whose: &str) -> Result<SecretString, Failure> {
        if self.password_stdin { first_line(io::stdin().lock()) } else { ask(whose) }
    }
}

/// Asks on the terminal for something that is no secret.
///
/// # Errors
/// [`Failure::Usage`] without a terminal; `instead` says what to do then.
pub(super) fn ask_openly(question: &str, instead: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(instead.to_owned()));
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}: ")?;
    stderr.flush()?;
    let mut line = String::new();
    io::stdin().lock().take(MAX_BYTES).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn ask(whose: &str) -> Result<SecretString, Failure> {
    let prompt = |text: String| {
        rpassword::prompt_password(text).map(SecretString::from).map_err(|error| {
            Failure::Failed(format!(
                "cannot ask for a password here ({error}); give it with --password-stdin"
            ))
        })
    };
    let first = prompt(format!("Password for {whose}: "))?;
    let second = prompt("The same again: ".to_owned())?;
    if first.expose_secret() != second.expose_secret() {
        return Err(Failure::Failed("the two passwords differ".to_owned()));
    }
    not_empty(first)
}

fn first_line(input: impl Read) -> Result<SecretString, Failure> {
    let mut line = Vec::new();
    let mut input = BufReader::new(input).take(MAX_BYTES + 2);
    let read = input.read_until(b'\n', &mut line);
    read.map_err(|error| Failure::Failed(format!("cannot read the password: {error}")))?;
    let text = String::from_utf8(line)
        .map_err(|_| Failure::Failed("the password is not UTF-8".to_owned()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.len() as u64 > MAX_BYTES {
        return Err(Failure::Failed(format!("the password is over {MAX_BYTES} bytes long")));
    }
    not_empty(SecretString::from(text))
}

fn not_empty(password: SecretString) -> Result<SecretString, Failure> {
    if password.expose_secret().is_empty() {
        return Err(Failure::Failed("no password was given".to_owned()));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_password_is_the_first_line_without_its_end_and_nothing_else_is_cut() {
        let cases = [
            ("secret\n", "secret"),
            ("secret\r\nmore\n", "secret"),
            (" two words ", " two words "),
            ("päss", "päss"),
        ];
        for (input, expected) in cases {
            let read = first_line(input.as_bytes()).unwrap();
            assert_eq!(read.expose_secret(), expected);
        }
    }

    #[test]
    fn an_empty_overlong_or_unreadable_password_is_refused() {
        let long = "x".repeat(5000);
        for input in [&b""[..], b"\n", b"\r\nx", b"\xff\n", long.as_bytes()] {
            assert!(first_line(input).is_err());
        }
    }
}
