//! Each row of `docs/json-api.md` about providers, as a front end meets it.

use std::time::Duration;

use serde_json::json;

use super::{Site, flow_cookies, me, parameter, path_of, person, with_parameter};

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_signs_somebody_in_as_it_does_with_fastapi_users() {
    let site = Site::start(json!({ "ann": person("Ann@corp.example", &["nights"]) })).await;
    let client = site.gateway.client();
    let asked = client.get("/auth/corp/authorize?scopes=profile&scopes=openid%20phone");
    let asked = asked.send().await.expect(200);
    assert_eq!(asked.header("cache-control"), Some("no-store"));
    let url = asked.json()["authorization_url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&site.provider.issuer()), "{url}");
    assert_eq!(parameter(&url, "code_challenge_method"), "S256");
    assert!(!parameter(&url, "nonce").is_empty() && !parameter(&url, "state").is_empty());
    assert_eq!(parameter(&url, "scope"), "openid email profile groups offline_access phone");
    let back = format!("http://{}/auth/corp/callback", site.gateway.address);
    assert_eq!(parameter(&url, "redirect_uri"), back);
    for none in ["scopes=%22", "scopes=phone&scopes=b%C3%A4d", &"scopes=a&".repeat(21)] {
        client.get(&format!("/auth/corp/authorize?{none}")).send().await.expect(400);
    }
    let cookies = asked.all("set-cookie");
    assert!(cookies.len() == 1 && cookies[0].starts_with("portcullis-flow-"), "{cookies:?}");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"] {
        assert!(cookies[0].contains(part), "{part}: {cookies:?}");
    }
    let back = site
        .callback(&with_parameter_of(&url, "scope", "openid email profile groups"), "ann")
        .await;
    let arrived = client.get(&back).send().await.expect(204);
    assert_eq!(arrived.all("set-cookie").len(), 2, "the session, and the flow's taken back");
    let user = me(&client).await;
    assert_eq!(user["email"], "Ann@corp.example");
    assert_eq!((&user["is_verified"], &user["first_name"]), (&json!(true), &json!("Ann")));
    assert_eq!(user["roles"], json!(["night"]));
    let session = client.get("/auth/session").send().await.expect(200).json();
    assert_eq!(session["method"], "provider");
    client.get("/night/x").send().await.expect(200);
    assert_eq!(site.events("register").await.len(), 1);
    let events = site.events("sign-in").await;
    assert_eq!((events.len(), &*events[0].detail), (1, "corp"));
    // The second time it is the same account.
    let again = site.sign_in("ann").await;
    assert_eq!(me(&again).await["id"], user["id"]);
    assert_eq!(site.events("register").await.len(), 1);
}

