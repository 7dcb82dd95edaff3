//! JSON from outside, read so that it means one thing: an object in which a member stands twice is refused
//! at any depth, where the library would take the last.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads one JSON value. Depth has the library's bound of 128.
///
/// # Errors
/// The library's, with the place: for what is no JSON, and where a member stands twice.
pub fn read(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Strict>(text).map(|strict| strict.0)
}

/// Reads one JSON object; `None` for anything else.
#[must_use]
pub fn read_object(text: &[u8]) -> Option<Map<String, Value>> {
    match read(text).ok()? {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    }
}

/// A member that is text.
#[must_use]
pub fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// What stands under a name, or under names joined by dots. A name that holds dots itself comes first:
/// claims are often named by an address.
#[must_use]
pub fn find<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    object.get(path).or_else(|| {
        let (first, rest) = path.split_once('.')?;
        find(object.get(first)?.as_object()?, rest)
    })
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_member_that_stands_twice_is_refused_at_any_depth() {
        let refused: [&[u8]; 7] = [
            br#"{"a":1,"a":1}"#,
            br#"{"a":{"b":1,"b":2}}"#,
            br#"[{"b":1,"\u0062":2}]"#,
            br#"{"a":1} x"#,
            br#"{"a":1,}"#,
            b"{\"a\":\"\xff\"}",
            b"",
        ];
        for text in refused {
            assert!(read(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert!(read("[".repeat(100_000).as_bytes()).is_err());
        let read = read(br#"{"a":[1,-2,0.5,null,true,"x",{"a":1}]}"#).unwrap();
        assert_eq!(read, serde_json::json!({"a": [1, -2, 0.5, null, true, "x", {"a": 1}]}));
    }

    #[test]
    fn a_path_goes_down_by_dots_unless_the_whole_is_a_name() {
        let text = br#"{"a":{"b":1,"c.d":2},"a.b":3,"https://x.example/groups":4,"l":[1]}"#;
        let object = read_object(text).unwrap();
        let cases = [
            ("a.b", Some(3)),
            ("a.c.d", Some(2)),
            ("https://x.example/groups", Some(4)),
            ("a.x", None),
            ("l.0", None),
            ("", None),
        ];
        for (path, expected) in cases {
            assert_eq!(find(&object, path).and_then(Value::as_i64), expected, "{path}");
        }
    }
}
