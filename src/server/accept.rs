//! Listening, and handing connections to workers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::worker::{Accepted, WorkerHandle};

/// Client connections at a time. Beyond it new ones wait in the kernel's queue.
pub(super) const CONNECTIONS: usize = 16_384;
/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// How long to wait after an error that is not the connection's own.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Binds a listener. `SO_REUSEPORT` is not set: a second process must not share the address unseen.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the last run to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections for ever, each for the worker with the fewest.
pub(super) async fn accept(
    listener: TcpListener,
    workers: Arc<[WorkerHandle]>,
    slots: Arc<Semaphore>,
) {
    let mut is_failing = false;
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&slots).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => {
                is_failing = false;
                accepted
            }
            Err(error) if is_of_the_connection(&error) => continue,
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, "connections cannot be accepted");
                }
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        // A connection that cannot be prepared is closed; its peer sees that.
        let prepared = stream.set_nodelay(true).and_then(|()| stream.into_std());
        let Ok(stream) = prepared else { continue };
        let least = workers.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed));
        let Some(worker) = least else { return };
        worker.load.fetch_add(1, Ordering::Relaxed);
        let accepted = Accepted { stream, peer: peer.ip().to_canonical(), permit };
        if worker.connections.send(accepted).is_err() {
            return;
        }
    }
}

/// Whether only this connection failed, before it was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
