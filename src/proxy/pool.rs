//! A worker's connections to upstreams. Nothing here is shared between workers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::deadline::Ticker;
use super::drive::Drive;
use super::upload::Upload;
use super::wire::{Heard, Wire};
use crate::config::Upstream;

/// Connections kept per upstream while nothing needs them.
const IDLE: usize = 8;
/// Connections kept per upstream while they are in use now and then: a burst of answers gives back more
/// at once than [`IDLE`], and the next burst needs them again.
const BURST: usize = 1024;
/// Name look-ups at a time.
const LOOKUPS: usize = 8;
/// How long a connection beyond [`IDLE`] may go unused.
const UNUSED: Duration = Duration::from_secs(1);
/// Bytes of an answer's head. Its fields are 100 at most, hyper's own limit.
const HEAD_BYTES: usize = 128 * 1024;

/// A connection to an upstream, held for one request.
#[derive(Debug)]
pub struct Lease {
    pub(super) sender: SendRequest<Upload>,
    pub(super) drive: Drive,
    /// What has passed on its wire for this request.
    pub(super) heard: Arc<Heard>,
    /// It served a request before.
    pub(super) is_reused: bool,
    upstream: Arc<Upstream>,
    pool: Arc<Pool>,
}

impl Lease {
    /// Gives the connection back once its answer was read whole. A connection that cannot take another
    /// request closes instead.
    pub fn give_back(self) {
        if self.sender.is_closed() {
            return;
        }
        let since = self.pool.ticker.coarse();
        let mut idle = self.pool.lock();
        let authority = &self.upstream.authority;
        self.drive.rest();
        let keep_alive = self.upstream.keep_alive;
        let Self { sender, drive, heard, .. } = self;
        let one = Idle { sender, drive, heard, since, keep_alive };
        match idle.get_mut(authority) {
            Some(list) if list.len() < BURST => list.push(one),
            Some(_) => {}
            None => {
                idle.insert(authority.clone(), vec![one]);
            }
        }
    }
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Upload>,
    drive: Drive,
    heard: Arc<Heard>,
    /// Coarse milliseconds.
    since: u64,
    keep_alive: Duration,
}

/// The pools of one worker.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<BTreeMap<String, Vec<Idle>>>,
    ticker: Arc<Ticker>,
    /// Resolves names: that may block.
    control: Handle,
    /// Look-ups at a time. One that is given up goes on until the resolver does, and must not fill
    /// the threads that hashing needs as well.
    lookups: Arc<Semaphore>,
}

/// No connection could be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Refused, unreachable, or the name does not resolve.
    #[error("no connection to the upstream")]
    Failed(#[source] io::Error),
    /// Not within `connect_timeout`.
    #[error("no connection to the upstream in time")]
    TimedOut,
    /// The protocol could not be started.
    #[error("the connection to the upstream could not be used")]
    Handshake(#[source] hyper::Error),
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(ticker: Arc<Ticker>, control: Handle) -> Arc<Self> {
        let lookups = Arc::new(Semaphore::new(LOOKUPS));
        Arc::new(Self { idle: Mutex::default(), ticker, control, lookups })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection that was used within `youngest`, the latest first.
    pub(super) fn idle(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
        youngest: Duration,
    ) -> Option<Lease> {
        let now = self.ticker.coarse();
        let mut idle = self.lock();
        let list = idle.get_mut(&upstream.authority)?;
        let limit = youngest.min(upstream.keep_alive);
        let mut index = list.len();
        while index > 0 {
            index -= 1;
            let candidate = &mut list[index];
            candidate.drive.look(!candidate.sender.is_ready());
            if candidate.sender.is_closed() || is_older(candidate, candidate.keep_alive, now) {
                list.swap_remove(index);
                continue;
            }
            // One that is not ready yet is still ending its last exchange; another one serves.
            if candidate.sender.is_ready() && !is_older(candidate, limit, now) {
                let Idle { sender, drive, heard, .. } = list.swap_remove(index);
                let (upstream, pool) = (Arc::clone(upstream), Arc::clone(self));
                return Some(Lease { sender, drive, heard, is_reused: true, upstream, pool });
            }
        }
        None
    }

    /// A fresh connection.
    pub(super) async fn connect(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
    ) -> Result<Lease, ConnectError> {
        let stream = tokio::time::timeout(upstream.connect_timeout, self.open(upstream))
            .await
            .map_err(|_elapsed| ConnectError::TimedOut)?
            .map_err(ConnectError::Failed)?;
        stream.set_nodelay(true).map_err(ConnectError::Failed)?;
        let heard = Arc::<Heard>::default();
        let (deadlines, write) = (self.ticker.deadlines(), upstream.response_timeout);
        let wire = Wire::upstream(stream, deadlines, Arc::clone(&heard), write);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .handshake(wire)
            .await
            .map_err(ConnectError::Handshake)?;
        let drive = Drive::new(async move {
            // How an exchange ended is told to the one who waits for its answer.
            let _ended = connection.with_upgrades().await;
        });
        let (upstream, pool) = (Arc::clone(upstream), Arc::clone(self));
        Ok(Lease { sender, drive, heard, is_reused: false, upstream, pool })
    }

    async fn open(&self, upstream: &Upstream) -> io::Result<TcpStream> {
        if let Ok(address) = upstream.host.parse() {
            return TcpStream::connect(SocketAddr::new(address, upstream.port)).await;
        }
        let name = (upstream.host.clone(), upstream.port);
        // The semaphore is never closed.
        let turn = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let resolved = self.control.spawn(async move {
            let _turn = turn;
            tokio::net::lookup_host(name).await.map(Iterator::collect::<Vec<_>>)
        });
        let addresses = resolved.await.map_err(io::Error::other)??;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Closes what has been idle too long.
    pub fn prune(&self) {
        let now = self.ticker.coarse();
        self.lock().retain(|_, list| {
            list.retain_mut(|idle| {
                idle.drive.look(false);
                !idle.sender.is_closed() && !is_older(idle, idle.keep_alive, now)
            });
            let unused = list.iter().filter(|idle| is_older(idle, UNUSED, now)).count();
            let mut surplus = unused.saturating_sub(IDLE);
            list.retain(|idle| {
                let goes = surplus > 0 && is_older(idle, UNUSED, now);
                surplus -= usize::from(goes);
                !goes
            });
            !list.is_empty()
        });
    }
}

fn is_older(idle: &Idle, limit: Duration, now: u64) -> bool {
    u128::from(now.saturating_sub(idle.since)) >= limit.as_millis()
}
