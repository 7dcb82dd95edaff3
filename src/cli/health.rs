//! `portcullis health`: asks the running gateway whether it is ready, for supervisors and
//! containers.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::desk::Desk;
use super::failure::Failure;
use super::output::printable;
use crate::config;

/// An answer is waited for this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// No more than this of an answer is read.
const MAX_ANSWER: u64 = 64 * 1024;

/// Asks `/health/ready` at the management address and prints what it says. Exit 0 when the gateway is
/// ready, else 1, which is all that a container's health check may say.
///
/// # Errors
/// [`Failure::Failed`] when nothing answers.
pub(super) async fn run(desk: &mut Desk) -> Result<ExitCode, Failure> {
    let Some(address) = management(desk)?.map(reachable) else {
        return Err(Failure::Failed("`management` is off, so there is nobody to ask".to_owned()));
    };
    let answer = tokio::time::timeout(PATIENCE, ask(address)).await;
    let answer = answer
        .map_err(|_| format!("{address} did not answer within {} seconds", PATIENCE.as_secs()))
        .and_then(|result| result.map_err(|error| format!("{address} does not answer: {error}")))
        .map_err(Failure::Failed)?;
    let (status, body) = read_answer(&answer)
        .ok_or_else(|| Failure::Failed(format!("{address} does not answer in HTTP")))?;
    for line in body.lines() {
        writeln!(desk.out, "{}", printable(line))?;
    }
    Ok(if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The management address of the file. A mistake elsewhere in the file is not looked at: the gateway
/// that refused to reload it serves on, and it is that gateway which is asked. Of a file that cannot be
/// read at all the default is taken.
fn management(desk: &Desk) -> Result<Option<SocketAddr>, Failure> {
    let read = config::load_partly(&desk.file()?, desk.env.as_ref()).config;
    Ok(read.map_or(Some(config::MANAGEMENT), |config| config.management))
}

/// An address to connect to: one that stands for every interface is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The status and body of an HTTP/1.1 answer that ends with its connection. The gateway answers this
/// address itself and with a length, so nothing here is chunked.
fn read_answer(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?;
    Some((status.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn an_address_of_every_interface_is_asked_on_loopback() {
        let cases = [
            ("0.0.0.0:9180", "127.0.0.1:9180"),
            ("[::]:9180", "[::1]:9180"),
            ("10.0.0.1:9180", "10.0.0.1:9180"),
        ];
        for (configured, asked) in cases {
            assert_eq!(reachable(configured.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let cases = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Some((200, "ok"))),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Some((503, ""))),
            ("HTTP/1.1 200 OK\r\n", None),
            ("SSH-2.0-OpenSSH\r\n\r\n", None),
            ("", None),
        ];
        for (answer, expected) in cases {
            assert_eq!(read_answer(answer), expected, "{answer:?}");
        }
    }
}
