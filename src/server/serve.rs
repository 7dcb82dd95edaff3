//! `serve`: the gateway as a process, with its signals and its configuration file.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::accept;
use super::examine::{Examined, examine};
use super::start::{Options, Running, StartError, start};
use crate::config::{Config, Diagnostic, Environment, LogFormat, Sources};
use crate::identity::access::Interner;
use crate::identity::keys::sha256;
use crate::telemetry::log;

/// How long a changing file is left to settle.
const SETTLE: Duration = Duration::from_millis(200);
/// Fewer file descriptors than this are worth a word: the system's usual limit is one.
const FEW_DESCRIPTORS: u64 = 4096;
/// Largest file that is looked at for changes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Why the gateway did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration cannot be used.
    #[error("the configuration cannot be used")]
    Configuration(Vec<Diagnostic>),
    /// `telemetry.level` is no filter.
    #[error("the log cannot be set up")]
    Log(#[from] log::InvalidFilter),
    /// It did not start.
    #[error("the gateway did not start")]
    Start(#[from] StartError),
    /// Threads, signals or standard error are not to be had.
    #[error("the process cannot be set up")]
    Process(#[from] io::Error),
}

/// Runs the gateway until SIGTERM or SIGINT. SIGHUP and a changed file reload the configuration.
///
/// # Errors
/// [`ServeError`].
pub fn serve(path: &Path, env: Arc<dyn Environment + Send + Sync>) -> Result<(), ServeError> {
    let examined =
        examine(path, env.as_ref(), &Interner::default()).map_err(ServeError::Configuration)?;
    let telemetry = &examined.config.telemetry;
    log::init(&telemetry.level, telemetry.format == LogFormat::Json)?;
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(run(path, env, examined));
    // Whatever still runs here is not waited for: the drain is over.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// Takes as many file descriptors as the system allows: every request may need two.
fn raise_descriptors() {
    let wanted = 2 * accept::CONNECTIONS as u64 + 256;
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|now| now < allowed) {
        let raised = Rlimit { current: Some(allowed), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of file descriptors could not be raised");
        }
    }
    if allowed < FEW_DESCRIPTORS {
        tracing::warn!(
            "only {allowed} file descriptors are allowed, enough for about {} connections at a time: \
             raise `ulimit -n`",
            allowed / 2
        );
    }
}

async fn run(
    path: &Path,
    env: Arc<dyn Environment + Send + Sync>,
    examined: Examined,
) -> Result<(), ServeError> {
    let Examined { config, warnings, .. } = examined;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut watched = Watched::new(&config.sources)?;
    let link = format!("{}{}/setup", config.public_url, config.portal.path);
    let running = start(config, Options::default()).await?;
    greet(&running, &link).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {}
            () = watched.changed() => {}
        }
        reload(&running, path, env.as_ref(), &mut watched);
    }
    tracing::info!("draining");
    running.shutdown().await;
    Ok(())
}

/// Tells the operator where the gateway listens and how the first administrator is set up.
async fn greet(running: &Running, link: &str) -> Result<(), ServeError> {
    for address in &running.addresses {
        tracing::info!(listen.address = %address, "listening");
    }
    if let Some(set_up) = running.set_up_link().await.map_err(StartError::from)? {
        let token = set_up.token.expose_secret();
        let mut err = io::stderr().lock();
        writeln!(err, "There is no administrator yet. Set one up within an hour:")?;
        writeln!(err, "  {link}?token={token}")?;
    }
    Ok(())
}

fn reload(running: &Running, path: &Path, env: &dyn Environment, watched: &mut Watched) {
    match examine(path, env, &Interner::default()) {
        Ok(examined) => {
            for warning in &examined.warnings {
                tracing::warn!("{warning}");
            }
            watched.follow(&examined.config.sources);
            apply(running, examined.config);
        }
        Err(diagnostics) => {
            for diagnostic in &diagnostics {
                tracing::error!("{diagnostic}");
            }
            let first = diagnostics.first().map(ToString::to_string).unwrap_or_default();
            running.refuse_reload(&first);
        }
    }
}

fn apply(running: &Running, config: Config) {
    match running.reload(config) {
        Ok(_) => tracing::info!("the configuration was reloaded"),
        Err(error) => tracing::error!(%error, "the configuration was not reloaded"),
    }
}

/// The configuration's files, watched by their directories: editors and orchestrators replace files.
struct Watched {
    watcher: RecommendedWatcher,
    changed: Arc<Notify>,
    files: Vec<PathBuf>,
    directories: HashSet<PathBuf>,
    fingerprint: [u8; 32],
}

impl Watched {
    fn new(sources: &Sources) -> io::Result<Self> {
        let changed = Arc::new(Notify::new());
        let notified = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // The data directory is often the same one: its files are not configuration.
            if event.is_ok_and(|event| event.paths.iter().any(|path| may_matter(path))) {
                notified.notify_one();
            }
        })
        .map_err(io::Error::other)?;
        let (files, directories) = (Vec::new(), HashSet::new());
        let mut made = Self { watcher, changed, files, directories, fingerprint: [0; 32] };
        made.follow(sources);
        Ok(made)
    }

    /// Watches what the configuration is made of now.
    fn follow(&mut self, sources: &Sources) {
        self.files = sources.files().map(Path::to_path_buf).collect();
        for directory in sources.directories() {
            if self.directories.contains(&directory) {
                continue;
            }
            match self.watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(directory);
                }
                Err(error) => tracing::warn!(%error, "a directory cannot be watched"),
            }
        }
        self.fingerprint = self.read();
    }

    /// Waits until a file of the configuration has changed and settled.
    async fn changed(&mut self) {
        loop {
            self.changed.notified().await;
            while tokio::time::timeout(SETTLE, self.changed.notified()).await.is_ok() {}
            let now = self.read();
            if std::mem::replace(&mut self.fingerprint, now) != now {
                return;
            }
        }
    }

    /// What the files hold, and which others lie beside them, as one digest.
    fn read(&self) -> [u8; 32] {
        let mut all = Vec::new();
        for file in &self.files {
            // A file that cannot be read changes the digest as well: its reload says why.
            let content = match fs::metadata(file) {
                Ok(metadata) if metadata.len() <= LARGEST => fs::read(file).unwrap_or_default(),
                Ok(_) | Err(_) => Vec::new(),
            };
            all.extend_from_slice(&sha256(&content));
        }
        let mut beside: Vec<PathBuf> =
            self.directories.iter().flat_map(|d| yaml_files(d)).collect();
        beside.sort();
        for path in beside {
            all.extend_from_slice(&sha256(path.as_os_str().as_encoded_bytes()));
        }
        sha256(&all)
    }
}

fn may_matter(path: &Path) -> bool {
    let is_yaml =
        path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    // Kubernetes swaps a link named `..data`.
    let is_swap = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    is_yaml || is_swap
}

fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| may_matter(path)).collect()
}
