//! A worker's connections to upstreams. Nothing here is shared between workers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::connection::Connection;
use super::deadline::Ticker;
use crate::config::Upstream;

/// Connections kept per upstream while nothing needs them.
const IDLE: usize = 8;
/// Connections kept per upstream while they are in use now and then: a burst of answers gives back more
/// at once than [`IDLE`], and the next burst needs them again.
const BURST: usize = 1024;
/// How many come back later before a connection is used again, while there are others: what an upstream
/// says too much may come right behind its answer, and is seen only once the runtime hears of it.
const REST: usize = 16;
/// Name look-ups at a time.
const LOOKUPS: usize = 8;
/// How long a connection beyond [`IDLE`] may go unused.
const UNUSED: Duration = Duration::from_secs(1);

/// A connection to an upstream, held while the body of an answer comes.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Connection,
    /// The upstream keeps it open behind the answer.
    pub(super) is_persistent: bool,
    pub(super) upstream: Arc<Upstream>,
    pub(super) pool: Arc<Pool>,
}

impl Lease {
    /// Gives the connection back once its answer was read whole.
    pub(super) fn give_back(self) {
        self.pool.give_back(&self.upstream, self.connection, self.is_persistent);
    }
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
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

    /// Takes back a connection whose answer was read whole. One that cannot take another request closes.
    pub(super) fn give_back(
        &self,
        upstream: &Upstream,
        connection: Connection,
        is_persistent: bool,
    ) {
        let Some(connection) = connection.into_idle().filter(|_| is_persistent) else { return };
        let keep_alive = upstream.keep_alive;
        let one = Idle { connection, since: self.ticker.coarse(), keep_alive };
        let mut idle = self.lock();
        match idle.get_mut(&upstream.authority) {
            Some(list) if list.len() < BURST => list.push(one),
            Some(_) => {}
            None => {
                idle.insert(upstream.authority.clone(), vec![one]);
            }
        }
    }

    /// An idle connection that was used within `youngest`: of those that have rested the latest, so that
    /// what nobody needs grows old, else the one that has rested longest.
    pub(super) fn idle(&self, upstream: &Upstream, youngest: Duration) -> Option<Connection> {
        let now = self.ticker.coarse();
        let mut idle = self.lock();
        let list = idle.get_mut(&upstream.authority)?;
        let limit = youngest.min(upstream.keep_alive);
        loop {
            let rested = list.len().saturating_sub(REST);
            let mut order = (0..rested).rev().chain(rested..list.len());
            let index = order.find(|index| !is_past(list[*index].since, limit, now))?;
            let Idle { connection, keep_alive, since } = list.remove(index);
            let is_good = connection.is_quiet() && !is_past(since, keep_alive, now);
            if is_good {
                return Some(connection);
            }
        }
    }

    /// A fresh connection.
    pub(super) async fn connect(&self, upstream: &Upstream) -> Result<Connection, ConnectError> {
        let stream = tokio::time::timeout(upstream.connect_timeout, self.open(upstream))
            .await
            .map_err(|_elapsed| ConnectError::TimedOut)?
            .map_err(ConnectError::Failed)?;
        stream.set_nodelay(true).map_err(ConnectError::Failed)?;
        Ok(Connection::new(stream))
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
            list.retain(|idle| {
                idle.connection.is_quiet() && !is_past(idle.since, idle.keep_alive, now)
            });
            let unused = list.iter().filter(|idle| is_past(idle.since, UNUSED, now)).count();
            let mut surplus = unused.saturating_sub(IDLE);
            list.retain(|idle| {
                let goes = surplus > 0 && is_past(idle.since, UNUSED, now);
                surplus -= usize::from(goes);
                !goes
            });
            !list.is_empty()
        });
    }
}

