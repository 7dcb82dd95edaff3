//! What `check` warns of that concerns the configuration itself; what concerns places, rules and who
//! can pass them is `policy`'s.

use std::collections::BTreeSet;

use super::nearest::nearest;
use super::{
    Allow, Config, Delivery, KeyPath, MailSecurity, Problem, Registration, Rule, RuleMap, SameSite,
};
use crate::web::authority::Host;
use crate::web::headers::Field;
use crate::web::origin::Scheme;

/// Everything worth a warning, in no particular order.
#[must_use]
pub fn warnings(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    warn_of_addresses(config, &mut found);
    warn_of_proxies(config, &mut found);
    warn_of_identity(config, &mut found);
    warn_of_upstreams(config, &mut found);
    warn_of_roles(config, &mut found);
    warn_of_mail(config, &mut found);
    warn_of_providers(config, &mut found);
    warn_of_strangers(config, &mut found);
    for warning in config.portal.pages.warnings() {
        found.push(problem("portal.templates", warning));
    }
    found
}

fn problem(path: &str, message: impl Into<String>) -> Problem {
    let at = KeyPath { file: 0, path: path.to_owned() };
    Problem { at, message: message.into() }
}

/// Links that anybody on the way may read.
fn warn_of_mail(config: &Config, found: &mut Vec<Problem>) {
    let Some(Delivery::Smtp(server)) = config.mail.as_ref().map(|mail| &mail.delivery) else {
        return;
    };
    let is_here = Host::parse(&server.host).is_ok_and(|host| host.is_loopback());
    if server.security == MailSecurity::Plain && !is_here {
        found.push(problem(
            "mail",
            "mail goes to its server unprotected: the links in it can be read on their way",
        ));
    }
}

/// Roles that nothing declares, a cookie that does not come along from a provider's site, and doors that
/// stand open to everybody a provider knows.
fn warn_of_providers(config: &Config, found: &mut Vec<Problem>) {
    for provider in &config.providers {
        for (group, role) in &provider.roles {
            if config.roles.contains_key(role) {
                continue;
            }
            let near = nearest(role, config.roles.keys().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("; there is `{near}`"));
            let message = format!(
                "`{group}` gives the role `{role}`, which the file does not declare: it means \
                 something only if the database has it{near}"
            );
            let path = format!("{}.roles.{group}", provider.at.path);
            found.push(Problem { at: KeyPath { path, ..provider.at.clone() }, message });
        }
    }
    if !config.providers.is_empty() && config.sessions.cookie.same_site == SameSite::Strict {
        found.push(problem(
            "sessions.cookie.same_site",
            "a strict cookie does not come along when a provider sends the browser back: people sign \
             in twice, and cannot link a provider to their account",
        ));
    }
}

/// Places open to whoever says that an e-mail is theirs, or whom a provider happens to know.
fn warn_of_strangers(config: &Config, found: &mut Vec<Problem>) {
    let why = match config.accounts.registration {
        // Nothing shows that the e-mail is theirs, of whatever domain it is.
        Registration::Open => Some("registration is open".to_owned()),
        Registration::Closed | Registration::Invite => None,
    };
    let open = config.providers.iter().find(|provider| provider.is_open());
    let by_provider = open.map(|open| format!("`{}` admits anyone and makes accounts", open.name));
    let Some(why) = why.or(by_provider).filter(|_| !config.accounts.require_verified) else {
        return;
    };
    for route in config.routes.iter().filter(|route| asks_nothing_more(&route.allow)) {
        let at = KeyPath { path: format!("{}.allow", route.at.path), ..route.at.clone() };
        let message = format!(
            "{why}, so `authenticated` lets in anybody who makes up an e-mail: ask for a role, or set \
             `accounts.require_verified`"
        );
        found.push(Problem { at, message });
    }
}

/// Whether being signed in is all that a rule asks for.
fn asks_nothing_more(allow: &Allow) -> bool {
    match allow {
        Allow::Rule(Rule::Authenticated) => true,
        Allow::Rule(Rule::Map(_)) | Allow::Optional(_) | Allow::Public => false,
    }
}

