//! A gateway to test: in this process with a clock the test moves, or as the real binary.
//!
//! A test reads as: start a gateway with this YAML and an echo upstream, sign Ann in, advance eight
//! hours, get `/`, expect 303.
//!
//! ```ignore
//! let upstream = Upstream::start();
//! let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
//! let ann = gateway.person("ann").sign_in().await;
//! gateway.advance(Duration::from_secs(8 * 3600));
//! ann.visit("/").send().await.expect(303);
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use portcullis::accounts::{Actor, Draft, Guest, Link, LinkKind, Way};
use portcullis::clock::{Clock, Entropy, Tick, Timestamp};
use portcullis::config::Config;
use portcullis::identity::user::{RoleGrant, User};
use portcullis::server::{self, Running};
use portcullis::store::NewUser;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use uuid::Uuid;

use crate::raw::{Client, PATIENCE};
use crate::upstream::Upstream;

/// Everybody's password.
pub const PASSWORD: &str = "seven lanterns on the quay";

/// A port nobody uses. They are counted up from a place of this process' own, below the range from
/// which the system gives ports to outgoing connections, so that two tests never get the same one and
/// no connection takes it in between.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + u16::try_from(std::process::id() % 40).unwrap() * 500;
    for _ in 0..2_000 {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// How long something takes, in real time.
#[derive(Clone, Debug)]
pub struct Stopwatch(Clock, Tick);

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Self {
        let clock = Clock::system();
        let began = clock.tick();
        Self(clock, began)
    }

    /// The time since it began.
    pub fn elapsed(&self) -> Duration {
        self.0.tick().since(self.1)
    }
}

/// Tells whoever runs the tests a figure that was measured, also when the test passes.
pub fn report(figure: &str) {
    // Nobody to tell is no failure of the test.
    writeln!(std::io::stderr(), "measured: {figure}").unwrap_or_default();
}

/// An e-mail address: `ann` stands for `ann@example.com`.
pub fn email(who: &str) -> String {
    if who.contains('@') { who.to_owned() } else { format!("{who}@example.com") }
}

async fn sign_in(client: Client, who: &str) -> Client {
    let fields = [("username", &*email(who)), ("password", PASSWORD)];
    client.post("/auth/cookie/login").form(&fields).send().await.expect(204);
    client
}

/// A configuration about to be started.
#[derive(Debug)]
pub struct Builder {
    yaml: String,
    environment: BTreeMap<String, String>,
    directory: TempDir,
    clock: Clock,
}

impl Builder {
    fn new(yaml: &str) -> Self {
        Self {
            yaml: yaml.to_owned(),
            environment: BTreeMap::new(),
            directory: tempfile::Builder::new().prefix("portcullis-").tempdir().unwrap(),
            clock: Clock::adjustable(),
        }
    }

    /// Gives the configuration an environment variable: `${NAME}` in the YAML.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Keeps the accounts in this database instead of an SQLite file.
    pub fn postgres(self, url: &str) -> Self {
        let secret = "0f6b2c94e1d87a53c0b9e4f21d6a7835";
        self.key("database", url).key("secret", secret)
    }

    /// Puts another file beside the configuration, for it to include.
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Adds a top-level key whose value is one YAML scalar or flow collection.
    pub fn key(mut self, name: &str, value: &str) -> Self {
        self.yaml = format!("{}\n{name}: {value}\n", self.yaml);
        self
    }

    fn lacks(&self, key: &str) -> bool {
        !self.yaml.lines().any(|line| line.starts_with(&format!("{key}:")))
    }

    /// Writes the file, with listeners on free ports where the YAML names none.
    fn write(&mut self) -> PathBuf {
        for (key, variable) in [("listen", "PORT"), ("management", "MANAGEMENT_PORT")] {
            let port = free_port().to_string();
            let port = self.environment.entry(variable.to_owned()).or_insert(port).clone();
            if self.lacks(key) {
                self.yaml = format!("{key}: \"127.0.0.1:{port}\"\n{}", self.yaml);
            }
        }
        if self.lacks("telemetry") {
            self.yaml.push_str("\ntelemetry: { level: warn, access_log: off }\n");
        }
        let file = self.directory.path().join("portcullis.yaml");
        fs::write(&file, &self.yaml).unwrap();
        file
    }

    /// Starts it in this process.
    pub async fn start(self) -> Gateway {
        self.start_with(|_| {}).await
    }

