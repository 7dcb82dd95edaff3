//! Listing and showing accounts.

use std::io::Write;

use serde::Serialize;

use super::{ListArgs, ShowArgs, find};
use crate::cli::desk::{self, Desk};
use crate::cli::failure::Failure;
use crate::cli::output::{Table, printable, yes_or_no};
use crate::clock::Timestamp;
use crate::identity::access::RoleBook;
use crate::identity::user::{RoleGrant, User};
use crate::store::{LinkRow, Store};

/// Accounts read at a time.
const PAGE: u32 = 500;

/// An account as `--json` shows it. The password's hash is never shown.
#[expect(clippy::struct_excessive_bools, reason = "each is a column, not a state")]
#[derive(Debug, Serialize)]
struct Account {
    id: String,
    email: String,
    username: Option<String>,
    is_active: bool,
    is_superuser: bool,
    is_verified: bool,
    has_password: bool,
    first_name: Option<String>,
    last_name: Option<String>,
    organization: Option<String>,
    department: Option<String>,
    phone: Option<String>,
    roles: Vec<Held>,
    created_at: String,
    last_login_at: Option<String>,
    last_address: Option<String>,
    login_count: i64,
    failed_login_count: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Linked>,
}

/// An account at a provider that is linked. Its tokens are never shown.
#[derive(Debug, Serialize)]
struct Linked {
    provider: String,
    subject: String,
    email: Option<String>,
    since: String,
    last_sign_in: Option<String>,
}

/// A role held.
#[derive(Debug, Serialize)]
struct Held {
    role: String,
    /// From then on it counts for nothing.
    until: Option<String>,
    /// Whether it counts now: not past its end, and of a role that something defines.
    in_force: bool,
    /// The provider that gives it; absent for what an operator granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
}

impl Account {
    /// The account with what operators and providers gave it.
    async fn read(
        store: &Store,
        user: &User,
        book: &RoleBook,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let grants = store.list_grants(user.id).await?;
        let links = store.list_links(user.id).await?;
        let given = store.list_provider_roles(user.id).await?;
        Ok(Self::new(user, &grants, book, now).vouched_for(links, given, book))
    }

    fn new(user: &User, grants: &[RoleGrant], book: &RoleBook, now: Timestamp) -> Self {
        let held = |grant: &RoleGrant| Held {
            role: grant.role.clone(),
            until: grant.until.map(|until| until.to_string()),
            in_force: grant.until.is_none_or(|until| until > now) && book.defines(&grant.role),
            provider: None,
        };
        Self {
            id: user.id.to_string(),
            email: user.email.clone(),
            username: user.username.clone(),
            is_active: user.is_active,
            is_superuser: user.is_superuser,
            is_verified: user.is_verified,
            has_password: user.password_hash.is_some(),
            first_name: user.profile.first_name.clone(),
            last_name: user.profile.last_name.clone(),
            organization: user.profile.organization.clone(),
            department: user.profile.department.clone(),
            phone: user.profile.phone.clone(),
            roles: grants.iter().map(held).collect(),
            created_at: user.created_at.to_string(),
            last_login_at: user.last_login_at.map(|at| at.to_string()),
            last_address: user.last_address.map(|address| address.to_string()),
            login_count: user.login_count,
            failed_login_count: user.failed_login_count,
            links: Vec::new(),
        }
    }

    /// With what providers gave.
    fn vouched_for(
        mut self,
        links: Vec<LinkRow>,
        roles: Vec<(String, String)>,
        book: &RoleBook,
    ) -> Self {
        self.roles.extend(roles.into_iter().map(|(role, provider)| Held {
            in_force: book.defines(&role),
            role,
            until: None,
            provider: Some(provider),
        }));
        self.links.extend(links.into_iter().map(|link| Linked {
            provider: link.key.provider,
            subject: link.key.subject,
            email: link.email,
            since: link.linked_at.to_string(),
            last_sign_in: link.last_sign_in.map(|at| at.to_string()),
        }));
        self
    }

