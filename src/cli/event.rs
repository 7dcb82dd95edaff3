//! `portcullis events`: what happened to accounts, by whom.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;

use super::desk::Desk;
use super::failure::Failure;
use super::output::Table;
use super::user;
use crate::store::{Event, Store};

/// What to do with events.
#[derive(Subcommand, Debug)]
pub(super) enum EventCommand {
    /// List events, newest first
    List(ListArgs),
}

/// `events list`.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only those of this account (e-mail, username or id)
    #[arg(long, value_name = "EMAIL")]
    user: Option<String>,
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
    let config = desk.examine()?.config;
    let mut events = Vec::new();
    if let Some(store) = desk.open_to_read(&config).await? {
        let user = match &args.user {
            Some(who) => Some(user::find(&desk.people(&config, &store), who).await?.id),
            None => None,
        };
        let rows = store.list_events(user, args.limit).await?;
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
