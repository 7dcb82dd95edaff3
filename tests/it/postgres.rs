//! A real PostgreSQL for the tests: one server for the whole test process, a database for each test.
//!
//! The server is watched over by a shell that waits for the end of its standard input, the other end
//! of which only this process holds: however this process ends, the server is stopped and its files
//! are removed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

/// A running server.
pub struct Postgres {
    address: SocketAddr,
    directory: PathBuf,
    databases: AtomicU32,
    /// Held for its standard input.
    _watchdog: Child,
}

impl Postgres {
    /// The server of this process, started on first use (1.5 s).
    pub fn start() -> &'static Self {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        SERVER.get_or_init(|| Self::start_in(&make_directory()))
    }

    /// A server of a test's own, to be stopped and started. Dropping it stops it.
    pub fn start_alone() -> Self {
        Self::start_in(&make_directory())
    }

    /// A server whose files are below a directory that its user may write.
    pub fn start_in(directory: &Path) -> Self {
        // Between finding a free port and using it somebody else may take it.
        (0..5)
            .find_map(|_| Self::try_start(directory).ok())
            .unwrap_or_else(|| Self::try_start(directory).unwrap())
    }

    /// Stops it at once and with what is under way.
    pub fn stop(&self) {
        self.control("-m fast -w stop");
    }

    /// Starts it after [`Postgres::stop`].
    pub fn start_again(&self) {
        let (options, log) = (options(&self.directory, self.address.port()), "log");
        let log = self.directory.join(log);
        self.control(&format!("-l {} -o '{options}' -w start", log.display()));
    }

    /// Runs `pg_ctl` on it.
    fn control(&self, arguments: &str) {
        let (programs, directory) = (programs(), self.directory.display());
        let script = format!(
            "{}/pg_ctl -D {directory}/data {arguments} >>{directory}/log 2>&1",
            programs.display()
        );
        let done = as_its_user(&script).current_dir(&self.directory).status().unwrap();
        assert!(done.success(), "{script}");
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes an empty database; its URL.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        let options: sqlx::postgres::PgConnectOptions = self.url("postgres").parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        connection.execute(AssertSqlSafe(create)).await.unwrap();
        connection.close().await.unwrap();
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    fn try_start(directory: &Path) -> Result<Self, String> {
        make_writable(directory);
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut child = as_its_user(&script(directory, port))
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Else Ctrl-C would end the watchdog before it has done its work.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.trim() != "ready" {
            child.wait().unwrap();
            return Err(format!("PostgreSQL did not start: {line}"));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let directory = directory.to_path_buf();
        Ok(Self { address, directory, databases: AtomicU32::new(0), _watchdog: child })
    }
}

/// A shell run by the user the server runs as: never root.
fn as_its_user(script: &str) -> Command {
    let mut command = if is_root() {
        let mut su = Command::new("su");
        su.args(["postgres", "-s", "/bin/sh", "-c"]);
        su
    } else {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c");
        shell
    };
    command.arg(script);
    command
}

fn options(directory: &Path, port: u16) -> String {
    format!(
        "-p {port} -k {} -c listen_addresses=127.0.0.1 -c max_connections=300 \
         -c fsync=off -c synchronous_commit=off -c full_page_writes=off",
        directory.display()
    )
}

fn script(directory: &Path, port: u16) -> String {
    let (options, programs) = (options(directory, port), programs());
    let (directory, programs) = (directory.display(), programs.display());
    format!(
        "trap '' INT TERM HUP\n\
         {programs}/initdb -A trust --no-sync -U postgres -E UTF8 --locale=C.UTF-8 \
         -D {directory}/data >{directory}/log 2>&1 \
         && {programs}/pg_ctl -D {directory}/data -l {directory}/log -w start -o \
         '{options}' >>{directory}/log 2>&1 \
         && echo ready && cat >/dev/null || tail -n 3 {directory}/log | tr '\\n' ' '\n\
         {programs}/pg_ctl -D {directory}/data -m immediate -w stop >/dev/null 2>&1\n\
         rm -rf {directory}/data {directory}/log {directory}/.s.* ; rmdir {directory}"
    )
}

/// A directory the server's user can work in; not below anybody's home.
fn make_directory() -> PathBuf {
    tempfile::Builder::new().prefix("portcullis-pg-").tempdir_in("/tmp").unwrap().keep()
}

/// Gives a directory to the server's user.
fn make_writable(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    if is_root() {
        let done = Command::new("chown").arg("postgres").arg(directory).status().unwrap();
        assert!(done.success(), "there is no user called postgres");
    }
}

/// Where Debian puts `initdb` and `pg_ctl`, the newest version first; else what `pg_config` says.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .map(|version| version.path())
        .filter(|version| version.join("bin/initdb").exists())
        .max_by_key(|version| {
            version.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok())
        });
    if let Some(version) = newest {
        return version.join("bin");
    }
    let asked = Command::new("pg_config").arg("--bindir").output();
    let asked = asked.expect("PostgreSQL is not installed");
    PathBuf::from(String::from_utf8(asked.stdout).unwrap().trim())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
