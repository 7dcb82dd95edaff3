//! Where a message goes: to a mail server, or into a directory as a file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::response::Severity;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use secrecy::ExposeSecret as _;

use crate::config::{Delivery, MailSecurity, MailServer};

/// To a TCP connection with a mail server.
const CONNECT: Duration = Duration::from_secs(10);
/// Over a whole conversation with a mail server.
const CONVERSATION: Duration = Duration::from_mins(1);
/// Replies that are about us, not about the message: whoever runs the gateway can mend them
/// (RFC 4954 section 6).
const ABOUT_US: [u16; 4] = [530, 534, 535, 538];

/// Takes messages away.
pub enum Carrier {
    /// To a mail server, on a connection of its own for each.
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    /// Into a directory.
    Directory(PathBuf),
}

/// Why a carrier cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// TLS cannot be set up.
    #[error("TLS to the mail server cannot be set up")]
    Tls(#[source] lettre::transport::smtp::Error),
    /// The directory cannot be made.
    #[error("the mail directory {0} cannot be made")]
    Directory(PathBuf, #[source] io::Error),
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum CarryError {
    /// The mail server refused it for good.
    #[error("the mail server refuses the message")]
    Refused(#[source] lettre::transport::smtp::Error),
    /// The mail server is away, or refused it for now, or refuses us.
    #[error("the mail server did not take the message")]
    Server(#[source] lettre::transport::smtp::Error),
    /// The mail server took too long.
    #[error("the mail server did not answer in time")]
    TimedOut,
    /// The file could not be written.
    #[error("the message could not be written to the mail directory")]
    File(#[from] io::Error),
}

impl Carrier {
    /// As the configuration says; no connection is made yet. The certificates a mail server is judged by
    /// are the system's.
    ///
    /// # Errors
    /// [`CarrierError`].
    pub fn new(delivery: &Delivery) -> Result<Self, CarrierError> {
        match delivery {
            Delivery::Smtp(server) => {
                let transport = connect_to(server).map_err(CarrierError::Tls)?;
                Ok(Self::Smtp(Box::new(transport)))
            }
            Delivery::Directory(path) => {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
                made.map_err(|error| CarrierError::Directory(path.clone(), error))?;
                Ok(Self::Directory(path.clone()))
            }
        }
    }

    /// Hands a message over. `name` is that of its file, where it becomes one.
    pub(super) async fn carry(&self, message: Message, name: String) -> Result<(), CarryError> {
        self.carry_within(CONVERSATION, message, name).await
    }

    async fn carry_within(
        &self,
        limit: Duration,
        message: Message,
        name: String,
    ) -> Result<(), CarryError> {
        match self {
            Self::Smtp(transport) => {
                let sent = tokio::time::timeout(limit, transport.send(message)).await;
                sent.map_err(|_| CarryError::TimedOut)?.map(drop).map_err(judge)
            }
            Self::Directory(path) => {
                let path = path.clone();
                let text = message.formatted();
                let written = tokio::task::spawn_blocking(move || write_file(&path, &name, &text));
                Ok(written.await.unwrap_or_else(|error| Err(io::Error::other(error)))?)
            }
        }
    }
}

fn connect_to(
    server: &MailServer,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    let parameters = || TlsParameters::new_rustls(server.host.clone());
    let tls = match server.security {
        MailSecurity::StartTls => Tls::Required(parameters()?),
        MailSecurity::Tls => Tls::Wrapper(parameters()?),
        MailSecurity::Plain => Tls::None,
    };
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
        .port(server.port)
        .tls(tls)
        .timeout(Some(CONNECT));
    let builder = match &server.credentials {
        Some((user, password)) => {
            builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()))
        }
        None => builder,
    };
    Ok(builder.build())
}

fn judge(error: lettre::transport::smtp::Error) -> CarryError {
    let code = error.status();
    let is_final = code.is_some_and(|code| {
        code.severity == Severity::PermanentNegativeCompletion && !ABOUT_US.contains(&code.into())
    });
    if is_final { CarryError::Refused(error) } else { CarryError::Server(error) }
}

/// Writes a message whole or not at all: whoever reads the directory never finds half of one.
fn write_file(directory: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let half = directory.join(format!(".{name}.part"));
    let written = write_half(&half, text);
    let done = written.and_then(|()| fs::rename(&half, directory.join(name)));
    if done.is_err() {
        // What is left of it holds a link; the error to tell is the first.
        let _left = fs::remove_file(&half);
        return done;
    }
    File::open(directory)?.sync_all()
}

fn write_half(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn message() -> Message {
        let address = "ann@example.com".parse().unwrap();
        let builder = Message::builder().from("a@example.com".parse().unwrap()).to(address);
        builder.body("text".to_owned()).unwrap()
    }

    #[tokio::test]
    async fn a_mail_server_that_says_nothing_is_given_up_at_the_limit() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = MailServer {
            host: "127.0.0.1".to_owned(),
            port: silent.local_addr().unwrap().port(),
            security: MailSecurity::Plain,
            credentials: None,
        };
        let carrier = Carrier::new(&Delivery::Smtp(server)).unwrap();
        let limit = Duration::from_millis(50);
        let outcome = carrier.carry_within(limit, message(), String::new()).await;
        assert!(matches!(outcome, Err(CarryError::TimedOut)), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_directory_that_is_gone_takes_nothing_and_keeps_no_half() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mail");
        let carrier = Carrier::new(&Delivery::Directory(path.clone())).unwrap();
        carrier.carry(message(), "1.eml".to_owned()).await.unwrap();
        // A name that is taken by a directory cannot be replaced by a file.
        fs::create_dir(path.join("2.eml")).unwrap();
        let outcome = carrier.carry(message(), "2.eml".to_owned()).await;
        assert!(matches!(outcome, Err(CarryError::File(_))), "{outcome:?}");
        let mut names: Vec<_> =
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["1.eml", "2.eml"]);
        fs::remove_dir_all(&path).unwrap();
        let outcome = carrier.carry(message(), "3.eml".to_owned()).await;
        assert!(matches!(outcome, Err(CarryError::File(_))), "{outcome:?}");
    }
}
