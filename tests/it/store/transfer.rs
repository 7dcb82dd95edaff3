//! A file of accounts, added to those there are or in their place.

use std::time::Duration;

use portcullis::config::DatabaseUrl;
use portcullis::identity::user::{Method, User};
use portcullis::store::{
    Conflict, EndSessions, LinkKey, LinkRow, NewLink, NewUser, Past, Replaced, SessionOrigin,
    SessionRow, Sighting, StagedLink, StagedUser, TokenKind,
};
use portcullis::web::language::Language;
use uuid::Uuid;

use super::{
    Bed, LONG, assert_conflict, count, digest, event, forever, hash, id, new_user, session, sign_in,
};

contract! {
    accounts_of_a_file_come_in_whole_or_not_at_all
    a_replacement_without_a_superuser_changes_nothing
    a_replacement_ends_what_a_change_by_an_operator_ends
    nothing_of_an_account_that_is_replaced_stays
    links_are_those_of_a_replacement_that_says_which
    a_replacement_takes_invitations_of_former_superusers_back
}

fn staged(line: u64, user: NewUser) -> StagedUser {
    let grants = vec![forever("admin")];
    StagedUser {
        line,
        id: id(),
        user,
        grants,
        created_at: None,
        keeps_password: true,
        links: None,
        past: Past::default(),
    }
}

async fn accounts_of_a_file_come_in_whole_or_not_at_all(bed: Bed) {
    let ann = bed.person("ann").await;
    for (name, conflict) in [("ann", Some(Conflict::Email)), ("eve", None)] {
        let mut staging = bed.store.stage().await.unwrap();
        let rows = [staged(1, new_user("bob")), staged(2, new_user(name))];
        staging.insert(&rows[..1]).await.unwrap();
        staging.insert(&rows[1..]).await.unwrap();
        let seen = bed.store.list_users(None, 10).await.unwrap();
        assert_eq!(seen, std::slice::from_ref(&ann));
        let added = staging.add(&[], &event("users-imported")).await;
        let accounts = bed.store.list_accounts(None, 10).await.unwrap();
        let Some(conflict) = conflict else {
            added.unwrap();
            let grants: Vec<usize> = accounts.iter().map(|(_, grants)| grants.len()).collect();
            assert_eq!(grants, [0, 1, 1]);
            assert_eq!(accounts[1].0, bed.user(rows[0].id).await);
            continue;
        };
        assert_conflict(added, conflict);
        assert_eq!(accounts, [(ann.clone(), Vec::new())]);
        assert!(bed.store.list_events(None, 10).await.unwrap().len() == 1);
    }
    let mut dropped = bed.store.stage().await.unwrap();
    dropped.insert(&[staged(1, new_user("fay"))]).await.unwrap();
    drop(dropped);
    assert_eq!(bed.store.list_users(None, 10).await.unwrap().len(), 3);
}

async fn a_replacement_without_a_superuser_changes_nothing(bed: Bed) {
    let root = bed.superuser("root").await;
    let session = bed.sign_in(&root).await;
    let before = bed.store.list_accounts(None, 10).await.unwrap();
    for (is_active, is_superuser) in [(true, false), (false, true), (true, true)] {
        let user = NewUser { is_active, is_superuser, ..new_user("eve") };
        let mut staging = bed.store.stage().await.unwrap();
        staging.insert(&[staged(1, user)]).await.unwrap();
        let replaced = staging.replace(&[], &event("users-replaced")).await;
        if is_active && is_superuser {
            assert_eq!(replaced.unwrap(), Replaced { added: 1, deleted: 1 });
            continue;
        }
        assert_conflict(replaced, Conflict::LastSuperuser);
        assert_eq!(bed.store.list_accounts(None, 10).await.unwrap(), before);
        assert!(bed.is_signed_in(&session).await);
    }
    assert!(!bed.is_signed_in(&session).await);
    assert_eq!(bed.store.find_user(root.id).await.unwrap(), None);
}

fn key(subject: &str) -> LinkKey {
    LinkKey { provider: "corp".to_owned(), subject: subject.to_owned() }
}

/// The line of an account that stays as it is.
fn line_of(number: u64, user: &User) -> StagedUser {
    let id = user.id;
    let user = NewUser {
        email: user.email.clone(),
        email_folded: user.email_folded.to_string(),
        is_active: user.is_active,
        is_superuser: user.is_superuser,
        ..NewUser::default()
    };
    StagedUser { id, grants: Vec::new(), ..staged(number, user) }
}

fn said(subject: &str) -> StagedLink {
    let LinkKey { provider, subject } = key(subject);
    StagedLink { provider, subject, email: None }
}

