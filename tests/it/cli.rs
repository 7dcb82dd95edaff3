//! The command line as people use it: the real program, its output and its exit codes.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use insta::{assert_snapshot, with_settings};
use tempfile::TempDir;

/// A directory with a configuration, in which commands are run.
struct Desk {
    directory: TempDir,
}

const GOOD: &str = r#"
roles:
  analyst: { description: "Reads dashboards", permissions: ["dashboard:read"] }
upstreams:
  app: "http://127.0.0.1:3000"
routes:
  - { path: "/**",           upstream: app, allow: authenticated }
  - { path: "/",             upstream: app, allow: public }
  - { path: "/admin/**",     upstream: app, allow: { roles: [admin] } }
  - { path: "/dashboard/**", upstream: app, allow: { permissions: ["dashboard:read"] } }
  - { path: "/reports",      upstream: app, methods: [GET, POST], allow: { permissions: ["reports:read"], verified: true } }
"#;

const PASSWORD: &str = "correct horse battery staple";

impl Desk {
    fn new(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("portcullis.yaml"), configuration).unwrap();
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).current_dir(self.path()).env_clear();
        command
    }

    /// Runs a command with something on its standard input.
    fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that needs no input may have ended before it could be written.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "")
    }

    /// Runs a command that must succeed and gives what it printed.
    fn print(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", told(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn create(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["user", "create", "--password-stdin"];
        all.extend(arguments);
        self.run_with(&all, &format!("{PASSWORD}\n"))
    }
}

/// Everything an operator sees of a command that has ended.
fn told(output: &Output) -> String {
    let mut text = String::new();
    let code = output.status.code().map_or("none".to_owned(), |code| code.to_string());
    writeln!(text, "exit {code}").unwrap();
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            write!(text, "--- {name}\n{}", String::from_utf8_lossy(bytes)).unwrap();
        }
    }
    text
}

/// Runs commands one after another and writes down what each said.
fn transcript(desk: &Desk, lines: &[&[&str]]) -> String {
    let mut text = String::new();
    for arguments in lines {
        let output = if arguments.contains(&"--password-stdin") {
            desk.run_with(arguments, &format!("{PASSWORD}\n"))
        } else {
            desk.run(arguments)
        };
        writeln!(text, "$ portcullis {}\n{}", arguments.join(" "), told(&output)).unwrap();
    }
    text
}

/// Compares with the stored snapshot, with ids, times and this run's directory made equal.
fn check(name: &str, desk: &Desk, text: &str) {
    let directory = regex_of(&desk.path().display().to_string());
    with_settings!({
        prepend_module_to_snapshot => false,
        omit_expression => true,
        filters => vec![
            (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[id]"),
            (r"token=[A-Za-z0-9_-]{64}\n", "token=[token]\n"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[time]"),
            (directory.as_str(), "[directory]"),
        ]
    }, { assert_snapshot!(name, text) });
}

fn regex_of(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("\\{c}") })
        .collect()
}

#[test]
fn help_names_every_command() {
    let desk = Desk::new(GOOD);
    let lines: [&[&str]; 6] = [
        &["--help"],
        &["user", "--help"],
        &["user", "create", "--help"],
        &["user", "grant", "--help"],
        &["explain", "--help"],
        &["--version"],
    ];
    check("help", &desk, &transcript(&desk, &lines));
}

#[test]
fn check_says_what_is_wrong_what_is_doubtful_and_what_is_public() {
    let good = Desk::new(GOOD);
    check("check_good", &good, &transcript(&good, &[&["check"], &["check", "--strict"]]));
    let bad = Desk::new(
        r#"
upstreams: { app: "http://127.0.0.1:3000", other: "ftp://127.0.0.1" }
routs: []
routes:
  - { path: "/**", upstream: ap, allow: authenticated }
  - { path: "/a/../b", upstream: app, allow: publik }
  - { path: "/c", upstream: app }
"#,
    );
    check("check_bad", &bad, &transcript(&bad, &[&["check"], &["serve"], &["routes"]]));
}

#[test]
fn routes_are_listed_most_specific_first() {
    let desk = Desk::new(GOOD);
    check("routes", &desk, &transcript(&desk, &[&["routes"], &["routes", "--json"]]));
}