fn is_past(since: u64, limit: Duration, now: u64) -> bool {
    u128::from(now.saturating_sub(since)) >= limit.as_millis()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::task::Poll;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::clock::Clock;
    use crate::config::KeyPath;

    /// A pool, its clock, and an upstream with the far ends of its connections.
    struct Stand {
        clock: Clock,
        pool: Arc<Pool>,
        upstream: Upstream,
        listener: TcpListener,
    }

    impl Stand {
        async fn new() -> Self {
            let clock = Clock::adjustable();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let pool = Pool::new(Ticker::new(clock.clone()), Handle::current());
            let seconds = Duration::from_secs;
            let upstream = Upstream {
                name: "app".to_owned(),
                host: "127.0.0.1".to_owned(),
                port,
                authority: format!("127.0.0.1:{port}"),
                preserve_host: true,
                case_sensitive: false,
                permit_headers: Vec::new(),
                connect_timeout: seconds(2),
                response_timeout: seconds(60),
                idle_timeout: seconds(300),
                keep_alive: seconds(60),
                at: KeyPath::default(),
            };
            Self { clock, pool, upstream, listener }
        }

        async fn connect(&self) -> (Connection, TcpStream) {
            let near = self.pool.connect(&self.upstream);
            let (near, far) = tokio::join!(near, self.listener.accept());
            (near.unwrap(), far.unwrap().0)
        }

        fn pass(&self, time: Duration) {
            self.clock.advance(time);
            self.pool.ticker.tick();
        }

        fn idle(&self, youngest: Duration) -> bool {
            self.pool.idle(&self.upstream, youngest).is_some()
        }
    }

    #[tokio::test]
    async fn an_idle_connection_serves_while_it_is_young_enough_and_nothing_came_on_it() {
        let stand = Stand::new().await;
        let (first, _far) = stand.connect().await;
        stand.pool.give_back(&stand.upstream, first, true);
        stand.pass(Duration::from_secs(2));
        assert!(!stand.idle(Duration::from_secs(1)), "too old for this request");
        assert!(stand.idle(Duration::MAX), "but kept for another");
        assert!(!stand.idle(Duration::MAX), "it is in use");
        for what in [&b"junk"[..], b""] {
            let (near, mut far) = stand.connect().await;
            stand.pool.give_back(&stand.upstream, near, true);
            far.write_all(what).await.unwrap();
            if what.is_empty() {
                drop(far);
            }
            // The runtime hears of it before anything is asked of the pool.
            while stand.pool.lock().values().flatten().any(|idle| idle.connection.is_quiet()) {
                tokio::task::yield_now().await;
            }
            assert!(!stand.idle(Duration::MAX));
        }
        let (near, _far) = stand.connect().await;
        stand.pool.give_back(&stand.upstream, near, false);
        assert!(!stand.idle(Duration::MAX), "the upstream closes it");
    }

    #[tokio::test]
    async fn a_connection_rests_while_others_can_serve_and_the_rest_grows_old() {
        let stand = Stand::new().await;
        let mut far = Vec::new();
        let mut ports = Vec::new();
        for _ in 0..REST + 2 {
            let (near, end) = stand.connect().await;
            ports.push(end.peer_addr().unwrap().port());
            far.push(end);
            stand.pool.give_back(&stand.upstream, near, true);
        }
        // The latest two of those behind which as many came back, then the one that has rested longest.
        for expected in [1, 0, 2, 3] {
            let taken = stand.pool.idle(&stand.upstream, Duration::MAX).unwrap();
            assert_eq!(taken.port(), ports[expected]);
        }
    }

    #[tokio::test]
    async fn what_is_idle_too_long_or_more_than_is_needed_is_closed() {
        let stand = Stand::new().await;
        let mut far = Vec::new();
        for _ in 0..IDLE + 3 {
            let (near, end) = stand.connect().await;
            far.push(end);
            stand.pool.give_back(&stand.upstream, near, true);
        }
        let count = || stand.pool.lock().values().map(Vec::len).sum::<usize>();
        stand.pool.prune();
        assert_eq!(count(), IDLE + 3, "a burst may come again");
        stand.pass(Duration::from_millis(1_100));
        stand.pool.prune();
        assert_eq!(count(), IDLE);
        stand.pass(Duration::from_mins(1));
        stand.pool.prune();
        assert_eq!(count(), 0);
    }

    #[tokio::test]
    async fn bytes_behind_an_answer_end_the_connection() {
        let stand = Stand::new().await;
        let (mut near, mut far) = stand.connect().await;
        far.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        std::future::poll_fn(|cx| near.poll_arrive(cx)).await.unwrap();
        assert!(near.into_idle().is_none());
        let (mut near, mut far) = stand.connect().await;
        far.write_all(b"x").await.unwrap();
        std::future::poll_fn(|cx| near.poll_arrive(cx)).await.unwrap();
        near.arrived.clear();
        let mut near = near.into_idle().unwrap();
        let polled = std::future::poll_fn(|cx| Poll::Ready(near.poll_write(cx, b"y"))).await;
        assert!(matches!(polled, Poll::Ready(Ok(1))));
    }
}
