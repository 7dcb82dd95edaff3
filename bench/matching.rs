//! What finding the route of a request costs with 10 routes and with 10,000.
//!
//! Both tables are made of the same shapes, on two exact hosts, a wildcard and no host: literals,
//! parameters, subtrees, and places that overlap, so that the matcher has to go back. Both are asked
//! equally many different requests in an order without pattern, spread over the whole table, so that
//! what differs is the table alone.
#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use http::Method;
use portcullis::config;
use portcullis::identity::access::Interner;
use portcullis::policy::{Located, Policy};
use portcullis::web::authority::Host;
use portcullis::web::target::Target;

const SIZES: [usize; 2] = [10, 10_000];

/// Different requests; more than a processor's caches next to its cores hold the routes of.
const REQUESTS: usize = 4096;

/// Odd, so that stepping by it modulo [`REQUESTS`], a power of two, visits every request.
const STRIDE: usize = 1597;

/// Requests that are made ready together. A gateway looks for the route of a request that it has just
/// read: the request is in the cache next to the core, and only the table is not.
const JUST_READ: u64 = 32;

/// How a route is written, and a request that it takes; `#` is the number of a group of routes, `@`
/// something that differs from request to request.
const SHAPES: [(Option<&str>, &str, &str, &str); 10] = [
    (None, "/teams/t#/dashboard", "/teams/t#/dashboard", "www.example.com"),
    (None, "/teams/t#/**", "/teams/t#/reports/@/pages/3", "www.example.com"),
    (None, "/files/f#/**", "/files/f#/2026/@.pdf", "localhost"),
    (Some("app.example.com"), "/projects/p#/items/{id}", "/projects/p#/items/@", "app.example.com"),
    (Some("app.example.com"), "/projects/p#/**", "/projects/p#/items/@/edit", "app.example.com"),
    (Some("app.example.com"), "/projects/{project}/s#", "/projects/@/s#", "app.example.com"),
    (Some("api.example.com"), "/v1/r#", "/v1/r#/", "api.example.com"),
    (Some("api.example.com"), "/v1/r#/{id}/history", "/v1/r#/@/history", "api.example.com"),
    (Some("*.tenants.example.com"), "/docs/d#/**", "/docs/d#/@", "t@.tenants.example.com"),
    (Some("*.tenants.example.com"), "/{area}/a#/*", "/docs/a#/@", "t@.tenants.example.com"),
];

#[derive(Clone)]
struct Request {
    host: Host,
    target: Target,
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("matching");
    group.throughput(Throughput::Elements(1));
    for routes in SIZES {
        let policy = policy(routes);
        let requests = requests(routes);
        check(&policy, &requests, routes);
        let mut at = 0;
        group.bench_function(routes.to_string(), |bencher| {
            let next = || {
                at = (at + STRIDE) % REQUESTS;
                requests[at].clone()
            };
            let locate = |Request { host, target }: &mut Request| {
                policy.locate(black_box(host), black_box(target), &Method::GET)
            };
            bencher.iter_batched_ref(next, locate, BatchSize::NumIterations(JUST_READ));
        });
    }
    group.finish();
    criterion.final_summary();
}

fn policy(routes: usize) -> Policy {
    let mut yaml = String::from("upstreams: { app: \"http://127.0.0.1:3000\" }\nroutes:\n");
    for index in 0..routes {
        let (host, path, ..) = SHAPES[index % SHAPES.len()];
        let path = path.replace('#', &group_of(index));
        yaml.push_str("  - {");
        if let Some(host) = host {
            write!(yaml, " host: \"{host}\",").expect("a string takes everything");
        }
        let rule = if index % 2 == 0 { "authenticated" } else { "{ roles: [admin] }" };
        writeln!(yaml, " path: \"{path}\", upstream: app, allow: {rule} }}")
            .expect("a string takes everything");
    }
    let environment = BTreeMap::<String, String>::new();
    let config = config::load_text(&yaml, Path::new("portcullis.yaml"), &environment)
        .unwrap_or_else(|errors| panic!("{errors:#?}"));
    let (policy, findings) = Policy::compile(&config, &Interner::default());
    policy.unwrap_or_else(|| panic!("{:#?}", findings.errors))
}

fn group_of(index: usize) -> String {
    (index / SHAPES.len()).to_string()
}

/// Requests spread evenly over the routes.
fn requests(routes: usize) -> Vec<Request> {
    let request = |number: usize| {
        let index = number * routes / REQUESTS;
        let (_, _, path, host) = SHAPES[index % SHAPES.len()];
        let fill = |text: &str| {
            text.replace('#', &group_of(index)).replace('@', &(number % 1000).to_string())
        };
        let host = Host::parse(&fill(host)).expect("a host");
        Request { host, target: Target::parse(&fill(path)).expect("a target") }
    };
    (0..REQUESTS).map(request).collect()
}

/// A benchmark of requests that lead nowhere would be fast and worthless.
fn check(policy: &Policy, requests: &[Request], routes: usize) {
    let mut reached = vec![false; routes];
    for Request { host, target } in requests {
        let Located::Route(found) = policy.locate(host, target, &Method::GET) else {
            panic!("{}{} leads nowhere", host.as_str(), target.raw());
        };
        reached[found.route.0] = true;
    }
    let reached = reached.iter().filter(|reached| **reached).count();
    assert_eq!(reached, routes.min(REQUESTS), "the requests do not spread over the table");
}