#[test]
fn explain_tells_the_decision_and_why() {
    let desk = Desk::new(GOOD);
    let lines: [&[&str]; 12] = [
        &["explain", "GET", "/"],
        &["explain", "GET", "/admin/x", "--exit-code"],
        &["explain", "GET", "/admin/x", "--role", "analyst", "--exit-code"],
        &["explain", "GET", "/admin/x", "--role", "admin", "--exit-code"],
        &["explain", "GET", "http://app.example.com/dashboard?q=1", "--permission", "dashboard:*"],
        &["explain", "POST", "/reports", "--permission", "reports:read", "--exit-code"],
        &["explain", "DELETE", "/reports", "--verified", "--exit-code"],
        &["explain", "GET", "/Admin/x", "--role", "analyst", "--json", "--exit-code"],
        &["explain", "GET", "/a/../admin"],
        &["explain", "GET", "/auth/login"],
        &["explain", "POST", "/x", "--role", "admin", "--header", "Origin: https://evil.example"],
        &["explain", "GET", "/x", "--as", "nobody@example.com"],
    ];
    check("explain", &desk, &transcript(&desk, &lines));
}

#[test]
fn explain_knows_accounts_their_grants_and_what_would_help() {
    let desk = Desk::new(GOOD);
    assert_eq!(desk.create(&["ben@example.com", "--role", "analyst"]).status.code(), Some(0));
    let lines: [&[&str]; 6] = [
        &["explain", "GET", "/dashboard", "--as", "ben@example.com", "--exit-code"],
        &["explain", "GET", "/admin", "--as", "BEN@EXAMPLE.COM", "--exit-code"],
        &["user", "grant", "ben@example.com", "admin", "--for", "1h"],
        &["explain", "GET", "/admin", "--as", "ben@example.com", "--exit-code"],
        &["user", "deactivate", "ben@example.com"],
        &["explain", "GET", "/admin", "--as", "ben@example.com", "--exit-code"],
    ];
    check("explain_account", &desk, &transcript(&desk, &lines));
}

#[test]
fn an_account_lives_from_create_to_delete() {
    let desk = Desk::new(GOOD);
    let lines: [&[&str]; 27] = [
        &["user", "list"],
        &["user", "create-admin", "ann@example.com", "--password-stdin"],
        &["user", "create-admin", "ann@example.com", "--password-stdin"],
        &["user", "create-admin"],
        &[
            "user",
            "create",
            "ben@Example.com",
            "--password-stdin",
            "--role",
            "analyst",
            "--role",
            "analist",
            "--first-name",
            "Ben",
            "--last-name",
            "Ng",
            "--username",
            "ben",
            "--unverified",
        ],
        &["user", "create", "BEN@example.com", "--password-stdin"],
        &["user", "create", "no-address", "--password-stdin"],
        &["user", "list"],
        &["user", "show", "ben"],
        &["user", "show", "ben@example.com", "--json"],
        &["user", "verify", "ben@example.com"],
        &["user", "grant", "ben@example.com", "admin", "--until", "2126-01-31T18:00:00Z"],
        &["user", "grant", "ben@example.com", "admin", "--until", "2006-01-31T18:00:00Z"],
        &["user", "grant", "ben@example.com", "admin", "--for", "tomorrow"],
        &["user", "show", "ben@example.com"],
        &["user", "revoke", "ben@example.com", "analist", "ops"],
        &["user", "set-password", "ben@example.com", "--password-stdin"],
        &["user", "deactivate", "ben@example.com"],
        &["user", "reset-link", "ben@example.com"],
        &["user", "activate", "ben@example.com"],
        &["user", "reset-link", "ben@example.com"],
        &["user", "reset-link", "nobody@example.com"],
        &["user", "deactivate", "ann@example.com"],
        &["user", "delete", "ann@example.com"],
        &["user", "delete", "ben@example.com"],
        &["user", "show", "ben@example.com"],
        &["events", "list"],
    ];
    check("user_lifecycle", &desk, &transcript(&desk, &lines));
}

#[test]
fn a_role_lives_from_create_to_delete() {
    let desk = Desk::new(GOOD);
    let lines: [&[&str]; 18] = [
        &["role", "list"],
        &["role", "create", "auditor", "--permission", "dashboard:read", "--description", "Reads"],
        &["role", "create", "Auditor"],
        &["role", "create", "Analyst"],
        &["role", "create", "-x"],
        &["role", "create", "other", "--permission", "nonsense"],
        &["role", "grant", "auditor", "users:read", "reports:*"],
        &["role", "revoke", "auditor", "users:read"],
        &["role", "show", "auditor"],
        &["role", "show", "auditor", "--json"],
        &["role", "show", "auditr"],
        &["role", "grant", "analyst", "users:read"],
        &["role", "grant", "nobody", "users:read"],
        &["permission", "list"],
        &["permission", "list", "--json"],
        &["role", "list", "--json"],
        &["role", "delete", "auditor"],
        &["role", "delete", "auditor"],
    ];
    check("role_lifecycle", &desk, &transcript(&desk, &lines));
}

