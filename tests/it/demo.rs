//! `portcullis demo` and `portcullis serve` as processes: what the README promises.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use portcullis::clock::{Clock, Tick};

use crate::browser::Browser;

/// A gateway as a process of its own, killed if a test leaves it running.
struct Process {
    child: Child,
    /// What it printed until it was up.
    printed: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts a demo that writes its configuration, at an address that is free. The ports next to it,
    /// which the demo takes as well, may be taken by another test between two looks: then once more.
    fn first_demo(directory: &Path, arguments: &[&str]) -> (Self, SocketAddr) {
        for _ in 0..5 {
            let address = free_address();
            let listen = address.to_string();
            let mut demo = Self::demo(directory, &[arguments, &["--listen", &listen]].concat());
            if demo.is_up(address) {
                return (demo, address);
            }
            for entry in fs::read_dir(directory).unwrap() {
                fs::remove_dir_all(entry.unwrap().path()).unwrap();
            }
        }
        panic!("no five ports in a row are free");
    }

    /// Waits until it answers; false when it ends instead.
    fn is_up(&mut self, address: SocketAddr) -> bool {
        loop {
            if TcpStream::connect(address).is_ok() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::yield_now();
        }
    }

    /// Starts a demo and reads what it prints, to the last line.
    fn demo(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = portcullis(directory)
            .arg("demo")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        for line in lines.by_ref() {
            printed.push_str(&line.unwrap());
            printed.push('\n');
            if printed.contains("Stop it with Ctrl-C") {
                break;
            }
        }
        // Access lines follow: they are read so that the pipe never fills.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, printed }
    }

    fn password(&self, email: &str) -> String {
        let line = self.printed.lines().find(|line| line.trim().starts_with(email)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Asks it to stop and gives its exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let clock = Clock::system();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(clock.tick() < Tick::from_millis(45_000), "it does not stop");
            std::thread::yield_now();
        }
    }
}

