//! Providers against a double that answers on real sockets as a test says, and tokens made of whatever a
//! test says.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod admission;
mod flows;
mod rechecks;
mod services;
mod tokens;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;

/// How long a request may take, where no test waits for that.
const WHOLE: Duration = Duration::from_secs(10);

/// Private keys of the double, made once.
struct Keys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    /// Of the same kind as `rsa`, and in no key set.
    foreign: RsaKeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    ed25519: Ed25519KeyPair::generate().unwrap(),
    foreign: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
});

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_jwk(pair: &RsaKeyPair, kid: &str) -> Value {
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    json!({ "kty": "RSA", "kid": kid, "use": "sig", "n": b64(public.n), "e": b64(public.e) })
}

fn ec_jwk(pair: &EcdsaKeyPair, kid: &str, curve: &str) -> Value {
    let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
    json!({ "kty": "EC", "kid": kid, "crv": curve, "x": b64(x), "y": b64(y) })
}

/// The double's key set: `rsa`, `p256`, `p384`, `ed`.
fn jwks() -> Value {
    let public = KEYS.ed25519.public_key().as_ref();
    json!({ "keys": [
        rsa_jwk(&KEYS.rsa, "rsa"),
        ec_jwk(&KEYS.p256, "p256", "P-256"),
        ec_jwk(&KEYS.p384, "p384", "P-384"),
        { "kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(public) },
        { "kty": "oct", "kid": "secret", "k": b64("a secret that nobody should put here") },
        { "kty": "RSA", "kid": "encryption", "use": "enc", "n": "AQAB", "e": "AQAB" },
    ] })
}

fn sign_rsa(pair: &RsaKeyPair, encoding: &'static dyn RsaEncoding, message: &str) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    signature
}

/// Signs as an algorithm's name says, with the key of that kind.
fn signature(algorithm: &str, message: &str) -> Vec<u8> {
    let random = SystemRandom::new();
    let ec =
        |pair: &EcdsaKeyPair| pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec();
    match algorithm {
        "RS256" => sign_rsa(&KEYS.rsa, &RSA_PKCS1_SHA256, message),
        "RS384" => sign_rsa(&KEYS.rsa, &RSA_PKCS1_SHA384, message),
        "RS512" => sign_rsa(&KEYS.rsa, &RSA_PKCS1_SHA512, message),
        "PS256" => sign_rsa(&KEYS.rsa, &RSA_PSS_SHA256, message),
        "PS384" => sign_rsa(&KEYS.rsa, &RSA_PSS_SHA384, message),
        "PS512" => sign_rsa(&KEYS.rsa, &RSA_PSS_SHA512, message),
        "ES256" => ec(&KEYS.p256),
        "ES384" => ec(&KEYS.p384),
        "EdDSA" => KEYS.ed25519.sign(message.as_bytes()).as_ref().to_vec(),
        other => panic!("{other}"),
    }
}

/// Header and claims as they go into a signature.
fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", b64(header), b64(claims))
}

/// A token of any header and claims at all, signed with RS256.
fn forge(header: &str, claims: &str) -> String {
    let message = message(header, claims);
    format!("{message}.{}", b64(signature("RS256", &message)))
}

/// A token of these claims under the double's usual header.
fn token(claims: &Value) -> String {
    forge(r#"{"alg":"RS256","kid":"rsa","typ":"JWT"}"#, &claims.to_string())
}

fn with(object: &Value, changes: &Value) -> Value {
    let mut object = object.clone();
    for (name, value) in changes.as_object().unwrap() {
        let members = object.as_object_mut().unwrap();
        // A number that no claim would be stands for "not there".
        if *value == json!(-12345) {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    object
}

/// Stands for "not there" in [`with`].
const ABSENT: i64 = -12345;

/// What the double answers.
#[derive(Clone, Debug)]
enum Reply {
    Json(u16, Value),
    /// Bytes as they are; the connection ends after them.
    Raw(Vec<u8>),
    /// Nothing, until the client gives up.
    Silence,
}

impl Reply {
    fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Json(status, body) => {
                Some(answer(*status, "application/json", &body.to_string()))
            }
            Self::Raw(bytes) => Some(bytes.clone()),
            Self::Silence => None,
        }
    }
}

fn answer(status: u16, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A request as it came.
#[derive(Clone, Debug)]
struct Seen {
    /// Method and target.
    line: String,
    head: String,
    body: String,
}

impl Seen {
    fn is_for(&self, path: &str) -> bool {
        let target = self.line.split(' ').nth(1).unwrap_or_default();
        target.split('?').next() == Some(path)
    }

    fn form(&self, name: &str) -> Option<String> {
        let mut pairs = url::form_urlencoded::parse(self.body.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

#[derive(Debug, Default)]
struct World {
    /// By path; a path that is not here is 404.
    replies: Vec<(String, Reply)>,
    seen: Vec<Seen>,
}

/// A provider that does as it is told. Its thread ends with the process.
#[derive(Clone, Debug)]
struct Double {
    port: u16,
    world: Arc<Mutex<World>>,
}

impl Double {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let double = Self { port: listener.local_addr().unwrap().port(), world: Arc::default() };
        let server = double.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(connection));
            }
        });
        double
    }

    fn serve(&self, mut connection: TcpStream) {
        let Some(seen) = receive(&mut connection) else { return };
        let reply = {
            let mut world = self.world.lock().unwrap();
            world.seen.push(seen.clone());
            let found = world.replies.iter().rev().find(|(path, _)| seen.is_for(path));
            found.map(|(_, reply)| reply.clone())
        };
        if let Some(bytes) = reply.unwrap_or(Reply::Json(404, json!({}))).bytes() {
            connection.write_all(&bytes).unwrap_or_default();
        } else {
            connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            connection.read(&mut [0]).map(drop).unwrap_or_default();
        }
    }

    fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on this path is answered like this.
    fn answers(&self, path: &str, reply: Reply) {
        self.world.lock().unwrap().replies.push((path.to_owned(), reply));
    }

    /// Requests for a path so far.
    fn seen(&self, path: &str) -> Vec<Seen> {
        let world = self.world.lock().unwrap();
        world.seen.iter().filter(|seen| seen.is_for(path)).cloned().collect()
    }
}

