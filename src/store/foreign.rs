//! Databases that are not ours, read to bring people along from another program: one file a program.
//!
//! What is there is read as text in one transaction that writes nothing; what it means here is said where
//! accounts are judged (`accounts::transfer`).

mod fastapi_users;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use source::{Source, Tables};

use super::StoreError;
use super::pool::within;
use crate::config::DatabaseUrl;

/// To a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Over reading everything.
const READING: Duration = Duration::from_mins(10);

/// An account of another program.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ForeignUser {
    /// Its columns that mean something here, by name; NULL is left out.
    pub columns: BTreeMap<&'static str, String>,
    /// The names of its roles.
    pub roles: Vec<String>,
    /// Its accounts at providers; `None` where the program keeps none.
    pub links: Option<Vec<ForeignLink>>,
}

/// An account at a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignLink {
    /// What the program calls the provider.
    pub provider: String,
    /// The provider's name for the person.
    pub subject: String,
    /// What the provider said the e-mail was.
    pub email: Option<String>,
}

/// A role of another program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignRole {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Permissions as they are written there.
    pub permissions: Vec<String>,
}

/// Everything that was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Foreign {
    /// The name of the table of accounts, for messages.
    pub table: String,
    /// Accounts, in the order of their ids.
    pub users: Vec<ForeignUser>,
    /// Roles.
    pub roles: Vec<ForeignRole>,
}

/// Columns alone: one of them is the password's hash.
impl fmt::Debug for ForeignUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignUser")
            .field("columns", &self.columns.keys())
            .field("roles", &self.roles)
            .field("links", &self.links)
            .finish()
    }
}

/// Reads a database of `FastAPI` Users.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Schema`] where there is no table of its accounts, or a table of a name that it
/// uses has other columns.
pub async fn read_fastapi_users(url: &DatabaseUrl) -> Result<Foreign, StoreError> {
    let mut source = within(CONNECT, Source::open(url)).await?;
    within(READING, async {
        source.begin().await?;
        fastapi_users::read(&mut source).await
    })
    .await
}
