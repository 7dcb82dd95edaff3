//! Providers: what each kind needs and takes.

mod plain;
mod who;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::{Cursor, duration, general};
use crate::config::provider::{
    ClientAuth, LinkByEmail, Provider, ProviderKind, Who, is_own_address, is_protected,
};
use crate::config::sources;
use crate::config::yaml::spelling::{self, KindWord};
use crate::config::yaml::{Named, Provider as ProviderFile, Who as WhoFile};
use KindWord::{GitHub, GitLab, Google, Microsoft, OAuth2 as Plain, Oidc};

/// How far a provider's clock may differ at most: beyond that it is no leeway but a wrong clock.
const MAX_LEEWAY: Duration = Duration::from_mins(10);

const GOOGLE: &str = "https://accounts.google.com";
const GITHUB: &str = "https://github.com";
const GITLAB: &str = "https://gitlab.com";
const MICROSOFT: &str = "https://login.microsoftonline.com";

pub(super) fn read(
    written: &Named<spelling::ProviderName, ProviderFile>,
    top: &Cursor<'_>,
) -> Vec<Arc<Provider>> {
    let at = top.key("providers");
    let mut providers: Vec<Arc<Provider>> = Vec::new();
    for (name, provider) in &written.entries {
        let at = at.key(name);
        if is_own_address(name) {
            at.report(format!("`{name}` is the name of one of the gateway's own addresses"));
        }
        providers.extend(read_one(name, provider, &at).map(Arc::new));
    }
    // As buttons they stand in the order of the file.
    providers.sort_by_key(|provider| top.source.places.get(&provider.at.path).copied());
    providers
}

/// `None` once something was reported without which the rest means nothing.
fn read_one(name: &str, written: &ProviderFile, at: &Cursor<'_>) -> Option<Provider> {
    let word = written.kind.0;
    check_keys(written, at);
    let who = who::read(written, at);
    let kind = read_kind(written, at);
    let leeway = duration(written.leeway.as_ref(), Duration::from_mins(1), &at.key("leeway"));
    if leeway > MAX_LEEWAY {
        at.key("leeway").report("is more than 10m: set the clocks right instead");
    }
    let link_by_email = written.link_by_email.as_ref().map_or(LinkByEmail::Never, |word| word.0);
    if word == KindWord::Microsoft && link_by_email == LinkByEmail::Verified {
        at.key("link_by_email").report(
            "`microsoft` never links by e-mail: anybody's tenant may claim any address. People link \
             it on their account page",
        );
    }
    let is_narrow = who.as_ref().is_some_and(|who| *who != Who::Anyone);
    let client_secret = read_secret(written, at);
    let recheck = read_recheck(written, at);
    Some(Provider {
        name: name.to_owned(),
        kind: kind?,
        label: written.label.as_ref().map_or_else(|| label(name, written), |l| l.text.clone()),
        client_id: written.client_id.text.clone(),
        client_secret,
        client_auth: client_auth(written),
        register: written.register.unwrap_or(is_narrow),
        scopes: scopes(written, recheck.is_some()),
        who: who?,
        link_by_email,
        roles_claim: roles_claim(written),
        roles: written
            .roles
            .entries
            .iter()
            .map(|(g, role)| (g.clone(), role.text.clone()))
            .collect(),
        recheck,
        leeway,
        at: at.path(),
    })
}

/// Reports keys that mean nothing beside the kind, and keys that it lacks.
fn check_keys(written: &ProviderFile, at: &Cursor<'_>) {
    let word = written.kind.0;
    let keys: [(&str, bool, &[KindWord]); 8] = [
        ("issuer", written.issuer.is_some(), &[Oidc, GitLab]),
        ("base_url", written.base_url.is_some(), &[GitHub, Microsoft]),
        ("preset", written.preset.is_some(), &[Plain]),
        ("authorize", written.authorize.is_some(), &[Plain]),
        ("token", written.token.is_some(), &[Plain]),
        ("userinfo", written.userinfo.is_some(), &[Plain]),
        ("fields", written.fields.is_some(), &[Plain]),
        ("roles_claim", written.roles_claim.is_some(), &[Google, Microsoft, GitLab, Oidc, Plain]),
    ];
    for (key, is_said, kinds) in keys {
        if is_said && !kinds.contains(&word) {
            at.key(key).report(format!("means nothing beside `kind: {}`", word.as_str()));
        }
    }
    let is_missing = |key: &str, is_said: bool| !is_said && !at.key(key).was_refused();
    if word == Oidc && is_missing("issuer", written.issuer.is_some()) {
        at.report("`kind: oidc` needs `issuer`");
    }
    if word == Plain && written.preset.is_none() && !at.key("preset").was_refused() {
        let needed = [
            ("authorize", written.authorize.is_some()),
            ("token", written.token.is_some()),
            ("userinfo", written.userinfo.is_some()),
        ];
        for (key, _) in needed.into_iter().filter(|(key, is_said)| is_missing(key, *is_said)) {
            at.report(format!("`kind: oauth2` needs `{key}`, or a `preset`"));
        }
    }
    let asks_for_groups = match &written.who {
        WhoFile::Any(lists) => !lists.groups.is_empty(),
        WhoFile::Anyone(_) => false,
    };
    if word == Plain && asks_for_groups && written.roles_claim.is_none() {
        at.key("who").key("groups").report("`kind: oauth2` needs `roles_claim` to know groups");
    }
    if word == Plain && !written.roles.entries.is_empty() && written.roles_claim.is_none() {
        at.key("roles").report("`kind: oauth2` needs `roles_claim` to know groups");
    }
    who::check_tenants(written, at);
}

