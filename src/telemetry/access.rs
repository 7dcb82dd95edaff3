//! The access log: one line per request, written by a thread of its own.
//!
//! A worker appends its line to a buffer only it fills; the writer takes buffers away ten times a
//! second, or sooner when one is half full. A worker never waits for a slow disk or terminal: when its
//! buffer is full the line is dropped and counted.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crate::clock::Timestamp;

/// Bytes a worker may have waiting.
const BUFFER: usize = 1 << 20;
/// How often the writer looks.
const PERIOD: Duration = Duration::from_millis(100);

/// What one line says.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// When the request's head was read.
    pub at: Timestamp,
    /// Request id.
    pub request_id: &'a str,
    /// Client address as text; `-` when unknown.
    pub client: &'a str,
    /// Method.
    pub method: &'a str,
    /// Normalised host.
    pub host: &'a str,
    /// Path as received, without the query (it may hold tokens).
    pub path: &'a str,
    /// Name of the route, or `portal`, `-`.
    pub route: &'a str,
    /// The rule that decided, as `portcullis routes` writes it; `-` where none did.
    pub rule: &'a str,
    /// What was decided: `allow`, `challenge`, `deny`, `-`.
    pub decision: &'a str,
    /// The caller's id; empty for nobody.
    pub subject: &'a str,
    /// Status of the answer.
    pub status: u16,
    /// From the head read to the head of the answer.
    pub duration: Duration,
    /// From the request sent upstream to the head of its answer; `None` when nothing was sent.
    pub upstream: Option<Duration>,
}

/// Line format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `key=value` pairs.
    Text,
    /// One JSON object.
    Json,
}

/// The access log of a gateway.
#[derive(Debug)]
pub struct AccessLog {
    format: Format,
    shards: Arc<[Mutex<Vec<u8>>]>,
    dropped: AtomicU64,
    stop: Arc<AtomicBool>,
    /// Wakes the writer.
    waker: Thread,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Starts the writer on standard output or a file (appended to, made if missing).
    ///
    /// # Errors
    /// Those of opening the file or starting the thread.
    pub fn start(format: Format, file: Option<&Path>, workers: usize) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match file {
            Some(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
            None => Box::new(io::stdout()),
        };
        let shards: Arc<[Mutex<Vec<u8>>]> = (0..workers.max(1)).map(|_| Mutex::default()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (shards, stop) = (Arc::clone(&shards), Arc::clone(&stop));
            std::thread::Builder::new()
                .name("access-log".into())
                .spawn(move || write_out(&shards, &stop, out))?
        };
        let waker = thread.thread().clone();
        let writer = Mutex::new(Some(thread));
        Ok(Self { format, shards, dropped: AtomicU64::new(0), stop, waker, writer })
    }

