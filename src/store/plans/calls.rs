//! Every method of the store, called once.

use std::time::Duration;

use super::super::{
    Author, Conflict, EndSessions, Event, EventFilter, Flag, Holder, Invitation, LetterKind,
    LinkKey, LinkRow, NewLetter, NewLink, NewUser, Notice, Past, RoleRow, SessionKind,
    SessionOrigin, SessionRow, Sighting, SignIn, StagedLink, StagedUser, Store, StoreError,
    Superuser, Telling, TokenKind, Unlinking, UserChange, UserToken,
};
use crate::clock::{Entropy, Timestamp};
use crate::identity::grant::Grant;
use crate::identity::hashing::Kind;
use crate::identity::user::{Method, RoleGrant, User};
use crate::web::language::Language;

const AT: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Calls every method on an empty store.
pub(super) async fn call_everything(store: &Store) -> Result<(), StoreError> {
    call_accounts(store).await?;
    call_transfer(store).await?;
    call_the_rest(store).await
}

fn event() -> Event {
    Event {
        at: AT,
        kind: "x".to_owned(),
        user: None,
        actor: String::new(),
        address: None,
        agent: String::new(),
        detail: String::new(),
    }
}

fn person(name: &str) -> NewUser {
    let email = format!("{name}@example.com");
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
         RdescudvJCsgt3ub+b3dWRWJTmaQCg8XcpTuCZzmYXk";
    NewUser {
        email: email.clone(),
        email_folded: email,
        password_hash: Some(hash.to_owned()),
        is_active: true,
        is_superuser: true,
        ..NewUser::default()
    }
}

async fn call_accounts(store: &Store) -> Result<(), StoreError> {
    let entropy = Entropy::system();
    let (id, token) = (entropy.uuid(), entropy.bytes());
    store.insert_token(TokenKind::SetUp, None, &token, Timestamp::NEVER).await?;
    store.has_token(TokenKind::SetUp, &token, AT).await?;
    store.insert_first_administrator(id, &person("ann"), &token, &event()).await?;
    let other = store.insert_user(entropy.uuid(), &person("bob"), &event()).await?;
    call_tokens(store, &other).await?;
    store.find_user(id).await?;
    store.find_user_by_email("ann@example.com").await?;
    store.find_user_by_username("ann").await?;
    store.list_users(None, 10).await?;
    store.has_superuser().await?;
    call_changes(store, id, other.id).await?;
    store.update_user_hash(id, "x", "y").await?;
    store.update_user_failed(id).await?;
    store.insert_grant(id, &RoleGrant { role: "r".to_owned(), until: None }, &event()).await?;
    store.list_grants(id).await?;
    store.count_grants(AT).await?;
    store.delete_grant(id, "r", &event()).await?;
    store.list_password_kinds().await?;
    store.update_password_kind(&Kind::current(), Duration::from_millis(1)).await?;
    call_sessions(store, id).await?;
    call_links(store, &other).await?;
    store.delete_user(other.id, Author::Operator(None), &event()).await
}

async fn call_changes(store: &Store, id: uuid::Uuid, other: uuid::Uuid) -> Result<(), StoreError> {
    let operator = Author::Operator(None);
    for flag in [Flag::Verified, Flag::Active(false)] {
        store.update_user(other, &flag.into(), operator, &event()).await?;
    }
    let email = "Carol@example.com".to_owned();
    let email = Some((email.clone(), email.to_lowercase()));
    let telling = Some(Telling { language: Language::ENGLISH, now: AT, most: 10 });
    let change = UserChange { email, telling, ..UserChange::default() };
    store.update_user(other, &change, operator, &event()).await?;
    let change = UserChange { password_hash: Some("x".to_owned()), ..UserChange::default() };
    let refused = store.update_user(id, &change, Author::Owner([9; 32]), &event()).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::Gone))));
    let root = Superuser { account: other, session: [9; 32] };
    let refused = store.update_user(id, &change, Author::Operator(Some(root)), &event()).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Conflict::NoSuperuser))));
    store.update_user(id, &change, operator, &event()).await.map(drop)
}

