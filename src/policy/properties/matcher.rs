//! The matcher against one that goes through all routes and compares texts, written from the words of
//! the specification ("Tables", "Places").

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::super::fixture::World;
use super::super::{HostMatch, Located};
use crate::web::authority::Authority;
use crate::web::target::{Forms, Target};

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

// ---- the words ----

/// Lower case, without port and one final dot.
fn compared(host: &str) -> String {
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    };
    bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase()
}

/// The exact host if a route names it, else the longest wildcard that matches, else the routes
/// without `host`.
fn table_of<'r>(routes: &'r [Route], host: &str) -> (HostMatch, Vec<&'r Route>) {
    let host = compared(host);
    let of = |name: &str| routes.iter().filter(|route| route.host == name).collect::<Vec<_>>();
    if !of(&host).is_empty() {
        return (HostMatch::Exact, of(&host));
    }
    let takes = |route: &&Route| route.host.starts_with('*') && host.ends_with(&route.host[1..]);
    if let Some(longest) = routes.iter().filter(takes).max_by_key(|route| route.host.len()) {
        return (HostMatch::Wildcard, of(longest.host));
    }
    let any = of("");
    (if any.is_empty() { HostMatch::Nowhere } else { HostMatch::Any }, any)
}

fn takes(route: &Route, path: &Path, ignores_case: bool) -> bool {
    let alike = |path: &[Vec<u8>]| {
        route.parts.iter().zip(path).all(|(part, segment)| match part {
            None => !segment.is_empty(),
            Some(text) if ignores_case => text.as_bytes().eq_ignore_ascii_case(segment),
            Some(text) => text.as_bytes() == segment,
        })
    };
    let (own, is_slash_last) = (route.parts.len(), path.last().is_some_and(Vec::is_empty));
    alike(path)
        && match route.end {
            End::Exact => path.len() == own || (path.len() == own + 1 && is_slash_last),
            End::Slash => path.len() == own + 1 && is_slash_last,
            End::Below => path.len() >= own,
        }
}

/// End of path over literal over parameter over `/**`; the slash form alone over both.
fn rank(route: &Route) -> Vec<u8> {
    let parts = route.parts.iter().map(|part| if part.is_some() { 2 } else { 3 });
    let end = match route.end {
        End::Slash => 0,
        End::Exact => 1,
        End::Below => 4,
    };
    parts.chain([end]).collect()
}

/// The routes of the most specific place. Of several, when case is ignored.
fn most_specific<'r>(takers: &[&'r Route]) -> Vec<&'r Route> {
    let best = takers.iter().map(|route| rank(route)).min();
    takers.iter().copied().filter(|route| Some(rank(route)) == best).collect()
}

/// The route that names the method, HEAD also by GET, else the one that names none.
fn by_method<'r>(place: &[&'r Route], method: &str) -> Option<&'r Route> {
    if method == "TRACE" || method == "CONNECT" {
        return None;
    }
    let named = |name: &str| place.iter().copied().find(|route| route.methods.contains(&name));
    named(method)
        .or_else(|| if method == "HEAD" { named("GET") } else { None })
        .or_else(|| place.iter().copied().find(|route| route.methods.is_empty()))
}

#[derive(PartialEq, Eq, Debug)]
enum Answer {
    /// The chosen route and, sorted, those an application that ignores case could choose.
    Routes(usize, Vec<usize>),
    /// The chosen route permits the irregular forms: what else must allow is said by readings.
    Irregular(usize),
    WrongMethod,
    Nowhere,
    Ambiguous,
}

fn expected(routes: &[Route], method: &str, host: &str, target: &Target) -> Answer {
    let path: Path = target.segments().iter().map(<[u8]>::to_vec).collect();
    let (_, table) = table_of(routes, host);
    let is_own = path[0] == b"auth";
    let takers: Vec<&Route> =
        table.iter().copied().filter(|route| takes(route, &path, false) && !is_own).collect();
    let place = most_specific(&takers);
    let forms = forms_of(target);
    let Some(chosen) = by_method(&place, method) else {
        let is_refused = method == "TRACE" || method == "CONNECT";
        return match (forms.is_empty(), place.is_empty() && !is_refused) {
            (false, _) => Answer::Ambiguous,
            (true, true) => Answer::Nowhere,
            (true, false) => Answer::WrongMethod,
        };
    };
    if !forms.is_empty() {
        let is_permitted = forms.iter().all(|form| chosen.permitted.contains(form));
        return if is_permitted { Answer::Irregular(chosen.index) } else { Answer::Ambiguous };
    }
    match alike(&table, chosen, &path, method) {
        Some(also) => Answer::Routes(chosen.index, also),
        None => Answer::WrongMethod,
    }
}

/// The routes of the other places of the same upstream that ignoring case would choose; `None` when
/// one of those places has none for the method.
fn alike(table: &[&Route], chosen: &Route, path: &Path, method: &str) -> Option<Vec<usize>> {
    if chosen.upstream == "exact" {
        return Some(Vec::new());
    }
    let shares = |route: &&Route| {
        table.iter().any(|other| is_same_place(other, route) && other.upstream == chosen.upstream)
    };
    let takers: Vec<&Route> =
        table.iter().copied().filter(shares).filter(|route| takes(route, path, true)).collect();
    let found = most_specific(&takers);
    let mut also = Vec::new();
    for one in &found {
        let place: Vec<&Route> =
            found.iter().copied().filter(|other| is_same_place(one, other)).collect();
        also.push(by_method(&place, method)?.index);
    }
    also.retain(|other| *other != chosen.index);
    also.sort_unstable();
    also.dedup();
    Some(also)
}

fn forms_of(target: &Target) -> Vec<&'static str> {
    let has = |form| target.forms().contains(form);
    let named: Vec<&str> =
        Forms::NAMED.iter().filter(|(form, _)| has(*form)).map(|(_, name)| *name).collect();
    FORMS.into_iter().filter(|form| named.contains(form)).collect()
}

/// What a few plain applications read: decoding all before splitting, taking `\` for `/`, cutting
/// parameters, then resolving dots, merging slashes, or neither.
fn readings(target: &Target) -> Vec<Path> {
    let joined = |path: &Path| path.join(&b'/');
    let received: Path = target.segments().iter().map(<[u8]>::to_vec).collect();
    let decoded = joined(&received);
    let slashes: Vec<u8> = decoded.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect();
    let mut all = vec![received];
    for whole in [decoded, slashes] {
        let split: Path = whole.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        let cut = |part: &Vec<u8>| part.split(|byte| *byte == b';').next().unwrap().to_vec();
        for path in [split.clone(), split.iter().map(cut).collect()] {
            let last = path.len() - 1;
            let merged: Path = path
                .iter()
                .enumerate()
                .filter(|(index, part)| *index == last || !part.is_empty())
                .map(|(_, part)| part.clone())
                .collect();
            let mut resolved: Path = Vec::new();
            for part in &path {
                if part == b".." {
                    resolved.pop();
                } else if part != b"." {
                    resolved.push(part.clone());
                }
            }
            if resolved.is_empty() || path[last] == b".." || path[last] == b"." {
                resolved.push(Vec::new());
            }
            all.extend([path, merged, resolved]);
        }
    }
    all
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
