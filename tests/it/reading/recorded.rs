//! What was decided on is what arrived: told from the recorded bytes of three applications.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::applications::readings;
use super::naive::{self, Table, Who, forms, path_of};
use super::parsers::{Read, by_httparse, check_agreement};
use super::{Line, access_lines, command, recorded, samples, shown, targets};
use crate::harness::{Gateway, report};
use crate::upstream::Upstream;

const HOSTS: [&str; 6] =
    ["any.test", "other.test", "app.test", "deep.wild.test", "exact.test", "App.Test:8080"];
const CASES: usize = 2_500;
/// Cases that `explain` is asked about as well.
const EXPLAINED: usize = 120;

/// Four tables: of any host, an exact one, a wildcard, and one for an application that tells case.
/// Columns: host, path, upstream, rule, permitted forms, methods.
const ROUTES: &str = "
    -           /**               app   authenticated -                 -
    -           /                 app   public        -                 -
    -           /public/**        app   public        -                 -
    -           /public/inner     app   admin         -                 -
    -           /admin/**         app   admin         -                 -
    -           /admin/open       app   public        -                 -
    -           /Case/**          app   admin         -                 -
    -           /p/{id}           app   authenticated -                 -
    -           /p/{id}/          app   public        -                 -
    -           /p/{id}/edit      app   admin         -                 -
    -           /x/*              app   public        -                 -
    -           /x/y              app   admin         -                 -
    -           /é                app   public        -                 -
    -           /get              app   public        -                 GET
    -           /get              app   admin         -                 POST
    -           /slash/**         app   public        encoded-slash     -
    -           /slash/guarded/** app   admin         -                 -
    -           /back/**          app   public        encoded-backslash -
    -           /back/guarded/**  app   admin         -                 -
    -           /semi/**          app   public        semicolon         -
    -           /semi/guarded/**  app   admin         -                 -
    -           /dbl/**           app   public        double-slash      -
    -           /dbl/guarded/**   app   admin         -                 -
    -           /bytes/**         app   public        non-utf8          -
    -           /bytes/guarded/** app   admin         -                 -
    -           /all/**           app   public        all               -
    -           /all/guarded/**   app   admin         -                 -
    -           /all/other/**     other public        -                 -
    -           /elsewhere/**     other public        semicolon         -
    app.test    /**               app   public        all               -
    app.test    /admin/**         app   admin         -                 -
    app.test    /all/guarded/**   app   authenticated -                 GET
    app.test    /public/guarded   app   admin         all               -
    app.test    /elsewhere/**     other admin         -                 -
    *.wild.test /public/**        app   public        double-slash      -
    *.wild.test /all/**           app   authenticated all               -
    *.wild.test /all/guarded/**   app   admin         all               -
    *.wild.test /x/*              app   public        encoded-slash     -
    *.wild.test /x/a/*            app   admin         -                 -
    exact.test  /**               exact public        semicolon,double-slash -
    exact.test  /admin/**         exact admin         -                 -
    exact.test  /Case/**          exact admin         -                 -
    exact.test  /all/**           exact authenticated all               -
    exact.test  /all/guarded/**   exact admin         -                 -
";

const HEAD: &str = r#"
upstreams:
  app: "${APP}"
  other: "${OTHER}"
  exact: { targets: ["${EXACT}"], case_sensitive: true }
telemetry: { level: warn, format: json, access_log: access.log }
"#;

/// A request, and how it is answered.
#[derive(Clone, Debug)]
struct Case {
    number: usize,
    host: &'static str,
    method: &'static str,
    target: Vec<u8>,
    who: Who,
    status: u16,
}

impl Case {
    fn bytes(&self, cookies: &dyn Fn(Who) -> String) -> Vec<u8> {
        let mut bytes = format!("{} ", self.method).into_bytes();
        bytes.extend_from_slice(&self.target);
        let (host, number) = (self.host, self.number);
        bytes.extend(format!(" HTTP/1.1\r\nHost: {host}\r\nX-Case: {number}\r\n").bytes());
        let cookies = cookies(self.who);
        if !cookies.is_empty() {
            bytes.extend(format!("Cookie: {cookies}\r\n").bytes());
        }
        bytes.extend(b"\r\n");
        bytes
    }

    fn told(&self) -> String {
        let Self { host, method, who, status, .. } = self;
        format!("{method} {} of {host} by {who:?}, answered {status}", shown(&self.target))
    }
}

fn cases() -> Vec<Case> {
    let who = select(&[Who::Nobody, Who::Cat, Who::Cat, Who::Ann, Who::Ann][..]);
    let method = select(&["GET", "GET", "GET", "GET", "HEAD", "POST", "PUT"][..]);
    let strategy = (select(&HOSTS[..]), method, who)
        .prop_flat_map(|(host, method, who)| (Just((host, method, who)), targets::target(host)));
    let sampled = samples(CASES, &strategy).into_iter().enumerate();
    let case = |(number, ((host, method, who), target))| Case {
        number,
        host,
        method,
        target,
        who,
        status: 0,
    };
    sampled.map(case).collect()
}

/// What arrived of a case.
struct Arrival {
    upstream: &'static str,
    read: Read,
    head: Vec<u8>,
}

/// What has to be so of a case that was forwarded.
struct Judge<'a> {
    table: &'a Table,
    lines: HashMap<String, Value>,
}

impl Judge<'_> {
    fn check(&self, case: &Case, arrival: &Arrival) {
        let told = case.told();
        let read = &arrival.read;
        assert_eq!(case.status, 200, "{told}");
        assert_eq!(read.method, case.method, "{told}");
        assert_eq!(read.one("host"), case.host, "{told}");
        check_target(case, &read.target);
        let path = path_of(&read.target);
        let segments = naive::segments(path);
        let chosen = self.table.route(case.host, &segments, case.method);
        let chosen = chosen.unwrap_or_else(|| panic!("no route takes {path}: {told}"));
        let line = &self.lines[read.one("x-request-id")];
        assert_eq!(line["route"], chosen.name, "{told}: {line}");
        assert_eq!(line["rule"], chosen.rule.text(), "{told}: {line}");
        assert_eq!(line["decision"], "allow", "{told}: {line}");
        assert_eq!(line["path"], path, "{told}: {line}");
        assert_eq!(arrival.upstream, chosen.upstream, "{told}");
        for form in forms(path) {
            assert!(
                chosen.permits.iter().any(|one| one == form),
                "{form} is not permitted: {told}"
            );
        }
        for name in self.involved(case, &read.target) {
            let route = self.table.routes.iter().find(|route| route.name == name).unwrap();
            assert!(route.rule.lets(case.who), "{name} {} does not let pass: {told}", route.path);
        }
    }

    /// Where nothing arrived, the answer says why, and there was a reason.
    fn check_refused(&self, case: &Case) {
        let is_refusal = matches!(case.status, 400 | 401 | 403 | 404 | 405 | 414);
        // The portal's own pages are answers as well.
        let is_portal = shown(&case.target).to_lowercase().contains("auth");
        assert!(is_refusal || is_portal, "{}", case.told());
        assert!(!self.should_pass(case), "refused: {}", case.told());
    }

    /// The names of the routes that every reading of a target leads to, the received one first.
    fn involved(&self, case: &Case, target: &str) -> Vec<String> {
        let path = path_of(target);
        let segments = naive::segments(path);
        let chosen = self.table.route(case.host, &segments, case.method).unwrap();
        let mut ways = vec![("as it stands", segments)];
        if !forms(path).is_empty() {
            ways.extend(readings(path));
        }
        let mut names = Vec::new();
        for (reader, segments) in ways {
            let told =
                format!("{reader} reads {} of {}", shown(&segments.join(&b'/')), case.told());
            assert!(segments.first().is_none_or(|first| first != b"auth"), "the portal: {told}");
            let route = self.table.route(case.host, &segments, case.method);
            let route = route.unwrap_or_else(|| panic!("no route: {told}"));
            assert_eq!(route.upstream, chosen.upstream, "{told}");
            let also = self.table.routes_ignoring_case(route, &segments, case.method);
            names.push(route.name.clone());
            names.extend(also.expect(&told).iter().map(|route| route.name.clone()));
        }
        names
    }

    /// Whether a target that nothing is the matter with may pass.
    fn should_pass(&self, case: &Case) -> bool {
        let Ok(target) = std::str::from_utf8(&case.target) else { return false };
        let path = path_of(target);
        if naive::fault(target).is_some() || !forms(path).is_empty() || target.contains('#') {
            return false;
        }
        let segments = naive::segments(path);
        let Some(route) = self.table.route(case.host, &segments, case.method) else { return false };
        let Ok(also) = self.table.routes_ignoring_case(route, &segments, case.method) else {
            return false;
        };
        segments[0] != b"auth" && also.iter().chain([&route]).all(|one| one.rule.lets(case.who))
    }
}

/// The target that arrived is the one sent, byte for byte, without scheme and host if it had them.
fn check_target(case: &Case, target: &str) {
    let wanted = naive::origin_form(std::str::from_utf8(&case.target).unwrap());
    assert_eq!(target, wanted, "{}", case.told());
    assert_eq!(naive::fault(target), None, "{}", case.told());
}

async fn explain(
    gateway: &Gateway,
    environment: &[(&str, String)],
    case: &Case,
    target: &str,
) -> Value {
    let url = format!("http://{}{target}", case.host);
    let mut arguments = vec!["explain", case.method, &url, "--from", "127.0.0.1"];
    match case.who {
        Who::Nobody => {}
        Who::Cat => arguments.push("--verified"),
        Who::Ann => arguments.extend(["--role", "admin"]),
    }
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let said = command(gateway, environment, &arguments).await;
    said.unwrap_or_else(|| panic!("explain refuses {}", case.told()))
}

/// What `explain` says of a case that was forwarded.
fn check_explained(case: &Case, line: &Value, involved: &[String], said: &Value) {
    let told = format!("{}: {said:#}", case.told());
    assert_eq!(said["decision"], "allow", "{told}");
    assert!(said["status"].is_null() && said["reason"].is_null(), "{told}");
    assert_eq!(said["rules"]["route"], line["route"], "{told}");
    let asked = said["rules"]["routes"].as_array().unwrap();
    assert!(asked.iter().all(|route| route["verdict"] == "allow"), "{told}");
    assert_eq!(asked[0]["name"], line["route"], "{told}");
    for name in involved {
        assert!(asked.iter().any(|route| route["name"] == **name), "{name} was not asked: {told}");
    }
}

/// What arrived, by the number of its case.
fn arrivals(upstreams: &[(&'static str, &Upstream)], cases: &[Case]) -> HashMap<usize, Arrival> {
    let mut arrivals = HashMap::new();
    let all: Vec<&Upstream> = upstreams.iter().map(|(_, upstream)| *upstream).collect();
    for (at, head) in recorded(&all) {
        let read = by_httparse(&head);
        let number: usize = read.one("x-case").parse().unwrap();
        let arrival = Arrival { upstream: upstreams[at].0, read, head };
        assert!(arrivals.insert(number, arrival).is_none(), "twice: {}", cases[number].told());
    }
    arrivals
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_application_receives_is_what_was_decided_on_or_nothing() {
    let (app, other, exact) = (Upstream::start(), Upstream::start(), Upstream::start());
    let upstreams = [("app", &app), ("other", &other), ("exact", &exact)];
    let table = Table::read(ROUTES, &["exact"]);
    let environment = [("APP", app.url()), ("OTHER", other.url()), ("EXACT", exact.url())];
    let builder = Gateway::builder(&format!("{HEAD}{}", table.yaml()));
    let gateway = environment.iter().fold(builder, |builder, (name, url)| builder.with(name, url));
    let gateway = gateway.start().await;
    let (cat, ann) = (
        gateway.person("cat").sign_in().await,
        gateway.person("ann").role("admin").sign_in().await,
    );
    let cookies = |who| match who {
        Who::Nobody => String::new(),
        Who::Cat => cat.cookies(),
        Who::Ann => ann.cookies(),
    };

    let mut cases = cases();
    let mut line = Line::new(&gateway, "127.0.0.1");
    for case in &mut cases {
        let answer = line.ask(&case.bytes(&cookies)).await;
        case.status = answer.unwrap_or_else(|| panic!("no answer: {}", case.told())).status;
    }

    let arrivals = arrivals(&upstreams, &cases);
    let heads: Vec<Vec<u8>> = arrivals.values().map(|arrival| arrival.head.clone()).collect();
    let agreeing = tokio::task::spawn_blocking(move || check_agreement(&heads));
    let ids: Vec<String> =
        arrivals.values().map(|arrival| arrival.read.one("x-request-id").to_owned()).collect();
    let judge = Judge { table: &table, lines: access_lines(&gateway, &ids).await };
    let (mut irregular, mut explained) = (0, 0);
    for case in &cases {
        let Some(arrival) = arrivals.get(&case.number) else {
            judge.check_refused(case);
            continue;
        };
        judge.check(case, arrival);
        let target = &arrival.read.target;
        let is_irregular = !forms(path_of(target)).is_empty();
        irregular += usize::from(is_irregular);
        if explained < EXPLAINED && (is_irregular || case.number % 8 == 0) {
            explained += 1;
            let said = explain(&gateway, &environment, case, target).await;
            let line = &judge.lines[arrival.read.one("x-request-id")];
            check_explained(case, line, &judge.involved(case, target), &said);
        }
    }
    agreeing.await.unwrap();
    report(&format!("{} of {CASES} targets passed, {irregular} irregular", arrivals.len()));
    assert!(arrivals.len() > CASES / 8 && irregular > CASES / 60, "too little was tried");
}
