//! What comes out: who gets which answer, what a request may set, and what logs and pages make of text that
//! somebody else wrote.

use std::collections::BTreeSet;
use std::path::Path;

use portcullis::accounts::LinkKind;
use serde_json::{Value as Json, json};

use crate::harness::{Gateway, PASSWORD, Process};
use crate::raw::{Client, Raw};
use crate::upstream::Upstream;

const YAML: &str = r#"
upstreams: { app: "${APP}" }
roles: { editor: { permissions: ["text:write"] } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public", upstream: app, allow: public }
trusted_proxies: ["127.0.0.1"]
accounts: { registration: open }
mail: { from: "quay@example.com", directory: mail }
limits: off
"#;

/// Who may call an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admits {
    Anybody,
    SignedIn,
    Superusers,
}

use Admits::{Anybody, SignedIn, Superusers};

/// Every address of the API below the portal: the arm of the source it stands for, where it is, its methods.
const ADDRESSES: &[(&str, &str, &[&str], Admits)] = &[
    (r#"["jwt", "login"]"#, "jwt/login", &["POST"], Anybody),
    (r#"["cookie", "login"]"#, "cookie/login", &["POST"], Anybody),
    (r#"["jwt" | "cookie", "logout"]"#, "jwt/logout", &["POST"], SignedIn),
    (r#"["session"]"#, "session", &["GET"], Anybody),
    (r#"["register"]"#, "register", &["POST"], Anybody),
    (r#"["reset-password"]"#, "reset-password", &["POST"], Anybody),
    (r#"["verify"]"#, "verify", &["POST"], Anybody),
    (r#"["forgot-password"]"#, "forgot-password", &["POST"], Anybody),
    (r#"["request-verify-token"]"#, "request-verify-token", &["POST"], Anybody),
    (r#"["openapi.json"]"#, "openapi.json", &["GET"], Anybody),
    (r#"["me"]"#, "users/me", &["GET", "PATCH"], SignedIn),
    ("[id]", "users/{id}", &["GET", "PATCH", "DELETE"], Superusers),
    (r#"["invitations"]"#, "invitations", &["GET", "POST"], Superusers),
    (r#"["invitations", id]"#, "invitations/{id}", &["DELETE"], Superusers),
];

/// What is looked at elsewhere: below one of these, or of providers.
const ELSEWHERE: [&str; 1] = [r#"["users", rest @ ..]"#];

fn source(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Sends a method with a body that no endpoint takes.
async fn status_of(client: &Client, method: &str, path: &str) -> u16 {
    let call = client.call(method, path).header("Origin", &client.origin());
    call.body("application/json", "[1]").send().await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn out_05_every_endpoint_looks_at_the_caller_before_anything_else() {
    let endpoints = source("src/api/endpoint.rs");
    let arms = endpoints.lines().filter(|line| line.contains("] => S"));
    let arms: BTreeSet<&str> = arms.map(|line| line.split(" =>").next().unwrap().trim()).collect();
    let listed: BTreeSet<&str> = ADDRESSES.iter().map(|(arm, ..)| *arm).chain(ELSEWHERE).collect();
    assert_eq!(arms, listed, "an address is missing here, or is none");
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    let ann = gateway.person("ann").role("editor").sign_in_with_bearer().await;
    let bob = gateway.person("bob").create().await;
    let root = gateway.person("root").superuser().sign_in_with_bearer().await;
    for (_, path, methods, admits) in ADDRESSES {
        let path = format!("/auth/{}", path.replace("{id}", &bob.id.to_string()));
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let is_page = method == "GET" && !methods.contains(&"GET");
            for (client, is_user, is_superuser) in
                [(&gateway.client(), false, false), (&ann, true, false), (&root, true, true)]
            {
                let status = status_of(client, method, &path).await;
                let expected: &[u16] = match (methods.contains(&method), admits) {
                    // A page may stand at the same address.
                    (false, _) if is_page => &[200, 404, 405],
                    (false, _) => &[405],
                    (true, SignedIn | Superusers) if !is_user => &[401],
                    (true, Superusers) if !is_superuser => &[403],
                    (true, Anybody | SignedIn | Superusers) => &[200, 204, 404, 422],
                };
                let who = (is_user, is_superuser);
                assert!(expected.contains(&status), "{status}: {method} {path} {who:?}");
            }
            // Signed in again where that call has signed out, and made again where it has deleted.
            if path.ends_with("logout") && method == "POST" {
                assert_eq!(status_of(&ann, "POST", &path).await, 401);
                return second_half(&gateway, path.as_str()).await;
            }
        }
    }
}

/// The rest of the table, by people signed in anew: a sign-out stands in its midst.
async fn second_half(gateway: &Gateway, after: &str) {
    let bob = gateway.person("dan").create().await;
    let at = ADDRESSES.iter().position(|(_, path, ..)| after.ends_with(path)).unwrap();
    let (ann, root) =
        (gateway.sign_in_with_bearer("ann").await, gateway.sign_in_with_bearer("root").await);
    for (_, path, methods, admits) in &ADDRESSES[at + 1..] {
        let path = format!("/auth/{}", path.replace("{id}", &bob.id.to_string()));
        for method in *methods {
            let statuses = [
                status_of(&gateway.client(), method, &path).await,
                status_of(&ann, method, &path).await,
                status_of(&root, method, &path).await,
            ];
            let let_in = |status: &u16| matches!(status, 200 | 204 | 404 | 422);
            let expected = match admits {
                Anybody => [true, true, true],
                SignedIn => [false, true, true],
                Superusers => [false, false, true],
            };
            let found = [let_in(&statuses[0]), let_in(&statuses[1]), let_in(&statuses[2])];
            assert_eq!(found, expected, "{method} {path}: {statuses:?}");
            assert!(let_in(&statuses[0]) || statuses[0] == 401, "{method} {path}: {statuses:?}");
            assert!(let_in(&statuses[1]) || statuses[1] == 403, "{method} {path}: {statuses:?}");
        }
    }
}

/// The addresses of a provider, which calls use: arm of the source, where it is, its methods.
const OF_PROVIDERS: &[(&str, &str, &[&str], Admits)] = &[
    (r#"[provider, "authorize"]"#, "corp/authorize", &["GET"], Anybody),
    (r#"[provider, "callback"]"#, "corp/callback", &["GET"], Anybody),
    (r#"[provider, "backchannel-logout"]"#, "corp/backchannel-logout", &["POST"], Anybody),
    (r#"["associate", provider, "authorize"]"#, "associate/corp/authorize", &["GET"], SignedIn),
    (r#"["associate", provider, "callback"]"#, "associate/corp/callback", &["GET"], SignedIn),
    (r#"["associate"]"#, "associate", &["GET"], SignedIn),
    (r#"["associate", provider]"#, "associate/corp", &["DELETE"], SignedIn),
];

/// The pages that take a form: arm of the source, and an address it stands for.
pub const FORMS: &[(&str, &str, Admits)] = &[
    ("Page::SignIn", "login", Anybody),
    ("Page::SignOut", "logout", SignedIn),
    ("Page::SetUp", "setup", Anybody),
    ("Page::Part(Part::Change(what))", "account/profile", SignedIn),
    ("Page::Part(Part::Change(what))", "account/email", SignedIn),
    ("Page::Part(Part::Change(what))", "account/password", SignedIn),
    ("Page::Part(Part::Devices)", "account/devices", SignedIn),
    ("Page::Part(Part::Delete)", "account/delete", SignedIn),
    ("Page::Register", "register", Anybody),
    ("Page::Letter(wish)", "forgot-password", Anybody),
    ("Page::Letter(wish)", "request-verify-token", Anybody),
    ("Page::Invitation", "invitation", Anybody),
    ("Page::Link(kind)", "reset-password", Anybody),
    ("Page::Link(kind)", "verify", Anybody),
    ("Page::Confirm(what)", "associate/corp/link", SignedIn),
    ("Page::Confirm(what)", "associate/corp/unlink", SignedIn),
];

const PROVIDER: &str =
    "providers: { corp: { kind: github, client_id: a, client_secret: b, who: anyone } }\n";

/// The left sides of the arms of a source whose lines hold `mark`.
fn arms(source: &str, mark: &str) -> BTreeSet<String> {
    let lines = source.lines().filter(|line| line.contains(mark) && line.contains(" => "));
    lines.map(|line| line.split(" =>").next().unwrap().trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn out_05_every_address_of_a_provider_looks_at_the_caller_first() {
    let listed = OF_PROVIDERS.iter().map(|(arm, ..)| (*arm).to_owned()).collect();
    assert_eq!(
        arms(&source("src/api/vouching.rs"), "] => ("),
        listed,
        "an address is missing here"
    );
    let upstream = Upstream::start();
    let yaml = format!("{YAML}{PROVIDER}");
    let gateway = Gateway::builder(&yaml).with("APP", &upstream.url()).start().await;
    let ann = gateway.person("ann").sign_in_with_bearer().await;
    for (_, path, methods, admits) in OF_PROVIDERS {
        let path = format!("/auth/{path}");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let stranger = status_of(&gateway.client(), method, &path).await;
            let known = status_of(&ann, method, &path).await;
            let is_taken = methods.contains(&method);
            assert_eq!((stranger == 405, known == 405), (!is_taken, !is_taken), "{method} {path}");
            if is_taken {
                let is_refused = *admits != Anybody;
                assert_eq!(stranger == 401, is_refused, "{stranger}: {method} {path}");
                assert!(!matches!(known, 401 | 403 | 500..), "{known}: {method} {path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn out_05_every_form_looks_at_who_sends_it_and_from_where() {
    let listed = FORMS.iter().map(|(arm, ..)| (*arm).to_owned()).collect();
    assert_eq!(
        arms(&source("src/portal/mod.rs"), ", body).await"),
        listed,
        "a page is missing here"
    );
    let upstream = Upstream::start();
    let yaml = format!("{YAML}{PROVIDER}");
    let gateway = Gateway::builder(&yaml).with("APP", &upstream.url()).start().await;
    gateway.person("root").superuser().create().await;
    for (_, path, admits) in FORMS {
        let path = format!("/auth/{path}");
        let send = async |origin: &str, site: &str| {
            let call = gateway.client().post(&path).with("Origin", origin);
            call.with("Sec-Fetch-Site", site)
                .header("Accept", "text/html")
                .form(&[("x", "1")])
                .send()
                .await
        };
        let own = send(&gateway.client().origin(), "same-origin").await;
        let goes_to = own.header("location").unwrap_or_default();
        let is_sent_away = own.status == 303 && goes_to.contains("/auth/login");
        assert_eq!(is_sent_away, *admits != Anybody, "{}: {path} {goes_to}", own.status);
        assert!(own.status < 500, "{}: {path}", own.status);
        let foreign = send("https://evil.example", "cross-site").await;
        assert_eq!(foreign.status, 403, "{path}");
        assert!(foreign.header("set-cookie").is_none(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn out_04_a_request_sets_what_it_may_and_nothing_shows_a_hash_or_an_error_of_the_database() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    let ann = gateway.person("ann").unverified().sign_in_with_bearer().await;
    let root = gateway.person("root").superuser().sign_in_with_bearer().await;
    let find = async |who: &str| {
        let store = gateway.running.store();
        store.find_user_by_email(&format!("{who}@example.com")).await.unwrap().unwrap()
    };
    let before = find("ann").await;
    let greedy = json!({
        "first_name": "Ann", "id": "00000000-0000-0000-0000-000000000001", "username": "root",
        "is_superuser": true, "is_verified": true, "is_active": true, "roles": ["admin"],
        "permissions": ["*:*"], "password_hash": "x", "hashed_password": "x", "login_count": 99,
        "created_at": "2020-01-01T00:00:00Z", "email_folded": "root@example.com", "owner": "root",
    });
    let call = ann.call("PATCH", "/auth/users/me").body("application/json", greedy.to_string());
    call.send().await.expect(200);
    let after = find("ann").await;
    let mut expected = before.clone();
    expected.profile.first_name = Some("Ann".to_owned());
    assert_eq!(after, expected);
    let mut registering = greedy.clone();
    registering["email"] = "eve@example.com".into();
    registering["password"] = PASSWORD.into();
    let made = gateway.client().post("/auth/register");
    made.body("application/json", registering.to_string()).send().await.expect(201);
    let eve = find("eve").await;
    assert!(!eve.is_superuser && !eve.is_verified && eve.username.is_none(), "{eve:?}");
    assert_eq!(eve.login_count, 0);
    assert!(gateway.running.store().list_grants(eve.id).await.unwrap().is_empty());
    // Nothing is looked up by a hash, and nothing that is asked for makes the database speak.
    let hash = after.password_hash.clone().unwrap();
    for odd in ["'", "\"", "%27%20OR%201=1--", "%00", "\\", "%F0%9F%98%80", &"a".repeat(4000)] {
        for path in ["users/me?password_hash=", "users/", "invitations/", "session?q="] {
            let target = format!("/auth/{path}{odd}");
            let bytes = format!(
                "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                gateway.address
            );
            let mut raw = Raw::connect(gateway.address).await;
            raw.send(bytes).await;
            let answer = raw.response("GET").await;
            assert!(answer.status < 500, "{target}: {}", answer.status);
            let text = answer.text().to_lowercase();
            let speaks = ["sqlite", "syntax error", "constraint", "select ", "panicked"];
            assert!(!speaks.iter().any(|word| text.contains(word)), "{target}: {text}");
        }
    }
    for path in ["users/me", "session", &format!("users/{}", after.id), "invitations"] {
        let text = root.get(&format!("/auth/{path}")).send().await.expect(200).text();
        assert!(!text.contains("hash") && !text.contains(&hash[10..]), "{path}: {text}");
    }
}

/// Texts that a log, a page or a template might take for something else.
const ODD: [&str; 6] = [
    "a\"}\\n{\"level\":\"error\"",
    "\u{2028}{\"level\":\"error\"}\u{2029}",
    "\u{9b}31m",
    "${PORTCULLIS_CANARY}",
    "{{ 7 * 7 }}{% raw %}",
    "{env.PORTCULLIS_CANARY}",
];

async fn spawn(format: &str) -> (Upstream, Process) {
    let upstream = Upstream::start();
    let telemetry = format!("{{ level: trace, format: {format}, access_log: on }}");
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let builder = builder.with("PORTCULLIS_CANARY", "canary-of-the-environment");
    let process = builder.key("telemetry", &telemetry).spawn().await;
    (upstream, process)
}

#[tokio::test(flavor = "multi_thread")]
async fn out_07_a_line_of_a_log_is_one_whatever_somebody_wrote_into_it() {
    for format in ["json", "text"] {
        let (_upstream, process) = spawn(format).await;
        for odd in ODD {
            let fields = [("username", odd), ("password", "x")];
            let call = process.client().post("/auth/jwt/login").form(&fields);
            call.send().await.expect(400);
            let name = format!("{odd}@example.com");
            let fields = [("username", &*name), ("password", "x")];
            process.client().post("/auth/jwt/login").form(&fields).send().await.expect(400);
        }
        let mut raw = Raw::connect(process.address).await;
        for header in ["User-Agent", "Referer", "X-Odd", "Accept-Language"] {
            let bytes = [
                format!("GET /public HTTP/1.1\r\nHost: {}\r\n{header}: ", process.address)
                    .as_bytes(),
                "é\u{2028}\u{9b}31m{\"level\":\"error\"}\"".as_bytes(),
                b"\xff\r\n\r\n",
            ]
            .concat();
            raw.send(bytes).await;
            let status = raw.response("GET").await.status;
            assert!(matches!(status, 200 | 400), "{header}: {status}");
            if status == 400 {
                raw = Raw::connect(process.address).await;
            }
        }
        for path in ["/public%0a%7b%22level%22", "/public/%1b%5b31m", "/a\u{0}b"] {
            let bytes = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", process.address);
            let mut raw = Raw::connect(process.address).await;
            raw.send(bytes).await;
            assert_eq!(raw.response("GET").await.status, 400);
        }
        process.client().get("/public?the-last=1").send().await.expect(200);
        for _ in 0..250 {
            if process.stdout().matches("/public").count() >= 3 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let (access, log) = (process.stdout(), process.stderr());
        for text in [&access, &log] {
            let is_bad =
                |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}');
            let found = text.lines().find(|line| line.contains(is_bad));
            assert!(found.is_none(), "{format}: {found:?}");
        }
        if format == "json" {
            let is_json = |line: &&str| serde_json::from_str::<Json>(line).is_ok();
            // The set-up link is told to a person.
            let odd: Vec<_> = log.lines().filter(|line| !is_json(line)).collect();
            assert_eq!(odd.len(), 2, "{odd:?}");
            let odd = access.lines().find(|line| !is_json(line));
            assert!(odd.is_none(), "{odd:?}");
        }
    }
}

/// The token of the one invitation that was mailed into a directory; the letter is taken out.
pub async fn invitation_in(directory: &Path) -> String {
    for _ in 0..250 {
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut letters = files.filter_map(|file| {
            let text = std::fs::read_to_string(file.path()).ok()?.replace("=\r\n", "");
            let is_whole = file.path().extension().is_some_and(|e| e == "eml");
            (is_whole && text.contains("/auth/invitation")).then(|| (file.path(), text))
        });
        if let Some((file, text)) = letters.next() {
            std::fs::remove_file(file).unwrap();
            let token = text.split("token=").nth(1).unwrap().trim_start_matches("3D");
            return token[..64].to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no letter")
}

#[tokio::test(flavor = "multi_thread")]
async fn out_08_no_log_at_the_finest_level_holds_a_secret() {
    let (_upstream, process) = spawn("text").await;
    process.create_user("ann", &[]);
    process.create_user("root", &["--superuser"]);
    let mut secrets = vec![PASSWORD.to_owned(), "canary-of-the-environment".to_owned()];
    let wrong = [("username", "ann@example.com"), ("password", "canary of a wrong password")];
    process.client().post("/auth/cookie/login").form(&wrong).send().await.expect(400);
    secrets.push("canary of a wrong password".to_owned());
    let cookie = process.sign_in("ann").await;
    cookie.get("/x").send().await.expect(200);
    secrets.push(cookie.cookie("portcullis").unwrap());
    let fields = [("username", "root@example.com"), ("password", PASSWORD)];
    let answer = process.client().post("/auth/jwt/login").form(&fields).send().await.expect(200);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let root = process.client().with_bearer(&token);
    root.get("/x").send().await.expect(200);
    secrets.extend(token.split('.').map(str::to_owned));
    for theirs in ["Basic Y2FuYXJ5OmJhc2lj", "Bearer canary-of-the-application"] {
        process.client().get("/public").header("Authorization", theirs).send().await.expect(200);
        secrets.push(theirs.split(' ').nth(1).unwrap().to_owned());
    }
    // Links, by the command line, by mail, good and made up; in a query, a form and a body.
    let output = process.run(&["user", "reset-link", "ann@example.com"], "");
    let link = String::from_utf8(output.stdout).unwrap();
    let link = link.trim().split_once("?token=").unwrap().1.to_owned();
    let path = format!("/auth/reset-password?token={link}");
    process.client().visit(&path).follow().await.expect(200);
    let body = json!({"token": link, "password": "canary of a new password"}).to_string();
    let call = process.client().post("/auth/reset-password").body("application/json", body);
    call.send().await.expect(200);
    secrets.extend([link, "canary of a new password".to_owned(), "canary".repeat(9)]);
    let body = json!({"token": "canary".repeat(9)}).to_string();
    let call = process.client().post("/auth/verify").body("application/json", body);
    call.send().await.expect(400);
    let body = json!({"email": "eve@example.com"}).to_string();
    let call = root.post("/auth/invitations").body("application/json", body);
    call.send().await.expect(201);
    secrets.push(invitation_in(&process.directory().join("mail")).await);
    let master = std::fs::read_to_string(process.directory().join("portcullis.secret"));
    secrets.extend(master.ok().map(|secret| secret.trim().to_owned()));
    // The hash of a password is nobody's business either.
    secrets.push("$argon2id$".to_owned());
    process.client().get("/public?the-last=1").send().await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let events = process.run(&["events", "list", "--json"], "");
    let events = String::from_utf8(events.stdout).unwrap();
    let said = format!("{}{}{events}", process.stdout(), process.stderr());
    assert!(said.contains("TRACE") && said.contains("sign-in-failed"), "nothing is told");
    for secret in secrets {
        assert!(!secret.is_empty() && !said.contains(&secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn out_11_text_from_outside_is_no_template_and_no_variable() {
    let (upstream, process) = spawn("text").await;
    for (at, odd) in ODD.iter().skip(3).enumerate() {
        let who = format!("p{at}");
        process.create_user(&who, &["--first-name", odd]);
        let client = process.sign_in(&who).await;
        let target = format!("/x?{}=1", "%24%7BPORTCULLIS_CANARY%7D");
        client.get(&target).header("X-Own", odd).send().await.expect(200);
        let seen = upstream.last().text();
        assert!(!seen.contains("canary-of-the-environment"), "{seen}");
        assert!(seen.contains(odd) && seen.contains(&target), "{seen}");
        let page = client.visit("/auth/account").send().await.expect(200).text();
        assert!(!page.contains("canary-of-the-environment") && !page.contains("49{"), "{page}");
        let escaped = odd.replace('<', "&lt;");
        assert!(page.contains(&escaped), "{escaped} in {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn out_10_figures_and_health_are_at_their_own_address_and_name_nobody() {
    let (_upstream, process) = spawn("text").await;
    process.create_user("ann", &[]);
    let ann = process.sign_in("ann").await;
    for path in ["/metrics", "/health/live", "/health/ready"] {
        process.client().get(path).send().await.expect(401);
        process.client().get(&format!("/auth{path}")).send().await.expect(404);
        let text = Client::new(process.management).get(path).send().await.expect(200).text();
        let cookie = ann.cookie("portcullis").unwrap();
        for secret in ["ann@", PASSWORD, &cookie, "argon2id$", "canary"] {
            assert!(!text.contains(secret), "{path}: {secret}");
        }
    }
    let other = Client::new(process.management);
    for path in ["/", "/auth/login", "/auth/users/me", "/debug", "/config"] {
        other.get(path).send().await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rec_04_no_name_of_one_account_is_a_name_of_another() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    gateway.person("ann").set(|draft| draft.username = Some("Ann".to_owned())).create().await;
    let people = gateway.running.accounts().people();
    let with = async |email: &str, username: &str| {
        let draft = portcullis::accounts::Draft {
            email: email.to_owned(),
            username: Some(username.to_owned()).filter(|name| !name.is_empty()),
            password: Some(PASSWORD.into()),
            is_active: true,
            ..Default::default()
        };
        people.create(draft, &portcullis::accounts::Actor::cli()).await.is_ok()
    };
    // A username is never an e-mail, so neither can be taken for the other.
    for name in ["ann@example.com", "ANN@EXAMPLE.COM", "ann@", "@ann", "\u{ff41}nn", "ann ", "a nn"]
    {
        let is_taken = with("eve@example.com", name).await;
        assert!(!is_taken || name == "ann ", "{name}");
    }
    for name in ["ann", "ANN", "aNn"] {
        assert!(!with("eve@example.com", name).await, "{name}");
    }
    for email in ["ANN@example.com", " ann@EXAMPLE.COM ", "Ann@example.com."] {
        assert!(!with(email, "").await, "{email}");
    }
    // Dots and what follows a plus are part of a name: another mailbox, another account.
    for email in ["a.nn@example.com", "ann+1@example.com"] {
        assert!(with(email, "").await, "{email}");
    }
    // Whoever registers sets no username.
    let body = json!({"email": "fay@example.com", "password": PASSWORD, "username": "fay"});
    let call = gateway.client().post("/auth/register");
    call.body("application/json", body.to_string()).send().await.expect(201);
    assert!(people.find("fay").await.unwrap().is_none());
    // A link of one account is for that account, however it was asked for.
    let link = gateway.link("ann", LinkKind::Reset).await;
    assert!(link.contains("token="));
}
