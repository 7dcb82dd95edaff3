//! Attacks on signing in by providers, named by their ids in `docs/attack-cases.md`.

use std::time::Duration;

use serde_json::json;

use super::{Site, YAML, corp, flow_cookies, me, parameter, path_of, person, with_parameter};
use crate::harness::{Gateway, PASSWORD, free_port};
use crate::openid_provider::{CLIENT_ID, CLIENT_SECRET, OpenIdProvider};
use crate::raw::Client;
use crate::upstream::Upstream;

const AUTHORIZE: &str = "/auth/corp/authorize";

fn two() -> serde_json::Value {
    json!({ "ann": person("ann@corp.example", &[]), "eve": person("eve@evil.example", &[]) })
}

async fn is_anonymous(client: &Client) -> bool {
    client.get("/auth/session").send().await.expect(200).json()["authenticated"] == false
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_01_a_state_and_a_code_of_one_browser_are_worth_nothing_in_another() {
    let site = Site::start(two()).await;
    let (evil, victim) = (site.gateway.client(), site.gateway.client());
    let back = site.away(&evil, AUTHORIZE, "eve").await;
    // In a browser that never went away, and in one that went away for itself.
    assert_eq!(victim.get(&back).send().await.expect(400).detail(), "OAUTH_INVALID_STATE");
    let own = site.away(&victim, AUTHORIZE, "ann").await;
    assert_eq!(victim.get(&back).send().await.expect(400).detail(), "OAUTH_INVALID_STATE");
    // A page is sent away once more, and comes back as whoever is signed in at the provider.
    let again = victim.visit(&back).navigating_from("cross-site").send().await.expect(303);
    assert!(again.location().starts_with(AUTHORIZE), "{}", again.location());
    assert!(is_anonymous(&victim).await);
    // States exchanged: each with the other's code.
    let evil_code = parameter(&back, "code");
    let swapped = with_parameter(&own, "state", Some(&parameter(&back, "state")));
    assert_eq!(victim.get(&swapped).send().await.expect(400).detail(), "OAUTH_INVALID_STATE");
    // The victim's state with the attacker's code: another verifier, another nonce.
    let mixed = with_parameter(&own, "code", Some(&evil_code));
    assert_eq!(victim.get(&mixed).send().await.expect(400).detail(), "Bad Request");
    assert!(is_anonymous(&victim).await && is_anonymous(&evil).await);
    assert!(site.events("sign-in").await.is_empty());
    // Cookies planted beside one's own count for nothing.
    let own = site.away(&victim, AUTHORIZE, "ann").await;
    let (name, value) = flow_cookies(&victim).pop().unwrap();
    let planted = victim.get(&own).header("Cookie", &format!("{name}={value}; {name}=x"));
    let planted = planted.without("Cookie").header("Cookie", &format!("{name}={value}; {name}=x"));
    assert_eq!(planted.send().await.expect(400).detail(), "OAUTH_INVALID_STATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_02_a_callback_works_once() {
    let site = Site::start(two()).await;
    let client = site.gateway.client();
    let back = site.away(&client, AUTHORIZE, "ann").await;
    let kept = flow_cookies(&client);
    site.arrive(&client, &back).await;
    let thief = site.gateway.client();
    for (name, value) in &kept {
        thief.set_cookie(name, value);
        client.set_cookie(name, value);
    }
    for browser in [&thief, &client] {
        assert_eq!(browser.get(&back).send().await.expect(400).detail(), "OAUTH_INVALID_STATE");
    }
    assert!(is_anonymous(&thief).await);
    assert_eq!(site.events("sign-in").await.len(), 1);
    // A new state does not make an old code good.
    let fresh = thief.visit(AUTHORIZE).send().await.expect(303);
    let state = parameter(fresh.location(), "state");
    let reused = with_parameter(&back, "state", Some(&state));
    assert_eq!(thief.get(&reused).send().await.expect(400).detail(), "Bad Request");
    assert!(is_anonymous(&thief).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rac_04_of_fifty_callbacks_at_once_with_one_state_one_wins() {
    let site = Site::start_with(two(), "who: anyone, register: true", |builder| {
        builder.key("limits", "{ auth: { links_per_address: off } }")
    })
    .await;
    let client = site.gateway.client();
    let back = site.away(&client, AUTHORIZE, "ann").await;
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(client.get(&back).open().await);
    }
    let mut statuses = Vec::new();
    for mut raw in open {
        statuses.push(raw.response("GET").await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 49, "{statuses:?}");
    assert_eq!(site.events("sign-in").await.len(), 1);
    // Two people at once are not taken for each other.
    let (ann, eve) = (site.gateway.client(), site.gateway.client());
    let to_ann = site.away(&ann, AUTHORIZE, "ann").await;
    let to_eve = site.away(&eve, AUTHORIZE, "eve").await;
    let (ann_back, eve_back) = (ann.get(&to_ann), eve.get(&to_eve));
    let (a, b) = tokio::join!(ann_back.send(), eve_back.send());
    a.expect(204);
    b.expect(204);
    assert_eq!(me(&ann).await["email"], "ann@corp.example");
    assert_eq!(me(&eve).await["email"], "eve@evil.example");
    // Somebody new who comes twice at once has one account.
    let all = json!({ "new": person("new@corp.example", &[]) });
    site.provider.set_users(all).await;
    let (first, second) = (site.gateway.client(), site.gateway.client());
    let to_first = site.away(&first, AUTHORIZE, "new").await;
    let to_second = site.away(&second, AUTHORIZE, "new").await;
    let (one, two) = (first.get(&to_first), second.get(&to_second));
    let (a, b) = tokio::join!(one.send(), two.send());
    a.expect(204);
    b.expect(204);
    assert_eq!(me(&first).await["id"], me(&second).await["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_04_what_one_provider_sends_is_nothing_at_another() {
    let (upstream, port) = (Upstream::start(), free_port());
    let (corp_provider, evil_provider) =
        (OpenIdProvider::start().await, OpenIdProvider::start().await);
    let client = json!({
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        "redirect_uris": [
            format!("http://127.0.0.1:{port}/auth/corp/callback"),
            format!("http://127.0.0.1:{port}/auth/evil/callback"),
        ],
    });
    for provider in [&corp_provider, &evil_provider] {
        provider.set_up_with(json!({ "clients": [client], "users": two() })).await;
    }
    let open = "who: anyone, register: true";
    let providers =
        format!("{{ corp: {}, evil: {} }}", corp(&corp_provider, open), corp(&evil_provider, open));
    let gateway = Gateway::builder(YAML)
        .with("APP", &upstream.url())
        .with("PORT", &port.to_string())
        .key("providers", &providers)
        .start()
        .await;
    let browser = gateway.client();
    let away = async |name: &str, provider: &OpenIdProvider| {
        let gone = browser.visit(&format!("/auth/{name}/authorize")).send().await.expect(303);
        path_of(&provider.sign_in(gone.location(), "ann").await)
    };
    // Each comes back to its own address.
    let of_corp = away("corp", &corp_provider).await;
    let at_evil = of_corp.replace("/corp/", "/evil/");
    let answer = browser.get(&at_evil).send().await.expect(400);
    assert_eq!(answer.detail(), "ACCESS_TOKEN_DECODE_ERROR");
    // Its own state and address, another's issuer; or none, though it promises to send one.
    for iss in [Some(evil_provider.issuer()), None, Some(String::new())] {
        let of_corp = away("corp", &corp_provider).await;
        let mixed = with_parameter(&of_corp, "iss", iss.as_deref());
        assert_eq!(browser.get(&mixed).send().await.expect(400).detail(), "Bad Request", "{iss:?}");
    }
    // The same subject at both is two people.
    let of_corp = away("corp", &corp_provider).await;
    browser.get(&of_corp).send().await.expect(204);
    let id = me(&browser).await["id"].clone();
    let of_evil = away("evil", &evil_provider).await;
    let refused = browser.get(&of_evil).send().await.expect(400);
    assert_eq!(refused.detail(), "OAUTH_USER_ALREADY_EXISTS");
    assert_eq!(me(&browser).await["id"], id);
    // Under the name of one comes another: who it is asked about is nobody known.
    let text = corp_provider.issuer();
    drop(corp_provider);
    gateway.reload(&text, &evil_provider.issuer());
    let of_other = away("corp", &evil_provider).await;
    let answer = gateway.client();
    for (name, value) in flow_cookies(&browser) {
        answer.set_cookie(&name, &value);
    }
    let refused = answer.get(&of_other).send().await.expect(400);
    assert_eq!(refused.detail(), "LOGIN_BAD_CREDENTIALS");
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_05_an_email_that_is_not_verified_takes_no_account_over() {
    let users = json!({
        "absent": { "email": "ann@example.com" },
        "false": { "email": "ann@example.com", "email_verified": false },
        "text": { "email": "ann@example.com", "email_verified": "true" },
        "number": { "email": "ann@example.com", "email_verified": 1 },
        "other": person("ann@example.com.evil.example", &[]),
    });
    let linking = "who: anyone, register: true, link_by_email: verified";
    let site = Site::start_with(users, linking, |builder| builder).await;
    let ann = site.gateway.person("ann").create().await;
    for login in ["absent", "false", "text", "number"] {
        let client = site.gateway.client();
        let back = site.away(&client, AUTHORIZE, login).await;
        let refused = client.get(&back).send().await.expect(400).detail();
        assert_eq!(refused, "OAUTH_USER_ALREADY_EXISTS", "{login}");
    }
    let other = site.sign_in("other").await;
    assert_ne!(me(&other).await["id"], json!(ann.id));
    let links = site.gateway.running.store().list_links(ann.id).await.unwrap();
    assert_eq!(links, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_05_whoever_made_an_account_in_somebodys_name_keeps_nothing_of_it() {
    let users =
        json!({ "ann": person("ann@example.com", &[]), "eve": person("eve@x.example", &[]) });
    let linking = "who: anyone, register: true, link_by_email: verified";
    let site = Site::start_with(users, linking, |builder| builder).await;
    // The account was made with the victim's address; nobody verified it. Whoever made it is signed in,
    // has linked an account of their own, and has a link to a new password in hand.
    let eve = site.gateway.person("ann").unverified().sign_in().await;
    let bearer = site.gateway.sign_in_with_bearer("ann").await;
    let asked = eve.get("/auth/associate/corp/authorize").send().await.expect(200).json();
    let back = site.callback(asked["authorization_url"].as_str().unwrap(), "eve").await;
    eve.get(&back).send().await.expect(200);
    let reset = site.gateway.link("ann", portcullis::accounts::LinkKind::Reset).await;
    let id = me(&eve).await["id"].clone();
    let ann = site.sign_in("ann").await;
    assert_eq!((&me(&ann).await["id"], &me(&ann).await["is_verified"]), (&id, &json!(true)));
    eve.get("/auth/users/me").send().await.expect(401);
    bearer.get("/auth/users/me").send().await.expect(401);
    let fields = [("username", "ann@example.com"), ("password", PASSWORD)];
    let client = site.gateway.client();
    client.post("/auth/jwt/login").form(&fields).send().await.expect(400);
    client.visit(&reset).follow().await.expect(404);
    let eve = site.sign_in("eve").await;
    assert_ne!(me(&eve).await["id"], id, "the intruder's link is gone");
    // The other way round: made by a provider that has not verified it.
    let users = json!({
        "fay": { "email": "fay@example.com", "email_verified": false },
        "owner": person("fay@example.com", &[]),
    });
    site.provider.set_users(users).await;
    let intruder = site.sign_in("fay").await;
    let id = me(&intruder).await["id"].clone();
    assert_eq!(me(&intruder).await["is_verified"], false);
    let owner = site.sign_in("owner").await;
    assert_eq!(me(&owner).await["id"], id);
    intruder.get("/auth/users/me").send().await.expect(401);
    let client = site.gateway.client();
    let back = site.away(&client, AUTHORIZE, "fay").await;
    let refused = client.get(&back).send().await.expect(400).detail();
    assert_eq!(refused, "OAUTH_USER_ALREADY_EXISTS");
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_05_an_owner_who_follows_the_letter_lets_nobody_in_by_a_provider() {
    let users = json!({
        "fay": { "email": "fay@example.com", "email_verified": false },
        "gus": { "email": "gus@example.com", "email_verified": false },
    });
    let site = Site::start_with(users, "who: anyone, register: true", |builder| builder).await;
    let verify = async |client: &Client, who: &str| {
        let link = site.gateway.link(who, portcullis::accounts::LinkKind::Verify).await;
        let body = json!({ "token": parameter(&link, "token") }).to_string();
        let call = client.post("/auth/verify").body("application/json", body);
        assert_eq!(call.send().await.expect(200).json()["is_verified"], true);
    };
    let intruder = site.sign_in("fay").await;
    // Signed in to an account of one's own is not signed in to the one that is verified.
    let gus = site.sign_in("gus").await;
    verify(&gus, "fay").await;
    intruder.get("/auth/users/me").send().await.expect(401);
    let client = site.gateway.client();
    let back = site.away(&client, AUTHORIZE, "fay").await;
    let refused = client.get(&back).send().await.expect(400).detail();
    assert_eq!(refused, "OAUTH_USER_ALREADY_EXISTS");
    // Whoever is signed in to it made it, and has the mail.
    verify(&gus, "gus").await;
    assert_eq!(me(&gus).await["is_verified"], true);
    let again = site.sign_in("gus").await;
    assert_eq!(me(&again).await["id"], me(&gus).await["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_07_codes_and_tokens_of_another_client_are_refused() {
    let site = Site::start(two()).await;
    let client = site.gateway.client();
    let gone = client.visit(AUTHORIZE).send().await.expect(303);
    // The code of another client of the same provider, for the same person, with our challenge and nonce.
    let back = format!("http://{}/auth/corp/callback", site.gateway.address);
    let clients = json!([
        super::client_at(site.gateway.address.port()),
        { "client_id": "other", "client_secret": "another-secret-of-tests",
          "redirect_uris": [back] },
    ]);
    site.provider.set_up_with(json!({ "clients": clients, "users": two() })).await;
    let foreign = gone.location().replace("client_id=portcullis", "client_id=other");
    assert_ne!(foreign, gone.location());
    let back = site.callback(&foreign, "ann").await;
    assert_eq!(client.get(&back).send().await.expect(400).detail(), "Bad Request");
    assert!(is_anonymous(&client).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_11_nothing_of_an_error_is_shown() {
    let site = Site::start(two()).await;
    let client = site.gateway.client();
    let marker = "%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    for query in [
        format!("error={marker}"),
        format!("error=access_denied&error_description={marker}&error_hint={marker}"),
        format!("error={marker}&state={marker}"),
        format!("code={marker}&state={marker}&iss={marker}&repeated=1"),
        format!("error=access_denied&error_uri=javascript:{marker}"),
        format!("error={}", "a".repeat(5_000)),
    ] {
        let to = format!("/auth/corp/callback?{query}");
        let json = client.get(&to).send().await.expect(400);
        assert_eq!(json.header("content-type"), Some("application/json"));
        let page = client.visit(&to).navigating_from("cross-site").send().await;
        let all = format!("{} {} {:?} {:?}", json.text(), page.text(), json.headers, page.headers);
        for word in ["script>", "<script", "alert(1)", "javascript:", "%3C", "aaaaaaaa"] {
            assert!(!all.contains(word), "{word}: {query}: {all}");
        }
    }
    // A repeated parameter is no request of a provider's.
    let twice = "/auth/corp/callback?code=a&code=b&state=x";
    client.get(twice).send().await.expect(400);
    let looked = client.call("HEAD", "/auth/corp/callback?code=a&state=x").send().await;
    looked.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_13_nothing_of_the_application_is_sent_before_somebody_is_signed_in() {
    let site = Site::start(two()).await;
    site.upstream
        .answers("/private", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhoards".to_owned());
    let client = site.gateway.client();
    let challenge = client.visit("/private").send().await.expect(303);
    let page = client.visit(challenge.location()).send().await.expect(200);
    assert!(page.text().contains("authorize?next=%2Fprivate"), "{}", page.text());
    let gone = client.visit("/auth/corp/authorize?next=/private").send().await.expect(303);
    let back = site.callback(gone.location(), "ann").await;
    let wrong = client.visit("/auth/corp/callback?error=x").send().await.expect(400);
    for answer in [&challenge, &page, &gone, &wrong] {
        assert!(!answer.text().contains("hoards"));
    }
    let tapes = site.upstream.tapes();
    assert!(tapes.iter().all(|tape| crate::raw::find(tape, b"/private").is_none()));
    assert_eq!(site.arrive(&client, &back).await.location(), "/private");
    assert_eq!(client.get("/private").send().await.expect(200).text(), "hoards");
}

#[tokio::test(flavor = "multi_thread")]
async fn red_01_neither_next_nor_state_leads_to_another_site() {
    let site = Site::start(two()).await;
    for next in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/%2e%2e//evil.example",
        "/auth/logout",
    ] {
        let client = site.gateway.client();
        let encoded: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let back = site.away(&client, &format!("{AUTHORIZE}?next={encoded}"), "ann").await;
        let landed = site.arrive(&client, &back).await;
        assert!(
            matches!(landed.location(), "/" | "/auth/account"),
            "{next}: {}",
            landed.location()
        );
        // Nor does one that comes along on the way back.
        let client = site.gateway.client();
        let back = site.away(&client, AUTHORIZE, "ann").await;
        let landed = site.arrive(&client, &format!("{back}&next={encoded}")).await;
        assert_eq!(landed.location(), "/", "{next}");
        // Nor where the browser is sent away once more.
        let lost = format!("/auth/corp/callback?code=x&state=x&next={encoded}");
        let again = client.visit(&lost).navigating_from("cross-site").send().await.expect(303);
        assert!(again.location().starts_with(AUTHORIZE), "{}", again.location());
        assert!(!again.location().contains("evil"), "{}", again.location());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_navigation_that_lost_its_state_goes_once_more_to_where_it_wanted_and_no_further() {
    let site = Site::start(two()).await;
    // Past its end: the state still says where to go.
    let client = site.gateway.client();
    let back = site.away(&client, "/auth/corp/authorize?next=/wiki", "ann").await;
    site.gateway.pass(Duration::from_secs(601)).await;
    let again = client.visit(&back).navigating_from("cross-site").send().await.expect(303);
    assert_eq!(again.location(), "/auth/corp/authorize?repeated=1&next=%2Fwiki");
    let back = site.away(&client, again.location(), "ann").await;
    assert_eq!(site.arrive(&client, &back).await.location(), "/wiki");
    // Lost again on the second way: that is said, and where to begin.
    let client = site.gateway.client();
    let lost = "/auth/corp/callback?code=x";
    let again = client.visit(lost).navigating_from("cross-site").send().await.expect(303);
    assert_eq!(again.location(), "/auth/corp/authorize?repeated=1");
    let back = site.away(&client, again.location(), "ann").await;
    let told = client.visit(lost).navigating_from("cross-site").send().await.expect(400);
    assert!(told.text().contains("did not work"), "{}", told.text());
    // Nor in a browser that keeps no cookies.
    let blocked = site.gateway.client();
    let told = blocked.visit(&back).navigating_from("cross-site").send().await.expect(400);
    assert!(told.text().contains("cookies"), "{}", told.text());
    // What is no navigation is told at once.
    assert_eq!(client.get(lost).send().await.expect(400).detail(), "ACCESS_TOKEN_DECODE_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_keeps_five_flows_and_every_one_of_them_works() {
    let site = Site::start(two()).await;
    let client = site.gateway.client();
    let mut backs = Vec::new();
    for turn in 0..7 {
        backs.push(site.away(&client, &format!("{AUTHORIZE}?next=/{turn}"), "ann").await);
        site.gateway.pass(Duration::from_secs(1)).await;
        assert!(flow_cookies(&client).len() <= 5);
    }
    for (turn, back) in backs.iter().enumerate().skip(2) {
        assert_eq!(site.arrive(&client, back).await.location(), format!("/{turn}"));
    }
    assert_eq!(client.get(&backs[0]).send().await.expect(400).detail(), "OAUTH_INVALID_STATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_01_and_02_a_sign_in_ends_what_the_browser_had() {
    let site = Site::start(two()).await;
    // Whoever is signed in already stays whole until somebody else is.
    let browser = site.gateway.person("bob").sign_in().await;
    let former = browser.cookie("portcullis").unwrap();
    let back = site.away(&browser, AUTHORIZE, "ann").await;
    assert_eq!(me(&browser).await["email"], "bob@example.com");
    site.arrive(&browser, &back).await;
    assert_eq!(me(&browser).await["email"], "ann@corp.example");
    assert_ne!(browser.cookie("portcullis").unwrap(), former);
    let old = site.gateway.client();
    old.set_cookie("portcullis", &former);
    assert!(is_anonymous(&old).await, "the former session is over");
    // A session that somebody else chose is never taken over.
    let victim = site.gateway.client();
    victim.set_cookie("portcullis", &former);
    let back = site.away(&victim, AUTHORIZE, "ann").await;
    site.arrive(&victim, &back).await;
    assert_ne!(victim.cookie("portcullis").unwrap(), former);
    assert!(is_anonymous(&old).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_04_a_provider_never_switches_an_account_on_again() {
    let site = Site::start(two()).await;
    let ann = site.sign_in("ann").await;
    let id: uuid::Uuid = me(&ann).await["id"].as_str().unwrap().parse().unwrap();
    // Switched off while somebody is away as well.
    let other = site.gateway.client();
    let under_way = site.away(&other, AUTHORIZE, "ann").await;
    let off = portcullis::store::Flag::Active(false);
    let people = site.gateway.running.accounts().people();
    people.set_flag(id, off, &portcullis::accounts::Actor::cli()).await.unwrap();
    site.gateway.wait_for(&ann, "/auth/users/me", 401).await;
    assert_eq!(other.get(&under_way).send().await.expect(400).detail(), "LOGIN_BAD_CREDENTIALS");
    let back = site.away(&other, AUTHORIZE, "ann").await;
    assert_eq!(other.get(&back).send().await.expect(400).detail(), "LOGIN_BAD_CREDENTIALS");
    let user = people.find(&id.to_string()).await.unwrap().unwrap();
    assert!(!user.is_active);
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_11_another_site_links_nothing() {
    let site = Site::start(two()).await;
    let ann = site.gateway.person("ann").sign_in().await;
    let to = "/auth/associate/corp/authorize";
    // A navigation begins nothing: it shows a form, which is sent with a token of this very session.
    for from in ["cross-site", "same-site", "same-origin"] {
        ann.visit(to).navigating_from(from).send().await.expect(200);
    }
    let fields = [("sure", "1"), ("current_password", PASSWORD), ("form_token", "x")];
    let link = ann.post("/auth/associate/corp/link").form(&fields);
    link.navigating_from("same-origin").send().await.expect(403);
    let foreign = ann.get(to).header("Origin", "https://evil.example").send().await.expect(403);
    assert_eq!(foreign.detail(), "Cross-site request");
    assert!(flow_cookies(&ann).is_empty());
    // Unlinking takes a form of this very session.
    let linked = ann.get(to).send().await.expect(200).json();
    let back = site.callback(linked["authorization_url"].as_str().unwrap(), "ann").await;
    ann.get(&back).send().await.expect(200);
    let unlink = "/auth/associate/corp/unlink";
    let form = [("subject", "ann")];
    ann.post(unlink).form(&form).navigating_from("same-origin").send().await.expect(403);
    let foreign = ann.post(unlink).form(&form).navigating_from("cross-site");
    foreign.header("Origin", "https://evil.example").send().await.expect(403);
    let links = site.gateway.running.accounts().people().find("ann@example.com").await.unwrap();
    let links = site.gateway.running.store().list_links(links.unwrap().id).await.unwrap();
    assert_eq!(links.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bru_10_wrong_callbacks_are_limited_by_address() {
    let site = Site::start(two()).await;
    let client = site.gateway.client();
    for _ in 0..20 {
        client.get("/auth/corp/callback?code=x&state=x").send().await.expect(400);
    }
    let limited = client.get("/auth/corp/callback?code=x&state=x").send().await.expect(429);
    assert!(limited.header("retry-after").is_some());
    // Logout tokens are counted apart.
    let form = [("logout_token", "x")];
    client.post("/auth/corp/backchannel-logout").form(&form).send().await.expect(400);
    site.gateway.pass(Duration::from_secs(601)).await;
    let back = site.away(&client, AUTHORIZE, "ann").await;
    site.arrive(&client, &back).await;
    // Good ones count for nothing.
    for _ in 0..21 {
        site.sign_in("ann").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_01_a_code_is_redeemed_only_after_its_state_is_found_good() {
    let site = Site::start(two()).await;
    let (client, other) = (site.gateway.client(), site.gateway.client());
    let back = site.away(&client, AUTHORIZE, "ann").await;
    other.get(&back).send().await.expect(400);
    for state in [None, Some("x")] {
        client.get(&with_parameter(&back, "state", state)).send().await.expect(400);
    }
    let elsewhere = back.replace("/auth/corp", "/auth/associate/corp");
    client.get(&elsewhere).send().await.expect(401);
    client
        .get(&with_parameter(&back, "iss", Some("https://evil.example")))
        .send()
        .await
        .expect(400);
    let asked = site.provider.requests().await;
    assert!(!asked.contains_key("/token"), "{asked:?}");
    // Nor is it redeemed by a callback that is not the first.
    let back = site.away(&client, AUTHORIZE, "ann").await;
    let kept = flow_cookies(&client);
    client.get(&back).send().await.expect(204);
    for (name, value) in kept {
        client.set_cookie(&name, &value);
    }
    client.get(&back).send().await.expect(400);
    assert_eq!(site.provider.requests().await["/token"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_02_where_it_cannot_be_told_whether_a_callback_came_before_nobody_is_signed_in() {
    use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
    let site = Site::start(two()).await;
    let client = site.gateway.client();
    let back = site.away(&client, AUTHORIZE, "ann").await;
    let run = async |sql: &'static str| {
        let database = site.gateway.file.with_file_name("portcullis.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
        let mut connection = options.connect().await.unwrap();
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    };
    run("ALTER TABLE tokens RENAME TO lost").await;
    let failed = client.get(&back).send().await.expect(503);
    assert!(!failed.text().contains("tokens"), "{}", failed.text());
    assert!(client.cookie("portcullis").is_none());
    assert!(!site.provider.requests().await.contains_key("/token"));
    run("ALTER TABLE lost RENAME TO tokens").await;
    assert!(is_anonymous(&client).await);
    assert!(site.events("sign-in").await.is_empty());
}
