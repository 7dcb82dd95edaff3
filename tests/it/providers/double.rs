//! Doubles of services with words of their own: addresses, ID tokens, answers and errors as each documents
//! them.

use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use portcullis::clock::Clock;
use portcullis::config::{Config, LinkByEmail, Provider, ProviderKind};
use portcullis::identity::provider::challenge;
use serde_json::{Value, json};

use super::{YAML, parameter, path_of, written};
use crate::harness::Gateway;
use crate::raw::{Client, Response};
use crate::upstream::{Exchange, Upstream, silence};

const CLIENT: &str = "112233445566778899";
pub(super) const SECRET: &str = "a-secret-of-a-service";
pub(super) const TOKEN: &str = "ya29.an-access-token-of-a-service";
pub(super) const REFRESH: &str = "1//0g-a-refresh-token-of-a-service";
/// Where the keys are of those that sign.
pub(super) const KEYS: &str = "/keys";
const KID: &str = "e26d917b1fe8de13382aa7cc9a1d6e93262f33e2";

/// By which all of them sign: RS256, as they document.
static PAIR: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).unwrap());

/// What a service documents. `HERE` stands for where it is.
pub(super) struct Service {
    /// The provider's name in the file.
    pub(super) name: &'static str,
    /// Its keys there beside those that all have.
    pub(super) keys: String,
    /// Below which its discovery document is, and the issuer that it names; where it names none, there is none.
    pub(super) discovery: (&'static str, &'static str),
    pub(super) authorize: &'static str,
    pub(super) token: &'static str,
    pub(super) userinfo: &'static str,
    /// What it adds to a callback.
    pub(super) brings: &'static str,
    /// What it says of Ann.
    pub(super) ann: Said,
    /// What is different when she is not among `who`; nothing where everybody is.
    pub(super) foreign: Said,
    /// What is different when she has left the group that stands for a role; nothing where it knows none.
    pub(super) left: Said,
    /// How it refuses a code.
    pub(super) refusal: Value,
}

/// What a service says of somebody: in the ID token, and where it is asked with an access token.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) id_token: Value,
    pub(super) userinfo: Value,
}

impl Said {
    /// With other members; null takes one away.
    pub(super) fn with(&self, changes: &Self) -> Self {
        let merge = |of: &Value, changes: &Value| {
            let mut merged = of.clone();
            for (name, value) in changes.as_object().into_iter().flatten() {
                let members = merged.as_object_mut().unwrap();
                members.insert(name.clone(), value.clone());
                members.retain(|_, value| !value.is_null());
            }
            merged
        };
        Self {
            id_token: merge(&self.id_token, &changes.id_token),
            userinfo: merge(&self.userinfo, &changes.userinfo),
        }
    }

    /// Somebody of this e-mail.
    pub(super) fn with_email(&self, email: &str) -> Self {
        let of = |object: &Value| {
            if object["email"].is_null() { Value::Null } else { json!({ "email": email }) }
        };
        self.with(&Self { id_token: of(&self.id_token), userinfo: of(&self.userinfo) })
    }
}

/// A code that somebody may redeem once.
struct Issued {
    code: String,
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

struct World {
    said: Said,
    issued: Vec<Issued>,
    count: usize,
    /// Every ID token that it has signed.
    signed: Vec<String>,
}

impl World {
    /// The nonce that belongs to a code, which is good no more.
    fn spend(&mut self, form: &impl Fn(&str) -> String) -> Option<Value> {
        let found = self.issued.iter().position(|issued| {
            issued.code == form("code")
                && issued.redirect_uri == form("redirect_uri")
                && issued.challenge == challenge(&form("code_verifier"))
        });
        found.map(|found| self.issued.remove(found).nonce.into())
    }
}

/// Who answers for a service.
struct Clerk {
    service: Service,
    here: String,
    world: Mutex<World>,
}

/// A service that is running.
pub(super) struct Double {
    pub(super) server: Upstream,
    clerk: Arc<Clerk>,
}

fn sign(typ: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "RS256", "typ": typ, "kid": KID });
    let message = format!("{}.{}", part(&header), part(claims));
    let mut signature = vec![0; PAIR.public_modulus_len()];
    PAIR.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

