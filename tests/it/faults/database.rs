//! The database cut, slow, full, locked by another process, stopped, restarted, removed, replaced.
//!
//! Where it gives no answers: public routes serve on, who is known is let in while that may be believed,
//! nobody else is, and nobody waits for longer than the stated deadlines. Where it cannot be written:
//! everything serves on but signing in.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tempfile::TempDir;

use crate::chaos::Chaos;
use crate::harness::{Builder, Gateway, PASSWORD, Stopwatch, email, report};
use crate::postgres::Postgres;
use crate::raw::Client;
use crate::upstream::Upstream;

const YAML: &str = r#"
sessions: { max_staleness: 1m }
drain: 2s
upstreams: { app: { targets: ["${APP}"], response_timeout: 10m } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public", upstream: app, allow: public }
"#;

/// What is cached is believed for a minute, and no longer than this.
const STALE: Duration = Duration::from_secs(61);
/// A load has one second; the rest is what a busy machine adds.
const LOAD: Duration = Duration::from_millis(2_500);
/// A sign-in has eight seconds for each read and each write.
const SIGN_IN: Duration = Duration::from_secs(10);
/// Once a fault has ended everything works again within this time.
const RECOVERY: Duration = Duration::from_secs(10);

/// A gateway with somebody whose session is cached, and somebody whose session is not.
struct Scene {
    _upstream: Upstream,
    gateway: Gateway,
    ann: Client,
    bob: Client,
}

impl Scene {
    async fn start(with: impl FnOnce(Builder) -> Builder) -> Self {
        let upstream = Upstream::start();
        let builder = Gateway::builder(YAML).with("APP", &upstream.url());
        let gateway = with(builder).start().await;
        let ann = gateway.person("ann").sign_in().await;
        let bob = gateway.person("bob").sign_in_with_bearer().await;
        // What the change log says of the two as new is applied; from then on ann stays cached.
        for _ in 0..2 {
            let mut age = Duration::ZERO;
            while age <= gateway.running.sessions().staleness() {
                age = gateway.running.sessions().staleness();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        ann.get("/x").send().await.expect(200);
        Self { _upstream: upstream, gateway, ann, bob }
    }

    async fn sign_in(&self) -> u16 {
        let fields = [("username", &*email("bob")), ("password", PASSWORD)];
        self.gateway.client().post("/auth/cookie/login").form(&fields).send().await.status
    }

    async fn ready(&self) -> (u16, String) {
        let answer = self.gateway.management().get("/health/ready").send().await;
        (answer.status, answer.text())
    }

    /// What needs no database.
    async fn expect_public(&self) {
        for client in [&self.gateway.client(), &self.ann, &self.bob] {
            client.get("/public").send().await.expect(200);
        }
        self.gateway.client().get("/x").send().await.expect(401);
        self.gateway.client().visit("/auth/login").send().await.expect(200);
        self.gateway.management().get("/health/live").send().await.expect(200);
    }

    /// The database gives no answers.
    async fn expect_no_answers(&self, fault: &str) {
        self.expect_public().await;
        self.ann.get("/x").send().await.expect(200);
        self.expect_unavailable(&self.bob, fault).await;
        let watch = Stopwatch::start();
        assert_eq!(self.sign_in().await, 503, "{fault}");
        assert!(watch.elapsed() < SIGN_IN, "{fault}: {:?}", watch.elapsed());
        self.ann.get("/x").send().await.expect(200);
        self.grow_stale().await;
        self.expect_unavailable(&self.ann, fault).await;
        self.expect_unavailable(&self.bob, fault).await;
        self.expect_public().await;
        let (status, said) = self.ready().await;
        assert!(status == 503 && said.starts_with("store: "), "{fault}: {said}");
    }

    /// Lets what is cached grow too old to be believed.
    async fn grow_stale(&self) {
        self.gateway.clock.advance_monotonic(STALE);
        // The workers have looked at the clock by then; a connection's deadline is set by what they saw.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }

    /// 503, never a pass and never "nobody", soon.
    async fn expect_unavailable(&self, client: &Client, fault: &str) {
        let watch = Stopwatch::start();
        let answer = client.get("/x").send().await;
        assert_eq!(answer.status, 503, "{fault}: {}", answer.text());
        assert!(watch.elapsed() < LOAD, "{fault}: {:?}", watch.elapsed());
        assert!(answer.header("retry-after").is_some(), "{fault}");
    }

    /// Everything works again, without help and soon.
    async fn expect_recovery(&mut self, fault: &str) {
        let watch = Stopwatch::start();
        loop {
            let (status, said) = self.ready().await;
            if status == 200 && !said.contains("store") {
                break;
            }
            assert!(watch.elapsed() < RECOVERY, "{fault}: {said}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for client in [&self.ann, &self.bob] {
            self.gateway.wait_for(client, "/x", 200).await;
        }
        assert_eq!(self.sign_in().await, 204, "{fault}");
        // One that is in no cache.
        self.bob = self.gateway.sign_in("bob").await;
        assert!(watch.elapsed() < RECOVERY, "{fault}: {:?}", watch.elapsed());
    }

    /// The database answers but takes nothing: signing in fails, and nothing else.
    async fn expect_no_writes(&self, fault: &str) {
        let watch = Stopwatch::start();
        assert_eq!(self.sign_in().await, 503, "{fault}");
        assert!(watch.elapsed() < SIGN_IN, "{fault}: {:?}", watch.elapsed());
        let (status, said) = self.ready().await;
        assert!(status == 200 && said.contains("store: the last write failed"), "{fault}: {said}");
        self.expect_public().await;
        // Read anew, not believed.
        self.grow_stale().await;
        for client in [&self.ann, &self.bob] {
            client.get("/x").send().await.expect(200);
        }
    }

    /// Signs in again and again until that fails: then there is no room left.
    async fn sign_in_until_full(&self) {
        for _ in 0..400 {
            match self.sign_in().await {
                204 => {}
                503 => return,
                other => panic!("{other}"),
            }
        }
        panic!("there is room for everything");
    }

    fn database(&self) -> PathBuf {
        self.gateway.file.with_file_name("portcullis.db")
    }
}

/// A database of a server, and its URL through the relay.
async fn through(chaos: &Chaos, server: &Postgres) -> String {
    let url = server.database().await;
    url.replace(&server.address().to_string(), &chaos.address.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_cut_off_or_slower_than_the_deadlines_lets_nobody_new_in() {
    let chaos = Chaos::start(Postgres::start().address());
    let url = through(&chaos, Postgres::start()).await;
    let mut scene = Scene::start(|builder| builder.postgres(&url)).await;
    for fault in ["cut", "slow", "stalled"] {
        match fault {
            "cut" => chaos.cut(),
            "slow" => chaos.slow(Duration::from_millis(1_200)),
            _ => chaos.stall(),
        }
        scene.expect_no_answers(fault).await;
        chaos.restore();
        scene.expect_recovery(fault).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_slow_within_the_deadlines_is_only_slow() {
    let chaos = Chaos::start(Postgres::start().address());
    let url = through(&chaos, Postgres::start()).await;
    let scene = Scene::start(|builder| builder.postgres(&url)).await;
    chaos.slow(Duration::from_millis(60));
    for _ in 0..3 {
        scene.grow_stale().await;
        for client in [&scene.ann, &scene.bob] {
            client.get("/x").send().await.expect(200);
        }
    }
    assert_eq!(scene.sign_in().await, 204);
    assert_eq!(scene.ready().await.0, 200);
}

/// Runs a statement and returns its first cell.
async fn ask(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query(sql).fetch_one(connection).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_another_session_has_locked_let_nobody_new_in_and_pile_nothing_up() {
    let url = Postgres::start().database().await;
    let mut scene = Scene::start(|builder| builder.postgres(&url)).await;
    let mut others = Vec::new();
    for _ in 0..12 {
        others.push(scene.gateway.sign_in("bob").await);
    }
    let options: PgConnectOptions = url.parse().unwrap();
    let (mut locking, mut watching) =
        (options.connect().await.unwrap(), options.connect().await.unwrap());
    locking.execute("BEGIN").await.unwrap();
    let lock = "LOCK TABLE users, sessions, changes, roles IN ACCESS EXCLUSIVE MODE";
    locking.execute(lock).await.unwrap();

    let load = others.into_iter().map(|client| {
        tokio::spawn(async move {
            for _ in 0..6 {
                client.get("/x").send().await.expect(503);
            }
        })
    });
    let load: Vec<_> = load.collect();
    let measured = tokio::spawn(async move {
        let backends = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
        let mut most = 0;
        for task in load {
            while !task.is_finished() {
                most = most.max(ask(&mut watching, backends).await);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            task.await.unwrap();
        }
        most
    });
    scene.expect_no_answers("locked").await;
    // Eight connections, what was given up within the last two seconds, the reader of the change log and
    // the two of this test; not everything that was ever given up.
    let most = measured.await.unwrap();
    report(&format!("locked tables: {most} connections at most"));
    assert!(most <= 32, "{most} connections");
    locking.execute("ROLLBACK").await.unwrap();
    scene.expect_recovery("locked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_is_not_noticed_by_who_is_known_and_found_again() {
    let server = tokio::task::block_in_place(Postgres::start_alone);
    let url = server.database().await;
    let mut scene = Scene::start(|builder| builder.postgres(&url)).await;
    let (ann, over) = (scene.ann.clone(), tokio_util::sync::CancellationToken::new());
    let stop = over.clone();
    let load = tokio::spawn(async move {
        let mut count = 0_u32;
        while !stop.is_cancelled() {
            ann.get("/x").send().await.expect(200);
            count += 1;
        }
        count
    });
    tokio::task::block_in_place(|| {
        server.stop();
        server.start_again();
    });
    scene.expect_recovery("restarted").await;
    over.cancel();
    assert!(load.await.unwrap() > 10);

    tokio::task::block_in_place(|| server.stop());
    scene.expect_no_answers("stopped").await;
    tokio::task::block_in_place(|| server.start_again());
    scene.expect_recovery("stopped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_database_hangs_stops_in_time_all_the_same() {
    let chaos = Chaos::start(Postgres::start().address());
    let url = through(&chaos, Postgres::start()).await;
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url()).postgres(&url);
    let mut process = builder.spawn().await;
    process.create_user("ann", &[]);
    let mut waiting = Vec::new();
    for _ in 0..12 {
        waiting.push(process.sign_in("ann").await);
    }
    chaos.stall();
    let fields = [("username", &*email("ann")), ("password", PASSWORD)];
    let login = process.client().post("/auth/cookie/login").form(&fields).open().await;
    let mut open = vec![login];
    for client in &waiting {
        open.push(client.get("/x").open().await);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let watch = Stopwatch::start();
    process.signal("TERM");
    assert!(process.wait().await.success());
    // Two seconds to drain, and as much for whatever does not hear of it.
    assert!(watch.elapsed() < Duration::from_secs(6), "{:?}", watch.elapsed());
}

/// Moves the database with all that belongs to it.
fn move_database(from: &Path, to: &Path) {
    for end in ["", "-wal", "-shm"] {
        let name = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        if name(from).exists() {
            fs::rename(name(from), name(to)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_file_that_is_gone_or_no_database_lets_nobody_new_in() {
    let mut scene = Scene::start(|builder| builder).await;
    let (path, away) = (scene.database(), scene.database().with_extension("away"));
    for (fault, content) in
        [("gone", None), ("empty", Some("")), ("garbage", Some("no database. ")), ("gone", None)]
    {
        move_database(&path, &away);
        if let Some(content) = content {
            fs::write(&path, content.repeat(1_000)).unwrap();
        }
        scene.expect_no_answers(fault).await;
        move_database(&path, &path.with_extension("other"));
        move_database(&away, &path);
        scene.expect_recovery(fault).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_file_in_the_place_of_the_one_in_use_is_the_one_that_counts() {
    let mut scene = Scene::start(|builder| builder).await;
    let other = Scene::start(|builder| builder).await;
    other.gateway.person("cat").create().await;
    let (theirs, Scene { gateway, .. }) = (other.database(), other);
    let Gateway { running, .. } = gateway;
    running.shutdown().await;
    let (path, away) = (scene.database(), scene.database().with_extension("away"));
    move_database(&path, &away);
    move_database(&theirs, &path);
    let watch = Stopwatch::start();
    for client in [&scene.ann, &scene.bob] {
        scene.gateway.wait_for(client, "/x", 401).await;
    }
    // The bound of every change made by another process.
    assert!(watch.elapsed() < Duration::from_secs(2), "{:?}", watch.elapsed());
    let cat = scene.gateway.sign_in("cat").await;
    cat.get("/x").send().await.expect(200);
    move_database(&path, &theirs);
    move_database(&away, &path);
    scene.expect_recovery("put back").await;
    scene.gateway.wait_for(&cat, "/x", 401).await;
}

/// Another process that holds a lock until it is dropped.
struct Holder(Child);

impl Holder {
    fn lock(database: &Path) -> Self {
        let script = "import sqlite3, sys\n\
             held = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
             held.execute('BEGIN EXCLUSIVE')\n\
             print('held', flush=True)\n\
             sys.stdin.read()";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "held");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_file_that_another_process_has_locked_is_read_and_not_written() {
    let mut scene = Scene::start(|builder| builder).await;
    let holder = tokio::task::block_in_place(|| Holder::lock(&scene.database()));
    scene.expect_no_writes("locked").await;
    drop(holder);
    scene.expect_recovery("locked").await;
}

/// A small file system in memory, gone when dropped. Only root can make one: where the tests are run by
/// somebody else, `sudo` is asked, without a password.
struct Disk(TempDir);

/// A command that has to be root's.
fn as_root(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

impl Disk {
    fn mount(size: &str) -> Self {
        let place = tempfile::Builder::new().prefix("portcullis-disk-").tempdir_in("/tmp").unwrap();
        let options = format!("size={size},mode=777");
        let mut mount = as_root("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place.path());
        let is_mounted = mount.status().is_ok_and(|status| status.success());
        assert!(is_mounted, "a small disk cannot be mounted: be root, or let sudo work");
        Self(place)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = fs::File::create(self.ballast()).unwrap();
        for size in [64 * 1024, 512] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    /// Gives it back.
    fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = as_root("umount").arg("-l").arg(self.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "{} stays", self.path().display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_people_from_signing_in_and_from_nothing_else() {
    let disk = Disk::mount("1m");
    let mut scene =
        Scene::start(|builder| builder.key("data", &format!("\"{}\"", disk.path().display())))
            .await;
    disk.fill();
    scene.sign_in_until_full().await;
    scene.expect_no_writes("full").await;
    disk.empty();
    scene.expect_recovery("full").await;
    scene.gateway.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_server_keeps_people_from_signing_in_and_from_nothing_else() {
    let disk = Disk::mount("128m");
    let directory = disk.path().join("server");
    let server = tokio::task::block_in_place(|| Postgres::start_in(&directory));
    let url = server.database().await;
    let mut scene = Scene::start(|builder| builder.postgres(&url)).await;
    disk.fill();
    scene.sign_in_until_full().await;
    scene.expect_no_writes("full").await;
    disk.empty();
    scene.expect_recovery("full").await;
    scene.gateway.running.shutdown().await;
    let mut done = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    assert!(ask(&mut done, "SELECT count(*) FROM sessions").await > 2);
    done.close().await.unwrap();
}
