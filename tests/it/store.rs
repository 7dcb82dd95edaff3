//! The store's contract, held by SQLite and PostgreSQL alike.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use portcullis::clock::{Clock, Entropy, Timestamp};
use portcullis::config::{Database, DatabaseUrl};
use portcullis::identity::grant::Grant;
use portcullis::identity::hashing::Kind;
use portcullis::identity::user::{Method, Profile, RoleGrant, User};
use portcullis::store::{
    Author, Change, Changed, Conflict, EndSessions, Event, EventFilter, Flag, HeldLetter, Holder,
    Invitation, LetterKind, Migrate, NewLetter, NewUser, RoleRow, SessionKind, SessionRow, SignIn,
    Store, StoreError, Superuser, TokenKind, UserChange, UserToken,
};
use portcullis::web::language::Language;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use uuid::Uuid;

/// The command line.
const OPERATOR: Author = Author::Operator(None);

fn password(hash: String) -> UserChange {
    UserChange { password_hash: Some(hash), ..UserChange::default() }
}

use crate::postgres::Postgres;

/// Every rule of the contract as a test on each database.
macro_rules! contract {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Bed::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Bed::postgres().await).await;
            })*
        }
    };
}

contract! {
    an_account_is_found_by_id_email_and_username_in_any_case
    emails_and_usernames_belong_to_one_account_each
    accounts_are_listed_page_by_page_in_byte_order
    nobody_is_found_by_text_no_database_can_hold
    a_flag_changes_alone_and_says_when_there_is_nobody
    switching_an_account_off_ends_its_sessions
    the_last_active_superuser_stays
    invitations_go_with_the_superuser_who_made_them
    whoever_is_no_superuser_any_more_does_nothing
    two_superusers_who_change_each_other_at_once_both_do
    two_superusers_taken_away_at_once_leave_one
    the_first_administrator_takes_a_live_link_once
    two_first_administrators_at_once_have_one_winner
    a_link_that_is_not_spent_stays_when_the_account_is_refused
    a_sign_in_counts_and_ends_the_session_it_replaces
    nobody_signs_in_to_an_account_that_is_gone_or_off
    a_sign_in_beside_a_deactivation_leaves_no_session
    a_session_comes_with_its_owner_and_their_grants
    sessions_are_listed_newest_first_while_they_live
    a_live_session_vouches_for_its_address
    last_use_only_moves_forward
    sessions_end_one_by_one_by_person_and_all
    a_deleted_account_leaves_nothing_but_events
    all_accounts_are_read_as_they_were_at_one_instant
    a_new_password_ends_every_session
    a_hash_is_replaced_only_if_it_is_still_the_one_verified
    kinds_of_hashes_are_those_that_accounts_have
    a_grant_is_held_until_its_end_and_granted_anew
    a_role_grants_what_it_was_given
    roles_that_differ_only_in_case_are_one
    two_roles_that_differ_only_in_case_made_at_once_have_one_winner
    a_token_is_live_until_its_end
    a_later_token_takes_the_place_of_the_former_of_its_kind
    two_tokens_made_at_once_leave_one
    a_token_sets_a_password_once_and_voids_the_others
    a_token_verifies_an_e_mail_once_and_is_known_afterwards
    a_token_spent_twice_at_once_has_one_winner
    changes_are_what_others_must_notice_and_nothing_else
    the_change_log_reaches_back_thirty_seconds
    letters_go_out_one_at_a_time_and_are_free_when_holding_ends
    one_node_takes_several_letters_while_no_other_takes_any
    a_letter_asked_for_again_is_one_letter
    a_letter_asked_for_again_while_it_is_sent_is_sent_again
    the_outbox_has_a_bound
    a_letter_taken_over_is_not_the_former_holders_any_more
    a_letter_goes_with_its_account
    what_is_past_its_end_is_removed
    events_are_bounded_and_newest_first
    what_was_written_is_there_after_reopening
    an_empty_database_is_made_only_where_that_is_asked_for
    a_database_of_somebody_else_is_left_alone_by_other_commands
    a_database_too_new_is_refused_and_a_newer_one_it_can_live_with_is_not
    an_older_schema_is_changed_by_serve_and_migrate_alone
    what_is_linked_outlasts_a_new_schema_and_former_binaries_go_on_beside_it
    many_that_make_the_schema_at_once_all_succeed
    a_write_that_must_wait_too_long_fails_as_unavailable
    a_write_given_up_by_its_caller_leaves_nothing
    every_method_may_be_awaited_on_another_thread
}

mod links;
mod transfer;

struct Bed {
    store: Store,
    clock: Clock,
    database: Database,
    _directory: Option<tempfile::TempDir>,
}

impl Bed {
    async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(directory.path().join("data/portcullis.db"));
        Self::open(url, Some(directory)).await
    }

    async fn postgres() -> Self {
        let url = Postgres::start().database().await;
        Self::open(DatabaseUrl::Postgres(url.into()), None).await
    }

    async fn open(url: DatabaseUrl, directory: Option<tempfile::TempDir>) -> Self {
        let database =
            Database { url, max_connections: 5, acquire_timeout: Duration::from_secs(5) };
        let clock = Clock::adjustable();
        let store = Store::open(&database, Migrate::Fully, clock.clone()).await.unwrap();
        Self { store, clock, database, _directory: directory }
    }

    /// Another node, or another process, on the same database.
    async fn again(&self, migrate: Migrate) -> Result<Store, StoreError> {
        Store::open(&self.database, migrate, self.clock.clone()).await
    }

    /// The same kind of database, empty.
    async fn empty(&self) -> (Database, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let url = match &self.database.url {
            DatabaseUrl::Sqlite(_) => DatabaseUrl::Sqlite(directory.path().join("empty.db")),
            DatabaseUrl::Postgres(_) => {
                DatabaseUrl::Postgres(Postgres::start().database().await.into())
            }
        };
        (Database { url, ..self.database.clone() }, directory)
    }

    async fn person(&self, name: &str) -> User {
        self.add(&NewUser { is_active: true, ..new_user(name) }).await
    }

    async fn superuser(&self, name: &str) -> User {
        self.add(&NewUser { is_active: true, is_superuser: true, ..new_user(name) }).await
    }

    async fn add(&self, user: &NewUser) -> User {
        self.store.insert_user(id(), user, &event("user-created")).await.unwrap()
    }

    async fn user(&self, id: Uuid) -> User {
        self.store.find_user(id).await.unwrap().unwrap()
    }

    async fn sign_in(&self, user: &User) -> SessionRow {
        let session = session(user, self.clock.now());
        self.store.insert_session(&sign_in(&session)).await.unwrap();
        session
    }

    async fn is_signed_in(&self, session: &SessionRow) -> bool {
        self.store.find_session(&session.id).await.unwrap().is_some()
    }

    /// The change log. A busy machine may miss its one-second deadline now and then.
    async fn changes(&self) -> Vec<Change> {
        for _ in 0..10 {
            match self.store.list_changes().await {
                Err(StoreError::Unavailable(_)) => {}
                read => return read.unwrap().rows,
            }
        }
        panic!("the change log cannot be read");
    }

    /// What the change log says was changed since `before`, in order.
    async fn changed_since(&self, before: i64) -> Vec<Changed> {
        let rows = self.changes().await;
        rows.into_iter().filter(|row| row.id > before).map(|row| row.subject).collect()
    }

    fn invitation(&self, guest: &str, inviter: Option<Uuid>) -> Invitation {
        Invitation {
            id: id(),
            email: format!("{guest}@example.com"),
            email_folded: format!("{guest}@example.com"),
            first_name: None,
            last_name: None,
            roles: vec!["admin".to_owned()],
            invited_by: "somebody".to_owned(),
            inviter,
            created_at: self.clock.now(),
            expires_at: self.clock.now().after(Duration::from_hours(1)),
        }
    }

    async fn last_change(&self) -> i64 {
        let rows = self.changes().await;
        rows.last().map_or(0, |row| row.id)
    }
}

