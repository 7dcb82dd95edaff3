//! OpenID Connect from the address a browser is sent to until a person has come back.

use super::*;

#[tokio::test]
async fn a_browser_is_sent_with_everything_that_binds_its_way_back() {
    let (double, clock) = world();
    let provider = oidc(&double, &clock);
    let extra = ["groups", "openid", "phone  email", ""].map(str::to_owned);
    let url = provider.authorization(&asked(&extra)).await.unwrap();
    assert!(url.as_str().starts_with(&format!("{}/authorize?tenant=1&", double.issuer())));
    let query: Vec<(String, String)> = url.query_pairs().into_owned().skip(1).collect();
    let expected = [
        ("response_type", "code"),
        ("client_id", "us"),
        ("redirect_uri", "https://app.example.com/auth/corp/callback"),
        ("state", "the-state"),
        ("code_challenge", "the-challenge"),
        ("code_challenge_method", "S256"),
        ("scope", "openid email profile offline_access groups phone"),
        ("nonce", "the-nonce"),
        ("prompt", "consent"),
    ];
    assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let many = ["a b c d e f g h i j k l m n o p q r s t u"].map(str::to_owned);
    let none = ["a\"b".to_owned(), "b\u{e4}d".to_owned(), "a\tb".to_owned(), "x".repeat(201)];
    for refused in none.iter().chain(&many) {
        let error =
            provider.authorization(&asked(std::slice::from_ref(refused))).await.unwrap_err();
        assert_eq!(error, ProviderError::Scope, "{refused}");
    }
    let keys = format!("kind: oidc, issuer: \"{}\", recheck: off, {WHO}", double.issuer());
    let quiet = provider_of(&keys, &clock, WHOLE).authorization(&asked(&[])).await.unwrap();
    assert!(!quiet.as_str().contains("offline_access") && !quiet.as_str().contains("consent"));
    // RFC 7636 appendix B.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[tokio::test]
async fn a_code_becomes_a_person_and_shows_no_secret() {
    let (double, clock) = world();
    let provider = oidc(&double, &clock);
    let ann = redeem(&provider).await.unwrap();
    assert_eq!((ann.issuer.as_str(), ann.subject.as_str()), (&*double.issuer(), "ann"));
    assert_eq!((ann.email.as_deref(), ann.email_is_verified), (Some("Ann@example.com"), true));
    assert_eq!((ann.roles.as_slice(), ann.is_admitted), (&["admin".to_owned()][..], true));
    assert_eq!(ann.session_id.as_deref(), Some("s1"));
    assert_eq!(ann.profile.last_name.as_deref(), Some("Other"));
    let life = ann.tokens.expires_at.unwrap().since(clock.now());
    assert!(life > Duration::from_mins(59) && life <= Duration::from_hours(1), "{life:?}");
    let sent = &double.seen("/token")[0];
    assert!(
        sent.head.contains(&format!("authorization: Basic {}", "dXM6dGhlLWNsaWVudC1zZWNyZXQ="))
    );
    for (name, value) in [
        ("grant_type", "authorization_code"),
        ("code", "the-code"),
        ("code_verifier", "the-verifier-of-at-least-43-characters-in-all"),
        ("redirect_uri", "https://app.example.com/auth/corp/callback"),
    ] {
        assert_eq!(sent.form(name).as_deref(), Some(value));
    }
    assert!(!sent.body.contains("client_secret"));
    assert!(double.seen("/userinfo").is_empty(), "the ID token says all that is needed");
    let printed = format!("{provider:?} {ann:?} {:?}", provider.settings());
    for secret in ["the-client-secret", "the-access-token", "the-refresh-token", "eyJ"] {
        assert!(!printed.contains(secret), "{secret}: {printed}");
    }
}

#[tokio::test]
async fn only_the_boolean_true_verifies_an_email_and_only_beside_that_email() {
    let (double, clock) = world();
    let provider = oidc(&double, &clock);
    let userinfo = json!({ "sub": "ann", "email": "ann@example.com", "email_verified": true });
    let cases = [
        (json!({ "email_verified": "true" }), false),
        (json!({ "email_verified": 1 }), false),
        (json!({ "email_verified": [true] }), false),
        (json!({ "email_verified": false }), false),
        (json!({ "email_verified": null }), false),
        // Half of it is no word: then both come from the userinfo answer.
        (json!({ "email": "root@evil.example", "email_verified": ABSENT }), true),
        (json!({ "email": ABSENT }), true),
        (json!({ "email_verified": true }), true),
    ];
    double.answers("/userinfo", Reply::Json(200, userinfo));
    for (changes, is_verified) in cases {
        let said = with(&claims(&double, &clock), &changes);
        double.answers("/token", Reply::Json(200, grant(&said)));
        let ann = redeem(&provider).await.unwrap();
        assert_eq!(ann.email_is_verified, is_verified, "{changes}");
        assert_eq!(ann.is_admitted, is_verified, "{changes}");
        assert!(ann.email.is_some_and(|email| email.ends_with("@example.com")), "{changes}");
    }
    let foreign = json!({ "sub": "bob", "email": "ann@example.com", "email_verified": true });
    double.answers("/userinfo", Reply::Json(200, foreign));
    let said = with(&claims(&double, &clock), &json!({ "email": ABSENT }));
    double.answers("/token", Reply::Json(200, grant(&said)));
    assert!(matches!(redeem(&provider).await, Err(ProviderError::Malformed(_))));
}

#[tokio::test]
async fn a_callback_that_another_issuer_answers_is_refused_before_the_code_is_sent() {
    let (double, clock) = world();
    let provider = oidc(&double, &clock);
    let verifier = verifier();
    let own = double.issuer();
    let foreign = ["https://evil.example", "", "null", &format!("{own}/"), &own.to_uppercase()];
    for iss in foreign {
        let refused = provider.redeem(redemption(Some(iss), &verifier)).await;
        assert_eq!(refused.unwrap_err(), ProviderError::MixUp, "{iss}");
    }
    assert!(double.seen("/token").is_empty());
    assert!(provider.redeem(redemption(Some(&own), &verifier)).await.is_ok());
    let announces = with(
        &discovery(&double),
        &json!({ "authorization_response_iss_parameter_supported": true }),
    );
    double.answers("/.well-known/openid-configuration", Reply::Json(200, announces));
    let provider = oidc(&double, &clock);
    assert_eq!(
        provider.redeem(redemption(None, &verifier)).await.unwrap_err(),
        ProviderError::MixUp
    );
    assert!(provider.redeem(redemption(Some(&own), &verifier)).await.is_ok());
}

#[tokio::test]
async fn jwt_11_tokens_with_unknown_keys_cause_one_request_an_interval() {
    let (double, clock) = world();
    let provider = Arc::new(oidc(&double, &clock));
    redeem(&provider).await.unwrap();
    assert_eq!(double.seen("/keys").len(), 1);
    let claims = json!({ "iss": double.issuer() }).to_string();
    let attack = async |provider: &Arc<Provider>, times: usize| {
        let attempts = (0..times).map(|number| {
            let text = forge(&format!(r#"{{"alg":"RS256","kid":"k{number}"}}"#), &claims);
            let provider = Arc::clone(provider);
            tokio::spawn(async move { provider.read_logout_token(&text).await })
        });
        for attempt in attempts.collect::<Vec<_>>() {
            let refused = attempt.await.unwrap().unwrap_err();
            assert_eq!(refused, ProviderError::IdToken(IdTokenFault::Key));
        }
    };
    attack(&provider, 200).await;
    assert_eq!(double.seen("/keys").len(), 1, "the keys were fetched a moment ago");
    clock.advance(Duration::from_secs(30));
    attack(&provider, 10_000).await;
    assert_eq!(double.seen("/keys").len(), 2);
    // What fails keeps the last good keys, and is not asked again at once.
    double.answers("/keys", Reply::Json(500, json!({})));
    clock.advance(Duration::from_secs(30));
    attack(&provider, 200).await;
    assert_eq!(double.seen("/keys").len(), 3);
    assert!(redeem(&provider).await.is_ok());
}

#[tokio::test]
async fn a_key_that_the_provider_begins_to_use_is_found() {
    let (double, clock) = world();
    let mut old = jwks();
    old["keys"].as_array_mut().unwrap().remove(0);
    double.answers("/keys", Reply::Json(200, old));
    let provider = oidc(&double, &clock);
    let unknown = redeem(&provider).await.unwrap_err();
    assert_eq!(unknown, ProviderError::IdToken(IdTokenFault::Key));
    double.answers("/keys", Reply::Json(200, jwks()));
    clock.advance(Duration::from_secs(31));
    assert!(redeem(&provider).await.is_ok());
    // And one that it ceases to publish is not taken for longer than a day.
    double.answers("/keys", Reply::Json(200, json!({ "keys": [] })));
    clock.advance(Duration::from_hours(25));
    let said = claims(&double, &clock);
    double.answers("/token", Reply::Json(200, grant(&said)));
    assert_eq!(redeem(&provider).await.unwrap_err(), ProviderError::IdToken(IdTokenFault::Key));
}

#[tokio::test]
async fn a_provider_that_is_down_at_first_is_asked_again_with_pauses() {
    let (double, clock) = world();
    let good = discovery(&double);
    double.answers("/.well-known/openid-configuration", Reply::Json(503, json!({})));
    let provider = Arc::new(oidc(&double, &clock));
    let attempts: Vec<_> = (0..50)
        .map(|_| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { provider.authorization(&asked(&[])).await })
        })
        .collect();
    for attempt in attempts {
        assert_eq!(attempt.await.unwrap(), Err(ProviderError::Status(503)));
    }
    let asked_for = || double.seen("/.well-known/openid-configuration").len();
    assert_eq!(asked_for(), 1, "one at a time, and a pause after it");
    clock.advance(Duration::from_secs(1));
    assert!(provider.authorization(&asked(&[])).await.is_err());
    clock.advance(Duration::from_secs(1));
    assert!(provider.authorization(&asked(&[])).await.is_err());
    assert_eq!(asked_for(), 2, "the second pause is longer");
    double.answers("/.well-known/openid-configuration", Reply::Json(200, good));
    clock.advance(Duration::from_secs(1));
    assert!(provider.authorization(&asked(&[])).await.is_ok());
    // A day later it is down again: what is known stays in use.
    double.answers("/.well-known/openid-configuration", Reply::Json(503, json!({})));
    clock.advance(Duration::from_hours(25));
    assert!(provider.authorization(&asked(&[])).await.is_ok());
    assert_eq!(asked_for(), 4);
}

#[tokio::test]
async fn answers_of_a_hostile_provider_are_refused_and_leak_nothing() {
    const CANARY: &str = "canary-7Hq2";
    let (double, clock) = world();
    let elsewhere = Double::start();
    let location = format!("location: {}/stolen\r\n", elsewhere.issuer());
    let redirect = |status: u16| {
        Reply::Raw(
            format!("HTTP/1.1 {status} X\r\n{location}content-length: 0\r\n\r\n").into_bytes(),
        )
    };
    let huge = format!(r#"{{"x":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
    let endless =
        b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 900000\r\n\r\n{"
            .to_vec();
    let replies = [
        redirect(302),
        redirect(307),
        Reply::Raw(answer(200, "application/json", &huge)),
        Reply::Raw(answer(200, "text/html", &grant(&claims(&double, &clock)).to_string())),
        Reply::Raw(answer(200, "application/json", &format!("<html>{CANARY}"))),
        Reply::Raw(answer(200, "application/json", &format!(r#"["{CANARY}"]"#))),
        Reply::Raw(answer(200, "application/json", r#"{"access_token":"a","access_token":"b"}"#)),
        Reply::Raw(endless),
        Reply::Raw(b"HTTP/1.1 200 X\r\n".to_vec()),
        Reply::Raw(format!("{CANARY}\r\n\r\n").into_bytes()),
        Reply::Raw(Vec::new()),
        Reply::Json(500, json!({ "error": CANARY })),
        Reply::Json(418, json!({})),
        Reply::Json(200, json!({ "access_token": CANARY, "token_type": "mac" })),
        Reply::Json(200, json!({ "access_token": format!("{CANARY}\n") })),
        Reply::Json(200, json!({ "access_token": CANARY })),
        Reply::Json(200, json!({ "id_token": CANARY })),
    ];
    let provider = oidc(&double, &clock);
    for reply in replies {
        double.answers("/token", reply.clone());
        let error = redeem(&provider).await.expect_err("hostile");
        assert!(
            !matches!(error, ProviderError::Refused(_) | ProviderError::NoLonger(_)),
            "{error}: {reply:?}"
        );
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
    }
    assert!(elsewhere.seen("/stolen").is_empty(), "no redirect is followed");
    let refused = [
        ("invalid_client", "invalid_client"),
        ("<script>alert(1)</script>\n", "scriptalert1script"),
        (&"x".repeat(500), &"x".repeat(64)),
        ("", "an error without a code"),
    ];
    for (said, shown) in refused {
        let body = json!({ "error": said, "error_description": CANARY });
        double.answers("/token", Reply::Json(400, body));
        let error = redeem(&provider).await.unwrap_err();
        assert_eq!(error, ProviderError::Refused(shown.to_owned()));
    }
}

#[tokio::test]
async fn a_provider_that_says_nothing_is_given_up_in_time() {
    let (double, clock) = world();
    double.answers("/token", Reply::Silence);
    let keys = format!("kind: oidc, issuer: \"{}\", {WHO}", double.issuer());
    let provider = provider_of(&keys, &clock, Duration::from_millis(500));
    let error = redeem(&provider).await.unwrap_err();
    assert_eq!(error, ProviderError::Unreachable("no answer in time".to_owned()));
    let nobody = format!("kind: oidc, issuer: \"http://127.0.0.1:1\", {WHO}");
    let error = redeem(&provider_of(&nobody, &clock, WHOLE)).await.unwrap_err();
    assert!(error.to_string().contains("no connection"), "{error}");
}

#[tokio::test]
async fn a_document_of_somebody_else_is_refused() {
    let (double, clock) = world();
    for changes in [
        json!({ "issuer": "https://evil.example" }),
        json!({ "issuer": format!("{}/", double.issuer()) }),
        json!({ "jwks_uri": "http://keys.example.com/" }),
        json!({ "token_endpoint": "ftp://127.0.0.1/" }),
    ] {
        let document = with(&discovery(&double), &changes);
        double.answers("/.well-known/openid-configuration", Reply::Json(200, document));
        let error = oidc(&double, &clock).authorization(&asked(&[])).await.unwrap_err();
        assert!(matches!(error, ProviderError::Malformed(_)), "{changes}: {error}");
    }
}

#[tokio::test]
async fn a_changed_configuration_keeps_what_is_known_of_providers_that_stayed() {
    let (double, clock) = world();
    let load = |keys: &str| {
        let text = format!(
            "upstreams: {{ app: \"http://127.0.0.1:3000\" }}\nproviders:\n  corp: {{ kind: oidc, issuer: \
             \"{}\", client_id: us, who: anyone }}\n{keys}",
            double.issuer()
        );
        let none = std::collections::BTreeMap::<String, String>::new();
        config::load_text(&text, Path::new("p.yaml"), &none).unwrap().providers
    };
    let old = Providers::new(&load(""), &clock).unwrap();
    let more = load("  more: { kind: github, client_id: us, client_secret: x, who: anyone }\n");
    let new = old.renewed(&more, &clock).unwrap();
    let names: Vec<&str> = new.list().iter().map(|one| one.settings().name.as_str()).collect();
    assert_eq!(names, ["corp", "more"]);
    assert!(Arc::ptr_eq(&old.get("corp").unwrap(), &new.get("corp").unwrap()));
    assert!(old.get("more").is_none());
    assert!(new.renewed(&[], &clock).unwrap().list().is_empty());
}
