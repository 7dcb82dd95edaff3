//! An application of `examples/` that nobody here wrote, run for real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::browser::{Browser, python};
use crate::harness::{Gateway, PASSWORD, Process, email, free_port};

/// The directory of an example.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// A Python program on a port of its own. Dropping it kills it.
pub struct Application {
    child: Child,
    place: Place,
}

/// An application about to be started.
pub struct Start {
    command: Command,
    place: Place,
}

/// Where an application stands.
struct Place {
    example: &'static str,
    /// Where it listens, on 127.0.0.1.
    port: u16,
    /// Where the gateway before it will listen.
    gateway: u16,
    /// What it keeps; its output is there too.
    directory: TempDir,
}

impl Place {
    /// Puts ports and directory in for `{port}`, `{gateway}` and `{directory}`.
    fn fill(&self, text: &str) -> String {
        text.replace("{port}", &self.port.to_string())
            .replace("{gateway}", &self.gateway.to_string())
            .replace("{directory}", &self.directory.path().display().to_string())
    }
}

impl Application {
    /// Prepares a Python program of the tests' virtual environment (`-m MODULE`) or of the example
    /// itself (`FILE`), run in the directory of the example.
    pub fn prepare(example_name: &'static str, python_arguments: &[&str]) -> Start {
        let directory = tempfile::Builder::new().prefix("application-").tempdir().unwrap();
        let mut command = Command::new(python());
        command
            .args(python_arguments)
            .current_dir(example(example_name))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1");
        let (port, gateway) = (free_port(), free_port());
        Start { command, place: Place { example: example_name, port, gateway, directory } }
    }

    /// Where it answers without the gateway.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.place.port)
    }

    /// What it has said so far, on both outputs.
    pub fn said(&self) -> String {
        fs::read_to_string(self.place.directory.path().join("said")).unwrap()
    }

    /// Waits until it has said a text.
    pub async fn wait_for(&self, text: &str) {
        for _ in 0..1_000 {
            if self.said().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not say {text}: {}", self.said());
    }

    /// Starts the gateway before it, with the file as it stands in the example.
    pub async fn behind_the_gateway(&self) -> Process {
        self.behind_the_gateway_with(str::to_owned).await
    }

    /// Starts the gateway before it, with the file of the example changed.
    pub async fn behind_the_gateway_with(&self, change: impl Fn(&str) -> String) -> Process {
        let file = example(self.place.example).join("portcullis.yaml");
        let port = self.place.gateway.to_string();
        Gateway::builder(&change(&fs::read_to_string(file).unwrap()))
            .with("APP_PORT", &self.place.port.to_string())
            .with("GATEWAY_PORT", &port)
            .with("PORT", &port)
            .spawn()
            .await
    }
}

impl Start {
    /// With an argument; `{port}`, `{gateway}` and `{directory}` stand for its own port, the gateway's
    /// and a directory of its own.
    pub fn argument(mut self, argument: &str) -> Self {
        self.command.arg(self.place.fill(argument));
        self
    }

    /// With an environment variable, in which the same words stand for the same.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, self.place.fill(value));
        self
    }

    /// Starts it and waits until it listens.
    pub async fn start(self) -> Application {
        let Self { place, mut command } = self;
        let said = fs::File::create(place.directory.path().join("said")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .expect("Python: run scripts/test once");
        let mut application = Application { child, place };
        for _ in 0..1_200 {
            let address = ("127.0.0.1", application.place.port);
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return application;
            }
            let ended = application.child.try_wait().unwrap();
            assert!(ended.is_none(), "it has ended: {}", application.said());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("it does not listen: {}", application.said());
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// The token of a new bearer session, got as a script gets it.
pub async fn bearer(process: &Process, who: &str) -> String {
    let fields = [("username", &*email(who)), ("password", PASSWORD)];
    let answer = process.client().call("POST", "/auth/jwt/login").form(&fields).send().await;
    answer.expect(200).json()["access_token"].as_str().unwrap().to_owned()
}

/// Everything the page shows, what stands in the shadow trees of its components too.
const SHOWN: &str = "const texts = [];
    const walk = (node) => {
        if (node.nodeType === Node.TEXT_NODE) texts.push(node.data);
        if (node.nodeName === 'SCRIPT' || node.nodeName === 'STYLE') return;
        if (node.shadowRoot) walk(node.shadowRoot);
        node.childNodes.forEach(walk);
    };
    walk(document.body);
    return texts.join(' ');";

impl Browser {
    /// Waits until the page shows a text.
    pub async fn wait_to_show(&self, text: &str) {
        let mut shown = String::new();
        for _ in 0..400 {
            let page = self.script(SHOWN, Vec::new()).await;
            page.as_str().unwrap().clone_into(&mut shown);
            if shown.contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{text} is not shown at {}: {shown}", self.address().await);
    }
}

#[test]
fn every_application_has_a_short_file_for_the_gateway_and_says_how_to_run_it() {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requirements.txt");
    let tools = fs::read_to_string(tools).unwrap();
    let entries = fs::read_dir(example("")).unwrap().map(|entry| entry.unwrap().path());
    let mut seen = 0;
    // What has no file for the gateway of its own (accounts, providers, a look) is no application.
    for directory in entries.filter(|path| path.join("portcullis.yaml").exists()) {
        let name = directory.display();
        let read = |file: &str| {
            let text = fs::read_to_string(directory.join(file));
            text.unwrap_or_else(|error| panic!("{name}/{file}: {error}"))
        };
        let length = read("portcullis.yaml").lines().count();
        assert!(length <= 15, "{name}: {length} lines");
        let readme = read("README.md");
        for command in ["portcullis user", "portcullis serve"] {
            assert!(readme.contains(command), "{name}: {command}");
        }
        // One of a few files of its own needs nothing installed.
        if directory.join("requirements.txt").exists() {
            assert!(readme.contains("pip install -r requirements.txt"), "{name}");
            for pin in read("requirements.txt").lines() {
                assert!(
                    tools.lines().any(|tool| tool == pin),
                    "{name}: {pin} is not what is tested"
                );
            }
        }
        seen += 1;
    }
    assert!(seen >= 4, "only {seen} applications found");
}
