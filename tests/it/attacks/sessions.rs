//! Sessions: ids nobody else chose, one person at a time, and an end that counts everywhere at once.

use std::time::Duration;

use portcullis::accounts::Actor;
use portcullis::clock::Timestamp;
use portcullis::identity::user::User;
use portcullis::store::Flag;
use secrecy::ExposeSecret as _;

use crate::harness::{Gateway, PASSWORD, Stopwatch, email};
use crate::pages::hidden_fields;
use crate::raw::{Client, Raw, Response};
use crate::upstream::{self, Upstream};
use crate::websocket::{echoes, handshake, open, time_to_end};

const YAML: &str = r#"
upstreams: { app: "${APP}" }
roles: { editor: { permissions: [] } }
routes:
  - { path: "/**", upstream: app, allow: authenticated }
  - { path: "/public", upstream: app, allow: public }
  - { path: "/editors/**", upstream: app, allow: { roles: [editor] } }
"#;

async fn start() -> (Upstream, Gateway) {
    Gateway::before_echo(YAML).await
}

/// The ways to sign in that leave a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Page,
    Remembered,
    Json,
}

const WAYS: [Way; 3] = [Way::Page, Way::Remembered, Way::Json];

/// Fills and sends the form of a sign-in page as it was shown.
async fn send_form(client: &Client, page: &str, filled: &[(&str, &str)]) -> Response {
    let hidden = hidden_fields(page);
    let mut fields: Vec<_> = hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    fields.extend(filled);
    client.post("/auth/login").form(&fields).navigating_from("same-origin").send().await
}

async fn form_of(client: &Client) -> String {
    client.visit("/auth/login?another=1").send().await.expect(200).text()
}

async fn sign_in(client: &Client, way: Way, who: &str, password: &str) -> Response {
    let email = email(who);
    let filled = [("username", &*email), ("password", password)];
    match way {
        Way::Json => client.post("/auth/cookie/login").form(&filled).send().await,
        Way::Page => send_form(client, &form_of(client).await, &filled).await,
        Way::Remembered => {
            let filled = [&filled[..], &[("remember", "on")]].concat();
            send_form(client, &form_of(client).await, &filled).await
        }
    }
}

