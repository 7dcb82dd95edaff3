//! Whether a provider still vouches for somebody, and signing out there.

use secrecy::ExposeSecret as _;

use super::*;

#[tokio::test]
async fn a_provider_that_no_longer_vouches_is_told_from_one_that_cannot_be_asked() {
    let (double, clock) = world();
    let provider = oidc(&double, &clock);
    let ann = redeem(&provider).await.unwrap();
    let recheck = || provider.recheck(&ann.tokens, "ann");
    // A refresh sends no nonce, may bring none, and need not bring a refresh token or an ID token.
    let fresh = with(&claims(&double, &clock), &json!({ "nonce": ABSENT, "groups": [] }));
    let grant = with(&grant(&fresh), &json!({ "refresh_token": ABSENT }));
    double.answers("/token", Reply::Json(200, grant.clone()));
    let again = recheck().await.unwrap();
    assert_eq!((again.roles.len(), again.is_admitted), (0, true));
    assert_eq!(again.tokens.refresh.unwrap().expose_secret(), "the-refresh-token");
    assert_eq!(double.seen("/token")[1].form("grant_type").as_deref(), Some("refresh_token"));

    double.answers("/token", Reply::Json(200, with(&grant, &json!({ "id_token": ABSENT }))));
    let userinfo = json!({ "sub": "ann", "email": "ann@other.example", "email_verified": true });
    double.answers("/userinfo", Reply::Json(200, userinfo));
    let moved = recheck().await.unwrap();
    assert!(!moved.is_admitted);

    let ends = [
        ("/token", Reply::Json(400, json!({ "error": "invalid_grant" }))),
        ("/userinfo", Reply::Json(401, json!({ "error": "invalid_token" }))),
        ("/userinfo", Reply::Json(200, json!({ "sub": "bob" }))),
    ];
    let unknown = [
        ("/token", Reply::Json(503, json!({}))),
        ("/token", Reply::Json(401, json!({ "error": "invalid_client" }))),
        ("/token", Reply::Raw(Vec::new())),
        ("/userinfo", Reply::Json(500, json!({}))),
    ];
    let good = [
        ("/token", Reply::Json(200, with(&grant, &json!({ "id_token": ABSENT })))),
        ("/userinfo", Reply::Json(200, json!({ "sub": "ann" }))),
    ];
    for (replies, is_end) in [(&ends[..], true), (&unknown[..], false)] {
        for (path, reply) in replies {
            for (path, reply) in &good {
                double.answers(path, reply.clone());
            }
            double.answers(path, reply.clone());
            let error = recheck().await.unwrap_err();
            assert_eq!(error.vouches_no_longer(), is_end, "{error}: {reply:?}");
        }
    }
    let none = Tokens { refresh: None, ..ann.tokens.clone() };
    let error = provider.recheck(&none, "ann").await.unwrap_err();
    assert_eq!(error, ProviderError::NothingToAskBy);
}

#[tokio::test]
async fn a_refresh_token_that_was_replaced_is_not_lost_with_the_question_after_it() {
    let (double, clock) = world();
    let provider = oidc(&double, &clock);
    let ann = redeem(&provider).await.unwrap();
    let grant = json!({ "access_token": "at-2", "token_type": "Bearer", "refresh_token": "rt-2" });
    double.answers("/token", Reply::Json(200, grant));
    double.answers("/userinfo", Reply::Json(503, json!({})));
    for _ in 0..2 {
        let error = provider.recheck(&ann.tokens, "ann").await.unwrap_err();
        assert_eq!(error, ProviderError::Status(503));
    }
    double.answers("/userinfo", Reply::Json(200, json!({ "sub": "ann" })));
    let again = provider.recheck(&ann.tokens, "ann").await.unwrap();
    assert_eq!(again.tokens.refresh.unwrap().expose_secret(), "rt-2");
    let sent = |number: usize| double.seen("/token")[number].form("refresh_token");
    assert_eq!(sent(1).as_deref(), Some("the-refresh-token"));
    assert_eq!(sent(2).as_deref(), Some("rt-2"), "the former one is good no more");
    assert_eq!(sent(3).as_deref(), Some("rt-2"));
    // The answer arrived, but was not stored: what is kept is the former one still.
    assert!(provider.recheck(&ann.tokens, "ann").await.is_ok());
    assert_eq!(sent(4).as_deref(), Some("rt-2"));
}

#[tokio::test]
async fn signing_out_there_names_the_session_and_comes_back() {
    let (double, clock) = world();
    let provider = oidc(&double, &clock);
    let url = provider.logout_url("https://app.example.com/auth/login");
    let query: Vec<(String, String)> = url.await.unwrap().query_pairs().into_owned().collect();
    let expected =
        [("client_id", "us"), ("post_logout_redirect_uri", "https://app.example.com/auth/login")];
    assert_eq!(query, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let nobody =
        provider_of(&format!("kind: oidc, issuer: \"http://127.0.0.1:1\", {WHO}"), &clock, WHOLE);
    assert!(nobody.logout_url("https://app.example.com/").await.is_none());

    let now = clock.now().as_seconds();
    let notice = json!({
        "iss": double.issuer(), "aud": "us", "iat": now, "exp": now + 60, "jti": "once", "sid": "s1",
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    let notice = provider.read_logout_token(&token(&notice)).await.unwrap();
    assert_eq!((notice.session.as_deref(), notice.subject), (Some("s1"), None));
    assert_eq!(notice.id, "once");
    let id_token = token(&claims(&double, &clock));
    let refused = provider.read_logout_token(&id_token).await.unwrap_err();
    assert_eq!(refused, ProviderError::IdToken(IdTokenFault::NoLogout));
}