/// Runs statements behind the store's back.
async fn run_sql(database: &Database, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    match &database.url {
        DatabaseUrl::Sqlite(path) => {
            let mut connection = sqlite_connection(path).await;
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = postgres_connection(url).await;
            connection.execute(sql).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

async fn count(database: &Database, sql: &str) -> i64 {
    let sql = AssertSqlSafe(sql.to_owned());
    match &database.url {
        DatabaseUrl::Sqlite(path) => {
            sqlite_connection(path).await.fetch_one(sql).await.unwrap().get(0)
        }
        DatabaseUrl::Postgres(url) => {
            postgres_connection(url).await.fetch_one(sql).await.unwrap().get(0)
        }
    }
}

async fn sqlite_connection(path: &std::path::Path) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.connect().await.unwrap()
}

async fn postgres_connection(url: &secrecy::SecretString) -> sqlx::PgConnection {
    let options: sqlx::postgres::PgConnectOptions =
        secrecy::ExposeSecret::expose_secret(url).parse().unwrap();
    options.connect().await.unwrap()
}

fn id() -> Uuid {
    Entropy::system().uuid()
}

fn digest() -> [u8; 32] {
    Entropy::system().bytes()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn new_user(name: &str) -> NewUser {
    let email = format!("{name}@example.com");
    NewUser { email_folded: email.to_lowercase(), email, ..NewUser::default() }
}

fn event(kind: &str) -> Event {
    Event {
        at: Timestamp::from_seconds(1_800_000_000),
        kind: kind.to_owned(),
        user: None,
        actor: "test".to_owned(),
        address: None,
        agent: String::new(),
        detail: String::new(),
    }
}

fn session(user: &User, now: Timestamp) -> SessionRow {
    SessionRow {
        id: digest(),
        user: user.id,
        method: Method::Password,
        kind: SessionKind::Cookie,
        created_at: now,
        last_seen: now,
        idle: Some(Duration::from_hours(2)),
        expires_at: now.after(Duration::from_hours(12)),
        address: Some(address("192.0.2.7")),
        agent: "a browser".to_owned(),
        origin: None,
    }
}

fn sign_in(session: &SessionRow) -> SignIn {
    SignIn { session: session.clone(), replaces: None, event: event("sign-in") }
}

fn forever(role: &str) -> RoleGrant {
    RoleGrant { role: role.to_owned(), until: None }
}

fn grants(texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| Grant::parse(text).unwrap()).collect()
}

fn hash(cost: u32) -> String {
    let (salt, digest) = ("c29tZXNhbHRzb21lc2FsdA", "RdescudvJCsgt3ub+b3dWRWJTmaQCg8XcpTuCZzmYXk");
    format!("$argon2id$v=19$m={cost},t=2,p=1${salt}${digest}")
}

#[track_caller]
fn assert_conflict<T: std::fmt::Debug>(result: Result<T, StoreError>, expected: Conflict) {
    match result {
        Err(StoreError::Conflict(conflict)) => assert_eq!(conflict, expected),
        other => panic!("expected {expected:?}, got {other:?}"),
    }
}

async fn an_account_is_found_by_id_email_and_username_in_any_case(bed: Bed) {
    let profile = Profile {
        first_name: Some("Ann".to_owned()),
        last_name: Some("Öz".to_owned()),
        organization: Some("Org".to_owned()),
        department: None,
        phone: Some("+1".to_owned()),
    };
    let new = NewUser {
        email: "Ann@example.com".to_owned(),
        email_folded: "ann@example.com".to_owned(),
        username: Some("Ann.B".to_owned()),
        password_hash: None,
        profile: profile.clone(),
        is_active: true,
        is_superuser: false,
        is_verified: true,
        roles: vec!["writer".to_owned(), "reader".to_owned()],
    };
    let made = bed.add(&new).await;
    assert_eq!(made.email, "Ann@example.com");
    assert_eq!(made.username.as_deref(), Some("Ann.B"));
    assert_eq!(made.profile, profile);
    assert_eq!((made.is_active, made.is_superuser, made.is_verified), (true, false, true));
    assert_eq!((made.login_count, made.failed_login_count, made.last_login_at), (0, 0, None));
    assert!(bed.clock.now().since(made.created_at) < Duration::from_mins(1));
    let store = &bed.store;
    assert_eq!(store.find_user(made.id).await.unwrap().as_ref(), Some(&made));
    let by_email = store.find_user_by_email("ann@example.com").await.unwrap();
    assert_eq!(by_email.as_ref(), Some(&made));
    let by_username = store.find_user_by_username("aNN.b").await.unwrap();
    assert_eq!(by_username.as_ref(), Some(&made));
    assert_eq!(store.find_user(id()).await.unwrap(), None);
    assert_eq!(store.find_user_by_email("Ann@example.com").await.unwrap(), None);
    assert_eq!(store.list_grants(made.id).await.unwrap(), [forever("reader"), forever("writer")]);
}

async fn emails_and_usernames_belong_to_one_account_each(bed: Bed) {
    let named = |name: &str, username: &str| NewUser {
        username: Some(username.to_owned()),
        ..new_user(name)
    };
    bed.add(&named("ann", "Ann")).await;
    let insert =
        async |user: NewUser| bed.store.insert_user(id(), &user, &event("user-created")).await;
    assert_conflict(insert(named("ANN", "other")).await, Conflict::Email);
    assert_conflict(insert(named("bob", "aNN")).await, Conflict::Username);
    // Nothing of a refused account stays, and no username is no conflict.
    assert_eq!(bed.store.list_users(None, 10).await.unwrap().len(), 1);
    assert_eq!(bed.store.list_events(None, 10).await.unwrap().len(), 1);
    insert(new_user("bob")).await.unwrap();
    insert(new_user("cyd")).await.unwrap();
}

async fn accounts_are_listed_page_by_page_in_byte_order(bed: Bed) {
    for name in ["b", "é", "a_b", "ab", "a-b", "z", "a.b"] {
        bed.person(name).await;
    }
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = bed.store.list_users(after.as_deref(), 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.email_folded.to_string());
        seen.extend(page.into_iter().map(|user| user.email.replace("@example.com", "")));
    }
    assert_eq!(seen, ["a-b", "a.b", "a_b", "ab", "b", "z", "é"]);
}

async fn nobody_is_found_by_text_no_database_can_hold(bed: Bed) {
    assert_eq!(bed.store.find_user_by_email("a\0b@example.com").await.unwrap(), None);
    assert_eq!(bed.store.find_user_by_username("a\0b").await.unwrap(), None);
    let odd = Event { agent: "a\0b".to_owned(), ..event("sign-in-failed") };
    bed.store.insert_event(&odd).await.unwrap();
    assert_eq!(bed.store.list_events(None, 1).await.unwrap()[0].agent, "ab");
}

async fn a_flag_changes_alone_and_says_when_there_is_nobody(bed: Bed) {
    let ann = bed.person("ann").await;
    let steps = [
        (Flag::Active(false), (false, false, false)),
        (Flag::Verified, (false, false, true)),
        (Flag::Active(true), (true, false, true)),
    ];
    bed.superuser("root").await;
    for (flag, expected) in steps {
        bed.store.update_user(ann.id, &flag.into(), OPERATOR, &event("flag")).await.unwrap();
        let user = bed.user(ann.id).await;
        assert_eq!((user.is_active, user.is_superuser, user.is_verified), expected, "{flag:?}");
    }
    let before = bed.last_change().await;
    bed.store
        .update_user(ann.id, &Flag::Active(true).into(), OPERATOR, &event("again"))
        .await
        .unwrap();
    assert_eq!(bed.changed_since(before).await, []);
    let nobody =
        bed.store.update_user(id(), &Flag::Active(true).into(), OPERATOR, &event("flag")).await;
    assert_conflict(nobody, Conflict::Gone);
}

async fn switching_an_account_off_ends_its_sessions(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    let (hers, his) = (bed.sign_in(&ann).await, bed.sign_in(&bob).await);
    bed.store
        .update_user(ann.id, &Flag::Active(false).into(), OPERATOR, &event("off"))
        .await
        .unwrap();
    assert!(!bed.is_signed_in(&hers).await);
    assert!(bed.is_signed_in(&his).await);
}

impl Bed {
    /// A superuser who is signed in.
    async fn acting(&self, name: &str) -> Superuser {
        let user = self.superuser(name).await;
        Superuser { account: user.id, session: self.sign_in(&user).await.id }
    }
}

async fn whoever_is_no_superuser_any_more_does_nothing(bed: Bed) {
    let store = &bed.store;
    let (ann, _root) = (bed.person("ann").await, bed.superuser("root").await);
    let demoted = UserChange { is_superuser: Some(false), ..UserChange::default() };
    let promoted = UserChange { is_superuser: Some(true), ..UserChange::default() };
    let open = bed.invitation("open", None);
    assert!(store.insert_invitation(&open, None, None, &event("invite")).await.unwrap());
    for way in ["demoted", "off", "signed out", "deleted"] {
        let by = bed.acting(&way.replace(' ', "-")).await;
        let (eve, author) = (by.account, Author::Operator(Some(by)));
        let taken = event(way);
        store.update_user(ann.id, &demoted, author, &event("early")).await.unwrap();
        match way {
            "demoted" => store.update_user(eve, &demoted, OPERATOR, &taken).await.map(drop),
            "off" => {
                let off = Flag::Active(false).into();
                store.update_user(eve, &off, OPERATOR, &taken).await.map(drop)
            }
            "deleted" => store.delete_user(eve, OPERATOR, &taken).await,
            _ => store.delete_sessions(EndSessions::One(by.session), &taken).await.map(drop),
        }
        .unwrap();
        let others = [ann.id, eve].into_iter().filter(|id| *id == ann.id || way != "deleted");
        for id in others {
            let late = store.update_user(id, &promoted, author, &event("late")).await;
            assert_conflict(late, Conflict::NoSuperuser);
            assert_conflict(
                store.delete_user(id, author, &event("late")).await,
                Conflict::NoSuperuser,
            );
        }
        let invitation = bed.invitation("late", Some(by.account));
        let late = store.insert_invitation(&invitation, Some(by), None, &event("late")).await;
        assert_conflict(late, Conflict::NoSuperuser);
        let late = store.delete_invitation(open.id, Some(by), &event("late")).await;
        assert_conflict(late, Conflict::NoSuperuser);
    }
    assert!(!bed.user(ann.id).await.is_superuser);
    assert_eq!(store.list_invitations(bed.clock.now(), 9).await.unwrap(), [open]);
    let events = store.list_events(None, 100).await.unwrap();
    assert!(events.iter().all(|event| event.kind != "late"), "{events:?}");
}

async fn two_superusers_who_change_each_other_at_once_both_do(bed: Bed) {
    let (other, event) = (bed.again(Migrate::Never).await.unwrap(), event("update"));
    let (a, b) = (bed.acting("a").await, bed.acting("b").await);
    for round in 0..20 {
        let first_name = Some(format!("{round}"));
        let profile = Profile { first_name, ..Profile::default() };
        let change = UserChange { profile, ..UserChange::default() };
        let (by_a, by_b) = (Author::Operator(Some(a)), Author::Operator(Some(b)));
        let (one, two) = tokio::join!(
            bed.store.update_user(b.account, &change, by_a, &event),
            other.update_user(a.account, &change, by_b, &event),
        );
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    }
}

async fn invitations_go_with_the_superuser_who_made_them(bed: Bed) {
    let store = &bed.store;
    let root = bed.acting("root").await;
    let invite = async |guest: &str, by: Option<Superuser>| {
        let invitation = bed.invitation(guest, by.map(|by| by.account));
        store.insert_invitation(&invitation, by, None, &event("invite")).await
    };
    assert!(invite("by-root", Some(root)).await.unwrap());
    assert!(invite("by-hand", None).await.unwrap());
    for way in ["demoted", "off", "deleted"] {
        let by = bed.acting(way).await;
        let user = bed.user(by.account).await;
        assert!(invite("one", Some(by)).await.unwrap());
        assert!(invite("two", Some(by)).await.unwrap());
        let (name, event) = (UserChange::default(), event(way));
        store.update_user(user.id, &name, OPERATOR, &event).await.unwrap();
        assert_eq!(store.list_invitations(bed.clock.now(), 9).await.unwrap().len(), 4);
        match way {
            "deleted" => store.delete_user(user.id, OPERATOR, &event).await.unwrap(),
            "off" => {
                let off = Flag::Active(false).into();
                store.update_user(user.id, &off, OPERATOR, &event).await.map(drop).unwrap();
            }
            _ => {
                let demoted = UserChange { is_superuser: Some(false), ..UserChange::default() };
                store.update_user(user.id, &demoted, OPERATOR, &event).await.map(drop).unwrap();
            }
        }
        let left = store.list_invitations(bed.clock.now(), 9).await.unwrap();
        let mut left: Vec<_> = left.iter().map(|left| &*left.email).collect();
        left.sort_unstable();
        assert_eq!(left, ["by-hand@example.com", "by-root@example.com"], "{way}");
        let told = store.list_events(None, 1).await.unwrap().remove(0);
        assert!(told.detail.ends_with("invitations taken back: 2"), "{told:?}");
        assert_conflict(invite("late", Some(by)).await, Conflict::NoSuperuser);
    }
}

async fn the_last_active_superuser_stays(bed: Bed) {
    assert!(!bed.store.has_superuser().await.unwrap());
    let root = bed.superuser("root").await;
    let retired = NewUser { is_superuser: true, is_active: false, ..new_user("retired") };
    let retired = bed.add(&retired).await;
    assert!(bed.store.has_superuser().await.unwrap());
    let refused =
        bed.store.update_user(root.id, &Flag::Active(false).into(), OPERATOR, &event("flag")).await;
    assert_conflict(refused, Conflict::LastSuperuser);
    assert_conflict(
        bed.store.delete_user(root.id, OPERATOR, &event("x")).await,
        Conflict::LastSuperuser,
    );
    assert_eq!(bed.user(root.id).await, root);
    // One that is off counts for nothing, and may go.
    bed.store.delete_user(retired.id, OPERATOR, &event("delete")).await.unwrap();
    let second = bed.superuser("second").await;
    bed.store
        .update_user(root.id, &Flag::Active(false).into(), OPERATOR, &event("flag"))
        .await
        .unwrap();
    let refused = bed.store.delete_user(second.id, OPERATOR, &event("delete")).await;
    assert_conflict(refused, Conflict::LastSuperuser);
    bed.store.delete_user(root.id, OPERATOR, &event("delete")).await.unwrap();
}

async fn two_superusers_taken_away_at_once_leave_one(bed: Bed) {
    let other = bed.again(Migrate::Never).await.unwrap();
    for round in 0..10 {
        let a = bed.superuser(&format!("a{round}")).await;
        if round == 0 {
            bed.superuser("b").await;
        }
        let b = bed.store.find_user_by_email("b@example.com").await.unwrap().unwrap();
        let (switch_off, remove) = (event("off"), event("delete"));
        let is_off = Flag::Active(false).into();
        let (one, two) =
            tokio::join!(bed.store.update_user(a.id, &is_off, OPERATOR, &switch_off), async {
                match round % 2 {
                    0 => other
                        .update_user(b.id, &Flag::Active(false).into(), OPERATOR, &switch_off)
                        .await
                        .map(drop),
                    _ => other.delete_user(b.id, OPERATOR, &remove).await,
                }
            });
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        assert!(bed.store.has_superuser().await.unwrap());
        // Whoever is left, the next round begins with two again.
        if two.is_ok() {
            if round % 2 == 0 {
                let on = event("on");
                other.update_user(b.id, &Flag::Active(true).into(), OPERATOR, &on).await.unwrap();
            } else {
                bed.superuser("b").await;
            }
            bed.store
                .update_user(a.id, &Flag::Active(false).into(), OPERATOR, &event("x"))
                .await
                .unwrap();
        }
    }
}

fn administrator(name: &str) -> NewUser {
    NewUser {
        is_active: true,
        is_superuser: true,
        is_verified: true,
        roles: vec!["admin".to_owned()],
        ..new_user(name)
    }
}

async fn the_first_administrator_takes_a_live_link_once(bed: Bed) {
    let store = &bed.store;
    let hour = Duration::from_hours(1);
    let (late, live, other) = (digest(), digest(), digest());
    store.insert_token(TokenKind::SetUp, None, &late, bed.clock.now()).await.unwrap();
    for token in [live, other] {
        let end = bed.clock.now().after(hour);
        store.insert_token(TokenKind::SetUp, None, &token, end).await.unwrap();
    }
    let take = async |name: &str, token: &[u8; 32]| {
        let event = event("set-up");
        store.insert_first_administrator(id(), &administrator(name), token, &event).await
    };
    assert_conflict(take("a", &digest()).await, Conflict::Token);
    assert_conflict(take("a", &late).await, Conflict::Token);
    assert_eq!(store.list_users(None, 10).await.unwrap(), []);
    let made = take("a", &live).await.unwrap();
    assert!(made.is_superuser && made.is_verified);
    assert_eq!(store.list_grants(made.id).await.unwrap(), [forever("admin")]);
    assert_conflict(take("b", &other).await, Conflict::SetUpDone);
    assert!(!store.has_token(TokenKind::SetUp, &other, bed.clock.now()).await.unwrap());
    assert_eq!(store.list_users(None, 10).await.unwrap().len(), 1);
}

async fn two_first_administrators_at_once_have_one_winner(bed: Bed) {
    let other = bed.again(Migrate::Never).await.unwrap();
    for round in 0..5 {
        let (one, two) = (digest(), digest());
        // The same link in two tabs, or a link of each of two nodes.
        let two = if round % 2 == 0 { one } else { two };
        let end = bed.clock.now().after(Duration::from_hours(1));
        bed.store.insert_token(TokenKind::SetUp, None, &one, end).await.unwrap();
        if two != one {
            other.insert_token(TokenKind::SetUp, None, &two, end).await.unwrap();
        }
        let (first, second) = (administrator("first"), administrator("second"));
        let event = event("set-up");
        let (a, b) = tokio::join!(
            bed.store.insert_first_administrator(id(), &first, &one, &event),
            other.insert_first_administrator(id(), &second, &two, &event),
        );
        let (winner, loser) = match (a, b) {
            (Ok(winner), loser) | (loser, Ok(winner)) => (winner, loser),
            (a, b) => panic!("{a:?} {b:?}"),
        };
        assert_conflict(loser, Conflict::SetUpDone);
        assert_eq!(bed.store.list_users(None, 10).await.unwrap(), [winner]);
        run_sql(&bed.database, "DELETE FROM users").await;
    }
}

async fn a_link_that_is_not_spent_stays_when_the_account_is_refused(bed: Bed) {
    bed.person("taken").await;
    let (token, now) = (digest(), bed.clock.now());
    let end = now.after(Duration::from_hours(1));
    bed.store.insert_token(TokenKind::SetUp, None, &token, end).await.unwrap();
    let (user, event) = (administrator("taken"), event("set-up"));
    let refused = bed.store.insert_first_administrator(id(), &user, &token, &event).await;
    assert_conflict(refused, Conflict::Email);
    assert!(bed.store.has_token(TokenKind::SetUp, &token, now).await.unwrap());
}

async fn a_sign_in_counts_and_ends_the_session_it_replaces(bed: Bed) {
    let ann = bed.person("ann").await;
    bed.store.update_user_failed(ann.id).await.unwrap();
    let first = bed.sign_in(&ann).await;
    let second =
        SessionRow { address: Some(address("2001:db8::1")), ..session(&ann, bed.clock.now()) };
    let replacing = SignIn { replaces: Some(first.id), ..sign_in(&second) };
    bed.store.insert_session(&replacing).await.unwrap();
    let user = bed.user(ann.id).await;
    assert_eq!((user.login_count, user.failed_login_count), (2, 1));
    assert_eq!(user.last_login_at, Some(second.created_at));
    assert_eq!(user.last_address, Some(address("2001:db8::1")));
    assert!(!bed.is_signed_in(&first).await);
    assert!(bed.is_signed_in(&second).await);
    let kinds: Vec<_> =
        bed.store.list_events(None, 10).await.unwrap().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds, ["sign-in", "sign-in", "user-created"]);
}

