//! Listeners, the public address, networks, secrets, the database and the pools.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use super::{Cursor, duration};
use crate::config::MANAGEMENT;
use crate::config::nearest::nearest;
use crate::config::settings::{
    AccessLog, Database, DatabaseUrl, Events, Hashing, LogFormat, Telemetry,
};
use crate::config::yaml::spelling::Text;
use crate::config::yaml::{Count, Database as DatabaseFile, DatabaseMap, Listen, Listener, Main};
use crate::config::yaml::{
    Events as EventsFile, Hashing as HashingFile, Telemetry as TelemetryFile,
};
use crate::config::{Environment, check_secret, secret, sources};
use crate::web::authority::Host;
use crate::web::origin::{Origin, Scheme};

/// Everything of the file's top level that depends on nothing but itself.
pub(super) struct General {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) management: Option<SocketAddr>,
    /// `None` when it cannot be read.
    pub(super) public_url: Option<Origin>,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) origins: Vec<Origin>,
    pub(super) secret: Option<SecretString>,
    pub(super) previous_secrets: Vec<SecretString>,
    pub(super) data: PathBuf,
    pub(super) database: Database,
    pub(super) drain: Duration,
    pub(super) telemetry: Telemetry,
}

pub(super) fn read(file: &Main, top: &Cursor<'_>, env: &dyn Environment) -> General {
    let base = sources::directory_of(&top.source.name);
    let listen = read_listen(file.listen.as_ref(), &top.key("listen"));
    let data = match env.get("PORTCULLIS_DATA").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => file.data.as_ref().map_or(base.clone(), |path| base.join(&path.text)),
    };
    let secret = read_secret(file, &base, top);
    let database = read_database(file, &base, &data, top);
    let says_secret = [top.key("secret"), top.key("secret_file")].iter().any(Cursor::was_refused)
        || file.secret.is_some()
        || file.secret_file.is_some();
    if matches!(database.url, DatabaseUrl::Postgres(_)) && !says_secret {
        let place = if file.database_file.is_some() { "database_file" } else { "database" };
        top.key(place).report(
            "PostgreSQL requires `secret`, the same on every node; make one with \
             `openssl rand -base64 48`",
        );
    }
    General {
        management: read_management(file, &listen, &top.key("management")),
        public_url: read_public_url(file, &listen, &top.key("public_url")),
        trusted_proxies: networks(&file.trusted_proxies, &top.key("trusted_proxies")),
        origins: read_origins(&file.origins, &top.key("origins")),
        previous_secrets: previous_secrets(file, &top.key("previous_secrets")),
        drain: duration(file.drain.as_ref(), Duration::from_secs(30), &top.key("drain")),
        telemetry: read_telemetry(&file.telemetry, &base, &top.key("telemetry")),
        listen,
        secret,
        data,
        database,
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn read_listen(listen: Option<&Listen>, at: &Cursor<'_>) -> Vec<SocketAddr> {
    let written: Vec<(&str, Cursor<'_>)> = match listen {
        None => return vec![loopback(8080)],
        Some(Listen::One(one)) => vec![(&one.text, at.clone())],
        Some(Listen::Several(several)) => several
            .iter()
            .enumerate()
            .map(|(index, listener)| match listener {
                Listener::Address(address) => (address.text.as_str(), at.item(index)),
                Listener::Map(map) => (map.address.text.as_str(), at.item(index).key("address")),
            })
            .collect(),
    };
    let mut seen = BTreeSet::new();
    let mut listen = Vec::new();
    for (text, at) in written {
        let Some(address) = socket_address(text, &at) else { continue };
        if seen.insert(address) {
            listen.push(address);
        } else {
            at.report(format!("{} is listened on already", at.shown(text)));
        }
    }
    listen
}

fn socket_address(text: &str, at: &Cursor<'_>) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        at.report(format!("{} is not an IP address and a port", at.shown(text)));
    }
    address
}

fn read_management(file: &Main, listen: &[SocketAddr], at: &Cursor<'_>) -> Option<SocketAddr> {
    let address = match file.management.as_ref().map(|written| written.text.as_str()) {
        None => MANAGEMENT,
        Some("off") => return None,
        Some(text) => socket_address(text, at)?,
    };
    // Port 0 asks the system for any free port, which is never the same one twice.
    if address.port() != 0 && listen.contains(&address) {
        at.report(format!("{address} is listened on for applications already"));
    }
    Some(address)
}

