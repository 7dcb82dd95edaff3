//! Mail: who it is from, and which server or directory takes it.

use std::path::Path;

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::{Cursor, general};
use crate::config::settings::{Delivery, Mail, MailSecurity, MailServer};
use crate::config::sources;
use crate::config::yaml::Mail as MailFile;
use crate::web::authority::Host;

/// Port of submission, where TLS begins with STARTTLS (RFC 6409).
const SUBMISSION: u16 = 587;
/// Port of submission over TLS (RFC 8314).
const SUBMISSIONS: u16 = 465;

/// `None` once something was reported.
pub(super) fn read(written: &MailFile, data: &Path, top: &Cursor<'_>) -> Option<Mail> {
    let at = top.key("mail");
    let from = read_from(&written.from.text, &at.key("from"));
    let delivery = read_delivery(written, data, top, &at);
    Some(Mail { from: from?, delivery: delivery? })
}

fn read_from(text: &str, at: &Cursor<'_>) -> Option<Mailbox> {
    let from = text.trim().parse().ok();
    if from.is_none() {
        at.report(format!("{} is not an e-mail address", at.shown(text)));
    }
    from
}

fn read_delivery(
    written: &MailFile,
    data: &Path,
    top: &Cursor<'_>,
    at: &Cursor<'_>,
) -> Option<Delivery> {
    let keys = [
        ("smtp", written.smtp.is_some()),
        ("smtp_file", written.smtp_file.is_some()),
        ("directory", written.directory.is_some()),
    ];
    if keys.iter().any(|(key, _)| at.key(key).was_refused()) {
        return None;
    }
    let mut said = keys.iter().filter(|(_, is_said)| *is_said).map(|(key, _)| *key);
    let Some(first) = said.next() else {
        at.report("one of `smtp`, `smtp_file` and `directory` is needed");
        return None;
    };
    if let Some(second) = said.next() {
        at.key(second).report(format!("`{first}` and `{second}` contradict each other"));
        return None;
    }
    if let Some(directory) = &written.directory {
        return Some(Delivery::Directory(data.join(&directory.text)));
    }
    let place = at.key(first);
    let text = match (&written.smtp, &written.smtp_file) {
        (Some(url), _) => url.text.clone(),
        (None, Some(path)) => {
            let base = sources::directory_of(&top.source.name);
            general::read_secret_file(&base.join(&path.text), &place)?
        }
        (None, None) => return None,
    };
    read_server(&text).map(Delivery::Smtp).map_err(|message| place.report(message)).ok()
}

/// Reads a mail server's URL. It may hold a password, so no message shows any of it.
fn read_server(text: &str) -> Result<MailServer, &'static str> {
    let url = Url::parse(text).map_err(|_| "not the URL of a mail server")?;
    let (security, port) = match (url.scheme(), url.query()) {
        ("smtps", None) => (MailSecurity::Tls, SUBMISSIONS),
        ("smtp", None) => (MailSecurity::StartTls, SUBMISSION),
        ("smtp", Some("tls=none")) => (MailSecurity::Plain, SUBMISSION),
        ("smtp" | "smtps", Some(_)) => {
            return Err("nothing but `?tls=none` may stand behind smtp:// and a host");
        }
        _ => return Err("not the URL of a mail server: expected smtp:// or smtps://"),
    };
    if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return Err("the URL of a mail server has no path");
    }
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or("the URL of the mail server names no host")?;
    let host = Host::parse(host).map_err(|_| "the URL of the mail server names no host")?;
    let credentials = read_credentials(&url)?;
    if security == MailSecurity::Plain && credentials.is_some() && !host.is_loopback() {
        return Err("the password would go over the network unprotected: leave `?tls=none` out");
    }
    let port = url.port().unwrap_or(port);
    let host = host.as_str().trim_matches(['[', ']']).to_owned();
    Ok(MailServer { host, port, security, credentials })
}

fn read_credentials(url: &Url) -> Result<Option<(String, SecretString)>, &'static str> {
    let decoded = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(std::borrow::Cow::into_owned).map_err(|_| "user and password are not text")
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        (user, Some(password)) if !user.is_empty() => {
            Ok(Some((decoded(user)?, decoded(password)?.into())))
        }
        _ => Err("a user needs a password beside it, and a password a user"),
    }
}
