//! Files of records: JSON lines or CSV, told apart by name or content.
//!
//! Both end in the same record types, so that what a field may hold is said once. A line that cannot
//! be read is told by its number, and so are all the others.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::config::nearest;

/// Bytes of a line at most.
const MAX_LINE: usize = 64 * 1024;

/// Bad lines that are told; the others are counted.
const MAX_TOLD: usize = 1_000;

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// A line of column names, then one record a line (RFC 4180).
    Csv,
}

impl Format {
    /// By the end of a file's name: `csv`, `jsonl`, `ndjson` or `json`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" | "json" => Some(Self::JsonLines),
            _ => None,
        }
    }

    /// By what the file begins with.
    #[must_use]
    pub fn of_content(bytes: &[u8]) -> Self {
        let first = without_mark(bytes).iter().find(|byte| !byte.is_ascii_whitespace());
        if matches!(first, None | Some(b'{' | b'[')) { Self::JsonLines } else { Self::Csv }
    }
}

/// Something wrong with a line, or with the file as a whole (line 0).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Everything wrong with a file: the first thousand faults in the order of their lines, and how many
/// there are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// The first of them.
    pub told: Vec<Fault>,
    /// All of them.
    pub total: usize,
}

impl Faults {
    pub(super) fn note(&mut self, line: u64, reason: impl fmt::Display) {
        self.total += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(Fault { line, reason: reason.to_string() });
        }
    }

    pub(super) fn none_or<T>(mut self, value: T) -> Result<T, Self> {
        self.told.sort_by_key(|fault| fault.line);
        if self.total == 0 { Ok(value) } else { Err(self) }
    }
}

/// What a column of a CSV file holds. An empty cell is as if it were not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cell {
    /// Text as it is.
    Text,
    /// `true` or `false`, `yes` or `no`, `1` or `0`.
    Flag,
    /// Texts with semicolons between them.
    List,
}

/// The fields of a record, in the order in which they are written.
pub(super) type Columns = [(&'static str, Cell)];

/// Reads records with the number of their lines; notes what cannot be read.
pub(super) fn read<R: DeserializeOwned>(
    bytes: &[u8],
    format: Format,
    columns: &Columns,
    faults: &mut Faults,
) -> Vec<(u64, R)> {
    match format {
        Format::JsonLines => read_json(without_mark(bytes), columns, faults),
        Format::Csv => read_csv(without_mark(bytes), columns, faults),
    }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

fn read_json<R: DeserializeOwned>(
    bytes: &[u8],
    columns: &Columns,
    faults: &mut Faults,
) -> Vec<(u64, R)> {
    let mut records = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if line.len() > MAX_LINE {
            faults.note(number, TOO_LONG);
        } else if line.first() != Some(&b'{') {
            faults.note(number, "not a JSON object; each line is one");
        } else {
            match serde_json::from_slice(line) {
                Ok(record) => records.push((number, record)),
                Err(error) => faults.note(number, told(&error, columns)),
            }
        }
    }
    records
}

const TOO_LONG: &str = "longer than 64 KiB";

/// An error without the place in its line, which the reader of a file has no use for.
fn told(error: &serde_json::Error, columns: &Columns) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    match text.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        Some(name) => unknown(name, columns),
        None => text.to_owned(),
    }
}

fn unknown(name: &str, columns: &Columns) -> String {
    match nearest(name, columns.iter().map(|(known, _)| *known)) {
        Some(near) => format!("there is no field {name:?} (did you mean {near}?)"),
        None => format!("there is no field {name:?}"),
    }
}

fn read_csv<R: DeserializeOwned>(
    bytes: &[u8],
    columns: &Columns,
    faults: &mut Faults,
) -> Vec<(u64, R)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut names: Option<Vec<(String, Cell)>> = None;
    let mut records = Vec::new();
    for row in reader.records() {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                faults.note(line_of(error.position(), bytes), "not UTF-8");
                continue;
            }
        };
        let line = line_of(row.position(), bytes);
        let Some(names) = &names else {
            let Some(header) = header(&row, line, columns, faults) else { return records };
            names = Some(header);
            continue;
        };
        if row.as_slice().len() > MAX_LINE {
            faults.note(line, TOO_LONG);
        } else if row.len() != names.len() {
            faults.note(line, format!("{} cells, not {}", row.len(), names.len()));
        } else {
            match serde_json::from_value(Value::Object(object(&row, names))) {
                Ok(record) => records.push((line, record)),
                Err(error) => faults.note(line, told(&error, columns)),
            }
        }
    }
    records
}

