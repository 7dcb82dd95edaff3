//! A TCP relay that can cut, stall and delay what passes through it, to stand between the gateway and its
//! database or upstream.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::upstream::spawn;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Weather {
    /// Bytes pass.
    Fair,
    /// Bytes pass, each after a while.
    Slow(Duration),
    /// Connections stay open, bytes wait.
    Stalled,
    /// Connections are closed, new ones at once.
    Cut,
}

/// The relay. Dropping it ends every connection.
#[derive(Debug)]
pub struct Chaos {
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    relay: tokio::task::JoinHandle<()>,
}

impl Chaos {
    /// Starts a relay to `target` on a free port.
    pub fn start(target: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, watch) = watch::channel(Weather::Fair);
        let relay = spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                if *watch.borrow() != Weather::Cut {
                    spawn(relay(client, target, watch.clone()));
                }
            }
        });
        Self { address, weather, relay }
    }

    /// Closes every connection and every new one until [`Chaos::restore`].
    pub fn cut(&self) {
        self.weather.send_replace(Weather::Cut);
    }

    /// Holds bytes back in both directions until [`Chaos::restore`]. New connections are accepted and
    /// hear nothing.
    pub fn stall(&self) {
        self.weather.send_replace(Weather::Stalled);
    }

    /// Holds every piece back for a while, in both directions, until [`Chaos::restore`].
    pub fn slow(&self, delay: Duration) {
        self.weather.send_replace(Weather::Slow(delay));
    }

    /// Lets bytes pass again. What was cut stays cut.
    pub fn restore(&self) {
        self.weather.send_replace(Weather::Fair);
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.cut();
        self.relay.abort();
    }
}

async fn relay(client: TcpStream, target: SocketAddr, mut weather: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = carry(from_client, to_server, weather.clone()) => {}
        () = carry(from_server, to_client, weather.clone()) => {}
        _ = weather.wait_for(|now| *now == Weather::Cut) => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 || weather.wait_for(|now| *now != Weather::Stalled).await.is_err() {
            return;
        }
        let now = *weather.borrow();
        if let Weather::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
