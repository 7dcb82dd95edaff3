//! Open redirects, continued: hosts that look like ours, requests whose own shape leads away, what goes
//! along with a redirect, and circles.

use super::redirects::{Ways, encode, filled_form, send_sign_in, start, stays};
use super::spelling::words;
use crate::harness::{Gateway, PASSWORD};
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread")]
async fn red_04_a_host_that_looks_like_a_listed_one_is_not_listed() {
    let (_upstream, gateway) = start().await;
    let port = gateway.address.port();
    let mut ways = Ways::open(&gateway).await;
    let listed = format!("http://app.example.com:{port}/x?y");
    assert_eq!(ways.follow(&encode(&listed)).await, [listed.clone(), listed]);
    for host in words(
        "evil-app.example.com app.example.com.evil app.example.com.evil.example \
.app.example.com app.example.com. app..example.com example.com xapp.example.com \
app-example.com app.example.como APP.example.com. app.example.com@evil.example \
evil.example@app.example.com u:p@app.example.com app%2eexample.com \
app.example.com%00 app.example.com%2f@evil.example app\u{3002}example.com \
\u{ff41}pp.example.com xn--app.example.com app.example.com\\@evil.example \
[app.example.com] *.example.com app_example.com",
    ) {
        for end in [
            String::new(),
            format!(":{port}"),
            format!(":{port}/"),
            format!(":{port}/x"),
            format!(":{port}?app.example.com"),
            format!(":{port}#app.example.com"),
            format!(":{port}@evil.example"),
            format!(":{port}\\.evil"),
        ] {
            ways.refuse(&format!("http://{host}{end}")).await;
        }
    }
    let one_off = port ^ 1;
    for other in [
        format!("https://app.example.com:{port}/"),
        "http://app.example.com/".into(),
        format!("http://app.example.com:{one_off}/"),
        format!("http://app.example.com:{port}0/"),
        format!("http://app.example.com:0{port}/"),
        format!("http://app.example.com:{port}:{port}/"),
        format!("http://app.example.com:{port}//evil.example"),
    ] {
        let led = ways.follow(&encode(&other)).await;
        assert!(!led.contains(&other), "{other} leads to {led:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn red_04_below_a_cookie_domain_hosts_end_at_a_label() {
    let upstream = Upstream::start();
    let yaml = r#"
sessions: { cookie: { domain: "example.com" } }
upstreams: { app: "${APP}" }
routes:
  - { host: "*.example.com", path: "/**", upstream: app, allow: authenticated }
"#;
    let builder = Gateway::builder(yaml).with("APP", &upstream.url());
    let gateway = builder.key("public_url", "http://auth.example.com:8000").start().await;
    let nobody = gateway.client().with_host("auth.example.com:8000");
    let follow = async |next: &str| {
        let answer = nobody.visit(&format!("/auth/logout?next={}", encode(next))).send().await;
        answer.expect(303).location().to_owned()
    };
    for host in ["wiki.example.com", "a.b.example.com"] {
        let next = format!("http://{host}:8000/x");
        assert_eq!(follow(&next).await, next);
    }
    for host in words(
        "evil-example.com notexample.com example.com.evil.example \
wiki.example.com.evil.example wiki.evilexample.com wiki.example.com. .example.com \
example.com wiki.example.com@evil.example wiki.example.comx com wiki%2eexample.com",
    ) {
        for end in [":8000/x", ":8000", "", "/", ":80/"] {
            let led = follow(&format!("http://{host}{end}")).await;
            assert!(!led.contains(host) && !led.contains("evil"), "{host}{end} leads to {led}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn red_07_no_request_of_any_shape_is_answered_with_a_way_out() {
    let (_upstream, gateway) = start().await;
    let ann = gateway.person("ann").sign_in().await;
    let shapes = words(
        "//evil.example/.. //evil.example/%2f.. //evil.example ///evil.example \
/\\evil.example /%5cevil.example /%2fevil.example //evil.example/%2e%2e \
//evil.example// /.//evil.example /..//evil.example /;//evil.example \
/x//evil.example/ /@evil.example /evil.example /%09/evil.example /https:evil.example \
/https://evil.example",
    );
    for prefix in ["", "/open", "/odd", "/auth", "/auth/login", "/auth/logout", "/nowhere"] {
        for shape in &shapes {
            for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                for (client, who) in [(&gateway.client(), "nobody"), (&ann, "ann")] {
                    let target = format!("{prefix}{shape}");
                    let call = client.call(method, &target).navigating_from("none");
                    let referer = format!("{}{target}", client.origin());
                    let answer = call.header("Referer", &referer).send().await;
                    let case = format!("{who} {method} {target}");
                    if (300..400).contains(&answer.status) {
                        let went = stays(&gateway, answer.location(), &case);
                        // And from the sign-in page onwards.
                        let next = went.query_pairs().find(|(name, _)| name == "next");
                        if let Some((_, next)) = next {
                            let on = gateway
                                .client()
                                .visit(&format!("/auth/logout?next={}", encode(&next)));
                            stays(&gateway, on.send().await.expect(303).location(), &case);
                        }
                    } else {
                        assert_eq!(answer.location(), "", "{case}");
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn red_08_no_credential_is_part_of_where_one_is_sent() {
    let (_upstream, gateway) = start().await;
    gateway.person("ann").create().await;
    let other = format!("http://app.example.com:{}/x", gateway.address.port());
    for next in ["/x", "/x?token=", "/x#access_token=", "//evil.example", &*other] {
        let client = gateway.client();
        let (fields, _) = filled_form(&client, &format!("/auth/login?next={}", encode(next))).await;
        let secrets = [client.cookies(), fields[0].1.clone()];
        let answer = send_sign_in(&client, &fields).await.expect(303);
        let arrived = client.visit(answer.location()).send().await.expect(303);
        let out = client.visit(&format!("/auth/logout?next={}", encode(next)));
        let out = out.navigating_from("same-origin");
        let session = client.cookie("portcullis").unwrap();
        let out = out.send().await.expect(303);
        for (step, answer) in [("signed in", &answer), ("arrived", &arrived), ("signed out", &out)]
        {
            let location = answer.location();
            stays(&gateway, location, step);
            assert!(!location.contains(&session), "{step}: {location}");
            for cookie in secrets[0].split("; ").filter_map(|pair| pair.split_once('=')) {
                assert!(!location.contains(cookie.1), "{step}: {location}");
            }
            assert!(!location.contains(&PASSWORD.replace(' ', "+")), "{step}: {location}");
        }
        // What leaves this site is the address alone, as it was asked for.
        let expected = if next.starts_with("//") { "/" } else { next };
        assert_eq!(arrived.location(), expected);
    }
    // Nor has the JSON endpoint anywhere to send to.
    let fields = [
        ("username", "ann@example.com"),
        ("password", PASSWORD),
        ("next", "//evil.example"),
        ("redirect_uri", "https://evil.example"),
    ];
    for path in [
        "/auth/cookie/login?next=//evil.example",
        "/auth/jwt/login?redirect_uri=https://evil.example",
    ] {
        let answer = gateway.client().post(path).form(&fields).send().await;
        assert!([200, 204].contains(&answer.status) && answer.location().is_empty(), "{path}");
        assert!(
            !answer.text().contains("evil") && !format!("{:?}", answer.headers).contains("evil")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn red_10_an_address_that_resembles_the_loopback_address_is_not_it() {
    let (_upstream, gateway) = start().await;
    let port = gateway.address.port();
    let mut ways = Ways::open(&gateway).await;
    for host in words(
        "127.0.0.1.evil.example 127.0.0.1.nip.io localhost.evil.example localhost 127.1 \
127.0.1 0x7f.0.0.1 0x7f000001 2130706433 017700000001 [::1] [::ffff:127.0.0.1] \
0.0.0.0 127.0.0.2 127.0.0.1. 127.0.0.1%00 127.0.0.1@evil.example \
localhost:1@evil.example evil.example#@127.0.0.1 evil.example\\@127.0.0.1 ①②⑦.0.0.1",
    ) {
        for end in [
            String::new(),
            format!(":{port}"),
            format!(":{port}/x"),
            "/x".to_owned(),
            format!(":{port}@evil.example/"),
        ] {
            ways.refuse(&format!("http://{host}{end}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn red_11_what_leads_round_in_circles_ends_at_the_account_or_the_default() {
    let (_upstream, gateway) = start().await;
    let mut ways = Ways::open(&gateway).await;
    let mut nested = "/auth/login".to_owned();
    for depth in 0..14 {
        for page in ["login", "logout", "continue", "setup", "account", "nowhere"] {
            let next = nested.replacen("login", page, 1);
            let led = ways.follow(&encode(&next)).await;
            let is_bounded =
                led.iter().all(|led| ["/", "/auth/account", "/auth/login"].contains(&&**led));
            assert!(is_bounded, "{depth} {page}: {led:?}");
        }
        nested = format!("/auth/login?next={}", encode(&nested));
        if nested.len() > 1_500 {
            nested = "/%61uth/login?next=/auth/login".to_owned();
        }
    }
    for length in [2_040, 2_048, 2_049, 4_096, 8_000, 8_192, 9_000, 60_000] {
        for next in [
            format!("/{}", "a".repeat(length - 1)),
            format!("/{}", "%2f..".repeat(length / 5)),
            "/auth/login?next=".repeat(length / 17),
            "/a?next=".repeat(length / 8),
        ] {
            let led = ways.follow(&encode(&next)).await;
            assert!(led.iter().all(|led| led.len() <= 2_048), "{length}: {led:?}");
        }
    }
    // In the form itself, where nothing limits the length of an address, the default is meant too.
    for next in ["/a".repeat(4_096), "/auth/login?next=".repeat(400), "/auth/logout".to_owned()] {
        let client = gateway.client();
        let (mut fields, _) = filled_form(&client, "/auth/login").await;
        fields.push(("next".into(), next.clone()));
        let answer = send_sign_in(&client, &fields).await;
        if answer.status == 303 {
            let arrived = client.visit(answer.location()).send().await.expect(303);
            assert!(["/", "/auth/account"].contains(&arrived.location()), "{}", arrived.location());
        } else {
            assert!([400, 413].contains(&answer.status), "{}: {}", next.len(), answer.status);
        }
    }
}