fn receive(connection: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    connection.read_exact(&mut body).ok()?;
    let line = head.lines().next()?.to_owned();
    Some(Seen { line, head, body: String::from_utf8(body).ok()? })
}

/// The gateway's side of a provider, by the keys of the file beside client id and secret.
fn provider_of(keys: &str, clock: &Clock, whole: Duration) -> Provider {
    let text = format!(
        "upstreams: {{ app: \"http://127.0.0.1:3000\" }}\nproviders:\n  corp: {{ client_id: us, \
         client_secret: the-client-secret, {keys} }}\n"
    );
    let none = std::collections::BTreeMap::<String, String>::new();
    let config = config::load_text(&text, Path::new("p.yaml"), &none);
    let config = config.unwrap_or_else(|found| panic!("{keys}: {found:#?}"));
    Provider::new(&config.providers[0], &Wire::new(whole).unwrap(), clock)
}

fn verifier() -> SecretString {
    "the-verifier-of-at-least-43-characters-in-all".into()
}

fn redemption<'a>(iss: Option<&'a str>, verifier: &'a SecretString) -> Redemption<'a> {
    Redemption {
        code: "the-code",
        iss,
        verifier,
        nonce: "the-nonce",
        redirect_uri: "https://app.example.com/auth/corp/callback",
    }
}

fn asked(extra_scopes: &[String]) -> Authorization<'_> {
    Authorization {
        state: "the-state",
        nonce: "the-nonce",
        challenge: "the-challenge",
        redirect_uri: "https://app.example.com/auth/corp/callback",
        extra_scopes,
    }
}

fn discovery(double: &Double) -> Value {
    let at = |path: &str| format!("{}{path}", double.issuer());
    json!({
        "issuer": double.issuer(),
        "authorization_endpoint": at("/authorize?tenant=1"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/keys"),
        "userinfo_endpoint": at("/userinfo"),
        "end_session_endpoint": at("/end"),
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "scopes_supported": ["openid", "offline_access"],
    })
}

fn claims(double: &Double, clock: &Clock) -> Value {
    json!({
        "iss": double.issuer(), "sub": "ann", "aud": "us", "nonce": "the-nonce",
        "iat": clock.now().as_seconds(), "exp": clock.now().as_seconds() + 300, "sid": "s1",
        "email": "Ann@Example.com", "email_verified": true, "groups": ["staff"],
        "given_name": "Ann", "family_name": "Other",
    })
}

fn grant(id_token: &Value) -> Value {
    json!({
        "access_token": "the-access-token", "token_type": "Bearer", "expires_in": 3600,
        "refresh_token": "the-refresh-token", "id_token": token(id_token),
    })
}

/// A double with everything in place, and a clock to move.
fn world() -> (Double, Clock) {
    let (double, clock) = (Double::start(), Clock::adjustable());
    double.answers("/.well-known/openid-configuration", Reply::Json(200, discovery(&double)));
    double.answers("/keys", Reply::Json(200, jwks()));
    double.answers("/token", Reply::Json(200, grant(&claims(&double, &clock))));
    double.answers("/userinfo", Reply::Json(200, json!({ "sub": "ann" })));
    (double, clock)
}

const WHO: &str = "who: { domains: [example.com] }, roles: { staff: admin }";

fn oidc(double: &Double, clock: &Clock) -> Provider {
    provider_of(&format!("kind: oidc, issuer: \"{}\", {WHO}", double.issuer()), clock, WHOLE)
}

async fn redeem(provider: &Provider) -> Result<Vouched, ProviderError> {
    provider.redeem(redemption(None, &verifier())).await
}
