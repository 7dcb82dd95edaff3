//! What people see of their own account and end: where they are signed in, and all that is kept of them.

use serde::Serialize;
use uuid::Uuid;

use super::invitations::without_inviter;
use super::{Accounts, Actor};
use crate::clock::Timestamp;
use crate::identity::user::{Method, Profile, RoleGrant, User, fold_email};
use crate::session::Identity;
use crate::store::{Conflict, EndSessions, Event, LinkRow, SessionKind, SessionRow, StoreError};

/// Sessions shown at most, newest first.
const MOST_SESSIONS: u32 = 200;
/// Events told at most, newest first.
const MOST_EVENTS: u32 = 10_000;

/// Who did what the owner, by the present e-mail, did not. Events know people by name alone.
const SOMEBODY_ELSE: &str = "an operator, or you by a former e-mail";

/// All that is kept of somebody, for them to take along. It holds no secret: no hash, no token, and of a
/// session nothing that it could be known by.
#[derive(Debug, Serialize)]
pub struct Dossier {
    account: OwnAccount,
    roles: Vec<OwnRole>,
    sessions: Vec<OwnSession>,
    linked_providers: Vec<OwnLink>,
    events: Vec<OwnEvent>,
}

#[derive(Debug, Serialize)]
struct OwnAccount {
    id: Uuid,
    email: String,
    username: Option<String>,
    #[serde(flatten)]
    profile: OwnProfile,
    is_active: bool,
    is_superuser: bool,
    is_verified: bool,
    created_at: String,
    last_login_at: Option<String>,
    last_address: Option<String>,
    login_count: i64,
    failed_login_count: i64,
}

#[derive(Debug, Serialize)]
struct OwnProfile {
    first_name: Option<String>,
    last_name: Option<String>,
    organization: Option<String>,
    department: Option<String>,
    phone: Option<String>,
}

#[derive(Debug, Serialize)]
struct OwnRole {
    role: String,
    /// The provider that gives it, where no operator granted it.
    provider: Option<String>,
    until: Option<String>,
}

#[derive(Debug, Serialize)]
struct OwnSession {
    method: &'static str,
    kind: &'static str,
    signed_in_at: String,
    last_seen: String,
    expires_at: String,
    address: Option<String>,
    agent: String,
}

#[derive(Debug, Serialize)]
struct OwnLink {
    provider: String,
    subject: String,
    email: Option<String>,
    linked_at: String,
    last_sign_in: Option<String>,
}

#[derive(Debug, Serialize)]
struct OwnEvent {
    at: String,
    kind: String,
    actor: String,
    address: Option<String>,
    agent: String,
    detail: String,
}

impl Accounts {
    /// Where somebody is signed in, newest first; at most 200.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when the session that asks has ended.
    pub async fn own_sessions(&self, identity: &Identity) -> Result<Vec<SessionRow>, StoreError> {
        let (id, store) = (identity.user().id, self.people.store());
        let listed = store.list_sessions(Some(id), self.people.now(), MOST_SESSIONS).await?;
        if store.find_session(&identity.session().id).await?.is_none() {
            return Err(StoreError::Conflict(Conflict::Gone));
        }
        Ok(listed.into_iter().map(|(session, _)| session).collect())
    }

    /// Ends one of somebody's own sessions; `false` for one that is nobody's, or somebody else's.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when the session that asks has ended.
    pub async fn sign_out_device(
        &self,
        identity: &Identity,
        id: [u8; 32],
        from: &Actor,
    ) -> Result<bool, StoreError> {
        let owner = identity.user().id;
        let found = self.people.store().find_session(&id).await?;
        if found.is_none_or(|found| found.session.user != owner) {
            return Ok(false);
        }
        let event = self.ending(identity, from, "sign-out");
        Ok(self.sessions.end_own(EndSessions::One(id), identity, &event).await? > 0)
    }

    /// Ends every session of the person but this one; says how many.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when this one has ended.
    pub async fn sign_out_elsewhere(
        &self,
        identity: &Identity,
        from: &Actor,
    ) -> Result<u64, StoreError> {
        let event = self.ending(identity, from, "sign-out-everywhere");
        let others = EndSessions::OfUserBut(identity.user().id, identity.session().id);
        self.sessions.end_own(others, identity, &event).await
    }

