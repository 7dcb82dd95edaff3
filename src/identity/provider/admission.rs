//! Whom a provider may vouch for, and which roles its groups stand for. Pure.

use std::collections::BTreeMap;

use crate::config::{Admission, Who};
use crate::identity::user::fold_email;

/// What is known of a person that `who` may ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts<'a> {
    /// The e-mail.
    pub(super) email: Option<&'a str>,
    /// Whether the provider says that it is verified.
    pub(super) email_is_verified: bool,
    /// Where a provider says which domain somebody belongs to, that and not the e-mail's counts.
    pub(super) domain: Domain<'a>,
    /// Organisations.
    pub(super) organisations: &'a [String],
    /// Groups.
    pub(super) groups: &'a [String],
    /// Whether upper and lower case are the same in names of groups.
    pub(super) folds_groups: bool,
    /// The tenant's id.
    pub(super) tenant: Option<&'a str>,
}

/// Which domain of a person counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Domain<'a> {
    /// The e-mail's.
    #[default]
    OfEmail,
    /// The one that the provider says hosts the account, if one does.
    Hosted(Option<&'a str>),
}

/// Whether somebody is among a provider's `who`: one entry of any list is enough. E-mail and domain
/// count only where the e-mail is verified. Where tenants are listed nobody of another one comes in,
/// whatever groups its administrator gives them, and listed groups narrow the tenants.
pub(super) fn admits(who: &Who, facts: &Facts<'_>) -> bool {
    let lists = match who {
        Who::Anyone => return true,
        Who::Any(lists) => lists,
    };
    let email = facts.email.filter(|_| facts.email_is_verified);
    let email = email.and_then(|email| fold_email(email).ok());
    let by_email = email.as_deref().is_some_and(|email| is_listed(lists, email, facts.domain));
    let organisations = facts.organisations.iter().map(|name| name.to_lowercase());
    let is_group = |group: &String| {
        lists.groups.iter().any(|listed| is_same(listed, group, facts.folds_groups))
    };
    let by_group = facts.groups.iter().any(is_group);
    if !lists.tenants.is_empty() {
        let tenant = facts.tenant.map(str::to_lowercase);
        let by_tenant = tenant.is_some_and(|tenant| lists.tenants.contains(&tenant));
        return by_tenant && (lists.groups.is_empty() || by_group);
    }
    by_email
        || organisations.into_iter().any(|name| lists.organisations.contains(&name))
        || by_group
}

/// Whether two names are one group's.
fn is_same(a: &str, b: &str, folds: bool) -> bool {
    a == b || (folds && a.to_lowercase() == b.to_lowercase())
}

fn is_listed(lists: &Admission, email: &str, domain: Domain<'_>) -> bool {
    let of_email = email.rsplit_once('@').map(|(_, domain)| domain.to_owned());
    let domain = match domain {
        Domain::OfEmail => of_email,
        Domain::Hosted(hosted) => hosted.map(str::to_lowercase),
    };
    let is_address = |listed: &String| fold_email(listed).is_ok_and(|listed| listed == email);
    domain.is_some_and(|domain| lists.domains.contains(&domain))
        || lists.emails.iter().any(is_address)
}

/// The roles that groups stand for, sorted, each once.
pub(super) fn roles(
    map: &BTreeMap<String, String>,
    groups: &[String],
    folds_groups: bool,
) -> Vec<String> {
    let is_held = |named: &str| groups.iter().any(|group| is_same(named, group, folds_groups));
    let mut roles: Vec<String> =
        map.iter().filter(|(group, _)| is_held(group)).map(|(_, role)| role.clone()).collect();
    roles.sort();
    roles.dedup();
    roles
}
