//! Too much of everything at once: connections opened and left, and reloads in the middle of a burst.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{Gateway, Process, Stopwatch, metric, report};
use crate::raw::{Client, Raw};
use crate::upstream::Upstream;

/// Opens connections in another process, since one may hold too few descriptors for both ends of them,
/// and leaves them open: half say nothing, half begin a request.
struct Crowd(Child, Lines<BufReader<ChildStdout>>);

impl Crowd {
    fn start(address: SocketAddr, size: usize) -> Self {
        let script = "import resource, socket, sys\n\
             resource.setrlimit(resource.RLIMIT_NOFILE, \
             (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)\n\
             host, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])\n\
             held = []\n\
             for number in range(size):\n\
             \x20   one = socket.create_connection((host, port), timeout=20)\n\
             \x20   if number % 2: one.sendall(b'GET /x HTTP/1.1\\r\\nHo')\n\
             \x20   held.append(one)\n\
             print('open', flush=True)\n\
             for one in held:\n\
             \x20   one.settimeout(60)\n\
             \x20   try:\n\
             \x20       while one.recv(4096): pass\n\
             \x20   except ConnectionError: pass\n\
             print('closed', flush=True)\n\
             sys.stdin.read()";
        let child = Command::new("python3")
            .args(["-c", script, &address.ip().to_string(), &address.port().to_string()])
            .arg(size.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self(child, lines)
    }
}

/// Waits until each says the word.
fn hear(crowds: &mut [Crowd], word: &str) {
    tokio::task::block_in_place(|| {
        for crowd in crowds {
            assert_eq!(crowd.1.next().unwrap().unwrap(), word);
        }
    });
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// Waits until the gateway has accepted all that wait for it; the most connections it had, and memory.
async fn settle(process: &Process) -> (f64, u64) {
    let (management, mut most, mut memory) = (Client::new(process.management), 0.0, 0);
    loop {
        let open = metric(&management, "portcullis_open_connections").await;
        memory = process.memory_kib().max(memory);
        if open <= most {
            return (most, memory);
        }
        most = open;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_opened_and_left_keep_nobody_waiting_and_end_by_themselves() {
    const CROWD: usize = 10_000;
    /// What they may take, in KiB, the first time and the second: too little for twice.
    const GROWTH: u64 = 250 * 1024;
    let upstream = Upstream::start();
    let yaml = r#"
upstreams: { app: "${APP}" }
routes: [{ path: "/**", upstream: app, allow: public }]
"#;
    let process = Gateway::builder(yaml).with("APP", &upstream.url()).spawn().await;
    let management = Client::new(process.management);
    for _ in 0..100 {
        process.client().get("/x").send().await.expect(200);
    }
    let (memory, files) = (process.memory_kib(), process.descriptors());
    let watch = Stopwatch::start();
    let mut crowd = [0; 2].map(|_| Crowd::start(process.address, CROWD / 2));
    hear(&mut crowd, "open");
    let (open, peak) = settle(&process).await;
    let opened = watch.elapsed();
    // Opening them may have taken so long that the first have ended.
    assert!(open > 5_000.0, "{open} connections after {opened:?}");
    let mut waits = Vec::new();
    for _ in 0..50 {
        let asked = Stopwatch::start();
        process.client().get("/x").send().await.expect(200);
        waits.push(asked.elapsed());
    }
    waits.sort();
    let (median, slowest) = (waits[25], waits[49]);
    assert!(median < Duration::from_millis(200), "a request beside them takes {median:?}");
    assert!(slowest < Duration::from_secs(5), "a request beside them took {slowest:?}");
    hear(&mut crowd, "closed");
    let closed = watch.elapsed();
    // Ten seconds for the first byte or the head, after the last of them was opened.
    assert!(closed < opened + Duration::from_secs(14), "closed {closed:?}, opened {opened:?}");
    while process.descriptors() > files {
        let bound = closed + Duration::from_secs(5);
        assert!(watch.elapsed() < bound, "{} descriptors stay", process.descriptors());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Counted once the connection's task has ended, which may be a moment later.
    while metric(&management, "portcullis_open_connections").await > 0.5 {
        let bound = closed + Duration::from_secs(5);
        assert!(watch.elapsed() < bound, "connections are counted that are gone");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    process.client().get("/x").send().await.expect(200);
    let after = process.memory_kib();
    // The next crowd lives in what the first has left.
    drop(crowd);
    let mut crowd = [0; 2].map(|_| Crowd::start(process.address, CROWD / 2));
    hear(&mut crowd, "open");
    let (_, again) = settle(&process).await;
    drop(crowd);
    let left = Stopwatch::start();
    while metric(&management, "portcullis_open_connections").await > 0.5 {
        assert!(left.elapsed() < Duration::from_secs(5), "connections that were left stay open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    report(&format!(
        "{open} connections open after {opened:?}, all closed after {closed:?}; requests beside them \
         took {median:?}, {slowest:?} at most; memory in KiB before {memory}, with them {peak}, after \
         them {after}, with the next ones {again}"
    ));
    assert!(peak < memory + GROWTH, "memory grew from {memory} to {peak} KiB");
    assert!(again < memory + GROWTH, "memory grew from {peak} to {again} KiB the second time");
}

/// What one state of the file does with a request. Each differs from the others in everything that can
/// be seen, so that a request decided by parts of two would show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    First,
    Second,
    Guarded,
}

impl State {
    fn route(self) -> &'static str {
        match self {
            Self::First => "upstream: first, allow: public, no_store: true",
            Self::Second => "upstream: second, allow: public, no_store: false",
            Self::Guarded => "upstream: first, allow: authenticated",
        }
    }

    fn yaml(self) -> String {
        let route = self.route();
        format!(
            "upstreams:\n  first: \"${{FIRST}}\"\n  \
             second: {{ targets: [\"${{SECOND}}\"], host: upstream }}\n\
             routes:\n  - {{ path: \"/**\", {route} }}\n  \
             - {{ path: /other, upstream: second, allow: public }}\n"
        )
    }

    /// Which state an answer shows, if it shows one.
    fn of(answer: &crate::raw::Response) -> Option<Self> {
        let is_stored = answer.header("cache-control").is_none();
        let text = answer.text();
        let is_preserved = text.contains("\r\nhost: front.example\r\n");
        match (answer.status, answer.header("served-by")) {
            (200, Some("first")) if !is_stored && is_preserved => Some(Self::First),
            (200, Some("second")) if is_stored && !is_preserved => Some(Self::Second),
            (401, None) if answer.json()["login_url"].is_string() => Some(Self::Guarded),
            _ => None,
        }
    }
}

fn named(name: &'static str) -> Upstream {
    let upstream = Upstream::start();
    upstream.at("/x", move |mut exchange| async move {
        exchange.read_body().await;
        let head = exchange.seen.text().to_lowercase();
        exchange.reply("200 OK", &format!("Served-By: {name}\r\n"), head).await.then_some(exchange)
    });
    upstream
}

/// Which state is in force: its number among the reloads before and after the change to it began.
#[derive(Debug, Default)]
struct Progress {
    begun: AtomicUsize,
    done: AtomicUsize,
}

/// Asks again and again, and checks each answer against the states that may have decided on it.
async fn hammer(address: SocketAddr, progress: Arc<Progress>, states: Arc<Vec<State>>) -> usize {
    let client = Client::new(address).with_host("front.example");
    let mut raw = Raw::connect(address).await;
    let mut count = 0;
    while progress.done.load(Ordering::SeqCst) < states.len() - 1 {
        let earliest = progress.done.load(Ordering::SeqCst);
        let answer = client.get("/x").send_on(&mut raw).await;
        let latest = progress.begun.load(Ordering::SeqCst);
        let shown = State::of(&answer);
        let may_be = &states[earliest..=latest];
        assert!(
            shown.is_some_and(|shown| may_be.contains(&shown)),
            "{shown:?}, not one of {may_be:?}: {answer:?}"
        );
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_in_the_middle_of_a_burst_decides_each_request_by_one_state_of_the_file() {
    const CALLERS: usize = 64;
    let (first, second) = (named("first"), named("second"));
    let builder = Gateway::builder(&State::First.yaml()).with("FIRST", &first.url());
    let process = builder.with("SECOND", &second.url()).spawn().await;
    let management = Client::new(process.management);
    let written = fs::read_to_string(&process.file).unwrap();
    let file = |state: State| {
        let (old, new) = (State::First.route(), state.route());
        assert!(written.contains(old), "{written}");
        written.replace(old, new)
    };
    // Twenty changes: valid ones and, in between, ones that must change nothing.
    let mut changes = Vec::new();
    for round in 0..5 {
        changes.push(Some(State::Second));
        changes.push(if round % 2 == 0 { None } else { Some(State::First) });
        changes.push(Some(State::Guarded));
        changes.push(if round % 2 == 0 { Some(State::First) } else { None });
    }
    let mut states = vec![State::First];
    for change in &changes {
        let before = states[states.len() - 1];
        states.push(change.unwrap_or(before));
    }
    let (states, progress) = (Arc::new(states), Arc::new(Progress::default()));
    let load: Vec<_> = (0..CALLERS)
        .map(|_| tokio::spawn(hammer(process.address, progress.clone(), states.clone())))
        .collect();

    let counted =
        |outcome: &str| format!("portcullis_configuration_reloads_total{{outcome=\"{outcome}\"}}");
    let beside = process.file.with_extension("new");
    for (number, change) in changes.iter().enumerate() {
        let outcome = counted(if change.is_some() { "applied" } else { "refused" });
        let before = metric(&management, &outcome).await;
        progress.begun.store(number + 1, Ordering::SeqCst);
        let text = match change {
            Some(state) => file(*state),
            None if number % 4 == 1 => file(State::Guarded).replace("allow:", "alow:"),
            None => "routes: [".to_owned(),
        };
        // As careful editors do it: a file half written would be refused, and that counted.
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, &process.file).unwrap();
        process.signal("HUP");
        let watch = Stopwatch::start();
        while metric(&management, &outcome).await < before + 0.5 {
            assert!(watch.elapsed() < Duration::from_secs(10), "change {number} does not come");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        progress.done.store(number + 1, Ordering::SeqCst);
        let burst = Stopwatch::start();
        while burst.elapsed() < Duration::from_millis(50) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let mut count = 0;
    for task in load {
        count += task.await.unwrap();
    }
    report(&format!("{count} requests of {CALLERS} callers during {} reloads", changes.len()));
    assert!(count > CALLERS * changes.len(), "{count} requests are no burst");
    assert!(metric(&management, "portcullis_panics_total").await < 0.5);
}
