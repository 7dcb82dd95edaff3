//! The span tree: a YAML document as maps, lists and scalars, each with its line and column.

use std::collections::BTreeMap;
use std::fmt;

use serde_yaml::Value as Yaml;

/// A place in a file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Where a node stands in the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(Vec<Step>);

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Key(String),
    Item(usize),
}

impl At {
    pub(crate) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    pub(crate) fn item(&self, index: usize) -> Self {
        self.with(Step::Item(index))
    }

    pub(crate) fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl FromIterator<Step> for At {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self(steps.into_iter().collect())
    }
}

/// `routes[1].allow`, as everything else spells it.
impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One node.
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

/// What a node holds.
pub(crate) enum Value {
    /// Something already reported; taken out before the tree is checked.
    Hole,
    Scalar(Scalar),
    List(Vec<Item>),
    Map(Vec<Entry>),
}

/// A member of a list, with its number in the file: items that are taken out leave a gap.
pub(crate) struct Item {
    pub(crate) index: usize,
    pub(crate) node: Node,
}

/// A member of a map.
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Position,
    pub(crate) node: Node,
}

/// A scalar: its text, and what is needed to read it as the type of its field. No `Debug`: the text
/// may be a secret.
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Written without quotes.
    pub(crate) is_plain: bool,
    /// The variables that were put in.
    pub(crate) variables: Vec<String>,
    /// Read a replaced scalar as if its text were written without quotes.
    pub(crate) as_plain: bool,
}

/// What is wrong at a place, before it is known which file.
pub(crate) struct Flaw {
    pub(crate) position: Position,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

impl Flaw {
    pub(crate) fn new(position: Position, path: String, message: impl Into<String>) -> Self {
        Self { position, path, message: message.into(), suggestion: None }
    }
}

impl Node {
    pub(super) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.to_yaml().is_null(),
            Value::Hole | Value::List(_) | Value::Map(_) => false,
        }
    }

    /// The tree as a value, holes left out.
    pub(crate) fn to_yaml(&self) -> Yaml {
        match &self.value {
            Value::Hole => Yaml::Null,
            Value::Scalar(scalar) => scalar.to_yaml(),
            Value::List(items) => {
                Yaml::Sequence(items.iter().map(|item| item.node.to_yaml()).collect())
            }
            Value::Map(entries) => Yaml::Mapping(
                entries
                    .iter()
                    .map(|entry| (Yaml::String(entry.key.clone()), entry.node.to_yaml()))
                    .collect(),
            ),
        }
    }

    /// Takes every hole out.
    pub(crate) fn drop_holes(&mut self) {
        match &mut self.value {
            Value::Hole | Value::Scalar(_) => {}
            Value::List(items) => {
                items.retain(|item| !matches!(item.node.value, Value::Hole));
                for item in items {
                    item.node.drop_holes();
                }
            }
            Value::Map(entries) => {
                entries.retain(|entry| !matches!(entry.node.value, Value::Hole));
                for entry in entries {
                    entry.node.drop_holes();
                }
            }
        }
    }

    /// The node at a place, places counted in the tree as it is now.
    pub(crate) fn find_mut(&mut self, at: &At) -> Option<&mut Self> {
        let mut node = self;
        for step in at.steps() {
            node = match (&mut node.value, step) {
                (Value::Map(entries), Step::Key(key)) => {
                    &mut entries.iter_mut().find(|entry| entry.key == *key)?.node
                }
                (Value::List(items), Step::Item(index)) => &mut items.get_mut(*index)?.node,
                (Value::Hole | Value::Scalar(_) | Value::Map(_) | Value::List(_), _) => {
                    return None;
                }
            };
        }
        Some(node)
    }

    /// Where a place stands in the file, and its key path as the file numbers it. Past the last node
    /// that exists the path goes on and the position stays.
    pub(crate) fn resolve(&self, at: &At) -> (Position, String) {
        let mut node = Some(self);
        let mut position = self.at;
        let mut path = At::default();
        for step in at.steps() {
            let found = match (node.map(|node| &node.value), step) {
                (Some(Value::Map(entries)), Step::Key(key)) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .map(|entry| (entry.place(), step.clone(), &entry.node)),
                (Some(Value::List(items)), Step::Item(index)) => {
                    items.get(*index).map(|item| (item.node.at, Step::Item(item.index), &item.node))
                }
                (_, Step::Key(_) | Step::Item(_)) => None,
            };
            let (here, step, below) = match found {
                Some((here, step, below)) => (here, step, Some(below)),
                None => (position, step.clone(), None),
            };
            position = here;
            path = path.with(step);
            node = below;
        }
        (position, path.to_string())
    }

    /// The node at a place, places counted in the tree as it is now.
    pub(crate) fn find(&self, at: &At) -> Option<&Self> {
        let mut node = self;
        for step in at.steps() {
            node = match (&node.value, step) {
                (Value::Map(entries), Step::Key(key)) => {
                    &entries.iter().find(|entry| entry.key == *key)?.node
                }
                (Value::List(items), Step::Item(index)) => &items.get(*index)?.node,
                (Value::Hole | Value::Scalar(_) | Value::Map(_) | Value::List(_), _) => {
                    return None;
                }
            };
        }
        Some(node)
    }

    /// The keys of the map below a key of the top.
    pub(crate) fn keys_of(&self, key: &str) -> Vec<String> {
        match self.find(&At::default().key(key)).map(|node| &node.value) {
            Some(Value::Map(entries)) => entries.iter().map(|entry| entry.key.clone()).collect(),
            Some(Value::Hole | Value::Scalar(_) | Value::List(_)) | None => Vec::new(),
        }
    }

    /// As [`Self::resolve`], for a key of the map at a place: the key's own position.
    pub(crate) fn resolve_key(&self, at: &At, key: &str) -> (Position, String) {
        let (position, path) = self.resolve(&at.key(key));
        let key_at = match self.find(at).map(|node| &node.value) {
            Some(Value::Map(entries)) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_at)
            }
            Some(Value::Hole | Value::Scalar(_) | Value::List(_)) | None => None,
        };
        (key_at.unwrap_or(position), path)
    }

    /// Every key path with its position.
    pub(crate) fn places(&self) -> BTreeMap<String, (usize, usize)> {
        let mut places = BTreeMap::new();
        places.insert(String::new(), (self.at.line, self.at.column));
        self.add_places(&At::default(), &mut places);
        places
    }

    fn add_places(&self, at: &At, places: &mut BTreeMap<String, (usize, usize)>) {
        let mut add = |at: At, position: Position, node: &Self| {
            places.insert(at.to_string(), (position.line, position.column));
            node.add_places(&at, places);
        };
        match &self.value {
            Value::Hole | Value::Scalar(_) => {}
            Value::List(items) => {
                for item in items {
                    add(at.item(item.index), item.node.at, &item.node);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    add(at.key(&entry.key), entry.place(), &entry.node);
                }
            }
        }
    }
}