    /// Starts it in this process with what no file can say.
    pub async fn start_with(mut self, change: impl FnOnce(&mut Config)) -> Gateway {
        let file = self.write();
        let Self { environment, directory, clock, .. } = self;
        let mut config = load(&file, &environment);
        change(&mut config);
        Box::pin(Gateway::start(config, file, environment, directory, clock)).await
    }

    /// Starts the real binary.
    pub async fn spawn(self) -> Process {
        let out = fs::File::create(self.directory.path().join("out")).unwrap();
        self.spawn_to(out.into()).await.0
    }

    /// Starts the real binary with a pipe for its standard output that nobody reads.
    pub async fn spawn_with_unread_output(self) -> (Process, ChildStdout) {
        let (process, pipe) = self.spawn_to(Stdio::piped()).await;
        (process, pipe.unwrap())
    }

    async fn spawn_to(mut self, stdout: Stdio) -> (Process, Option<ChildStdout>) {
        let file = self.write();
        let port = |name: &str| {
            SocketAddr::from(([127, 0, 0, 1], self.environment[name].parse().unwrap()))
        };
        let (address, management) = (port("PORT"), port("MANAGEMENT_PORT"));
        let (out, err) = (self.directory.path().join("out"), self.directory.path().join("err"));
        let mut child = serve(&file, &self.environment, stdout, &err);
        let pipe = child.stdout.take();
        let Self { environment, directory, .. } = self;
        let mut process =
            Process { child, address, management, file, environment, out, err, directory };
        process.wait_until_ready().await;
        (process, pipe)
    }
}

/// Starts the binary; what it says replaces what is in the file `err`.
fn serve(
    file: &Path,
    environment: &BTreeMap<String, String>,
    out: impl Into<Stdio>,
    err: &Path,
) -> Child {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["serve".as_ref(), "-c".as_ref(), file.as_os_str()])
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(fs::File::create(err).unwrap())
        .spawn()
        .unwrap()
}

/// Reads a configuration file as `serve` does, with this environment and no other.
pub fn load(file: &Path, environment: &BTreeMap<String, String>) -> Config {
    portcullis::config::load(file, environment).unwrap_or_else(|found| {
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        panic!("the configuration has mistakes:\n{}", lines.join("\n"))
    })
}

/// A link without the site it begins with.
fn path_of(link: &Link, config: &Config) -> String {
    let site = config.public_url.to_string();
    link.url.expose_secret().strip_prefix(&site).expect("not of this site").to_owned()
}

/// A gateway in this process. Dropping it ends it.
pub struct Gateway {
    pub running: Running,
    /// Its first listener.
    pub address: SocketAddr,
    pub clock: Clock,
    /// The configuration file.
    pub file: PathBuf,
    environment: BTreeMap<String, String>,
    directory: TempDir,
}

impl Gateway {
    /// Begins with a configuration file. What it leaves out of listeners and logging is filled in.
    pub fn builder(yaml: &str) -> Builder {
        Builder::new(yaml)
    }

    /// Starts one in front of an upstream, `${APP}` in the YAML, that answers with an echo.
    pub async fn before_echo(yaml: &str) -> (Upstream, Self) {
        let upstream = Upstream::start();
        let gateway = Self::builder(yaml).with("APP", &upstream.url()).start().await;
        (upstream, gateway)
    }

    async fn start(
        config: Config,
        file: PathBuf,
        environment: BTreeMap<String, String>,
        directory: TempDir,
        clock: Clock,
    ) -> Self {
        let options = server::Options { clock: clock.clone(), entropy: Entropy::system() };
        let running = server::start(config, options).await.expect("the gateway does not start");
        let address = running.addresses[0];
        Self { running, address, clock, file, environment, directory }
    }

