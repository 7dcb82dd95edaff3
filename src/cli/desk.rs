//! What a command works with: the configuration it was pointed at, the store, the accounts, and
//! where its answer goes.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::failure::Failure;
use super::output::Output;
use crate::accounts::{Actor, People};
use crate::clock::{Clock, Entropy};
use crate::config::{self, Config, Environment};
use crate::identity::access::{Interner, RoleBook};
use crate::identity::hashing::Hasher;
use crate::policy::declared_grants;
use crate::server::examine::{self, Examined};
use crate::store::{Event, Migrate, RoleRow, Store, StoreError};
use crate::telemetry::log::Causes;

/// Where the configuration is looked for first when nothing names it, and where `init` writes one.
pub(super) const LOCAL_FILE: &str = "portcullis.yaml";
/// The variable that names the configuration file.
const VARIABLE: &str = "PORTCULLIS_CONFIG";

/// What a command works with.
pub(super) struct Desk {
    /// How the program was called, for commands that people are told to type.
    pub(super) program: String,
    named: Option<PathBuf>,
    /// The environment.
    pub(super) env: Arc<dyn Environment + Send + Sync>,
    /// Standard output.
    pub(super) out: Output,
    /// Time.
    pub(super) clock: Clock,
    /// Randomness.
    pub(super) entropy: Entropy,
}

impl Desk {
    /// A desk for one command; `named` is the file after `-c`.
    pub(super) fn new(
        program: String,
        named: Option<PathBuf>,
        env: Arc<dyn Environment + Send + Sync>,
        out: Output,
    ) -> Self {
        let (clock, entropy) = (Clock::system(), Entropy::system());
        Self { program, named, env, out, clock, entropy }
    }

    /// Uses this configuration from now on.
    pub(super) fn point_at(&mut self, file: PathBuf) {
        self.named = Some(file);
    }

    /// The file named by `-c` or the environment, whether it exists or not.
    pub(super) fn named_file(&self) -> Option<PathBuf> {
        let variable = || self.env.get(VARIABLE).filter(|value| !value.is_empty());
        self.named.clone().or_else(|| variable().map(PathBuf::from))
    }

    /// The configuration file to use.
    ///
    /// # Errors
    /// [`Failure::NoConfiguration`] when nothing names one and none is where one is looked for.
    pub(super) fn file(&self) -> Result<PathBuf, Failure> {
        config::find_file(self.named.as_deref(), self.env.as_ref()).map_err(|error| {
            Failure::NoConfiguration(format!("{error}; `portcullis init` makes one"))
        })
    }

    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// [`Failure::NoConfiguration`] and [`Failure::Configuration`].
    pub(super) fn examine(&self) -> Result<Examined, Failure> {
        let file = self.file()?;
        examine::examine(&file, self.env.as_ref(), &Interner::default())
            .map_err(Failure::Configuration)
    }

    /// Opens the store for changing it: a missing or empty database is made.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub(super) async fn open(&self, config: &Config) -> Result<Store, Failure> {
        self.open_with(config, Migrate::CreateOnly).await
    }

    /// Opens the store for reading it. `None` when there is no database yet, so nothing to read.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub(super) async fn open_to_read(&self, config: &Config) -> Result<Option<Store>, Failure> {
        match Store::open(&config.database, Migrate::Never, self.clock.clone()).await {
            Ok(store) => Ok(Some(store)),
            Err(StoreError::Empty) => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Opens the store for changing it, or, where that is only tried, for reading what there is: where there is
    /// no database yet, an empty one in memory.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub(super) async fn open_or_try(
        &self,
        config: &Config,
        is_trial: bool,
    ) -> Result<Store, Failure> {
        if !is_trial {
            return self.open(config).await;
        }
        match self.open_to_read(config).await? {
            Some(store) => Ok(store),
            None => Ok(Store::in_memory(self.clock.clone()).await?),
        }
    }

    /// Opens the store; `migrate` says what may be done to its schema.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: whatever kept it from opening.
    pub(super) async fn open_with(
        &self,
        config: &Config,
        migrate: Migrate,
    ) -> Result<Store, Failure> {
        let opened = Store::open(&config.database, migrate, self.clock.clone()).await;
        opened.map_err(|error| unavailable(&error))
    }

    /// The accounts in a store.
    pub(super) fn people(&self, config: &Config, store: &Store) -> People {
        let hashing = config.hashing;
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        let hasher = Hasher::new(hashing.concurrent, hashing.queue, clock.clone(), entropy.clone());
        let rules = Arc::new(ArcSwap::from_pointee(config.accounts.clone()));
        let people = People::new(store.clone(), hasher, rules, clock, entropy);
        people.sending_mail(config.mail.is_some())
    }

    /// An event that the command line causes.
    pub(super) fn event(&self, kind: &str, detail: &str) -> Event {
        let event = Actor::cli().event(self.clock.now(), kind, None);
        Event { detail: detail.to_owned(), ..event }
    }
}

/// Whatever kept a store from opening.
fn unavailable(error: &StoreError) -> Failure {
    Failure::Unavailable(Causes(error).to_string())
}

/// Runs a command that waits for the store.
///
/// # Errors
/// The command's own; [`Failure::Failed`] when no runtime can be had.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start a runtime: {error}")))?;
    runtime.block_on(work)
}

/// The roles of the database, none if there is no database yet.
///
/// # Errors
/// [`Failure::Unavailable`].
pub(super) async fn database_roles(store: Option<&Store>) -> Result<Vec<RoleRow>, Failure> {
    match store {
        Some(store) => Ok(store.list_roles().await?),
        None => Ok(Vec::new()),
    }
}

/// Puts the file's roles and those of the database together.
pub(super) fn book_of(examined: &Examined, rows: &[RoleRow]) -> RoleBook {
    let file = declared_grants(&examined.config);
    let database = rows.iter().map(|row| (row.name.clone(), row.grants.clone()));
    let named = examined.policy.named_permissions();
    RoleBook::new(&examined.interner, &file, &database.collect(), named)
}
