//! What an operator does with accounts, and setting up the first administrator.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::draft::{Actor, Draft, Mistake, unstored};
use crate::clock::{Clock, Entropy, Timestamp};
use crate::config::AccountRules;
use crate::identity::grant::is_role_name;
use crate::identity::hashing::Hasher;
use crate::identity::keys::sha256;
use crate::identity::password;
use crate::identity::user::{InvalidEmail, RoleGrant, User, fold_email, is_username};
use crate::mail::MOST_LETTERS;
use crate::store::{Conflict, NewUser, Store, StoreError, Telling, TokenKind};

/// The accounts as an operator sees them. Cloning shares everything. The command line makes one of
/// its own beside a running gateway.
#[derive(Clone)]
pub struct People {
    store: Store,
    hasher: Hasher,
    rules: Arc<ArcSwap<AccountRules>>,
    clock: Clock,
    entropy: Entropy,
    sends_mail: bool,
}

/// A set-up link's token, in clear for the one who prints it. The store holds its digest alone.
#[derive(Debug)]
pub struct SetUpLink {
    /// The token: unpadded base64url of 32 random bytes.
    pub token: SecretString,
    /// Its end.
    pub expires_at: Timestamp,
}

/// Who chooses a new password. What an operator gives out is not theirs whose data it may be made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chooser {
    /// Whoever will sign in with it.
    Owner,
    /// An operator.
    Operator,
}

/// How long a set-up link is good for.
const SET_UP_LIFE: Duration = Duration::from_hours(1);

impl People {
    /// Puts together what managing accounts needs. `rules` is swapped on reload by its owner.
    #[must_use]
    pub fn new(
        store: Store,
        hasher: Hasher,
        rules: Arc<ArcSwap<AccountRules>>,
        clock: Clock,
        entropy: Entropy,
    ) -> Self {
        Self { store, hasher, rules, clock, entropy, sends_mail: false }
    }

    /// The same where mail is sent, or is not: then nobody is told of what changes about their account.
    #[must_use]
    pub const fn sending_mail(mut self, sends_mail: bool) -> Self {
        self.sends_mail = sends_mail;
        self
    }

    /// How the owner of an account is told of what an actor changes.
    pub(super) fn telling(&self, actor: &Actor) -> Option<Telling> {
        let telling = Telling { language: actor.language, now: self.now(), most: MOST_LETTERS };
        self.sends_mail.then_some(telling)
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    pub(super) const fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    pub(super) const fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn rules(&self) -> arc_swap::Guard<Arc<AccountRules>> {
        self.rules.load()
    }

    pub(super) fn fresh_id(&self) -> Uuid {
        self.entropy.uuid()
    }

    /// Finds an account by what an operator types: an id, an e-mail (any spelling) or a username.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, who: &str) -> Result<Option<User>, StoreError> {
        let who = who.trim();
        if let Some(id) = read_id(who) {
            return self.store.find_user(id).await;
        }
        self.find_by_name(who).await
    }

    /// Finds an account by what its owner types: an e-mail (any spelling) or a username.
    pub(super) async fn find_by_name(&self, who: &str) -> Result<Option<User>, StoreError> {
        let who = who.trim();
        if who.contains('@') {
            return match fold_email(who) {
                Ok(folded) => self.store.find_user_by_email(&folded).await,
                Err(InvalidEmail) => Ok(None),
            };
        }
        if is_username(who) { self.store.find_user_by_username(who).await } else { Ok(None) }
    }

    /// Makes an account. Password policy is checked before existence.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::Email`] and [`Conflict::Username`] when taken.
    pub async fn create(&self, draft: Draft, actor: &Actor) -> Result<User, Mistake> {
        let (id, row) = self.prepare(draft, Chooser::Operator, actor).await?;
        let mut event = actor.event(self.clock.now(), "user-created", Some(id));
        event.detail = row.roles.join(", ");
        Ok(self.store.insert_user(id, &row, &event).await?)
    }

    /// Checks a draft and hashes its password.
    pub(super) async fn prepare(
        &self,
        draft: Draft,
        chooser: Chooser,
        actor: &Actor,
    ) -> Result<(Uuid, NewUser), Mistake> {
        let id = self.entropy.uuid();
        let mut row = draft.row()?;
        if let Some(password) = draft.password {
            let judged = unstored(id, &row, self.clock.now());
            row.password_hash = Some(self.hash_new(password, &judged, chooser, actor).await?);
        }
        Ok((id, row))
    }

    /// Checks a new password of `user` and hashes it.
    pub(super) async fn hash_new(
        &self,
        password: SecretString,
        user: &User,
        chooser: Chooser,
        actor: &Actor,
    ) -> Result<String, Mistake> {
        let mut policy = self.rules.load().password;
        policy.deny_profile &= chooser == Chooser::Owner;
        password::check(password.expose_secret(), user, &policy).map_err(Mistake::Password)?;
        Ok(self.hasher.hash(password, actor.address).await?)
    }

    /// Grants a role, or sets the new end (or none) of one held.
    ///
    /// # Errors
    /// [`Mistake`]; [`Mistake::Role`] for a name of the wrong shape.
    pub async fn grant(&self, id: Uuid, grant: &RoleGrant, actor: &Actor) -> Result<(), Mistake> {
        if !is_role_name(&grant.role) {
            return Err(Mistake::Role(grant.role.clone()));
        }
        let mut event = actor.event(self.clock.now(), "grant", Some(id));
        event.detail = match grant.until {
            Some(until) => format!("{} until {until}", grant.role),
            None => grant.role.clone(),
        };
        Ok(self.store.insert_grant(id, grant, &event).await?)
    }

