//! Starting a gateway and ending it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::live::{Live, session_settings};
use super::preview::preview;
use super::worker::{self, WorkerHandle};
use super::{Drain, Gateway, ReloadError, Reloaded, accept, management, post, secret};
use crate::accounts::vouching::Vouching;
use crate::accounts::{Accounts, People, SetUpLink};
use crate::api::Api;
use crate::clock::{Clock, Entropy, Tick};
use crate::config::{AccessLog as AccessLogTo, Config, LogFormat, Problem};
use crate::identity::access::Interner;
use crate::identity::bearer::Bearer;
use crate::identity::hashing::Hasher;
use crate::identity::keys::KeyRing;
use crate::identity::provider::ProviderError;
use crate::limit::Limits;
use crate::mail::{CarrierError, Outbox, TemplateError};
use crate::policy::Policy;
use crate::portal::Portal;
use crate::session::{FollowError, Parts, Sessions};
use crate::store::{Migrate, Store, StoreError};
use crate::telemetry::access::{AccessLog, Format};
use crate::telemetry::metrics::Metrics;

/// Keys each limit remembers.
const LIMIT_KEYS: usize = 100_000;
/// More than the allocator keeps in pages that hold several blocks.
const LARGE: usize = 1024 * 1024;
/// How often new kinds of password hash are looked for.
const NEW_KINDS: Duration = Duration::from_secs(5);
/// How often what is past its end is removed from the store.
const CLEAN_UP: Duration = Duration::from_mins(10);
/// How long threads may take to end after the last connection was cut.
const JOIN: Duration = Duration::from_secs(2);