/// The line on which a record begins. The reader counts line ends before it, empty lines and the second
/// half of CR LF, as part of it.
fn line_of(position: Option<&csv::Position>, bytes: &[u8]) -> u64 {
    let Some(position) = position else { return 0 };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let ends = bytes.get(start..).unwrap_or_default().iter();
    let ends = ends.take_while(|byte| matches!(byte, b'\r' | b'\n'));
    (position.line()..)
        .zip(ends.filter(|byte| **byte == b'\n'))
        .last()
        .map_or(position.line(), |(line, _)| line + 1)
}

/// The columns of the file; `None` when one of them is unknown or there twice.
fn header(
    row: &csv::StringRecord,
    line: u64,
    columns: &Columns,
    faults: &mut Faults,
) -> Option<Vec<(String, Cell)>> {
    let mut names: Vec<(String, Cell)> = Vec::new();
    let before = faults.total;
    for name in row.iter().map(str::trim) {
        match columns.iter().find(|(known, _)| *known == name) {
            None => faults.note(line, unknown(name, columns)),
            Some(_) if names.iter().any(|(known, _)| known == name) => {
                faults.note(line, format!("two columns {name:?}"));
            }
            Some((_, cell)) => names.push((name.to_owned(), *cell)),
        }
    }
    (faults.total == before).then_some(names)
}

fn object(row: &csv::StringRecord, names: &[(String, Cell)]) -> Map<String, Value> {
    let cells = names.iter().zip(row).filter(|(_, text)| !text.is_empty());
    cells.map(|((name, cell), text)| (name.clone(), value(*cell, text))).collect()
}

fn value(cell: Cell, text: &str) -> Value {
    let trimmed = text.trim();
    match cell {
        Cell::Text => text.into(),
        Cell::Flag => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => true.into(),
            "false" | "no" | "0" => false.into(),
            _ => text.into(),
        },
        Cell::List => {
            let parts = trimmed.split(';').map(str::trim).filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().into()
        }
    }
}

/// Writes records as they are read.
pub(super) struct Writer<'w> {
    columns: &'static Columns,
    to: Sink<'w>,
}

