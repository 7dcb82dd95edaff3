//! Races: a role flipped while it is used, on one node, on two and from the command line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis::clock::Tick;

use crate::harness::{Gateway, Process, Stopwatch, report};
use crate::postgres::Postgres;
use crate::raw::{Client, Raw};
use crate::upstream::{CLOCK, Upstream};

const YAML: &str = r#"
upstreams: { app: "${APP}" }
roles: { editor: { permissions: [] } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/editors", upstream: app, allow: { roles: [editor] } }
"#;

/// The documented window: what was changed is in force this soon after the commit.
const WINDOW: Duration = Duration::from_secs(1);
/// Between two changes.
const PAUSE: Duration = Duration::from_millis(5);
/// Changes go on for so long, then the role stays taken for the window and a while.
const STORM: Duration = Duration::from_millis(800);
const CALM: Duration = Duration::from_millis(300);
const ROUNDS: usize = 3;

/// Asks again and again; when each question was put, and its answer.
async fn ask(client: Client, over: Arc<AtomicBool>) -> Vec<(Tick, u16)> {
    let mut answers = Vec::new();
    let mut raw = Raw::connect(client.address()).await;
    while !over.load(Ordering::SeqCst) {
        let asked = CLOCK.tick();
        let status = client.get("/editors").send_on(&mut raw).await.status;
        assert!([200, 403].contains(&status), "{status}");
        answers.push((asked, status));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    answers
}

/// Flips a role for a while and leaves it taken, round after round, while many ask for what it opens.
/// The application's own log says who was let in when: nobody, from the window's end after a commit
/// that took the role until somebody begins to give it again.
async fn flip_under_load(
    name: &str,
    upstream: &Upstream,
    clients: Vec<Client>,
    flip: impl AsyncFn(bool),
) {
    let over = Arc::<AtomicBool>::default();
    let load: Vec<_> =
        clients.iter().map(|client| tokio::spawn(ask(client.clone(), over.clone()))).collect();
    let (mut flips, mut taken, mut last) = (0, Vec::new(), None::<Tick>);
    for _ in 0..ROUNDS {
        let watch = Stopwatch::start();
        while watch.elapsed() < STORM {
            if let Some(from) = last {
                taken.push((from, CLOCK.tick()));
            }
            flip(true).await;
            tokio::time::sleep(PAUSE).await;
            flip(false).await;
            // The commit was no later than this.
            last = Some(CLOCK.tick());
            tokio::time::sleep(PAUSE).await;
            flips += 2;
        }
        tokio::time::sleep(WINDOW + CALM).await;
    }
    taken.extend(last.map(|from| (from, CLOCK.tick())));
    over.store(true, Ordering::SeqCst);
    let mut answers = Vec::new();
    for task in load {
        answers.extend(task.await.unwrap());
    }
    let is_late = |at: Tick| taken.iter().any(|(from, to)| at > from.after(WINDOW) && at < *to);
    let log = upstream.seen();
    let let_in: Vec<_> = log.iter().filter(|seen| seen.target() == "/editors").collect();
    let stale: Vec<_> = let_in.iter().filter(|seen| is_late(seen.arrived)).collect();
    let refused = answers.iter().filter(|(at, status)| *status == 403 && is_late(*at)).count();
    report(&format!("{name}: {flips} flips, {} let in, {refused} refused for good", let_in.len()));
    assert!(stale.is_empty(), "{} let in by a role taken a second ago", stale.len());
    assert!(flips >= 2 * ROUNDS && !let_in.is_empty() && refused > 100, "{flips} {refused}");
    let allowed = answers.iter().filter(|(_, status)| *status == 200).count();
    assert_eq!(allowed, let_in.len(), "every 200 was the application's");
}

#[tokio::test(flavor = "multi_thread")]
async fn rac_05_a_role_flipped_under_load_never_leaves_a_stale_leave_on_one_node() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    gateway.person("ann").create().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(gateway.sign_in("ann").await);
        clients.push(gateway.sign_in_with_bearer("ann").await);
    }
    let gateway = &gateway;
    flip_under_load("SQLite, one process", &upstream, clients, async |is_given| {
        if is_given {
            gateway.grant("ann", "editor", None).await;
        } else {
            gateway.revoke("ann", "editor").await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rac_05_a_role_flipped_on_another_node_never_leaves_a_stale_leave() {
    let upstream = Upstream::start();
    let url = Postgres::start().database().await;
    let builder = || Gateway::builder(YAML).with("APP", &upstream.url()).postgres(&url);
    let (process, other) = (builder().spawn().await, builder().start().await);
    other.person("ann").create().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(process.sign_in("ann").await);
    }
    let other = &other;
    flip_under_load("PostgreSQL, two nodes", &upstream, clients, async |is_given| {
        if is_given {
            other.grant("ann", "editor", None).await;
        } else {
            other.revoke("ann", "editor").await;
        }
    })
    .await;
}

/// Runs a command, which must succeed.
fn run(process: &Process, arguments: &[&str]) {
    let output = process.run(arguments, "");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn rac_05_a_role_flipped_by_the_command_line_never_leaves_a_stale_leave() {
    let upstream = Upstream::start();
    let process = Gateway::builder(YAML).with("APP", &upstream.url()).spawn().await;
    process.create_user("root", &["--superuser"]);
    process.create_user("ann", &[]);
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(process.sign_in("ann").await);
    }
    let process = &process;
    flip_under_load("SQLite, command line", &upstream, clients, async |is_given| {
        let verb = if is_given { "grant" } else { "revoke" };
        tokio::task::block_in_place(|| run(process, &["user", verb, "ann@example.com", "editor"]));
    })
    .await;
}
