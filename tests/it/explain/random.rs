//! For random tables and requests of callers of all kinds, `explain` says what the gateway does.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use crate::harness::{Gateway, report};
use crate::raw::{Client, Response};
use crate::reading::{Line, access_lines, command, samples};
use crate::upstream::Upstream;

/// Each is a host with routes of its own.
const TABLES: usize = 10;
const CASES: usize = 400;

const HEAD: &str = r#"
trusted_proxies: ["127.0.0.1/32", "10.9.0.0/16"]
origins: ["https://friend.example.org"]
portal: { users_path: /users }
roles:
  staff: { permissions: ["a:read", "b:*"] }
  guest: { permissions: ["a:read"] }
upstreams:
  app: "${APP}"
  exact: { targets: ["${APP}"], case_sensitive: true }
telemetry: { level: warn, format: json, access_log: access.log }
"#;

// ---- tables ----

fn some_of(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    subsequence(names, 1..=names.len()).prop_map(|names| json!(names))
}

fn conditions(is_negated: bool) -> BoxedStrategy<(&'static str, Value)> {
    let people = ["ann@example.com", "una@example.com"];
    let networks = ["203.0.113.0/24", "127.0.0.2/32", "2001:db8::/32"];
    let users = subsequence(people.to_vec(), 1..=2).prop_map(|users| ("users", json!(users)));
    let networks = subsequence(networks.to_vec(), 1..=3).prop_map(|nets| ("networks", json!(nets)));
    let plain = prop_oneof![
        3 => some_of(&["admin", "staff", "guest"]).prop_map(|value| ("roles", value)),
        2 => some_of(&["a:read", "b:write"]).prop_map(|value| ("permissions", value)),
        2 => networks,
        1 => Just(("verified", json!(true))),
        1 => Just(("superuser", json!(true))),
    ];
    // An e-mail may not stand inside `not`.
    if is_negated { plain.boxed() } else { prop_oneof![8 => plain, 1 => users].boxed() }
}

fn rules(depth: u32, is_negated: bool) -> BoxedStrategy<Value> {
    let condition = if depth == 0 {
        conditions(is_negated)
    } else {
        let members =
            prop::collection::vec(rules(depth - 1, is_negated), 1..3).prop_map(Value::from);
        prop_oneof![
            4 => conditions(is_negated),
            1 => members.clone().prop_map(|value| ("any", value)),
            1 => members.prop_map(|value| ("all", value)),
            1 => rules(depth - 1, true).prop_map(|value| ("not", value)),
        ]
        .boxed()
    };
    let map = prop::collection::vec(condition, 1..3).prop_map(|conditions| {
        Value::Object(conditions.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    });
    if is_negated {
        return prop_oneof![6 => map, 1 => Just(json!("authenticated"))].boxed();
    }
    let open = prop_oneof![
        Just(json!({ "anonymous": true })),
        Just(json!({ "anonymous": true, "networks": ["203.0.113.0/24", "127.0.0.2/32"] })),
    ];
    prop_oneof![6 => map, 1 => Just(json!("authenticated")), 2 => open].boxed()
}

fn allows() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(json!("public")),
        1 => Just(json!("optional")),
        1 => rules(1, false).prop_map(|rule| json!({ "optional": rule })),
        3 => Just(json!("authenticated")),
        8 => rules(2, false),
    ]
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let parts = prop::collection::vec(select(&["a", "A", "b", "*"][..]), 0..=2);
    let pattern = (parts, select(&["", "", "/", "/**", "/**"][..])).prop_map(|(parts, end)| {
        let path: String = parts.iter().flat_map(|part| ["/", part]).collect::<String>() + end;
        if path.is_empty() { "/".to_owned() } else { path }
    });
    prop::collection::btree_set(pattern, 3..7).prop_map(|set| set.into_iter().collect())
}

/// One key of a route, left out half the time.
fn key(
    name: &'static str,
    values: Vec<Value>,
) -> impl Strategy<Value = Option<(&'static str, Value)>> {
    prop::option::of(select(values).prop_map(move |value| (name, value)))
}

