//! What is written down of what happens to accounts: everything that changes something leaves one event
//! that says who did it, from where, and it stays as long as the file says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis::accounts::LinkKind;
use portcullis::store::{Event, WrongPassword};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::harness::{Gateway, PASSWORD, run};
use crate::pages::hidden_fields;
use crate::raw::{Client, Response};

const YAML: &str = r#"
upstreams: { app: "http://127.0.0.1:1" }
roles: { editor: { permissions: ["text:write"] } }
routes: [{ path: "/app", upstream: app, allow: authenticated }]
accounts: { registration: invite }
"#;

/// A directory with a configuration, in which commands are run beside nothing.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("portcullis.yaml"), YAML).unwrap();
        Self(directory)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let file = self.0.path().join("portcullis.yaml");
        let all = [arguments, &["-c", file.to_str().unwrap()]].concat();
        let output = run(&all, &BTreeMap::new(), PASSWORD);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Newest first.
    fn events(&self, more: &[&str]) -> Vec<Json> {
        let text = self.run(&[&["events", "list", "--json"], more].concat());
        serde_json::from_str(&text).unwrap()
    }
}

/// What operators do: the command, and the kinds of the events that it leaves.
const CHANGES: &[(&[&str], &[&str])] = &[
    (
        &["user", "create", "ann@example.com", "--password-stdin", "--role", "editor"],
        &["user-created"],
    ),
    (&["user", "create-admin", "root@example.com", "--password-stdin"], &["user-created"]),
    (&["user", "create-admin", "root@example.com", "--password-stdin"], &[]),
    (&["user", "set-password", "ann@example.com", "--password-stdin"], &["update"]),
    (&["user", "reset-link", "ann@example.com"], &["reset-link"]),
    (&["user", "deactivate", "ann@example.com"], &["update"]),
    (&["user", "deactivate", "ann@example.com"], &[]),
    (&["user", "activate", "ann@example.com"], &["update"]),
    (&["user", "create", "bob@example.com", "--password-stdin", "--unverified"], &["user-created"]),
    (&["user", "verify", "bob@example.com"], &["update"]),
    (&["user", "grant", "bob@example.com", "editor", "admin", "--for", "8h"], &["grant", "grant"]),
    (&["user", "revoke", "bob@example.com", "editor"], &["revoke"]),
    (&["user", "delete", "bob@example.com"], &["delete"]),
    (&["user", "invite", "dan@example.com", "--role", "editor"], &["invite"]),
    (&["invitation", "revoke", "dan@example.com"], &["invitation-revoked"]),
    (&["user", "import", "{people}", "--dry-run"], &[]),
    (&["user", "import", "{people}"], &["users-imported"]),
    (&["user", "import", "{everybody}", "--replace", "--yes"], &["users-replaced"]),
    (&["role", "create", "writer", "--permission", "text:write"], &["role-created"]),
    (&["role", "grant", "writer", "text:read"], &["role-granted"]),
    (&["role", "revoke", "writer", "text:read"], &["role-revoked"]),
    (&["role", "delete", "writer"], &["role-deleted"]),
    (&["role", "import", "{roles}", "--dry-run"], &[]),
    (&["role", "import", "{roles}"], &["roles-imported"]),
    (&["role", "import", "{roles}", "--replace", "--yes"], &["roles-replaced"]),
];

/// Commands that change nothing of accounts, roles and sessions, or whose change is looked at elsewhere.
const OTHERS: &[&str] = &[
    "backup",
    "check",
    "completions",
    "demo",
    "events list",
    "explain",
    "health",
    "import",
    "init",
    "invitation list",
    "man",
    "migrate",
    "permission list",
    "role export",
    "role list",
    "role show",
    "routes",
    "schema",
    "serve",
    "session list",
    "session revoke",
    "user export",
    "user list",
    "user show",
    "user unlink",
];

/// The names of all commands, as the program tells them.
fn commands(above: &str) -> BTreeSet<String> {
    let mut arguments: Vec<&str> = above.split_whitespace().collect();
    arguments.push("--help");
    let help = String::from_utf8(run(&arguments, &BTreeMap::new(), "").stdout).unwrap();
    let Some((_, listed)) = help.split_once("Commands:\n") else {
        return BTreeSet::from([above.to_owned()]);
    };
    let lines = listed.lines().take_while(|line| !line.is_empty());
    // A description goes on in lines that stand further in.
    let names = lines.filter_map(|line| {
        line.strip_prefix("  ")?
            .split_whitespace()
            .next()
            .filter(|_| line.as_bytes().get(2).is_some_and(|byte| *byte != b' '))
    });
    names
        .filter(|name| *name != "help")
        .flat_map(|name| commands(format!("{above} {name}").trim()))
        .collect()
}