async fn nobody_signs_in_to_an_account_that_is_gone_or_off(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    bed.store
        .update_user(ann.id, &Flag::Active(false).into(), OPERATOR, &event("off"))
        .await
        .unwrap();
    bed.store.delete_user(bob.id, OPERATOR, &event("delete")).await.unwrap();
    for user in [ann, bob] {
        let late = sign_in(&session(&user, bed.clock.now()));
        assert_conflict(bed.store.insert_session(&late).await, Conflict::Gone);
    }
    assert_eq!(bed.store.list_sessions(None, bed.clock.now(), 10).await.unwrap(), []);
}

async fn a_sign_in_beside_a_deactivation_leaves_no_session(bed: Bed) {
    let ann = bed.person("ann").await;
    let other = bed.again(Migrate::Never).await.unwrap();
    for _ in 0..20 {
        let signing_in = sign_in(&session(&ann, bed.clock.now()));
        let off = event("off");
        let is_off = Flag::Active(false).into();
        let (signed_in, switched) = tokio::join!(
            bed.store.insert_session(&signing_in),
            other.update_user(ann.id, &is_off, OPERATOR, &off),
        );
        switched.unwrap();
        if signed_in.is_err() {
            assert_conflict(signed_in, Conflict::Gone);
        }
        assert!(!bed.is_signed_in(&signing_in.session).await);
        bed.store
            .update_user(ann.id, &Flag::Active(true).into(), OPERATOR, &event("on"))
            .await
            .unwrap();
    }
}

async fn a_session_comes_with_its_owner_and_their_grants(bed: Bed) {
    let ann = bed.person("ann").await;
    let bare = bed.sign_in(&ann).await;
    let loaded = bed.store.find_session(&bare.id).await.unwrap().unwrap();
    assert_eq!((loaded.session, loaded.grants), (bare.clone(), vec![]));
    let past = RoleGrant { role: "past".to_owned(), until: Some(Timestamp::from_seconds(1)) };
    bed.store.insert_grant(ann.id, &past, &event("grant")).await.unwrap();
    bed.store.insert_grant(ann.id, &forever("admin"), &event("grant")).await.unwrap();
    let bearer = SessionRow {
        kind: SessionKind::Bearer,
        idle: None,
        address: None,
        agent: "x".repeat(300),
        expires_at: Timestamp::NEVER,
        ..session(&ann, bed.clock.now())
    };
    bed.store.insert_session(&sign_in(&bearer)).await.unwrap();
    let loaded = bed.store.find_session(&bearer.id).await.unwrap().unwrap();
    assert_eq!(loaded.session, SessionRow { agent: "x".repeat(256), ..bearer });
    assert_eq!(loaded.user, bed.user(ann.id).await);
    assert_eq!(loaded.grants, [forever("admin"), past]);
    assert_eq!(bed.store.find_session(&digest()).await.unwrap(), None);
}

