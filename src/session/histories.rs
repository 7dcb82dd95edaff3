//! What a worker remembers changes no answer: random histories of sign-ins, uses, revocations, changes,
//! reloads and time, told with and without its memory.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{
    Caller, CookieCredential, Credentials, Front, Opening, Parts, RecogniseError, Sessions,
    Settings, follow,
};
use crate::clock::{Clock, Entropy, Moment, Timestamp};
use crate::config::{self, Database, DatabaseUrl, Lifetimes, SameSite, SessionCookie};
use crate::identity::access::Interner;
use crate::identity::bearer::Bearer;
use crate::identity::grant::Grant;
use crate::identity::keys::KeyRing;
use crate::identity::user::{Method, RoleGrant};
use crate::store::{
    Author, Changed, EndSessions, Event, Flag, Migrate, NewUser, RoleRow, SessionKind, Store,
};
use crate::telemetry::metrics::Metrics;

const PEOPLE: usize = 3;
/// Sessions cached: fewer than there are, so that some are pushed out.
const CACHED: u64 = 4;
const IDLE: Duration = Duration::from_mins(2);
const LIFETIME: Duration = Duration::from_mins(10);
const TOKEN: Duration = Duration::from_mins(5);

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    SignIn {
        who: usize,
        kind: SessionKind,
        replaces: bool,
    },
    /// On one of two workers, with one session or with two.
    Use {
        which: usize,
        beside: Option<usize>,
        worker: bool,
        touches: bool,
    },
    End(usize),
    EndAllOf(usize),
    EndAll,
    /// In the store, as the command line does, and here at once or by the change log.
    ChangeUser {
        who: usize,
        change: Change,
        at_once: bool,
    },
    ChangeRole {
        gives: bool,
    },
    ReadLog,
    Reload {
        declares: bool,
        staleness: Duration,
    },
    PassWall(u64),
    PassMonotonic(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Activate(bool),
    /// For good, or for so many seconds.
    Grant(Option<u64>),
    Revoke,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || 0..PEOPLE;
    let kind = prop_oneof![Just(SessionKind::Cookie), Just(SessionKind::Bearer)];
    let uses = (any::<usize>(), prop::option::weighted(0.1, any::<usize>()), any::<(bool, bool)>());
    let change = prop_oneof![
        2 => any::<bool>().prop_map(Change::Activate),
        2 => prop::option::of(1u64..300).prop_map(Change::Grant),
        1 => Just(Change::Revoke),
    ];
    let change = (who(), change, any::<bool>());
    let staleness = prop_oneof![Just(Duration::from_millis(500)), Just(Duration::from_secs(5))];
    let step = prop_oneof![
        4 => (who(), kind, any::<bool>()).prop_map(|(who, kind, replaces)| Step::SignIn { who, kind, replaces }),
        20 => uses.prop_map(|(which, beside, (worker, touches))| Step::Use { which, beside, worker, touches }),
        2 => any::<usize>().prop_map(Step::End),
        1 => who().prop_map(Step::EndAllOf),
        1 => Just(Step::EndAll),
        5 => change.prop_map(|(who, change, at_once)| Step::ChangeUser { who, change, at_once }),
        2 => any::<bool>().prop_map(|gives| Step::ChangeRole { gives }),
        4 => Just(Step::ReadLog),
        2 => (any::<bool>(), staleness).prop_map(|(declares, staleness)| Step::Reload { declares, staleness }),
        2 => (1u64..200).prop_map(Step::PassWall),
        4 => (1u64..900).prop_map(Step::PassMonotonic),
    ];
    prop::collection::vec(step, 40..120)
}

/// A session that was opened, with what was handed out for it.
struct Opened {
    id: [u8; 32],
    credentials: Credentials,
}

struct World {
    clock: Clock,
    store: Store,
    sessions: Sessions,
    workers: [Front; 2],
    reader: follow::Reader,
    people: Vec<Uuid>,
    opened: Vec<Opened>,
    reloads: u64,
    _directory: tempfile::TempDir,
}