/// Cookie, `public_url` and listeners that disagree. The listeners speak plain HTTP, so an https
/// `public_url` means that something in front of them terminates TLS.
fn warn_of_addresses(config: &Config, found: &mut Vec<Problem>) {
    let url = &config.public_url;
    let is_local = url.host.is_loopback();
    let secure = config.sessions.cookie.secure;
    match url.scheme {
        Scheme::Http if secure && !is_local => found.push(problem(
            "sessions.cookie.secure",
            "the cookie is secure but `public_url` is http: browsers will not send it back, and \
             nobody can stay signed in",
        )),
        Scheme::Http if !is_local => found.push(problem(
            "public_url",
            "`public_url` is http: passwords and cookies can be read on their way",
        )),
        Scheme::Https if !secure => found.push(problem(
            "sessions.cookie.secure",
            "`public_url` is https but the cookie is not secure: it goes over http as well",
        )),
        Scheme::Https if config.trusted_proxies.is_empty() => found.push(problem(
            "trusted_proxies",
            "`public_url` is https, the listeners speak plain http and `trusted_proxies` is empty: \
             what terminates TLS is not believed when it says https, so requests from the \
             gateway's own pages count as cross-site",
        )),
        Scheme::Http | Scheme::Https => {}
    }
    let is_listened_on = config.listen.iter().any(|address| address.port() == url.port);
    if config.public_url_given && url.scheme == Scheme::Http && is_local && !is_listened_on {
        let message =
            format!("`public_url` says port {}, and no listener is on that port", url.port);
        found.push(problem("public_url", message));
    }
}

fn warn_of_proxies(config: &Config, found: &mut Vec<Problem>) {
    for (index, network) in config.trusted_proxies.iter().enumerate() {
        if network.prefix_len() == 0 {
            found.push(problem(
                &format!("trusted_proxies[{index}]"),
                "everybody is trusted to say where a request comes from, so `networks` guards \
                 nothing",
            ));
        }
    }
}

fn warn_of_identity(config: &Config, found: &mut Vec<Problem>) {
    for profile in &config.profiles {
        for (name, field) in &profile.headers {
            let edited = Field::NAMED.iter().find(|(named, _, edited)| named == field && *edited);
            let Some((_, spelling, _)) = edited else { continue };
            let message = format!(
                "`{name}` is made from `{spelling}`, which people edit themselves: an application \
                 may show it, never decide by it"
            );
            let at = KeyPath { path: format!("{}.headers", profile.at.path), ..profile.at.clone() };
            found.push(Problem { at, message });
        }
    }
}

fn warn_of_upstreams(config: &Config, found: &mut Vec<Problem>) {
    let used: BTreeSet<&str> =
        config.routes.iter().map(|route| route.upstream.name.as_str()).collect();
    for upstream in config.upstreams.values().filter(|one| !used.contains(one.name.as_str())) {
        let near = nearest(&upstream.name, used.iter().copied());
        let message = unused(&format!("no route uses the upstream `{}`", upstream.name), near);
        found.push(Problem { at: upstream.at.clone(), message });
    }
    if config.routes.is_empty() {
        found.push(problem("routes", "there is no route: everything outside the portal is 404"));
    }
}

/// A role is of use if a rule names it or names a permission it grants.
fn warn_of_roles(config: &Config, found: &mut Vec<Problem>) {
    let mut named = Named::default();
    for route in &config.routes {
        match &route.allow {
            Allow::Public | Allow::Optional(None) => {}
            Allow::Optional(Some(rule)) | Allow::Rule(rule) => named.add(rule),
        }
    }
    for (name, role) in &config.roles {
        // `admin` is what set-up gives the first administrator, declared or built in.
        let Some(at) = role.at.as_ref().filter(|_| name != "admin") else { continue };
        let grants = |permission: &&str| role.permissions.iter().any(|one| covers(one, permission));
        if named.roles.contains(name.as_str()) || named.permissions.iter().any(grants) {
            continue;
        }
        let undeclared = named.roles.iter().copied().filter(|one| !config.roles.contains_key(*one));
        let near = nearest(name, undeclared);
        let message = unused(&format!("no rule uses the role `{name}` or what it grants"), near);
        found.push(Problem { at: at.clone(), message });
    }
}

fn unused(message: &str, near: Option<String>) -> String {
    match near {
        Some(near) => format!("{message}; one names `{near}`"),
        None => message.to_owned(),
    }
}

/// Roles and permissions that rules name.
#[derive(Default)]
struct Named<'a> {
    roles: BTreeSet<&'a str>,
    permissions: BTreeSet<&'a str>,
}

impl<'a> Named<'a> {
    fn add(&mut self, rule: &'a Rule) {
        let map: &'a RuleMap = match rule {
            Rule::Authenticated => return,
            Rule::Map(map) => map,
        };
        self.roles.extend(map.roles.iter().map(String::as_str));
        self.permissions.extend(map.permissions.iter().map(String::as_str));
        map.any.iter().chain(&map.all).chain(&map.not).for_each(|rule| self.add(rule));
    }
}

/// Whether a grant covers a permission; both are well-formed here. `identity::grant` decides by the same
/// rule and stands below this module, so it cannot be asked; a test there holds that both agree.
fn covers(grant: &str, permission: &str) -> bool {
    let split = |text: &'_ str| text.rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let (Some((resource, action)), Some((asked, to))) = (split(grant), split(permission)) else {
        return false;
    };
    let is_resource = resource == "*"
        || asked == resource
        || (action == "*" && asked.strip_prefix(&resource).is_some_and(|r| r.starts_with(':')));
    is_resource && (action == "*" || action == to)
}