impl Clerk {
    /// A text that names where the service is.
    fn named(&self, text: &str) -> String {
        text.replace("HERE", &self.here)
    }

    fn discovery(&self) -> Value {
        let Service { discovery: (_, issuer), authorize, token, userinfo, .. } = self.service;
        let at = |path: &str| format!("{}{path}", self.here);
        json!({
            "issuer": self.named(issuer),
            "authorization_endpoint": at(authorize), "token_endpoint": at(token),
            "userinfo_endpoint": at(userinfo), "jwks_uri": at(KEYS),
            "response_types_supported": ["code", "id_token", "code id_token"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "code_challenge_methods_supported": ["plain", "S256"],
        })
    }

    fn keys(&self) -> Value {
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(PAIR.public_key());
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KID, "x5t": KID,
            "n": part(&public.n), "e": part(&public.e), "issuer": self.named(self.service.discovery.1),
        }] })
    }

    /// Somebody agrees at once.
    fn authorize(&self, exchange: &Exchange) -> String {
        let target = exchange.seen.target();
        let asked = |name: &str| parameter(&target, name);
        assert_eq!((&*asked("response_type"), &*asked("client_id")), ("code", CLIENT));
        assert_eq!(asked("code_challenge_method"), "S256");
        let mut world = self.world.lock().unwrap();
        world.count += 1;
        let code = format!("4/0a-code-{}", world.count);
        let mut back = url::Url::parse(&asked("redirect_uri")).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked("state"));
        world.issued.push(Issued {
            code,
            nonce: asked("nonce"),
            challenge: asked("code_challenge"),
            redirect_uri: asked("redirect_uri"),
        });
        let brings = self.service.brings;
        format!("HTTP/1.1 302 Found\r\nLocation: {back}{brings}\r\nContent-Length: 0\r\n\r\n")
    }

    /// Takes a code once, from whoever has the secret and the verifier; and its refresh token.
    fn redeem(&self, exchange: &Exchange) -> String {
        let form = String::from_utf8_lossy(&exchange.seen.body).into_owned();
        let form = |name: &str| parameter(&format!("/?{form}"), name);
        let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")));
        let is_client = (&*form("client_id"), &*form("client_secret")) == (CLIENT, SECRET)
            || exchange.seen.header("authorization") == Some(basic);
        let mut world = self.world.lock().unwrap();
        let nonce = match &*form("grant_type") {
            "refresh_token" if form("refresh_token") == REFRESH => Some(Value::Null),
            "authorization_code" => world.spend(&form),
            _ => None,
        };
        let Some(nonce) = nonce.filter(|_| is_client) else {
            return written("400 Bad Request", &self.service.refusal);
        };
        let mut grant = json!({
            "access_token": TOKEN, "token_type": "Bearer", "expires_in": 3599, "refresh_token": REFRESH,
        });
        if world.said.id_token.is_object() {
            let id_token = sign("JWT", &self.claims(&world.said.id_token, nonce));
            world.signed.push(id_token.clone());
            grant["id_token"] = id_token.into();
        }
        written("200 OK", &grant)
    }

    /// What it says, for our client and for now.
    fn claims(&self, said: &Value, nonce: Value) -> Value {
        let now = Clock::system().now().as_seconds();
        let mut claims: Value = serde_json::from_str(&self.named(&said.to_string())).unwrap();
        claims["aud"] = CLIENT.into();
        claims["iat"] = now.into();
        // Beyond the time that a test lets pass here: this clock stands still meanwhile.
        claims["exp"] = (now + 7 * 24 * 3_600).into();
        if !nonce.is_null() {
            claims["nonce"] = nonce;
        }
        claims
    }

    /// Who somebody is.
    fn tell(&self, exchange: &Exchange) -> String {
        if exchange.seen.header("authorization") == Some(format!("Bearer {TOKEN}")) {
            written("200 OK", &self.world.lock().unwrap().said.userinfo)
        } else {
            written("401 Unauthorized", &json!({ "error": "invalid_token" }))
        }
    }
}