/// What a gateway is given beside its configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The clock.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Clock::system(), entropy: Entropy::system() }
    }
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The routes do not compile.
    #[error("the configuration has errors")]
    Configuration(Vec<Problem>),
    /// The secret could not be read or made.
    #[error("the secret cannot be read or made")]
    Secret(#[source] io::Error),
    /// The database cannot be used.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// The change log could not be read.
    #[error("the database cannot be read")]
    Follow(#[from] FollowError),
    /// No connection to a provider can be made at all.
    #[error("providers cannot be asked")]
    Providers(#[from] ProviderError),
    /// Mail cannot be sent as the configuration says.
    #[error("mail cannot be sent")]
    Carrier(#[from] CarrierError),
    /// A template of mail does not compile.
    #[error("mail cannot be put together")]
    Mail(#[from] TemplateError),
    /// An address could not be bound.
    #[error("cannot listen on {address} (`{key}`)")]
    Listen {
        /// The key of the configuration that says so, or whose default it is.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The access log or a thread could not be started.
    #[error("a thread or the access log cannot be started")]
    Thread(#[source] io::Error),
}

/// A gateway that serves. Dropped, it goes on serving until the process or runtime ends; end it with
/// [`Running::shutdown`].
pub struct Running {
    /// The addresses it listens on, in the order of the configuration.
    pub addresses: Vec<SocketAddr>,
    /// The management address, unless it is off.
    pub management: Option<SocketAddr>,
    gateway: Arc<Gateway>,
    tasks: Vec<JoinHandle<()>>,
    accepting: Vec<JoinHandle<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Starts a gateway on the current runtime, which becomes its control runtime.
///
/// # Errors
/// [`StartError`]; nothing is left running then.
pub async fn start(config: Config, options: Options) -> Result<Running, StartError> {
    // Bound first: a second gateway on the same address must not touch the database.
    let mut listeners = Vec::with_capacity(config.listen.len());
    for address in &config.listen {
        listeners.push(bind("listen", *address)?);
    }
    let management = config.management.map(|at| bind("management", at)).transpose()?;
    let gateway = assemble(config, options).await?;
    let live = gateway.live.load_full();
    let courier = post::courier(&gateway)?;
    let mut tasks = vec![gateway.sessions.follow().await?];
    let (workers, threads) = start_workers(&gateway, live.config.workers)?;
    let slots = Arc::new(Semaphore::new(accept::CONNECTIONS));
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let accepting = listeners
        .into_iter()
        .map(|listener| {
            tokio::spawn(accept::accept(listener, Arc::clone(&workers), Arc::clone(&slots)))
        })
        .collect();
    drop(workers);
    let management_address = management.as_ref().and_then(|m| m.local_addr().ok());
    if let Some(listener) = management {
        tasks.push(tokio::spawn(management::serve(listener, Arc::clone(&gateway))));
    }
    tasks.extend(courier.map(|courier| tokio::spawn(courier.deliver())));
    tasks.push(tokio::spawn(gateway.accounts.clone().recheck()));
    tasks.push(tokio::spawn(keep_house(Arc::clone(&gateway))));
    Ok(Running { addresses, management: management_address, gateway, tasks, accepting, threads })
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    accept::bind(address).map_err(|source| StartError::Listen { key, address, source })
}

type Started = (Arc<[WorkerHandle]>, Vec<std::thread::JoinHandle<()>>);

fn start_workers(gateway: &Arc<Gateway>, count: usize) -> Result<Started, StartError> {
    let started = (0..count.max(1))
        .map(|index| worker::start(index, Arc::clone(gateway)).map_err(StartError::Thread))
        .collect::<Result<Vec<_>, _>>()?;
    let (handles, threads): (Vec<_>, Vec<_>) = started.into_iter().unzip();
    Ok((handles.into(), threads))
}

/// Puts everything together; nothing serves yet.
async fn assemble(config: Config, options: Options) -> Result<Arc<Gateway>, StartError> {
    let Options { clock, entropy } = options;
    let interner = Interner::default();
    let (policy, findings) = Policy::compile(&config, &interner);
    let Some(policy) = policy else { return Err(StartError::Configuration(findings.errors)) };
    let secret = secret::load_or_make(&config, &entropy).map_err(StartError::Secret)?;
    let keys = KeyRing::new(&secret, &config.previous_secrets);
    let store = Store::open(&config.database, Migrate::Fully, clock.clone()).await?;
    let metrics = Metrics::new(config.workers);
    let issuer = config.public_url.to_string();
    let parts = Parts {
        store: store.clone(),
        bearer: Bearer::new(&keys, issuer, config.tokens.audience.clone()),
        keys,
        interner: interner.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        metrics: Arc::clone(&metrics),
        control: Handle::current(),
    };
    let generation = 1;
    let sessions = Sessions::new(parts, session_settings(generation, &config, &policy));
    let (concurrent, queue) = (config.hashing.concurrent, config.hashing.queue);
    let hasher = Hasher::new(concurrent, queue, clock.clone(), entropy.clone());
    let account_rules = Arc::new(ArcSwap::from_pointee(config.accounts.clone()));
    let people = People::new(
        store.clone(),
        hasher.clone(),
        Arc::clone(&account_rules),
        clock.clone(),
        entropy.clone(),
    )
    .sending_mail(config.mail.is_some());
    let accounts = open_accounts(people, &sessions, &metrics, &config, (&store, &clock)).await?;
    let portal = Portal::new(accounts.clone(), entropy.clone(), preview());
    let access = access_log(&config).map_err(StartError::Thread)?;
    let (config, policy) = (Arc::new(config), Arc::new(policy));
    let live = Live::new(generation, config, policy, &metrics);
    Ok(Arc::new(Gateway {
        live: ArcSwap::from_pointee(live),
        account_rules,
        interner,
        api: Api::new(accounts.clone()),
        portal,
        accounts,
        sessions,
        hasher,
        store,
        metrics,
        access,
        clock,
        entropy,
        control: Handle::current(),
        drain: Drain::default(),
        trouble: std::sync::Mutex::default(),
    }))
}

/// The accounts, with what was tried at them before the start.
async fn open_accounts(
    people: People,
    sessions: &Sessions,
    metrics: &Arc<Metrics>,
    config: &Config,
    (store, clock): (&Store, &Clock),
) -> Result<Accounts, StartError> {
    let limits = Arc::new(Limits::new(clock.clone(), &config.auth_limits, LIMIT_KEYS));
    let outbox =
        || Outbox::new(store.clone(), clock.clone(), Arc::clone(metrics), Arc::clone(&limits));
    let outbox = config.mail.is_some().then(outbox);
    let (limits, metrics) = (Arc::clone(&limits), Arc::clone(metrics));
    let vouching = Vouching::new(&config.providers, clock)?;
    let accounts = Accounts::new(people, limits, sessions.clone(), metrics, outbox);
    let accounts = accounts.vouched_by(vouching);
    accounts.remember_failures(&config.auth_limits).await?;
    Ok(accounts)
}

fn access_log(config: &Config) -> io::Result<Option<AccessLog>> {
    let format = match config.telemetry.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    let file = match &config.telemetry.access_log {
        AccessLogTo::Off => return Ok(None),
        AccessLogTo::On => None,
        AccessLogTo::File(path) => Some(path.as_path()),
    };
    AccessLog::start(format, file, config.workers).map(Some)
}

/// What is done now and then: the cost of hashes is measured once the gateway is ready and when a
/// kind first appears (the command line may have stored it), and what is past its end is removed.
async fn keep_house(gateway: Arc<Gateway>) {
    let people = gateway.accounts.people();
    let mut measured = people.measure_kinds(true).await;
    let mut is_failing = false;
    let mut interval = tokio::time::interval(NEW_KINDS);
    let mut cleaned: Option<Tick> = None;
    loop {
        match measured {
            Ok(()) => is_failing = false,
            // Said once: the store's own trouble is logged where it is followed.
            Err(_) if is_failing => {}
            Err(error) => {
                is_failing = true;
                tracing::warn!(%error, "the cost of password hashes could not be measured");
            }
        }
        let is_due = cleaned.is_none_or(|last| gateway.clock.tick().since(last) >= CLEAN_UP);
        if is_due {
            cleaned = Some(gateway.clock.tick());
            let now = gateway.clock.now();
            let retention = gateway.live.load().config.events.retention;
            if let Err(error) = gateway.store.delete_expired(now, now.before(retention)).await {
                tracing::warn!(%error, "what is past its end could not be removed");
            }
        }
        interval.tick().await;
        give_memory_back();
        gateway.store.retry_writing().await;
        measured = people.measure_kinds(false).await;
    }
}

/// Has the allocator return to the system what was freed a while ago. It does so only when it frees a
/// page of its own, which in an idle gateway nothing does: what starting or hashing took would stay.
fn give_memory_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}

impl Running {
    /// The accounts, for whoever embeds or tests a gateway.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.gateway.accounts
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.gateway.store
    }

    /// The hashing pool.
    #[must_use]
    pub fn hasher(&self) -> &Hasher {
        &self.gateway.hasher
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.gateway.sessions
    }

    /// A link for setting up the first administrator, unless there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_up_link(&self) -> Result<Option<SetUpLink>, StoreError> {
        self.gateway.accounts.people().issue_set_up_link().await
    }

    /// Puts another configuration in force, whole or not at all.
    ///
    /// # Errors
    /// [`ReloadError`]; the former configuration serves on.
    pub fn reload(&self, config: Config) -> Result<Reloaded, ReloadError> {
        self.gateway.reload(config)
    }

    /// Notes that the file's configuration could not even be read.
    pub fn refuse_reload(&self, why: &str) {
        self.gateway.refuse_reload(why);
    }

    /// Ends: no new connections, then up to `drain` for what is under way, then the rest is cut.
    pub async fn shutdown(self) {
        let gateway = self.gateway;
        let limit = gateway.live.load().config.drain;
        gateway.drain.begun.cancel();
        // Ending the accept loops closes the listeners and, with them, the workers' channels.
        for task in self.accepting {
            task.abort();
            // Aborted is what it is meant to be.
            let _aborted = task.await;
        }
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                // A worker that panicked has ended as well.
                let _panicked = thread.join();
            }
        });
        tokio::pin!(joined);
        if tokio::time::timeout(limit, &mut joined).await.is_err() {
            gateway.drain.cut.cancel();
            if tokio::time::timeout(JOIN, &mut joined).await.is_err() {
                tracing::warn!("a worker did not end in time");
            }
        }
        for task in self.tasks {
            task.abort();
            // Aborted is what it is meant to be; only then has it let go of its address.
            let _aborted = task.await;
        }
        if let Some(access) = &gateway.access {
            access.finish();
        }
        gateway.store.close().await;
    }
}