#[test]
fn every_change_by_the_command_line_leaves_one_event_that_says_so() {
    let desk = Desk::new();
    let files = [
        ("{people}", desk.file("people.jsonl", "{\"email\": \"cleo@example.com\"}\n")),
        (
            "{everybody}",
            desk.file("all.jsonl", "{\"email\": \"ann@example.com\", \"is_superuser\": true}\n"),
        ),
        ("{roles}", desk.file("roles.jsonl", "{\"name\": \"reader\", \"permissions\": []}\n")),
    ];
    let mut done = BTreeSet::new();
    let mut known = 0;
    for (command, kinds) in CHANGES {
        let mut arguments: Vec<&str> = command.to_vec();
        for (name, path) in &files {
            arguments.iter_mut().filter(|word| *word == name).for_each(|word| *word = path);
        }
        desk.run(&arguments);
        let events = desk.events(&[]);
        let fresh = &events[..events.len() - known];
        known = events.len();
        let left: Vec<&str> = fresh.iter().map(|event| event["kind"].as_str().unwrap()).collect();
        assert_eq!(left, *kinds, "{command:?}");
        for event in fresh {
            assert_eq!(event["actor"], "cli", "{command:?}");
            let is_of_somebody =
                command[0] == "user" && !["import", "invite"].contains(&command[1]);
            assert_eq!(event["user"].is_string(), is_of_somebody, "{command:?}: {event}");
        }
        done.insert(command[..2].join(" "));
    }
    let told = commands("");
    let looked_at: BTreeSet<String> =
        done.into_iter().chain(OTHERS.iter().map(|name| (*name).to_owned())).collect();
    assert_eq!(told, looked_at, "a command is missing here, or is none");
}

#[test]
fn events_are_listed_by_account_kind_and_time() {
    let desk = Desk::new();
    for who in ["ann@example.com", "bob@example.com"] {
        desk.run(&["user", "create", who, "--password-stdin"]);
    }
    let shown: Json =
        serde_json::from_str(&desk.run(&["user", "show", "bob@example.com", "--json"])).unwrap();
    let id = shown["id"].as_str().unwrap();
    desk.run(&["user", "grant", "bob@example.com", "editor"]);
    desk.run(&["user", "delete", "bob@example.com"]);
    let kinds = |more: &[&str]| {
        let events = desk.events(more);
        let kinds = events.iter().map(|event| event["kind"].as_str().unwrap().to_owned());
        kinds.collect::<Vec<_>>()
    };
    // An account that is gone is named by its id.
    assert_eq!(kinds(&["--user", id]), ["delete", "grant", "user-created"]);
    assert_eq!(kinds(&["--user", id, "--kind", "grant"]), ["grant"]);
    assert_eq!(kinds(&["--kind", "user-created"]), ["user-created"; 2]);
    assert_eq!(kinds(&["--user", "ann@example.com"]), ["user-created"]);
    assert_eq!(kinds(&["--since", "1h", "--limit", "2"]), ["delete", "grant"]);
    assert_eq!(kinds(&["--since", "2099-01-31T18:00:00Z"]), Vec::<String>::new());
    assert_eq!(kinds(&["--since", "2020-01-31T18:00:00+01:00"]).len(), 4);
    let file = desk.0.path().join("portcullis.yaml");
    for (more, told) in [
        (["--since", "yesterday"], ["not a time", "24h"]),
        (["--kind", "sign-ins"], ["sign-in-failed", "mail-failed"]),
    ] {
        let arguments = [&["events", "list", "-c", file.to_str().unwrap()], &more[..]].concat();
        let refused = run(&arguments, &BTreeMap::new(), "");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(told.iter().all(|part| said.contains(part)), "{said}");
    }
}

const AGENT: &str = "A browser of ann's/1.0";