    /// All that is kept of somebody; `None` if the account is gone.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict::Gone`] when the session that asks has ended.
    pub async fn dossier(&self, identity: &Identity) -> Result<Option<Dossier>, StoreError> {
        let id = identity.user().id;
        let store = self.people.store();
        let Some(user) = store.find_user(id).await? else { return Ok(None) };
        let events = store.list_events(Some(id), MOST_EVENTS).await?;
        let granted = store.list_grants(id).await?.into_iter().map(OwnRole::of);
        let vouched = store.list_provider_roles(id).await?.into_iter().map(OwnRole::by_provider);
        let events = own_events(events, &user);
        Ok(Some(Dossier {
            account: OwnAccount::of(user),
            roles: granted.chain(vouched).collect(),
            sessions: self.own_sessions(identity).await?.into_iter().map(OwnSession::of).collect(),
            linked_providers: store.list_links(id).await?.into_iter().map(OwnLink::of).collect(),
            events,
        }))
    }
}

impl OwnAccount {
    fn of(user: User) -> Self {
        let Profile { first_name, last_name, organization, department, phone } = user.profile;
        Self {
            id: user.id,
            email: user.email,
            username: user.username,
            profile: OwnProfile { first_name, last_name, organization, department, phone },
            is_active: user.is_active,
            is_superuser: user.is_superuser,
            is_verified: user.is_verified,
            created_at: user.created_at.to_string(),
            last_login_at: user.last_login_at.map(shown),
            last_address: user.last_address.map(|address| address.to_string()),
            login_count: user.login_count,
            failed_login_count: user.failed_login_count,
        }
    }
}

impl OwnRole {
    fn of(grant: RoleGrant) -> Self {
        Self { role: grant.role, provider: None, until: grant.until.map(shown) }
    }

    fn by_provider((role, provider): (String, String)) -> Self {
        Self { role, provider: Some(provider), until: None }
    }
}

impl OwnSession {
    fn of(row: SessionRow) -> Self {
        Self {
            method: Method::as_str(row.method),
            kind: match row.kind {
                SessionKind::Cookie => "cookie",
                SessionKind::Bearer => "bearer",
            },
            signed_in_at: row.created_at.to_string(),
            last_seen: row.last_seen.to_string(),
            expires_at: row.expires_at.to_string(),
            address: row.address.map(|address| address.to_string()),
            agent: row.agent,
        }
    }
}

impl OwnLink {
    fn of(row: LinkRow) -> Self {
        Self {
            provider: row.key.provider,
            subject: row.key.subject,
            email: row.email,
            linked_at: row.linked_at.to_string(),
            last_sign_in: row.last_sign_in.map(shown),
        }
    }
}

/// Events, newest first, as the owner may see them. Before the account had its e-mail whoever acted under that
/// one was somebody else.
fn own_events(events: Vec<Event>, owner: &User) -> Vec<OwnEvent> {
    let mut has_moved = false;
    let shown = events.into_iter().map(|event| {
        let is_named = fold_email(&event.actor).is_ok_and(|actor| *actor == *owner.email_folded);
        let is_own = event.actor.is_empty() || (is_named && !has_moved);
        has_moved |= event.kind == "update" && event.detail.split(", ").any(|part| part == "email");
        OwnEvent::of(event, is_own)
    });
    shown.collect()
}

impl OwnEvent {
    /// Who else did something, from where and with which browser is not the owner's to know.
    fn of(event: Event, is_own: bool) -> Self {
        let told = Self {
            at: event.at.to_string(),
            kind: event.kind,
            actor: event.actor,
            address: event.address.map(|address| address.to_string()),
            agent: event.agent,
            detail: without_inviter(&event.detail),
        };
        if is_own {
            return told;
        }
        Self { actor: SOMEBODY_ELSE.to_owned(), address: None, agent: String::new(), ..told }
    }
}

fn shown(at: Timestamp) -> String {
    at.to_string()
}