async fn sessions_are_listed_newest_first_while_they_live(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    let start = bed.clock.now();
    let mut rows = Vec::new();
    for (user, second) in [(&ann, 0), (&bob, 1), (&ann, 2), (&ann, 3)] {
        let row = session(user, start.after(Duration::from_secs(second)));
        bed.store.insert_session(&sign_in(&row)).await.unwrap();
        rows.push(row);
    }
    let list = async |user: Option<Uuid>, at: u64, limit: u32| {
        let now = start.after(Duration::from_secs(at));
        let listed = bed.store.list_sessions(user, now, limit).await.unwrap();
        listed.into_iter().map(|(row, email)| (row.id, email)).collect::<Vec<_>>()
    };
    let of = |which: &[usize]| {
        let email = |i: usize| if i == 1 { "bob@example.com" } else { "ann@example.com" };
        which.iter().map(|&i| (rows[i].id, email(i).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 10, 10).await, of(&[3, 2, 1, 0]));
    assert_eq!(list(Some(ann.id), 10, 10).await, of(&[3, 2, 0]));
    assert_eq!(list(None, 10, 2).await, of(&[3, 2]));
    // Two hours idle; the last one was used meanwhile.
    bed.store
        .update_session_seen(&rows[3].id, start.after(Duration::from_secs(5000)))
        .await
        .unwrap();
    assert_eq!(list(None, 7202, 10).await, of(&[3]));
    assert_eq!(list(None, 43_203, 10).await, of(&[]));
}

async fn a_live_session_vouches_for_its_address(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    let now = bed.clock.now();
    bed.sign_in(&ann).await;
    let has = async |user: &User, from: &str, now: Timestamp| {
        bed.store.has_session_from(user.id, address(from), now).await.unwrap()
    };
    assert!(has(&ann, "192.0.2.7", now).await);
    assert!(has(&ann, "::ffff:192.0.2.7", now).await);
    assert!(!has(&ann, "192.0.2.8", now).await);
    assert!(!has(&bob, "192.0.2.7", now).await);
    assert!(!has(&ann, "192.0.2.7", now.after(Duration::from_secs(7300))).await);
    // An IPv6 address changes within its /64 as its owner's device pleases.
    let row = SessionRow { address: Some(address("2001:db8:1:2::7")), ..session(&bob, now) };
    bed.store.insert_session(&sign_in(&row)).await.unwrap();
    assert!(has(&bob, "2001:db8:1:2::7", now).await);
    assert!(has(&bob, "2001:db8:1:2:3:4:5:6", now).await);
    assert!(!has(&bob, "2001:db8:1:3::7", now).await);
    assert!(!has(&ann, "2001:db8:1:2::7", now).await);
}

async fn last_use_only_moves_forward(bed: Bed) {
    let ann = bed.person("ann").await;
    let row = bed.sign_in(&ann).await;
    for (seconds, expected) in [(60, 60), (30, 60), (90, 90)] {
        let seen = row.created_at.after(Duration::from_secs(seconds));
        bed.store.update_session_seen(&row.id, seen).await.unwrap();
        let loaded = bed.store.find_session(&row.id).await.unwrap().unwrap();
        let expected = row.created_at.after(Duration::from_secs(expected));
        assert_eq!(loaded.session.last_seen, expected);
    }
    bed.store.update_session_seen(&digest(), row.created_at).await.unwrap();
}

async fn sessions_end_one_by_one_by_person_and_all(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    let end = async |which: EndSessions| {
        bed.store.delete_sessions(which, &event("sign-out")).await.unwrap()
    };
    let hers = [bed.sign_in(&ann).await, bed.sign_in(&ann).await, bed.sign_in(&ann).await];
    let his = bed.sign_in(&bob).await;
    assert_eq!(end(EndSessions::One(hers[0].id)).await, 1);
    assert_eq!(end(EndSessions::One(hers[0].id)).await, 0);
    assert!(!bed.is_signed_in(&hers[0]).await);
    assert!(bed.is_signed_in(&hers[1]).await);
    assert_eq!(end(EndSessions::OfUser(ann.id)).await, 2);
    assert_eq!(end(EndSessions::OfUser(ann.id)).await, 0);
    assert!(bed.is_signed_in(&his).await);
    bed.sign_in(&ann).await;
    let before = bed.last_change().await;
    assert_eq!(end(EndSessions::All).await, 2);
    let mut changed = bed.changed_since(before).await;
    let mut expected = [Changed::User(ann.id), Changed::User(bob.id)];
    changed.sort_by_key(|subject| format!("{subject:?}"));
    expected.sort_by_key(|subject| format!("{subject:?}"));
    assert_eq!(changed, expected);
    assert_eq!(end(EndSessions::All).await, 0);
    // Only what ended something is an event.
    let events = bed.store.list_events(None, 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "sign-out").count(), 3);
}

async fn a_deleted_account_leaves_nothing_but_events(bed: Bed) {
    let ann = bed.person("ann").await;
    let row = bed.sign_in(&ann).await;
    bed.store.insert_grant(ann.id, &forever("admin"), &event("grant")).await.unwrap();
    let end = bed.clock.now().after(Duration::from_mins(1));
    bed.store.insert_token(TokenKind::SetUp, Some(ann.id), &digest(), end).await.unwrap();
    let about = Event { user: Some(ann.id), ..event("user-deleted") };
    bed.store.delete_user(ann.id, OPERATOR, &about).await.unwrap();
    assert_eq!(bed.store.find_user(ann.id).await.unwrap(), None);
    assert!(!bed.is_signed_in(&row).await);
    for table in ["user_roles", "sessions", "tokens"] {
        assert_eq!(count(&bed.database, &format!("SELECT COUNT(*) FROM {table}")).await, 0);
    }
    assert_eq!(bed.store.list_events(Some(ann.id), 10).await.unwrap(), [about]);
    assert_conflict(bed.store.delete_user(ann.id, OPERATOR, &event("x")).await, Conflict::Gone);
    bed.person("ann").await;
}

async fn all_accounts_are_read_as_they_were_at_one_instant(bed: Bed) {
    for name in ["ann", "bob", "eve"] {
        let person = bed.person(name).await;
        bed.store.insert_grant(person.id, &forever("staff"), &event("grant")).await.unwrap();
    }
    let before = bed.store.list_accounts(None, 10).await.unwrap();
    let mut snapshot = bed.store.snapshot().await.unwrap();
    let mut read = snapshot.list_accounts(None, 1).await.unwrap();
    bed.person("dan").await;
    bed.store.delete_user(before[2].0.id, OPERATOR, &event("user-deleted")).await.unwrap();
    bed.store.delete_grant(before[1].0.id, "staff", &event("revoke")).await.unwrap();
    read.extend(snapshot.list_accounts(Some(&read[0].0.email_folded), 10).await.unwrap());
    assert_eq!(read, before);
    assert_eq!(bed.store.list_accounts(None, 10).await.unwrap().len(), 3);
}

async fn a_new_password_ends_every_session(bed: Bed) {
    let ann = bed.person("ann").await;
    let (one, other) = (bed.sign_in(&ann).await, bed.sign_in(&ann).await);
    bed.store
        .update_user(ann.id, &password(hash(19_456)), OPERATOR, &event("password"))
        .await
        .unwrap();
    assert!(!bed.is_signed_in(&one).await);
    assert!(!bed.is_signed_in(&other).await);
    assert_eq!(bed.user(ann.id).await.password_hash, Some(hash(19_456)));
    let nobody = bed.store.update_user(id(), &password(hash(19_456)), OPERATOR, &event("x")).await;
    assert_conflict(nobody, Conflict::Gone);
}

async fn a_hash_is_replaced_only_if_it_is_still_the_one_verified(bed: Bed) {
    let ann = NewUser { password_hash: Some(hash(8192)), ..new_user("ann") };
    let ann = bed.add(&ann).await;
    bed.store.update_user_hash(ann.id, &hash(19_456), &hash(19_457)).await.unwrap();
    assert_eq!(bed.user(ann.id).await.password_hash, Some(hash(8192)));
    bed.store.update_user_hash(ann.id, &hash(8192), &hash(19_456)).await.unwrap();
    assert_eq!(bed.user(ann.id).await.password_hash, Some(hash(19_456)));
}

async fn kinds_of_hashes_are_those_that_accounts_have(bed: Bed) {
    let store = &bed.store;
    let kind = |cost: u32| Kind::of(&hash(cost)).unwrap();
    assert_eq!(store.list_password_kinds().await.unwrap(), []);
    let with = |name: &str, hash: String| NewUser { password_hash: Some(hash), ..new_user(name) };
    let ann = bed.add(&with("ann", hash(8192))).await;
    bed.add(&with("bob", "not a hash".to_owned())).await;
    assert_eq!(store.list_password_kinds().await.unwrap(), [(kind(8192), None)]);
    let cost = Duration::from_micros(12_345);
    store.update_password_kind(&kind(8192), cost).await.unwrap();
    store.update_password_kind(&kind(19_456), cost * 2).await.unwrap();
    // A measured kind that nobody has does not count, one met again keeps what was measured.
    assert_eq!(store.list_password_kinds().await.unwrap(), [(kind(8192), Some(cost))]);
    bed.add(&with("cyd", hash(8192))).await;
    assert_eq!(store.list_password_kinds().await.unwrap(), [(kind(8192), Some(cost))]);
    store.update_user_hash(ann.id, &hash(8192), &hash(19_456)).await.unwrap();
    let both = [(kind(19_456), Some(cost * 2)), (kind(8192), Some(cost))];
    assert_eq!(store.list_password_kinds().await.unwrap(), both);
}

async fn a_grant_is_held_until_its_end_and_granted_anew(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    let now = bed.clock.now();
    let ending =
        RoleGrant { role: "reader".to_owned(), until: Some(now.after(Duration::from_secs(8))) };
    let store = &bed.store;
    store.insert_grant(ann.id, &ending, &event("grant")).await.unwrap();
    store.insert_grant(bob.id, &forever("reader"), &event("grant")).await.unwrap();
    store.insert_grant(bob.id, &forever("admin"), &event("grant")).await.unwrap();
    assert_eq!(store.list_grants(ann.id).await.unwrap(), [ending]);
    let count = async |seconds: u64| {
        bed.store.count_grants(now.after(Duration::from_secs(seconds))).await.unwrap()
    };
    let both = BTreeMap::from([("admin".to_owned(), 1), ("reader".to_owned(), 2)]);
    assert_eq!(count(7).await, both);
    assert_eq!(count(8).await["reader"], 1);
    store.insert_grant(ann.id, &forever("reader"), &event("grant")).await.unwrap();
    assert_eq!(store.list_grants(ann.id).await.unwrap(), [forever("reader")]);
    assert_eq!(count(8).await, both);
    assert!(store.delete_grant(ann.id, "reader", &event("revoke")).await.unwrap());
    assert!(!store.delete_grant(ann.id, "reader", &event("revoke")).await.unwrap());
    assert_eq!(store.list_grants(ann.id).await.unwrap(), []);
    let nobody = store.insert_grant(id(), &forever("reader"), &event("grant")).await;
    assert_conflict(nobody, Conflict::Gone);
}