async fn call_tokens(store: &Store, user: &User) -> Result<(), StoreError> {
    let token =
        |kind, digest| UserToken { kind, user: user.id, digest, expires_at: Timestamp::NEVER };
    store.replace_token(&token(TokenKind::Reset, [3; 32]), Some(&event())).await?;
    store.update_password_by_token(user, &[3; 32], ("x", None), &event()).await?;
    store.replace_token(&token(TokenKind::Verify, [4; 32]), None).await?;
    store.update_verified_by_token(user, &[4; 32], None, &event()).await.map(drop)
}

fn session(user: uuid::Uuid) -> SessionRow {
    SessionRow {
        id: [1; 32],
        user,
        method: Method::Password,
        kind: SessionKind::Cookie,
        created_at: AT,
        last_seen: AT,
        idle: None,
        expires_at: AT,
        address: None,
        agent: String::new(),
        origin: None,
    }
}

async fn call_sessions(store: &Store, user: uuid::Uuid) -> Result<(), StoreError> {
    let sign_in = SignIn { session: session(user), replaces: Some([2; 32]), event: event() };
    store.insert_session(&sign_in).await?;
    store.find_session(&[1; 32]).await?;
    store.list_sessions(None, AT, 10).await?;
    store.list_sessions(Some(user), AT, 10).await?;
    store.has_session_from(user, std::net::Ipv4Addr::LOCALHOST.into(), AT).await?;
    store.update_session_seen(&[1; 32], AT).await?;
    let some = [
        EndSessions::One([1; 32]),
        EndSessions::OfUserBut(user, [2; 32]),
        EndSessions::OfUser(user),
    ];
    for which in some.into_iter().chain([EndSessions::All]) {
        store.delete_sessions(which, &event()).await?;
    }
    Ok(())
}

async fn call_links(store: &Store, user: &User) -> Result<(), StoreError> {
    let active = Flag::Active(true).into();
    store.update_user(user.id, &active, Author::Operator(None), &event()).await?;
    let key = LinkKey { provider: "corp".to_owned(), subject: "1".to_owned() };
    let link = NewLink { key: key.clone(), issuer: None, email: None, linked_at: AT };
    let other = |subject: &str| NewLink {
        key: LinkKey { subject: subject.to_owned(), ..key.clone() },
        ..link.clone()
    };
    let signed_in = SignIn { session: session(user.id), replaces: None, event: event() };
    store.insert_session(&signed_in).await?;
    store.insert_link(user.id, signed_in.session.id, &link, &event()).await?;
    store.delete_sessions(EndSessions::OfUser(user.id), &event()).await?;
    let fresh = store
        .insert_linked_user(Entropy::system().uuid(), &person("gil"), &other("2"), &event())
        .await?;
    store.insert_link_by_email(&fresh, &other("3"), &event()).await?;
    store.find_link(&key).await?;
    let seen = |roles: &[&str]| Sighting {
        key: key.clone(),
        issuer: String::new(),
        email: None,
        tokens: None,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        next_check: Some(AT),
        replaces: None,
        event: event(),
    };
    store.update_link(&seen(&["staff"])).await?;
    store.update_link(&seen(&[])).await?;
    store.list_links(user.id).await?;
    store.list_provider_roles(user.id).await?;
    let session = SessionRow {
        origin: Some(SessionOrigin { link: key.clone(), session: Some("s".to_owned()) }),
        ..session(user.id)
    };
    store.insert_session(&SignIn { session, replaces: None, event: event() }).await?;
    store.list_linked_providers().await?;
    store.update_checks_due(&key.provider, AT).await?;
    store.find_due_checks(&key.provider, AT, Duration::from_secs(1), 10).await?;
    for (subject, once) in [(None, [8; 32]), (Some("7"), [7; 32])] {
        let notice = Notice { provider: "corp", subject, session: Some("s"), once: (once, AT) };
        store.delete_noticed_sessions(&notice, &event()).await?;
    }
    let Some((link, _)) = store.find_link(&key).await? else { return Ok(()) };
    let sealed = Some(b"sealed".to_vec());
    store.update_link(&Sighting { tokens: sealed.clone(), ..seen(&["staff"]) }).await?;
    let link = LinkRow { tokens: sealed, ..link };
    store.delete_check(&link).await?;
    store.delete_vouching(&link, &event()).await?;
    store.insert_spent(&[9; 32], AT).await?;
    let unlinking = Unlinking {
        user: user.id,
        provider: &key.provider,
        subject: None,
        spared: None,
        ways_in: None,
    };
    store.delete_links(&unlinking, &event()).await.map(drop)
}

