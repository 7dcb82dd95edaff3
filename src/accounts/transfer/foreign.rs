//! Accounts of another program: what its columns mean here. They are judged and put in force like those of a
//! file.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::people::UserImport;
use super::read::Faults;
use super::record::{Incoming, Record};
use super::roles::role_of;
use crate::accounts::draft::Mistake;
use crate::accounts::people::{People, read_id};
use crate::clock::Timestamp;
use crate::config::is_provider_name;
use crate::store::{Foreign, ForeignLink, ForeignUser, Past, RoleRow, StagedLink};

/// What is said of another program's database beside what is in it.
#[derive(Clone, Debug, Default)]
pub struct Meaning {
    /// What its providers are called here, by what it calls them; one that is left out has the same name.
    pub providers: BTreeMap<String, String>,
    /// Names of roles that the configuration takes.
    pub declared: Vec<String>,
    /// The database is to hold these accounts and no others.
    pub replaces: bool,
}

/// Most sign-ins that are believed: a column that could hold no more would let nobody in.
const MOST_COUNTED: i64 = 1 << 53;

/// Fields that are the same there and here.
const SAME: [&str; 7] =
    ["email", "first_name", "last_name", "organization", "department", "phone", "created_at"];
const FLAGS: [&str; 3] = ["is_active", "is_superuser", "is_verified"];

impl People {
    /// Says what bringing another program's accounts along would do, with their roles and their accounts at
    /// providers; changes nothing. Roles that exist here, or that the configuration declares, stay as they are.
    ///
    /// # Errors
    /// [`Mistake`] of the store; within, everything that is wrong, by the row in the order of ids.
    pub async fn examine_foreign(
        &self,
        foreign: Foreign,
        meaning: &Meaning,
    ) -> Result<Result<UserImport, Faults>, Mistake> {
        let mut faults = Faults::default();
        let roles = self.new_roles(&foreign, meaning, &mut faults).await?;
        let mut records: Vec<(u64, Record)> = Vec::new();
        let mut more = HashMap::new();
        let mut taken = HashMap::new();
        for (line, user) in (1..).zip(&foreign.users) {
            match rest_of(user, meaning) {
                Ok((links, past)) => {
                    for link in links.iter().flatten() {
                        let key = (link.provider.clone(), link.subject.clone());
                        if let Some(first) = taken.insert(key, line) {
                            let at = &link.provider;
                            faults.note(line, format!("row {first} has this account at {at}"));
                        }
                    }
                    more.insert(line, (links, past));
                }
                Err(reason) => faults.note(line, named(user, &reason)),
            }
            match record_of(user) {
                Ok(record) => records.push((line, record)),
                Err(reason) => faults.note(line, named(user, &reason)),
            }
        }
        let add = |incoming: &mut Incoming| {
            if let Some((links, past)) = more.remove(&incoming.staged.line) {
                (incoming.staged.links, incoming.staged.past) = (links, past);
            }
        };
        let examined = self.examine_records(records, faults, meaning.replaces, add).await?;
        Ok(examined.map(|mut import| {
            import.new_roles = roles;
            import
        }))
    }

    /// The roles that are not here yet.
    async fn new_roles(
        &self,
        foreign: &Foreign,
        meaning: &Meaning,
        faults: &mut Faults,
    ) -> Result<Vec<RoleRow>, Mistake> {
        let known = self.store().list_roles().await?;
        let known: Vec<&str> = known.iter().map(|role| role.name.as_str()).collect();
        let mut found: Vec<RoleRow> = Vec::new();
        for role in &foreign.roles {
            let is_it = |name: &str| name.eq_ignore_ascii_case(role.name.trim());
            if known.iter().any(|name| is_it(name)) || meaning.declared.iter().any(|n| is_it(n)) {
                continue;
            }
            match role_of(&role.name, role.description.clone(), &role.permissions) {
                Ok(row) if found.iter().any(|other| is_it(&other.name)) => {
                    faults.note(0, format!("the role {} is there twice", row.name));
                }
                Ok(row) => found.push(row),
                Err(reason) => faults.note(0, format!("the role {}: {reason}", role.name)),
            }
        }
        Ok(found)
    }
}

fn named(user: &ForeignUser, reason: &str) -> String {
    match user.columns.get("email") {
        Some(email) => format!("{email}: {reason}"),
        None => reason.to_owned(),
    }
}

