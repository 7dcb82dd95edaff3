//! Accounts at providers, and the sessions and roles that come from them.

use std::time::Duration;

use portcullis::identity::user::{Method, RoleGrant, User};
use portcullis::store::{
    Author, Changed, Conflict, EndSessions, Event, LinkKey, LinkRow, NewLink, NewUser, Notice,
    SessionOrigin, SessionRow, Sighting, StoreError, Unlinking,
};

use super::{
    Bed, OPERATOR, digest, event, forever, hash, id, new_user, password, session, sign_in,
};

contract! {
    an_account_at_a_provider_belongs_to_one_account
    somebody_new_comes_with_their_link_or_not_at_all
    an_account_nobody_verified_is_handed_over_bare
    a_letter_to_a_new_password_takes_what_is_linked_at_providers
    an_operators_new_password_takes_what_is_linked_at_providers
    a_verified_e_mail_unlinks_what_its_owner_is_not_known_to_have_linked
    an_account_that_changed_meanwhile_is_not_linked_by_its_email
    roles_of_providers_count_beside_those_of_operators_and_are_replaced_alone
    a_link_goes_with_its_roles_and_other_sessions_and_the_last_way_in_stays
    a_session_that_has_ended_neither_links_nor_unlinks_nor_deletes
    of_two_links_taken_away_at_once_one_stays
    all_links_to_a_provider_go_together_or_none_does
    nobody_signs_in_by_a_link_that_is_gone
    sessions_of_a_provider_end_by_person_and_by_its_session
    a_check_is_taken_once_and_only_for_living_sessions
    roles_of_a_provider_are_checked_in_sessions_of_any_kind
    links_to_one_provider_are_due_for_themselves
    a_provider_that_is_gone_is_due_wherever_it_gave_anything
    each_role_a_provider_gives_or_takes_is_recorded
    what_may_come_once_comes_once
}

fn key(subject: &str) -> LinkKey {
    LinkKey { provider: "corp".to_owned(), subject: subject.to_owned() }
}

fn unlinking<'a>(user: &User, subject: &'a str) -> Unlinking<'a> {
    static PROVIDERS: std::sync::LazyLock<[String; 1]> =
        std::sync::LazyLock::new(|| ["corp".to_owned()]);
    Unlinking {
        user: user.id,
        provider: "corp",
        subject: Some(subject),
        spared: None,
        ways_in: Some(&*PROVIDERS),
    }
}

fn seen(subject: &str, roles: &[&str]) -> Sighting {
    Sighting {
        key: key(subject),
        issuer: "https://corp.example".to_owned(),
        email: None,
        tokens: Some(b"sealed".to_vec()),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        next_check: None,
        replaces: None,
        event: event("grant"),
    }
}

impl Bed {
    fn link_to(&self, subject: &str) -> NewLink {
        let email = Some(format!("{subject}@corp.example"));
        NewLink { key: key(subject), issuer: None, email, linked_at: self.clock.now() }
    }

    async fn try_link(&self, user: &User, link: &NewLink) -> Result<(), StoreError> {
        let session = self.sign_in(user).await.id;
        let linked = self.store.insert_link(user.id, session, link, &event("link")).await;
        let over = EndSessions::One(session);
        self.store.delete_sessions(over, &event("sign-out")).await.unwrap();
        linked
    }

    async fn link(&self, user: &User, subject: &str) {
        self.try_link(user, &self.link_to(subject)).await.unwrap();
    }

    async fn sign_in_by(&self, user: &User, subject: &str, sid: &str) -> SessionRow {
        let session = self.session_by(user, subject, sid);
        self.store.insert_session(&sign_in(&session)).await.unwrap();
        session
    }

    fn session_by(&self, user: &User, subject: &str, sid: &str) -> SessionRow {
        let origin = SessionOrigin { link: key(subject), session: Some(sid.to_owned()) };
        SessionRow {
            method: Method::Provider,
            origin: Some(origin),
            ..session(user, self.clock.now())
        }
    }

