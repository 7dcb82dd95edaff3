//! The kinds with words of their own: Google, Microsoft, GitLab, GitHub, and those of a field map.

use super::*;

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const OBJECT: &str = "0f9c1a3e-5b7d-4a2c-8e1f-6d4b2a90c7e5";

/// Answers as an OpenID provider of this issuer, whose document is below `path`.
fn openid(path: &str, issuer: &str, claims: &Value) -> (Double, Clock) {
    let (double, clock) = (Double::start(), Clock::adjustable());
    let own = double.issuer();
    let document = json!({
        "issuer": issuer.replace("HERE", &own),
        "authorization_endpoint": format!("{own}/authorize"), "token_endpoint": format!("{own}/token"),
        "jwks_uri": format!("{own}/keys"), "userinfo_endpoint": format!("{own}/userinfo"),
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    });
    double.answers(&format!("{path}/.well-known/openid-configuration"), Reply::Json(200, document));
    double.answers("/keys", Reply::Json(200, jwks()));
    let now = clock.now().as_seconds();
    let whole =
        json!({ "sub": "1", "aud": "us", "nonce": "the-nonce", "iat": now, "exp": now + 300 });
    let mut whole = with(&whole, claims);
    let said = whole["iss"].as_str().unwrap().replace("HERE", &own);
    whole["iss"] = said.into();
    let grant = json!({ "access_token": "at", "id_token": token(&whole), "expires_in": "60" });
    double.answers("/token", Reply::Json(200, grant));
    (double, clock)
}

#[tokio::test]
async fn google_vouches_for_a_domain_only_where_it_hosts_the_account() {
    let cases = [
        (json!({ "hd": "example.com", "email": "ann@example.com", "email_verified": true }), true),
        (
            json!({ "hd": "example.com", "email": "ann@alias.example", "email_verified": true }),
            true,
        ),
        (json!({ "email": "ann@example.com", "email_verified": true }), false),
        (
            json!({ "hd": "evil.example", "email": "ann@example.com", "email_verified": true }),
            false,
        ),
        (
            json!({ "hd": "example.com", "email": "ann@example.com", "email_verified": false }),
            false,
        ),
        (json!({ "hd": ["example.com"], "email": "a@example.com", "email_verified": true }), false),
    ];
    for (said, is_admitted) in cases {
        let (double, clock) = openid("", "HERE", &with(&json!({ "iss": "HERE" }), &said));
        let mut settings =
            provider_of("kind: google, who: { domains: [example.com] }", &clock, WHOLE)
                .settings()
                .clone();
        settings.kind = ProviderKind::Google { issuer: double.issuer() };
        let provider = Provider::new(&Arc::new(settings), &Wire::new(WHOLE).unwrap(), &clock);
        let url = provider.authorization(&asked(&[])).await.unwrap();
        assert!(url.as_str().ends_with("&access_type=offline"), "{url}");
        let ann = redeem(&provider).await.unwrap();
        assert_eq!(ann.is_admitted, is_admitted, "{said}");
        let sent = &double.seen("/token")[0];
        assert_eq!(sent.form("client_secret").as_deref(), Some("the-client-secret"));
        assert!(!sent.head.to_lowercase().contains("authorization:"), "as announced");
        assert!(double.seen("/userinfo").is_empty());
    }
}

const ELSEWHERE: &str = "11111111-2222-3333-4444-555555555555";

/// A Microsoft whose document is below a path, and a person of [`TENANT`] as its token tells of them.
fn microsoft(path: &str, changes: &Value) -> (Double, Clock) {
    let said = json!({
        "iss": format!("HERE/{TENANT}/v2.0"), "tid": TENANT, "oid": OBJECT, "sub": "pairwise",
        "email": "victim@example.com", "email_verified": true, "roles": ["Data.Reader"],
    });
    let issuer = if path == "common" { "{tenantid}" } else { path };
    openid(&format!("/{path}/v2.0"), &format!("HERE/{issuer}/v2.0"), &with(&said, changes))
}

async fn come_from_microsoft(
    (double, clock): &(Double, Clock),
    keys: &str,
) -> Result<Vouched, ProviderError> {
    let keys =
        format!("kind: microsoft, base_url: \"{}\", roles_claim: roles, {keys}", double.issuer());
    redeem(&provider_of(&keys, clock, WHOLE)).await
}

