//! A mail server nobody here wrote (aiosmtpd), which accepts, refuses, hangs and drops as it is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::browser::python;
use crate::harness::free_port;

/// The server. Dropping it kills it; what it has kept goes with it.
pub struct MailServer {
    child: Child,
    pub port: u16,
    directory: TempDir,
}

/// A message as the server's own parser reads it.
pub struct Message(pub Json);

impl Message {
    /// The only recipient.
    pub fn to(&self) -> &str {
        assert_eq!(self.0["to"].as_array().unwrap().len(), 1, "{}", self.0);
        self.0["to"][0].as_str().unwrap()
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> &str {
        self.0["headers"][name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    pub fn text(&self) -> &str {
        self.0["text"].as_str().unwrap()
    }

    pub fn html(&self) -> &str {
        self.0["html"].as_str().unwrap()
    }

    /// The link, which stands on a line of its own.
    pub fn link(&self) -> &str {
        let links: Vec<_> = self.text().lines().filter(|line| line.starts_with("http")).collect();
        assert_eq!(links.len(), 1, "{}", self.text());
        links[0]
    }
}

impl MailServer {
    /// Starts one that accepts everything.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with options of `servers/mail.py`; those for TLS have a certificate made.
    pub async fn start_with(options: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("mail-").tempdir().unwrap();
        if options.iter().any(|option| option.ends_with("tls")) {
            make_certificates(directory.path());
        }
        Self::start_in(directory, free_port(), options).await
    }

    async fn start_in(directory: TempDir, port: u16, options: &[&str]) -> Self {
        fs::write(directory.path().join("mode"), "accept").unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/servers/mail.py");
        let said = fs::File::create(directory.path().join("said")).unwrap();
        let child = Command::new(python())
            .arg(program)
            .arg(port.to_string())
            .arg(directory.path())
            .args(options)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        let server = Self { child, port, directory };
        server.wait_until("ready", 1).await;
        server
    }

    /// What `mail.smtp` says of it, without protection.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=none", self.port)
    }

    /// The authority that vouches for its certificate, for `SSL_CERT_FILE`.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// How it treats mail from now on.
    pub fn mode(&self, mode: &str) {
        let half = self.directory.path().join("mode-half");
        fs::write(&half, mode).unwrap();
        fs::rename(half, self.directory.path().join("mode")).unwrap();
    }

    /// How often a line stands in what it has seen.
    pub fn seen(&self, line: &str) -> usize {
        let seen = fs::read_to_string(self.directory.path().join("seen")).unwrap_or_default();
        seen.lines().filter(|seen| *seen == line).count()
    }

    /// Waits until it has seen something a number of times.
    pub async fn wait_until(&self, line: &str, times: usize) {
        for _ in 0..1500 {
            if self.seen(line) >= times {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let said = fs::read_to_string(self.directory.path().join("said")).unwrap_or_default();
        panic!("the mail server has not seen {line} {times} times\n{said}");
    }

    /// What it has kept so far, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        let path = |number: usize| self.directory.path().join(format!("{number}.json"));
        let texts = (0..).map_while(|number| fs::read_to_string(path(number)).ok());
        texts.map(|text| Message(serde_json::from_str(&text).unwrap())).collect()
    }

    /// Waits until it has kept this many messages and no more.
    pub async fn wait_for(&self, count: usize) -> Vec<Message> {
        for _ in 0..1500 {
            let messages = self.messages();
            assert!(messages.len() <= count, "{} messages", messages.len());
            if messages.len() == count {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let said = fs::read_to_string(self.directory.path().join("said")).unwrap_or_default();
        panic!("{} messages instead of {count}\n{said}", self.messages().len());
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Makes an authority and a certificate of it for 127.0.0.1, with its key in one file.
fn make_certificates(directory: &Path) {
    let script = "set -e; ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'; \
         openssl req -x509 $ec -keyout ca.key -out ca.pem -subj /CN=authority \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign; \
         openssl req $ec -keyout leaf.key -out leaf.csr -subj /CN=mail; \
         printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > ext; \
         openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
         -extfile ext -out leaf.pem; cat leaf.pem leaf.key > chain.pem";
    let made = Command::new("bash").args(["-c", script]).current_dir(directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
