//! Which keys take effect only at the next start.

use secrecy::{ExposeSecret as _, SecretString};

use super::settings::DatabaseUrl;
use super::{Config, Database, Delivery, Mail, MailServer, Portal, Sessions, Tokens};

impl Config {
    /// The keys whose values differ in `new` and which a running gateway cannot take over: listeners,
    /// stores, threads and what is derived from the secret are made once. Everything else (routes,
    /// upstreams, roles, providers, identity headers, trusted proxies, origins, lifetimes, rules
    /// for accounts, the look of the pages, the life of tokens) is in force at once.
    #[must_use]
    pub fn restart_keys(&self, new: &Self) -> Vec<&'static str> {
        let differs = [
            ("listen", self.listen != new.listen),
            ("management", self.management != new.management),
            ("public_url", self.public_url != new.public_url),
            ("secret", !is_same(self.secret.as_ref(), new.secret.as_ref())),
            ("previous_secrets", !are_same(&self.previous_secrets, &new.previous_secrets)),
            ("data", self.data != new.data),
            ("database", !is_same_database(&self.database, &new.database)),
            ("workers", self.workers != new.workers),
            ("hashing", self.hashing != new.hashing),
            ("telemetry", self.telemetry != new.telemetry),
            ("portal.path", self.portal.path != new.portal.path),
            ("portal.users_path", self.portal.users_path != new.portal.users_path),
            ("sessions.cookie", self.sessions.cookie != new.sessions.cookie),
            ("sessions.cache", self.sessions.cache_entries != new.sessions.cache_entries),
            ("mail", !is_same_mail(self.mail.as_ref(), new.mail.as_ref())),
            ("tokens.audience", self.tokens.audience != new.tokens.audience),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }

    /// The new configuration with every key that needs a restart as it is here.
    #[must_use]
    pub fn with_reloadable(&self, new: Self) -> Self {
        let portal = Portal {
            path: self.portal.path.clone(),
            users_path: self.portal.users_path.clone(),
            ..new.portal
        };
        let sessions = Sessions {
            cookie: self.sessions.cookie.clone(),
            cache_entries: self.sessions.cache_entries,
            ..new.sessions
        };
        let tokens = Tokens { audience: self.tokens.audience.clone(), ..new.tokens };
        Self {
            listen: self.listen.clone(),
            management: self.management,
            public_url: self.public_url.clone(),
            public_url_given: self.public_url_given,
            secret: self.secret.clone(),
            previous_secrets: self.previous_secrets.clone(),
            data: self.data.clone(),
            database: self.database.clone(),
            workers: self.workers,
            hashing: self.hashing,
            telemetry: self.telemetry.clone(),
            mail: self.mail.clone(),
            portal,
            sessions,
            tokens,
            ..new
        }
    }
}

fn is_same(old: Option<&SecretString>, new: Option<&SecretString>) -> bool {
    old.map(SecretString::expose_secret) == new.map(SecretString::expose_secret)
}

fn are_same(old: &[SecretString], new: &[SecretString]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| is_same(Some(old), Some(new)))
}

fn is_same_database(old: &Database, new: &Database) -> bool {
    let is_same_url = match (&old.url, &new.url) {
        (DatabaseUrl::Sqlite(old), DatabaseUrl::Sqlite(new)) => old == new,
        (DatabaseUrl::Postgres(old), DatabaseUrl::Postgres(new)) => is_same(Some(old), Some(new)),
        (DatabaseUrl::Sqlite(_), DatabaseUrl::Postgres(_))
        | (DatabaseUrl::Postgres(_), DatabaseUrl::Sqlite(_)) => false,
    };
    is_same_url
        && old.max_connections == new.max_connections
        && old.acquire_timeout == new.acquire_timeout
}

fn is_same_mail(old: Option<&Mail>, new: Option<&Mail>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => {
            old.from == new.from && is_same_delivery(&old.delivery, &new.delivery)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn is_same_delivery(old: &Delivery, new: &Delivery) -> bool {
    let place = |server: &MailServer| (server.host.clone(), server.port, server.security);
    let user = |server: &MailServer| server.credentials.clone().map(|(user, _)| user);
    let password = |server: &MailServer| server.credentials.clone().map(|(_, password)| password);
    match (old, new) {
        (Delivery::Directory(old), Delivery::Directory(new)) => old == new,
        (Delivery::Smtp(old), Delivery::Smtp(new)) => {
            place(old) == place(new)
                && user(old) == user(new)
                && is_same(password(old).as_ref(), password(new).as_ref())
        }
        (Delivery::Directory(_), Delivery::Smtp(_))
        | (Delivery::Smtp(_), Delivery::Directory(_)) => false,
    }
}
