//! `portcullis events`: what happened to accounts, by whom.

use std::collections::BTreeMap;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;

use super::desk::Desk;
use super::failure::Failure;
use super::output::Table;
use super::user;
use crate::accounts::read_id;
use crate::clock::Timestamp;
use crate::config::duration;
use crate::store::{Event, EventFilter, Store};

/// What to do with events.
#[derive(Subcommand, Debug)]
pub(super) enum EventCommand {
    /// List events, newest first
    List(ListArgs),
}

/// `events list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only those of this account (e-mail, username or id; the id of one that is gone as well)
    #[arg(long, value_name = "EMAIL")]
    user: Option<String>,
    /// Only those of this kind
    #[arg(long, value_parser = PossibleValuesParser::new(Event::KINDS))]
    kind: Option<String>,
    /// Only those since a time (2027-01-31T18:00:00Z) or of so long (24h)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most this many
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An event as `--json` shows it.
#[derive(Debug, Serialize)]
struct EventView {
    at: String,
    kind: String,
    /// The account's id.
    user: Option<String>,
    /// The account's e-mail, while there is the account.
    email: Option<String>,
    actor: String,
    address: Option<String>,
    agent: String,
    detail: String,
}

impl EventView {
    fn new(event: &Event, emails: &BTreeMap<Uuid, String>) -> Self {
        Self {
            at: event.at.to_string(),
            kind: event.kind.clone(),
            user: event.user.map(|id| id.to_string()),
            email: event.user.and_then(|id| emails.get(&id).cloned()),
            actor: event.actor.clone(),
            address: event.address.map(|address| address.to_string()),
            agent: event.agent.clone(),
            detail: event.detail.clone(),
        }
    }
}

/// Runs an `events` command.
///
/// # Errors
/// [`Failure`].
pub(super) async fn run(command: &EventCommand, desk: &mut Desk) -> Result<(), Failure> {
    let EventCommand::List(args) = command;
    let since = args.since.as_deref().map(|text| beginning(text, desk.clock.now())).transpose()?;
    let config = desk.examine()?.config;
    let mut events = Vec::new();
    if let Some(store) = desk.open_to_read(&config).await? {
        let user = match args.user.as_deref() {
            Some(who) => match read_id(who) {
                Some(id) => Some(id),
                None => Some(user::find(&desk.people(&config, &store), who).await?.id),
            },
            None => None,
        };
        let filter = EventFilter { user, kind: args.kind.clone(), since };
        let rows = store.list_events_like(&filter, args.limit).await?;
        let emails = emails(&rows, &store).await?;
        events.extend(rows.iter().map(|row| EventView::new(row, &emails)));
    }
    if args.json {
        return Ok(desk.out.json(&events)?);
    }
    let mut table = Table::new(&["TIME", "EVENT", "ACCOUNT", "BY", "ADDRESS", "DETAIL"]);
    for event in events {
        table.row(vec![
            event.at,
            event.kind,
            event.email.or(event.user).unwrap_or_default(),
            event.actor,
            event.address.unwrap_or_default(),
            event.detail,
        ]);
    }
    Ok(table.write(&mut desk.out)?)
}

/// Reads a time, or how long ago it was.
fn beginning(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let ago = || duration::read(text).ok().map(|ago| now.before(ago));
    Timestamp::parse(text).or_else(ago).ok_or_else(|| {
        let expected =
            "not a time such as 2027-01-31T18:00:00Z, nor how long ago it was, such as 24h";
        Failure::Usage(format!("--since {text}: {expected}"))
    })
}

/// The e-mails of the accounts that events are about, each looked up once.
async fn emails(events: &[Event], store: &Store) -> Result<BTreeMap<Uuid, String>, Failure> {
    let mut emails = BTreeMap::new();
    for id in events.iter().filter_map(|event| event.user) {
        if !emails.contains_key(&id)
            && let Some(user) = store.find_user(id).await?
        {
            emails.insert(id, user.email);
        }
    }
    Ok(emails)
}