#[tokio::test]
async fn microsoft_people_are_tenant_and_object_and_their_email_is_a_claim_only() {
    let world = microsoft("common", &json!({}));
    let ann = come_from_microsoft(&world, "who: anyone").await.unwrap();
    assert_eq!(ann.subject, format!("{TENANT}/{OBJECT}"));
    assert_eq!(ann.issuer, world.0.issuer());
    assert_eq!((ann.email.as_deref(), ann.email_is_verified), (Some("victim@example.com"), false));
    for (changes, fault) in [
        (json!({ "oid": ABSENT }), IdTokenFault::Subject),
        (json!({ "oid": "x" }), IdTokenFault::Subject),
        (json!({ "tid": "9188040d-6c67-4c5b-b112-36a304b66dad" }), IdTokenFault::Issuer),
    ] {
        let error = come_from_microsoft(&microsoft("common", &changes), "who: anyone").await;
        assert_eq!(error.unwrap_err(), ProviderError::IdToken(fault), "{changes}");
    }
    let edov = microsoft("common", &json!({ "xms_edov": true }));
    assert!(come_from_microsoft(&edov, "who: anyone").await.unwrap().email_is_verified);
}

#[tokio::test]
async fn groups_and_roles_of_microsoft_are_worth_something_in_a_listed_tenant_alone() {
    let roles = "roles: { Data.Reader: admin }";
    let foreign = json!({ "iss": format!("HERE/{ELSEWHERE}/v2.0"), "tid": ELSEWHERE });
    let third = "9188040d-6c67-4c5b-b112-36a304b66dad";
    for (tenants, path) in [(TENANT.to_owned(), TENANT), (format!("{TENANT}, {third}"), "common")] {
        let plain = format!("who: {{ tenants: [{tenants}] }}, {roles}");
        let grouped = format!("who: {{ tenants: [{tenants}], groups: [Data.Reader] }}, {roles}");
        for keys in [&plain, &grouped] {
            let ann = come_from_microsoft(&microsoft(path, &json!({})), keys).await.unwrap();
            assert!(ann.is_admitted && ann.roles == ["admin"], "{keys}");
            // The app role was given by whoever administers a tenant of their own.
            match come_from_microsoft(&microsoft(path, &foreign), keys).await {
                Ok(eve) => assert!(!eve.is_admitted && path == "common", "{keys}"),
                Err(error) => assert_eq!(error, ProviderError::IdToken(IdTokenFault::Issuer)),
            }
        }
        let without = microsoft(path, &json!({ "roles": ["Other"] }));
        assert!(come_from_microsoft(&without, &plain).await.unwrap().is_admitted, "{tenants}");
        assert!(!come_from_microsoft(&without, &grouped).await.unwrap().is_admitted, "{tenants}");
    }
}

#[tokio::test]
async fn gitlab_groups_come_from_the_userinfo_answer_without_regard_to_case() {
    let (double, clock) = openid("", "HERE", &json!({ "iss": "HERE" }));
    let keys = format!(
        "kind: gitlab, issuer: \"{}\", who: {{ groups: [Acme/Platform] }}, roles: {{ acme/data: admin }}",
        double.issuer()
    );
    let said = json!({ "sub": "1", "groups": ["acme/platform", "ACME/Data"] });
    double.answers("/userinfo", Reply::Json(200, said));
    let ann = redeem(&provider_of(&keys, &clock, WHOLE)).await.unwrap();
    assert!(ann.is_admitted && ann.roles == ["admin"]);
    assert!(double.seen("/userinfo")[0].head.contains("authorization: Bearer at\r\n"));
    double.answers("/userinfo", Reply::Json(200, json!({ "sub": "1", "groups": ["acme"] })));
    assert!(!redeem(&provider_of(&keys, &clock, WHOLE)).await.unwrap().is_admitted);
}

fn github(who: &str) -> (Double, Provider) {
    let double = Double::start();
    let grant = json!({ "access_token": "gho_at", "token_type": "bearer", "scope": "read:user" });
    double.answers("/login/oauth/access_token", Reply::Json(200, grant));
    let user = json!({ "id": 583_231, "login": "octocat", "name": "The Octocat", "email": "x@evil.example" });
    double.answers("/api/v3/user", Reply::Json(200, user));
    let emails = json!([
        { "email": "old@example.com", "primary": false, "verified": true },
        { "email": "cat@example.com", "primary": true, "verified": true },
    ]);
    double.answers("/api/v3/user/emails", Reply::Json(200, emails));
    double.answers("/api/v3/user/orgs", Reply::Json(200, json!([{ "login": "Acme" }])));
    let teams = json!([{ "slug": "Data", "organization": { "login": "Acme" } }, { "slug": "x" }]);
    double.answers("/api/v3/user/teams", Reply::Json(200, teams));
    let keys = format!("kind: github, base_url: \"{}\", {who}", double.issuer());
    let provider = provider_of(&keys, &Clock::adjustable(), WHOLE);
    (double, provider)
}

