//! Policy and application see the same request: for random and hostile requests, what was decided on is
//! what arrived, told from the bytes that arrived, by parsers and applications of other people.
//!
//! Every case that fails prints its bytes. `PROPTEST_RNG_SEED` repeats a run.

mod applications;
mod heads;
mod naive;
mod parsers;
mod programs;
mod recorded;
mod served;
mod targets;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::harness::Gateway;
use crate::raw::{PATIENCE, Raw, Response};
use crate::upstream::Upstream;

/// Random values. They are not shrunk: each is small, and a failure prints it.
pub fn samples<S: Strategy>(count: usize, strategy: &S) -> Vec<S::Value> {
    let mut runner = TestRunner::new(Config::default());
    let mut sample = || strategy.new_tree(&mut runner).unwrap().current();
    (0..count).map(|_| sample()).collect()
}

/// Bytes as a failure shows them.
pub fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// One connection after the other to a gateway, each used as long as it lasts.
pub struct Line<'a> {
    gateway: &'a Gateway,
    from: &'static str,
    raw: Option<Raw>,
}

impl<'a> Line<'a> {
    /// From an address of this machine.
    pub fn new(gateway: &'a Gateway, from: &'static str) -> Self {
        Self { gateway, from, raw: None }
    }

    /// Sends a request and reads the answer. `None` when there is none.
    pub async fn ask(&mut self, bytes: &[u8]) -> Option<Response> {
        let mut raw = match self.raw.take() {
            Some(raw) => raw,
            None => Raw::connect_from(self.from, self.gateway.address).await,
        };
        // Refused at its first bytes, the rest of a request may find nobody to read it.
        raw.try_send(bytes).await.unwrap_or_default();
        let method = if bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        let answer = raw.try_response(method).await?;
        let is_last = answer.header("connection").is_some_and(|said| said.contains("close"));
        self.raw = Some(raw).filter(|_| !is_last && answer.status != 101);
        Some(answer)
    }
}

/// The lines of a gateway's access log by request id, once it has those of every id.
pub async fn access_lines(gateway: &Gateway, ids: &[String]) -> HashMap<String, Value> {
    let path = gateway.file.parent().unwrap().join("access.log");
    let complete = async {
        loop {
            let lines = read_lines(&path);
            if ids.iter().all(|id| lines.contains_key(id)) {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, complete).await.expect("the access log lacks lines")
}

fn read_lines(path: &Path) -> HashMap<String, Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["request_id"].as_str().unwrap().to_owned(), line)
    };
    whole.lines().map(read).collect()
}

/// What `portcullis COMMAND` prints as JSON of a gateway's configuration; `None` when it refuses.
pub async fn command(
    gateway: &Gateway,
    environment: &[(&str, String)],
    arguments: &[String],
) -> Option<Value> {
    let file = gateway.file.to_string_lossy().into_owned();
    let mut line = vec!["portcullis".to_owned(), "-c".to_owned(), file, "--json".to_owned()];
    line.splice(3..3, arguments.iter().cloned());
    let environment: std::collections::BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let run = move || {
        let out = Printed::default();
        let line = line.into_iter().map(Into::into);
        portcullis::cli::run_in(Arc::new(environment), line, Box::new(out.clone()));
        let text = out.0.lock().unwrap().clone();
        serde_json::from_slice(&text).ok()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// What a command has written.
#[derive(Clone, Default)]
struct Printed(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The recorded heads of several upstreams, each with its upstream's place in the list.
pub fn recorded(upstreams: &[&Upstream]) -> Vec<(usize, Vec<u8>)> {
    let seen = upstreams.iter().enumerate();
    seen.flat_map(|(at, one)| one.seen().into_iter().map(move |seen| (at, seen.head))).collect()
}