    async fn lives(&self, session: &SessionRow) -> bool {
        self.store.find_session(&session.id).await.unwrap().is_some()
    }

    async fn links_of(&self, user: &User) -> Vec<LinkRow> {
        self.store.list_links(user.id).await.unwrap()
    }

    /// The providers that events say an account was unlinked from.
    async fn unlinked(&self, user: &User) -> Vec<String> {
        let events = self.store.list_events(Some(user.id), 50).await.unwrap().into_iter();
        events.filter(|event| event.kind == "unlink").map(|event| event.detail).collect()
    }

    async fn changed(&self) -> Vec<Changed> {
        let read = self.store.list_changes().await.unwrap();
        read.rows.into_iter().map(|row| row.subject).collect()
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>) -> Conflict {
    match result {
        Err(StoreError::Conflict(conflict)) => conflict,
        other => panic!("{other:?}"),
    }
}

async fn an_account_at_a_provider_belongs_to_one_account(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    bed.link(&ann, "1").await;
    let again = bed.try_link(&bob, &bed.link_to("1")).await;
    assert_eq!(refused(again), Conflict::Linked);
    bed.link(&ann, "2").await;
    let other = NewLink {
        key: LinkKey { provider: "other".to_owned(), subject: "1".to_owned() },
        ..bed.link_to("1")
    };
    bed.try_link(&bob, &other).await.unwrap();
    let (link, user) = bed.store.find_link(&key("1")).await.unwrap().unwrap();
    assert_eq!((link.user, user.id), (ann.id, ann.id));
    assert_eq!(link.email.as_deref(), Some("1@corp.example"));
    assert!(bed.store.find_link(&key("3")).await.unwrap().is_none());
    assert!(bed.store.find_link(&key("1\0")).await.unwrap().is_none());
    let subjects: Vec<_> = bed.links_of(&ann).await.iter().map(|l| l.key.subject.clone()).collect();
    assert_eq!(subjects, ["1", "2"]);
    let nobody = bed.store.insert_link(id(), [0; 32], &bed.link_to("9"), &event("link")).await;
    assert_eq!(refused(nobody), Conflict::Gone);
    bed.store.delete_user(ann.id, OPERATOR, &event("user-deleted")).await.unwrap();
    assert!(bed.store.find_link(&key("1")).await.unwrap().is_none());
    let events = bed.store.list_events(None, 50).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "link").count(), 3);
}

async fn somebody_new_comes_with_their_link_or_not_at_all(bed: Bed) {
    let new = NewUser { is_active: true, is_verified: true, ..new_user("ann") };
    let insert = async |new: &NewUser, subject: &str| {
        bed.store.insert_linked_user(id(), new, &bed.link_to(subject), &event("register")).await
    };
    let ann = insert(&new, "1").await.unwrap();
    assert!(ann.is_verified && ann.password_hash.is_none());
    assert_eq!(refused(insert(&new, "2").await), Conflict::Email);
    let bob = NewUser { is_active: true, ..new_user("bob") };
    assert_eq!(refused(insert(&bob, "1").await), Conflict::Linked);
    assert!(bed.store.find_user_by_email("bob@example.com").await.unwrap().is_none());
    assert!(bed.store.find_link(&key("2")).await.unwrap().is_none());
}