#[tokio::test]
async fn github_vouches_by_organisation_team_and_verified_primary_email() {
    let (double, provider) =
        github("who: { groups: [\"acme:DATA\"] }, roles: { \"acme:data\": admin, ACME: analyst }");
    let url = provider.authorization(&asked(&[])).await.unwrap();
    assert!(url.as_str().starts_with(&format!("{}/login/oauth/authorize?", double.issuer())));
    assert!(url.as_str().contains("scope=read%3Auser+user%3Aemail+read%3Aorg"), "{url}");
    assert!(!url.as_str().contains("nonce"));
    let cat = redeem(&provider).await.unwrap();
    assert_eq!((cat.subject.as_str(), cat.issuer), ("583231", double.issuer()));
    assert_eq!((cat.email.as_deref(), cat.email_is_verified), (Some("cat@example.com"), true));
    assert_eq!(cat.roles, ["admin", "analyst"]);
    assert!(cat.is_admitted);
    let sent = &double.seen("/login/oauth/access_token")[0];
    assert_eq!(sent.form("client_secret").as_deref(), Some("the-client-secret"));
    assert!(sent.form("code_verifier").is_some() && sent.head.contains("user-agent: portcullis/"));

    for (who, is_admitted) in [
        ("who: { organisations: [ACME] }", true),
        ("who: { organisations: [acme-evil] }", false),
        ("who: { groups: [\"acme:dat\"] }", false),
        ("who: { domains: [example.com] }", true),
        ("who: { emails: [old@example.com] }", false),
        ("who: { domains: [evil.example] }", false),
    ] {
        let (_, provider) = github(who);
        assert_eq!(redeem(&provider).await.unwrap().is_admitted, is_admitted, "{who}");
    }
    let (double, provider) = github("who: { domains: [example.com] }");
    let emails = json!([{ "email": "cat@example.com", "primary": true, "verified": false }]);
    double.answers("/api/v3/user/emails", Reply::Json(200, emails));
    let cat = redeem(&provider).await.unwrap();
    assert!(!cat.is_admitted && !cat.email_is_verified);
    assert!(double.seen("/api/v3/user/orgs").is_empty(), "asked only where it matters");
}

#[tokio::test]
async fn github_errors_sent_as_successes_are_errors_and_a_revoked_token_is_the_end() {
    let (double, provider) = github("who: { organisations: [acme] }, recheck: 1h");
    let cat = redeem(&provider).await.unwrap();
    assert!(provider.recheck(&cat.tokens, "583231").await.unwrap().is_admitted);
    double.answers("/api/v3/user/orgs", Reply::Json(200, json!([])));
    assert!(!provider.recheck(&cat.tokens, "583231").await.unwrap().is_admitted);
    let other = provider.recheck(&cat.tokens, "1").await.unwrap_err();
    assert!(other.vouches_no_longer());
    double.answers("/api/v3/user", Reply::Json(503, json!({})));
    assert!(!provider.recheck(&cat.tokens, "583231").await.unwrap_err().vouches_no_longer());
    double.answers("/api/v3/user", Reply::Json(401, json!({})));
    assert!(provider.recheck(&cat.tokens, "583231").await.unwrap_err().vouches_no_longer());
    // Just after the code was redeemed it is the provider's fault instead.
    assert_eq!(redeem(&provider).await.unwrap_err(), ProviderError::Status(401));
    let said = json!({ "error": "bad_verification_code", "error_description": "x" });
    double.answers("/login/oauth/access_token", Reply::Json(200, said));
    let refused = redeem(&provider).await.unwrap_err();
    assert_eq!(refused, ProviderError::Refused("bad_verification_code".to_owned()));
    let verifier = verifier();
    let mixed =
        provider.redeem(redemption(Some("https://evil.example/login/oauth"), &verifier)).await;
    assert_eq!(mixed.unwrap_err(), ProviderError::MixUp);
    let own = format!("{}/login/oauth", double.issuer());
    let told = provider.redeem(redemption(Some(&own), &verifier)).await.unwrap_err();
    assert_eq!(told, ProviderError::Refused("bad_verification_code".to_owned()), "it got there");
    assert!(provider.logout_url("https://app.example.com/").await.is_none());
    assert_eq!(provider.read_logout_token("x").await, Err(ProviderError::Unsupported));
}

#[tokio::test]
async fn all_pages_of_organisations_are_read_and_no_more_than_ten() {
    let (double, provider) = github("who: { organisations: [the-last] }");
    let full: Vec<Value> =
        (0..100).map(|number| json!({ "login": format!("o{number}") })).collect();
    double.answers("/api/v3/user/orgs", Reply::Json(200, full.into()));
    assert!(!redeem(&provider).await.unwrap().is_admitted);
    let seen = double.seen("/api/v3/user/orgs");
    assert_eq!(seen.len(), 10);
    assert!(seen[9].line.contains("per_page=100&page=10 "), "{}", seen[9].line);
}