/// `None` once something was reported.
fn read_public_url(file: &Main, listen: &[SocketAddr], at: &Cursor<'_>) -> Option<Origin> {
    let first = listen.first().copied().unwrap_or_else(|| loopback(8080));
    if let Some(written) = &file.public_url {
        let read = Origin::parse(&written.text);
        return read.map_err(|error| at.report(error.to_string())).ok();
    }
    let is_open = listen.iter().any(|address| !address.ip().to_canonical().is_loopback());
    if at.was_refused() {
        return None;
    }
    if is_open {
        at.report(
            "`public_url` is missing: it may be left out only if every listener is on loopback",
        );
        return None;
    }
    listener_origin(first)
}

/// What stands for a `public_url` that was refused.
pub(super) fn any_origin() -> Option<Origin> {
    listener_origin(loopback(8080))
}

/// The origin a listener answers under. `None` never happens: an address is a host.
fn listener_origin(listener: SocketAddr) -> Option<Origin> {
    let host = match listener.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let host = Host::parse(&host).ok()?;
    Some(Origin { scheme: Scheme::Http, host, port: listener.port() })
}

fn read_origins(written: &[Text<impl Sized>], at: &Cursor<'_>) -> Vec<Origin> {
    let mut origins = Vec::new();
    for (index, origin) in written.iter().enumerate() {
        match Origin::parse(&origin.text) {
            Ok(origin) if origins.contains(&origin) => at.item(index).report("stands twice"),
            Ok(origin) => origins.push(origin),
            Err(error) => at.item(index).report(error.to_string()),
        }
    }
    origins
}

/// Networks, IPv4-mapped ones as IPv4. A bare address is the network of that address alone.
pub(super) fn networks<K>(written: &[Text<K>], at: &Cursor<'_>) -> Vec<IpNet> {
    let read = |(index, network): (usize, &Text<K>)| {
        let at = at.item(index);
        let text = network.text.as_str();
        let found = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
        let Ok(found) = found else {
            at.report(format!("{} is not a network", at.shown(text)));
            return None;
        };
        if found.trunc() != found {
            let message = format!("{} has bits set beyond its prefix", at.shown(text));
            at.report_near(message, Some(found.trunc().to_string()));
            return None;
        }
        Some(unmapped(found))
    };
    written.iter().enumerate().filter_map(read).collect()
}

fn unmapped(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (address @ IpAddr::V4(_), Some(prefix)) if matches!(network, IpNet::V6(_)) => {
            IpNet::new(address, prefix).unwrap_or(network)
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => network,
    }
}

fn read_secret(file: &Main, base: &Path, top: &Cursor<'_>) -> Option<SecretString> {
    let (text, at) = match (&file.secret, &file.secret_file) {
        (Some(_), Some(_)) => {
            top.key("secret_file").report("`secret` and `secret_file` contradict each other");
            return None;
        }
        (Some(secret), None) => (secret.text.clone(), top.key("secret")),
        (None, Some(path)) => {
            let at = top.key("secret_file");
            (read_secret_file(&base.join(&path.text), &at)?, at)
        }
        (None, None) => return None,
    };
    if let Err(message) = check_secret(&text) {
        at.report(message);
        return None;
    }
    Some(SecretString::from(text))
}

pub(super) fn read_secret_file(path: &Path, at: &Cursor<'_>) -> Option<String> {
    secret::read_file(path).map_err(|message| at.report(message)).ok()
}

fn previous_secrets(file: &Main, at: &Cursor<'_>) -> Vec<SecretString> {
    let read = |(index, secret): (usize, &Text<_>)| {
        let checked = check_secret(&secret.text);
        checked.map_err(|message| at.item(index).report(message)).ok()?;
        Some(SecretString::from(secret.text.clone()))
    };
    file.previous_secrets.iter().enumerate().filter_map(read).collect()
}

