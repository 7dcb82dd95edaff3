//! A worker: one thread, one current-thread runtime, its own connections to upstreams.

use std::cell::RefCell;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Gateway;
use super::body::Answered;
use super::record::RequestId;
use super::request;
use crate::proxy::deadline::{PERIOD, Ticker};
use crate::proxy::forward::Reach;
use crate::proxy::pool::Pool;
use crate::proxy::wire::{ClientState, Wire};
use crate::session::Front;
use crate::telemetry::metrics::Refused;
use crate::web::authority::LastHost;

/// Bytes of a request's head; beyond it, as beyond 100 fields, the answer is 431. The fields are hyper's
/// own limit: setting it, even to the same number, has hyper make room for that many on every request.
const HEAD_BYTES: usize = 64 * 1024;
/// How often idle upstream connections are looked through, in ticks.
const PRUNE: u32 = 20;

/// What a worker's tasks share.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) gateway: Arc<Gateway>,
    pub(super) reach: Reach,
    pub(super) tunnels: TaskTracker,
    /// Whom this worker recognised last.
    pub(super) front: Front,
    id_prefix: [u8; 16],
    id_counter: AtomicU64,
}

impl Worker {
    fn new(index: usize, gateway: Arc<Gateway>) -> Arc<Self> {
        let clock = gateway.clock.clone();
        let ticker = Ticker::new(clock.clone());
        let pool = Pool::new(Arc::clone(&ticker), gateway.control.clone());
        let front = gateway.sessions.front(index);
        let id_prefix = hex(u64::from_be_bytes(gateway.entropy.bytes()));
        Arc::new(Self {
            index,
            gateway,
            reach: Reach { pool, ticker, clock },
            tunnels: TaskTracker::new(),
            front,
            id_prefix,
            id_counter: AtomicU64::new(0),
        })
    }

    /// A new request's id: unique, 32 hexadecimal digits, not secret.
    pub(super) fn next_request_id(&self) -> RequestId {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&self.id_prefix);
        id[16..].copy_from_slice(&hex(self.id_counter.fetch_add(1, Ordering::Relaxed)));
        RequestId::new(id)
    }
}

/// The digits of a number.
fn hex(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 16];
    for (pair, byte) in out.as_chunks_mut().0.iter_mut().zip(number.to_be_bytes()) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    out
}

/// A connection on its way to a worker.
pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: IpAddr,
    /// Held while the connection lives.
    pub(super) permit: tokio::sync::OwnedSemaphorePermit,
}

/// A worker as the accept loop sees it.
#[derive(Clone)]
pub(super) struct WorkerHandle {
    pub(super) connections: mpsc::UnboundedSender<Accepted>,
    /// Connections open.
    pub(super) load: Arc<AtomicUsize>,
}

/// Starts a worker's thread. It ends once its channel is closed and its connections are done.
pub(super) fn start(
    index: usize,
    gateway: Arc<Gateway>,
) -> std::io::Result<(WorkerHandle, std::thread::JoinHandle<()>)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let load = Arc::new(AtomicUsize::new(0));
    let handle = WorkerHandle { connections: sender, load: Arc::clone(&load) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let worker = Worker::new(index, gateway);
        runtime.block_on(run(worker, receiver, load));
        // Name look-ups and the like that nobody waits for any more.
        runtime.shutdown_timeout(Duration::from_millis(100));
    })?;
    Ok((handle, thread))
}

async fn run(
    worker: Arc<Worker>,
    mut connections: mpsc::UnboundedReceiver<Accepted>,
    load: Arc<AtomicUsize>,
) {
    let ticking = tokio::spawn(tick(Arc::clone(&worker)));
    let tracker = TaskTracker::new();
    while let Some(accepted) = connections.recv().await {
        let guard = LoadGuard::new(&load, &worker.gateway);
        let worker = Arc::clone(&worker);
        tracker.spawn(async move {
            let _guard = guard;
            serve(worker, accepted).await;
        });
    }
    tracker.close();
    worker.tunnels.close();
    let all_done = async {
        tracker.wait().await;
        worker.tunnels.wait().await;
    };
    tokio::select! {
        () = all_done => {}
        () = worker.gateway.drain.cut.cancelled() => {}
    }
    ticking.abort();
}

/// Counts a connection while it lives.
struct LoadGuard {
    load: Arc<AtomicUsize>,
    gateway: Arc<Gateway>,
}

impl LoadGuard {
    fn new(load: &Arc<AtomicUsize>, gateway: &Arc<Gateway>) -> Self {
        gateway.metrics.counters.open_connections.fetch_add(1, Ordering::Relaxed);
        Self { load: Arc::clone(load), gateway: Arc::clone(gateway) }
    }
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.gateway.metrics.counters.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn tick(worker: Arc<Worker>) {
    let mut interval = tokio::time::interval(PERIOD);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count: u32 = 0;
    let mut was_draining = false;
    loop {
        interval.tick().await;
        worker.reach.ticker.tick();
        count = count.wrapping_add(1);
        if count.is_multiple_of(PRUNE) {
            worker.reach.pool.prune();
        }
        if !was_draining && worker.gateway.drain.begun.is_cancelled() {
            was_draining = true;
            worker.reach.ticker.wake_all();
        }
    }
}

/// Serves one client connection to its end.
async fn serve(worker: Arc<Worker>, accepted: Accepted) {
    let Accepted { stream, peer, permit } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let state = ClientState::new(worker.reach.ticker.deadlines(), peer);
    let wire = Wire::new(stream, Arc::clone(&state));
    let service = ClientService {
        worker: Arc::clone(&worker),
        state: Arc::clone(&state),
        last_host: RefCell::default(),
    };
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        .max_header_size(HEAD_BYTES)
        .serve_connection(wire, service)
        .with_upgrades();
    Draining { connection: Box::pin(connection), worker, state, is_ending: false }.await;
    drop(permit);
}

struct ClientService {
    worker: Arc<Worker>,
    state: Arc<ClientState>,
    last_host: RefCell<LastHost>,
}

impl Service<Request<Incoming>> for ClientService {
    type Response = Response<Answered>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(request::serve(&self.worker, &self.state, &self.last_host, request))
    }
}

/// A connection that takes no further request once the gateway drains.
struct Draining {
    connection: Pin<Box<http1::UpgradeableConnection<Wire, ClientService>>>,
    worker: Arc<Worker>,
    state: Arc<ClientState>,
    is_ending: bool,
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_ending {
            if self.worker.gateway.drain.begun.is_cancelled() {
                self.is_ending = true;
                self.connection.as_mut().graceful_shutdown();
            } else {
                self.state.deadlines.register(cx.waker());
            }
        }
        self.connection.as_mut().poll(cx).map(|ended| {
            // Requests were logged one by one. What was no request at all, and was answered 400 or 431
            // before anything here saw it, is counted.
            if ended.is_err_and(|error| error.is_parse()) {
                let metrics = &self.worker.gateway.live.load().nowhere_metrics;
                metrics.refused(self.worker.index, Refused::Invalid);
            }
        })
    }
}
