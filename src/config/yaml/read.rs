//! Reading text into the span tree. It finds what a deserialiser would pass over in silence: keys that
//! stand twice, and anchors, aliases, tags and further documents, all of which are refused.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::tree::{At, Entry, Flaw, Item, Node, Position, Scalar, Step, Value};

/// Most bytes of one file.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;
/// Deepest nesting of lists and maps.
const MAX_DEPTH: usize = 48;

/// Reads a document. `None` only when it cannot be read as YAML at all.
pub(crate) fn read(text: &str) -> (Option<Node>, Vec<Flaw>) {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder {
        text,
        events: Parser::new_from_str_with_options(text, options),
        flaws: Vec::new(),
        at: Vec::new(),
    };
    let root = builder.document().ok();
    (root, builder.flaws)
}

/// The text cannot be read any further; the flaw is recorded.
struct Stop;

struct Builder<'a> {
    text: &'a str,
    events: Parser<'a, StrInput<'a>>,
    flaws: Vec<Flaw>,
    at: Vec<Step>,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Stop> {
        let start = Position { line: 1, column: 1 };
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            let position = position(&span);
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::StreamEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    self.flaw(position, "a second document: a file holds exactly one");
                    break;
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.must_next()?;
                    root = Some(self.node(event, &span)?);
                }
                Event::Alias(_)
                | Event::UnresolvedAlias(_)
                | Event::Anchor(..)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd
                | _ => return Err(self.unexpected(position)),
            }
        }
        let empty = Node { at: start, value: Value::Map(Vec::new()) };
        // A file of comments alone is an empty map, as people who start one expect.
        Ok(root.filter(|node| !node.is_null()).unwrap_or(empty))
    }

    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node, Stop> {
        let at = position(span);
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_properties(at, anchor, tag.as_deref());
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                let text = text.into_owned();
                Value::Scalar(Scalar { text, is_plain, variables: Vec::new(), as_plain: false })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_properties(at, anchor, tag.as_deref());
                Value::List(self.items()?)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_properties(at, anchor, tag.as_deref());
                Value::Map(self.entries()?)
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.flaw(at, "aliases are not supported: write the value out");
                Value::Hole
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::SequenceEnd
            | Event::MappingEnd
            | _ => return Err(self.unexpected(at)),
        };
        Ok(Node { at, value })
    }

    fn items(&mut self) -> Result<Vec<Item>, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.must_next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            let index = items.len();
            self.at.push(Step::Item(index));
            let node = self.node(event, &span)?;
            self.at.pop();
            items.push(Item { index, node });
        }
    }

    fn entries(&mut self) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines = BTreeMap::new();
        loop {
            let (event, span) = self.must_next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key_at = position(&span);
            let is_collection = matches!(event, Event::SequenceStart(..) | Event::MappingStart(..));
            let key = match self.node(event, &span)?.value {
                Value::Scalar(scalar) => scalar.text,
                Value::Hole | Value::List(_) | Value::Map(_) => String::new(),
            };
            if is_collection {
                self.flaw(key_at, "a key must be a word, not a list or a map");
            }
            self.at.push(Step::Key(key.clone()));
            let (event, span) = self.must_next()?;
            let node = self.node(event, &span)?;
            if let Some(line) = lines.get(&key).filter(|_| !is_collection) {
                let message = format!("duplicate key, it already stands in line {line}");
                self.flaw(key_at, message);
            } else if !is_collection {
                lines.insert(key.clone(), key_at.line);
                entries.push(Entry { key, key_at, node });
            }
            self.at.pop();
        }
    }

    fn refuse_properties(&mut self, at: Position, anchor: usize, tag: Option<&Tag>) {
        if anchor != 0 {
            self.flaw(at, "anchors are not supported");
        }
        if tag.is_some() {
            self.flaw(at, "tags are not supported");
        }
    }

    fn flaw(&mut self, position: Position, message: impl Into<String>) {
        let path = self.at.iter().cloned().collect::<At>().to_string();
        self.flaws.push(Flaw::new(position, path, message));
    }

    /// The parser promises an order of events; should it break it, the file is refused.
    fn unexpected(&mut self, position: Position) -> Stop {
        self.flaw(position, "not YAML: something else was expected here");
        Stop
    }

    fn must_next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        self.next()?.ok_or(Stop)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Stop> {
        match self.events.next() {
            Some(Ok(found)) => Ok(Some(found)),
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Ok(None),
        }
    }

    fn scan_error(&mut self, error: &ScanError) -> Stop {
        let marker = error.marker();
        let position = Position { line: marker.line().max(1), column: marker.col() + 1 };
        let line = self.text.lines().nth(position.line - 1).unwrap_or_default();
        // YAML's own braces end an unquoted variable inside them: a mistake everybody makes once.
        let hint =
            if line.contains("${") { " (inside { } and [ ] a ${NAME} needs quotes)" } else { "" };
        let message = format!("not YAML: {}{hint}", error.info());
        self.flaws.push(Flaw::new(position, String::new(), message));
        Stop
    }
}

fn position(span: &Span) -> Position {
    Position { line: span.start.line().max(1), column: span.start.col() + 1 }
}