fn read_database(file: &Main, base: &Path, data: &Path, top: &Cursor<'_>) -> Database {
    let at = top.key("database");
    let empty = DatabaseMap::default();
    let (url, map, url_at) = match &file.database {
        Some(DatabaseFile::Url(url)) => (Some(url), &empty, at.clone()),
        Some(DatabaseFile::Map(map)) => (map.url.as_ref(), map, at.key("url")),
        None => (None, &empty, at.clone()),
    };
    let (text, url_at) = match (url, &file.database_file) {
        (Some(_), Some(_)) => {
            top.key("database_file")
                .report("`database_file` and the URL in `database` contradict each other");
            (None, url_at)
        }
        (Some(url), None) => (Some(url.text.clone()), url_at),
        (None, Some(path)) => {
            let at = top.key("database_file");
            (read_secret_file(&base.join(&path.text), &at), at)
        }
        (None, None) => (None, url_at),
    };
    let default = || DatabaseUrl::Sqlite(data.join("portcullis.db"));
    let url = text.map_or_else(default, |text| {
        database_url(&text, data).unwrap_or_else(|message| {
            url_at.report(message);
            default()
        })
    });
    let timeout = at.key("acquire_timeout");
    Database {
        url,
        max_connections: map.max_connections.unwrap_or(8),
        acquire_timeout: duration(map.acquire_timeout.as_ref(), Duration::from_secs(2), &timeout),
    }
}

/// Reads a database URL. It may hold a password, so no message shows any of it.
fn database_url(text: &str, data: &Path) -> Result<DatabaseUrl, &'static str> {
    if let Some(rest) = text.strip_prefix("sqlite:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        return match path {
            "" => Err("the SQLite URL names no file"),
            _ if path.contains(":memory:") => {
                Err("a database in memory would be another one for every connection")
            }
            _ if path.contains(['?', '#']) => Err("an SQLite URL is sqlite:// and a path, no more"),
            _ => Ok(DatabaseUrl::Sqlite(data.join(path))),
        };
    }
    let url = url::Url::parse(text).map_err(|_| "not a database URL")?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err("not a database URL: expected sqlite:// and a path, or postgres://…");
    }
    let names_host = url.host().is_some() || url.query_pairs().any(|(key, _)| key == "host");
    if !names_host {
        return Err("the PostgreSQL URL names no host");
    }
    Ok(DatabaseUrl::Postgres(SecretString::from(text.to_owned())))
}

/// Cores this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A number, or what `auto` stands for.
pub(super) fn count(written: Option<&Count>, auto: usize) -> usize {
    match written {
        None | Some(Count::Auto(_)) => auto,
        Some(Count::Exactly(number)) => usize::try_from(*number).unwrap_or(usize::MAX),
    }
}

pub(super) fn hashing(written: &HashingFile) -> Hashing {
    Hashing {
        concurrent: count(written.concurrent.as_ref(), cores().saturating_sub(1).max(1)),
        queue: written.queue.map_or(64, |queue| usize::try_from(queue).unwrap_or(usize::MAX)),
    }
}

/// Events of three months: as long as somebody may take to ask what happened.
const RETENTION: Duration = Duration::from_hours(90 * 24);

pub(super) fn events(written: &EventsFile, at: &Cursor<'_>) -> Events {
    Events { retention: duration(written.retention.as_ref(), RETENTION, &at.key("retention")) }
}

fn read_telemetry(written: &TelemetryFile, base: &Path, at: &Cursor<'_>) -> Telemetry {
    let level = written.level.as_ref().map_or("info", |level| level.text.as_str());
    check_level(level, &at.key("level"));
    let access_log = match written.access_log.as_ref().map(|log| log.text.as_str()) {
        None | Some("on") => AccessLog::On,
        Some("off") => AccessLog::Off,
        Some(path) => AccessLog::File(base.join(path)),
    };
    Telemetry {
        level: level.to_owned(),
        format: written.format.as_ref().map_or(LogFormat::Text, |format| format.0),
        access_log,
    }
}

fn check_level(level: &str, at: &Cursor<'_>) {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    // A filter takes a bare word for the name of a target, and would log nothing else.
    let is_level = |part: &str| LEVELS.contains(&part.trim().to_lowercase().as_str());
    let is_simple = !level.contains(['[', '"']);
    let stray = level.split(',').find(|part| !part.contains('=') && !is_level(part));
    if let Some(stray) = stray.filter(|_| is_simple) {
        let message = format!("{} holds a word that is no level", at.shown(level));
        at.report_near(message, nearest(stray.trim(), LEVELS));
    } else if tracing_subscriber::EnvFilter::try_new(level).is_err() {
        at.report(format!("{} is not a filter", at.shown(level)));
    }
}