fn portcullis(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.current_dir(directory).env_clear();
    command
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One request on one connection: the status and everything after it.
fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

fn get(address: SocketAddr, path: &str, token: Option<&str>) -> (u16, String) {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let bearer = bearer.unwrap_or_default();
    let forged = "X-Auth-Roles: forged\r\nx_auth_email: forged\r\n";
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    ask(address, &format!("{head}{bearer}{forged}\r\n"))
}

fn sign_in(address: SocketAddr, email: &str, password: &str) -> String {
    let form = format!("username={email}&password={password}");
    let head = format!(
        "POST /auth/jwt/login HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    let (status, answer) = ask(address, &format!("{head}{form}"));
    assert_eq!(status, 200, "{answer}");
    let body: serde_json::Value =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

const PAGES: [&str; 5] = ["/", "/protected", "/admin", "/dashboard", "/users/manage"];

#[test]
fn the_demo_shows_the_main_job() {
    let directory = tempfile::tempdir().unwrap();
    let (demo, address) = Process::first_demo(directory.path(), &["--dir", "shown"]);
    assert!(demo.printed.contains("shown/portcullis.yaml"), "{}", demo.printed);

    let cases = [
        (None, [200, 401, 401, 401, 401]),
        (Some("ann@example.com"), [200, 200, 200, 200, 200]),
        (Some("ben@example.com"), [200, 200, 403, 200, 403]),
        (Some("cat@example.com"), [200, 200, 403, 403, 403]),
    ];
    for (email, expected) in cases {
        let token = email.map(|email| sign_in(address, email, &demo.password(email)));
        let statuses = PAGES.map(|page| get(address, page, token.as_deref()).0);
        assert_eq!(statuses, expected, "{email:?}");
    }
    let ben = sign_in(address, "ben@example.com", &demo.password("ben@example.com"));
    let (_, page) = get(address, "/dashboard", Some(&ben));
    assert!(page.contains("ben@example.com") && page.contains("analyst"), "{page}");
    assert!(!page.contains("forged"), "{page}");
    assert_eq!(get(address, "/elsewhere", Some(&ben)).0, 404);

    let change = |arguments: &[&str]| {
        let shown = format!(" -c shown/portcullis.yaml {}\n", arguments.join(" "));
        assert!(demo.printed.contains(&shown), "{shown}: {}", demo.printed);
        let mut command = portcullis(directory.path());
        let output = command.args(["-c", "shown/portcullis.yaml"]).args(arguments).output();
        assert!(output.unwrap().status.success(), "{shown}");
    };
    let ben_gets = |status: u16, patience: u64, what: &str| {
        let clock = Clock::system();
        while get(address, "/admin", Some(&ben)).0 != status {
            assert!(clock.tick() < Tick::from_millis(patience), "{what}");
        }
    };
    change(&["explain", "GET", "/admin", "--as", "ben@example.com"]);
    change(&["user", "grant", "ben@example.com", "admin", "--for", "10m"]);
    ben_gets(200, 1000, "a grant is in force within a second");
    change(&["user", "revoke", "ben@example.com", "admin"]);
    ben_gets(403, 1000, "a revocation is in force within a second");

    assert!(demo.printed.contains("roles: [admin, analyst]"), "{}", demo.printed);
    let file = directory.path().join("shown/portcullis.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("roles: [admin]", "roles: [admin, analyst]")).unwrap();
    ben_gets(200, 10_000, "a changed file is taken over");
    let ann = sign_in(address, "ann@example.com", &demo.password("ann@example.com"));
    assert_eq!(get(address, "/admin", Some(&ann)).0, 200);
    assert_eq!(demo.stop(), Some(0));
}

#[test]
fn a_second_demo_keeps_the_file_and_the_people_and_makes_new_passwords() {
    let directory = tempfile::tempdir().unwrap();
    let (first, address) = Process::first_demo(directory.path(), &[]);
    let file = directory.path().join("portcullis-demo/portcullis.yaml");
    let changed = fs::read_to_string(&file).unwrap() + "\n# kept\n";
    fs::write(&file, &changed).unwrap();
    let old = first.password("cat@example.com");
    assert_eq!(first.stop(), Some(0));

    let mut second = Process::demo(directory.path(), &[]);
    assert!(second.is_up(address));
    assert_eq!(fs::read_to_string(&file).unwrap(), changed);
    let new = second.password("cat@example.com");
    assert_ne!(old, new);
    let token = sign_in(address, "cat@example.com", &new);
    assert_eq!(get(address, "/protected", Some(&token)).0, 200);

    let other = free_address().to_string();
    let output = portcullis(directory.path()).args(["demo", "--listen", &other]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "the file says otherwise");
    let output = portcullis(directory.path()).args(["demo"]).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "the port is taken");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains(&format!("{address} is taken; change it in ")), "{told}");
    assert_eq!(second.stop(), Some(0));
}

#[test]
fn serve_fails_with_69_when_its_port_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!(
        "listen: [{{ address: \"{address}\" }}]\nmanagement: off\n\
         upstreams: {{ app: \"http://127.0.0.1:1\" }}\n\
         routes: [{{ path: \"/**\", upstream: app, allow: public }}]\n"
    );
    fs::write(directory.path().join("portcullis.yaml"), text).unwrap();
    let output = portcullis(directory.path()).arg("serve").output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains(&address.to_string()), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_the_main_job_in_a_browser() {
    let directory = tempfile::tempdir().unwrap();
    let (demo, address) = Process::first_demo(directory.path(), &[]);
    let site = format!("http://localhost:{}", address.port());
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/")).await;
    browser.check_page("the sample application").await;
    browser.set_width(1280).await;
    browser.goto(&format!("{site}/dashboard")).await;
    browser.sign_in("ben@example.com", &demo.password("ben@example.com")).await;
    browser.wait_for_address(|address| address.ends_with("/dashboard")).await;
    let shown = browser.text().await;
    assert!(shown.contains("ben@example.com") && shown.contains("analyst"), "{shown}");
    browser.quit().await;
}
