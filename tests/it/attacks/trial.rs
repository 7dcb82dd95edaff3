//! Hostile connections by the hundred over one gateway: what each sends, what must come back, and what
//! the upstream may have received of it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::ledger::{self, Framing, Received};
use crate::harness::Gateway;
use crate::raw::{Raw, Response};
use crate::upstream::Upstream;

/// How many connections are played at a time.
const AT_ONCE: usize = 16;
/// Time for the gateway to read one piece apart from the next. Nothing depends on whether it does.
const PAUSE: Duration = Duration::from_millis(1);

/// A gateway, its recording upstream, and a word for each trial by which its requests are known.
pub struct Bench {
    pub upstream: Upstream,
    pub gateway: Gateway,
    next: AtomicUsize,
}

/// What becomes of the client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It is closed; what was sent behind is answered by nobody.
    Closed,
    /// It serves the next request.
    Kept,
    /// Either, as long as nothing else is answered.
    Any,
}

/// A request the upstream has to receive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forwarded {
    pub method: String,
    pub target: String,
    pub framing: Framing,
    pub body: Vec<u8>,
}

/// What the upstream has to receive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Upstreamed {
    /// Exactly these, in any order (a pipelined one may go on another connection).
    Exactly(Vec<Forwarded>),
    /// At most one, to this target, whose body breaks off.
    AtMostCut(String),
}

/// One hostile connection.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What is tried, for the message.
    pub what: String,
    /// Its word, which stands in each of its targets.
    pub word: String,
    /// The bytes, piece by piece.
    pub pieces: Vec<Vec<u8>>,
    /// The methods of the requests it sends, to read the answers by.
    pub methods: Vec<String>,
    /// The answers.
    pub statuses: Vec<u16>,
    /// One more answer that may come before the end: what follows was read as a request, or was not.
    pub maybe: Option<u16>,
    pub end: End,
    pub upstreamed: Upstreamed,
}

impl Trial {
    /// A trial that the gateway refuses outright: one answer, the end, and nothing went upstream.
    pub fn refused(word: &str, what: &str, status: u16, pieces: Vec<Vec<u8>>) -> Self {
        Self {
            what: what.to_owned(),
            word: word.to_owned(),
            pieces,
            methods: vec!["POST".to_owned()],
            statuses: vec![status],
            maybe: None,
            end: End::Closed,
            upstreamed: Upstreamed::Exactly(Vec::new()),
        }
    }

    /// A trial that is forwarded as one request and answered 200.
    pub fn passed(word: &str, what: &str, forwarded: Forwarded, pieces: Vec<Vec<u8>>) -> Self {
        Self {
            what: what.to_owned(),
            word: word.to_owned(),
            pieces,
            methods: vec![forwarded.method.clone()],
            statuses: vec![200],
            maybe: None,
            end: End::Kept,
            upstreamed: Upstreamed::Exactly(vec![forwarded]),
        }
    }

    pub fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    pub fn by(mut self, method: &str) -> Self {
        self.methods = vec![method.to_owned()];
        self
    }
}

impl Forwarded {
    pub fn bare(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, framing: Framing::Bare, body: Vec::new() }
    }

    pub fn sized(method: &str, target: &str, body: &[u8]) -> Self {
        Self {
            framing: Framing::Length(body.len()),
            body: body.to_vec(),
            ..Self::bare(method, target)
        }
    }

    pub fn chunked(method: &str, target: &str, body: &[u8]) -> Self {
        Self { framing: Framing::Chunked, body: body.to_vec(), ..Self::bare(method, target) }
    }
}

/// What came of a trial.
struct Outcome {
    answers: Vec<Response>,
    is_kept: bool,
}

impl Bench {
    /// Starts both.
    pub async fn start(yaml: &str) -> Self {
        let upstream = Upstream::start();
        let gateway = Gateway::builder(yaml).with("APP", &upstream.url()).start().await;
        Self { upstream, gateway, next: AtomicUsize::new(0) }
    }

