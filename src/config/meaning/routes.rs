//! Routes of all files together, in the files' order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::identity::Profiles;
use super::{Cursor, Findings, Part, duration, rules, upstreams};
use crate::config::nearest::nearest;
use crate::config::route::{Allow, Cache, IdentityProfile, Route, Unauthenticated, Upstream};
use crate::config::yaml::Route as RouteFile;
use crate::web::authority::Host;
use crate::web::target::Forms;

type Upstreams = BTreeMap<String, Arc<Upstream>>;

pub(super) fn read(
    parts: &[Part],
    known: &Upstreams,
    mut profiles: Profiles,
    findings: &Findings,
) -> (Vec<Route>, Vec<Arc<IdentityProfile>>) {
    let mut routes = Vec::new();
    let mut names = BTreeSet::new();
    for part in parts {
        let at = part.source.cursor(findings).key("routes");
        for (index, written) in part.adds.routes.iter().enumerate() {
            let at = at.item(index);
            if let Some(name) = &written.name
                && !names.insert(name.text.as_str())
            {
                at.key("name").report(format!("another route is named `{}` already", name.text));
            }
            let upstream = find_upstream(parts, known, &written.upstream.text, &at);
            // A route to nowhere is still looked through: its other mistakes are found in the same run.
            let upstream = upstream
                .unwrap_or_else(|| Arc::new(upstreams::stand_in(&written.upstream.text, &at)));
            let profile = profiles.number(written.identity.as_ref(), &at.key("identity"));
            let allow = rules::read(&written.allow, &at.key("allow"));
            let judged = Judged { upstream, profile, allow };
            routes.push(read_one(written, judged, &at));
        }
    }
    (routes, profiles.into_list())
}

/// What of a route is read with the whole configuration in view.
struct Judged {
    upstream: Arc<Upstream>,
    profile: usize,
    allow: Allow,
}

fn read_one(written: &RouteFile, judged: Judged, at: &Cursor<'_>) -> Route {
    let path = written.path.text.clone();
    let host = written.host.as_ref().map(|host| host.text.clone());
    if let Some(host) = &host
        && Host::parse(host.strip_prefix("*.").unwrap_or(host)).is_err()
    {
        let at = at.key("host");
        at.report(format!("{} is not a host", at.shown(host)));
    }
    let place = format!("{}{path}", host.as_deref().unwrap_or_default());
    let timeout = written.timeout.as_ref();
    let timeout = timeout.map(|_| duration(timeout, Duration::MAX, &at.key("timeout")));
    let methods = read_methods(written, &at.key("methods"));
    Route {
        name: written.name.as_ref().map_or(place, |name| name.text.clone()),
        host,
        path,
        methods,
        upstream: judged.upstream,
        allow: judged.allow,
        profile: judged.profile,
        unauthenticated: written
            .unauthenticated
            .as_ref()
            .map_or(Unauthenticated::Auto, |chosen| chosen.0),
        timeout,
        no_store: written.no_store.unwrap_or(false),
        cache: written.cache.as_ref().map_or(Cache::Private, |cache| cache.0),
        permit_in_path: written
            .permit_in_path
            .iter()
            .fold(Forms::NONE, |forms, form| forms.with(form.0)),
        at: at.path(),
    }
}

fn read_methods(written: &RouteFile, at: &Cursor<'_>) -> Vec<Method> {
    let mut methods = Vec::new();
    for (index, method) in written.methods.iter().enumerate() {
        match Method::from_bytes(method.text.as_bytes()) {
            Ok(method) if methods.contains(&method) => at.item(index).report("stands twice"),
            Ok(method) => methods.push(method),
            Err(_) => at.item(index).report("not a method"),
        }
    }
    methods
}

fn find_upstream(
    parts: &[Part],
    upstreams: &Upstreams,
    name: &str,
    route: &Cursor<'_>,
) -> Option<Arc<Upstream>> {
    let found = upstreams.get(name).cloned();
    // One that was declared, but not well, is reported there.
    let is_written =
        parts.iter().any(|part| part.source.places.contains_key(&format!("upstreams.{name}")));
    if found.is_none() && !is_written {
        let at = route.key("upstream");
        let suggestion = nearest(name, upstreams.keys().map(String::as_str));
        at.report_near(format!("no upstream is named {}", at.shown(name)), suggestion);
    }
    found
}
