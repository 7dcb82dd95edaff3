//! A connection that changed its protocol: bytes both ways until either side ends it, it falls
//! silent, or the caller's leave ends.

use std::future::Future;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::connection::Switched;
use crate::clock::{Clock, Tick};

/// Bytes copied at a time, each way.
const BUFFER: usize = 16 * 1024;
/// How often silence is looked for.
const LOOK: Duration = Duration::from_millis(500);
/// How long the other direction may go on once one side has ended.
const LINGER: Duration = Duration::from_secs(10);

/// How a tunnel is watched.
pub struct Oversight {
    /// Resolves once the caller's leave has ended.
    pub leave: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Called on bytes from the client: the session is in use.
    pub on_use: Box<dyn Fn() + Send + Sync>,
    /// Silence in both directions that ends it.
    pub idle: Duration,
    /// Resolves when the gateway's drain is over.
    pub cut: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Carries bytes until the tunnel ends.
pub async fn carry(client: Upgraded, upstream: Switched, oversight: Oversight, clock: Clock) {
    let (mut client_in, mut client_out) = tokio::io::split(TokioIo::new(client));
    let Switched { reader, writer: mut upstream_out, early } = upstream;
    let mut upstream_in = Cursor::new(early).chain(reader);
    let used = AtomicU64::new(clock.tick().as_millis());
    let note = || used.store(clock.tick().as_millis(), Ordering::Relaxed);
    let on_use = &oversight.on_use;
    let up = copy(&mut client_in, &mut upstream_out, || {
        note();
        on_use();
    });
    let down = copy(&mut upstream_in, &mut client_out, note);
    let silence = async {
        loop {
            tokio::time::sleep(LOOK).await;
            let last = Tick::from_millis(used.load(Ordering::Relaxed));
            if clock.tick().since(last) >= oversight.idle {
                return;
            }
        }
    };
    let both_ways = async {
        tokio::pin!(up, down);
        tokio::select! {
            _ended = &mut up => { let _rest = tokio::time::timeout(LINGER, down).await; }
            _ended = &mut down => { let _rest = tokio::time::timeout(LINGER, up).await; }
        }
    };
    // However it ends, both connections are dropped and so closed; an error has nobody to be told.
    tokio::select! {
        () = both_ways => {}
        () = silence => {}
        () = oversight.leave => {}
        () = oversight.cut => {}
    }
}

/// Copies until the end of `from`, then ends `to`.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    note: impl Fn(),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        note();
        to.write_all(&buffer[..length]).await?;
    }
}
