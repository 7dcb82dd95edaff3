//! How far something has come, on a terminal.

use std::io::{self, IsTerminal, Write};

/// A line on standard error that is drawn over and over; nothing at all where that is no terminal.
pub(super) struct Bar {
    is_shown: bool,
    drawn: Option<(String, usize)>,
}

/// Characters of the bar itself.
const WIDTH: usize = 30;

impl Bar {
    /// A bar that is not drawn yet.
    pub(super) fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), drawn: None }
    }

    /// Draws it, if it looks otherwise than before.
    pub(super) fn draw(&mut self, what: &str, done: usize, total: usize) {
        let percent = (done * 100).checked_div(total).unwrap_or(100).min(100);
        if !self.is_shown
            || self.drawn.as_ref().is_some_and(|drawn| *drawn == (what.to_owned(), percent))
        {
            return;
        }
        // A terminal that went away is no reason to stop.
        let _ = write!(io::stderr().lock(), "\r{}", line(what, percent));
        self.drawn = Some((what.to_owned(), percent));
    }
}

fn line(what: &str, percent: usize) -> String {
    let full = percent * WIDTH / 100;
    format!("[{}{}] {percent:3} % {what:<24}", "#".repeat(full), " ".repeat(WIDTH - full))
}

/// Wipes the line away.
impl Drop for Bar {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr().lock(), "\r{:width$}\r", "", width = line("", 0).len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_at_its_end_as_at_its_beginning() {
        assert!(line("reading", 0).starts_with("[          "));
        assert!(line("reading", 50).contains("##  "));
        assert!(line("reading", 100).starts_with(&format!("[{}] 100 %", "#".repeat(WIDTH))));
        assert_eq!(line("reading", 0).len(), line("reading", 100).len());
    }
}
