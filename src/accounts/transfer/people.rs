//! A file of accounts: what it would do, doing it, and writing one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::read::{Faults, Format, Writer, read};
use super::record::{COLUMNS, Incoming, Record};
use crate::accounts::draft::{Actor, Mistake, unstored};
use crate::accounts::people::People;
use crate::identity::password;
use crate::identity::user::{RoleGrant, User};
use crate::store::{Replaced, RoleRow, StagedUser, StoreError};

/// Accounts read from the database at a time.
const PAGE: u32 = 500;

/// Accounts put aside at a time.
const PART: usize = 500;

/// Passwords handed to the hasher at a time: a quarter of its queue is for those without an address.
const AT_ONCE: usize = 8;

/// How long to wait when the hasher's queue is full.
const PAUSE: Duration = Duration::from_millis(50);

/// A file of accounts without a bad line, compared with the database.
pub struct UserImport {
    accounts: Vec<Incoming>,
    replaces: bool,
    summary: Summary,
    /// Roles of the database that come along.
    pub(super) new_roles: Vec<RoleRow>,
}

/// What putting a file of accounts in force does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Accounts in the file.
    pub accounts: usize,
    /// Of these, such that are new.
    pub added: usize,
    /// Of these, such that exist and become another.
    pub changed: usize,
    /// Accounts that are deleted.
    pub deleted: usize,
}

/// What takes its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Passwords are hashed.
    Hashing,
    /// Accounts are put aside.
    Staging,
    /// All of them are put in force; how far that has come cannot be told.
    Committing,
}

impl UserImport {
    /// What it does.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// The roles of the database that come along with the accounts.
    #[must_use]
    pub fn new_roles(&self) -> &[RoleRow] {
        &self.new_roles
    }

    /// The names of the providers at which its accounts have one, each once, sorted.
    #[must_use]
    pub fn providers(&self) -> Vec<String> {
        let links = self.accounts.iter().filter_map(|account| account.staged.links.as_ref());
        let names: BTreeSet<&str> = links.flatten().map(|link| link.provider.as_str()).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The names of the roles it grants, each once, sorted.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        let grants = self.accounts.iter().flat_map(|account| &account.staged.grants);
        let names: HashSet<&str> = grants.map(|grant| grant.role.as_str()).collect();
        let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        names.sort();
        names
    }
}

/// Where in a file each id, e-mail and username stands.
#[derive(Default)]
struct Names {
    ids: HashMap<Uuid, usize>,
    emails: HashMap<String, usize>,
    usernames: HashMap<String, usize>,
}

impl Names {
    /// Notes those of every account, and each that a line before has taken.
    fn of(accounts: &[Incoming], faults: &mut Faults) -> Self {
        let mut names = Self::default();
        for (at, account) in accounts.iter().enumerate() {
            let line = account.staged.line;
            let mut taken = |what: &str, former: Option<usize>| {
                if let Some(former) = former {
                    let first = accounts[former].staged.line;
                    faults.note(line, format!("line {first} has this {what}"));
                }
            };
            let user = &account.staged.user;
            taken("id", names.ids.insert(account.staged.id, at));
            taken("e-mail", names.emails.insert(user.email_folded.clone(), at));
            let username = user.username.as_deref().map(str::to_ascii_lowercase);
            taken("username", username.and_then(|name| names.usernames.insert(name, at)));
        }
        names
    }

    fn username(&self, of: &User) -> Option<usize> {
        let username = of.username.as_deref()?.to_ascii_lowercase();
        self.usernames.get(&username).copied()
    }
}

impl People {
    /// Reads a file of accounts and says what it would do; changes nothing. Without `replaces` every
    /// account of it must be new. With it the database holds the accounts of the file and no others
    /// afterwards: a line stands for the account of its id or else of its e-mail, if there is one.
    ///
    /// # Errors
    /// [`Mistake`] of the store; within, everything that is wrong with the file.
    pub async fn examine_users(
        &self,
        file: &[u8],
        format: Format,
        replaces: bool,
    ) -> Result<Result<UserImport, Faults>, Mistake> {
        let mut faults = Faults::default();
        let records: Vec<(u64, Record)> = read(file, format, COLUMNS, &mut faults);
        self.examine_records(records, faults, replaces, |_| {}).await
    }