    /// Moves both kinds of time forward.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Lets time pass as it would: what is written after an answer is written before, and the
    /// workers, which stamp connections and bodies with the time they last saw, have looked at the
    /// clock after (they do ten times a second).
    pub async fn pass(&self, by: Duration) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.clock.advance(by);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }

    /// Somebody not signed in.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Somebody not signed in who calls `/metrics` and `/health`.
    pub fn management(&self) -> Client {
        Client::new(self.running.management.expect("management is off"))
    }

    /// One figure of `/metrics`, by the start of its line.
    pub async fn metric(&self, line: &str) -> f64 {
        metric(&self.management(), line).await
    }

    /// Describes an account to be made: active, verified, without roles, password [`PASSWORD`].
    pub fn person(&self, who: &str) -> Person<'_> {
        let draft = Draft {
            email: email(who),
            password: Some(PASSWORD.into()),
            is_active: true,
            is_verified: true,
            ..Draft::default()
        };
        Person { gateway: self, draft }
    }

    /// Signs somebody who exists in with a cookie.
    pub async fn sign_in(&self, who: &str) -> Client {
        sign_in(self.client(), who).await
    }

    /// Signs somebody who exists in with a bearer token.
    pub async fn sign_in_with_bearer(&self, who: &str) -> Client {
        let fields = [("username", &*email(who)), ("password", PASSWORD)];
        let answer = self.client().post("/auth/jwt/login").form(&fields).send().await.expect(200);
        self.client().with_bearer(answer.json()["access_token"].as_str().unwrap())
    }

    /// A link of somebody who exists, as it would be mailed, without the site it begins with.
    pub async fn link(&self, who: &str, kind: LinkKind) -> String {
        let people = self.running.accounts().people();
        let user = people.find(&email(who)).await.unwrap().expect("nobody of this name");
        let config = load(&self.file, &self.environment);
        path_of(&people.issue_link(&user, kind, &config).await.unwrap(), &config)
    }

    /// The link by which somebody who is invited makes an account, likewise.
    pub async fn invitation(&self, who: &str) -> String {
        let people = self.running.accounts().people();
        let guest = Guest { email: email(who), ..Guest::default() };
        let invited = people.invite(guest, Way::Hand, &Actor::cli()).await.unwrap().unwrap();
        let config = load(&self.file, &self.environment);
        path_of(&people.invitation_link(&invited, &config).await.unwrap().unwrap(), &config)
    }

    /// Makes an account whose password has a hash of less work than ours (bcrypt); its id.
    pub async fn bring_cheap_hash(&self, who: &str) -> Uuid {
        let id = Entropy::system().uuid();
        let user = NewUser {
            email: email(who),
            email_folded: email(who),
            password_hash: Some(bcrypt::hash(PASSWORD, 4).unwrap()),
            is_active: true,
            is_verified: true,
            ..NewUser::default()
        };
        let event = Actor::cli().event(Timestamp::from_seconds(0), "user-created", Some(id));
        self.running.store().insert_user(id, &user, &event).await.unwrap();
        id
    }

    /// Gives a role until an end, or for good.
    pub async fn grant(&self, who: &str, role: &str, until: Option<Timestamp>) {
        let people = self.running.accounts().people();
        let user = people.find(&email(who)).await.unwrap().expect("nobody of this name");
        let grant = RoleGrant { role: role.to_owned(), until };
        people.grant(user.id, &grant, &Actor::cli()).await.unwrap();
    }

    /// Takes a role away.
    pub async fn revoke(&self, who: &str, role: &str) {
        let people = self.running.accounts().people();
        let user = people.find(&email(who)).await.unwrap().expect("nobody of this name");
        assert!(people.revoke(user.id, role, &Actor::cli()).await.unwrap());
    }

    /// Asks until the status is the one expected: what was changed in the store is in force within a
    /// second.
    pub async fn wait_for(&self, client: &Client, target: &str, status: u16) {
        let mut last = 0;
        for _ in 0..100 {
            last = client.get(target).send().await.status;
            if last == status {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{target} still answers {last}, not {status}");
    }

    /// Edits the configuration file and puts it in force.
    pub fn reload(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.file).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(&self.file, text.replace(from, to)).unwrap();
        self.running.reload(load(&self.file, &self.environment)).unwrap();
    }

    /// Runs a command with the same configuration; `input` is its standard input.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        run_beside(&self.file, &self.environment, arguments, input)
    }

    /// Ends it and starts it again over the same data, with other environment variables.
    pub async fn restart_with(self, changes: &[(&str, &str)]) -> Self {
        let Self { running, clock, file, mut environment, directory, .. } = self;
        running.shutdown().await;
        for (name, value) in changes {
            environment.insert((*name).to_owned(), (*value).to_owned());
        }
        let config = load(&file, &environment);
        Box::pin(Self::start(config, file, environment, directory, clock)).await
    }
}

/// An account about to be made.
pub struct Person<'a> {
    gateway: &'a Gateway,
    pub draft: Draft,
}