fn role(name: &str, permissions: &[&str]) -> RoleRow {
    RoleRow { name: name.to_owned(), description: "why".to_owned(), grants: grants(permissions) }
}

async fn a_role_grants_what_it_was_given(bed: Bed) {
    let (store, event) = (&bed.store, event("role"));
    store.insert_role(&role("writer", &["b:write", "a:read", "a:read"]), &event).await.unwrap();
    store.insert_role(&role("empty", &[]), &event).await.unwrap();
    let expected = [role("empty", &[]), role("writer", &["a:read", "b:write"])];
    assert_eq!(store.list_roles().await.unwrap(), expected);
    assert!(store.insert_role_grants("writer", &grants(&["c:*", "a:read"]), &event).await.unwrap());
    assert!(
        store.delete_role_grants("writer", &grants(&["b:write", "x:y"]), &event).await.unwrap()
    );
    let expected = [role("empty", &[]), role("writer", &["a:read", "c:*"])];
    assert_eq!(store.list_roles().await.unwrap(), expected);
    let ann = bed.person("ann").await;
    store.insert_grant(ann.id, &forever("writer"), &event).await.unwrap();
    assert!(store.delete_role("writer", &event).await.unwrap());
    assert!(!store.delete_role("writer", &event).await.unwrap());
    assert!(!store.insert_role_grants("writer", &grants(&["a:read"]), &event).await.unwrap());
    assert!(!store.delete_role_grants("writer", &grants(&["a:read"]), &event).await.unwrap());
    assert_eq!(store.list_roles().await.unwrap(), [role("empty", &[])]);
    assert_eq!(store.list_grants(ann.id).await.unwrap(), [forever("writer")]);
}

async fn roles_that_differ_only_in_case_are_one(bed: Bed) {
    let (store, event) = (&bed.store, event("role"));
    store.insert_role(&role("Writer", &[]), &event).await.unwrap();
    for name in ["Writer", "writer", "WRITER"] {
        assert_conflict(store.insert_role(&role(name, &[]), &event).await, Conflict::Role);
    }
    // Names are compared byte for byte everywhere else.
    assert!(!store.delete_role("writer", &event).await.unwrap());
    assert_eq!(store.list_roles().await.unwrap(), [role("Writer", &[])]);
}

async fn two_roles_that_differ_only_in_case_made_at_once_have_one_winner(bed: Bed) {
    let other = bed.again(Migrate::Never).await.unwrap();
    let event = event("role");
    for round in 0..10 {
        let (lower, upper) =
            (role(&format!("r{round}"), &["a:b"]), role(&format!("R{round}"), &[]));
        let (a, b) =
            tokio::join!(bed.store.insert_role(&lower, &event), other.insert_role(&upper, &event));
        assert!(a.is_ok() != b.is_ok());
        assert_conflict(a.and(b), Conflict::Role);
    }
    assert_eq!(bed.store.list_roles().await.unwrap().len(), 10);
}

async fn a_token_is_live_until_its_end(bed: Bed) {
    let (token, now) = (digest(), bed.clock.now());
    let end = now.after(Duration::from_hours(1));
    bed.store.insert_token(TokenKind::SetUp, None, &token, end).await.unwrap();
    let find = async |token: &[u8; 32], now: Timestamp| {
        bed.store.has_token(TokenKind::SetUp, token, now).await.unwrap()
    };
    assert!(find(&token, now).await);
    assert!(!find(&token, end).await);
    assert!(!find(&digest(), now).await);
}

/// A token of an account, stored; its digest.
async fn give(bed: &Bed, kind: TokenKind, user: Uuid) -> [u8; 32] {
    let (digest, expires_at) = (digest(), bed.clock.now().after(Duration::from_hours(1)));
    bed.store.replace_token(&UserToken { kind, user, digest, expires_at }, None).await.unwrap();
    digest
}

async fn a_later_token_takes_the_place_of_the_former_of_its_kind(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    let former = give(&bed, TokenKind::Reset, ann.id).await;
    let others =
        [(TokenKind::Reset, bob.id), (TokenKind::Verify, ann.id), (TokenKind::Reset, ann.id)];
    let mut digests = Vec::new();
    for (kind, user) in others {
        digests.push((kind, give(&bed, kind, user).await));
    }
    let now = bed.clock.now();
    assert!(!bed.store.has_token(TokenKind::Reset, &former, now).await.unwrap());
    for (kind, digest) in digests {
        assert!(bed.store.has_token(kind, &digest, now).await.unwrap(), "{kind:?}");
    }
    // Nobody, and nobody who may sign in, is given a token for a password.
    let off = NewUser { is_active: false, ..new_user("off") };
    let off = bed.add(&off).await;
    let token = |kind, user| UserToken { kind, user, digest: digest(), expires_at: now };
    for (kind, user) in
        [(TokenKind::Reset, off.id), (TokenKind::Reset, id()), (TokenKind::Verify, id())]
    {
        let given = bed.store.replace_token(&token(kind, user), None).await;
        assert_conflict(given, Conflict::Gone);
    }
    bed.store.replace_token(&token(TokenKind::Verify, off.id), None).await.unwrap();
}

async fn two_tokens_made_at_once_leave_one(bed: Bed) {
    let ann = bed.person("ann").await;
    let other = bed.again(Migrate::Never).await.unwrap();
    let expires_at = bed.clock.now().after(Duration::from_hours(1));
    let token = || UserToken { kind: TokenKind::Reset, user: ann.id, digest: digest(), expires_at };
    for _ in 0..5 {
        let (one, two) = (token(), token());
        let (a, b) =
            tokio::join!(bed.store.replace_token(&one, None), other.replace_token(&two, None));
        a.and(b).unwrap();
        assert_eq!(count(&bed.database, "SELECT COUNT(*) FROM tokens").await, 1);
    }
}

async fn a_token_sets_a_password_once_and_voids_the_others(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    let of_bob = bed.sign_in(&bob).await;
    let (reset, verify) =
        (give(&bed, TokenKind::Reset, ann.id).await, give(&bed, TokenKind::Verify, ann.id).await);
    let bobs = give(&bed, TokenKind::Reset, bob.id).await;
    let (store, now) = (&bed.store, bed.clock.now());
    let set = async |user: &User, digest: &[u8; 32]| {
        store.update_password_by_token(user, digest, (&hash(19_456), None), &event("reset")).await
    };
    let moved = User { email_folded: "ann@example.org".into(), ..ann.clone() };
    for (user, digest) in [(&moved, reset), (&ann, verify), (&ann, digest())] {
        assert_conflict(set(user, &digest).await, Conflict::Token);
    }
    store.update_user(ann.id, &Flag::Active(false).into(), OPERATOR, &event("x")).await.unwrap();
    assert_conflict(set(&ann, &reset).await, Conflict::Token);
    store.update_user(ann.id, &Flag::Active(true).into(), OPERATOR, &event("x")).await.unwrap();
    assert_conflict(set(&ann, &reset).await, Conflict::Token);
    assert!(store.has_token(TokenKind::Verify, &verify, now).await.unwrap());
    let (session, reset) = (bed.sign_in(&ann).await, give(&bed, TokenKind::Reset, ann.id).await);
    set(&ann, &reset).await.unwrap();
    assert_conflict(set(&ann, &reset).await, Conflict::Token);
    let found = store.find_user(ann.id).await.unwrap().unwrap();
    assert_eq!(found.password_hash, Some(hash(19_456)));
    assert!(store.find_session(&session.id).await.unwrap().is_none());
    assert!(store.find_session(&of_bob.id).await.unwrap().is_some());
    assert!(!store.has_token(TokenKind::Verify, &verify, now).await.unwrap());
    assert!(store.has_token(TokenKind::Reset, &bobs, now).await.unwrap());
    let events = store.list_events(None, 20).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "reset").count(), 1);
    // A password set by an operator voids them too, and an end is an end.
    store.update_user(bob.id, &password(hash(19_456)), OPERATOR, &event("x")).await.unwrap();
    assert_conflict(set(&bob, &bobs).await, Conflict::Token);
    let late = give(&bed, TokenKind::Reset, bob.id).await;
    bed.clock.advance(Duration::from_hours(1));
    assert_conflict(set(&bob, &late).await, Conflict::Token);
}

async fn a_token_verifies_an_e_mail_once_and_is_known_afterwards(bed: Bed) {
    let ann = NewUser { is_active: false, ..new_user("ann") };
    let ann = bed.add(&ann).await;
    let (verify, reset) = (give(&bed, TokenKind::Verify, ann.id).await, digest());
    let (store, now) = (&bed.store, bed.clock.now());
    let take = async |user: &User, digest: &[u8; 32]| {
        store.update_verified_by_token(user, digest, None, &event("verify")).await
    };
    let moved = User { email_folded: "ann@example.org".into(), ..ann.clone() };
    for (user, digest) in [(&moved, verify), (&ann, reset)] {
        assert_conflict(take(user, &digest).await, Conflict::Token);
    }
    assert!(!store.find_user(ann.id).await.unwrap().unwrap().is_verified);
    let verified = take(&ann, &verify).await.unwrap();
    assert!(verified.is_verified && !verified.is_active);
    assert_conflict(take(&ann, &verify).await, Conflict::Verified);
    assert!(!store.has_token(TokenKind::Verify, &verify, now).await.unwrap());
    assert!(store.has_token(TokenKind::Verified, &verify, now).await.unwrap());
    assert_eq!(bed.changes().await.last().unwrap().subject, Changed::User(ann.id));
}

async fn a_token_spent_twice_at_once_has_one_winner(bed: Bed) {
    let other = bed.again(Migrate::Never).await.unwrap();
    for round in 0..5 {
        let ann = bed.add(&NewUser { is_active: true, ..new_user(&format!("ann{round}")) }).await;
        let (reset, verify) = (
            give(&bed, TokenKind::Reset, ann.id).await,
            give(&bed, TokenKind::Verify, ann.id).await,
        );
        let (event, hash) = (event("x"), hash(19_456));
        let (a, b) = tokio::join!(
            bed.store.update_verified_by_token(&ann, &verify, None, &event),
            other.update_verified_by_token(&ann, &verify, None, &event),
        );
        assert_eq!([&a, &b].iter().filter(|taken| taken.is_ok()).count(), 1, "{a:?} {b:?}");
        let (a, b) = tokio::join!(
            bed.store.update_password_by_token(&ann, &reset, (&hash, None), &event),
            other.update_password_by_token(&ann, &reset, (&hash, None), &event),
        );
        assert_eq!([&a, &b].iter().filter(|taken| taken.is_ok()).count(), 1, "{a:?} {b:?}");
    }
}