impl Entry {
    /// The value's place when it stands in the key's line, else the key's: for a block below its key
    /// people look for the key.
    pub(crate) fn place(&self) -> Position {
        if self.node.at.line == self.key_at.line { self.node.at } else { self.key_at }
    }
}

impl Scalar {
    pub(crate) fn is_replaced(&self) -> bool {
        !self.variables.is_empty()
    }

    fn to_yaml(&self) -> Yaml {
        if self.as_plain || (self.is_plain && !self.is_replaced()) {
            plain(&self.text)
        } else {
            Yaml::String(self.text.clone())
        }
    }
}

/// What a plain scalar means (YAML 1.2 core schema, section 10.3.2; infinities and NaN, which no
/// field takes, stay text).
fn plain(text: &str) -> Yaml {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Yaml::Null,
        "true" | "True" | "TRUE" => return Yaml::Bool(true),
        "false" | "False" | "FALSE" => return Yaml::Bool(false),
        _ => {}
    }
    let based = |prefix, base| {
        text.strip_prefix(prefix)
            .filter(|digits| digits.chars().all(|digit| digit.is_digit(base)))
            .and_then(|digits| u64::from_str_radix(digits, base).ok())
    };
    if let Some(number) = based("0o", 8).or_else(|| based("0x", 16)) {
        return Yaml::Number(number.into());
    }
    let is_number = text.contains(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if !is_number {
        return Yaml::String(text.to_owned());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Yaml::Number(number.into());
    }
    if let Ok(number) = text.parse::<i64>() {
        return Yaml::Number(number.into());
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Yaml::Number(number.into()),
        Ok(_) | Err(_) => Yaml::String(text.to_owned()),
    }
}