impl Double {
    pub(super) fn start(service: Service) -> Self {
        let server = Upstream::start();
        let said = service.ann.clone();
        let world = World { said, issued: Vec::new(), count: 0, signed: Vec::new() };
        let clerk = Clerk { service, here: server.url(), world: Mutex::new(world) };
        let double = Self { server, clerk: Arc::new(clerk) };
        let Service { authorize, discovery: (path, issuer), .. } = *double.service();
        if !issuer.is_empty() {
            let address = format!("{path}/.well-known/openid-configuration");
            double.server.answers(&address, written("200 OK", &double.clerk.discovery()));
        }
        double.at(authorize, Clerk::authorize);
        double.recovers();
        double
    }

    /// Answers as it should again.
    pub(super) fn recovers(&self) {
        self.at(self.service().token, Clerk::redeem);
        self.at(self.service().userinfo, Clerk::tell);
        self.server.answers(KEYS, written("200 OK", &self.clerk.keys()));
    }

    fn at(&self, path: &str, answer: fn(&Clerk, &Exchange) -> String) {
        let clerk = Arc::clone(&self.clerk);
        self.server.at(path, move |mut exchange| {
            let clerk = Arc::clone(&clerk);
            async move {
                exchange.read_body().await;
                let answer = answer(&clerk, &exchange);
                exchange.write(answer).await.then_some(exchange)
            }
        });
    }

    pub(super) fn service(&self) -> &Service {
        &self.clerk.service
    }

    /// From now on it says this of whoever comes.
    pub(super) fn says(&self, said: Said) {
        self.clerk.world.lock().unwrap().said = said;
    }

    /// Every ID token that it has signed.
    pub(super) fn signed(&self) -> Vec<String> {
        self.clerk.world.lock().unwrap().signed.clone()
    }