impl Person<'_> {
    /// With a role.
    pub fn role(mut self, role: &str) -> Self {
        self.draft.roles.push(role.to_owned());
        self
    }

    /// With an e-mail nobody has verified.
    pub fn unverified(mut self) -> Self {
        self.draft.is_verified = false;
        self
    }

    /// As a superuser.
    pub fn superuser(mut self) -> Self {
        self.draft.is_superuser = true;
        self
    }

    /// With anything else.
    pub fn set(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        change(&mut self.draft);
        self
    }

    /// Makes the account.
    pub async fn create(self) -> User {
        let people = self.gateway.running.accounts().people();
        people.create(self.draft, &Actor::cli()).await.unwrap()
    }

    /// Makes the account and signs in with a cookie.
    pub async fn sign_in(self) -> Client {
        let (gateway, email) = (self.gateway, self.draft.email.clone());
        self.create().await;
        gateway.sign_in(&email).await
    }

    /// Makes the account and signs in with a bearer token.
    pub async fn sign_in_with_bearer(self) -> Client {
        let (gateway, email) = (self.gateway, self.draft.email.clone());
        self.create().await;
        gateway.sign_in_with_bearer(&email).await
    }
}

/// One figure of `/metrics`, by the start of its line: the name with its labels.
pub async fn metric(management: &Client, line: &str) -> f64 {
    let text = management.get("/metrics").send().await.expect(200).text();
    let value = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// The real binary, serving. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    pub child: Child,
    /// Its listener.
    pub address: SocketAddr,
    pub management: SocketAddr,
    /// The configuration file.
    pub file: PathBuf,
    environment: BTreeMap<String, String>,
    out: PathBuf,
    err: PathBuf,
    directory: TempDir,
}

impl Process {
    async fn wait_until_ready(&mut self) {
        let ready = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    panic!("serve ended with {status}: {}", self.stderr());
                }
                if tokio::net::TcpStream::connect(self.management).await.is_ok() {
                    let answer = Client::new(self.management).get("/health/ready").send().await;
                    if answer.status == 200 {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_mins(1), ready).await.is_ok();
        assert!(in_time, "serve is not ready: {}", self.stderr());
    }

    /// Kills it as the system does when it has no memory left, and starts it again over the same data.
    pub async fn kill_and_start_again(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let out = fs::File::create(&self.out).unwrap();
        self.child = serve(&self.file, &self.environment, out, &self.err);
        self.wait_until_ready().await;
    }

    /// Somebody not signed in.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// What it has printed.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// What it has said.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Waits until it has said a word that holds the text.
    pub async fn word_with(&self, text: &str) -> String {
        for _ in 0..500 {
            let said = self.stderr();
            if let Some(word) = said.split_whitespace().find(|word| word.contains(text)) {
                return word.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not say {text}: {}", self.stderr());
    }

    /// The directory of the configuration file and the data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Resident memory in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Sends a signal by name (`TERM`, `HUP`).
    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("bash").args(["-c", &command]).status().unwrap().success());
    }

    /// Waits until it has ended.
    pub async fn wait(&mut self) -> ExitStatus {
        let watch = Stopwatch::start();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(watch.elapsed() < PATIENCE * 3, "serve does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs another command with the same configuration; `input` is its standard input.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        run_beside(&self.file, &self.environment, arguments, input)
    }

    /// Makes an account by the command line.
    pub fn create_user(&self, who: &str, more: &[&str]) {
        let email = email(who);
        let mut arguments = vec!["user", "create", &email, "--password-stdin"];
        arguments.extend(more);
        let output = self.run(&arguments, PASSWORD);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Signs somebody who exists in with a cookie.
    pub async fn sign_in(&self, who: &str) -> Client {
        sign_in(self.client(), who).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

fn run_beside(
    file: &Path,
    environment: &BTreeMap<String, String>,
    arguments: &[&str],
    input: &str,
) -> Output {
    let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    all.extend([OsStr::new("-c"), file.as_os_str()]);
    run(&all, environment, input)
}

/// Runs the binary to its end with nothing in its environment but what is given.
pub fn run<S: AsRef<OsStr>>(
    arguments: &[S],
    environment: &BTreeMap<String, String>,
    input: &str,
) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that does not read its input has closed the pipe: that is no failure of the test.
    stdin.write_all(input.as_bytes()).unwrap_or_default();
    drop(stdin);
    child.wait_with_output().unwrap()
}