fn route() -> impl Strategy<Value = Map<String, Value>> {
    let forms = ["encoded-slash", "encoded-backslash", "semicolon", "double-slash", "non-utf8"];
    let permits =
        subsequence(forms.to_vec(), 1..=5).prop_map(|forms| ("permit_in_path", json!(forms)));
    let methods = vec![json!(["GET"]), json!(["GET", "POST"]), json!(["OPTIONS", "PUT"])];
    let identity = vec![json!({ "preset": "remote-user" }), json!({ "preset": "portcullis" })];
    let keys = (
        key("methods", methods),
        prop::option::of(permits),
        key("identity", identity),
        key("unauthenticated", vec![json!("redirect"), json!("401")]),
        select(&["app", "app", "exact"][..]),
        allows(),
    );
    keys.prop_map(|(methods, permits, identity, unauthenticated, upstream, allow)| {
        let all = [("upstream", json!(upstream)), ("allow", allow)].into_iter();
        let all = all.chain([methods, permits, identity, unauthenticated].into_iter().flatten());
        all.map(|(key, value)| (key.to_owned(), value)).collect()
    })
}

/// Every table's routes, under the host `tN.test`, one a line.
fn tables() -> Vec<String> {
    let routes = patterns().prop_flat_map(|patterns| {
        let count = patterns.len();
        (Just(patterns), prop::collection::vec(route(), count))
    });
    let mut lines = Vec::new();
    for (number, (patterns, routes)) in samples(TABLES, &routes).into_iter().enumerate() {
        for (place, (path, mut route)) in patterns.into_iter().zip(routes).enumerate() {
            route.insert("path".to_owned(), json!(path));
            route.insert("host".to_owned(), json!(format!("t{number}.test")));
            route.insert("name".to_owned(), json!(format!("t{number}-r{place}")));
            lines.push(format!("  - {}\n", Value::Object(route)));
        }
    }
    lines
}

// ---- requests ----

type Field = (&'static str, &'static str);

#[derive(Clone, Debug)]
struct Case {
    table: usize,
    method: &'static str,
    path: String,
    who: &'static str,
    with_bearer: bool,
    /// Where it comes from: 127.0.0.1 is trusted, 127.0.0.2 is not.
    from: &'static str,
    fields: Vec<Field>,
}