async fn an_account_nobody_verified_is_handed_over_bare(bed: Bed) {
    let made = NewUser { password_hash: Some(hash(2)), is_active: true, ..new_user("ann") };
    let ann = bed.add(&made).await;
    let session = bed.sign_in(&ann).await;
    bed.link(&ann, "intruder").await;
    bed.store.update_link(&seen("intruder", &["admin"])).await.unwrap();
    let token = portcullis::store::UserToken {
        kind: portcullis::store::TokenKind::Reset,
        user: ann.id,
        digest: digest(),
        expires_at: bed.clock.now().after(Duration::from_hours(1)),
    };
    bed.store.replace_token(&token, None).await.unwrap();
    bed.store.insert_link_by_email(&ann, &bed.link_to("owner"), &event("link")).await.unwrap();
    let now = bed.user(ann.id).await;
    assert!(now.is_verified && now.password_hash.is_none());
    assert!(!bed.lives(&session).await);
    let links = bed.links_of(&ann).await;
    assert_eq!(links.iter().map(|link| &*link.key.subject).collect::<Vec<_>>(), ["owner"]);
    assert_eq!(bed.store.list_provider_roles(ann.id).await.unwrap(), []);
    assert!(!bed.store.has_token(token.kind, &token.digest, bed.clock.now()).await.unwrap());
    assert!(bed.changed().await.contains(&Changed::User(ann.id)));
    // Of a verified account nothing is taken.
    let kept = NewUser { is_verified: true, ..new_user("bob") };
    let kept = NewUser { password_hash: Some(hash(2)), is_active: true, ..kept };
    let bob = bed.add(&kept).await;
    let session = bed.sign_in(&bob).await;
    bed.store.insert_link_by_email(&bob, &bed.link_to("bob"), &event("link")).await.unwrap();
    assert!(bed.user(bob.id).await.password_hash.is_some() && bed.lives(&session).await);
}

async fn a_letter_to_a_new_password_takes_what_is_linked_at_providers(bed: Bed) {
    for (name, is_verified) in [("ann", false), ("bob", true)] {
        let made = NewUser { is_verified, is_active: true, ..new_user(name) };
        let user = bed.add(&made).await;
        bed.link(&user, name).await;
        bed.store.update_link(&seen(name, &["admin"])).await.unwrap();
        let token = portcullis::store::UserToken {
            kind: portcullis::store::TokenKind::Reset,
            user: user.id,
            digest: digest(),
            expires_at: bed.clock.now().after(Duration::from_hours(1)),
        };
        bed.store.replace_token(&token, None).await.unwrap();
        let reset = Event { user: Some(user.id), ..event("reset") };
        bed.store
            .update_password_by_token(&user, &token.digest, (&hash(2), None), &reset)
            .await
            .unwrap();
        assert_eq!(bed.links_of(&user).await.len(), 0, "{name}");
        assert_eq!(bed.unlinked(&user).await, ["corp"], "{name}");
        assert_eq!(bed.store.list_provider_roles(user.id).await.unwrap(), [], "{name}");
    }
}

async fn an_operators_new_password_takes_what_is_linked_at_providers(bed: Bed) {
    let ann = bed.person("ann").await;
    bed.link(&ann, "1").await;
    bed.link(&ann, "2").await;
    let update = Event { user: Some(ann.id), ..event("update") };
    bed.store.update_user(ann.id, &password(hash(2)), OPERATOR, &update).await.unwrap();
    assert_eq!(bed.links_of(&ann).await, []);
    assert_eq!(bed.unlinked(&ann).await, ["corp", "corp"]);
}

async fn a_verified_e_mail_unlinks_what_its_owner_is_not_known_to_have_linked(bed: Bed) {
    for (name, is_signed_in, kept) in [("ann", false, 0), ("bob", true, 1)] {
        let user = bed.person(name).await;
        bed.link(&user, name).await;
        bed.store.update_link(&seen(name, &["admin"])).await.unwrap();
        let session = bed.sign_in_by(&user, name, name).await;
        let token = portcullis::store::UserToken {
            kind: portcullis::store::TokenKind::Verify,
            user: user.id,
            digest: digest(),
            expires_at: bed.clock.now().after(Duration::from_hours(1)),
        };
        bed.store.replace_token(&token, None).await.unwrap();
        let own = is_signed_in.then_some(session.id);
        let verified = Event { user: Some(user.id), ..event("verify") };
        bed.store.update_verified_by_token(&user, &token.digest, own, &verified).await.unwrap();
        assert_eq!(bed.links_of(&user).await.len(), kept, "{name}");
        assert_eq!(bed.unlinked(&user).await.len(), 1 - kept, "{name}");
        assert_eq!(bed.store.list_provider_roles(user.id).await.unwrap().len(), kept, "{name}");
        assert_eq!(bed.lives(&session).await, is_signed_in, "{name}");
    }
}

