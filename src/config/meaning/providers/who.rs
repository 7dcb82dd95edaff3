//! For whom a provider may vouch: the lists of `who`, and which of them each kind can answer.

use super::super::Cursor;
use crate::config::provider::{Admission, Who};
use crate::config::yaml::spelling::{KindWord, Text};
use crate::config::yaml::{Admission as AdmissionFile, Provider as ProviderFile, Who as WhoFile};
use crate::web::authority::Host;
use KindWord::{GitHub, GitLab, Google, Microsoft, OAuth2 as Plain, Oidc};

/// What an administrator of any tenant at all may give their own people is worth nothing.
pub(super) fn check_tenants(written: &ProviderFile, at: &Cursor<'_>) {
    let (names_tenants, names_groups) = match &written.who {
        WhoFile::Any(lists) => (!lists.tenants.is_empty(), !lists.groups.is_empty()),
        WhoFile::Anyone(_) => (false, false),
    };
    if written.kind.0 != Microsoft || names_tenants {
        return;
    }
    let why =
        "needs `who.tenants`: any other tenant's administrator gives people what group they like";
    if names_groups {
        at.key("who").key("groups").report(format!("`kind: microsoft` {why}"));
    }
    if !written.roles.entries.is_empty() {
        at.key("roles").report(format!("`kind: microsoft` {why}"));
    }
}

/// `None` once something was reported.
pub(super) fn read(written: &ProviderFile, at: &Cursor<'_>) -> Option<Who> {
    let at = at.key("who");
    let lists = match &written.who {
        WhoFile::Anyone(_) => return Some(Who::Anyone),
        WhoFile::Any(lists) => lists,
    };
    check_lists(written.kind.0, lists, &at);
    let found = Admission {
        domains: fold_all(&lists.domains, "domain", &at.key("domains"), |text| {
            let host = Host::parse(text).ok().filter(|host| host.address().is_none());
            host.filter(|host| host.as_str().contains('.')).map(|host| host.as_str().to_owned())
        }),
        emails: fold_all(&lists.emails, "e-mail address", &at.key("emails"), fold_email),
        organisations: fold_all(
            &lists.organisations,
            "organisation",
            &at.key("organisations"),
            folded,
        ),
        groups: lists.groups.iter().map(|group| group.text.clone()).collect(),
        tenants: fold_all(&lists.tenants, "tenant", &at.key("tenants"), folded),
    };
    if found.is_empty() {
        // What else stands there was refused and reported.
        let below = format!("{}.", at.path().path);
        let is_list = |name: &str| KNOWN.iter().any(|(key, _)| *key == name);
        let mut places = at.source.places.keys().filter_map(|path| path.strip_prefix(&below));
        let has_more = places.any(|name| !is_list(name) || at.key(name).was_refused());
        if !has_more {
            at.report(
                "admits nobody: list domains, emails, organisations, groups or tenants, or say `anyone`",
            );
        }
        return None;
    }
    Some(Who::Any(found))
}

#[expect(clippy::unnecessary_wraps, reason = "one of the ways to fold, others of which may fail")]
fn folded(text: &str) -> Option<String> {
    Some(text.to_lowercase())
}

/// Folded roughly here, where accounts are not known: local part as Unicode lower case, domain as A-label.
fn fold_email(text: &str) -> Option<String> {
    let (local, domain) = text.split_once('@')?;
    let domain = Host::parse(domain).ok().filter(|host| host.as_str().contains('.'))?;
    Some(format!("{}@{domain}", local.to_lowercase()))
}

fn fold_all<K>(
    list: &[Text<K>],
    what: &str,
    at: &Cursor<'_>,
    fold: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let read = |(index, entry): (usize, &Text<K>)| {
        let folded = fold(&entry.text);
        if folded.is_none() {
            let at = at.item(index);
            at.report(format!("{} is no {what}", at.shown(&entry.text)));
        }
        folded
    };
    list.iter().enumerate().filter_map(read).collect()
}

/// What each kind knows about people, so that `who` may ask for it.
const KNOWN: [(&str, &[KindWord]); 5] = [
    ("domains", &[Google, GitHub, GitLab, Oidc, Plain]),
    ("emails", &[Google, GitHub, GitLab, Oidc, Plain]),
    ("organisations", &[GitHub]),
    ("groups", &[GitHub, Microsoft, GitLab, Oidc, Plain]),
    ("tenants", &[Microsoft]),
];

/// Reports lists of what the kind does not know about people.
fn check_lists(word: KindWord, lists: &AdmissionFile, at: &Cursor<'_>) {
    let said = [
        !lists.domains.is_empty(),
        !lists.emails.is_empty(),
        !lists.organisations.is_empty(),
        !lists.groups.is_empty(),
        !lists.tenants.is_empty(),
    ];
    let known: Vec<&str> =
        KNOWN.iter().filter(|(_, kinds)| kinds.contains(&word)).map(|(key, _)| *key).collect();
    for (key, is_said) in KNOWN.iter().map(|(key, _)| *key).zip(said) {
        if is_said && !known.contains(&key) {
            let is_email = word == Microsoft && matches!(key, "domains" | "emails");
            let because = if is_email { " (its e-mails are not verified)" } else { "" };
            at.key(key).report(format!(
                "means nothing beside `kind: {}`{because}: it takes {}",
                word.as_str(),
                known.join(", ")
            ));
        }
    }
}