fn with_parameter_of(url: &str, name: &str, value: &str) -> String {
    let site = url.split("/auth").next().unwrap();
    format!("{site}{}", with_parameter(&path_of(url), name, Some(value)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_come_back_wrongly_has_its_code() {
    let users = json!({
        "ann": person("ann@corp.example", &[]),
        "nameless": {},
    });
    let site = Site::start(users).await;
    let client = site.gateway.client();
    let back = site.away(&client, "/auth/corp/authorize", "ann").await;
    let detail = async |to: &str, status: u16| client.get(to).send().await.expect(status).detail();
    let callback = "/auth/corp/callback";
    assert_eq!(detail(&format!("{callback}?error=access_denied"), 400).await, "access_denied");
    let with_all = with_parameter(&back, "error", Some("server_error"));
    assert_eq!(detail(&with_all, 400).await, "server_error");
    let back = site.away(&client, "/auth/corp/authorize", "ann").await;
    assert_eq!(detail(callback, 400).await, "Bad Request");
    assert_eq!(detail(&with_parameter(&back, "code", None), 400).await, "Bad Request");
    assert_eq!(detail(&with_parameter(&back, "code", Some("")), 400).await, "Bad Request");
    let undecodable = "ACCESS_TOKEN_DECODE_ERROR";
    for state in [None, Some(""), Some("x"), Some("QUJD"), Some(&*"A".repeat(7_000))] {
        assert_eq!(detail(&with_parameter(&back, "state", state), 400).await, undecodable);
    }
    let state = parameter(&back, "state");
    for changed in [format!("{state}="), state[1..].to_owned(), state.to_uppercase()] {
        assert_eq!(detail(&with_parameter(&back, "state", Some(&changed)), 400).await, undecodable);
    }
    let other = site.gateway.client();
    let answer = other.get(&back).send().await.expect(400);
    assert_eq!(answer.detail(), "OAUTH_INVALID_STATE", "another browser");
    // A code of nobody's; then the state is spent, whatever came of it.
    let bad = with_parameter(&back, "code", Some("made-up"));
    assert_eq!(detail(&bad, 400).await, "Bad Request");
    assert_eq!(detail(&back, 400).await, "OAUTH_INVALID_STATE");
    let nameless = site.away(&client, "/auth/corp/authorize", "nameless").await;
    assert_eq!(detail(&nameless, 400).await, "OAUTH_NOT_AVAILABLE_EMAIL");
    let late = site.away(&client, "/auth/corp/authorize", "ann").await;
    site.gateway.pass(Duration::from_secs(601)).await;
    assert_eq!(detail(&late, 400).await, "ACCESS_TOKEN_ALREADY_EXPIRED");
    assert!(site.events("sign-in").await.is_empty());
    for (method, to, allow) in [
        ("POST", callback, "GET, HEAD"),
        ("PUT", "/auth/corp/authorize", "GET, HEAD"),
        ("GET", "/auth/corp/backchannel-logout", "POST"),
    ] {
        let answer = client.call(method, to).send().await.expect(405);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {to}");
    }
    for to in
        ["/auth/other/authorize", "/auth/other/callback?code=x", "/auth/associate/other/callback"]
    {
        client.get(to).send().await.expect(404);
        client.visit(to).send().await.expect(404);
    }
    client.post("/auth/other/backchannel-logout").send().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_is_502_and_tells_nothing() {
    let site = Site::start(json!({ "ann": person("ann@corp.example", &[]) })).await;
    let client = site.gateway.client();
    let back = site.away(&client, "/auth/corp/authorize", "ann").await;
    // Another secret than the one it knows: it answers with an error of its own.
    let other = json!([{ "client_id": "portcullis", "client_secret": "another-secret-altogether",
        "redirect_uris": ["http://127.0.0.1:9/x"] }]);
    site.provider.set_up_with(json!({ "clients": other, "users": {} })).await;
    let answer = client.get(&back).send().await.expect(502);
    assert_eq!(answer.detail(), "Bad Gateway");
    for word in ["invalid_client", &site.provider.issuer(), "secret", "token"] {
        assert!(!answer.text().contains(word), "{word}: {}", answer.text());
    }
    let page = client.visit(&site.away_twice(&client).await).send().await.expect(502);
    assert!(
        page.text().contains("Corp &lt;b&gt;") && page.text().contains("Back to the sign-in page")
    );
}

impl Site {
    /// A callback with a state that is good and a code that is not known any more.
    async fn away_twice(&self, client: &crate::raw::Client) -> String {
        let gone = client.visit("/auth/corp/authorize").send().await.expect(303);
        let state = parameter(gone.location(), "state");
        let back = with_parameter("/auth/corp/callback?code=gone", "state", Some(&state));
        with_parameter(&back, "iss", Some(&self.provider.issuer()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_come_is_asked_at_every_sign_in() {
    let users = json!({
        "ann": person("ann@corp.example", &[]),
        "eve": person("eve@evil.example", &[]),
        "fay": { "email": "fay@corp.example", "email_verified": false },
    });
    let who = "who: { domains: [corp.example] }";
    let site = Site::start_with(users, who, |builder| builder).await;
    let ann = site.sign_in("ann").await;
    assert_eq!(me(&ann).await["email"], "ann@corp.example");
    let refused = async |login: &str| {
        let client = site.gateway.client();
        let back = site.away(&client, "/auth/corp/authorize", login).await;
        client.get(&back).send().await.expect(400).detail()
    };
    assert_eq!(refused("eve").await, "LOGIN_BAD_CREDENTIALS");
    assert_eq!(refused("fay").await, "LOGIN_BAD_CREDENTIALS", "not verified there");
    site.provider.set_users(json!({ "ann": person("ann@evil.example", &[]) })).await;
    assert_eq!(refused("ann").await, "LOGIN_BAD_CREDENTIALS", "moved away");
    let people = site.gateway.running.accounts().people();
    let ann = people.find("ann@corp.example").await.unwrap().unwrap();
    site.check_turned_away(&[
        ("ann@evil.example", "corp: not in who", Some(ann.id)),
        ("eve@evil.example", "corp: not in who", None),
        ("fay@corp.example", "corp: not in who; no e-mail is verified there", None),
    ])
    .await;
    assert!(people.find("eve@evil.example").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_linked_by_an_email_that_both_sides_have_verified_and_by_no_other() {
    let users = json!({
        "ann": person("ANN@example.com", &[]),
        "bob": { "email": "bob@example.com", "email_verified": false },
        "off": person("off@example.com", &[]),
    });
    let who = "who: anyone, register: true, link_by_email: verified";
    let site = Site::start_with(users, who, |builder| builder).await;
    let account = site.gateway.person("ann").create().await;
    site.gateway.person("bob").create().await;
    let off = site.gateway.person("off").create().await;
    let ann = site.sign_in("ann").await;
    assert_eq!(me(&ann).await["id"], json!(account.id));
    assert_eq!(site.events("link").await.len(), 1);
    assert!(site.events("register").await.is_empty());
    // The password stays: the account was verified.
    site.gateway.sign_in("ann").await.get("/x").send().await.expect(200);
    let refused = async |login: &str| {
        let client = site.gateway.client();
        let back = site.away(&client, "/auth/corp/authorize", login).await;
        client.get(&back).send().await.expect(400).detail()
    };
    assert_eq!(refused("bob").await, "OAUTH_USER_ALREADY_EXISTS");
    let flag = portcullis::store::Flag::Active(false);
    let people = site.gateway.running.accounts().people();
    people.set_flag(off.id, flag, &portcullis::accounts::Actor::cli()).await.unwrap();
    assert_eq!(refused("off").await, "LOGIN_BAD_CREDENTIALS");
    site.check_turned_away(&[
        ("bob@example.com", "corp: it belongs to another account", None),
        ("off@example.com", "corp: the account is switched off", Some(off.id)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_an_account_where_providers_make_none() {
    let users =
        json!({ "ann": person("ann@example.com", &[]), "eve": person("eve@x.example", &[]) });
    let who = "who: anyone, register: false, link_by_email: verified";
    let site = Site::start_with(users, who, |builder| builder).await;
    site.gateway.person("ann").create().await;
    site.sign_in("ann").await;
    let client = site.gateway.client();
    let back = site.away(&client, "/auth/corp/authorize", "eve").await;
    assert_eq!(client.get(&back).send().await.expect(400).detail(), "LOGIN_BAD_CREDENTIALS");
    let why = "corp: there is no account, and register is off";
    site.check_turned_away(&[("eve@x.example", why, None)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signed_in_links_an_account_and_nobody_else_does() {
    let users = json!({ "ann": person("elsewhere@corp.example", &["nights"]) });
    let site = Site::start(users).await;
    let ann = site.gateway.person("ann").sign_in().await;
    let bob = site.gateway.person("bob").sign_in().await;
    let authorize = "/auth/associate/corp/authorize";
    assert_eq!(
        site.gateway.client().get(authorize).send().await.expect(401).detail(),
        "Unauthorized"
    );
    let away = async |client: &crate::raw::Client| {
        let asked = client.get(authorize).send().await.expect(200).json();
        site.callback(asked["authorization_url"].as_str().unwrap(), "ann").await
    };
    let back = away(&ann).await;
    assert!(back.starts_with("/auth/associate/corp/callback?"), "{back}");
    let nobody = site.gateway.client();
    for (name, value) in flow_cookies(&ann) {
        nobody.set_cookie(&name, &value);
        bob.set_cookie(&name, &value);
    }
    nobody.get(&back).send().await.expect(401);
    assert_eq!(bob.get(&back).send().await.expect(400).detail(), "Bad Request");
    let linked = ann.get(&back).send().await.expect(200).json();
    assert_eq!(linked["email"], "ann@example.com");
    ann.get("/night/x").send().await.expect(200);
    site.check_only_event("link", "ann@example.com").await;
    // The same once more is as good; for another account it is taken.
    let back = away(&ann).await;
    ann.get(&back).send().await.expect(200);
    let back = away(&bob).await;
    assert_eq!(bob.get(&back).send().await.expect(400).detail(), "OAUTH_USER_ALREADY_EXISTS");
    let page = bob.visit(&away(&bob).await).send().await.expect(400).text();
    assert!(page.contains("is linked to another account here; unlink it there first"), "{page}");
    let listed = ann.get("/auth/associate").send().await.expect(200).json();
    assert_eq!(listed[0]["provider"], "corp");
    assert_eq!(listed[0]["account_email"], "elsewhere@corp.example");
    let nobody = site.gateway.client();
    nobody.get("/auth/associate").send().await.expect(401);
    nobody.call("DELETE", "/auth/associate/corp").send().await.expect(401);
    let foreign = ann.call("DELETE", "/auth/associate/corp");
    foreign.header("Origin", "https://evil.example").send().await.expect(403);
    bob.call("DELETE", "/auth/associate/corp").send().await.expect(404);
    let other = site.sign_in("ann").await;
    ann.call("DELETE", "/auth/associate/corp").send().await.expect(204);
    ann.get("/night/x").send().await.expect(403);
    other.get("/auth/users/me").send().await.expect(401);
    assert_eq!(ann.get("/auth/associate").send().await.expect(200).json(), json!([]));
    for kind in ["link", "unlink"] {
        site.check_only_event(kind, "ann@example.com").await;
    }
    let back = away(&ann).await;
    ann.get(&back).send().await.expect(200);
    // From then on it signs in to that account, whatever the e-mail.
    let again = site.sign_in("ann").await;
    assert_eq!(me(&again).await["email"], "ann@example.com");
    // A state to sign in with is none to link with, and the other way round.
    let back = away(&ann).await;
    let as_sign_in = back.replace("/associate", "");
    let answer = ann.get(&as_sign_in).send().await.expect(400);
    assert_eq!(answer.detail(), "ACCESS_TOKEN_DECODE_ERROR");
    let back = site.away(&ann, "/auth/corp/authorize", "ann").await;
    let as_link = back.replace("/auth/corp", "/auth/associate/corp");
    assert_eq!(ann.get(&as_link).send().await.expect(400).detail(), "ACCESS_TOKEN_DECODE_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_made_by_a_provider_keep_the_rules_of_accounts() {
    let users = json!({
        "ann": person("ann@corp.example", &[]),
        "eve": person("eve@evil.example", &[]),
        "fay": { "email": "fay@corp.example", "email_verified": false },
    });
    let rules = "{ require_verified: true, email_domains: [corp.example], default_roles: [night], \
                 confirm_changes: true }";
    let site = Site::start_with(users, "who: anyone, register: true", |builder| {
        builder.key("accounts", rules).key("mail", "{ from: \"a@corp.example\", directory: mail }")
    })
    .await;
    let refused = async |login: &str| {
        let client = site.gateway.client();
        let back = site.away(&client, "/auth/corp/authorize", login).await;
        client.get(&back).send().await.expect(400).detail()
    };
    assert_eq!(refused("eve").await, "LOGIN_BAD_CREDENTIALS", "a domain that is not admitted");
    assert_eq!(refused("fay").await, "LOGIN_USER_NOT_VERIFIED");
    let people = site.gateway.running.accounts().people();
    let fay = people.find("fay@corp.example").await.unwrap().unwrap();
    site.check_turned_away(&[
        ("eve@evil.example", "corp: accounts.email_domains does not admit the e-mail", None),
        ("fay@corp.example", "corp: the e-mail is not verified", Some(fay.id)),
    ])
    .await;
    // A page is headed by what happened: nobody asked for anything wrong.
    for (login, heading) in
        [("eve", "You may not sign in here"), ("fay", "This did not work with Corp &lt;b&gt;")]
    {
        let client = site.gateway.client();
        let back = site.away(&client, "/auth/corp/authorize", login).await;
        let page = client.visit(&back).send().await.expect(400).text();
        assert!(page.contains(&format!("<h1>{heading}</h1>")), "{page}");
        assert!(!page.contains("email_domains"), "why is not for the client: {page}");
    }
    let ann = site.sign_in("ann").await;
    assert_eq!(me(&ann).await["roles"], json!(["night"]));
    // Nobody has a password to confirm with: a sign-in of the last five minutes is as good.
    let change = async |password: &str| {
        let body = json!({ "password": password }).to_string();
        ann.call("PATCH", "/auth/users/me").body("application/json", body).send().await
    };
    site.gateway.pass(Duration::from_secs(301)).await;
    let late = change("seven herons on the quay").await.expect(400);
    assert_eq!(late.json()["detail"]["code"], "UPDATE_USER_INVALID_PASSWORD");
    let again = site.away(&ann, "/auth/corp/authorize", "ann").await;
    site.arrive(&ann, &again).await;
    change("seven herons on the quay").await.expect(200);
    change("nine herons over the weir").await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_change_while_the_gateway_runs() {
    let users = json!({
        "ann": person("ann@corp.example", &["nights"]),
        "bob": person("bob@corp.example", &[]),
    });
    let site = Site::start(users).await;
    let ann = site.sign_in("ann").await;
    ann.get("/night/x").send().await.expect(200);
    // What is linked is not offered to be linked.
    let account = ann.visit("/auth/account").send().await.expect(200).text();
    assert!(account.contains("associate&#x2f;corp&#x2f;unlink"), "{account}");
    assert!(!account.contains("associate&#x2f;corp&#x2f;authorize"), "{account}");
    site.gateway.reload("nights: night", "days: night");
    let again = site.sign_in("ann").await;
    again.get("/night/x").send().await.expect(403);
    let own = site.gateway.person("own").sign_in().await;
    site.link(&own, "bob").await;
    site.gateway.reload("corp:", "firm:");
    let client = site.gateway.client();
    client.get("/auth/corp/authorize").send().await.expect(404);
    let page = client.visit("/auth/login").send().await.expect(200).text();
    assert!(page.contains("firm&#x2f;authorize"), "{page}");
    // What was linked is shown by its name, and may be taken away: there is a password.
    let account = own.visit("/auth/account").send().await.expect(200).text();
    assert!(account.contains("associate&#x2f;corp&#x2f;unlink"), "{account}");
    assert!(account.contains("associate&#x2f;firm&#x2f;authorize"), "{account}");
    own.get("/x").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_way_in_is_not_taken_away() {
    let site = Site::start(json!({ "ann": person("ann@corp.example", &[]) })).await;
    let ann = site.sign_in("ann").await;
    let unlink = || ann.call("DELETE", "/auth/associate/corp");
    assert_eq!(unlink().send().await.expect(400).detail(), "LAST_WAY_IN");
    me(&ann).await;
    assert_eq!(ann.get("/auth/associate").send().await.expect(200).json()[0]["provider"], "corp");
    let body = json!({ "password": "seven herons on the quay" }).to_string();
    let call = ann.call("PATCH", "/auth/users/me").body("application/json", body);
    call.send().await.expect(200);
    unlink().send().await.expect(204);
}