async fn an_account_that_changed_meanwhile_is_not_linked_by_its_email(bed: Bed) {
    let ann = bed.person("ann").await;
    let link = bed.link_to("1");
    let by_email =
        async |user: &User| bed.store.insert_link_by_email(user, &link, &event("link")).await;
    let verified = User { is_verified: true, ..ann.clone() };
    assert_eq!(refused(by_email(&verified).await), Conflict::Gone);
    let moved = User { email_folded: "other@example.com".into(), ..ann.clone() };
    assert_eq!(refused(by_email(&moved).await), Conflict::Gone);
    let off = portcullis::store::Flag::Active(false);
    bed.store.update_user(ann.id, &off.into(), OPERATOR, &event("update")).await.unwrap();
    assert_eq!(refused(by_email(&ann).await), Conflict::Gone);
    assert!(bed.store.find_link(&key("1")).await.unwrap().is_none());
}

async fn roles_of_providers_count_beside_those_of_operators_and_are_replaced_alone(bed: Bed) {
    let ann = bed.person("ann").await;
    let grant = RoleGrant {
        until: Some(bed.clock.now().after(Duration::from_hours(1))),
        ..forever("staff")
    };
    bed.store.insert_grant(ann.id, &grant, &event("grant")).await.unwrap();
    bed.link(&ann, "1").await;
    bed.link(&ann, "2").await;
    let session = bed.sign_in_by(&ann, "1", "s").await;
    let held = async || {
        let loaded = bed.store.find_session(&session.id).await.unwrap().unwrap();
        assert_eq!(loaded.session, session);
        loaded.grants
    };
    assert_eq!(held().await, std::slice::from_ref(&grant));
    let before = bed.changed().await.len();
    let see = async |seen: &Sighting| bed.store.update_link(seen).await;
    assert_eq!(see(&seen("1", &["staff", "night"])).await.unwrap(), Some(ann.id));
    assert_eq!(see(&seen("2", &["night"])).await.unwrap(), Some(ann.id));
    assert_eq!(bed.changed().await.len(), before + 2);
    assert_eq!(held().await, [forever("night"), forever("staff")]);
    assert_eq!(see(&seen("1", &["night", "staff"])).await.unwrap(), None);
    let other = Sighting { replaces: Some(b"older".to_vec()), ..seen("1", &[]) };
    assert_eq!(refused(see(&other).await), Conflict::Gone);
    assert_eq!(bed.changed().await.len(), before + 2, "nothing is another");
    let given = bed.store.list_provider_roles(ann.id).await.unwrap();
    let corp = |role: &str| (role.to_owned(), "corp".to_owned());
    assert_eq!(given, [corp("night"), corp("staff")]);
    assert_eq!(bed.store.count_grants(bed.clock.now()).await.unwrap()["staff"], 1);
    let other = Sighting { replaces: Some(b"sealed".to_vec()), ..seen("1", &[]) };
    assert_eq!(see(&other).await.unwrap(), Some(ann.id));
    assert_eq!(held().await, [forever("night"), grant.clone()]);
    assert_eq!(bed.store.list_grants(ann.id).await.unwrap(), [grant]);
    assert_eq!(refused(bed.store.update_link(&seen("9", &[])).await), Conflict::Gone);
}