    /// Takes a role away; says whether it was held.
    ///
    /// # Errors
    /// [`Mistake`].
    pub async fn revoke(&self, id: Uuid, role: &str, actor: &Actor) -> Result<bool, Mistake> {
        let mut event = actor.event(self.clock.now(), "revoke", Some(id));
        role.clone_into(&mut event.detail);
        Ok(self.store.delete_grant(id, role, &event).await?)
    }

    /// Makes a set-up link, valid one hour, unless there is an active superuser (`None`).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn issue_set_up_link(&self) -> Result<Option<SetUpLink>, StoreError> {
        if self.store.has_superuser().await? {
            return Ok(None);
        }
        let token = URL_SAFE_NO_PAD.encode(self.entropy.bytes::<32>());
        let expires_at = self.clock.now().after(SET_UP_LIFE);
        let digest = sha256(token.as_bytes());
        self.store.insert_token(TokenKind::SetUp, None, &digest, expires_at).await?;
        Ok(Some(SetUpLink { token: token.into(), expires_at }))
    }

    /// Whether a set-up token is live; spends nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_set_up_token(&self, token: &str) -> Result<bool, StoreError> {
        let digest = sha256(token.as_bytes());
        if self.store.has_superuser().await? {
            return Ok(false);
        }
        self.store.has_token(TokenKind::SetUp, &digest, self.clock.now()).await
    }

    /// Makes the first administrator and spends the token, in one transaction. The token is looked
    /// at before the password is hashed, so that made-up links cost nothing.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::Token`] for a token that is spent, past its end or unknown.
    pub async fn set_up(&self, token: &str, draft: Draft, actor: &Actor) -> Result<User, Mistake> {
        if !self.is_set_up_token(token).await? {
            return Err(Mistake::Conflict(Conflict::Token));
        }
        let (id, row) = self.prepare(draft, Chooser::Owner, actor).await?;
        let mut event = actor.event(self.clock.now(), "set-up", Some(id));
        event.actor.clone_from(&row.email);
        let digest = sha256(token.as_bytes());
        Ok(self.store.insert_first_administrator(id, &row, &digest, &event).await?)
    }

    /// Measures what every kind of hash present costs and sets the floor of failed attempts. With
    /// `afresh` those measured before as well (another machine may have done it).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn measure_kinds(&self, afresh: bool) -> Result<(), StoreError> {
        let kinds = self.store.list_password_kinds().await?;
        if afresh {
            // Measuring takes seconds, in which attempts are not to tell one kind from another.
            let known = kinds.iter().filter_map(|(kind, cost)| Some((kind.clone(), (*cost)?)));
            self.hasher.set_costs(&known.collect::<Vec<_>>());
        }
        let mut costs = Vec::new();
        for (kind, known) in kinds {
            let cost = if let Some(cost) = known.filter(|_| !afresh) {
                cost
            } else {
                let cost = self.hasher.measure(&kind).await;
                self.store.update_password_kind(&kind, cost).await?;
                cost
            };
            costs.push((kind, cost));
        }
        self.hasher.set_costs(&costs);
        Ok(())
    }

    /// Measures kinds that have just appeared; a failure is logged, since nobody waits for it.
    pub(super) async fn measure_new_kinds(&self) {
        if let Err(error) = self.measure_kinds(false).await {
            tracing::warn!(%error, "the cost of a kind of password hash could not be stored");
        }
    }
}

/// Reads a UUID with or without dashes, in either case, and nothing else that the library would take
/// (braces, `urn:uuid:`).
#[must_use]
pub fn read_id(text: &str) -> Option<Uuid> {
    let has_shape = matches!(text.len(), 32 | 36);
    has_shape.then(|| Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::config::{Database, DatabaseUrl, PasswordPolicy, Registration};
    use crate::identity::hashing::Kind;
    use crate::store::Migrate;

    #[tokio::test]
    async fn what_was_measured_before_counts_until_it_is_measured_again() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database {
            url: DatabaseUrl::Sqlite(directory.path().join("portcullis.db")),
            max_connections: 1,
            acquire_timeout: Duration::from_secs(5),
        };
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let store = Store::open(&database, Migrate::Fully, clock.clone()).await.unwrap();
        let hasher = Hasher::new(1, 1, clock.clone(), entropy.clone());
        let password = PasswordPolicy {
            min_length: 1,
            max_length: 256,
            min_strength: 0,
            deny_common: false,
            deny_profile: false,
        };
        let rules = AccountRules {
            invitation_lifetime: Duration::from_hours(168),
            registration: Registration::Closed,
            require_verified: false,
            email_domains: Vec::new(),
            default_roles: Vec::new(),
            confirm_changes: false,
            password,
        };
        let rules = Arc::new(ArcSwap::from_pointee(rules));
        let people = People::new(store.clone(), hasher.clone(), rules, clock, entropy);
        let draft = Draft {
            email: "ann@example.com".to_owned(),
            password: Some("seven lanterns on the quay".into()),
            ..Draft::default()
        };
        people.create(draft, &Actor::cli()).await.unwrap();
        let dear = Duration::from_hours(1);
        store.update_password_kind(&Kind::current(), dear).await.unwrap();
        let mut measuring = std::pin::pin!(people.measure_kinds(true));
        let mut floors = vec![hasher.floor()];
        loop {
            tokio::select! {
                biased;
                measured = &mut measuring => break measured.unwrap(),
                () = tokio::task::yield_now() => floors.push(hasher.floor()),
            }
        }
        floors.dedup();
        assert_eq!(floors[0], Duration::ZERO);
        assert!(floors[1..].iter().all(|floor| *floor >= dear) && floors.len() > 1, "{floors:?}");
        assert!(hasher.floor() < dear && !hasher.floor().is_zero());
    }
}