/// An account as a line of a file would have it. A number for an id means nothing here.
fn record_of(user: &ForeignUser) -> Result<Record, String> {
    let column = |name: &str| user.columns.get(name).map(String::as_str);
    let mut record = Map::new();
    if let Some(id) = column("id").filter(|id| read_id(id).is_some()) {
        record.insert("id".to_owned(), id.into());
    }
    for name in SAME {
        if let Some(text) = column(name) {
            let text = if name == "created_at" { time_of(text) } else { text.to_owned() };
            record.insert(name.to_owned(), text.into());
        }
    }
    for name in FLAGS {
        let text = column(name).unwrap_or_default().to_ascii_lowercase();
        let flag = matches!(text.as_str(), "1" | "t" | "true");
        if !flag && !matches!(text.as_str(), "0" | "f" | "false") {
            return Err(format!("{name} is neither true nor false"));
        }
        record.insert(name.to_owned(), flag.into());
    }
    let hash = column("hashed_password").filter(|hash| !hash.is_empty());
    record.insert("password_hash".to_owned(), hash.map_or(Value::Null, Value::from));
    let mut roles: Vec<&str> = user.roles.iter().map(|role| role.trim()).collect();
    roles.sort_unstable();
    roles.dedup();
    record.insert("roles".to_owned(), json!(roles));
    serde_json::from_value(Value::Object(record)).map_err(|error| error.to_string())
}

/// What no line of a file has: accounts at providers, and what was counted.
fn rest_of(
    user: &ForeignUser,
    meaning: &Meaning,
) -> Result<(Option<Vec<StagedLink>>, Past), String> {
    let links = user.links.as_ref();
    let links = links.map(|links| links.iter().map(|link| link_of(link, meaning)).collect());
    let count = |name: &str| match user.columns.get(name) {
        None => Ok(0),
        Some(text) => {
            let number =
                text.parse::<i64>().ok().filter(|number| (0..=MOST_COUNTED).contains(number));
            number.ok_or_else(|| format!("{name} is no number of sign-ins"))
        }
    };
    let last = user.columns.get("last_login").map(|text| {
        Timestamp::parse(&time_of(text)).ok_or_else(|| "last_login is no time".to_owned())
    });
    let past = Past {
        last_login_at: last.transpose()?,
        login_count: count("login_count")?,
        failed_login_count: count("failed_login_count")?,
    };
    Ok((links.transpose()?, past))
}

fn link_of(link: &ForeignLink, meaning: &Meaning) -> Result<StagedLink, String> {
    let provider = meaning.providers.get(&link.provider).unwrap_or(&link.provider);
    if !is_provider_name(provider) {
        return Err(format!(
            "{provider:?} cannot be the name of a provider here; say what it is called with \
             --provider"
        ));
    }
    let (provider, subject) = (provider.clone(), link.subject.clone());
    Ok(StagedLink { provider, subject, email: link.email.clone() })
}

/// A time as databases write it, in the spelling of RFC 3339; one without an offset is meant in UTC.
fn time_of(text: &str) -> String {
    let text = text.trim().replacen(' ', "T", 1);
    let (_, clock) = text.split_once('T').unwrap_or((&text, ""));
    let offset = clock.find(['Z', 'z', '+', '-']).map(|at| clock.len() - at);
    match offset {
        None if clock.is_empty() => format!("{text}T00:00:00Z"),
        None => format!("{text}Z"),
        // Hours alone, as PostgreSQL has it.
        Some(3) => format!("{text}:00"),
        Some(_) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_databases_write_it() {
        let noon = Timestamp::parse("2026-01-31T12:00:00Z");
        assert!(noon.is_some());
        for text in [
            "2026-01-31 12:00:00",
            "2026-01-31 12:00:00.000000",
            "2026-01-31T12:00:00Z",
            "2026-01-31 13:00:00+01",
            "2026-01-31 13:00:00.000+01:00",
            " 2026-01-31 07:00:00-05 ",
        ] {
            assert_eq!(Timestamp::parse(&time_of(text)), noon, "{text}");
        }
        assert!(Timestamp::parse(&time_of("2026-01-31")).is_some());
        assert_eq!(Timestamp::parse(&time_of("yesterday")), None);
    }

    #[test]
    fn counts_leave_room_to_count_on() {
        let of = |text: &str| {
            let columns = BTreeMap::from([("login_count", text.to_owned())]);
            let user = ForeignUser { columns, ..ForeignUser::default() };
            rest_of(&user, &Meaning::default()).map(|(_, past)| past.login_count).ok()
        };
        assert_eq!((of("0"), of("9007199254740992")), (Some(0), Some(9_007_199_254_740_992)));
        for bad in ["-1", "9007199254740993", "9223372036854775807", "x", ""] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_provider_has_the_name_it_is_given_here() {
        let link = |provider: &str| ForeignLink {
            provider: provider.to_owned(),
            subject: "7".to_owned(),
            email: None,
        };
        let providers = BTreeMap::from([("openid".to_owned(), "corp".to_owned())]);
        let meaning = Meaning { providers, ..Meaning::default() };
        let name = |provider: &str| link_of(&link(provider), &meaning).map(|link| link.provider);
        assert_eq!(name("google"), Ok("google".to_owned()));
        assert_eq!(name("openid"), Ok("corp".to_owned()));
        for bad in ["Google", "", "a b", "9a", "login", &"a".repeat(33)] {
            assert!(name(bad).is_err_and(|reason| reason.contains("--provider")), "{bad}");
        }
    }
}
