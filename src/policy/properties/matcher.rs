//! The matcher against one that goes through all routes and compares texts, written from the words of
//! the specification ("Tables", "Places").

mod words;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use self::words::{Answer, alike, by_method, expected, most_specific, readings, table_of, takes};
use super::super::Located;
use super::super::fixture::World;
use crate::web::authority::Authority;
use crate::web::target::Target;

type Path = Vec<Vec<u8>>;

/// How a host is written in a route, how it is compared.
const HOSTS: [(Option<&str>, &str); 6] = [
    (None, ""),
    (Some("app.example.com"), "app.example.com"),
    (Some("B.Example.com."), "b.example.com"),
    (Some("*.example.com"), "*.example.com"),
    (Some("*.B.example.com"), "*.b.example.com"),
    (Some("bücher.example"), "xn--bcher-kva.example"),
];

const ASKED_HOSTS: [&str; 12] = [
    "app.example.com",
    "APP.Example.COM.:8443",
    "b.example.com",
    "a.b.example.com",
    "x.a.B.example.com:80",
    "example.com",
    "evil-example.com",
    "app.example.com.evil",
    "XN--bcher-KVA.example",
    "10.0.0.1",
    "[::1]:80",
    "other.test",
];

/// One position of a route's path: how it may be written, and what it is. `None` takes any segment.
type Part = (&'static [&'static str], Option<&'static str>);

const PARTS: [Part; 7] = [
    (&["a", "%61"], Some("a")),
    (&["A"], Some("A")),
    (&["b"], Some("b")),
    (&["Bc", "%42c"], Some("Bc")),
    (&["é", "%c3%a9"], Some("é")),
    (&["%20%2a"], Some(" *")),
    (&["*"], None),
];

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum End {
    /// `/a`: with one trailing slash as well.
    Exact,
    /// `/a/` alone.
    Slash,
    /// `/a/**`.
    Below,
}

/// A route as it is meant and as it is written.
#[derive(Clone, Debug)]
struct Route {
    /// Its position in the file.
    index: usize,
    host: &'static str,
    parts: Vec<Option<&'static str>>,
    end: End,
    methods: Vec<&'static str>,
    upstream: &'static str,
    permitted: Vec<&'static str>,
    written: Value,
}

/// Of each place the routes, by what they name.
const METHODS: [&[&[&str]]; 8] = [
    &[&[]],
    &[&[]],
    &[&["GET"]],
    &[&["GET"], &[]],
    &[&["GET", "POST"], &["HEAD"]],
    &[&["POST"]],
    &[&["HEAD"], &["OPTIONS", "M-SEARCH"]],
    &[&["GET"], &["PUT", "DELETE"], &[]],
];

const FORMS: [&str; 5] =
    ["encoded-slash", "encoded-backslash", "semicolon", "double-slash", "non-utf8"];

type Spelled = (usize, Vec<(usize, usize)>, End, usize, Vec<usize>, Vec<bool>);

fn places() -> impl Strategy<Value = Spelled> {
    (
        prop_oneof![4 => Just(0), 2 => 1..HOSTS.len()],
        proptest::collection::vec((0..PARTS.len(), 0..2_usize), 0..=3),
        select(vec![End::Exact, End::Exact, End::Slash, End::Below, End::Below]),
        0..METHODS.len(),
        proptest::collection::vec(0..4_usize, 3),
        proptest::collection::vec(proptest::bool::weighted(0.4), FORMS.len()),
    )
}

fn tables() -> impl Strategy<Value = Vec<Route>> {
    proptest::collection::vec(places(), 1..14).prop_map(|places| {
        let mut routes: Vec<Route> = Vec::new();
        for place in places {
            // Beside a place, now and then, the one that differs in the final slash alone.
            let twin = (place.3 % 3 == 0).then(|| {
                let end = if place.2 == End::Slash { End::Exact } else { End::Slash };
                (place.0, place.1.clone(), end, 7 - place.3, place.4.clone(), place.5.clone())
            });
            for place in [place].into_iter().chain(twin) {
                let new = routes_of(&place);
                if !routes.iter().any(|known| is_same_place(known, &new[0])) {
                    routes.extend(new);
                }
            }
        }
        for (index, route) in routes.iter_mut().enumerate() {
            route.index = index;
        }
        routes
    })
}

fn is_same_place(one: &Route, other: &Route) -> bool {
    (one.host, &one.parts, one.end) == (other.host, &other.parts, other.end)
}