    /// A word nobody else uses.
    pub fn word(&self) -> String {
        format!("w{}w", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Plays every trial and fails with all that did not end as they must.
    pub async fn play(&self, trials: Vec<Trial>) {
        assert!(!trials.is_empty());
        let played = stream::iter(trials)
            .map(|trial| async {
                let outcome = self.play_one(&trial).await;
                (trial, outcome)
            })
            .buffer_unordered(AT_ONCE);
        let played: Vec<_> = played.collect().await;
        let received = self.received();
        let mut faults = String::new();
        let mut by_word: HashMap<&str, Vec<&Received>> = HashMap::new();
        for received in received.iter().filter(|r| !r.target.starts_with("/probe/")) {
            by_word.entry(word_in(&received.target)).or_default().push(received);
        }
        for (trial, outcome) in &played {
            let mine = by_word.get(&*trial.word).cloned().unwrap_or_default();
            if let Some(fault) = fault_of(trial, outcome, &mine) {
                writeln!(faults, "{}: {fault}", trial.what).unwrap();
            }
        }
        assert!(faults.is_empty(), "of {} trials:\n{faults}", played.len());
    }

    /// Everything the upstream has received.
    pub fn received(&self) -> Vec<Received> {
        ledger::read(&self.upstream.tapes())
    }

    async fn play_one(&self, trial: &Trial) -> Outcome {
        let mut raw = Raw::connect(self.gateway.address).await;
        send_pieces(&mut raw, &trial.pieces).await;
        let mut answers = Vec::new();
        for method in &trial.methods {
            let Some(answer) = next_answer(&mut raw, method).await else {
                return Outcome { answers, is_kept: false };
            };
            answers.push(answer);
        }
        let probe = format!("/probe/{}", trial.word);
        let request = format!("GET {probe} HTTP/1.1\r\nHost: a\r\n\r\n");
        raw.try_send(request.as_bytes()).await.unwrap_or_default();
        while let Some(answer) = next_answer(&mut raw, "GET").await {
            if answer.text().starts_with(&format!("GET {probe} HTTP/1.1\r\n")) {
                return Outcome { answers, is_kept: true };
            }
            answers.push(answer);
        }
        Outcome { answers, is_kept: false }
    }
}

/// The word in a target, between the characters that no word holds.
fn word_in(target: &str) -> &str {
    let is_word = |part: &&str| {
        part.len() > 2
            && part.starts_with('w')
            && part.ends_with('w')
            && part[1..part.len() - 1].bytes().all(|byte| byte.is_ascii_digit())
    };
    target.split(|c: char| !c.is_ascii_alphanumeric()).find(is_word).unwrap_or_default()
}

/// Sends pieces one by one. The gateway may hang up before the last.
pub async fn send_pieces(raw: &mut Raw, pieces: &[Vec<u8>]) {
    for (index, piece) in pieces.iter().enumerate() {
        if index > 0 && pieces.len() < 12 {
            tokio::time::sleep(PAUSE).await;
        }
        if raw.try_send(piece).await.is_err() {
            return;
        }
    }
}

async fn next_answer(raw: &mut Raw, method: &str) -> Option<Response> {
    loop {
        let answer = raw.try_response(method).await?;
        if answer.status != 100 {
            return Some(answer);
        }
    }
}

fn fault_of(trial: &Trial, outcome: &Outcome, received: &[&Received]) -> Option<String> {
    let statuses: Vec<_> = outcome.answers.iter().map(|answer| answer.status).collect();
    let with_more: Vec<_> = trial.statuses.iter().copied().chain(trial.maybe).collect();
    if statuses != trial.statuses && statuses != with_more {
        return Some(format!("answered {statuses:?}, not {:?}", trial.statuses));
    }
    let is_kept = outcome.is_kept;
    if trial.end == End::Closed && is_kept || trial.end == End::Kept && !is_kept {
        return Some(format!("must be {:?}, but kept is {is_kept}", trial.end));
    }
    let forwarded = |received: &&Received| Forwarded {
        method: received.method.clone(),
        target: received.target.clone(),
        framing: received.framing,
        body: received.body.clone(),
    };
    match &trial.upstreamed {
        Upstreamed::Exactly(expected) => {
            let found: Vec<_> = received.iter().map(forwarded).collect();
            let is_same = found.len() == expected.len()
                && expected.iter().all(|one| found.contains(one))
                && received.iter().all(|one| one.is_whole);
            (!is_same).then(|| format!("the upstream received {found:?}, not {expected:?}"))
        }
        Upstreamed::AtMostCut(target) => {
            let is_cut = |one: &&Received| one.target == *target && !one.is_whole;
            let is_so = received.len() < 2 && received.iter().all(is_cut);
            (!is_so).then(|| format!("the upstream received {received:?}, nothing whole expected"))
        }
    }
}

/// How the bytes of a request come: the same bytes in the same order, in other pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// In one piece.
    Whole,
    /// Line by line.
    Lines,
    /// Cut between the two bytes of every line's end.
    Seams,
    /// In two, somewhere in the middle.
    Halves,
    /// Each byte by itself.
    Bytes,
}

/// Every manner.
pub const MANNERS: [Manner; 5] =
    [Manner::Whole, Manner::Lines, Manner::Seams, Manner::Halves, Manner::Bytes];

/// Cuts bytes into pieces.
pub fn cut(bytes: &[u8], manner: Manner) -> Vec<Vec<u8>> {
    match manner {
        Manner::Whole => vec![bytes.to_vec()],
        Manner::Lines => split_after(bytes, b'\n'),
        Manner::Seams => split_after(bytes, b'\r'),
        Manner::Halves => {
            let (one, other) = bytes.split_at(bytes.len() / 2);
            vec![one.to_vec(), other.to_vec()]
        }
        Manner::Bytes => bytes.iter().map(|byte| vec![*byte]).collect(),
    }
}

fn split_after(bytes: &[u8], mark: u8) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == mark).map(<[u8]>::to_vec).collect()
}

/// The turns of a generator: of a list, another member for each trial.
pub fn turn<T: Copy>(list: &[T], index: usize) -> T {
    list[index % list.len()]
}
