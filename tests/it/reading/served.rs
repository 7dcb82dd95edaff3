//! What nginx, gunicorn and Node serve is what was decided on.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::naive::{self, Route, Table, Who, forms, path_of};
use super::programs::Programs;
use super::{Line, access_lines, command, samples, shown, targets};
use crate::harness::{Gateway, report};
use crate::raw::Response;

/// By host, one server each.
const HOSTS: [&str; 5] = ["merging.test", "keeping.test", "files.test", "wsgi.test", "node.test"];
const CASES: usize = 1_500;
/// Irregular cases that `explain` is asked about.
const EXPLAINED: usize = 100;

/// The same places for every server. Columns: path, rule, permitted forms.
const PLACES: &str = "
    /**               authenticated double-slash
    /                 public        -
    /public/**        public        -
    /public/inner     admin         -
    /admin/**         admin         -
    /admin/open       public        -
    /x/*              public        -
    /x/y              admin         -
    /slash/**         public        encoded-slash
    /slash/guarded/** admin         -
    /back/**          public        encoded-backslash
    /back/guarded/**  admin         -
    /semi/**          public        semicolon
    /semi/guarded/**  admin         -
    /dbl/**           public        double-slash
    /dbl/guarded/**   admin         -
    /bytes/**         public        non-utf8
    /bytes/guarded/** admin         -
    /all/**           public        all
    /all/guarded/**   admin         -
";

/// Paths in every area. For nginx there is a file at each.
const PATHS: &str = "
    /public/a.txt /public/a/b/c /public/inner /admin/a.txt /admin/open /x/1 /x/y
    /slash/a/b /slash/guarded/a /back/a/b /back/guarded/a /semi/a/b /semi/guarded/a
    /dbl/a/b /dbl/guarded/a /bytes/a/b /bytes/guarded/a /all/a /all/guarded/a /all/guarded/a.txt
";

/// Paths of irregular forms that some route permits.
const IRREGULAR: &str = "
    /slash/a%2fb /slash/a%2Fguarded /slash/guarded%2fa /slash%2fguarded/a /slash/x%2f..%2fguarded%2fa
    /back/a%5cb /back/guarded%5ca /back/x%5C..%5Cguarded%5Ca
    /semi/a;b=c /semi/guarded;x/a /semi/guarded%3bx/a /semi/a%3b/b /semi/x/..;/guarded/a
    /dbl/a//b /dbl//guarded/a //dbl/guarded/a //public/a.txt //admin/a.txt //x//y
    /bytes/%ff /bytes/guarded%ff/a /bytes/%c0%af/a
    /all/a//b;c /all//guarded/a /all/guarded%2fa /all/guarded;/a /all/guarded%5ca /all/x%2f..;/guarded/a
";

fn table() -> Table {
    let mut routes = Vec::new();
    for line in PLACES.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [path, rule, permits] = words[..] else { panic!("{line}") };
        routes.extend(HOSTS.map(|host| {
            let upstream = host.trim_end_matches(".test");
            format!("{host} {path} {upstream} {rule} {permits} -")
        }));
    }
    Table::read(&routes.join("\n"), &[])
}

#[derive(Clone, Debug)]
struct Case {
    id: String,
    host: &'static str,
    target: Vec<u8>,
    who: Who,
}

impl Case {
    fn bytes(&self, cookies: &str) -> Vec<u8> {
        let cookies =
            if cookies.is_empty() { String::new() } else { format!("Cookie: {cookies}\r\n") };
        let (host, id) = (self.host, &self.id);
        let rest = format!(" HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {id}\r\n{cookies}\r\n");
        [b"GET ", self.target.as_slice(), rest.as_bytes()].concat()
    }

    fn told(&self) -> String {
        format!("{} of {} by {:?}", shown(&self.target), self.host, self.who)
    }
}

fn cases() -> Vec<Case> {
    let who = select(&[Who::Nobody, Who::Nobody, Who::Cat, Who::Ann][..]);
    let strategy = (select(&HOSTS[..]), who).prop_flat_map(|(host, who)| {
        let target = prop_oneof![
            2 => targets::near(PATHS),
            3 => targets::near(IRREGULAR),
            1 => targets::target(host),
        ];
        (Just(host), Just(who), target)
    });
    let sampled = samples(CASES, &strategy).into_iter().enumerate();
    sampled
        .map(|(number, (host, who, target))| Case {
            id: format!("case-{number:05}"),
            host,
            target,
            who,
        })
        .collect()
}

/// The path an application says it served; `None` when it served nothing.
fn served(host: &str, answer: &Response) -> Option<Vec<u8>> {
    if answer.status != 200 {
        return None;
    }
    if matches!(host, "wsgi.test" | "node.test") {
        let text = answer.text();
        let pairs = (0..text.len()).step_by(2);
        return Some(pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect());
    }
    let at = answer.body.iter().position(|byte| *byte == b' ').unwrap();
    Some(answer.body[at + 1..].to_vec())
}

/// The segments of a path that is decoded already.
fn segments(path: &[u8]) -> naive::Segments {
    assert!(path.starts_with(b"/"), "{}", shown(path));
    path[1..].split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
}

struct Judge {
    table: Table,
    lines: HashMap<String, Value>,
}

impl Judge {
    /// Where what an application served lies.
    fn area(&self, case: &Case, path: &[u8]) -> &Route {
        let told = format!("{} was served for {}", shown(path), case.told());
        let segments = segments(path);
        assert!(segments[0] != b"auth", "the portal's: {told}");
        let route = self.table.route(case.host, &segments, "GET");
        let route = route.unwrap_or_else(|| panic!("no route: {told}"));
        assert!(route.rule.lets(case.who), "{}: {told}", route.path);
        route
    }

    /// Fails the test unless what was served lies where the decision was made.
    fn check(&self, case: &Case, path: &[u8], is_irregular: bool) {
        let area = self.area(case, path);
        let line = &self.lines[&case.id];
        let told = format!("{} was served for {}: {line}", shown(path), case.told());
        assert_eq!(line["decision"], "allow", "{told}");
        if !is_irregular {
            assert_eq!(line["route"], area.name, "{told}");
            assert_eq!(line["rule"], area.rule.text(), "{told}");
        }
    }
}

async fn ask_all(
    gateway: &Gateway,
    cases: &[Case],
    cookies: impl Fn(Who) -> String,
) -> Vec<Option<Response>> {
    let mut line = Line::new(gateway, "127.0.0.1");
    let mut answers = Vec::new();
    for case in cases {
        answers.push(line.ask(&case.bytes(&cookies(case.who))).await);
    }
    answers
}

/// Whether `explain` was asked for the route that what was served lies in, and let it pass.
async fn check_explained(gateway: &Gateway, case: &Case, target: &str, area: &Route) {
    let url = format!("http://{}{target}", case.host);
    let mut arguments = vec!["explain", "GET", &url];
    match case.who {
        Who::Nobody => {}
        Who::Cat => arguments.push("--verified"),
        Who::Ann => arguments.extend(["--role", "admin"]),
    }
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let said = command(gateway, &[], &arguments).await.unwrap();
    let told = format!("{}: {said:#}", case.told());
    assert_eq!(said["decision"], "allow", "{told}");
    let asked = said["rules"]["routes"].as_array().unwrap();
    assert!(asked.iter().all(|route| route["verdict"] == "allow"), "{told}");
    assert!(asked.iter().any(|route| route["name"] == *area.name), "{}: {told}", area.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_gunicorn_and_node_serve_what_was_decided_on() {
    let programs = Programs::start(PATHS.split_whitespace()).await;
    let table = table();
    let upstream = |(name, port): &(&str, u16)| format!("  {name}: \"http://127.0.0.1:{port}\"");
    let upstreams = programs.upstreams.iter().map(upstream).collect::<Vec<_>>().join("\n");
    // The tests' own address is trusted for the sake of its request ids.
    let yaml = format!(
        "upstreams:\n{upstreams}\n{}trusted_proxies: [\"127.0.0.1/32\"]\n\
         telemetry: {{ level: warn, format: json, access_log: access.log }}\n",
        table.yaml()
    );
    let gateway = Gateway::builder(&yaml).start().await;
    let (cat, ann) = (
        gateway.person("cat").sign_in().await,
        gateway.person("ann").role("admin").sign_in().await,
    );
    let cases = cases();
    let answers = ask_all(&gateway, &cases, |who| match who {
        Who::Nobody => String::new(),
        Who::Cat => cat.cookies(),
        Who::Ann => ann.cookies(),
    });
    let answers = answers.await;

    let mut found = Vec::new();
    for (case, answer) in cases.iter().zip(&answers) {
        let answer = answer.as_ref().unwrap_or_else(|| panic!("no answer: {}", case.told()));
        assert!(answer.status < 500, "{}: {} {}", case.told(), answer.status, answer.text());
        // The gateway's own answers carry the id, and so would say that they are none.
        if answer.header("x-request-id").is_none()
            && let Some(path) = served(case.host, answer)
        {
            found.push((case, path));
        }
    }
    let ids: Vec<String> = found.iter().map(|(case, _)| case.id.clone()).collect();
    let judge = Judge { table, lines: access_lines(&gateway, &ids).await };
    let (mut counts, mut explained) = (BTreeMap::<&str, (usize, usize)>::new(), 0);
    for (case, path) in &found {
        let target = naive::origin_form(std::str::from_utf8(&case.target).unwrap());
        let is_irregular = !forms(path_of(&target)).is_empty();
        judge.check(case, path, is_irregular);
        let count = counts.entry(case.host).or_default();
        *count = (count.0 + 1, count.1 + usize::from(is_irregular));
        if is_irregular && explained < EXPLAINED {
            explained += 1;
            check_explained(&gateway, case, &target, judge.area(case, path)).await;
        }
    }
    report(&format!("of {CASES} targets were served, irregular among them: {counts:?}"));
    assert!(counts.len() == HOSTS.len() && explained > 20, "too little was tried: {counts:?}");
}