/// With the addresses of a preset replaced by the double's, and its fields and scopes as they are.
fn preset(keys: &str) -> (Double, Provider) {
    let double = Double::start();
    let own = double.issuer();
    double.answers(
        "/token",
        Reply::Json(200, json!({ "access_token": "at", "token_type": "bearer" })),
    );
    let keys = format!(
        "kind: oauth2, authorize: \"{own}/authorize\", token: \"{own}/token\", userinfo: \"{own}/me?v=1\", {keys}"
    );
    let provider = provider_of(&keys, &Clock::adjustable(), WHOLE);
    (double, provider)
}

#[tokio::test]
async fn discord_says_whether_an_email_is_verified_and_facebook_does_not() {
    let (double, provider) = preset("preset: discord, who: { domains: [example.com] }");
    let said = json!({
        "id": "80351110224678912", "username": "nelly", "global_name": "Nelly", "verified": true,
        "email": "nelly@example.com",
    });
    double.answers("/me", Reply::Json(200, said.clone()));
    let url = provider.authorization(&asked(&[])).await.unwrap();
    assert!(url.as_str().contains("scope=identify+email"), "{url}");
    let nelly = redeem(&provider).await.unwrap();
    assert_eq!(nelly.subject, "80351110224678912");
    assert_eq!(nelly.profile.first_name.as_deref(), Some("Nelly"));
    assert!(nelly.is_admitted && nelly.email_is_verified);
    assert_eq!(
        double.seen("/token")[0].form("client_secret").as_deref(),
        Some("the-client-secret")
    );
    double.answers("/me", Reply::Json(200, with(&said, &json!({ "verified": false }))));
    assert!(!redeem(&provider).await.unwrap().is_admitted);

    let (double, provider) = preset("preset: facebook, who: anyone");
    let said = json!({ "id": "1234", "email": "a@example.com", "first_name": "Ann", "last_name": "O", "verified": true });
    double.answers(
        "/me",
        Reply::Raw(answer(200, "text/javascript; charset=UTF-8", &said.to_string())),
    );
    let ann = redeem(&provider).await.unwrap();
    assert_eq!((ann.email.as_deref(), ann.email_is_verified), (Some("a@example.com"), false));
    assert_eq!(ann.profile.last_name.as_deref(), Some("O"));
    let error = json!({ "error": { "message": "canary", "type": "OAuthException", "code": 100 } });
    double.answers("/token", Reply::Json(400, error));
    let refused = redeem(&provider).await.unwrap_err();
    assert_eq!(refused, ProviderError::Refused("OAuthException".to_owned()));
}

#[tokio::test]
async fn a_field_map_finds_what_it_names_and_a_subject_has_to_be_an_id() {
    let keys = "fields: { subject: user.id, email: user.mail, email_verified: user.ok }, \
                roles_claim: user.groups, roles: { m: admin }, who: { groups: [m] }";
    let (double, provider) = preset(keys);
    let said = |id: Value| json!({ "user": { "id": id, "mail": "a@example.com", "ok": true, "groups": "m" } });
    double.answers("/me", Reply::Json(200, said(json!(7))));
    let ann = redeem(&provider).await.unwrap();
    assert_eq!((ann.subject.as_str(), ann.email_is_verified, ann.is_admitted), ("7", true, true));
    assert_eq!(ann.roles, ["admin"]);
    let sent = &double.seen("/token")[0];
    assert!(sent.head.contains("authorization: Basic ") && sent.form("client_secret").is_none());
    for id in
        [json!(null), json!(""), json!(1.5), json!(true), json!(["7"]), json!({}), json!("a\nb")]
    {
        double.answers("/me", Reply::Json(200, said(id.clone())));
        let error = redeem(&provider).await.unwrap_err();
        assert!(matches!(error, ProviderError::Malformed(_)), "{id}: {error}");
    }
    let end = Timestamp::from_seconds(0);
    let over = Tokens { expires_at: Some(end), ..ann.tokens };
    let before = end.before(std::time::Duration::from_secs(1));
    assert!(provider.can_be_asked(&over, before) && !provider.can_be_asked(&over, end));
    assert!(provider.can_be_asked(&Tokens { refresh: Some("r".into()), ..over.clone() }, end));
    assert_eq!(provider.recheck(&over, "7").await.unwrap_err(), ProviderError::NothingToAskBy);
}