fn settings(configuration: u64, declares: bool, max_staleness: Duration) -> Settings {
    let lifetimes = Lifetimes { idle: IDLE, lifetime: LIFETIME };
    let cookie = SessionCookie {
        name: "portcullis".to_owned(),
        wire_name: "portcullis".to_owned(),
        domain: None,
        same_site: SameSite::Lax,
        secure: false,
    };
    let permissions = if declares { vec![Grant::parse("pages:edit").unwrap()] } else { Vec::new() };
    Settings {
        configuration,
        sessions: config::Sessions {
            cookie,
            plain: lifetimes,
            remember: lifetimes,
            cache_entries: CACHED,
            max_staleness,
        },
        tokens: config::Tokens { access_lifetime: TOKEN, audience: vec!["test".to_owned()] },
        roles: BTreeMap::from([("staff".to_owned(), permissions)]),
        named: Vec::new(),
        profiles: 1,
    }
}

fn event(now: Timestamp) -> Event {
    Event {
        at: now,
        kind: "test".to_owned(),
        user: None,
        actor: String::new(),
        address: None,
        agent: String::new(),
        detail: String::new(),
    }
}

/// What of an answer anything can depend on.
fn summary(answer: Result<Caller, RecogniseError>) -> String {
    match answer {
        Ok(Caller::Anonymous) => "nobody".to_owned(),
        Ok(Caller::Known(identity, carrier)) => {
            let (user, session) = (identity.user().id, identity.session().id);
            let (access, active) = (&identity.subject.access, identity.user().is_active);
            format!("{user} {session:?} {carrier:?} {access:?} {active}")
        }
        Err(error) => error.to_string(),
    }
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (clock, entropy) = (Clock::adjustable(), Entropy::seeded(7));
        let database = Database {
            url: DatabaseUrl::Sqlite(directory.path().join("portcullis.db")),
            max_connections: 2,
            acquire_timeout: Duration::from_secs(5),
        };
        let store = Store::open(&database, Migrate::Fully, clock.clone()).await.unwrap();
        let keys = KeyRing::new(&"a secret that is long enough, truly".into(), &[]);
        let parts = Parts {
            store: store.clone(),
            bearer: Bearer::new(&keys, "https://x.example".to_owned(), vec!["test".to_owned()]),
            keys,
            interner: Interner::default(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            metrics: Metrics::new(2),
            control: Handle::current(),
        };
        let sessions = Sessions::new(parts, settings(1, true, Duration::from_secs(5)));
        let role =
            RoleRow { name: "editor".to_owned(), description: String::new(), grants: vec![] };
        store.insert_role(&role, &event(clock.now())).await.unwrap();
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            let email = format!("person{number}@example.com");
            let user = NewUser {
                email_folded: email.clone(),
                email,
                is_active: true,
                roles: vec!["staff".to_owned()],
                ..NewUser::default()
            };
            let id = entropy.uuid();
            store.insert_user(id, &user, &event(clock.now())).await.unwrap();
            people.push(id);
        }
        let workers = [sessions.front(0), sessions.front(1)];
        let mut reader = follow::Reader::default();
        reader.read(&sessions.inner).await.unwrap();
        let opened = Vec::new();
        Self {
            clock,
            store,
            sessions,
            workers,
            reader,
            people,
            opened,
            reloads: 1,
            _directory: directory,
        }
    }

    fn which(&self, number: usize) -> Option<&Opened> {
        self.opened.get(number.checked_rem(self.opened.len())?)
    }

    async fn sign_in(&mut self, who: usize, kind: SessionKind, replaces: bool) {
        let now = self.clock.now();
        let opening = Opening {
            origin: None,
            user: self.people[who],
            method: Method::Password,
            remember: false,
            address: None,
            agent: String::new(),
            replaces: self.opened.last().filter(|_| replaces).map(|last| last.id),
            event: event(now),
        };
        // An account that is not active opens none.
        let opened = match kind {
            SessionKind::Cookie => {
                self.sessions.open_cookie(&opening, now).await.ok().map(|opened| {
                    let text = opened.set_cookie.to_str().unwrap();
                    let value = text.split(['=', ';']).nth(1).unwrap();
                    let cookie = CookieCredential::One(value.as_bytes().to_vec());
                    Opened { id: opened.id, credentials: Credentials { cookie, bearer: None } }
                })
            }
            SessionKind::Bearer => {
                self.sessions.open_bearer(&opening, now).await.ok().map(|opened| {
                    let bearer = Some(opened.access_token);
                    let cookie = CookieCredential::None;
                    Opened { id: opened.id, credentials: Credentials { cookie, bearer } }
                })
            }
        };
        self.opened.extend(opened);
    }

    /// Asks a worker with its memory, then without it.
    async fn use_it(&self, which: usize, beside: Option<usize>, worker: bool, touches: bool) {
        let Some(one) = self.which(which) else { return };
        let mut credentials = one.credentials.clone();
        if let Some(other) = beside.and_then(|beside| self.which(beside)) {
            let Credentials { cookie, bearer } = other.credentials.clone();
            if credentials.bearer.is_none() {
                credentials.bearer = bearer;
            } else {
                credentials.cookie = cookie;
            }
        }
        self.sessions.inner.cache.settle();
        let moment = Moment { now: self.clock.now(), tick: self.clock.tick() };
        let front = &self.workers[usize::from(worker)];
        let quick = self.sessions.recognise_on(front, &credentials, moment).await;
        let known = quick.as_ref().ok().and_then(Caller::identity).cloned();
        let thorough = self.sessions.recognise(&credentials, moment.now).await;
        assert_eq!(summary(quick), summary(thorough));
        if let Some(identity) = known.filter(|_| touches) {
            self.sessions.touch(&identity, moment.now);
        }
    }

    async fn change_user(&self, user: Uuid, change: &Change) {
        let event = event(self.clock.now());
        let changed = match change {
            Change::Activate(is_active) => {
                let change = Flag::Active(*is_active).into();
                self.store
                    .update_user(user, &change, Author::Operator(None), &event)
                    .await
                    .map(drop)
            }
            Change::Grant(seconds) => {
                let until = seconds.map(|s| self.clock.now().after(Duration::from_secs(s)));
                let grant = RoleGrant { role: "editor".to_owned(), until };
                self.store.insert_grant(user, &grant, &event).await
            }
            Change::Revoke => self.store.delete_grant(user, "editor", &event).await.map(drop),
        };
        changed.unwrap();
    }

    async fn take(&mut self, step: &Step) {
        let event = event(self.clock.now());
        match step {
            Step::SignIn { who, kind, replaces } => self.sign_in(*who, *kind, *replaces).await,
            Step::Use { which, beside, worker, touches } => {
                self.use_it(*which, *beside, *worker, *touches).await;
            }
            Step::End(which) => {
                let Some(Opened { id, .. }) = self.which(*which) else { return };
                self.sessions.end(EndSessions::One(*id), &event).await.unwrap();
            }
            Step::EndAllOf(who) => {
                let which = EndSessions::OfUser(self.people[*who]);
                self.sessions.end(which, &event).await.unwrap();
            }
            Step::EndAll => {
                self.sessions.end(EndSessions::All, &event).await.unwrap();
            }
            Step::ChangeUser { who, change, at_once } => {
                let user = self.people[*who];
                self.change_user(user, change).await;
                if *at_once {
                    self.sessions.apply(&Changed::User(user));
                }
            }
            Step::ChangeRole { gives } => {
                let grants = [Grant::parse("reports:read").unwrap()];
                if *gives {
                    self.store.insert_role_grants("editor", &grants, &event).await.unwrap();
                } else {
                    self.store.delete_role_grants("editor", &grants, &event).await.unwrap();
                }
            }
            Step::ReadLog => self.reader.read(&self.sessions.inner).await.unwrap(),
            Step::Reload { declares, staleness } => {
                self.reloads += 1;
                self.sessions.configure(settings(self.reloads, *declares, *staleness));
            }
            Step::PassWall(seconds) => self.clock.advance_wall(Duration::from_secs(*seconds)),
            Step::PassMonotonic(millis) => {
                self.clock.advance_monotonic(Duration::from_millis(*millis));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn what_a_worker_remembers_changes_no_answer(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.take(step).await;
            }
            Arc::new(world.store).close().await;
        });
    }
}

