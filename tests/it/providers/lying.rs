//! A provider that lies, through the whole gateway: tokens for others, of others, signed in no way.

use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use portcullis::accounts::LinkKind;
use portcullis::clock::Clock;
use serde_json::{Value, json};

use super::keeping::is_over;
use super::{YAML, me, parameter, written};
use crate::harness::{Builder, Gateway, PASSWORD};
use crate::raw::{Client, Response, find};
use crate::upstream::{Gate, Seen, Upstream};

/// What it says the next time somebody redeems a code.
#[derive(Clone)]
struct Told {
    id_token: String,
    /// Before which it says nothing.
    gate: Gate,
}

/// A provider of OpenID Connect that signs whatever a test wants.
pub(super) struct Liar {
    pub(super) server: Upstream,
    told: Arc<Mutex<Told>>,
    signing: Vec<u8>,
    x: String,
    y: String,
}

impl Liar {
    pub(super) fn start() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let signing = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
        let point = pair.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (part(&point[1..33]), part(&point[33..65]));
        let server = Upstream::start();
        let issuer = server.url();
        let metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["none", "HS256", "ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        });
        server.answers("/.well-known/openid-configuration", written("200 OK", &metadata));
        let told = Told { id_token: String::new(), gate: Gate::opened() };
        let told = Arc::new(Mutex::new(told));
        let saying = Arc::clone(&told);
        server.at("/token", move |mut exchange| {
            let told = saying.lock().unwrap().clone();
            async move {
                exchange.read_body().await;
                told.gate.wait().await;
                let answer = json!({
                    "access_token": "an-access-token", "token_type": "Bearer", "expires_in": 60,
                    "id_token": told.id_token, "refresh_token": "a-refresh-token",
                });
                exchange.write(written("200 OK", &answer)).await.then_some(exchange)
            }
        });
        let liar = Self { server, told, signing, x, y };
        liar.server.answers("/jwks", liar.keys());
        liar
    }

    /// Its keys, as it hands them out.
    fn keys(&self) -> String {
        let Self { x, y, .. } = self;
        written(
            "200 OK",
            &json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "use": "sig", "kid": "one", "alg": "ES256", "x": x, "y": y },
        ] }),
        )
    }

    /// How it is written in the configuration, with what a test adds.
    pub(super) fn keys_of_file(&self, more: &str) -> String {
        format!(
            "{{ kind: oidc, issuer: \"{}\", client_id: the-client, \
             client_secret: \"a-secret-of-tests\", who: anyone, register: true{more} }}",
            self.server.url()
        )
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as("JWT", claims)
    }

    fn sign_as(&self, what: &str, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(what.to_owned());
        header.kid = Some("one".to_owned());
        encode(&header, claims, &EncodingKey::from_ec_der(&self.signing)).unwrap()
    }

    /// What it says the next time somebody redeems a code.
    pub(super) fn says(&self, claims: &Value) {
        self.told.lock().unwrap().id_token = self.sign(claims);
    }

    pub(super) fn claims(&self, nonce: &str) -> Value {
        let now = Clock::system().now().as_seconds();
        json!({
            "iss": self.server.url(), "aud": "the-client", "sub": "ann", "iat": now, "exp": now + 300,
            "nonce": nonce, "email": "ann@example.com", "email_verified": true,
        })
    }
}

/// A token put together by hand.
fn by_hand(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode(signature))
}

