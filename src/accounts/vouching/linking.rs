//! Which account somebody whom a provider vouches for has; making one, linking one, unlinking.

use std::sync::Arc;

use uuid::Uuid;

use super::VouchError;
use super::arrival::key_of;
use super::error::Exclusion;
use crate::accounts::visit::Visit;
use crate::accounts::{Accounts, Actor, Confirmed, Mistake, People};
use crate::config::{self, LinkByEmail, ProviderKind};
use crate::identity::provider::Vouched;
use crate::identity::user::{User, fold_email, normalise_email};
use crate::session::Identity;
use crate::store::{Changed, Conflict, LinkKey, NewLink, NewUser, StoreError, Unlinking};

/// A link as its owner sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownLink {
    /// The account at the provider.
    pub key: LinkKey,
    /// The provider as people call it; its name where it is configured no more.
    pub label: String,
    /// What the provider said the e-mail was.
    pub email: Option<String>,
    /// When it was linked.
    pub linked_at: crate::clock::Timestamp,
}

impl Accounts {
    /// The account of somebody a provider vouches for: the one that is linked; else the one that has the
    /// e-mail, where the provider has verified it (one that nobody verified here is emptied first); else a new
    /// one.
    pub(super) async fn account_of(
        &self,
        visit: &Visit,
        settings: &config::Provider,
        vouched: &Vouched,
    ) -> Result<User, VouchError> {
        // Somebody who comes twice at once is made, or linked, by one of the two; the other finds it done.
        for _ in 0..2 {
            if let Some(user) = self.linked_account(settings, vouched).await? {
                return Ok(user);
            }
            match self.adopt(visit, settings, vouched).await {
                Err(
                    VouchError::Taken
                    | VouchError::Store(StoreError::Conflict(
                        Conflict::Linked | Conflict::Email | Conflict::Gone,
                    )),
                ) => {}
                settled => return settled,
            }
        }
        Err(VouchError::Taken)
    }

    /// The linked account, if there is one and may be used.
    async fn linked_account(
        &self,
        settings: &config::Provider,
        vouched: &Vouched,
    ) -> Result<Option<User>, VouchError> {
        let key = key_of(settings, vouched);
        let Some((link, user)) = self.people.store().find_link(&key).await? else {
            return Ok(None);
        };
        if link.issuer.is_some_and(|issuer| issuer != vouched.issuer) {
            tracing::warn!(
                provider = settings.name,
                "a link was made with another provider of this name: unlink it, or name this one otherwise"
            );
            return Err(excluded(Exclusion::OtherIssuer, Some(user.id)));
        }
        check_who(vouched, Some(user.id))?;
        if !user.is_active {
            return Err(excluded(Exclusion::Inactive, Some(user.id)));
        }
        Ok(Some(user))
    }

    /// Links the account of the e-mail, or makes one. Conflicts of the store come as they are: somebody
    /// else was faster.
    async fn adopt(
        &self,
        visit: &Visit,
        settings: &config::Provider,
        vouched: &Vouched,
    ) -> Result<User, VouchError> {
        let email = vouched.email.as_deref().ok_or(VouchError::NoEmail)?;
        let folded = fold_email(email).map_err(|_| VouchError::NoEmail)?;
        check_who(vouched, None)?;
        let store = self.people.store();
        let Some(user) = store.find_user_by_email(&folded).await? else {
            return self.register_vouched(visit, settings, vouched, email).await;
        };
        if !links_by_email(settings) || !vouched.email_is_verified {
            return Err(VouchError::Taken);
        }
        if !user.is_active {
            return Err(excluded(Exclusion::Inactive, Some(user.id)));
        }
        let mut event = visit.actor().event(self.people.now(), "link", Some(user.id));
        event.actor.clone_from(&user.email);
        event.detail = format!("{} by e-mail", settings.name);
        if !user.is_verified {
            event.detail.push_str(", of an account nobody had verified: what it had is gone");
        }
        let link = self.new_link(settings, vouched);
        store.insert_link_by_email(&user, &link, &event).await.map_err(VouchError::Store)?;
        self.sessions.apply(&Changed::User(user.id));
        let linked = store.find_user(user.id).await?;
        linked.ok_or_else(|| excluded(Exclusion::Gone, Some(user.id)))
    }

    async fn register_vouched(
        &self,
        visit: &Visit,
        settings: &config::Provider,
        vouched: &Vouched,
        email: &str,
    ) -> Result<User, VouchError> {
        let normal = normalise_email(email).map_err(|_| VouchError::NoEmail)?;
        let folded = fold_email(email).map_err(|_| VouchError::NoEmail)?;
        let rules = Arc::clone(&self.people.rules());
        if !settings.register {
            return Err(excluded(Exclusion::NoAccount, None));
        }
        if !rules.admits_email(&folded) {
            return Err(excluded(Exclusion::Domain, None));
        }
        let from = visit.actor();
        let id = self.people.fresh_id();
        let mut event = from.event(self.people.now(), "register", Some(id));
        event.actor.clone_from(&normal);
        event.detail.clone_from(&settings.name);
        let user = NewUser {
            email: normal,
            email_folded: folded,
            profile: vouched.profile.clone(),
            is_active: true,
            is_verified: vouched.email_is_verified,
            roles: rules.default_roles.clone(),
            ..NewUser::default()
        };
        let link = self.new_link(settings, vouched);
        let made = self.people.store().insert_linked_user(id, &user, &link, &event).await;
        let made = made.map_err(VouchError::Store)?;
        self.send_verification(&made, &from).await;
        Ok(made)
    }