/// Who an application is told that the bearer of this cookie is.
async fn known_by(gateway: &Gateway, upstream: &Upstream, cookie: &str) -> Option<String> {
    let client = gateway.client();
    client.set_cookie("portcullis", cookie);
    let answer = client.get("/x").send().await;
    (answer.status == 200).then(|| upstream.last().header("x-auth-email").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_01_no_sign_in_takes_over_an_id_that_somebody_chose() {
    let (upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let mallory = gateway.person("mallory").sign_in().await;
    for way in WAYS {
        let ended = gateway.sign_in("ann").await;
        let former = ended.cookie("portcullis").unwrap();
        ended.post("/auth/cookie/logout").send().await.expect(204);
        let own = gateway.sign_in("mallory").await.cookie("portcullis").unwrap();
        let live = mallory.cookie("portcullis").unwrap();
        let planted =
            ["A".repeat(54), "x".into(), former, own, format!("{}A", &live[..53]), "0".repeat(54)];
        for value in planted {
            let victim = gateway.client();
            // Wherever an id could be planted.
            for name in [
                "portcullis",
                "__Host-portcullis",
                "__Secure-portcullis",
                "portcullis-session",
                "session",
                "sid",
            ] {
                victim.set_cookie(name, &value);
            }
            let answer = sign_in(&victim, way, "ann", PASSWORD).await;
            assert!([204, 303].contains(&answer.status), "{way:?}: {}", answer.status);
            let given = victim.cookie("portcullis").unwrap();
            assert_ne!(given, value, "{way:?}");
            assert_eq!(known_by(&gateway, &upstream, &given).await, Some(email("ann")));
            let who = known_by(&gateway, &upstream, &value).await;
            assert_eq!(who, None, "{way:?}: what was there before the sign-in is dead after it");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_01_a_credential_counts_in_its_own_place_only() {
    let (upstream, gateway) = start().await;
    let client = gateway.person("ann").sign_in_with_bearer().await;
    let head = String::from_utf8(client.get("/x").bytes()).unwrap();
    let token = head.lines().find_map(|line| line.strip_prefix("Authorization: Bearer ")).unwrap();
    let cookie = gateway.sign_in("ann").await.cookie("portcullis").unwrap();
    for good in [token, &*cookie] {
        let nobody = gateway.client();
        for name in ["portcullis", "session", "sid", "token", "access_token", "next"] {
            nobody.get(&format!("/x?{name}={good}")).send().await.expect(401);
        }
        for name in ["X-Session", "Portcullis", "X-Access-Token", "Proxy-Authorization", "Cookie2"]
        {
            for value in [good, &format!("Bearer {good}"), &format!("portcullis={good}")] {
                nobody.get("/x").header(name, value).send().await.expect(401);
            }
        }
        for scheme in ["Session ", "Token ", "Basic ", "Bearer:", "Bearer=", "Bearer,", ""] {
            let call = nobody.get("/x").header("Authorization", &format!("{scheme}{good}"));
            call.send().await.expect(401);
        }
    }
    // Nor is one taken for the other.
    gateway.client().with_bearer(&cookie).get("/x").send().await.expect(401);
    gateway
        .client()
        .get("/x")
        .header("Cookie", &format!("portcullis={token}"))
        .send()
        .await
        .expect(401);
    assert_eq!(upstream.count(), 0);
    client.get("/x").send().await.expect(200);
    assert_eq!(known_by(&gateway, &upstream, &cookie).await, Some(email("ann")));
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_01_a_form_prepared_by_somebody_else_signs_nobody_in() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    gateway.person("mallory").create().await;
    let attacker = gateway.client();
    let page = form_of(&attacker).await;
    let filled = [("username", "mallory@example.com"), ("password", PASSWORD)];
    // The victim's browser has a cookie of its own, none, or a session.
    let own_form = gateway.client();
    form_of(&own_form).await;
    let signed_in = gateway.sign_in("ann").await;
    for (victim, allowed) in
        [(&own_form, [403, 403]), (&gateway.client(), [303, 303]), (&signed_in, [303, 403])]
    {
        let before = victim.cookie("portcullis");
        let answer = send_form(victim, &page, &filled).await;
        assert!(allowed.contains(&answer.status), "{}", answer.status);
        // At most the form comes once more.
        assert!(!answer.location().contains("note="), "{}", answer.location());
        assert_eq!(victim.cookie("portcullis"), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_02_one_browser_is_one_person_or_the_other_and_never_half_of_each() {
    let (upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    gateway.person("bob").create().await;
    for way in WAYS {
        let browser = gateway.sign_in("ann").await;
        let first = browser.cookie("portcullis").unwrap();
        let page = browser.visit("/auth/login").send().await.expect(200).text();
        assert!(page.contains("ann@example.com"), "{page}");
        let form = form_of(&browser).await;
        // Opened and left, sent empty, wrong, or for nobody: Ann it is.
        for (name, password) in
            [("", ""), ("bob@example.com", "wrong password"), ("nobody@example.com", PASSWORD)]
        {
            let answer =
                send_form(&browser, &form, &[("username", name), ("password", password)]).await;
            assert!([400, 422].contains(&answer.status), "{}", answer.status);
            assert_eq!(browser.cookie("portcullis").as_ref(), Some(&first));
            assert_eq!(known_by(&gateway, &upstream, &first).await, Some(email("ann")));
        }
        sign_in(&browser, way, "bob", PASSWORD).await;
        let second = browser.cookie("portcullis").unwrap();
        assert_eq!(known_by(&gateway, &upstream, &first).await, None, "{way:?}: hers is over");
        assert_eq!(known_by(&gateway, &upstream, &second).await, Some(email("bob")), "{way:?}");
        browser.get("/x").send().await.expect(200);
        assert!(!upstream.last().text().contains("ann"), "{}", upstream.last().text());
        // Going back and sending the old form again is signing in once more, as whoever it says.
        let answer =
            send_form(&browser, &form, &[("username", &email("ann")), ("password", PASSWORD)])
                .await;
        answer.expect(303);
        assert_eq!(known_by(&gateway, &upstream, &second).await, None, "{way:?}");
        let third = browser.cookie("portcullis").unwrap();
        assert_eq!(known_by(&gateway, &upstream, &third).await, Some(email("ann")));
    }
}

/// What is done to an account, and what a caller is told afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blow {
    Disabled,
    Deleted,
    RoleTaken,
    NewPassword,
    RoleEnded,
}

impl Blow {
    const ALL: [Self; 5] =
        [Self::Disabled, Self::Deleted, Self::RoleTaken, Self::NewPassword, Self::RoleEnded];

    fn status(self) -> u16 {
        match self {
            Self::Disabled | Self::Deleted | Self::NewPassword => 401,
            Self::RoleTaken | Self::RoleEnded => 403,
        }
    }

    async fn strike(self, gateway: &Gateway, user: &User) {
        let (people, actor) = (gateway.running.accounts().people(), Actor::cli());
        match self {
            Self::Disabled => people.set_flag(user.id, Flag::Active(false), &actor).await.unwrap(),
            Self::Deleted => people.delete(user.id, &actor).await.unwrap(),
            Self::RoleTaken => assert!(people.revoke(user.id, "editor", &actor).await.unwrap()),
            Self::NewPassword => {
                let password = "nine herons by the weir".into();
                people.set_password(user, password, &actor).await.unwrap();
            }
            Self::RoleEnded => {
                gateway.grant(&user.email, "editor", Some(gateway.clock.now())).await;
            }
        }
    }
}

/// How long after a blow it may count: the promise of the documentation.
const PROMISE: Duration = Duration::from_secs(1);

async fn is_cut(raw: &mut Raw) -> Duration {
    let began = Stopwatch::start();
    tokio::time::timeout(PROMISE * 5, raw.read_to_end()).await.expect("the stream goes on");
    began.elapsed()
}

async fn time_to_status(client: &Client, status: u16) -> Duration {
    let began = Stopwatch::start();
    loop {
        let asked = began.elapsed();
        if client.get("/editors/x").send().await.status == status {
            return asked;
        }
        assert!(began.elapsed() < PROMISE * 5, "still not {status}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Strikes while everything is open that somebody can hold open.
async fn strike_and_watch(gateway: &Gateway, blow: Blow) {
    let who = format!("{blow:?}").to_lowercase();
    let user = gateway.person(&who).role("editor").create().await;
    let cookie = gateway.sign_in(&who).await;
    let bearer = gateway.sign_in_with_bearer(&who).await;
    let remembered = gateway.client();
    sign_in(&remembered, Way::Remembered, &who, PASSWORD).await.expect(303);
    let pending = gateway.client();
    let form = form_of(&pending).await;
    let origin = cookie.origin();
    let mut by_cookie = open(handshake(&cookie, "/editors/ws").header("Origin", &origin)).await;
    let mut by_bearer = open(handshake(&bearer, "/editors/ws")).await;
    let mut stream = cookie.get("/editors/events").open().await;
    assert_eq!(stream.head().await.status, 200);
    stream.read_until("data: 1").await;
    assert!(echoes(&mut by_cookie, "a").await && echoes(&mut by_bearer, "b").await);
    for client in [&cookie, &bearer, &remembered] {
        client.get("/editors/x").send().await.expect(200);
    }
    blow.strike(gateway, &user).await;
    let status = blow.status();
    let ends = tokio::join!(
        time_to_end(&mut by_cookie),
        time_to_end(&mut by_bearer),
        is_cut(&mut stream),
        time_to_status(&cookie, status),
        time_to_status(&bearer, status),
        time_to_status(&remembered, status),
    );
    for took in [ends.0, ends.1, ends.2, ends.3, ends.4, ends.5] {
        assert!(took < PROMISE, "{blow:?}: {ends:?}");
    }
    // No sign-in brings back what was taken: what was begun before does not either.
    let filled = [("username", &*user.email), ("password", PASSWORD)];
    let answer = send_form(&pending, &form, &filled).await;
    let bearer = gateway.client().post("/auth/jwt/login").form(&filled).send().await;
    if status == 401 {
        assert_eq!((answer.status, bearer.status), (400, 400), "{blow:?}");
        assert!(pending.cookie("portcullis").is_none(), "{blow:?}");
    } else {
        answer.expect(303);
        pending.get("/editors/x").send().await.expect(403);
        pending.get("/x").send().await.expect(200);
    }
    for client in [&cookie, &remembered] {
        client.get("/editors/x").send().await.expect(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_04_and_05_what_is_taken_from_an_account_counts_at_once_however_it_calls() {
    let (upstream, gateway) = start().await;
    upstream.at("/editors/ws", upstream::echo_websocket);
    upstream.at("/editors/events", |exchange| {
        upstream::event_stream(exchange, Duration::from_millis(50))
    });
    let blows = Blow::ALL.map(|blow| strike_and_watch(&gateway, blow));
    futures_util::future::join_all(blows).await;
    // Somebody switched on again starts anew: what was ended stays ended.
    let dan = gateway.person("dan").role("editor").sign_in().await;
    let user = gateway.running.accounts().people().find("dan@example.com").await.unwrap().unwrap();
    for flag in [Flag::Active(false), Flag::Active(true)] {
        gateway.running.accounts().people().set_flag(user.id, flag, &Actor::cli()).await.unwrap();
    }
    assert!(time_to_status(&dan, 401).await < PROMISE);
    gateway.sign_in("dan").await.get("/editors/x").send().await.expect(200);
}

/// Moves wall time to this many seconds of the Unix era.
fn move_to(gateway: &Gateway, seconds: i64) {
    gateway.clock.advance_wall(Timestamp::from_seconds(seconds).since(gateway.clock.now()));
}

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread")]
async fn ses_17_a_clock_set_back_or_forward_ends_nothing_and_prolongs_nothing_for_good() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let remembered = gateway.client();
    sign_in(&remembered, Way::Remembered, "ann", PASSWORD).await.expect(303);
    for client in [&ann, &remembered] {
        client.get("/x").send().await.expect(200);
    }
    gateway.clock.set_back_wall(HOUR);
    for client in [&ann, &remembered] {
        client.get("/x").send().await.expect(200);
    }
    let during = gateway.sign_in("ann").await;
    let bearer = gateway.sign_in_with_bearer("ann").await;
    gateway.clock.advance_wall(HOUR);
    for client in [&ann, &remembered, &during] {
        client.get("/x").send().await.expect(200);
    }
    // An access token lives an hour of wall time, and that hour has passed.
    bearer.get("/x").send().await.expect(401);
    gateway.clock.advance_wall(HOUR);
    for client in [&ann, &remembered] {
        client.get("/x").send().await.expect(200);
    }
    // Twelve hours are twelve hours, however often it was asked with the clock set back.
    for _ in 0..8 {
        gateway.pass(Duration::ZERO).await;
        gateway.clock.set_back_wall(HOUR);
        ann.get("/x").send().await;
        gateway.clock.advance_wall(HOUR * 5 / 2);
        ann.get("/x").send().await;
    }
    ann.get("/x").send().await.expect(401);
    during.get("/x").send().await.expect(401);
    remembered.get("/x").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_17_sessions_begin_and_end_beyond_every_32_bit_second() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    // 2^31 - 1, 2^31, 2^32 - 1, the year 2200: from a minute before to after.
    for edge in [i64::from(i32::MAX), 1 << 31, i64::from(u32::MAX), 7_258_118_400] {
        move_to(&gateway, edge - 60);
        let plain = gateway.sign_in("ann").await;
        let remembered = gateway.client();
        let answer = sign_in(&remembered, Way::Remembered, "ann", PASSWORD).await.expect(303);
        let cookies = answer.all("set-cookie");
        assert!(cookies.iter().any(|line| line.contains("Max-Age=2592000")), "{cookies:?}");
        let bearer = gateway.sign_in_with_bearer("ann").await;
        let until = gateway.clock.now().after(Duration::from_mins(90));
        gateway.grant("ann", "editor", Some(until)).await;
        gateway.wait_for(&plain, "/editors/x", 200).await;
        for _ in 0..2 {
            for client in [&plain, &remembered, &bearer] {
                client.get("/x").send().await.expect(200);
            }
            gateway.clock.advance_wall(Duration::from_mins(2));
        }
        assert!(gateway.clock.now() > Timestamp::from_seconds(edge));
        gateway.clock.advance_wall(HOUR);
        bearer.get("/x").send().await.expect(401);
        plain.get("/editors/x").send().await.expect(200);
        gateway.clock.advance_wall(HOUR / 2);
        plain.get("/editors/x").send().await.expect(403);
        gateway.clock.advance_wall(HOUR * 12);
        plain.get("/x").send().await.expect(401);
        remembered.get("/x").send().await.expect(200);
        gateway.clock.advance_wall(HOUR * 24 * 30);
        remembered.get("/x").send().await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_19_no_page_of_ours_can_be_framed() {
    let upstream = Upstream::start();
    let yaml = YAML.replace("upstreams: { app:", "upstreams: { gone: \"http://127.0.0.1:1\", app:");
    let yaml = yaml + "  - { path: \"/gone\", upstream: gone, allow: public }\n";
    let gateway = Gateway::builder(&yaml).with("APP", &upstream.url()).start().await;
    let token = gateway.running.accounts().people().issue_set_up_link().await.unwrap().unwrap();
    let ann = gateway.person("ann").sign_in().await;
    let nobody = gateway.client();
    let bounced = "/auth/continue?probe=1";
    let set_up = format!("/auth/setup?token={}", token.token.expose_secret());
    for client in [&nobody, &ann] {
        client.visit(&set_up).send().await.expect(303);
    }
    let targets = [
        "/auth/login",
        "/auth/login?next=%2Fx",
        "/auth/login?another=1",
        "/auth/logout",
        "/auth/account",
        "/auth/setup",
        "/auth/invitation",
        bounced,
        "/auth/nowhere",
        "/editors/x",
        "/gone",
        "/x/../y",
        "/%zz",
        "/auth/continue",
    ];
    let mut pages = 0;
    for target in targets {
        for client in [&nobody, &ann] {
            for (dest, method) in [
                ("document", "GET"),
                ("iframe", "GET"),
                ("frame", "HEAD"),
                ("iframe", "POST"),
                ("embed", "PUT"),
            ] {
                let call = client.call(method, target).navigating_from("cross-site");
                let answer = call.with("Sec-Fetch-Dest", dest).send().await;
                let kind = answer.header("content-type").unwrap_or_default();
                if (300..400).contains(&answer.status) || answer.header("x-request-id").is_none() {
                    continue;
                }
                pages += usize::from(kind.starts_with("text/html"));
                let policy = answer.header("content-security-policy").unwrap_or_default();
                let case = format!("{method} {target} {dest}: {} {kind}", answer.status);
                assert!(policy.contains("frame-ancestors 'none'"), "{case}: {policy:?}");
                assert_eq!(policy.matches("frame-ancestors").count(), 1, "{case}");
                assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{case}");
            }
        }
    }
    assert!(pages > 60, "{pages}");
}