    /// Notes a request. Never waits.
    pub fn record(&self, worker: usize, line: &Line<'_>) {
        let Some(shard) = self.shards.get(worker % self.shards.len()) else { return };
        let mut buffer = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.len() >= BUFFER {
            drop(buffer);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_below_half = buffer.len() < BUFFER / 2;
        // Writing to a Vec cannot fail.
        let _infallible = match self.format {
            Format::Text => write_text(&mut *buffer, line),
            Format::Json => write_json(&mut *buffer, line),
        };
        if was_below_half && buffer.len() >= BUFFER / 2 {
            drop(buffer);
            self.waker.unpark();
        }
    }

    /// Lines dropped because the writer could not keep up.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is left and ends the writer.
    pub fn finish(&self) {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.waker.unpark();
            // A writer that panicked has nothing left to write.
            let _panicked = thread.join();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.finish();
    }
}

fn write_out(shards: &[Mutex<Vec<u8>>], stop: &AtomicBool, mut out: Box<dyn Write + Send>) {
    let mut taken = Vec::new();
    loop {
        let last = stop.load(Ordering::SeqCst);
        for shard in shards {
            std::mem::swap(&mut taken, &mut *shard.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                // A closed pipe or a full disk loses lines; the gateway serves on.
                let _lost = out.write_all(&taken);
                taken.clear();
            }
        }
        let _lost = out.flush();
        if last {
            return;
        }
        std::thread::park_timeout(PERIOD);
    }
}

fn write_text(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    let Line { request_id, client, method, host, path, route, rule, decision, subject, .. } = line;
    write!(out, "{} {method} {host}{} {} client={client}", line.at, Escaped(path), line.status)?;
    write!(out, " route={route:?} rule={rule:?} decision={decision} subject={}", dash(subject))?;
    write!(out, " ms={:.3} upstream_ms=", millis(line.duration))?;
    match line.upstream {
        Some(time) => write!(out, "{:.3}", millis(time))?,
        None => out.write_all(b"-")?,
    }
    writeln!(out, " id={request_id}")
}

fn write_json(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    write!(out, "{{\"time\":\"{}\"", line.at)?;
    for (name, text) in [
        ("request_id", line.request_id),
        ("client", line.client),
        ("method", line.method),
        ("host", line.host),
        ("path", line.path),
        ("route", line.route),
        ("rule", line.rule),
        ("decision", line.decision),
        ("subject", line.subject),
    ] {
        write!(out, ",\"{name}\":")?;
        serde_json::to_writer(&mut *out, text)?;
    }
    write!(out, ",\"status\":{},\"duration_ms\":{:.3}", line.status, millis(line.duration))?;
    if let Some(time) = line.upstream {
        write!(out, ",\"upstream_ms\":{:.3}", millis(time))?;
    }
    out.write_all(b"}\n")
}

fn dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A text as printable ASCII without spaces, so that nothing in it breaks the line, hides or shows in
/// another order. An accepted target is that already, but refused targets are logged as well.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            return f.write_str(self.0);
        }
        for c in self.0.chars() {
            if c.is_ascii_graphic() {
                write!(f, "{c}")?;
            } else {
                write!(f, "\\u{{{:x}}}", u32::from(c))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn line() -> Line<'static> {
        Line {
            at: Timestamp::from_seconds(1_700_000_000),
            request_id: "abc",
            client: "192.0.2.1",
            method: "GET",
            host: "app.example.com",
            path: "/a b\n",
            route: "/a/**",
            rule: "{roles: [admin]}",
            decision: "allow",
            subject: "",
            status: 200,
            duration: Duration::from_micros(1500),
            upstream: Some(Duration::from_millis(1)),
        }
    }

    #[test]
    fn a_text_line_cannot_be_broken_by_a_path() {
        let mut out = Vec::new();
        write_text(&mut out, &line()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "2023-11-14T22:13:20Z GET app.example.com/a\\u{20}b\\u{a} 200 client=192.0.2.1 \
             route=\"/a/**\" rule=\"{roles: [admin]}\" decision=allow subject=- ms=1.500 upstream_ms=1.000 id=abc\n"
        );
    }

    #[test]
    fn what_cannot_be_seen_in_a_path_is_escaped() {
        for (path, expected) in [
            ("/a-~!%41", "/a-~!%41"),
            ("/a\u{2028}b\u{2029}", "/a\\u{2028}b\\u{2029}"),
            ("/\u{202e}gpj.exe", "/\\u{202e}gpj.exe"),
            ("/\u{200b}\u{feff}\u{e0041}", "/\\u{200b}\\u{feff}\\u{e0041}"),
            ("/\u{7f}\u{85}\u{a0}\t", "/\\u{7f}\\u{85}\\u{a0}\\u{9}"),
            ("/é", "/\\u{e9}"),
        ] {
            assert_eq!(Escaped(path).to_string(), expected);
        }
    }

    #[test]
    fn a_json_line_is_one_object() {
        let mut out = Vec::new();
        write_json(&mut out, &line()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["path"], "/a b\n");
        assert_eq!(value["upstream_ms"], 1.0);
        assert!(out.ends_with(b"}\n") && !out[..out.len() - 1].contains(&b'\n'));
    }

    #[test]
    fn lines_reach_the_file_and_a_full_buffer_drops_and_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = AccessLog::start(Format::Json, Some(&path), 1).unwrap();
        log.record(0, &line());
        log.shards[0].lock().unwrap().resize(BUFFER, b' ');
        log.record(0, &line());
        log.finish();
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.contains("\"request_id\":\"abc\""));
        assert_eq!(log.dropped() + written.matches("abc").count() as u64, 2);
    }
}