async fn changes_are_what_others_must_notice_and_nothing_else(bed: Bed) {
    let store = &bed.store;
    let mut before = 0;
    let mut changed = async || {
        let rows = bed.changes().await;
        let new: Vec<_> = rows.into_iter().filter(|row| row.id > before).collect();
        before = new.last().map_or(before, |row| row.id);
        new.into_iter().map(|row| row.subject).collect::<Vec<_>>()
    };
    bed.superuser("root").await;
    let ann = NewUser { is_active: true, password_hash: Some(hash(8192)), ..new_user("ann") };
    let ann = bed.add(&ann).await;
    changed().await;
    let user = [Changed::User(ann.id)];

    // No changes: a new session, counters, last address, last use, a better hash, a token, an event.
    let (one, two) = (bed.sign_in(&ann).await, bed.sign_in(&ann).await);
    store.update_user_failed(ann.id).await.unwrap();
    store.update_session_seen(&one.id, one.created_at.after(Duration::from_secs(9))).await.unwrap();
    store.update_user_hash(ann.id, &hash(8192), &hash(19_456)).await.unwrap();
    store.update_password_kind(&Kind::current(), Duration::from_millis(20)).await.unwrap();
    store.insert_token(TokenKind::SetUp, None, &digest(), bed.clock.now()).await.unwrap();
    store.insert_event(&event("x")).await.unwrap();
    store.delete_expired(Timestamp::from_seconds(1), Timestamp::from_seconds(1)).await.unwrap();
    assert_eq!(changed().await, []);

    // Changes of the account.
    store.update_user(ann.id, &Flag::Verified.into(), OPERATOR, &event("x")).await.unwrap();
    assert_eq!(changed().await, user);
    store.insert_grant(ann.id, &forever("admin"), &event("x")).await.unwrap();
    assert_eq!(changed().await, user);
    store.delete_grant(ann.id, "admin", &event("x")).await.unwrap();
    assert_eq!(changed().await, user);
    store.delete_grant(ann.id, "admin", &event("x")).await.unwrap();
    assert_eq!(changed().await, []);

    // Ends of sessions.
    let next = session(&ann, bed.clock.now());
    let replacing = SignIn { replaces: Some(one.id), ..sign_in(&next) };
    store.insert_session(&replacing).await.unwrap();
    assert_eq!(changed().await, [Changed::Session(one.id)]);
    store.delete_sessions(EndSessions::One(two.id), &event("x")).await.unwrap();
    assert_eq!(changed().await, [Changed::Session(two.id)]);
    store.delete_sessions(EndSessions::One(two.id), &event("x")).await.unwrap();
    assert_eq!(changed().await, []);
    store.delete_sessions(EndSessions::OfUser(ann.id), &event("x")).await.unwrap();
    assert_eq!(changed().await, user);

    // Roles.
    let named = [Changed::Role("Writer".to_owned())];
    store.insert_role(&role("Writer", &["a:b"]), &event("x")).await.unwrap();
    assert_eq!(changed().await, named);
    store.insert_role_grants("Writer", &grants(&["c:d"]), &event("x")).await.unwrap();
    assert_eq!(changed().await, named);
    store.delete_role_grants("Writer", &grants(&["c:d"]), &event("x")).await.unwrap();
    assert_eq!(changed().await, named);
    store.delete_role("Writer", &event("x")).await.unwrap();
    assert_eq!(changed().await, named);
    store.delete_role("Writer", &event("x")).await.unwrap();
    assert_eq!(changed().await, []);

    // What is refused leaves no row.
    let refused = store.insert_user(id(), &new_user("ann"), &event("x")).await;
    assert_conflict(refused, Conflict::Email);
    assert_eq!(changed().await, []);
    store.update_user(ann.id, &password(hash(8192)), OPERATOR, &event("x")).await.unwrap();
    assert!(changed().await.contains(&Changed::User(ann.id)));
    store.delete_user(ann.id, OPERATOR, &event("x")).await.unwrap();
    assert_eq!(changed().await, user);
}

async fn the_change_log_reaches_back_thirty_seconds(bed: Bed) {
    let (ann, bob) = (bed.person("ann").await, bed.person("bob").await);
    let read = async || {
        let rows = bed.changes().await;
        assert!(rows.is_sorted_by_key(|row| row.id));
        rows.into_iter().map(|row| row.subject).collect::<Vec<_>>()
    };
    let both = [Changed::User(ann.id), Changed::User(bob.id)];
    // The same rows again and again, and by the database's clock, whatever ours says.
    bed.clock.advance(Duration::from_hours(1));
    assert_eq!(read().await, both);
    assert_eq!(read().await, both);
    let age = async |seconds: u32| {
        let sql = format!(
            "UPDATE changes SET at = at - {seconds}000000 WHERE id = (SELECT MIN(id) FROM changes)"
        );
        run_sql(&bed.database, &sql).await;
    };
    age(25).await;
    assert_eq!(read().await, both);
    age(10).await;
    assert_eq!(read().await, both[1..]);
    // Kept for an hour, though.
    let rows = "SELECT COUNT(*) FROM changes";
    bed.store.delete_expired(bed.clock.now(), Timestamp::from_seconds(0)).await.unwrap();
    assert_eq!(count(&bed.database, rows).await, 2);
    age(3500).await;
    bed.store.delete_expired(bed.clock.now(), Timestamp::from_seconds(0)).await.unwrap();
    assert_eq!(count(&bed.database, rows).await, 2);
    age(100).await;
    bed.store.delete_expired(bed.clock.now(), Timestamp::from_seconds(0)).await.unwrap();
    assert_eq!(count(&bed.database, rows).await, 1);
    // Numbers are never used again.
    let last = bed.last_change().await;
    run_sql(&bed.database, "DELETE FROM changes").await;
    bed.person("cyd").await;
    assert!(bed.last_change().await > last);
}

impl Bed {
    async fn ask(&self, recipient: &str, language: Language) {
        let queued_at = self.clock.now();
        let letter = NewLetter { kind: LetterKind::Reset, recipient, language, queued_at };
        assert!(self.store.insert_letter(&letter, 1000).await.unwrap());
    }

    /// Takes a letter and holds it this long; the next attempt is a minute later.
    async fn take(&self, hold: Duration) -> Option<HeldLetter> {
        self.take_for(id(), hold).await
    }

    async fn take_for(&self, node: Uuid, hold: Duration) -> Option<HeldLetter> {
        let (holder, pause) = (Holder { node, attempt: id() }, |_| Duration::from_mins(1));
        self.store.find_letter_to_send(self.clock.now(), holder, hold, pause).await.unwrap()
    }
}

const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(50);

async fn one_node_takes_several_letters_while_no_other_takes_any(bed: Bed) {
    for who in ["ann", "bob", "cyd"] {
        bed.ask(&format!("{who}@example.com"), Language::ENGLISH).await;
        bed.clock.advance(Duration::from_secs(1));
    }
    let (one, other) = (id(), id());
    let takers: Vec<_> = (0..8).map(|at| bed.take_for([one, other][at % 2], LONG)).collect();
    let taken: Vec<_> =
        futures_util::future::join_all(takers).await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 3, "{taken:?}");
    let recipients: BTreeSet<_> = taken.iter().map(|letter| &*letter.recipient).collect();
    assert_eq!(recipients.len(), 3, "each was taken once");
    bed.clock.advance(LONG);
    assert_eq!(bed.take_for(one, LONG).await, None, "due again, and still held");
    let before: Vec<_> = taken.iter().map(|letter| letter.holder).collect();
    for letter in &taken[..2] {
        bed.store.update_letter_released(letter).await.unwrap();
    }
    let free = [bed.take_for(one, LONG).await, bed.take_for(other, LONG).await];
    assert_eq!(free.iter().flatten().count(), 1, "the node that is at one goes on");
    let again = free.into_iter().flatten().next().unwrap();
    assert!(!before.contains(&again.holder));
    for letter in [&taken[2], &again] {
        bed.store.delete_letter(letter, None).await.unwrap();
    }
    let last = bed.take_for(other, LONG).await.unwrap();
    assert_eq!(last.attempts, 1);
}

async fn letters_go_out_one_at_a_time_and_are_free_when_holding_ends(bed: Bed) {
    assert_eq!(bed.take(LONG).await, None);
    bed.ask("ann@example.com", Language::GERMAN).await;
    bed.clock.advance(Duration::from_secs(1));
    bed.ask("bob@example.com", Language::ENGLISH).await;
    let takers: Vec<_> = (0..8).map(|_| bed.take(LONG)).collect();
    let taken: Vec<_> =
        futures_util::future::join_all(takers).await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    let ann = &taken[0];
    assert_eq!((&*ann.recipient, ann.language), ("ann@example.com", Language::GERMAN));
    assert_eq!((ann.kind, ann.attempts, ann.subject), (LetterKind::Reset, 0, None));
    bed.clock.advance(LONG + LONG);
    assert_eq!(bed.take(LONG).await, None, "only the database's own time ends it");
    bed.store.update_letter_released(ann).await.unwrap();
    let bob = bed.take(SHORT).await.unwrap();
    assert_eq!(bob.recipient, "bob@example.com", "what was tried goes behind");
    tokio::time::sleep(SHORT * 2).await;
    let ann = bed.take(SHORT).await.unwrap();
    assert_eq!((&*ann.recipient, ann.attempts), ("ann@example.com", 1));
    assert!(bed.store.update_letter_hold(&ann, LONG).await.unwrap());
    tokio::time::sleep(SHORT * 2).await;
    bed.clock.advance(LONG);
    assert_eq!(bed.take(LONG).await, None, "it is held longer");
    bed.store.delete_letter(&ann, None).await.unwrap();
    let bob = bed.take(LONG).await.unwrap();
    bed.store.delete_letter(&bob, Some(&event("mail-failed"))).await.unwrap();
    bed.store.delete_letter(&bob, Some(&event("mail-failed"))).await.unwrap();
    assert_eq!(bed.take(LONG).await, None);
    assert_eq!(bed.store.list_events(None, 10).await.unwrap().len(), 1, "told once");
}

