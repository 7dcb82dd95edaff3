//! The names the file defines, and doubts about those rules use.

use std::collections::BTreeMap;

use crate::config::{Config, UnreadRoles};
use crate::identity::grant::Grant;

/// What each role of the file grants. The spelling was checked when the file was read.
#[must_use]
pub fn declared_grants(config: &Config) -> BTreeMap<String, Vec<Grant>> {
    let parse = |text: &String| Grant::parse(text).ok();
    let roles = config.roles.iter();
    roles
        .map(|(name, role)| (name.clone(), role.permissions.iter().filter_map(parse).collect()))
        .collect()
}

/// Roles and grants of the file.
pub(super) struct Vocabulary {
    roles: Vec<String>,
    /// Grants of the file's roles that are no wildcards.
    permissions: Vec<Grant>,
    /// Those that are, except `*:*`, which covers a misspelt name as well.
    wildcards: Vec<Grant>,
    has_everything: bool,
    unread: UnreadRoles,
}

impl Vocabulary {
    pub(super) fn new(config: &Config) -> Self {
        let grants = config.roles.values().flat_map(|role| &role.permissions);
        let has_everything = grants.clone().any(|text| text == "*:*");
        let (wildcards, permissions) = grants
            .filter(|text| *text != "*:*")
            .filter_map(|text| Grant::parse(text).ok())
            .partition(Grant::is_wildcard);
        let roles = config.roles.keys().cloned().collect();
        let unread = config.unread_roles.clone();
        Self { roles, permissions, wildcards, has_everything, unread }
    }

    /// Why a role a rule names may be a mistake.
    pub(super) fn doubt_role(&self, name: &str) -> Option<String> {
        let is_unread = self.unread.may_be_any || self.unread.names.contains(name);
        if is_unread || self.roles.iter().any(|role| role == name) {
            return None;
        }
        let nearest = nearest(name, self.roles.iter().map(String::as_str));
        let text = format!("the role `{name}` is defined nowhere in the configuration");
        Some(with_nearest(text, nearest))
    }

    /// Why a permission a rule names may be a mistake. A role with `*:*` grants every permission, so
    /// with one a name is doubted only if there is a close spelling, or `is_strict`.
    pub(super) fn doubt_permission(&self, permission: &Grant, is_strict: bool) -> Option<String> {
        if self.unread != UnreadRoles::default() {
            // What was not read may grant it.
            return None;
        }
        if self.permissions.iter().chain(&self.wildcards).any(|grant| grant.covers(permission)) {
            return None;
        }
        let name = permission.to_string();
        let known: Vec<String> = self.permissions.iter().map(ToString::to_string).collect();
        let nearest = nearest(&name, known.iter().map(String::as_str));
        if self.has_everything && nearest.is_none() && !is_strict {
            return None;
        }
        let by = if self.has_everything { " but by `*:*`" } else { "" };
        let text = format!("no role of the configuration grants the permission `{name}`{by}");
        Some(with_nearest(text, nearest))
    }
}

fn with_nearest(text: String, nearest: Option<String>) -> String {
    match nearest {
        Some(nearest) => format!("{text}; did you mean `{nearest}`?"),
        None => text,
    }
}

/// The closest of `known`, if it is close: letter case is no difference, else at most a third of the
/// letters.
fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    let folded = name.to_lowercase();
    let limit = (folded.chars().count() / 3).clamp(1, 3);
    known
        .map(|known| (strsim::osa_distance(&folded, &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, known)| known.to_owned())
}