#[test]
fn lists_are_json_when_asked_for_even_before_there_is_a_database() {
    let desk = Desk::new(GOOD);
    for arguments in [
        &["user", "list", "--json"][..],
        &["session", "list", "--json"],
        &["events", "list", "--json"],
        &["role", "list", "--json"],
        &["permission", "list", "--json"],
        &["routes", "--json"],
    ] {
        let printed = desk.print(arguments);
        let value: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert!(value.is_array(), "{arguments:?}: {printed}");
    }
    let files = fs::read_dir(desk.path()).unwrap().count();
    assert_eq!(files, 1, "reading makes no database");
    assert_eq!(desk.create(&["ann@example.com"]).status.code(), Some(0));
    let events: serde_json::Value =
        serde_json::from_str(&desk.print(&["events", "list", "--json"])).unwrap();
    assert_eq!(events[0]["actor"], "cli");
}

#[test]
fn sessions_are_revoked_by_person_by_id_or_all_and_by_exactly_one_of_them() {
    let desk = Desk::new(GOOD);
    assert_eq!(desk.create(&["ann@example.com"]).status.code(), Some(0));
    let id = "ab".repeat(32);
    let lines: [&[&str]; 7] = [
        &["session", "list"],
        &["session", "revoke", "--user", "ann@example.com"],
        &["session", "revoke", "--user", "nobody@example.com"],
        &["session", "revoke", "--all"],
        &["session", "revoke", "--id", &id],
        &["session", "revoke", "--id", "xyz"],
        &["session", "revoke"],
    ];
    check("sessions", &desk, &transcript(&desk, &lines));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let desk = Desk::new(GOOD);
    for arguments in [
        &["--help"][..],
        &["man"],
        &["completions", "bash"],
        &["schema"],
        &["routes"],
        &["check"],
        &["explain", "GET", "/"],
        &["user", "list", "--json"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = desk.command(arguments).stdin(Stdio::null()).stdout(writer).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut denied = desk.command(&["explain", "GET", "/admin", "--role", "x", "--exit-code"]);
    let status = denied.stdin(Stdio::null()).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(10), "the exit code is the command's own");
}

#[test]
fn a_full_disk_is_a_failure() {
    let desk = Desk::new(GOOD);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = desk.command(&["routes"]).stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_password_is_no_argument_and_appears_nowhere() {
    let desk = Desk::new(GOOD);
    for arguments in [
        &["user", "create", "ann@example.com", "--password", PASSWORD][..],
        &["user", "create", "ann@example.com", PASSWORD],
        &["user", "set-password", "ann@example.com", PASSWORD],
        &["user", "create-admin", "ann@example.com", PASSWORD],
    ] {
        assert_eq!(desk.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let made = told(&desk.create(&["ann@example.com"]));
    assert!(made.starts_with("exit 0"), "{made}");
    assert!(!made.contains(PASSWORD), "{made}");
    for arguments in [
        &["user", "show", "ann@example.com", "--json"][..],
        &["user", "list", "--json"],
        &["events", "list", "--json"],
    ] {
        let printed = desk.print(arguments);
        assert!(!printed.contains(PASSWORD) && !printed.contains("$argon2"), "{printed}");
    }
    for entry in fs::read_dir(desk.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
        assert!(!found, "{}", path.display());
    }
}

#[test]
fn a_password_is_held_to_the_policy_and_must_be_given() {
    let desk = Desk::new(GOOD);
    for password in ["short\n", "password123\n", "\n", ""] {
        let arguments = ["user", "create", "ann@example.com", "--password-stdin"];
        let output = desk.run_with(&arguments, password);
        assert_eq!(output.status.code(), Some(1), "{password:?}: {}", told(&output));
    }
    assert_eq!(desk.print(&["user", "list", "--json"]).trim(), "[]");
}

#[test]
fn init_writes_a_configuration_that_works_and_never_overwrites_one() {
    let desk = Desk::new(GOOD);
    let lines: [&[&str]; 4] = [
        &["init"],
        &["init", "-c", "new.yaml"],
        &["check", "-c", "new.yaml"],
        &["init", "-c", "new.yaml"],
    ];
    check("init", &desk, &transcript(&desk, &lines));
    assert_eq!(fs::read_to_string(desk.path().join("portcullis.yaml")).unwrap(), GOOD);
}

#[test]
fn the_configuration_is_found_by_option_then_variable_then_place() {
    let desk = Desk::new(GOOD);
    fs::write(desk.path().join("other.yaml"), "nonsense: 1\n").unwrap();
    let code = |arguments: &[&str], variable: Option<&str>| {
        let mut command = desk.command(arguments);
        command.envs(variable.map(|value| ("PORTCULLIS_CONFIG", value)));
        command.output().unwrap().status.code()
    };
    assert_eq!(code(&["check"], None), Some(0));
    assert_eq!(code(&["check"], Some("other.yaml")), Some(78));
    assert_eq!(code(&["check", "-c", "portcullis.yaml"], Some("other.yaml")), Some(0));
    assert_eq!(code(&["-c", "other.yaml", "check"], None), Some(78));
    assert_eq!(code(&["check", "-c", "missing.yaml"], None), Some(78));
}

#[test]
fn every_failure_has_its_exit_code() {
    let unreachable = GOOD.to_owned()
        + "secret: \"0f7c1f0e5d8a4b3c9e2d1a6b7c8f9e0d1c2b3a4f5e6d7c8b\"\n"
        + "database: \"postgres://nobody@127.0.0.1:1/none\"\n";
    let desk = Desk::new(&unreachable);
    assert_eq!(desk.run(&["user", "list"]).status.code(), Some(69));
    assert_eq!(desk.run(&["migrate"]).status.code(), Some(69));
    assert_eq!(desk.run(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(desk.run(&[]).status.code(), Some(2));
    let bad = Desk::new("routes: 7\n");
    for command in [&["check"][..], &["migrate"], &["routes"], &["role", "list"]] {
        assert_eq!(bad.run(command).status.code(), Some(78), "{command:?}");
    }
}

#[test]
fn health_is_what_the_management_address_says() {
    // A mistake elsewhere in the file says nothing of the gateway that serves on with the former one.
    let broken = GOOD.replace("allow: ", "alow: ");
    for (status, code, rest) in [
        ("200 OK", Some(0), GOOD),
        ("503 Service Unavailable", Some(1), GOOD),
        ("200 OK", Some(0), broken.as_str()),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Desk::new(&format!("management: \"{address}\"\n{rest}"));
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nwell\n");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let output = desk.run(&["health"]);
        assert_eq!(output.status.code(), code, "{}", told(&output));
        assert_eq!(output.stdout, b"well\n");
        assert!(server.join().unwrap().starts_with("GET /health/ready HTTP/1.1\r\n"));
    }
    let nobody = Desk::new(&format!("management: \"127.0.0.1:1\"\n{GOOD}"));
    assert_eq!(nobody.run(&["health"]).status.code(), Some(1));
    let off = Desk::new(&format!("management: off\n{GOOD}"));
    assert_eq!(off.run(&["health"]).status.code(), Some(1));
}

#[test]
fn completions_manual_and_schema_are_printed_without_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let desk = Desk { directory };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(desk.print(&["completions", shell]).contains("create-admin"), "{shell}");
    }
    let manual = desk.print(&["man"]).replace("\\-", "-");
    for command in ["portcullis explain", "user create-admin", "session revoke", "--password-stdin"]
    {
        assert!(manual.contains(command), "{command}");
    }
    let schema: serde_json::Value = serde_json::from_str(&desk.print(&["schema"])).unwrap();
    assert!(schema["properties"]["routes"].is_object());
}

#[test]
fn the_demo_says_when_its_port_is_taken_and_stays_on_this_machine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let desk = Desk::new(GOOD);
    let taken = desk.run(&["demo", "--listen", &address]);
    assert_eq!(taken.status.code(), Some(69));
    let told = String::from_utf8_lossy(&taken.stderr).replace(&address, "ADDRESS");
    assert_eq!(told, "portcullis: ADDRESS is taken; choose another with --listen\n");
    assert!(!desk.path().join("portcullis-demo").exists(), "nothing was written");
    assert_eq!(desk.run(&["demo", "--listen", "0.0.0.0:0"]).status.code(), Some(2));
}