async fn a_letter_asked_for_again_is_one_letter(bed: Bed) {
    bed.ask("ann@example.com", Language::ENGLISH).await;
    let held = bed.take(LONG).await.unwrap();
    let ann = bed.person("ann").await;
    bed.store.update_letter_subject(&held, ann.id).await.unwrap();
    bed.store.update_letter_released(&held).await.unwrap();
    assert_eq!(bed.take(LONG).await, None, "a minute has to pass");
    bed.clock.advance(Duration::from_secs(1));
    bed.ask("ann@example.com", Language::GERMAN).await;
    let again = bed.take(LONG).await.unwrap();
    assert_eq!((again.id, again.attempts, again.language), (held.id, 0, Language::GERMAN));
    assert!(again.queued_at > held.queued_at);
    assert_eq!(again.subject, None, "the address may be another's by now");
    bed.store.delete_letter(&again, None).await.unwrap();
    bed.clock.advance(LONG);
    assert_eq!(bed.take(LONG).await, None);
}

async fn a_letter_asked_for_again_while_it_is_sent_is_sent_again(bed: Bed) {
    let ann = bed.person("ann").await;
    bed.ask("ann@example.com", Language::ENGLISH).await;
    let held = bed.take(LONG).await.unwrap();
    bed.clock.advance(Duration::from_secs(1));
    bed.ask("ann@example.com", Language::GERMAN).await;
    bed.store.update_letter_subject(&held, ann.id).await.unwrap();
    bed.store.delete_letter(&held, None).await.unwrap();
    let again = bed.take(LONG).await.unwrap();
    assert_eq!((again.id, again.language), (held.id, Language::GERMAN));
    assert_eq!(again.subject, None, "the address may be another's by now");
    bed.store.delete_letter(&again, None).await.unwrap();
    bed.clock.advance(LONG);
    assert_eq!(bed.take(LONG).await, None);
}

async fn the_outbox_has_a_bound(bed: Bed) {
    let (language, queued_at) = (Language::ENGLISH, bed.clock.now());
    for (number, fits) in [(0, true), (1, true), (2, true), (3, false), (0, false)] {
        let recipient = format!("p{number}@example.com");
        let kind = LetterKind::Verify;
        let recipient = &*recipient;
        let letter = NewLetter { kind, recipient, language, queued_at };
        assert_eq!(bed.store.insert_letter(&letter, 3).await.unwrap(), fits, "{number}");
    }
}

async fn a_letter_taken_over_is_not_the_former_holders_any_more(bed: Bed) {
    let ann = bed.person("ann").await;
    bed.ask("ann@example.com", Language::ENGLISH).await;
    let former = bed.take(SHORT).await.unwrap();
    tokio::time::sleep(SHORT * 2).await;
    bed.clock.advance(LONG);
    let present = bed.take(LONG).await.unwrap();
    assert!(!bed.store.update_letter_hold(&former, LONG).await.unwrap());
    bed.store.update_letter_subject(&former, ann.id).await.unwrap();
    bed.store.update_letter_released(&former).await.unwrap();
    bed.store.delete_letter(&former, Some(&event("mail-failed"))).await.unwrap();
    bed.clock.advance(LONG);
    assert_eq!(bed.take(LONG).await, None, "it is still held");
    assert!(bed.store.update_letter_hold(&present, LONG).await.unwrap());
    bed.store.update_letter_released(&present).await.unwrap();
    assert_eq!(bed.take(LONG).await.unwrap().subject, None);
}

async fn a_letter_goes_with_its_account(bed: Bed) {
    let ann = bed.person("ann").await;
    bed.ask("ann@example.com", Language::ENGLISH).await;
    let held = bed.take(LONG).await.unwrap();
    bed.store.update_letter_subject(&held, ann.id).await.unwrap();
    bed.store.update_letter_released(&held).await.unwrap();
    bed.clock.advance(LONG);
    let again = bed.take(LONG).await.unwrap();
    assert_eq!(again.subject, Some(ann.id));
    bed.store.delete_user(ann.id, OPERATOR, &event("user-deleted")).await.unwrap();
    assert!(!bed.store.update_letter_hold(&again, LONG).await.unwrap());
}

async fn what_is_past_its_end_is_removed(bed: Bed) {
    let ann = bed.person("ann").await;
    let start = bed.clock.now();
    let at = |seconds: u64| start.after(Duration::from_secs(seconds));
    let row = |idle: Option<u64>, end: u64| SessionRow {
        idle: idle.map(Duration::from_secs),
        expires_at: at(end),
        ..session(&ann, start)
    };
    let rows = [row(Some(800), 10_000), row(None, 1000), row(None, 1001), row(Some(900), 10_000)];
    for row in &rows {
        bed.store.insert_session(&sign_in(row)).await.unwrap();
    }
    let (ended, live) = (digest(), digest());
    bed.store.insert_token(TokenKind::SetUp, None, &ended, at(1000)).await.unwrap();
    bed.store.insert_token(TokenKind::SetUp, None, &live, at(1001)).await.unwrap();
    let left = async |now: u64| {
        bed.store.delete_expired(at(now), at(0)).await.unwrap();
        let mut left = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            if bed.is_signed_in(row).await {
                left.push(i);
            }
        }
        left
    };
    // A use within the last tenth of `idle` may not have been written yet.
    assert_eq!(left(899).await, [0, 1, 2, 3]);
    assert_eq!(left(900).await, [1, 2, 3]);
    assert_eq!(left(1000).await, [2, 3]);
    assert_eq!(count(&bed.database, "SELECT COUNT(*) FROM tokens").await, 1);
    assert!(bed.store.has_token(TokenKind::SetUp, &live, start).await.unwrap());
    let old = Event { at: at(0), ..event("old") };
    let older = Event { at: Timestamp::from_seconds(5), ..event("older") };
    bed.store.insert_event(&old).await.unwrap();
    bed.store.insert_event(&older).await.unwrap();
    bed.store.delete_expired(at(1000), at(0)).await.unwrap();
    let kinds = bed.store.list_events(None, 100).await.unwrap();
    assert!(kinds.iter().any(|event| event.kind == "old"));
    assert!(!kinds.iter().any(|event| event.kind == "older"));
}

async fn events_are_bounded_and_newest_first(bed: Bed) {
    let (ann, at) = (id(), |seconds: i64| Timestamp::from_seconds(seconds));
    let told = |seconds: i64, user: Option<Uuid>| Event {
        at: at(seconds),
        user,
        address: Some(address("2001:db8::7")),
        detail: seconds.to_string(),
        ..event("x")
    };
    for (seconds, user) in [(3, None), (1, Some(ann)), (2, Some(ann)), (2, None)] {
        bed.store.insert_event(&told(seconds, user)).await.unwrap();
    }
    let all = [told(3, None), told(2, None), told(2, Some(ann)), told(1, Some(ann))];
    assert_eq!(bed.store.list_events(None, 10).await.unwrap(), all);
    assert_eq!(bed.store.list_events(None, 1).await.unwrap(), all[..1]);
    assert_eq!(bed.store.list_events(Some(ann), 10).await.unwrap(), all[2..]);
    let like = async |user, kind: &str, since| {
        let kind = Some(kind.to_owned()).filter(|kind| !kind.is_empty());
        let filter = EventFilter { user, kind, since: Some(at(since)) };
        bed.store.list_events_like(&filter, 10).await.unwrap()
    };
    assert_eq!(like(None, "", 2).await, all[..3]);
    assert_eq!(like(None, "x", 3).await, all[..1]);
    assert_eq!(like(Some(ann), "x", 2).await, all[2..3]);
    assert_eq!(like(None, "y", 0).await, []);
    let long = |length: usize| "ü".repeat(length);
    let big = Event { at: at(9), agent: long(5000), detail: long(5000), ..event("x") };
    bed.store.insert_event(&big).await.unwrap();
    let stored = bed.store.list_events(None, 1).await.unwrap().remove(0);
    assert_eq!((stored.agent, stored.detail), (long(256), long(512)));
}

async fn what_was_written_is_there_after_reopening(bed: Bed) {
    let ann = bed.person("ann").await;
    let row = bed.sign_in(&ann).await;
    bed.store.list_changes().await.unwrap();
    bed.store.close().await;
    assert!(matches!(bed.store.list_changes().await, Err(StoreError::Unavailable(_))));
    for migrate in [Migrate::Never, Migrate::CreateOnly, Migrate::Fully] {
        let store = bed.again(migrate).await.unwrap();
        assert!(store.find_session(&row.id).await.unwrap().is_some());
        store.close().await;
    }
}

#[track_caller]
fn assert_schema<T>(result: Result<T, StoreError>, part: &str) {
    match result {
        Err(StoreError::Schema(message)) => assert!(message.contains(part), "{message}"),
        Err(error) => panic!("expected {part}, got {error:?}"),
        Ok(_) => panic!("expected {part}, got a store"),
    }
}

async fn an_empty_database_is_made_only_where_that_is_asked_for(bed: Bed) {
    let (database, _directory) = bed.empty().await;
    let open = async |migrate| Store::open(&database, migrate, Clock::system()).await;
    assert!(matches!(open(Migrate::Never).await, Err(StoreError::Empty)));
    if let DatabaseUrl::Sqlite(path) = &database.url {
        assert!(!path.exists());
    }
    open(Migrate::CreateOnly).await.unwrap().close().await;
    open(Migrate::Never).await.unwrap().list_changes().await.unwrap();
}

async fn a_database_of_somebody_else_is_left_alone_by_other_commands(bed: Bed) {
    let (database, _directory) = bed.empty().await;
    run_sql(&database, "CREATE TABLE theirs (x INTEGER)").await;
    let open = async |migrate| Store::open(&database, migrate, Clock::system()).await;
    assert_schema(open(Migrate::Never).await, "portcullis migrate");
    assert_schema(open(Migrate::CreateOnly).await, "portcullis migrate");
    open(Migrate::Fully).await.unwrap().list_changes().await.unwrap();
}

async fn a_database_too_new_is_refused_and_a_newer_one_it_can_live_with_is_not(bed: Bed) {
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 7, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1; \
         UPDATE schema SET version = 7";
    run_sql(&bed.database, newer).await;
    for migrate in [Migrate::Never, Migrate::CreateOnly, Migrate::Fully] {
        bed.again(migrate).await.unwrap().list_changes().await.unwrap();
    }
    run_sql(&bed.database, "UPDATE schema SET oldest_compatible = 7").await;
    for migrate in [Migrate::Never, Migrate::CreateOnly, Migrate::Fully] {
        assert_schema(bed.again(migrate).await, "needs a portcullis that knows schema 7");
    }
}

async fn an_older_schema_is_changed_by_serve_and_migrate_alone(bed: Bed) {
    // A migration of a later release that was undone by hand is none of ours to complain about.
    let older = "INSERT INTO _sqlx_migrations \
         (version, description, success, checksum, execution_time) \
         SELECT 7, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1; \
         UPDATE schema SET version = 0";
    run_sql(&bed.database, older).await;
    assert_schema(bed.again(Migrate::Never).await, "portcullis migrate");
    assert_schema(bed.again(Migrate::CreateOnly).await, "portcullis migrate");
    bed.again(Migrate::Fully).await.unwrap();
}