/// `None` once something was reported.
fn read_kind(written: &ProviderFile, at: &Cursor<'_>) -> Option<ProviderKind> {
    let issuer = |default: Option<&str>| {
        let text = written.issuer.as_ref().map(|issuer| issuer.text.as_str()).or(default)?;
        // Compared byte for byte with what the provider says of itself, so it stays as written.
        endpoint(text, &at.key("issuer")).map(|_| text.to_owned())
    };
    let base = |default: &str| {
        let text = written.base_url.as_ref().map_or(default, |base| base.text.as_str());
        endpoint(text.trim_end_matches('/'), &at.key("base_url"))
    };
    Some(match written.kind.0 {
        Google => ProviderKind::Google { issuer: GOOGLE.to_owned() },
        GitHub => ProviderKind::GitHub { base: base(GITHUB)? },
        Microsoft => ProviderKind::Microsoft { base: base(MICROSOFT)? },
        GitLab => ProviderKind::GitLab { issuer: issuer(Some(GITLAB))? },
        Oidc => ProviderKind::Oidc { issuer: issuer(None)? },
        Plain => ProviderKind::OAuth2(Box::new(plain::read(written, at)?)),
    })
}

/// An address that codes, secrets and keys go to or come from.
fn endpoint(text: &str, at: &Cursor<'_>) -> Option<Url> {
    let url = Url::parse(text).ok();
    match url {
        Some(url) if is_protected(&url) => Some(url),
        Some(url) if url.scheme() == "http" => {
            at.report(format!(
                "{} is http: only https is safe, except on this machine",
                at.shown(text)
            ));
            None
        }
        Some(_) | None => {
            at.report(format!("{} is not an address", at.shown(text)));
            None
        }
    }
}

fn label(name: &str, written: &ProviderFile) -> String {
    let known = plain::known(written).map(|known| known.label);
    let text = match written.kind.0 {
        Google => "Google",
        GitHub => "GitHub",
        Microsoft => "Microsoft",
        GitLab => "GitLab",
        Oidc => name,
        Plain => known.unwrap_or(name),
    };
    text.to_owned()
}

fn client_auth(written: &ProviderFile) -> Option<ClientAuth> {
    let known = plain::known(written).map(|known| known.auth);
    written.client_auth.as_ref().map(|word| word.0).or(known)
}

/// What the kind needs, then what the file adds.
fn scopes(written: &ProviderFile, is_rechecked: bool) -> Vec<String> {
    let knows_groups = !written.roles.entries.is_empty()
        || match &written.who {
            WhoFile::Anyone(_) => false,
            WhoFile::Any(lists) => !lists.organisations.is_empty() || !lists.groups.is_empty(),
        };
    let known = plain::known(written).map(|known| known.scopes);
    let mut scopes: Vec<&str> = match written.kind.0 {
        Microsoft if is_rechecked => vec!["openid", "email", "profile", "offline_access"],
        Google | Microsoft | GitLab | Oidc => vec!["openid", "email", "profile"],
        GitHub if knows_groups => vec!["read:user", "user:email", "read:org"],
        GitHub => vec!["read:user", "user:email"],
        Plain => known.map(Vec::from).unwrap_or_default(),
    };
    for scope in &written.scopes {
        if !scopes.contains(&scope.text.as_str()) {
            scopes.push(&scope.text);
        }
    }
    scopes.into_iter().map(str::to_owned).collect()
}

fn roles_claim(written: &ProviderFile) -> Option<String> {
    let said = written.roles_claim.as_ref().map(|claim| claim.text.clone());
    match written.kind.0 {
        Google | Microsoft | GitLab | Oidc => said.or_else(|| Some("groups".to_owned())),
        Plain => said,
        GitHub => None,
    }
}

fn read_secret(written: &ProviderFile, at: &Cursor<'_>) -> Option<SecretString> {
    match (&written.client_secret, &written.client_secret_file) {
        (Some(_), Some(_)) => {
            at.key("client_secret_file")
                .report("`client_secret` and `client_secret_file` contradict each other");
            None
        }
        (Some(secret), None) => Some(secret.text.clone().into()),
        (None, Some(path)) => {
            let base = sources::directory_of(&at.source.name);
            let at = at.key("client_secret_file");
            general::read_secret_file(&base.join(&path.text), &at).map(SecretString::from)
        }
        (None, None) => {
            let needs_one = !matches!(written.kind.0, Oidc | Plain);
            let is_refused =
                ["client_secret", "client_secret_file"].iter().any(|key| at.key(key).was_refused());
            if needs_one && !is_refused {
                at.report(format!(
                    "`kind: {}` needs `client_secret` or `client_secret_file`",
                    written.kind.0.as_str()
                ));
            }
            None
        }
    }
}

/// By default only where a token can be had by which to ask.
fn read_recheck(written: &ProviderFile, at: &Cursor<'_>) -> Option<Duration> {
    let hour = Duration::from_hours(1);
    match written.recheck.as_ref().map(|text| text.text.as_str()) {
        Some("off") => None,
        Some(_) => Some(duration(written.recheck.as_ref(), hour, &at.key("recheck"))),
        None => match written.kind.0 {
            Google | Microsoft | GitLab | Oidc => Some(hour),
            GitHub | Plain => None,
        },
    }
}