    fn row(&self) -> Vec<String> {
        let in_force = self.roles.iter().filter(|held| held.in_force);
        let roles: Vec<String> = in_force.map(Held::name).collect();
        vec![
            self.email.clone(),
            self.username.clone().unwrap_or_default(),
            yes_or_no(self.is_active),
            yes_or_no(self.is_verified),
            yes_or_no(self.is_superuser),
            roles.join(", "),
            self.last_login_at.clone().unwrap_or_else(|| "never".to_owned()),
        ]
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let signed_in = match (&self.last_login_at, &self.last_address) {
            (Some(at), Some(address)) => format!("{at} from {address}"),
            (Some(at), None) => at.clone(),
            (None, _) => "never".to_owned(),
        };
        vec![
            ("id", self.id.clone()),
            ("username", text(&self.username)),
            ("first name", text(&self.first_name)),
            ("last name", text(&self.last_name)),
            ("organization", text(&self.organization)),
            ("department", text(&self.department)),
            ("phone", text(&self.phone)),
            ("active", yes_or_no(self.is_active)),
            ("verified", yes_or_no(self.is_verified)),
            ("superuser", yes_or_no(self.is_superuser)),
            ("password", if self.has_password { "set" } else { "none" }.to_owned()),
            ("created", self.created_at.clone()),
            ("last sign-in", signed_in),
            ("sign-ins", format!("{}, {} failed", self.login_count, self.failed_login_count)),
        ]
    }
}

impl Held {
    /// The role, and the provider that gives it.
    fn name(&self) -> String {
        match &self.provider {
            Some(provider) => format!("{} by {provider}", self.role),
            None => self.role.clone(),
        }
    }

    fn line(&self) -> String {
        let name = self.name();
        match (&self.until, self.in_force) {
            (None, true) => name,
            (Some(until), true) => format!("{name} until {until}"),
            (None, false) => format!("{name} (nothing defines this role: it gives nothing)"),
            (Some(until), false) => format!("{name} until {until} (not in force)"),
        }
    }
}

/// Lists accounts in the order of their e-mails.
///
/// # Errors
/// [`Failure`].
pub(super) async fn list(args: &ListArgs, desk: &mut Desk) -> Result<(), Failure> {
    let examined = desk.examine()?;
    let store = desk.open_to_read(&examined.config).await?;
    let rows = desk::database_roles(store.as_ref()).await?;
    let book = desk::book_of(&examined, &rows);
    let mut accounts = Vec::new();
    if let Some(store) = &store {
        let now = desk.clock.now();
        for user in every_user(store).await? {
            accounts.push(Account::read(store, &user, &book, now).await?);
        }
    }
    if args.json {
        return Ok(desk.out.json(&accounts)?);
    }
    let mut table = Table::new(&[
        "E-MAIL",
        "USERNAME",
        "ACTIVE",
        "VERIFIED",
        "SUPERUSER",
        "ROLES",
        "LAST SIGN-IN",
    ]);
    for account in &accounts {
        table.row(account.row());
    }
    Ok(table.write(&mut desk.out)?)
}

async fn every_user(store: &Store) -> Result<Vec<User>, Failure> {
    let mut users: Vec<User> = Vec::new();
    loop {
        let after = users.last().map(|user| user.email_folded.to_string());
        let page = store.list_users(after.as_deref(), PAGE).await?;
        if page.is_empty() {
            return Ok(users);
        }
        users.extend(page);
    }
}

/// Shows one account.
///
/// # Errors
/// [`Failure`].
pub(super) async fn show(args: &ShowArgs, desk: &mut Desk) -> Result<(), Failure> {
    let examined = desk.examine()?;
    let Some(store) = desk.open_to_read(&examined.config).await? else {
        return Err(Failure::Failed(format!("there is no account {}", args.who.who)));
    };
    let user = find(&desk.people(&examined.config, &store), &args.who.who).await?;
    let rows = desk::database_roles(Some(&store)).await?;
    let book = desk::book_of(&examined, &rows);
    let account = Account::read(&store, &user, &book, desk.clock.now()).await?;
    if args.json {
        return Ok(desk.out.json(&account)?);
    }
    writeln!(desk.out, "{}", printable(&account.email))?;
    for (name, value) in account.lines().iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(desk.out, "  {name:<14}{}", printable(value))?;
    }
    let roles: Vec<String> = account.roles.iter().map(Held::line).collect();
    match roles.split_first() {
        None => writeln!(desk.out, "  {:<14}none", "roles")?,
        Some((first, others)) => {
            writeln!(desk.out, "  {:<14}{first}", "roles")?;
            others.iter().try_for_each(|role| writeln!(desk.out, "  {:<14}{role}", ""))?;
        }
    }
    for link in &account.links {
        let email = link.email.as_deref().unwrap_or(&link.subject);
        let words = format!("{} at {}, linked {}", email, link.provider, link.since);
        writeln!(desk.out, "  {:<14}{}", "provider", printable(&words))?;
    }
    Ok(())
}