async fn call_transfer(store: &Store) -> Result<(), StoreError> {
    let staged = |name: &str| StagedUser {
        line: 1,
        id: Entropy::system().uuid(),
        user: person(name),
        grants: vec![RoleGrant { role: "r".to_owned(), until: None }],
        created_at: None,
        keeps_password: false,
        links: Some(vec![StagedLink {
            provider: "p".to_owned(),
            subject: name.to_owned(),
            email: None,
        }]),
        past: Past::default(),
    };
    let mut staging = store.stage().await?;
    staging.insert(&[staged("eve")]).await?;
    staging.add(&[], &event()).await?;
    let mut staging = store.stage().await?;
    staging.insert(&[staged("fay")]).await?;
    staging.replace(&[], &event()).await?;
    store.snapshot().await?.list_accounts(None, 10).await?;
    store.list_accounts(None, 10).await.map(drop)
}

async fn call_the_rest(store: &Store) -> Result<(), StoreError> {
    let grants = [Grant::parse("a:b").unwrap()];
    let role =
        RoleRow { name: "r".to_owned(), description: String::new(), grants: grants.to_vec() };
    store.insert_role(&role, &event()).await?;
    store.list_roles().await?;
    store.insert_roles(std::slice::from_ref(&role), true, &event()).await?;
    store.insert_role_grants("r", &grants, &event()).await?;
    store.delete_role_grants("r", &grants, &event()).await?;
    store.delete_role("r", &event()).await?;
    store.insert_event(&event()).await?;
    let of_kind = EventFilter { kind: Some("x".to_owned()), ..EventFilter::default() };
    store.list_events_like(&of_kind, 10).await?;
    store.list_events(None, 10).await?;
    store.list_events(Some(uuid::Uuid::nil()), 10).await?;
    store.list_wrong_passwords(AT, 10).await?;
    store.list_changes().await?;
    call_outbox(store).await?;
    call_invitations(store).await?;
    store.write_nothing().await?;
    store.delete_expired(AT, AT).await
}

async fn call_invitations(store: &Store) -> Result<(), StoreError> {
    let invitation = Invitation {
        id: Entropy::system().uuid(),
        email: "hal@example.com".to_owned(),
        email_folded: "hal@example.com".to_owned(),
        first_name: None,
        last_name: None,
        roles: vec!["r".to_owned()],
        invited_by: "cli".to_owned(),
        inviter: None,
        created_at: AT,
        expires_at: Timestamp::NEVER,
    };
    store.insert_invitation(&invitation, None, None, &event()).await?;
    store.find_invitation(invitation.id).await?;
    store.find_invitation_of("hal@example.com").await?;
    store.list_invitations(AT, 10).await?;
    store.update_invitation(invitation.id, &[9; 32]).await?;
    store.has_invitation(invitation.id, &[9; 32], AT).await?;
    let user = (Entropy::system().uuid(), person("hal"));
    store.insert_invited_user((invitation.id, &[9; 32]), user, &event()).await?;
    store.delete_invitation(invitation.id, None, &event()).await.map(drop)
}

async fn call_outbox(store: &Store) -> Result<(), StoreError> {
    let letter = NewLetter {
        kind: LetterKind::Reset,
        recipient: "ann@example.com",
        language: Language::ENGLISH,
        queued_at: AT,
    };
    store.insert_letter(&letter, 10).await?;
    let nil = uuid::Uuid::nil();
    let (who, second) = (Holder { node: nil, attempt: nil }, Duration::from_secs(1));
    let letter = store.find_letter_to_send(AT, who, second, |_| second).await?.unwrap();
    store.update_letter_hold(&letter, second).await?;
    let subject = store.list_users(None, 1).await?[0].id;
    store.update_letter_subject(&letter, subject).await?;
    store.update_letter_released(&letter).await?;
    store.delete_letter(&letter, Some(&event())).await
}