fn routes_of((host, parts, end, methods, upstreams, permitted): &Spelled) -> Vec<Route> {
    let (host, compared) = HOSTS[*host];
    let end = if parts.is_empty() && *end == End::Exact { End::Slash } else { *end };
    let mut path = String::new();
    for (index, (part, spelling)) in parts.iter().enumerate() {
        let (spellings, meant) = PARTS[*part];
        // A name for every second position: one position has one name in all routes.
        let named = format!("{{p{index}}}");
        let is_named = meant.is_none() && index % 2 == 1;
        path += "/";
        path += if is_named { &named } else { spellings[spelling % spellings.len()] };
    }
    path += match end {
        End::Exact => "",
        End::Slash => "/",
        End::Below => "/**",
    };
    let permitted: Vec<&str> =
        FORMS.iter().zip(permitted).filter(|(_, is_in)| **is_in).map(|(form, _)| *form).collect();
    let route = |(index, methods): (usize, &&[&'static str])| {
        let upstream = ["app", "app", "other", "exact"][upstreams[index]];
        Route {
            index: 0,
            host: compared,
            parts: parts.iter().map(|(part, _)| PARTS[*part].1).collect(),
            end,
            methods: methods.to_vec(),
            upstream,
            permitted: permitted.clone(),
            written: json!({
                "host": host, "path": path, "methods": methods, "upstream": upstream,
                "allow": "public", "permit_in_path": permitted,
            }),
        }
    };
    METHODS[*methods].iter().enumerate().map(route).collect()
}

const ASKED_PARTS: [&str; 26] = [
    "a", "A", "%61", "%41", "b", "B", "Bc", "bC", "bc", "%c3%a9", "%C3%89", "c", "%20*", "*", "**",
    "%7bp1%7d", "auth", "AUTH", "%61uth", "a%2fb", "a%5Cb", "a;b", "a%3bB", "..%2fA", "%ff", "",
];

fn paths() -> impl Strategy<Value = String> {
    let parts = proptest::collection::vec(
        prop_oneof![3 => select(&ASKED_PARTS[..14]), 1 => select(&ASKED_PARTS[..])],
        1..=4,
    );
    (parts, select(&["", "", "/", "?x=/../;//"][..]))
        .prop_map(|(parts, end)| format!("/{}{end}", parts.join("/")))
}

/// A path, or what is put behind the path of the route of this number, whatever it names taken as a
/// segment.
#[derive(Clone, Debug)]
enum Asked {
    Path(String),
    LikeRoute(usize, &'static str),
}

impl Asked {
    fn path(&self, routes: &[Route]) -> String {
        match self {
            Self::Path(path) => path.clone(),
            Self::LikeRoute(index, end) => {
                let path = routes[index % routes.len()].written["path"].as_str().unwrap();
                let path = path.trim_end_matches("/**").trim_end_matches('/');
                let path = path.replace("{p1}", "c").replace('é', "%C3%a9");
                let path = path + end;
                if path.is_empty() { "/".to_owned() } else { path }
            }
        }
    }
}

fn requests() -> impl Strategy<Value = (&'static str, &'static str, Asked)> {
    let methods =
        &["GET", "GET", "HEAD", "POST", "OPTIONS", "PUT", "M-SEARCH", "TRACE", "CONNECT"][..];
    let hosts = prop_oneof![1 => Just("other.test"), 2 => select(&ASKED_HOSTS[..])];
    let ends = select(&["", "", "/", "/", "/b", "//", ";x", "%2f..%2fa"][..]);
    let like_route = (any::<usize>(), ends).prop_map(|(index, end)| Asked::LikeRoute(index, end));
    let asked = prop_oneof![5 => paths().prop_map(Asked::Path), 4 => like_route];
    (select(methods), hosts, asked)
}

fn found(located: &Located) -> Answer {
    match located {
        Located::Route(found) => {
            let mut also: Vec<usize> = found.also.iter().map(|id| id.0).collect();
            also.sort_unstable();
            Answer::Routes(found.route.0, also)
        }
        Located::MethodNotAllowed(_) => Answer::WrongMethod,
        Located::NoPlace => Answer::Nowhere,
        Located::Ambiguous(_) => Answer::Ambiguous,
    }
}

/// Holds that every reading leads to a route that must allow, of the same upstream.
fn check_readings(
    routes: &[Route],
    (method, host, target): (&str, &str, &Target),
    involved: &[usize],
) -> Result<(), TestCaseError> {
    let (_, table) = table_of(routes, host);
    for reading in readings(target) {
        prop_assert!(reading[0] != b"auth", "{:?} is the gateway's own", reading);
        let takers: Vec<&Route> =
            table.iter().copied().filter(|route| takes(route, &reading, false)).collect();
        let route = by_method(&most_specific(&takers), method);
        let Some(route) = route else { panic!("{reading:?} leads nowhere") };
        prop_assert!(involved.contains(&route.index), "{:?} was not decided on", reading);
        prop_assert_eq!(route.upstream, routes[involved[0]].upstream);
        let also = alike(&table, route, &reading, method).expect("one for the method");
        prop_assert!(also.iter().all(|other| involved.contains(other)), "{:?}", reading);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_request_leads_where_going_through_all_routes_by_the_words_leads(
        routes in tables(),
        requests in proptest::collection::vec(requests(), 24),
    ) {
        let written: Vec<&Value> = routes.iter().map(|route| &route.written).collect();
        let world = World::new(&json!({ "upstreams": { "exact": true }, "routes": written }));
        for (method, host, asked) in &requests {
            let authority = Authority::parse(host.as_bytes()).unwrap();
            let path = asked.path(&routes);
            let Ok(target) = Target::parse(&path) else { continue };
            let kind = table_of(&routes, host).0;
            prop_assert_eq!(world.policy.takes_host(authority.host()), kind, "{}", host);
            let located =
                world.policy.locate(authority.host(), &target, &method.parse().unwrap());
            let answer = found(&located);
            let expected = expected(&routes, method, host, &target);
            let asked = format!("{method} {host} {path}");
            match (&expected, &answer) {
                (Answer::Irregular(chosen), Answer::Routes(route, also)) => {
                    prop_assert_eq!(chosen, route, "{}", asked);
                    let involved = [&[*route], also.as_slice()].concat();
                    check_readings(&routes, (method, host, &target), &involved)?;
                }
                (Answer::Irregular(_), Answer::Ambiguous | Answer::WrongMethod) => {}
                _ => prop_assert_eq!(&answer, &expected, "{}", asked),
            }
        }
    }
}