/// Makes the schema as the binaries of an older one did.
async fn make_schema(database: &Database, version: i64) {
    let directory = match &database.url {
        DatabaseUrl::Sqlite(_) => "migrations/sqlite",
        DatabaseUrl::Postgres(_) => "migrations/postgres",
    };
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let migrator = sqlx::migrate::Migrator::new(directory).await.unwrap();
    match &database.url {
        DatabaseUrl::Sqlite(path) => {
            migrator.run_to(version, &mut sqlite_connection(path).await).await.unwrap();
        }
        DatabaseUrl::Postgres(url) => {
            migrator.run_to(version, &mut postgres_connection(url).await).await.unwrap();
        }
    }
}

async fn what_is_linked_outlasts_a_new_schema_and_former_binaries_go_on_beside_it(bed: Bed) {
    let (database, _directory) = bed.empty().await;
    make_schema(&database, 5).await;
    let id = match &database.url {
        DatabaseUrl::Sqlite(_) => "x'00000000000000000000000000000007'",
        DatabaseUrl::Postgres(_) => r"'\x00000000000000000000000000000007'",
    };
    let rows = format!(
        "INSERT INTO users (id, email, email_folded, is_active, is_superuser, is_verified, created_at) \
         VALUES ({id}, 'ann@example.com', 'ann@example.com', TRUE, FALSE, TRUE, 1); \
         INSERT INTO linked_accounts (provider, subject, user_id, linked_at, checked_at, next_check) \
         VALUES ('corp', '1', {id}, 2, 3, 4), ('firm', '1', {id}, 2, 3, NULL)"
    );
    run_sql(&database, &rows).await;
    let store = Store::open(&database, Migrate::Fully, Clock::system()).await.unwrap();
    let links = store.list_links(Uuid::from_u128(7)).await.unwrap();
    let keys: Vec<_> = links.iter().map(|link| (&*link.key.provider, &*link.key.subject)).collect();
    assert_eq!(keys, [("corp", "1"), ("firm", "1")]);
    let due = store.find_due_checks("corp", Clock::system().now(), Duration::ZERO, 10).await;
    assert_eq!(due.unwrap().len(), 1);
    // A node that has not been restarted yet writes so, and one that is brought back is let in.
    run_sql(&database, "UPDATE linked_accounts SET checked_at = 5, next_check = NULL").await;
    let let_in = "SELECT COUNT(*) FROM schema WHERE oldest_compatible <= 5";
    assert_eq!(count(&database, let_in).await, 1);
}

async fn many_that_make_the_schema_at_once_all_succeed(bed: Bed) {
    for _ in 0..10 {
        let (database, _directory) = bed.empty().await;
        let opening = (0..6).map(|i| {
            let (database, migrate) =
                (database.clone(), [Migrate::Fully, Migrate::CreateOnly][i % 2]);
            tokio::spawn(async move { Store::open(&database, migrate, Clock::system()).await })
        });
        for opened in opening.collect::<Vec<_>>() {
            opened.await.unwrap().unwrap().list_changes().await.unwrap();
        }
    }
}

/// Holds what a sign-in of anybody must write until the returned value is dropped.
async fn hold_users(database: &Database) -> Box<dyn Send> {
    match &database.url {
        DatabaseUrl::Sqlite(path) => {
            let mut connection = sqlite_connection(path).await;
            connection.execute("BEGIN IMMEDIATE").await.unwrap();
            Box::new(connection)
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = postgres_connection(url).await;
            connection.execute("BEGIN; SELECT id FROM users FOR UPDATE").await.unwrap();
            Box::new(connection)
        }
    }
}

async fn a_write_that_must_wait_too_long_fails_as_unavailable(bed: Bed) {
    let ann = bed.person("ann").await;
    let held = hold_users(&bed.database).await;
    let started = bed.clock.tick();
    let late = session(&ann, bed.clock.now());
    let refused = bed.store.insert_session(&sign_in(&late)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let waited = bed.clock.tick().since(started);
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    // Readers were never kept waiting, and once the lock is gone everything goes on.
    assert!(bed.store.find_user(ann.id).await.unwrap().is_some());
    drop(held);
    bed.sign_in(&ann).await;
    // What was refused has not been written after all, nor will it be.
    assert!(!bed.is_signed_in(&late).await);
    assert_eq!(bed.user(ann.id).await.login_count, 1);
    if matches!(bed.database.url, DatabaseUrl::Postgres(_)) {
        assert!(waited >= Duration::from_secs(7), "{waited:?}");
        let open = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'portcullis' AND state <> 'idle'";
        assert_eq!(count(&bed.database, open).await, 0);
    }
}

async fn a_write_given_up_by_its_caller_leaves_nothing(bed: Bed) {
    let ann = bed.person("ann").await;
    let held = hold_users(&bed.database).await;
    let row = session(&ann, bed.clock.now());
    let waiting = sign_in(&row);
    let given_up =
        tokio::time::timeout(Duration::from_millis(300), bed.store.insert_session(&waiting)).await;
    assert!(given_up.is_err());
    drop(held);
    bed.sign_in(&ann).await;
    assert!(!bed.is_signed_in(&row).await);
    assert_eq!(bed.user(ann.id).await.login_count, 1);
}

async fn every_method_may_be_awaited_on_another_thread(bed: Bed) {
    let store = bed.store.clone();
    let all = tokio::spawn(async move {
        let ann = store.insert_user(id(), &new_user("ann"), &event("x")).await?;
        store.insert_grant(ann.id, &forever("admin"), &event("x")).await?;
        store.update_user(ann.id, &Flag::Active(true).into(), OPERATOR, &event("x")).await?;
        store.insert_session(&sign_in(&session(&ann, Timestamp::from_seconds(1)))).await?;
        store.list_changes().await?;
        store.delete_sessions(EndSessions::All, &event("x")).await?;
        store.delete_user(ann.id, OPERATOR, &event("x")).await
    });
    all.await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_cut_by_the_server_are_replaced() {
    let bed = Bed::postgres().await;
    let ann = bed.person("ann").await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..3 {
        run_sql(&bed.database, cut).await;
        assert!(bed.store.find_user(ann.id).await.unwrap().is_some());
        bed.sign_in(&ann).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_within_the_timeout() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    for address in [silent, closed] {
        let database = Database {
            url: DatabaseUrl::Postgres(format!("postgres://x:geheim@{address}/x").into()),
            max_connections: 2,
            acquire_timeout: Duration::from_millis(500),
        };
        let clock = Clock::system();
        let error = Store::open(&database, Migrate::Fully, clock.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(clock.tick().as_millis() < 3000);
        assert!(!format!("{error:?} {error}").contains("geheim"));
    }
}

#[tokio::test]
async fn files_of_the_database_are_its_owners_alone() {
    use std::os::unix::fs::MetadataExt;
    const SOMEBODY: u32 = 12_345;
    let directory = tempfile::tempdir().unwrap();
    let is_root = directory.path().metadata().unwrap().uid() == 0;
    if is_root {
        std::os::unix::fs::chown(directory.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    let database = Database {
        url: DatabaseUrl::Sqlite(directory.path().join("portcullis.db")),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(5),
    };
    let store = Store::open(&database, Migrate::CreateOnly, Clock::system()).await.unwrap();
    store.insert_user(id(), &new_user("ann"), &event("x")).await.unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600, "{entry:?}");
        if is_root {
            assert_eq!((metadata.uid(), metadata.gid()), (SOMEBODY, SOMEBODY), "{entry:?}");
        }
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["portcullis.db", "portcullis.db-shm", "portcullis.db-wal"]);
}

#[tokio::test]
async fn sqlite_writes_are_durable_and_readers_go_on_beside_a_writer() {
    let bed = Bed::sqlite().await;
    let ann = bed.person("ann").await;
    let DatabaseUrl::Sqlite(path) = &bed.database.url else { panic!() };
    let mut connection = sqlite_connection(path).await;
    let mode = connection.fetch_one("PRAGMA journal_mode").await.unwrap();
    assert_eq!(mode.get::<String, _>(0), "wal");
    connection.execute("BEGIN IMMEDIATE; UPDATE users SET login_count = 9").await.unwrap();
    assert_eq!(bed.user(ann.id).await.login_count, 0);
    connection.execute("COMMIT").await.unwrap();
    assert_eq!(bed.user(ann.id).await.login_count, 9);
}

/// Passes bytes to the server until it is told to stall; connections made before then stay silent
/// for ever, as behind a firewall that forgot them.
async fn start_stalling_proxy() -> (std::net::SocketAddr, tokio::sync::watch::Sender<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stall, stalled) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut stalled = stalled.clone();
            tokio::spawn(async move {
                let server = Postgres::start().address();
                let mut server = tokio::net::TcpStream::connect(server).await.unwrap();
                let passing = tokio::io::copy_bidirectional(&mut client, &mut server);
                let stalling = async { stalled.wait_for(|stalled| *stalled).await.map(drop) };
                tokio::select! {
                    _ = passing => {}
                    _ = stalling => std::future::pending().await,
                }
            });
        }
    });
    (address, stall)
}

#[tokio::test]
async fn a_stalled_server_keeps_no_place_in_the_pool() {
    let direct = Postgres::start().database().await;
    let (proxy, stall) = start_stalling_proxy().await;
    let through = direct.replace(&Postgres::start().address().to_string(), &proxy.to_string());
    let database = Database {
        url: DatabaseUrl::Postgres(through.into()),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(2),
    };
    let store = Store::open(&database, Migrate::Fully, Clock::system()).await.unwrap();
    let (a, b) = tokio::join!(store.list_changes(), store.list_changes());
    a.and(b).unwrap();
    stall.send(true).unwrap();
    let clock = Clock::system();
    let (a, b, c) = tokio::join!(store.list_changes(), store.list_changes(), store.list_changes());
    assert!(a.is_err() && b.is_err() && c.is_err());
    assert!(clock.tick().as_millis() < 2500, "the deadline is one second");
    stall.send(false).unwrap();
    // Were a place of the pool still held by a silent connection, this would never succeed.
    for _ in 0..10 {
        let (a, b, c) =
            tokio::join!(store.list_changes(), store.list_changes(), store.list_changes());
        if a.is_ok() && b.is_ok() && c.is_ok() {
            return;
        }
    }
    panic!("the pool does not recover");
}
