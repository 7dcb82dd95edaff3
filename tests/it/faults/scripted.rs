//! An upstream that does on every connection exactly what a script says, byte by byte, down to the
//! moment at which it closes, resets or falls silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::upstream::spawn;

/// One thing to do with a connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads so many bytes.
    Read(usize),
    /// Reads up to and with this text.
    ReadUntil(&'static str),
    /// Reads a request without body.
    ReadHead,
    /// Writes bytes.
    Send(Vec<u8>),
    /// Writes bytes again and again, for as long as the gateway takes them, so long after each other.
    Flood(Vec<u8>, Duration),
}

/// What happens after the last step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The connection is closed. With bytes unread the kernel makes a reset of it.
    Close,
    /// The gateway is sent RST.
    Reset,
    /// Nothing more is said or read until the gateway hangs up.
    Stall,
    /// Nothing more is said; what comes is read until the gateway hangs up.
    Listen,
    /// The same, after two seconds in which nothing is read.
    ListenLate,
    /// FIN is sent; what comes is read until the gateway hangs up.
    HalfClose,
}

/// What came of it.
#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    accepted: usize,
    open: usize,
    /// Scripts that have come to their end.
    played: usize,
}

/// The upstream. Dropping it closes its port; connections end as their scripts say.
#[derive(Debug)]
pub struct Scripted {
    pub address: SocketAddr,
    counts: Arc<watch::Sender<Counts>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Scripted {
    /// Starts one on a free port.
    pub fn start(steps: Vec<Step>, end: End) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(watch::Sender::new(Counts::default()));
        let (steps, counting) = (Arc::new(steps), counts.clone());
        let accepting = spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                counting.send_modify(|counts| {
                    counts.accepted += 1;
                    counts.open += 1;
                });
                let (steps, counting) = (steps.clone(), counting.clone());
                spawn(async move {
                    let note = || counting.send_modify(|counts| counts.played += 1);
                    play(stream, &steps, end, note).await;
                    counting.send_modify(|counts| counts.open -= 1);
                });
            }
        });
        Self { address, counts, accepting }
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.counts.borrow().accepted
    }

    /// Scripts that have come to their end so far.
    pub fn played(&self) -> usize {
        self.counts.borrow().played
    }

    /// Waits until so many scripts have come to their end.
    pub async fn wait_for_played(&self, count: usize) {
        let mut watch = self.counts.subscribe();
        let arrival = watch.wait_for(|counts| counts.played >= count);
        let waited = tokio::time::timeout(crate::raw::PATIENCE, arrival).await;
        drop(waited.expect("the script does not come to its end").unwrap());
    }

    /// Whether every connection ends within the time.
    pub async fn is_left_within(&self, time: Duration) -> bool {
        let mut watch = self.counts.subscribe();
        tokio::time::timeout(time, watch.wait_for(|counts| counts.open == 0)).await.is_ok()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn play(mut stream: TcpStream, steps: &[Step], end: End, note: impl FnOnce()) {
    stream.set_nodelay(true).unwrap_or_default();
    for step in steps {
        let went_on = match step {
            Step::Read(count) => read(&mut stream, |bytes| bytes.len() == *count).await,
            Step::ReadUntil(text) => {
                read(&mut stream, |bytes| bytes.ends_with(text.as_bytes())).await
            }
            Step::ReadHead => read(&mut stream, |bytes| bytes.ends_with(b"\r\n\r\n")).await,
            Step::Send(bytes) => stream.write_all(bytes).await.is_ok(),
            Step::Flood(bytes, pause) => {
                tokio::time::sleep(*pause).await;
                while stream.write_all(bytes).await.is_ok() {
                    tokio::time::sleep(*pause).await;
                }
                false
            }
        };
        if !went_on {
            return;
        }
    }
    note();
    match end {
        End::Close => {}
        End::Reset => stream.set_zero_linger().unwrap_or_default(),
        End::Stall => wait_for_close(&stream).await,
        End::Listen => listen(&mut stream).await,
        End::ListenLate => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            listen(&mut stream).await;
        }
        End::HalfClose => {
            stream.shutdown().await.unwrap_or_default();
            listen(&mut stream).await;
        }
    }
}

/// Reads one byte after another, and so never a byte too many, until that is enough.
async fn read(stream: &mut TcpStream, is_enough: impl Fn(&[u8]) -> bool) -> bool {
    let mut bytes = Vec::new();
    while !is_enough(&bytes) {
        let Ok(byte) = stream.read_u8().await else { return false };
        bytes.push(byte);
    }
    true
}

async fn listen(stream: &mut TcpStream) {
    let mut chunk = vec![0; 64 * 1024];
    while matches!(stream.read(&mut chunk).await, Ok(count) if count > 0) {}
}

/// Waits for the gateway to hang up without reading what it sent before.
async fn wait_for_close(stream: &TcpStream) {
    while !stream
        .ready(tokio::io::Interest::READABLE | tokio::io::Interest::ERROR)
        .await
        .is_ok_and(|ready| ready.is_read_closed() || ready.is_error())
    {
        // Ready for what is not read: there is nothing to wait on but the end.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
