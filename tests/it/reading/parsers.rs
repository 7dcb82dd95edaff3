//! The bytes that arrived, read by parsers that are not the gateway's: httparse, the Python standard
//! library, h11 and Node.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::shown;
use crate::browser::python;

/// A head as one parser reads it; bytes beyond ASCII as Latin-1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Read {
    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(known, _): &&(String, String)| known == name;
        self.headers.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    /// The one value of a header.
    #[track_caller]
    pub fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name}: {self:?}");
        all[0]
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Reads a head with httparse. What it refuses fails the test.
pub fn by_httparse(head: &[u8]) -> Read {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    let status = request.parse(head);
    assert_eq!(status, Ok(httparse::Status::Complete(head.len())), "{}", shown(head));
    let pair =
        |header: &httparse::Header<'_>| (header.name.to_ascii_lowercase(), latin1(header.value));
    Read {
        method: request.method.unwrap().to_owned(),
        target: request.path.unwrap().to_owned(),
        headers: request.headers.iter().map(pair).collect(),
    }
}

/// Where the helper programs are.
pub fn servers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/servers")
}

/// Reads heads with every parser of Python and Node: for each head, who reads what.
pub fn by_others(heads: &[Vec<u8>]) -> Vec<BTreeMap<String, Result<Read, String>>> {
    let mut python = Command::new(python());
    python.arg(servers().join("parse.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut node = Command::new("node");
    node.arg(servers().join("parse.mjs"));
    let (python, node) = (run(python, heads), run(node, heads));
    let merge = |(mut one, other): (BTreeMap<_, _>, BTreeMap<_, _>)| {
        one.extend(other);
        one
    };
    python.into_iter().zip(node).map(merge).collect()
}

fn run(mut command: Command, heads: &[Vec<u8>]) -> Vec<BTreeMap<String, Result<Read, String>>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run scripts/test once");
    let mut lines = String::new();
    for head in heads {
        lines.extend(head.iter().map(|byte| format!("{byte:02x}")));
        lines.push('\n');
    }
    let mut stdin = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Vec<_> = text.lines().map(read_answers).collect();
    assert_eq!(found.len(), heads.len());
    found
}

fn read_answers(line: &str) -> BTreeMap<String, Result<Read, String>> {
    let answers: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
    answers.into_iter().map(|(parser, value)| (parser, read_answer(value))).collect()
}

fn read_answer(value: Value) -> Result<Read, String> {
    if let Value::String(complaint) = value {
        return Err(complaint);
    }
    let (method, target, headers) = serde_json::from_value(value).unwrap();
    Ok(Read { method, target, headers })
}

/// Fails the test unless every parser reads a head as httparse does.
pub fn check_agreement(heads: &[Vec<u8>]) {
    for (head, others) in heads.iter().zip(by_others(heads)) {
        let expected = trimmed(by_httparse(head));
        assert_eq!(others.len(), 3, "{others:?}");
        for (parser, read) in others {
            let read = read.map(trimmed);
            assert_eq!(read.as_ref(), Ok(&expected), "{parser} of {}", shown(head));
        }
    }
}

/// White space at the end of a value is none of it (RFC 9110 section 5.5), which not all cut off.
fn trimmed(mut read: Read) -> Read {
    for (_, value) in &mut read.headers {
        *value = value.trim_matches([' ', '\t']).to_owned();
    }
    read
}