/// HS256 under a key that everybody knows: the public one.
fn under_public_key(liar: &Liar, claims: &Value) -> String {
    let key = format!("{}{}", liar.x, liar.y);
    let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    encode(&header, claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
}

type Make = Box<dyn Fn(&Liar, Value) -> String>;

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// A good token but for one claim.
fn changed(name: &'static str, value: Value) -> Make {
    Box::new(move |liar, claims| liar.sign(&with(claims, name, value.clone())))
}

/// Claims that are not for us, or not now.
fn foreign_claims() -> Vec<(&'static str, Make)> {
    vec![
        ("another audience", changed("aud", json!("another-client"))),
        ("no audience", changed("aud", json!(null))),
        ("an empty audience", changed("aud", json!([]))),
        ("several, and another is authorised", changed("aud", json!(["the-client", "other"]))),
        ("another is authorised", changed("azp", json!("other"))),
        ("another issuer", changed("iss", json!("https://evil.example"))),
        ("no subject", changed("sub", json!(""))),
        ("a subject that is none", changed("sub", json!(7))),
        ("another nonce", changed("nonce", json!("another"))),
        ("no nonce", changed("nonce", json!(null))),
        ("another access token", changed("at_hash", json!("bm90IG9mIHRoaXMgb25l"))),
        ("past its end", changed("exp", json!(1))),
        ("from the future", changed("iat", json!(i64::from(u32::MAX)))),
    ]
}

/// Signatures that are none of the provider's keys.
fn wrong_signatures() -> Vec<(&'static str, Make)> {
    let unsigned = |alg: &'static str| -> Make {
        Box::new(move |_, claims| by_hand(&json!({ "alg": alg, "kid": "one" }), &claims, b""))
    };
    vec![
        ("no algorithm", unsigned("none")),
        ("none in other letters", unsigned("NoNe")),
        ("a shared key", Box::new(|liar, claims| under_public_key(liar, &claims))),
        (
            "a signature of zeroes",
            Box::new(|_, claims| {
                by_hand(&json!({ "alg": "ES256", "kid": "one" }), &claims, &[0; 64])
            }),
        ),
        (
            "a key of its own",
            Box::new(|_, claims| {
                let other = Liar::start();
                let jwk = json!({ "kty": "EC", "crv": "P-256", "x": other.x, "y": other.y });
                let mut header = Header::new(Algorithm::ES256);
                header.jwk = serde_json::from_value(jwk).ok();
                encode(&header, &claims, &EncodingKey::from_ec_der(&other.signing)).unwrap()
            }),
        ),
        (
            "claims changed under a good signature",
            Box::new(|liar, claims| {
                let good = liar.sign(&claims);
                let mut parts: Vec<&str> = good.split('.').collect();
                let evil = URL_SAFE_NO_PAD.encode(with(claims, "sub", json!("admin")).to_string());
                parts[1] = &evil;
                parts.join(".")
            }),
        ),
        ("no token", Box::new(|_, _| String::new())),
        ("no token at all", Box::new(|_, _| "a.b.c".to_owned())),
    ]
}

/// Comes back from the provider, which hands out what `make` makes of good claims.
async fn come_back(gateway: &Gateway, liar: &Liar, make: &Make) -> (Client, Response) {
    let client = gateway.client();
    let gone = client.visit("/auth/corp/authorize").send().await.expect(303);
    let claims = liar.claims(&parameter(gone.location(), "nonce"));
    liar.told.lock().unwrap().id_token = make(liar, claims);
    let state = parameter(gone.location(), "state");
    let answer = client.get(&format!("/auth/corp/callback?code=x&state={state}")).send().await;
    (client, answer)
}

/// A gateway whose people the liar vouches for.
fn gateway_of(app: &Upstream, liar: &Liar) -> Builder {
    let provider = format!("{{ corp: {} }}", liar.keys_of_file(""));
    Gateway::builder(YAML).with("APP", &app.url()).key("providers", &provider)
}

