//! Who may have an account, what it begins with, and rules for passwords.

use std::time::Duration;

use super::{Cursor, duration};
use crate::config::settings::{AccountRules, PasswordPolicy, Registration};
use crate::config::yaml::spelling::Text;
use crate::config::yaml::{Accounts as AccountsFile, Main, Password as PasswordFile};
use crate::web::authority::Host;

/// Long enough for somebody who is away.
const INVITATION_LIFETIME: Duration = Duration::from_hours(7 * 24);

pub(super) fn read(file: &Main, top: &Cursor<'_>) -> AccountRules {
    let (written, at) = (&file.accounts, top.key("accounts"));
    let rules = AccountRules {
        registration: written.registration.as_ref().map_or(Registration::Closed, |one| one.0),
        require_verified: written.require_verified.unwrap_or(false),
        invitation_lifetime: duration(
            written.invitation_lifetime.as_ref(),
            INVITATION_LIFETIME,
            &at.key("invitation_lifetime"),
        ),
        email_domains: read_domains(&written.email_domains, &at.key("email_domains")),
        default_roles: read_roles(written, &at.key("default_roles")),
        confirm_changes: written.confirm_changes.unwrap_or(false),
        password: read_password(&written.password, &at.key("password")),
    };
    if file.mail.is_none() && !top.key("mail").was_refused() {
        ask_for_mail(&rules, &at);
    }
    rules
}

/// What cannot work where no mail is sent.
fn ask_for_mail(rules: &AccountRules, at: &Cursor<'_>) {
    const REMEDY: &str = "add `mail` with `from` and `smtp` (or `directory`)";
    match rules.registration {
        Registration::Open => at.key("registration").report(format!(
            "anybody could register with an e-mail that is not theirs, since nothing is mailed to \
             it: {REMEDY}, or leave it `closed`"
        )),
        Registration::Closed | Registration::Invite => {}
    }
    if rules.require_verified {
        at.key("require_verified").report(format!(
            "nobody could verify their e-mail, since nothing is mailed to it: {REMEDY}, or leave it \
             `false`"
        ));
    }
}

fn read_domains<K>(written: &[Text<K>], at: &Cursor<'_>) -> Vec<String> {
    let mut domains: Vec<String> = Vec::new();
    for (index, domain) in written.iter().enumerate() {
        let is_domain = |host: &Host| host.as_str().contains('.') && host.address().is_none();
        match Host::parse(&domain.text).ok().filter(is_domain) {
            Some(host) if domains.iter().any(|one| one == host.as_str()) => {
                at.item(index).report("stands twice");
            }
            Some(host) => domains.push(host.as_str().to_owned()),
            None => {
                let shown = at.item(index).shown(&domain.text);
                at.item(index).report(format!("{shown} is not a domain"));
            }
        }
    }
    domains
}

fn read_roles(written: &AccountsFile, at: &Cursor<'_>) -> Vec<String> {
    let mut roles: Vec<String> = Vec::new();
    for (index, role) in written.default_roles.iter().enumerate() {
        if roles.contains(&role.text) {
            at.item(index).report("stands twice");
        } else {
            roles.push(role.text.clone());
        }
    }
    roles
}

fn read_password(written: &PasswordFile, at: &Cursor<'_>) -> PasswordPolicy {
    let length = |written: Option<u32>, default| {
        written.map_or(default, |length| usize::try_from(length).unwrap_or(usize::MAX))
    };
    let mut policy = PasswordPolicy {
        min_length: length(written.min_length, 8),
        max_length: length(written.max_length, 256),
        min_strength: written.min_strength.unwrap_or(0),
        deny_common: written.deny_common.unwrap_or(true),
        deny_profile: written.deny_profile.unwrap_or(true),
    };
    if policy.min_length > policy.max_length {
        if written.max_length.is_some() {
            at.key("max_length").report("`max_length` is less than `min_length`");
        }
        policy.max_length = policy.min_length;
    }
    policy
}