const PEOPLE: [&str; 6] = ["ann", "sue", "una", "gus", "eve", "nobody"];
const PATHS: [&str; 12] = [
    "/a%2fb",
    "/a//b",
    "//a",
    "/a;x/b",
    "/%61/b;",
    "/a%5cb",
    "/A%2FA",
    "/a/%ff",
    "/auth/account",
    "/auth",
    "/users/me",
    "/a/../b",
];
const FIELDS: [&[Field]; 26] = [
    &[("Origin", "https://evil.example")],
    &[("Origin", "https://friend.example.org")],
    &[("Origin", "https://friend.example.org"), ("Access-Control-Request-Method", "POST")],
    &[("Origin", "https://evil.example"), ("Access-Control-Request-Method", "GET")],
    &[("Origin", "null")],
    &[("Sec-Fetch-Site", "same-origin")],
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Referer", "https://evil.example/x")],
    &[("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
    &[("Connection", "Upgrade"), ("Upgrade", "h2c")],
    &[("Connection", "cookie")],
    &[("Connection", "@@")],
    &[("Connection", "x-team")],
    &[("Authorization", "Basic YTpi")],
    &[("Authorization", "Bearer of-the-application")],
    &[("Cookie", "theme=dark")],
    &[("X-Auth-User-Id", "1"), ("Remote-User", "root")],
    &[("X-Forwarded-For", "203.0.113.9")],
    &[("X-Forwarded-For", "203.0.113.9")],
    &[("X-Forwarded-For", "203.0.113.9, 10.9.1.1")],
    &[("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "198.51.100.1")],
    &[("X-Forwarded-For", "[2001:db8::1]:443")],
    &[("X-Forwarded-For", "unknown")],
    &[("X-Forwarded-Proto", "https")],
    &[("X-Forwarded-Proto", "gopher")],
    &[("X-Forwarded-Host", "t0.test")],
];

fn paths() -> impl Strategy<Value = String> {
    let parts = prop::collection::vec(select(&["a", "a", "A", "b", "B", "c", "%61"][..]), 0..4);
    let plain = (parts, select(&["", "", "/", "?a=b"][..])).prop_map(|(parts, end)| {
        let path: String = parts.iter().flat_map(|part| ["/", part]).collect();
        if path.is_empty() { format!("/{}", end.trim_matches('/')) } else { path + end }
    });
    prop_oneof![5 => plain, 1 => select(&PATHS[..]).prop_map(str::to_owned)]
}

fn cases() -> Vec<Case> {
    let methods = prop_oneof![
        8 => Just("GET"),
        3 => Just("POST"),
        3 => select(&["HEAD", "PUT", "OPTIONS"][..]),
        1 => select(&["TRACE", "get", "M-SEARCH"][..]),
    ];
    let strategy = (
        (0..TABLES, methods, paths()),
        (select(&PEOPLE[..]), prop::bool::weighted(0.3), select(&["127.0.0.1", "127.0.0.2"][..])),
        prop_oneof![
            3 => prop::collection::vec(select(&FIELDS[..]), 0..=0),
            4 => prop::collection::vec(select(&FIELDS[..]), 1..=1),
            2 => prop::collection::vec(select(&FIELDS[..]), 2..=2),
        ],
    );
    let case =
        |((table, method, path), (who, with_bearer, from), fields): (_, _, Vec<&[Field]>)| Case {
            table,
            method,
            path,
            who,
            with_bearer: with_bearer && who != "nobody",
            from,
            fields: fields.concat(),
        };
    samples(CASES, &strategy).into_iter().map(case).collect()
}

// ---- what is said and what is done ----

struct Bench {
    upstream: Upstream,
    gateway: Gateway,
    /// By name, with cookie and bearer token.
    people: HashMap<&'static str, (Client, String)>,
    /// The rule of each route, as `routes` prints it.
    rules: HashMap<String, Value>,
    yaml: String,
}

impl Bench {
    async fn start() -> Self {
        let upstream = Upstream::start();
        let yaml = format!("{HEAD}routes:\n{}", tables().concat());
        let gateway = Gateway::builder(&yaml).with("APP", &upstream.url()).start().await;
        gateway.person("ann").role("admin").create().await;
        gateway.person("sue").superuser().role("staff").create().await;
        gateway.person("una").unverified().role("staff").create().await;
        gateway.person("gus").role("guest").create().await;
        gateway.person("eve").create().await;
        let now = gateway.clock.now();
        let hour = std::time::Duration::from_hours(1);
        gateway.grant("eve", "admin", Some(now.before(hour))).await;
        gateway.grant("eve", "guest", Some(now.after(hour))).await;
        let mut people = HashMap::new();
        for who in PEOPLE.into_iter().filter(|who| *who != "nobody") {
            let bearer = gateway.sign_in_with_bearer(who).await.get("/").bytes();
            let bearer = String::from_utf8(bearer).unwrap();
            let token = bearer.split("Bearer ").nth(1).unwrap().lines().next().unwrap().to_owned();
            people.insert(who, (gateway.sign_in(who).await, token));
        }
        let environment = [("APP", upstream.url())];
        let routes = command(&gateway, &environment, &["routes".to_owned()]).await.unwrap();
        let rule = |row: &Value| (row["name"].as_str().unwrap().to_owned(), row["rule"].clone());
        let rules = routes.as_array().unwrap().iter().map(rule).collect();
        Self { upstream, gateway, people, rules, yaml }
    }

    /// The rules of a case's table, for a failure.
    fn routes(&self, case: &Case) -> String {
        let host = format!("\"t{}.test\"", case.table);
        self.yaml.lines().filter(|line| line.contains(&host)).collect::<Vec<_>>().join("\n")
    }

    async fn explain(&self, case: &Case) -> Value {
        let is_trusted = case.from == "127.0.0.1";
        let is_https = is_trusted && case.fields.contains(&("X-Forwarded-Proto", "https"));
        let scheme = if is_https { "https" } else { "http" };
        let url = format!("{scheme}://t{}.test{}", case.table, case.path);
        let who = match case.who {
            "nobody" => "anonymous".to_owned(),
            who => format!("{who}@example.com"),
        };
        let mut arguments = ["explain", case.method, &url, "--as", &who, "--from", case.from]
            .map(str::to_owned)
            .to_vec();
        let fields = case.fields.iter().map(|(name, value)| format!("{name}: {value}"));
        let bearer = case.with_bearer.then(|| format!("Authorization: {}", self.bearer(case)));
        arguments.extend(fields.chain(bearer).flat_map(|field| ["--header".to_owned(), field]));
        let environment = [("APP", self.upstream.url())];
        let said = command(&self.gateway, &environment, &arguments).await;
        said.unwrap_or_else(|| panic!("explain says nothing of {case:?}"))
    }

    fn bearer(&self, case: &Case) -> String {
        format!("Bearer {}", self.people[case.who].1)
    }

    fn bytes(&self, number: usize, case: &Case) -> Vec<u8> {
        let Case { table, method, path, .. } = case;
        let mut lines = vec![format!("{method} {path} HTTP/1.1")];
        lines.extend([format!("Host: t{table}.test"), format!("X-Case: {number}")]);
        lines.extend(case.fields.iter().map(|(name, value)| format!("{name}: {value}")));
        match self.people.get(case.who) {
            Some(_) if case.with_bearer => {
                lines.push(format!("Authorization: {}", self.bearer(case)));
            }
            Some((client, _)) => lines.push(format!("Cookie: {}", client.cookies())),
            None => {}
        }
        (lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }

    /// Compares the answer with what is said of it.
    fn compare(&self, case: &Case, said: &Value, answer: &Response, is_forwarded: bool) {
        let status = answer.status;
        let told = || format!("{case:?}: {status} but {said:#}\n{}", self.routes(case));
        let says_forwarded = said["status"].is_null() && said["reason"].is_null();
        assert_eq!(says_forwarded, is_forwarded, "{}", told());
        match said["status"].as_u64() {
            // A route may ask for the sign-in page in every case.
            Some(401) => assert!(matches!(status, 401 | 303), "{}", told()),
            Some(expected) => assert_eq!(u64::from(status), expected, "{}", told()),
            None if is_forwarded => assert_eq!(status, 200, "{}", told()),
            // One of the gateway's own pages or endpoints, which says what it likes.
            None => assert!(status < 500, "{}", told()),
        }
    }

    /// Compares the access line with what is said of the rules.
    fn compare_line(&self, case: &Case, said: &Value, line: &Value) {
        let told = || format!("{case:?}: {line} but {said:#}\n{}", self.routes(case));
        let rules = &said["rules"];
        if rules.is_null() {
            assert_eq!(line["rule"], "-", "{}", told());
            return;
        }
        let chosen =
            rules["routes"].as_array().unwrap().iter().find(|one| one["is_chosen"] == true);
        assert_eq!(line["route"], chosen.unwrap()["name"], "{}", told());
        assert_eq!(line["decision"], said["decision"], "{}", told());
        let decided_by = rules["route"].as_str().unwrap();
        assert_eq!(line["rule"], self.rules[decided_by], "{}", told());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_tells_what_the_gateway_does_for_random_tables_callers_and_requests() {
    let bench = Bench::start().await;
    let cases = cases();
    let mut trusted = Line::new(&bench.gateway, "127.0.0.1");
    let mut untrusted = Line::new(&bench.gateway, "127.0.0.2");
    let mut answers = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let line = if case.from == "127.0.0.1" { &mut trusted } else { &mut untrusted };
        let answer = line.ask(&bench.bytes(number, case)).await;
        answers.push(answer.unwrap_or_else(|| panic!("no answer to {case:?}")));
    }
    let mut ids: Vec<Option<String>> =
        answers.iter().map(|answer| answer.header("x-request-id").map(str::to_owned)).collect();
    let mut forwarded = vec![false; cases.len()];
    for seen in bench.upstream.seen() {
        let number: usize = seen.header("x-case").unwrap().parse().unwrap();
        forwarded[number] = true;
        ids[number] = seen.header("x-request-id");
    }
    let known: Vec<String> = ids.iter().flatten().cloned().collect();
    let lines = access_lines(&bench.gateway, &known).await;
    let mut outcomes = HashMap::<String, usize>::new();
    for (number, case) in cases.iter().enumerate() {
        let said = bench.explain(case).await;
        bench.compare(case, &said, &answers[number], forwarded[number]);
        let outcome = format!("{} {}", said["decision"], said["status"]);
        *outcomes.entry(outcome).or_default() += 1;
        if let Some(line) = ids[number].as_ref().map(|id| &lines[id]) {
            bench.compare_line(case, &said, line);
        }
    }
    report(&format!("what explain said of {CASES} requests: {outcomes:?}"));
    for outcome in ["\"allow\" null", "\"deny\" 403", "\"deny\" 400", "\"challenge\" 401"] {
        assert!(outcomes.get(outcome).is_some_and(|count| *count > 0), "{outcome}: {outcomes:?}");
    }
}