async fn start() -> (Upstream, Liar, Gateway) {
    let (app, liar) = (Upstream::start(), Liar::start());
    let unlimited = "{ auth: { links_per_address: off } }";
    let gateway = gateway_of(&app, &liar).key("limits", unlimited).start().await;
    (app, liar, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_10_tokens_for_others_and_of_no_signature_sign_nobody_in() {
    let (_app, liar, gateway) = start().await;
    for (what, make) in foreign_claims().iter().chain(&wrong_signatures()) {
        let (client, answer) = come_back(&gateway, &liar, make).await;
        assert_eq!(answer.status, 502, "{what}: {}", answer.text());
        assert_eq!(answer.detail(), "Bad Gateway", "{what}");
        client.get("/auth/users/me").send().await.expect(401);
    }
    let good: Make = Box::new(|liar, claims| liar.sign(&claims));
    let (client, answer) = come_back(&gateway, &liar, &good).await;
    answer.expect(204);
    assert_eq!(me(&client).await["email"], "ann@example.com");
    // A token is good once: the next sign-in has another nonce.
    let kept = liar.told.lock().unwrap().id_token.clone();
    let again: Make = Box::new(move |_, _| kept.clone());
    come_back(&gateway, &liar, &again).await.1.expect(502);
}

#[tokio::test(flavor = "multi_thread")]
async fn ses_05_a_stolen_session_that_ends_while_the_provider_is_asked_links_nothing() {
    let (_app, liar, gateway) = start().await;
    let stolen = gateway.person("ann").sign_in().await;
    let away = stolen.get("/auth/associate/corp/authorize").send().await.expect(200).json();
    let away = away["authorization_url"].as_str().unwrap();
    let claims = with(liar.claims(&parameter(away, "nonce")), "sub", json!("eve"));
    let gate = Gate::new();
    *liar.told.lock().unwrap() = Told { id_token: liar.sign(&claims), gate: gate.clone() };
    let back = format!("/auth/associate/corp/callback?code=x&state={}", parameter(away, "state"));
    let arrival = tokio::spawn(async move { stolen.get(&back).send().await });
    liar.server.wait_for(|seen| seen.target() == "/token").await;
    let reset = gateway.link("ann", LinkKind::Reset).await;
    let body = json!({ "token": parameter(&reset, "token"), "password": format!("{PASSWORD}!") });
    let owner = gateway.client().post("/auth/reset-password");
    owner.body("application/json", body.to_string()).send().await.expect(200);
    gate.open();
    arrival.await.unwrap().expect(401);
    let user = gateway.running.accounts().people().find("ann@example.com").await.unwrap().unwrap();
    assert_eq!(gateway.running.store().list_links(user.id).await.unwrap(), []);
    let events = gateway.running.store().list_events(None, 50).await.unwrap();
    assert!(events.iter().all(|event| event.kind != "link"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_taken_out_of_the_file_while_it_is_asked_vouches_for_nobody() {
    for recheck in ["1h", "off"] {
        let (app, liar) = (Upstream::start(), Liar::start());
        let more = format!(", roles: {{ nights: night }}, recheck: {recheck}");
        let gateway = Gateway::builder(YAML)
            .with("APP", &app.url())
            .key("providers", &format!("{{ corp: {} }}", liar.keys_of_file(&more)))
            .start()
            .await;
        let good: Make = Box::new(|liar, claims| liar.sign(&claims));
        let (before, answer) = come_back(&gateway, &liar, &good).await;
        answer.expect(204);
        let client = gateway.client();
        let gone = client.visit("/auth/corp/authorize").send().await.expect(303);
        let claims = liar.claims(&parameter(gone.location(), "nonce"));
        let claims = with(claims, "groups", json!(["nights"]));
        let gate = Gate::new();
        *liar.told.lock().unwrap() = Told { id_token: liar.sign(&claims), gate: gate.clone() };
        let back =
            format!("/auth/corp/callback?code=y&state={}", parameter(gone.location(), "state"));
        let arrival = tokio::spawn(async move {
            client.get(&back).send().await.expect(204);
            client
        });
        let is_code = |seen: &Seen| find(&seen.body, b"code=y").is_some();
        liar.server.wait_for(is_code).await;
        gateway.reload("{ corp: {", "{ firm: {");
        // What there was is looked through.
        assert!(is_over(&before).await, "{recheck}");
        gate.open();
        let client = arrival.await.unwrap();
        assert!(is_over(&client).await, "{recheck}");
        let people = gateway.running.accounts().people();
        let ann = people.find("ann@example.com").await.unwrap().unwrap();
        let roles = gateway.running.store().list_provider_roles(ann.id).await.unwrap();
        assert_eq!(roles, [], "{recheck}");
    }
}

/// Logout tokens that end nobody's session.
fn foreign_notices(liar: &Liar, good: &Value) -> Vec<(&'static str, String)> {
    let logout = |name: &str, value: Value| {
        let claims = with(good.clone(), name, value);
        liar.sign_as("logout+jwt", &with(claims, "jti", json!(format!("of {name}"))))
    };
    let header = json!({ "alg": "none", "typ": "logout+jwt", "kid": "one" });
    vec![
        ("none", String::new()),
        ("an ID token", liar.sign(&liar.claims("x"))),
        ("an ID token by its type", liar.sign_as("logout+jwt", &liar.claims("x"))),
        ("another audience", logout("aud", json!("another-client"))),
        ("another issuer", logout("iss", json!("https://evil.example"))),
        ("a nonce", logout("nonce", json!("x"))),
        ("no event", logout("events", json!({}))),
        ("another event", logout("events", json!({ "https://evil.example/event": {} }))),
        ("nobody", logout("sub", json!(null))),
        ("no id", liar.sign_as("logout+jwt", &with(good.clone(), "jti", json!(null)))),
        ("no signature", by_hand(&header, good, b"")),
        ("another's key", Liar::start().sign_as("logout+jwt", good)),
    ]
}

/// What a provider says when somebody signed out there.
fn notice(liar: &Liar) -> Value {
    let mut claims = liar.claims("x");
    claims.as_object_mut().unwrap().remove("nonce");
    claims["jti"] = json!("the-first");
    claims["events"] = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    claims
}

async fn notify(gateway: &Gateway, token: &str) -> u16 {
    let form = [("logout_token", token)];
    gateway.client().post("/auth/corp/backchannel-logout").form(&form).send().await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_keys_cannot_be_had_has_guessed_at_nothing() {
    let (app, liar) = (Upstream::start(), Liar::start());
    let gateway = gateway_of(&app, &liar).start().await;
    let keys = liar.keys();
    let good = liar.sign_as("logout+jwt", &notice(&liar));
    liar.server.answers("/jwks", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    for _ in 0..25 {
        assert_eq!(notify(&gateway, &good).await, 502);
    }
    liar.server.answers("/jwks", keys);
    gateway.pass(std::time::Duration::from_secs(31)).await;
    let forged = Liar::start().sign_as("logout+jwt", &notice(&liar));
    for _ in 0..20 {
        assert_eq!(notify(&gateway, &forged).await, 400);
    }
    assert_eq!(notify(&gateway, &forged).await, 429);
    assert_eq!(notify(&gateway, &good).await, 200, "the provider is heard whatever others send");
    let guess = json!({ "token": "x", "password": "seven herons on the quay" }).to_string();
    let guess = gateway.client().post("/auth/reset-password").body("application/json", guess);
    assert_eq!(guess.send().await.expect(400).detail(), "RESET_PASSWORD_BAD_TOKEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn jwt_07_a_session_ends_by_a_logout_token_that_is_for_it_and_works_once() {
    let (_app, liar, gateway) = start().await;
    let vouch: Make = Box::new(|liar, claims| liar.sign(&claims));
    let (ann, answer) = come_back(&gateway, &liar, &vouch).await;
    answer.expect(204);
    let claims = notice(&liar);
    let send = async |token: &str| notify(&gateway, token).await;
    for (what, token) in foreign_notices(&liar, &claims) {
        assert_eq!(send(&token).await, 400, "{what}");
        me(&ann).await;
    }
    // The provider's own, by a clock that is not ours.
    let late = with(claims.clone(), "exp", json!(1));
    assert_eq!(send(&liar.sign_as("logout+jwt", &late)).await, 502);
    me(&ann).await;
    // Good, and for somebody who is not signed in.
    let other = with(with(claims.clone(), "sub", json!("bob")), "jti", json!("of bob"));
    assert_eq!(send(&liar.sign_as("logout+jwt", &other)).await, 200);
    me(&ann).await;
    let good = liar.sign_as("logout+jwt", &claims);
    assert_eq!(send(&good).await, 200);
    ann.get("/auth/users/me").send().await.expect(401);
    let (again, answer) = come_back(&gateway, &liar, &vouch).await;
    answer.expect(204);
    assert_eq!(send(&good).await, 400, "it came before");
    me(&again).await;
}
