//! From what the files say to what they mean: defaults, references, contradictions.
//!
//! Every function here reports what it finds and goes on with something harmless, so that one run
//! finds everything; whatever was reported, the configuration as a whole is then refused.

mod accounts;
mod general;
mod identity;
mod limits;
mod mail;
mod portal;
mod providers;
mod routes;
mod rules;
mod upstreams;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::duration::read as read_duration;
use super::yaml::spelling::Text;
use super::yaml::tree::{At, Node, Value};
use super::yaml::{Included, Main};
use super::{Config, Diagnostic, Environment, KeyPath, Location, UnreadRoles, sources};

/// What was found wrong so far.
#[derive(Default)]
pub(super) struct Findings(RefCell<Vec<Diagnostic>>);

impl Findings {
    pub(super) fn add(&self, diagnostic: Diagnostic) {
        self.0.borrow_mut().push(diagnostic);
    }

    /// Everything, in the order of files, lines and columns.
    pub(super) fn into_sorted(self) -> Vec<Diagnostic> {
        let mut found = self.0.into_inner();
        let mut order: Vec<PathBuf> = Vec::new();
        for diagnostic in &found {
            if !order.contains(&diagnostic.location.file) {
                order.push(diagnostic.location.file.clone());
            }
        }
        found.sort_by_key(|diagnostic| {
            let Location { file, line, column } = &diagnostic.location;
            (order.iter().position(|name| name == file), *line, *column, diagnostic.path.clone())
        });
        found.dedup();
        found
    }
}

/// A file's tree, as far as it fits the schema, and where everything stood in it.
pub(super) struct Source {
    pub(super) number: usize,
    pub(super) name: PathBuf,
    pub(super) tree: Node,
    /// Places of the whole tree, before anything was taken out of it.
    pub(super) places: BTreeMap<String, (usize, usize)>,
    /// The names of the roles it declares, those that are refused included.
    pub(super) roles: Vec<String>,
}

impl Source {
    /// A cursor at the top of the file.
    pub(super) fn cursor<'a>(&'a self, findings: &'a Findings) -> Cursor<'a> {
        Cursor { source: self, at: At::default(), findings }
    }
}

/// A place in a file where something can be reported.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    source: &'a Source,
    at: At,
    findings: &'a Findings,
}

impl Cursor<'_> {
    /// The place one key further.
    pub(super) fn key(&self, key: &str) -> Self {
        Self { at: self.at.key(key), ..self.clone() }
    }

    /// The place one list item further.
    pub(super) fn item(&self, index: usize) -> Self {
        Self { at: self.at.item(index), ..self.clone() }
    }

    /// Reports something wrong here.
    pub(super) fn report(&self, message: impl Into<String>) {
        self.report_near(message, None);
    }

    /// Reports something wrong here that has a nearest valid spelling.
    pub(super) fn report_near(&self, message: impl Into<String>, suggestion: Option<String>) {
        let (position, path) = self.source.tree.resolve(&self.at);
        let file = self.source.name.clone();
        let location = Location { file, line: position.line, column: position.column };
        self.findings.add(Diagnostic { location, path, message: message.into(), suggestion });
    }

    /// Reports something wrong in another file, which is named here.
    pub(super) fn add(&self, diagnostic: Diagnostic) {
        self.findings.add(diagnostic);
    }

    /// The directory of the file, to which its paths are relative.
    pub(super) fn directory(&self) -> PathBuf {
        sources::directory_of(&self.source.name)
    }

    /// The place, for those who report something later.
    pub(super) fn path(&self) -> KeyPath {
        let (_, path) = self.source.tree.resolve(&self.at);
        KeyPath { file: self.source.number, path }
    }

    /// Whether what the file says here was refused and reported already.
    pub(super) fn was_refused(&self) -> bool {
        self.source.tree.find(&self.at).is_none()
            && self.source.places.contains_key(&self.path().path)
    }

    /// Text for a message: quoted, or only the variable's name where one was put in.
    pub(super) fn shown(&self, text: &str) -> String {
        match self.source.tree.find(&self.at).map(|node| &node.value) {
            Some(Value::Scalar(scalar)) if scalar.is_replaced() => {
                format!("the value of ${{{}}}", scalar.variables.join("}, ${"))
            }
            Some(Value::Hole | Value::Scalar(_) | Value::List(_) | Value::Map(_)) | None => {
                format!("`{text}`")
            }
        }
    }
}

/// One file with what it adds: routes, upstreams, roles.
pub(super) struct Part {
    pub(super) source: Source,
    adds: Included,
}

impl Part {
    /// The main file; what it adds is taken from it by [`read`].
    pub(super) fn main(source: Source) -> Self {
        Self { source, adds: Included::default() }
    }

    pub(super) fn included(source: Source, adds: Included) -> Self {
        Self { source, adds }
    }
}

/// Reads the meaning of all files together.
pub(super) fn read(
    mut main: Main,
    mut parts: Vec<Part>,
    env: &dyn Environment,
    findings: &Findings,
) -> Option<Config> {
    if let Some(first) = parts.first_mut() {
        first.adds = Included {
            roles: std::mem::take(&mut main.roles),
            upstreams: std::mem::take(&mut main.upstreams),
            routes: std::mem::take(&mut main.routes),
        };
    }
    let top = parts.first()?.source.cursor(findings);
    let general = general::read(&main, &top, env);
    let written = main.mail.as_ref();
    let delivery = written.and_then(|written| mail::read(written, &general.data, &top));
    let portal = portal::read_portal(&main.portal, &top.key("portal"));
    let profiles = identity::Profiles::new(main.identity.as_ref(), &top.key("identity"));
    let roles = upstreams::read_roles(&parts, findings);
    let upstreams = upstreams::read(&parts, findings);
    let (routes, profiles) = routes::read(&parts, &upstreams, profiles, findings);
    upstreams::check_permitted(&parts, &profiles, findings);
    let sessions =
        portal::read_sessions(&main.sessions, general.public_url.as_ref(), &top.key("sessions"));
    portal::check_domain(&sessions.cookie, &general, &routes, &top);
    Some(Config {
        listen: general.listen,
        management: general.management,
        // Refused, it does not keep mistakes elsewhere from being found.
        public_url: general.public_url.or_else(general::any_origin)?,
        public_url_given: main.public_url.is_some(),
        trusted_proxies: general.trusted_proxies,
        origins: general.origins,
        secret: general.secret,
        previous_secrets: general.previous_secrets,
        data: general.data,
        database: general.database,
        workers: general::count(main.workers.as_ref(), general::cores()),
        drain: general.drain,
        telemetry: general.telemetry,
        hashing: general::hashing(&main.hashing),
        portal,
        sessions,
        tokens: portal::read_tokens(&main.tokens, &top.key("tokens")),
        accounts: accounts::read(&main, &top),
        auth_limits: limits::read(main.limits.as_ref(), &top.key("limits")),
        events: general::events(&main.events, &top.key("events")),
        mail: delivery,
        providers: providers::read(&main.providers, &top),
        roles,
        unread_roles: UnreadRoles::default(),
        upstreams,
        profiles,
        routes,
        sources: Arc::default(),
    })
}

/// Reads a duration whose shape the schema has checked.
fn duration<K>(written: Option<&Text<K>>, default: Duration, at: &Cursor<'_>) -> Duration {
    let Some(written) = written else { return default };
    read_duration(&written.text).unwrap_or_else(|error| {
        at.report(error.to_string());
        default
    })
}