/// Whether the first worker remembers the session that was opened last, and may believe it.
fn is_recalled(world: &World) -> bool {
    let Credentials { cookie, bearer } = &world.opened.last().unwrap().credentials;
    let front = &world.workers[0];
    let digest = match (cookie, bearer) {
        (CookieCredential::One(value), _) => front.digest(SessionKind::Cookie, value),
        (_, bearer) => front.digest(SessionKind::Bearer, bearer.as_deref().unwrap().as_bytes()),
    };
    let moment = Moment { now: world.clock.now(), tick: world.clock.tick() };
    world.sessions.inner.recall(front, &digest, moment).is_some()
}

/// What may happen to somebody who was just recognised, and whether the worker may go on by what it
/// remembers.
#[tokio::test]
async fn whatever_ends_or_changes_a_session_ends_what_a_worker_remembers_of_it() {
    use Step::{
        ChangeRole, ChangeUser, End, EndAll, EndAllOf, PassMonotonic, PassWall, ReadLog, Reload,
    };
    let [ann, ben] = [0, 1];
    let [cookie, bearer] = [SessionKind::Cookie, SessionKind::Bearer];
    let again = || Step::Use { which: 0, beside: None, worker: false, touches: false };
    let off = |who, at_once| ChangeUser { who, change: Change::Activate(false), at_once };
    let grant = |seconds| ChangeUser { who: ann, change: Change::Grant(seconds), at_once: true };
    let reload = |millis| Reload { declares: true, staleness: Duration::from_millis(millis) };
    for (kind, then, is_good) in [
        (cookie, vec![], true),
        (bearer, vec![], true),
        (cookie, vec![End(0)], false),
        (bearer, vec![End(0)], false),
        (cookie, vec![EndAllOf(ann)], false),
        (cookie, vec![EndAllOf(ben)], true),
        (cookie, vec![EndAll], false),
        (cookie, vec![off(ann, true)], false),
        (cookie, vec![off(ben, true)], true),
        (cookie, vec![off(ann, false)], true),
        (cookie, vec![off(ann, false), ReadLog], false),
        (cookie, vec![grant(None)], false),
        (cookie, vec![grant(Some(50)), again(), PassWall(40)], true),
        (cookie, vec![grant(Some(50)), again(), PassWall(51)], false),
        (cookie, vec![ChangeRole { gives: true }, ReadLog], false),
        (cookie, vec![reload(5000)], false),
        (cookie, vec![reload(5000), ReadLog, again(), PassMonotonic(600)], true),
        (cookie, vec![reload(500), ReadLog, again(), PassMonotonic(600)], false),
        (cookie, vec![PassWall(110)], true),
        (cookie, vec![PassWall(121)], false),
        (bearer, vec![PassWall(290)], true),
        (bearer, vec![PassWall(301)], false),
        (cookie, vec![PassMonotonic(1000)], false),
    ] {
        let mut world = World::new().await;
        for step in [Step::SignIn { who: ann, kind, replaces: false }, again()].iter().chain(&then)
        {
            world.take(step).await;
        }
        assert_eq!(is_recalled(&world), is_good, "{kind:?} {then:?}");
    }
}
