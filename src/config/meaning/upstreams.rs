//! Upstreams and roles, of all files together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::{Cursor, Findings, Part, duration};
use crate::config::route::{IdentityProfile, Upstream};
use crate::config::settings::Role;
use crate::config::yaml::spelling::HostWord;
use crate::config::yaml::{Upstream as UpstreamFile, UpstreamMap};
use crate::web::headers::{check_permitted_name, fold};
use crate::web::origin::{Origin, Scheme};

/// The role that is there without being declared.
const ADMIN: &str = "admin";

/// What a name is declared as already, and in which file.
struct Declared<'a>(BTreeMap<String, (&'a str, String)>);

impl<'a> Declared<'a> {
    /// Whether `name` is new; reports it if not. `folded` is what must differ.
    fn add(&mut self, folded: String, name: &'a str, at: &Cursor<'_>) -> bool {
        let file = at.source.name.display().to_string();
        match self.0.get(&folded) {
            None => {
                self.0.insert(folded, (name, file));
                true
            }
            Some((other, file)) if *other == name => {
                at.report(format!("`{name}` is declared in {file} already"));
                false
            }
            Some((other, _)) => {
                at.report(format!("`{name}` differs from `{other}` only in case"));
                false
            }
        }
    }
}

pub(super) fn read_roles(parts: &[Part], findings: &Findings) -> BTreeMap<String, Role> {
    let mut declared = Declared(BTreeMap::new());
    let mut roles = BTreeMap::new();
    for part in parts {
        let at = part.source.cursor(findings).key("roles");
        for (name, role) in &part.adds.roles.entries {
            let at = at.key(name);
            if !declared.add(name.to_ascii_lowercase(), name, &at) {
                continue;
            }
            let role = Role {
                description: role.description.as_ref().map(|d| d.text.clone()).unwrap_or_default(),
                permissions: role.permissions.iter().map(|grant| grant.text.clone()).collect(),
                at: Some(at.path()),
            };
            if name != ADMIN && name.eq_ignore_ascii_case(ADMIN) {
                at.report(format!(
                    "`{name}` differs from the built-in role `{ADMIN}` only in case"
                ));
            }
            roles.insert(name.clone(), role);
        }
    }
    roles.entry(ADMIN.to_owned()).or_insert_with(|| Role {
        description: "May do everything".to_owned(),
        permissions: vec!["*:*".to_owned()],
        at: None,
    });
    roles
}

pub(super) fn read(parts: &[Part], findings: &Findings) -> BTreeMap<String, Arc<Upstream>> {
    let mut declared = Declared(BTreeMap::new());
    let mut upstreams = BTreeMap::new();
    for part in parts {
        let at = part.source.cursor(findings).key("upstreams");
        for (name, upstream) in &part.adds.upstreams.entries {
            let at = at.key(name);
            if declared.add(name.clone(), name, &at) {
                upstreams.insert(name.clone(), Arc::new(read_one(name, upstream, &at)));
            }
        }
    }
    upstreams
}

/// Reports headers that are let through although the gateway sets them: anybody could forge those.
pub(super) fn check_permitted(
    parts: &[Part],
    profiles: &[Arc<IdentityProfile>],
    findings: &Findings,
) {
    let identity: Vec<String> = profiles
        .iter()
        .flat_map(|profile| &profile.headers)
        .map(|(name, _)| fold(name.as_str()))
        .collect();
    for part in parts {
        let at = part.source.cursor(findings).key("upstreams");
        for (name, upstream) in &part.adds.upstreams.entries {
            let UpstreamFile::Map(map) = upstream else { continue };
            let at = at.key(name).key("permit_headers");
            for (index, header) in map.permit_headers.iter().enumerate() {
                let Ok(header) = HeaderName::from_bytes(header.text.as_bytes()) else { continue };
                if let Err(reason) = check_permitted_name(&header) {
                    at.item(index).report(format!("cannot be let through: {reason}"));
                } else if identity.contains(&fold(header.as_str())) {
                    at.item(index).report(
                        "cannot be let through: `identity.headers` names it, so nobody else may \
                         send it",
                    );
                }
            }
        }
    }
}

/// Stands for an upstream that nothing declares, in a configuration that has been refused for it.
pub(super) fn stand_in(name: &str, at: &Cursor<'_>) -> Upstream {
    read_one(name, &UpstreamFile::Map(Box::default()), at)
}

fn read_one(name: &str, written: &UpstreamFile, at: &Cursor<'_>) -> Upstream {
    let none = UpstreamMap::default();
    let (target, map, target_at) = match written {
        UpstreamFile::Target(target) => (Some(target), &none, at.clone()),
        UpstreamFile::Map(map) => (map.targets.0.first(), map.as_ref(), at.key("targets").item(0)),
    };
    let origin = target.and_then(|target| read_target(&target.text, &target_at));
    let (authority, host, port) = origin.map_or_else(Default::default, |origin| {
        let host = origin.host.as_str();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        (format!("{host}:{}", origin.port), bare, origin.port)
    });
    let wait =
        |written, default, key| duration(written, Duration::from_secs(default), &at.key(key));
    Upstream {
        name: name.to_owned(),
        host,
        port,
        authority,
        preserve_host: map.host.as_ref().is_none_or(|host| host.0 == HostWord::Preserve),
        case_sensitive: map.case_sensitive.unwrap_or(false),
        permit_headers: permit_headers(map, &at.key("permit_headers")),
        connect_timeout: wait(map.connect_timeout.as_ref(), 2, "connect_timeout"),
        response_timeout: wait(map.response_timeout.as_ref(), 60, "response_timeout"),
        idle_timeout: wait(map.idle_timeout.as_ref(), 300, "idle_timeout"),
        keep_alive: wait(map.keep_alive.as_ref(), 60, "keep_alive"),
        at: at.path(),
    }
}

fn read_target(text: &str, at: &Cursor<'_>) -> Option<Origin> {
    let Ok(origin) = Origin::parse(text) else {
        at.report(format!("{} is not a target: scheme, host and port", at.shown(text)));
        return None;
    };
    if origin.scheme == Scheme::Https {
        at.report("https:// upstreams are not supported: use http:// on a trusted network");
        return None;
    }
    Some(origin)
}

fn permit_headers(map: &UpstreamMap, at: &Cursor<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (index, name) in map.permit_headers.iter().enumerate() {
        let folded = name.text.to_ascii_lowercase();
        if names.contains(&folded) {
            at.item(index).report("stands twice");
        } else {
            names.push(folded);
        }
    }
    names
}