    /// As [`People::examine_users`], of records with the numbers of their lines; `add` says of an account what
    /// no record has.
    pub(super) async fn examine_records(
        &self,
        records: Vec<(u64, Record)>,
        mut faults: Faults,
        replaces: bool,
        mut add: impl FnMut(&mut Incoming),
    ) -> Result<Result<UserImport, Faults>, Mistake> {
        let mut accounts = Vec::with_capacity(records.len());
        for (line, record) in records {
            match self.judge(line, record) {
                Ok(mut account) => {
                    add(&mut account);
                    accounts.push(account);
                }
                Err(reason) => faults.note(line, reason),
            }
        }
        let names = Names::of(&accounts, &mut faults);
        let is_administrator =
            |account: &Incoming| account.staged.user.is_superuser && account.staged.user.is_active;
        if replaces && !accounts.iter().any(is_administrator) {
            faults.note(0, "none of its accounts is an active superuser");
        }
        let (summary, new_roles) = (Summary::default(), Vec::new());
        let mut import = UserImport { accounts, replaces, summary, new_roles };
        self.compare(&mut import, &names, &mut faults).await?;
        Ok(faults.none_or(import))
    }

    fn judge(&self, line: u64, record: Record) -> Result<Incoming, String> {
        let fresh = self.fresh_id();
        let account = record.account(line, fresh).map_err(|refused| refused.to_string())?;
        if let Some(password) = &account.password {
            let judged = unstored(account.staged.id, &account.staged.user, self.now());
            password::check(password.expose_secret(), &judged, &self.rules().password)
                .map_err(|rejected| rejected.to_string())?;
        }
        Ok(account)
    }

    /// Compares a file with every account there is.
    async fn compare(
        &self,
        import: &mut UserImport,
        names: &Names,
        faults: &mut Faults,
    ) -> Result<(), Mistake> {
        let mut after: Option<String> = None;
        let mut known = 0;
        loop {
            let page = self.store().list_accounts(after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.email_folded.to_string());
            for (user, grants) in &page {
                if !import.replaces {
                    refuse_taken(&import.accounts, names, user, faults);
                } else if let Some(at) = line_of(&import.accounts, names, user) {
                    known += 1;
                    let account = &mut import.accounts[at];
                    account.staged.id = user.id;
                    import.summary.changed += usize::from(is_other(account, user, grants));
                } else {
                    import.summary.deleted += 1;
                }
            }
        }
        import.summary.accounts = import.accounts.len();
        import.summary.added = import.accounts.len() - known;
        Ok(())
    }

    /// Puts a file of accounts in force, all of it or, on any error, nothing. `progress` hears of each
    /// step how much of how much is done.
    ///
    /// # Errors
    /// [`Mistake`]; [`Mistake::Conflict`] where an account was made since the file was compared.
    pub async fn import_users(
        &self,
        import: UserImport,
        actor: &Actor,
        mut progress: impl FnMut(Step, usize, usize),
    ) -> Result<Summary, Mistake> {
        let UserImport { accounts, replaces, mut summary, new_roles } = import;
        let staged = self.hash_all(accounts, &mut progress).await?;
        let mut staging = self.store().stage().await?;
        for (number, part) in staged.chunks(PART).enumerate() {
            progress(Step::Staging, number * PART, staged.len());
            staging.insert(part).await?;
        }
        progress(Step::Committing, staged.len(), staged.len());
        let now = self.now();
        if replaces {
            let mut event = actor.event(now, "users-replaced", None);
            event.detail = summary.to_string();
            let Replaced { added, deleted } = staging.replace(&new_roles, &event).await?;
            summary.added = usize::try_from(added).unwrap_or(usize::MAX);
            summary.deleted = usize::try_from(deleted).unwrap_or(usize::MAX);
        } else {
            let mut event = actor.event(now, "users-imported", None);
            event.detail = summary.to_string();
            staging.add(&new_roles, &event).await?;
        }
        Ok(summary)
    }

