//! `portcullis session`: who is signed in, and ending it.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::desk::Desk;
use super::failure::Failure;
use super::output::Table;
use super::user;
use crate::config::Config;
use crate::identity::keys::hex;
use crate::store::{EndSessions, SessionKind, SessionRow, Store};

/// What to do with sessions.
#[derive(Subcommand, Debug)]
pub(super) enum SessionCommand {
    /// List live sessions, newest first
    List(ListArgs),
    /// End sessions
    Revoke(RevokeArgs),
}

/// `session list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only those of this account (e-mail, username or id)
    #[arg(long, value_name = "EMAIL")]
    user: Option<String>,
    /// At most this many
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `session revoke`.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct RevokeArgs {
    /// Every session of this account (e-mail, username or id)
    #[arg(long, value_name = "EMAIL")]
    user: Option<String>,
    /// The session of this id, as `session list` shows it
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Every session of everybody
    #[arg(long)]
    all: bool,
}

/// A session as `--json` shows it.
#[derive(Debug, Serialize)]
struct SessionView {
    id: String,
    user: String,
    email: String,
    method: &'static str,
    kind: &'static str,
    created_at: String,
    last_seen: String,
    /// After so many seconds without use; none for a bearer session.
    idle_seconds: Option<u64>,
    expires_at: String,
    address: Option<String>,
    agent: String,
}

impl SessionView {
    fn new(row: &SessionRow, email: &str) -> Self {
        Self {
            id: hex(&row.id),
            user: row.user.to_string(),
            email: email.to_owned(),
            method: row.method.as_str(),
            kind: match row.kind {
                SessionKind::Cookie => "cookie",
                SessionKind::Bearer => "bearer",
            },
            created_at: row.created_at.to_string(),
            last_seen: row.last_seen.to_string(),
            idle_seconds: row.idle.map(|idle| idle.as_secs()),
            expires_at: row.expires_at.to_string(),
            address: row.address.map(|address| address.to_string()),
            agent: row.agent.clone(),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.email.clone(),
            self.kind.to_owned(),
            self.created_at.clone(),
            self.last_seen.clone(),
            self.expires_at.clone(),
            self.address.clone().unwrap_or_default(),
            self.agent.clone(),
        ]
    }
}

/// Runs a `session` command.
///
/// # Errors
/// [`Failure`].
pub(super) async fn run(command: &SessionCommand, desk: &mut Desk) -> Result<(), Failure> {
    match command {
        SessionCommand::List(args) => list(args, desk).await,
        SessionCommand::Revoke(args) => revoke(args, desk).await,
    }
}

async fn list(args: &ListArgs, desk: &mut Desk) -> Result<(), Failure> {
    let config = desk.examine()?.config;
    let mut sessions = Vec::new();
    if let Some(store) = desk.open_to_read(&config).await? {
        let user = match &args.user {
            Some(who) => Some(user::find(&desk.people(&config, &store), who).await?.id),
            None => None,
        };
        let rows = store.list_sessions(user, desk.clock.now(), args.limit).await?;
        sessions.extend(rows.iter().map(|(row, email)| SessionView::new(row, email)));
    }
    if args.json {
        return Ok(desk.out.json(&sessions)?);
    }
    let mut table =
        Table::new(&["ID", "E-MAIL", "KIND", "SIGNED IN", "LAST SEEN", "ENDS", "ADDRESS", "AGENT"]);
    for session in &sessions {
        table.row(session.row());
    }
    Ok(table.write(&mut desk.out)?)
}

async fn revoke(args: &RevokeArgs, desk: &mut Desk) -> Result<(), Failure> {
    let id = args.id.as_deref().map(parse_id).transpose()?;
    let config = desk.examine()?.config;
    let store = desk.open(&config).await?;
    let (which, whose) = wanted(args, id, &config, &store, desk).await?;
    let mut event = desk.event("sessions-revoked", &whose);
    if let EndSessions::OfUser(user) = which {
        event.user = Some(user);
    }
    match store.delete_sessions(which, &event).await? {
        0 if id.is_some() => Err(Failure::Failed("there is no such session".to_owned())),
        1 => Ok(writeln!(desk.out, "ended 1 session")?),
        ended => Ok(writeln!(desk.out, "ended {ended} sessions")?),
    }
}

async fn wanted(
    args: &RevokeArgs,
    id: Option<[u8; 32]>,
    config: &Config,
    store: &Store,
    desk: &Desk,
) -> Result<(EndSessions, String), Failure> {
    if let Some(who) = &args.user {
        let user = user::find(&desk.people(config, store), who).await?;
        return Ok((EndSessions::OfUser(user.id), String::new()));
    }
    Ok(match id {
        Some(id) => (EndSessions::One(id), hex(&id)),
        None => (EndSessions::All, "all".to_owned()),
    })
}

/// Reads an id as it is shown, 64 hexadecimal digits, or as an access token's `sid` has it: unpadded base64url.
fn parse_id(text: &str) -> Result<[u8; 32], Failure> {
    let refused = || Failure::Usage(format!("--id {text}: not 64 hexadecimal digits"));
    if let Ok(bytes) = URL_SAFE_NO_PAD.decode(text)
        && let Ok(id) = <[u8; 32]>::try_from(bytes)
    {
        return Ok(id);
    }
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(refused());
    }
    let mut id = [0; 32];
    for (byte, at) in id.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| refused())?;
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_shown_and_nothing_else_is() {
        let id = std::array::from_fn(|i| u8::try_from(i * 7).unwrap());
        assert_eq!(parse_id(&hex(&id)).unwrap(), id);
        assert_eq!(parse_id(&URL_SAFE_NO_PAD.encode(id)).unwrap(), id);
        for text in ["", "ab", &"g".repeat(64), &"+f".repeat(32), &"ä".repeat(32)] {
            assert!(parse_id(text).is_err(), "{text}");
        }
    }
}