async fn a_link_goes_with_its_roles_and_other_sessions_and_the_last_way_in_stays(bed: Bed) {
    let ann = bed.person("ann").await;
    bed.link(&ann, "1").await;
    bed.link(&ann, "2").await;
    bed.store.update_link(&seen("1", &["night"])).await.unwrap();
    let (own, other) = (bed.sign_in_by(&ann, "1", "a").await, bed.sign_in_by(&ann, "1", "b").await);
    let second = bed.sign_in_by(&ann, "2", "c").await;
    let unlink = async |subject: &str| {
        let unlinking = Unlinking { spared: Some(own.id), ..unlinking(&ann, subject) };
        bed.store.delete_links(&unlinking, &event("unlink")).await
    };
    let bob = bed.person("bob").await;
    let foreign = bed.store.delete_links(&unlinking(&bob, "1"), &event("unlink")).await;
    assert!(!foreign.unwrap(), "somebody else's");
    assert!(unlink("1").await.unwrap() && !unlink("1").await.unwrap());
    assert!(bed.lives(&own).await && bed.lives(&second).await && !bed.lives(&other).await);
    assert_eq!(bed.store.list_provider_roles(ann.id).await.unwrap(), []);
    assert_eq!(refused(unlink("2").await), Conflict::LastWayIn);
    let former = NewLink {
        key: LinkKey { provider: "former".to_owned(), subject: "1".to_owned() },
        ..bed.link_to("1")
    };
    bed.try_link(&ann, &former).await.unwrap();
    assert_eq!(refused(unlink("2").await), Conflict::LastWayIn, "of no provider there is");
    assert_eq!(bed.links_of(&ann).await.len(), 2);
    let owner = Author::Owner(own.id);
    bed.store.update_user(ann.id, &password(hash(2)), owner, &event("update")).await.unwrap();
    assert!(unlink("2").await.unwrap());
    let events = bed.store.list_events(None, 50).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "unlink").count(), 2);
}

async fn a_session_that_has_ended_neither_links_nor_unlinks_nor_deletes(bed: Bed) {
    let ann = bed.person("ann").await;
    bed.link(&ann, "1").await;
    let session = bed.sign_in(&ann).await.id;
    bed.store.delete_sessions(EndSessions::OfUser(ann.id), &event("reset")).await.unwrap();
    let link = bed.store.insert_link(ann.id, session, &bed.link_to("2"), &event("late")).await;
    assert_eq!(refused(link), Conflict::Gone);
    let unlinking = Unlinking { spared: Some(session), ..unlinking(&ann, "1") };
    assert_eq!(refused(bed.store.delete_links(&unlinking, &event("late")).await), Conflict::Gone);
    let deleted = bed.store.delete_user(ann.id, Author::Owner(session), &event("late")).await;
    assert_eq!(refused(deleted), Conflict::Gone);
    assert_eq!(bed.links_of(&ann).await.len(), 1);
    let events = bed.store.list_events(None, 50).await.unwrap();
    assert!(events.iter().all(|event| event.kind != "late"), "{events:?}");
}

async fn of_two_links_taken_away_at_once_one_stays(bed: Bed) {
    let ann = bed.person("ann").await;
    bed.link(&ann, "1").await;
    bed.link(&ann, "2").await;
    let other = bed.again(portcullis::store::Migrate::Never).await.unwrap();
    let gone = event("unlink");
    let (a, b) = (unlinking(&ann, "1"), unlinking(&ann, "2"));
    let (a, b) = tokio::join!(bed.store.delete_links(&a, &gone), other.delete_links(&b, &gone));
    assert_eq!([&a, &b].iter().filter(|done| done.is_ok()).count(), 1, "{a:?} {b:?}");
    assert_eq!(bed.links_of(&ann).await.len(), 1);
}

async fn all_links_to_a_provider_go_together_or_none_does(bed: Bed) {
    let ann = bed.person("ann").await;
    bed.link(&ann, "1").await;
    bed.link(&ann, "2").await;
    let all = Unlinking { subject: None, ..unlinking(&ann, "1") };
    let unlink = async || bed.store.delete_links(&all, &event("unlink")).await;
    assert_eq!(refused(unlink().await), Conflict::LastWayIn);
    assert_eq!(bed.links_of(&ann).await.len(), 2);
    let owner = Author::Owner(bed.sign_in(&ann).await.id);
    bed.store.update_user(ann.id, &password(hash(2)), owner, &event("update")).await.unwrap();
    assert!(unlink().await.unwrap() && !unlink().await.unwrap());
    assert_eq!(bed.links_of(&ann).await, []);
}