    async fn hash_all(
        &self,
        accounts: Vec<Incoming>,
        progress: &mut impl FnMut(Step, usize, usize),
    ) -> Result<Vec<StagedUser>, Mistake> {
        let total = accounts.iter().filter(|account| account.password.is_some()).count();
        let mut hashed = 0;
        let mut hashing = stream::iter(accounts)
            .map(|account| async move {
                let Incoming { mut staged, password, .. } = account;
                let is_new = password.is_some();
                if let Some(password) = password {
                    staged.user.password_hash = Some(self.hash_patiently(&password).await);
                }
                (staged, is_new)
            })
            .buffered(AT_ONCE);
        let mut staged = Vec::new();
        while let Some((account, is_new)) = hashing.next().await {
            staged.push(account);
            if is_new {
                hashed += 1;
                progress(Step::Hashing, hashed, total);
            }
        }
        Ok(staged)
    }

    async fn hash_patiently(&self, password: &SecretString) -> String {
        loop {
            match self.hasher().hash(password.clone(), None).await {
                Ok(hash) => return hash,
                Err(_full) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Writes every account, all as they are at one instant, as a file that [`People::examine_users`] reads, hashes included.
    ///
    /// # Errors
    /// [`ExportError`].
    pub async fn export_users(
        &self,
        to: &mut dyn io::Write,
        format: Format,
    ) -> Result<usize, ExportError> {
        let mut writer = Writer::new(to, format, COLUMNS)?;
        let mut accounts = self.store().snapshot().await?;
        let mut after: Option<String> = None;
        let mut written = 0;
        loop {
            let page = accounts.list_accounts(after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.email_folded.to_string());
            let now = self.now();
            for (user, grants) in &page {
                writer.write(&Record::of(user, grants, now))?;
            }
            written += page.len();
        }
        writer.finish()?;
        Ok(written)
    }
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store failed.
    #[error("the accounts cannot be read")]
    Store(#[from] StoreError),
    /// The file, or whoever reads, failed.
    #[error("cannot write")]
    Write(#[from] io::Error),
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { accounts, added, changed, deleted } = self;
        write!(f, "{accounts} accounts: {added} added, {changed} changed, {deleted} deleted")
    }
}

/// Notes every line that would make an account anew that exists.
fn refuse_taken(accounts: &[Incoming], names: &Names, user: &User, faults: &mut Faults) {
    let same = [
        ("id", names.ids.get(&user.id).copied()),
        ("e-mail", names.emails.get(&*user.email_folded).copied()),
        ("username", names.username(user)),
    ];
    for (what, at) in same {
        if let Some(at) = at {
            let line = accounts[at].staged.line;
            faults.note(line, format!("an account with this {what} already exists"));
        }
    }
}

/// The line that stands for an account: that of its id, else one of its e-mail that names no id.
fn line_of(accounts: &[Incoming], names: &Names, user: &User) -> Option<usize> {
    let by_id = names.ids.get(&user.id).copied();
    by_id.or_else(|| {
        let at = names.emails.get(&*user.email_folded).copied()?;
        (!accounts[at].has_id).then_some(at)
    })
}

/// Whether a line makes something else of the account that exists.
fn is_other(account: &Incoming, user: &User, grants: &[RoleGrant]) -> bool {
    let StagedUser { user: new, grants: held, keeps_password, .. } = &account.staged;
    let keeps =
        account.password.is_none() && (*keeps_password || new.password_hash == user.password_hash);
    let mut held: Vec<&RoleGrant> = held.iter().collect();
    held.sort_by(|a, b| a.role.cmp(&b.role));
    !keeps
        || new.email != user.email
        || new.username != user.username
        || new.profile != user.profile
        || new.is_active != user.is_active
        || new.is_superuser != user.is_superuser
        || new.is_verified != user.is_verified
        || !held.into_iter().eq(grants)
}