impl Bed {
    /// Has an account at a provider, which gives a role and has sent tokens, linked.
    async fn linked(&self, user: &User, subject: &str) {
        let (linked_at, email) = (self.clock.now(), None);
        let link = NewLink { key: key(subject), issuer: None, email, linked_at };
        let session = self.sign_in(user).await.id;
        self.store.insert_link(user.id, session, &link, &event("link")).await.unwrap();
        let over = EndSessions::One(session);
        self.store.delete_sessions(over, &event("sign-out")).await.unwrap();
        let seen = Sighting {
            key: key(subject),
            issuer: "https://corp.example".to_owned(),
            email: None,
            tokens: Some(b"sealed".to_vec()),
            roles: vec!["staff".to_owned()],
            next_check: None,
            replaces: None,
            event: event("grant"),
        };
        self.store.update_link(&seen).await.unwrap();
    }

    async fn signed_in_by(&self, user: &User, subject: &str) -> SessionRow {
        let origin = Some(SessionOrigin { link: key(subject), session: None });
        let by_password = session(user, self.clock.now());
        let row = SessionRow { method: Method::Provider, origin, ..by_password };
        self.store.insert_session(&sign_in(&row)).await.unwrap();
        row
    }

    /// Has everything that can hang on an account hang on one; its session.
    async fn with_everything(&self, name: &str) -> (User, SessionRow) {
        let user = self.person(name).await;
        self.store.insert_grant(user.id, &forever("admin"), &event("grant")).await.unwrap();
        let session = self.sign_in(&user).await;
        let end = self.clock.now().after(LONG);
        self.store.insert_token(TokenKind::Reset, Some(user.id), &digest(), end).await.unwrap();
        self.linked(&user, name).await;
        self.ask(&user.email_folded, Language::ENGLISH).await;
        let letter = self.take(LONG).await.unwrap();
        self.store.update_letter_subject(&letter, user.id).await.unwrap();
        self.store.update_letter_released(&letter).await.unwrap();
        (user, session)
    }

    /// How many rows of a table have an account's id in a column.
    async fn rows(&self, (table, column): (&str, &str), of: Uuid) -> i64 {
        let id = of.simple();
        let literal = match self.database.url {
            DatabaseUrl::Sqlite(_) => format!("x'{id}'"),
            DatabaseUrl::Postgres(_) => format!("'\\x{id}'::bytea"),
        };
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE {column} = {literal}");
        count(&self.database, &sql).await
    }

    async fn replace(&self, lines: &[StagedUser]) -> Replaced {
        let mut staging = self.store.stage().await.unwrap();
        staging.insert(lines).await.unwrap();
        staging.replace(&[], &event("users-replaced")).await.unwrap()
    }

    async fn links(&self, user: &User) -> Vec<LinkRow> {
        self.store.list_links(user.id).await.unwrap()
    }
}

/// What refers to accounts.
const HANGING: [(&str, &str); 6] = [
    ("linked_accounts", "user_id"),
    ("outbox", "subject"),
    ("provider_roles", "user_id"),
    ("sessions", "user_id"),
    ("tokens", "subject"),
    ("user_roles", "user_id"),
];

/// What a line says of an account.
type Change = fn(&mut StagedUser);

async fn a_replacement_ends_what_a_change_by_an_operator_ends(bed: Bed) {
    let root = bed.superuser("root").await;
    let mut lines = vec![line_of(1, &root)];
    let mut people = Vec::new();
    let cases: [(&str, Change, [i64; 4]); 5] = [
        ("same", |_| {}, [1, 1, 1, 1]),
        ("renamed", |line| line.user.username = Some("else".to_owned()), [1, 1, 1, 1]),
        ("password", |line| line.user.password_hash = Some(hash(19_456)), [0, 0, 0, 0]),
        ("email", |line| "else@example.com".clone_into(&mut line.user.email_folded), [0, 0, 1, 1]),
        ("off", |line| line.user.is_active = false, [0, 0, 1, 1]),
    ];
    for (number, (name, change, left)) in (2..).zip(cases) {
        let (user, _) = bed.with_everything(name).await;
        let mut line = line_of(number, &user);
        change(&mut line);
        line.keeps_password = line.user.password_hash.is_none();
        lines.push(line);
        people.push((user, left));
    }
    assert_eq!(bed.replace(&lines).await, Replaced::default());
    let tables = ["sessions", "tokens", "linked_accounts", "provider_roles"];
    for (user, left) in &people {
        for (table, left) in tables.iter().zip(left) {
            let place = HANGING.iter().find(|(name, _)| name == table).unwrap();
            assert_eq!(bed.rows(*place, user.id).await, *left, "{table} of {}", user.email);
        }
        // What was asked for by mail is looked at anew when it is sent.
        assert_eq!(bed.rows(("outbox", "subject"), user.id).await, 1, "{}", user.email);
        assert_eq!(bed.rows(("user_roles", "user_id"), user.id).await, 0, "{}", user.email);
    }
}