async fn nobody_signs_in_by_a_link_that_is_gone(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    bed.link(&ann, "1").await;
    for (user, subject) in [(&ann, "9"), (&bob, "1")] {
        let session = bed.session_by(user, subject, "s");
        let refusal = refused(bed.store.insert_session(&sign_in(&session)).await);
        assert_eq!(refusal, Conflict::Gone);
        assert!(!bed.lives(&session).await);
    }
    assert_eq!(bed.links_of(&ann).await[0].last_sign_in, None);
    bed.sign_in_by(&ann, "1", "s").await;
    assert!(bed.links_of(&ann).await[0].last_sign_in.is_some());
}

async fn sessions_of_a_provider_end_by_person_and_by_its_session(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    bed.link(&ann, "1").await;
    bed.link(&bob, "2").await;
    let own = bed.sign_in(&ann).await;
    let (a, b) = (bed.sign_in_by(&ann, "1", "a").await, bed.sign_in_by(&ann, "1", "b").await);
    let other = bed.sign_in_by(&bob, "2", "a2").await;
    let notice = |subject, session| {
        let once = (digest(), bed.clock.now().after(Duration::from_mins(5)));
        Notice { provider: "corp", subject, session, once }
    };
    let end = async |subject: Option<&'static str>, sid: Option<&'static str>| {
        bed.store.delete_noticed_sessions(&notice(subject, sid), &event("sign-out")).await
    };
    // A provider's session is one person's: of another's of that name nothing ends.
    assert_eq!(end(Some("2"), Some("a")).await.unwrap(), [[0; 32]; 0]);
    assert_eq!(end(None, None).await.unwrap(), [[0; 32]; 0]);
    let first = notice(Some("1"), Some("a"));
    let heed = async || bed.store.delete_noticed_sessions(&first, &event("sign-out")).await;
    assert_eq!(heed().await.unwrap(), [a.id]);
    assert_eq!(refused(heed().await), Conflict::Token);
    assert!(bed.changed().await.contains(&Changed::Session(a.id)));
    assert_eq!(end(Some("1"), None).await.unwrap(), [b.id]);
    // Nor was every session told of which there it came from.
    let origin = SessionOrigin { link: key("1"), session: None };
    let untold = SessionRow { origin: Some(origin), ..bed.session_by(&ann, "1", "x") };
    let opening = sign_in(&untold);
    bed.store.insert_session(&opening).await.unwrap();
    assert_eq!(end(None, Some("y")).await.unwrap(), [[0; 32]; 0]);
    assert_eq!(end(Some("1"), Some("y")).await.unwrap(), [untold.id]);
    assert_eq!(end(Some("1"), None).await.unwrap(), [[0; 32]; 0]);
    let c = bed.sign_in_by(&ann, "1", "c").await;
    bed.store.update_link(&seen("1", &["night"])).await.unwrap();
    let link = bed.links_of(&ann).await.remove(0);
    let later = LinkRow { tokens: Some(b"others".to_vec()), ..link.clone() };
    let end = async |link: &LinkRow| bed.store.delete_vouching(link, &event("sign-out")).await;
    assert_eq!(refused(end(&later).await), Conflict::Gone);
    assert!(bed.lives(&c).await, "signed in anew meanwhile");
    end(&link).await.unwrap();
    assert!(!bed.lives(&c).await && bed.links_of(&ann).await[0].tokens.is_none());
    assert_eq!(bed.store.list_provider_roles(ann.id).await.unwrap(), []);
    assert!(bed.changed().await.contains(&Changed::User(ann.id)));
    assert!(bed.lives(&own).await && bed.lives(&other).await);
    let events = bed.store.list_events(Some(ann.id), 50).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "sign-out").count(), 4);
}