enum Sink<'w> {
    JsonLines(&'w mut dyn std::io::Write),
    Csv(Box<csv::Writer<&'w mut dyn std::io::Write>>),
}

impl<'w> Writer<'w> {
    /// Begins a file.
    pub(super) fn new(
        to: &'w mut dyn std::io::Write,
        format: Format,
        columns: &'static Columns,
    ) -> std::io::Result<Self> {
        let to = match format {
            Format::JsonLines => Sink::JsonLines(to),
            Format::Csv => {
                let mut to = csv::Writer::from_writer(to);
                to.write_record(columns.iter().map(|(name, _)| *name))?;
                Sink::Csv(Box::new(to))
            }
        };
        Ok(Self { columns, to })
    }

    /// Writes a record, whose fields are among the columns.
    pub(super) fn write(&mut self, record: &impl serde::Serialize) -> std::io::Result<()> {
        match &mut self.to {
            Sink::JsonLines(to) => {
                serde_json::to_writer(&mut *to, record)?;
                to.write_all(b"\n")
            }
            Sink::Csv(to) => {
                let Value::Object(fields) = serde_json::to_value(record)? else { return Ok(()) };
                let fields: BTreeMap<String, Value> = fields.into_iter().collect();
                let cells = self.columns.iter().map(|(name, _)| fields.get(*name).map(text));
                Ok(to.write_record(cells.map(Option::unwrap_or_default))?)
            }
        }
    }

    /// Ends the file.
    pub(super) fn finish(self) -> std::io::Result<()> {
        match self.to {
            Sink::JsonLines(to) => to.flush(),
            Sink::Csv(mut to) => to.flush(),
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(text).collect::<Vec<_>>().join(";"),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use serde::{Deserialize, Serialize};

    use super::*;

    const COLUMNS: &Columns =
        &[("name", Cell::Text), ("is_good", Cell::Flag), ("parts", Cell::List)];

    #[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
    #[serde(deny_unknown_fields)]
    struct Thing {
        name: String,
        is_good: Option<bool>,
        #[serde(default)]
        parts: Vec<String>,
    }

    type Numbered<T> = Vec<(u64, T)>;

    fn read_all(text: &[u8]) -> (Numbered<Thing>, Numbered<String>) {
        let mut faults = Faults::default();
        let things = read(text, Format::of_content(text), COLUMNS, &mut faults);
        let told = faults.none_or(()).err().unwrap_or_default().told;
        (things, told.into_iter().map(|fault| (fault.line, fault.reason)).collect())
    }

    fn thing(name: &str, is_good: Option<bool>, parts: &[&str]) -> Thing {
        let parts = parts.iter().map(|part| (*part).to_owned()).collect();
        Thing { name: name.to_owned(), is_good, parts }
    }

    #[test]
    fn both_formats_say_the_same() {
        let json = "\u{feff}{\"name\":\"a, \\\"b\\\"\",\"is_good\":true,\"parts\":[\"x\",\"y\"]}\r\n\
                    \n{\"name\":\"c\",\"is_good\":null}\n";
        let csv = "\u{feff}parts,name,is_good\r\nx; y;,\"a, \"\"b\"\"\",YES\r\n,c,\n";
        let expected = [thing("a, \"b\"", Some(true), &["x", "y"]), thing("c", None, &[])];
        for (text, lines) in [(json, [1, 3]), (csv, [2, 3])] {
            let (things, told) = read_all(text.as_bytes());
            assert!(told.is_empty(), "{told:?}");
            assert_eq!(things, lines.into_iter().zip(expected.clone()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let things = [thing("a, \"b\"\nc", Some(true), &["x", "y z"]), thing("c", None, &[])];
        for format in [Format::JsonLines, Format::Csv] {
            let mut file = Vec::new();
            let mut writer = Writer::new(&mut file, format, COLUMNS).unwrap();
            for thing in &things {
                writer.write(thing).unwrap();
            }
            writer.finish().unwrap();
            assert_eq!(Format::of_content(&file), format);
            let (read, told) = read_all(&file);
            assert!(told.is_empty(), "{told:?}");
            let read: Vec<Thing> = read.into_iter().map(|(_, thing)| thing).collect();
            assert_eq!(read, things);
        }
    }

    #[test]
    fn every_bad_line_is_told_by_its_number() {
        let long = format!("{{\"name\":\"{}\"}}", "x".repeat(MAX_LINE));
        let json = [
            "{\"name\":\"a\"}",
            "{\"nam\":\"a\"}",
            "{\"name\":\"a\",\"name\":\"b\"}",
            "[1]",
            "{\"name\":1}",
            "{",
            &long,
            "{\"is_good\":true}",
        ];
        let (things, told) = read_all(json.join("\n").as_bytes());
        assert_eq!(things, [(1, thing("a", None, &[]))]);
        let told: Vec<_> = told.iter().map(|(line, reason)| (*line, reason.as_str())).collect();
        let expected = [
            (2, "there is no field \"nam\" (did you mean name?)"),
            (3, "duplicate field `name`"),
            (4, "not a JSON object; each line is one"),
            (5, "invalid type: integer `1`, expected a string"),
            (6, "EOF while parsing an object"),
            (7, "longer than 64 KiB"),
            (8, "missing field `name`"),
        ];
        assert_eq!(told, expected);
        let csv = b"name,is_good\na,maybe\nb\nc,true\n\xff,true\n\"d\ne\",true\n\r\n\nf,1,2\r\n";
        let (things, told) = read_all(csv);
        assert_eq!(things[0], (4, thing("c", Some(true), &[])));
        assert_eq!(things[1], (6, thing("d\ne", Some(true), &[])));
        let told: Vec<_> = told.iter().map(|(line, reason)| (*line, reason.as_str())).collect();
        let expected = [
            (2, "invalid type: string \"maybe\", expected a boolean"),
            (3, "1 cells, not 2"),
            (5, "not UTF-8"),
            (10, "3 cells, not 2"),
        ];
        assert_eq!(told, expected);
        let (things, told) = read_all(b"name,nome,name\na,b,c\n");
        assert!(things.is_empty());
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn of_many_faults_a_thousand_are_told_and_all_are_counted() {
        let mut faults = Faults::default();
        (0..5_000).for_each(|line| faults.note(line, "bad"));
        let faults = faults.none_or(()).unwrap_err();
        assert_eq!((faults.told.len(), faults.total), (1_000, 5_000));
    }
}