async fn nothing_of_an_account_that_is_replaced_stays(bed: Bed) {
    let (gone, session) = bed.with_everything("gone").await;
    for place in HANGING {
        assert_eq!(bed.rows(place, gone.id).await, 1, "{place:?}");
    }
    let new = NewUser { is_active: true, is_superuser: true, ..new_user("gone") };
    let before = bed.last_change().await;
    let replaced = bed.replace(&[staged(1, new)]).await;
    assert_eq!(replaced, Replaced { added: 1, deleted: 1 });
    assert!(!bed.is_signed_in(&session).await);
    assert_eq!(bed.changed_since(before).await, [super::Changed::User(gone.id)]);
    for place in HANGING {
        assert_eq!(bed.rows(place, gone.id).await, 0, "{place:?}");
    }
    if matches!(bed.database.url, DatabaseUrl::Sqlite(_)) {
        let dangling = "SELECT COUNT(*) FROM pragma_foreign_key_check";
        assert_eq!(count(&bed.database, dangling).await, 0);
        let referring = "SELECT COUNT(*) FROM sqlite_master m, pragma_foreign_key_list(m.name) f \
             WHERE m.type = 'table' AND f.\"table\" = 'users'";
        let known = i64::try_from(HANGING.len()).unwrap();
        assert_eq!(count(&bed.database, referring).await, known, "HANGING lacks a table");
    }
}

async fn links_are_those_of_a_replacement_that_says_which(bed: Bed) {
    let (root, ann) = (bed.superuser("root").await, bed.person("ann").await);
    for subject in ["kept", "taken-away"] {
        bed.linked(&root, subject).await;
    }
    bed.linked(&ann, "moved").await;
    let (by_kept, by_other) =
        (bed.signed_in_by(&root, "kept").await, bed.signed_in_by(&root, "taken-away").await);
    let by_moved = bed.signed_in_by(&ann, "moved").await;
    bed.clock.advance(Duration::from_mins(1));
    let line = |number, user: &User, subjects: &[&str]| StagedUser {
        links: Some(subjects.iter().map(|subject| said(subject)).collect()),
        ..line_of(number, user)
    };
    let lines = [line(1, &root, &["kept", "moved", "new"]), line(2, &ann, &[])];
    bed.replace(&lines).await;
    let linked = bed.links(&root).await;
    let found: Vec<_> =
        linked.iter().map(|link| (&*link.key.subject, link.tokens.is_some())).collect();
    assert_eq!(found, [("kept", true), ("moved", false), ("new", false)]);
    assert!(linked[0].linked_at < linked[1].linked_at);
    assert!(bed.links(&ann).await.is_empty());
    let roles = bed.store.list_provider_roles(root.id).await.unwrap();
    assert_eq!(roles, [("staff".to_owned(), "corp".to_owned())]);
    assert!(bed.store.list_provider_roles(ann.id).await.unwrap().is_empty());
    for (session, lives) in [(by_kept, true), (by_other, false), (by_moved, false)] {
        assert_eq!(bed.is_signed_in(&session).await, lives, "{:?}", session.origin);
    }
}

async fn a_replacement_takes_invitations_of_former_superusers_back(bed: Bed) {
    let root = bed.superuser("root").await;
    let mut lines = vec![line_of(1, &root)];
    let mut inviters = vec![None, Some(root.id)];
    for (number, name) in [(2, "demoted"), (3, "off"), (4, "gone")] {
        let user = bed.superuser(name).await;
        inviters.push(Some(user.id));
        let mut line = line_of(number, &user);
        match name {
            "demoted" => line.user.is_superuser = false,
            "off" => line.user.is_active = false,
            _ => continue,
        }
        lines.push(line);
    }
    for (number, inviter) in inviters.iter().enumerate() {
        let invitation = bed.invitation(&format!("guest{number}"), *inviter);
        assert!(
            bed.store.insert_invitation(&invitation, None, None, &event("invite")).await.unwrap()
        );
    }
    bed.replace(&lines).await;
    let left = bed.store.list_invitations(bed.clock.now(), 9).await.unwrap();
    let mut left: Vec<_> = left.iter().map(|left| left.inviter).collect();
    left.sort();
    assert_eq!(left, inviters[..2]);
    let roles = count(&bed.database, "SELECT COUNT(*) FROM invitation_roles").await;
    assert_eq!(roles, 2);
    let told = bed.store.list_events(None, 1).await.unwrap().remove(0);
    assert_eq!((&*told.kind, &*told.detail), ("users-replaced", "invitations taken back: 3"));
}