async fn a_check_is_taken_once_and_only_for_living_sessions(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    bed.link(&ann, "1").await;
    bed.link(&bob, "2").await;
    bed.sign_in_by(&ann, "1", "s").await;
    let hour = Duration::from_hours(1);
    let due = bed.clock.now().after(hour);
    for subject in ["1", "2"] {
        let seen = Sighting { next_check: Some(due), ..seen(subject, &[]) };
        bed.store.update_link(&seen).await.unwrap();
    }
    let take = async || bed.store.find_due_checks("corp", bed.clock.now(), hour, 10).await.unwrap();
    assert_eq!(take().await, []);
    bed.clock.advance(hour);
    let taken = take().await;
    let found: Vec<_> = taken.iter().map(|due| (&*due.link.key.subject, due.has_session)).collect();
    assert_eq!(found, [("1", true), ("2", false)]);
    assert_eq!(taken[0].link.tokens.as_deref(), Some(&b"sealed"[..]));
    assert_eq!(take().await, [], "taken by another meanwhile");
    bed.clock.advance(hour);
    let again = take().await;
    assert_eq!(again.iter().map(|due| &*due.link.key.subject).collect::<Vec<_>>(), ["1"]);
}

async fn roles_of_a_provider_are_checked_in_sessions_of_any_kind(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    bed.link(&ann, "1").await;
    bed.link(&bob, "2").await;
    let hour = Duration::from_hours(1);
    let seen = |subject: &str, roles: &[&str]| Sighting {
        next_check: Some(bed.clock.now().after(hour)),
        ..seen(subject, roles)
    };
    bed.store.update_link(&seen("1", &["night"])).await.unwrap();
    bed.store.update_link(&seen("2", &[])).await.unwrap();
    let take = async || {
        let taken = bed.store.find_due_checks("corp", bed.clock.now(), hour, 10).await.unwrap();
        let taken = taken.into_iter().map(|due| (due.link.key.subject, due.has_session));
        taken.collect::<Vec<_>>()
    };
    let found = |subject: &str, has_session| (subject.to_owned(), has_session);
    bed.clock.advance(hour);
    assert_eq!(take().await, [found("1", false), found("2", false)], "nobody is signed in");
    bed.clock.advance(hour);
    assert_eq!(take().await, []);
    // By a password. A link that gives neither roles nor sessions matters to nobody.
    bed.sign_in(&ann).await;
    bed.sign_in(&bob).await;
    let mut taken = take().await;
    taken.sort();
    assert_eq!(taken, [found("1", true), found("2", false)]);
    let link = bed.links_of(&ann).await.remove(0);
    bed.store.delete_check(&link).await.unwrap();
    bed.clock.advance(hour);
    bed.sign_in(&ann).await;
    assert_eq!(take().await, [], "never to be asked again");
}

async fn links_to_one_provider_are_due_for_themselves(bed: Bed) {
    let ann = bed.person("ann").await;
    let mut keys = vec![key("1")];
    for provider in ["alpha", "omega"] {
        keys.push(LinkKey { provider: provider.to_owned(), subject: "1".to_owned() });
    }
    for key in &keys {
        let link = NewLink { key: key.clone(), ..bed.link_to("1") };
        bed.try_link(&ann, &link).await.unwrap();
        let seen = Sighting { key: key.clone(), ..seen("1", &["night"]) };
        let seen = Sighting { next_check: Some(bed.clock.now()), ..seen };
        bed.store.update_link(&seen).await.unwrap();
    }
    assert_eq!(bed.store.list_linked_providers().await.unwrap(), ["alpha", "corp", "omega"]);
    let take = async |provider: &str| {
        let hour = Duration::from_hours(1);
        let due = bed.store.find_due_checks(provider, bed.clock.now(), hour, 10).await.unwrap();
        due.into_iter().map(|due| due.link.key).collect::<Vec<_>>()
    };
    assert_eq!(take("corp").await, keys[..1]);
    assert_eq!(take("corp").await, []);
    assert_eq!(take("omega").await, keys[2..]);
}

