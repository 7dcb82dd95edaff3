//! The reference: going through all routes and comparing texts, as the specification's words have it.

use super::{End, FORMS, Path, Route, is_same_place};
use crate::policy::HostMatch;
use crate::web::target::{Forms, Target};

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
pub(super) fn table_of<'r>(routes: &'r [Route], host: &str) -> (HostMatch, Vec<&'r Route>) {
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

pub(super) fn takes(route: &Route, path: &Path, ignores_case: bool) -> bool {
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
pub(super) fn most_specific<'r>(takers: &[&'r Route]) -> Vec<&'r Route> {
    let best = takers.iter().map(|route| rank(route)).min();
    takers.iter().copied().filter(|route| Some(rank(route)) == best).collect()
}

/// The route that names the method, HEAD also by GET, else the one that names none.
pub(super) fn by_method<'r>(place: &[&'r Route], method: &str) -> Option<&'r Route> {
    if method == "TRACE" || method == "CONNECT" {
        return None;
    }
    let named = |name: &str| place.iter().copied().find(|route| route.methods.contains(&name));
    named(method)
        .or_else(|| if method == "HEAD" { named("GET") } else { None })
        .or_else(|| place.iter().copied().find(|route| route.methods.is_empty()))
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// The chosen route and, sorted, those an application that ignores case could choose.
    Routes(usize, Vec<usize>),
    /// The chosen route permits the irregular forms: what else must allow is said by readings.
    Irregular(usize),
    WrongMethod,
    Nowhere,
    Ambiguous,
}

pub(super) fn expected(routes: &[Route], method: &str, host: &str, target: &Target) -> Answer {
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
pub(super) fn alike(
    table: &[&Route],
    chosen: &Route,
    path: &Path,
    method: &str,
) -> Option<Vec<usize>> {
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
pub(super) fn readings(target: &Target) -> Vec<Path> {
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