/// The events since those that are known.
async fn fresh(gateway: &Gateway, known: &mut usize, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..250 {
        events = gateway.running.store().list_events(None, 1000).await.unwrap();
        if events.len() >= *known + count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    events.truncate(events.len() - *known);
    *known += events.len();
    events
}

async fn send_json(client: &Client, to: &str, body: Json) -> Response {
    let call = client.post(to).header("User-Agent", AGENT);
    call.body("application/json", body.to_string()).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_themselves_leaves_one_event_with_address_and_agent() {
    let gateway = Gateway::builder(YAML).start().await;
    let mut known = 0;
    let mut expect = async |kind: &str, actor: &str| {
        let events = fresh(&gateway, &mut known, 1).await;
        let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, [kind]);
        let event = &events[0];
        assert_eq!(event.actor, actor, "{kind}");
        if actor != "cli" {
            assert_eq!(event.address, Some(gateway.address.ip()), "{kind}");
            assert_eq!(event.agent, AGENT, "{kind}");
        }
        assert_eq!(event.user.is_some(), actor != "nobody@example.com", "{kind}");
    };
    gateway.person("ann").unverified().create().await;
    expect("user-created", "cli").await;
    let sign_in = |to: &str, who: &str, password: &str| {
        let fields = [("username", who), ("password", password)];
        gateway.client().post(to).header("User-Agent", AGENT).form(&fields)
    };
    let cookie = sign_in("/auth/cookie/login", "ann@example.com", PASSWORD);
    cookie.send().await.expect(204);
    expect("sign-in", "ann@example.com").await;
    let bearer = sign_in("/auth/jwt/login", "ann@example.com", PASSWORD).send().await.expect(200);
    expect("sign-in", "ann@example.com").await;
    sign_in("/auth/jwt/login", "ann@example.com", "wrong").send().await.expect(400);
    expect("sign-in-failed", "ann@example.com").await;
    sign_in("/auth/jwt/login", "nobody@example.com", "wrong").send().await.expect(400);
    expect("sign-in-failed", "nobody@example.com").await;
    let client = gateway.client().with_bearer(bearer.json()["access_token"].as_str().unwrap());
    client.post("/auth/jwt/logout").header("User-Agent", AGENT).send().await.expect(204);
    expect("sign-out", "ann@example.com").await;
    let token = gateway.link("ann", LinkKind::Verify).await;
    let token = token.split_once("?token=").unwrap().1;
    let client = gateway.client();
    send_json(&client, "/auth/verify", json!({ "token": token })).await.expect(200);
    expect("verify", "ann@example.com").await;
    let token = gateway.link("ann", LinkKind::Reset).await;
    let token = token.split_once("?token=").unwrap().1;
    let body = json!({ "token": token, "password": PASSWORD });
    send_json(&client, "/auth/reset-password", body).await.expect(200);
    expect("reset", "ann@example.com").await;
    let browser = gateway.client();
    let page = browser.visit("/auth/login").send().await.expect(200).text();
    let mut fields = hidden_fields(&page);
    fields.push(("username".to_owned(), "ann@example.com".to_owned()));
    fields.push(("password".to_owned(), PASSWORD.to_owned()));
    let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let call = browser.post("/auth/login").header("User-Agent", AGENT).form(&fields);
    call.navigating_from("same-origin").send().await.expect(303);
    expect("sign-in", "ann@example.com").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_the_api_leave_one_event_that_says_who_changed_what() {
    let gateway = Gateway::builder(YAML).start().await;
    let (ann, bob) = (gateway.person("ann").sign_in().await, gateway.person("bob").create().await);
    let root = gateway.person("root").superuser().sign_in().await;
    let mut known = gateway.running.store().list_events(None, 100).await.unwrap().len();
    let (own, other) = ("/auth/users/me", format!("/auth/users/{}", bob.id));
    let changes = [
        (&ann, own, json!({ "first_name": "Ann", "is_superuser": true }), Some("first_name")),
        (&ann, own, json!({ "first_name": "Ann" }), None),
        (&ann, own, json!({}), None),
        (&ann, own, json!({ "email": "root@example.com" }), None),
        (
            &ann,
            own,
            json!({ "email": "anna@example.com", "password": "nine herons over the weir" }),
            Some("email, password, is_verified=false"),
        ),
        (
            &root,
            &*other,
            json!({ "last_name": "Other", "is_superuser": true }),
            Some("last_name, is_superuser=true"),
        ),
        (&root, &*other, json!({ "email": "b@example.com", "is_verified": true }), Some("email")),
        (&root, &*other, json!({ "is_active": false }), Some("is_active=false")),
        (&root, &*other, json!({ "is_active": false }), None),
    ];
    for (client, to, body, detail) in changes {
        let call = client.call("PATCH", to).header("User-Agent", AGENT);
        let status = call.body("application/json", body.to_string()).send().await.status;
        assert!(matches!((status, detail), (200, _) | (400, None)), "{status}: {body}");
        let events = fresh(&gateway, &mut known, usize::from(detail.is_some())).await;
        let told: Vec<_> = events.iter().map(|event| (&*event.kind, &*event.detail)).collect();
        let expected: Vec<_> = detail.map(|detail| ("update", detail)).into_iter().collect();
        assert_eq!(told, expected, "{to}: {body}");
        for event in events {
            let is_own = to == own;
            let actor = if is_own { "ann@example.com" } else { "root@example.com" };
            assert_eq!((event.actor.as_str(), event.agent.as_str()), (actor, AGENT), "{body}");
            assert_eq!(event.address, Some(gateway.address.ip()));
            assert_eq!(event.user == Some(bob.id), !is_own);
        }
    }
    for (status, kinds) in [(204, ["delete"].as_slice()), (404, &[])] {
        root.call("DELETE", &other).header("User-Agent", AGENT).send().await.expect(status);
        let events = fresh(&gateway, &mut known, kinds.len()).await;
        let left: Vec<_> = events.iter().map(|event| &*event.kind).collect();
        assert_eq!(left, kinds);
        let is_told = |event: &Event| {
            event.user == Some(bob.id)
                && event.actor == "root@example.com"
                && event.agent == AGENT
                && event.address == Some(gateway.address.ip())
        };
        assert!(events.iter().all(is_told), "{events:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_an_operator_ends_leave_one_event() {
    let gateway = Gateway::builder(YAML).start().await;
    let ann = gateway.person("ann").sign_in().await;
    let mut known = 2;
    let id = gateway.running.store().list_sessions(None, gateway.clock.now(), 1).await.unwrap();
    let id =
        id[0].0.id.iter().fold(String::new(), |text, byte| text + format!("{byte:02x}").as_str());
    for (which, kinds) in [
        (["--id", &id].as_slice(), ["sessions-revoked"].as_slice()),
        (&["--user", "ann@example.com"], &["sessions-revoked"]),
        (&["--all"], &["sessions-revoked"]),
        (&["--all"], &[]),
    ] {
        if !kinds.is_empty() && which[0] != "--id" {
            gateway.sign_in("ann").await;
            known += 1;
        }
        let file = gateway.file.to_str().unwrap();
        let arguments = [&["session", "revoke"], which, &["-c", file]].concat();
        let output = run(&arguments, &BTreeMap::new(), "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let events = fresh(&gateway, &mut known, kinds.len()).await;
        let left: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(left, kinds, "{which:?}");
        assert!(events.iter().all(|event| event.actor == "cli"));
        assert_eq!(events.iter().any(|event| event.user.is_some()), which[0] == "--user");
    }
    ann.get("/auth/users/me").send().await.expect(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_stay_as_long_as_the_file_says() {
    let gateway = Gateway::builder(YAML).key("events", "{ retention: 1d }").start().await;
    let store = gateway.running.store();
    let now = gateway.clock.now();
    let event = |hours: u64, kind: &str| Event {
        at: now.before(Duration::from_hours(hours)),
        kind: kind.to_owned(),
        user: None,
        actor: String::new(),
        address: None,
        agent: String::new(),
        detail: String::new(),
    };
    for (hours, kind) in [(30, "old"), (20, "young"), (2, "new")] {
        store.insert_event(&event(hours, kind)).await.unwrap();
    }
    let left_until = async |count: usize| {
        for _ in 0..500 {
            let events = store.list_events(None, 10).await.unwrap();
            if events.len() <= count {
                return events.into_iter().map(|event| event.kind).collect::<Vec<_>>();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nothing was removed");
    };
    gateway.advance(Duration::from_mins(11));
    assert_eq!(left_until(2).await, ["new", "young"]);
    gateway.reload("retention: 1d", "retention: 12h");
    gateway.advance(Duration::from_mins(11));
    assert_eq!(left_until(1).await, ["new"]);
}

#[test]
fn the_page_of_events_lists_the_kinds_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/events.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert_eq!(listed, BTreeSet::from(Event::KINDS), "the page and the program");
    let failures = WrongPassword::ALL.map(WrongPassword::kind);
    for kind in CHANGES.iter().flat_map(|(_, kinds)| *kinds).chain(&failures) {
        assert!(listed.contains(kind), "{kind} is not listed");
    }
    let mut sources = Vec::new();
    collect_sources(&root.join("src"), &mut sources);
    // Where the list itself stands, nothing is written down.
    sources.retain(|path| !path.ends_with("store/rows.rs"));
    let source: String =
        sources.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for kind in &listed {
        assert!(source.contains(&format!("\"{kind}\"")), "nothing writes {kind}");
    }
    // What is written down is named where the event is made.
    for call in source.split(".event(").skip(1) {
        let arguments = call.split(';').next().unwrap_or_default();
        for word in arguments.split('"').skip(1).step_by(2) {
            assert!(listed.contains(word), "{word} is not listed");
        }
    }
}

fn collect_sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