async fn a_provider_that_is_gone_is_due_wherever_it_gave_anything(bed: Bed) {
    let (ann, bob, eve) =
        (bed.person("ann").await, bed.person("bob").await, bed.person("eve").await);
    for (user, subject) in [(&ann, "roles"), (&bob, "session"), (&eve, "nothing")] {
        bed.link(user, subject).await;
    }
    // No tokens are kept of either, so nobody was ever to be asked.
    let given = Sighting { tokens: None, ..seen("roles", &["night"]) };
    bed.store.update_link(&given).await.unwrap();
    let session = bed.sign_in_by(&bob, "session", "s").await;
    let hour = Duration::from_hours(1);
    let take = async || bed.store.find_due_checks("corp", bed.clock.now(), hour, 10).await.unwrap();
    assert_eq!(take().await, []);
    bed.store.update_checks_due("other", bed.clock.now()).await.unwrap();
    assert_eq!(take().await, []);
    bed.store.update_checks_due("corp", bed.clock.now()).await.unwrap();
    let mut due = take().await;
    due.sort_by(|a, b| a.link.key.cmp(&b.link.key));
    let found: Vec<_> = due.iter().map(|due| (&*due.link.key.subject, due.has_session)).collect();
    assert_eq!(found, [("roles", false), ("session", true)]);
    for due in &due {
        bed.store.delete_vouching(&due.link, &event("sign-out")).await.unwrap();
    }
    assert_eq!(bed.store.list_provider_roles(ann.id).await.unwrap(), []);
    assert!(!bed.lives(&session).await);
    bed.store.update_checks_due("corp", bed.clock.now()).await.unwrap();
    assert_eq!(take().await, [], "nothing is left");
    // A link without tokens that is not to be asked about by any is left alone as well.
    bed.sign_in_by(&bob, "session", "t").await;
    bed.store.update_checks_due("corp", bed.clock.now()).await.unwrap();
    let link = take().await.remove(0).link;
    bed.store.delete_check(&link).await.unwrap();
    bed.clock.advance(hour);
    assert_eq!(take().await, []);
}

async fn each_role_a_provider_gives_or_takes_is_recorded(bed: Bed) {
    let ann = bed.person("ann").await;
    bed.link(&ann, "1").await;
    for roles in [&["night", "staff"][..], &["night", "staff"], &["night"]] {
        bed.store.update_link(&seen("1", roles)).await.unwrap();
    }
    let link = bed.links_of(&ann).await.remove(0);
    bed.store.delete_vouching(&link, &event("sign-out")).await.unwrap();
    let events = bed.store.list_events(Some(ann.id), 50).await.unwrap();
    let mut told: Vec<_> = events
        .iter()
        .filter(|event| ["grant", "revoke", "sign-out"].contains(&&*event.kind))
        .map(|event| (&*event.kind, &*event.detail))
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("grant", "night by corp"),
            ("grant", "staff by corp"),
            ("revoke", "night by corp"),
            ("revoke", "staff by corp"),
        ]
    );
}

async fn what_may_come_once_comes_once(bed: Bed) {
    let end = bed.clock.now().after(Duration::from_mins(10));
    let other = bed.again(portcullis::store::Migrate::Never).await.unwrap();
    let what = digest();
    let (a, b) = tokio::join!(bed.store.insert_spent(&what, end), other.insert_spent(&what, end));
    assert_eq!([a.unwrap(), b.unwrap()].iter().filter(|first| **first).count(), 1);
    bed.clock.advance(Duration::from_mins(11));
    bed.store.delete_expired(bed.clock.now(), bed.clock.now()).await.unwrap();
    assert!(bed.store.insert_spent(&what, end).await.unwrap());
}
