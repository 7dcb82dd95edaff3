//! Standard output: lines, tables and JSON. A reader that has gone away is no error: what would
//! have been written is dropped, and the command keeps its own exit code.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

/// Where a command writes what it was asked for.
pub(super) struct Output {
    to: BufWriter<Box<dyn Write>>,
    is_closed: bool,
}

impl Output {
    /// Writes to `to`.
    pub(super) fn new(to: Box<dyn Write>) -> Self {
        Self { to: BufWriter::new(to), is_closed: false }
    }

    /// Writes a value as indented JSON and a line end.
    ///
    /// # Errors
    /// Those of the writer, except that nobody reads.
    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        // Such characters stand within texts alone, where an escape means the same.
        for char in text.chars() {
            if char != '\n' && is_harmful(char) {
                write!(self, "\\u{:04x}", u32::from(char))?;
            } else {
                write!(self, "{char}")?;
            }
        }
        writeln!(self)
    }

    fn note(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            other => other,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_closed {
            let result = self.to.write_all(bytes);
            self.note(result)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let result = self.to.flush();
        self.note(result)
    }
}

/// Rows under headings, as wide as their widest cell.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with its headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row. An empty cell is shown as `-`.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { printable(&cell) };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// Writes the table.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
            }
            writeln!(to, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Text that others wrote, made harmless for a terminal: control and formatting characters are
/// written as escapes.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if is_harmful(char) {
            out.extend(char.escape_unicode());
        } else {
            out.push(char);
        }
    }
    out
}

/// Whether a terminal acts on a character, or shows others in another order for it.
fn is_harmful(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `yes` or `no`.
pub(super) fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_but_a_full_disk_is() {
        let mut gone = Output::new(Box::new(Broken(io::ErrorKind::BrokenPipe)));
        assert!(writeln!(gone, "{}", "x".repeat(100_000)).is_ok());
        assert!(writeln!(gone, "more").is_ok());
        assert!(gone.flush().is_ok());
        let mut full = Output::new(Box::new(Broken(io::ErrorKind::StorageFull)));
        assert!(writeln!(full, "x").is_ok(), "buffered");
        assert!(full.flush().is_err());
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells_and_shows_nothing_a_terminal_would_obey() {
        let mut table = Table::new(&["A", "B"]);
        table.row(vec!["\u{1b}[31mred".to_owned(), String::new()]);
        table.row(vec!["é".to_owned(), "a\u{202e}b".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let lines = ["A              B", "\\u{1b}[31mred  -", "é              a\\u{202e}b", ""];
        assert_eq!(String::from_utf8(out).unwrap(), lines.join("\n"));
    }

    #[test]
    fn json_says_the_same_by_escapes_where_a_terminal_would_obey() {
        let written = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut output = Output::new(Box::new(Shared(std::sync::Arc::clone(&written))));
        let value = serde_json::json!({ "agent": "a\u{9b}31m\u{202e}\u{7f}\u{1b}é" });
        output.json(&value).unwrap();
        output.flush().unwrap();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        assert!(text.chars().all(|char| char == '\n' || !is_harmful(char)), "{text:?}");
        assert!(text.contains('é'), "{text}");
    }

    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