    /// A token by which it says that somebody signed out of one of their sessions there.
    pub(super) fn logout_token(&self, session: &str) -> String {
        let said = json!({
            "iss": "HERE", "sid": session, "jti": format!("of {session}"),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        sign("logout+jwt", &self.clerk.claims(&said, Value::Null))
    }

    /// As it stands in the file.
    pub(super) fn written(&self) -> String {
        let Service { name, keys, .. } = self.service();
        let keys = self.clerk.named(keys);
        format!("{name}: {{ client_id: \"{CLIENT}\", client_secret: \"{SECRET}\", {keys} }}")
    }

    /// Answers nothing at this address from now on.
    pub(super) fn hangs(&self, path: &str) {
        self.server.at(path, silence);
    }

    /// Goes there and agrees; what the browser is sent back to.
    pub(super) async fn go(&self, client: &Client) -> String {
        let Service { name, authorize, .. } = *self.service();
        let gone = client.visit(&format!("/auth/{name}/authorize")).send().await.expect(303);
        let there = format!("{}{authorize}?", self.clerk.here);
        assert!(gone.location().starts_with(&there), "{}", gone.location());
        self.agree(gone.location()).await
    }

    /// Agrees where the gateway sent a browser; what it is sent back to.
    pub(super) async fn agree(&self, authorization: &str) -> String {
        let browser = Client::new(self.server.address);
        let back = browser.visit(&path_of(authorization)).send().await.expect(302);
        path_of(back.location())
    }

    /// Goes there and comes back.
    pub(super) async fn sign_in(&self, client: &Client) -> Response {
        let back = self.go(client).await;
        client.get(&back).send().await
    }
}

/// A gateway to which these vouch. What no file can say: that Google is elsewhere, and that Microsoft's e-mails
/// lead to an account.
pub(super) async fn gateway_of(app: &Upstream, doubles: &[&Double]) -> Gateway {
    let written: Vec<String> = doubles.iter().map(|double| double.written()).collect();
    let providers = format!("{{ {} }}", written.join(", "));
    let builder = Gateway::builder(YAML).with("APP", &app.url()).key("providers", &providers);
    let change = |provider: &mut Provider| {
        provider.link_by_email = LinkByEmail::Verified;
        if let ProviderKind::Google { issuer } = &mut provider.kind {
            let google = doubles.iter().find(|double| double.service().name == "google");
            issuer.clone_from(&google.unwrap().clerk.here);
        }
    };
    let change_all = |config: &mut Config| {
        config.providers.iter_mut().for_each(|provider| change(Arc::make_mut(provider)));
    };
    builder.start_with(change_all).await
}

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";

/// All of them.
pub(super) fn services() -> [Service; 5] {
    [google(), microsoft(), gitlab(), discord(), facebook()]
}

fn google() -> Service {
    Service {
        name: "google",
        keys: "kind: google, who: { domains: [example.com] }".to_owned(),
        discovery: ("", "HERE"),
        authorize: "/o/oauth2/v2/auth",
        token: "/token",
        userinfo: "/v1/userinfo",
        brings: "&scope=email%20profile%20openid&authuser=0&hd=example.com&prompt=consent",
        ann: Said {
            id_token: json!({
                "iss": "HERE", "azp": CLIENT, "sub": "110169484474386276334", "hd": "example.com",
                "email": "ann@example.com", "email_verified": true, "name": "Ann Lee",
                "given_name": "Ann", "family_name": "Lee", "picture": "https://example.com/a/photo.jpg",
            }),
            userinfo: Value::Null,
        },
        foreign: Said { id_token: json!({ "hd": null }), userinfo: Value::Null },
        left: Said::default(),
        refusal: json!({ "error": "invalid_grant", "error_description": "Malformed auth code." }),
    }
}

fn microsoft() -> Service {
    let other = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    Service {
        name: "microsoft",
        keys: "kind: microsoft, base_url: \"HERE\", roles_claim: roles, roles: { Night.Reader: night }, \
               who: { tenants: [8eaef023-2b34-4da1-9baa-8bc8c9d6a490, 9188040d-6c67-4c5b-b112-36a304b66dad] }".to_owned(),
        discovery: ("/common/v2.0", "HERE/{tenantid}/v2.0"),
        authorize: "/common/oauth2/v2.0/authorize",
        token: "/common/oauth2/v2.0/token",
        userinfo: "/oidc/userinfo",
        brings: "&session_state=7b29111d-c220-4263-99ab-6f6e135d75ef",
        ann: Said {
            id_token: json!({
                "iss": format!("HERE/{TENANT}/v2.0"), "tid": TENANT, "ver": "2.0",
                "oid": "0f9c1a3e-5b7d-4a2c-8e1f-6d4b2a90c7e5",
                "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "name": "Ann Lee",
                "preferred_username": "ann@example.com", "email": "ann@example.com",
                "xms_edov": true, "roles": ["Night.Reader"],
            }),
            userinfo: Value::Null,
        },
        foreign: Said {
            id_token: json!({ "iss": format!("HERE/{other}/v2.0"), "tid": other }),
            userinfo: Value::Null,
        },
        left: Said { id_token: json!({ "roles": null }), userinfo: Value::Null },
        refusal: json!({
            "error": "invalid_grant", "error_codes": [54005], "timestamp": "2026-11-26 05:00:00Z",
            "error_description": "AADSTS54005: OAuth2 Authorization code was already redeemed.",
            "trace_id": "255d1aef-8c98-452f-ac51-23d051240864",
            "correlation_id": "fb3d2015-bc17-4bb9-bb85-30c5cf1aaaa7",
        }),
    }
}

pub(super) fn gitlab() -> Service {
    let email = json!({ "email": "ann@example.com", "email_verified": true });
    Service {
        name: "gitlab",
        keys: "kind: gitlab, issuer: \"HERE\", who: { groups: [quay] }, \
               roles: { quay/night-shift: night }"
            .to_owned(),
        discovery: ("", "HERE"),
        authorize: "/oauth/authorize",
        token: "/oauth/token",
        userinfo: "/oauth/userinfo",
        brings: "",
        ann: Said {
            id_token: json!({
                "iss": "HERE", "sub": "7", "auth_time": 1_764_000_000, "sub_legacy": "d0a5c1",
                "name": "Ann Lee", "nickname": "ann", "preferred_username": "ann",
                "email": email["email"], "email_verified": true, "groups_direct": ["quay"],
            }),
            userinfo: json!({
                "sub": "7", "name": "Ann Lee", "nickname": "ann", "email": email["email"],
                "email_verified": true, "profile": "https://gitlab.example.com/ann",
                "groups": ["Quay", "quay/night-shift"],
                "https://gitlab.org/claims/groups/developer": ["quay/night-shift"],
            }),
        },
        foreign: Said { id_token: Value::Null, userinfo: json!({ "groups": ["quayside"] }) },
        left: Said { id_token: Value::Null, userinfo: json!({ "groups": ["quay"] }) },
        refusal: json!({
            "error": "invalid_grant",
            "error_description": "The provided authorization grant is invalid, expired, revoked, does \
                                  not match the redirection URI used in the authorization request, or \
                                  was issued to another client.",
        }),
    }
}

pub(super) fn discord() -> Service {
    Service {
        name: "discord",
        keys: "kind: oauth2, preset: discord, authorize: \"HERE/oauth2/authorize\", \
               token: \"HERE/api/oauth2/token\", userinfo: \"HERE/api/users/@me\", \
               who: { domains: [example.com] }"
            .to_owned(),
        discovery: ("", ""),
        authorize: "/oauth2/authorize",
        token: "/api/oauth2/token",
        userinfo: "/api/users/@me",
        brings: "",
        ann: Said {
            id_token: Value::Null,
            userinfo: json!({
                "id": "80351110224678912", "username": "ann.lee", "discriminator": "0",
                "global_name": "Ann", "avatar": "8342729096ea3675442027381ff50dfe", "verified": true,
                "email": "ann@example.com", "flags": 64, "accent_color": 16_711_680,
                "premium_type": 1, "public_flags": 64, "mfa_enabled": true, "locale": "en-GB",
            }),
        },
        foreign: Said { id_token: Value::Null, userinfo: json!({ "verified": false }) },
        left: Said::default(),
        refusal: json!({
            "error": "invalid_grant", "error_description": "Invalid \"code\" in request.",
        }),
    }
}

fn facebook() -> Service {
    Service {
        name: "facebook",
        keys: "kind: oauth2, preset: facebook, authorize: \"HERE/v23.0/dialog/oauth\", \
               token: \"HERE/v23.0/oauth/access_token\", \
               userinfo: \"HERE/v23.0/me?fields=id,email,first_name,last_name\", \
               who: anyone, register: true"
            .to_owned(),
        discovery: ("", ""),
        authorize: "/v23.0/dialog/oauth",
        token: "/v23.0/oauth/access_token",
        userinfo: "/v23.0/me",
        brings: "#_=_",
        ann: Said {
            id_token: Value::Null,
            userinfo: json!({
                "id": "10153834590672139", "email": "ann@example.com", "first_name": "Ann",
                "last_name": "Lee", "verified": true,
            }),
        },
        foreign: Said::default(),
        left: Said::default(),
        refusal: json!({ "error": {
            "message": "This authorization code has been used.", "type": "OAuthException",
            "code": 100, "error_subcode": 36_009, "fbtrace_id": "Az8or10C5pMDBkTSt2B4ZRx",
        } }),
    }
}