    /// Links an account at a provider to that of whoever is signed in.
    pub(super) async fn link(
        &self,
        visit: &Visit,
        settings: &config::Provider,
        vouched: &Vouched,
        identity: &Identity,
    ) -> Result<User, VouchError> {
        let owner = identity.user().id;
        check_who(vouched, Some(owner))?;
        let store = self.people.store();
        let mut event = visit.actor().event(self.people.now(), "link", Some(owner));
        event.actor = identity.user().email.to_string();
        event.detail.clone_from(&settings.name);
        let link = self.new_link(settings, vouched);
        match store.insert_link(owner, identity.session().id, &link, &event).await {
            Err(StoreError::Conflict(Conflict::Gone)) => return Err(VouchError::Anonymous),
            Err(StoreError::Conflict(Conflict::Linked)) => {
                let linked = store.find_link(&link.key).await?;
                let is_own = linked.is_some_and(|(link, _)| {
                    link.user == owner && link.issuer.is_none_or(|issuer| issuer == vouched.issuer)
                });
                if !is_own {
                    return Err(VouchError::LinkedElsewhere);
                }
            }
            made => made?,
        }
        store.find_user(owner).await?.ok_or(VouchError::Anonymous)
    }

    fn new_link(&self, settings: &config::Provider, vouched: &Vouched) -> NewLink {
        NewLink {
            key: key_of(settings, vouched),
            issuer: Some(vouched.issuer.clone()),
            email: vouched.email.clone(),
            linked_at: self.people.now(),
        }
    }

    /// The links of an account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn links_of(&self, user: Uuid) -> Result<Vec<ShownLink>, StoreError> {
        let links = self.people.store().list_links(user).await?;
        let shown = links.into_iter().map(|link| ShownLink {
            label: match self.vouching.get(&link.key.provider) {
                Some(provider) => provider.settings().label.clone(),
                None => link.key.provider.clone(),
            },
            key: link.key,
            email: link.email,
            linked_at: link.linked_at,
        });
        Ok(shown.collect())
    }

    /// Unlinks an account at a provider, or all of them (`None`), with the roles they gave and the other
    /// sessions that came from them; the last way in stays. Says whether there was one.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::LastWayIn`]; [`Conflict::Gone`] when the session has ended.
    pub async fn unlink(
        &self,
        (identity, confirmed): (&Identity, Confirmed),
        (provider, subject): (&str, Option<&str>),
        from: &Actor,
    ) -> Result<bool, Mistake> {
        let user = confirmed.user();
        let providers = self.vouching.list();
        let ways_in: Vec<_> = providers.iter().map(|one| one.settings().name.clone()).collect();
        let (spared, ways_in) = (Some(identity.session().id), Some(&*ways_in));
        let unlinking = Unlinking { user, provider, subject, spared, ways_in };
        let actor = Actor { name: identity.user().email.to_string(), ..from.clone() };
        let was_linked = self.people.unlink(&unlinking, &actor).await?;
        self.sessions.apply(&Changed::User(user));
        Ok(was_linked)
    }
}

impl People {
    /// Takes links away, with the roles they gave and the sessions that came from them. Says whether there was
    /// one.
    ///
    /// # Errors
    /// [`Mistake`]; [`Conflict::LastWayIn`].
    pub async fn unlink(&self, unlinking: &Unlinking<'_>, actor: &Actor) -> Result<bool, Mistake> {
        let mut event = actor.event(self.now(), "unlink", Some(unlinking.user));
        unlinking.provider.clone_into(&mut event.detail);
        Ok(self.store().delete_links(unlinking, &event).await?)
    }
}

const fn excluded(why: Exclusion, account: Option<Uuid>) -> VouchError {
    VouchError::NotAdmitted { why, account }
}

/// Whether somebody is among the provider's `who`; `account` is theirs, if they have one.
const fn check_who(vouched: &Vouched, account: Option<Uuid>) -> Result<(), VouchError> {
    match (vouched.is_admitted, vouched.email_is_verified) {
        (true, _) => Ok(()),
        (false, true) => Err(excluded(Exclusion::Who, account)),
        (false, false) => Err(excluded(Exclusion::WhoUnverified, account)),
    }
}

/// Whoever may link an account: somebody signed in.
pub(super) fn who_links(visit: &Visit) -> Result<&Arc<Identity>, VouchError> {
    match visit.caller.as_ref().ok().and_then(|caller| caller.identity()) {
        Some(identity) if !visit.has_two_authorizations => Ok(identity),
        Some(_) | None => Err(VouchError::Anonymous),
    }
}

/// Whether an account of the same e-mail may be linked. Microsoft's e-mails are what a tenant's
/// administrator writes, so never by them.
fn links_by_email(settings: &config::Provider) -> bool {
    let is_meant = match settings.link_by_email {
        LinkByEmail::Verified => true,
        LinkByEmail::Never => false,
    };
    is_meant && !matches!(settings.kind, ProviderKind::Microsoft { .. })
}
