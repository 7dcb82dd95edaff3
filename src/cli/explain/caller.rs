//! The caller that `explain` is asked about: nobody, an account, or somebody supposed.

use uuid::Uuid;

use super::ExplainArgs;
use crate::cli::desk::{self, Desk};
use crate::cli::failure::Failure;
use crate::cli::user;
use crate::identity::access::{Access, Subject};
use crate::identity::grant::{Grant, is_role_name};
use crate::identity::user::RoleGrant;
use crate::server::examine::Examined;
use crate::store::RoleRow;

/// A role that no file and no database can define, which holds the permissions supposed.
const SUPPOSED: &str = "(supposed)";

/// Who asks.
#[derive(Debug)]
pub(super) struct Supposed {
    /// For people.
    pub(super) label: String,
    /// For policy; `None` for an anonymous caller.
    pub(super) subject: Option<Subject>,
    /// What else is worth knowing.
    pub(super) notes: Vec<String>,
    /// The account, if it is one.
    pub(super) account: Option<String>,
}

impl Supposed {
    fn anonymous(notes: Vec<String>) -> Self {
        Self { label: "anonymous".to_owned(), subject: None, notes, account: None }
    }

    /// Finds or makes up the caller.
    ///
    /// # Errors
    /// [`Failure`]: no such account, or the store.
    pub(super) async fn find(
        args: &ExplainArgs,
        examined: &Examined,
        desk: &Desk,
    ) -> Result<Self, Failure> {
        match args.who.as_deref() {
            Some("anonymous") => Ok(Self::anonymous(Vec::new())),
            Some(who) => Self::of_account(who, examined, desk).await,
            None => Self::made_up(args, examined, desk),
        }
    }

    async fn of_account(who: &str, examined: &Examined, desk: &Desk) -> Result<Self, Failure> {
        let Some(store) = desk.open_to_read(&examined.config).await? else {
            return Err(Failure::Failed(format!("there is no account {who}")));
        };
        let user = user::find(&desk.people(&examined.config, &store), who).await?;
        if !user.is_active {
            let note = format!("{} is deactivated, so no session of it is valid", user.email);
            return Ok(Self::anonymous(vec![note]));
        }
        let rows = desk::database_roles(Some(&store)).await?;
        let book = desk::book_of(examined, &rows);
        let grants = store.list_grants(user.id).await?;
        let now = desk.clock.now();
        let access = book.access(&grants, now);
        let mut notes = Vec::new();
        for grant in &grants {
            if grant.until.is_some_and(|until| until <= now) {
                notes.push(format!("the grant of {} has ended", grant.role));
            } else if !book.defines(&grant.role) {
                notes.push(format!("holds {}, which nothing defines", grant.role));
            } else if let Some(until) = grant.until {
                notes.push(format!("holds {} until {until}", grant.role));
            }
        }
        let label = format!("{} ({})", user.email, roles(&access));
        let account = Some(user.email.clone());
        Ok(Self { label, subject: Some(Subject::of(&user, access.into())), notes, account })
    }

    fn made_up(args: &ExplainArgs, examined: &Examined, desk: &Desk) -> Result<Self, Failure> {
        let supposes_nothing = args.roles.is_empty() && args.permissions.is_empty();
        if supposes_nothing && !args.verified && !args.superuser {
            return Ok(Self::anonymous(Vec::new()));
        }
        let (mut rows, mut notes) = (Vec::new(), Vec::new());
        for role in &args.roles {
            if !is_role_name(role) {
                return Err(Failure::Usage(format!("--role {role}: not the name of a role")));
            }
            if !examined.config.roles.contains_key(role) {
                notes.push(format!("the file does not declare {role}: taken without permissions"));
                rows.push(row(role, Vec::new()));
            }
        }
        let parse = |text: &String| {
            Grant::parse(text)
                .map_err(|error| Failure::Usage(format!("--permission {text}: {error}")))
        };
        let grants = args.permissions.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        rows.push(row(SUPPOSED, grants));
        let book = desk::book_of(examined, &rows);
        let held = args.roles.iter().map(String::as_str).chain([SUPPOSED]);
        let held: Vec<RoleGrant> =
            held.map(|role| RoleGrant { role: role.to_owned(), until: None }).collect();
        let mut access = book.access(&held, desk.clock.now());
        access.role_names.retain(|name| name != SUPPOSED);
        let mut label = vec![roles(&access)];
        label.extend(args.permissions.iter().map(|permission| format!("permission {permission}")));
        label.extend(args.verified.then(|| "verified".to_owned()));
        label.extend(args.superuser.then(|| "superuser".to_owned()));
        let subject = Subject {
            id: Uuid::nil(),
            email_folded: "".into(),
            is_verified: args.verified,
            has_username: true,
            is_superuser: args.superuser,
            access: access.into(),
        };
        let label = format!("somebody signed in ({})", label.join(", "));
        Ok(Self { label, subject: Some(subject), notes, account: None })
    }
}

fn row(name: &str, grants: Vec<Grant>) -> RoleRow {
    RoleRow { name: name.to_owned(), description: String::new(), grants }
}

fn roles(access: &Access) -> String {
    match access.role_names.as_slice() {
        [] => "no roles".to_owned(),
        [one] => format!("role {one}"),
        several => format!("roles {}", several.join(", ")),
    }
}
