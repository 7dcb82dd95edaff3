//! Access tokens: HS256 JSON Web Tokens (RFC 7519, RFC 9068's `typ`) under a derived key, each tied to
//! a session. Applications never verify these; they verify what the gateway says in headers.
//!
//! Whether the session still lives is not known here.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{Key, KeyRing, Purpose, sha256};
use crate::clock::Timestamp;

/// The `typ` of our tokens (RFC 9068 section 2.1).
const TYP: &str = "at+jwt";

/// How far clocks may differ where `exp` and `nbf` are concerned.
const LEEWAY: Duration = Duration::from_secs(5);

/// How far ahead `iat` may lie.
const MAX_AHEAD: Duration = Duration::from_mins(1);

/// Longer texts are refused before any work is done on them.
const MAX_TOKEN: usize = 8 * 1024;

/// What a valid access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// The user.
    pub user: Uuid,
    /// The session's id (SHA-256 digest or 32 random bytes).
    pub session: [u8; 32],
    /// End, in whole seconds (what lies below is cut when the token is signed).
    pub expires_at: Timestamp,
}

/// Issues and verifies access tokens.
#[derive(Clone, Debug)]
pub struct Bearer {
    signing_kid: String,
    signing_key: EncodingKey,
    /// Every accepted key with its name, the signing one first.
    accepted: Vec<(String, DecodingKey)>,
    issuer: String,
    audience: Vec<String>,
    validation: Validation,
}

/// The token is not valid now, for whatever reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a valid access token")]
pub struct InvalidToken;

/// The header, whole: a parameter that is not one of these refuses the token, so that none of
/// `crit`, `b64`, `jwk`, `jku`, `x5*`, `zip`, `enc` and what comes after them can mean anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// The claims. Types are strict where the library's are not: `iss` is one string, `aud` a list.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: Uuid,
    aud: Vec<String>,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: Uuid,
    sid: String,
}

impl Bearer {
    /// With the keys in force, `iss` and `aud`. A token is accepted if any one of its audiences is
    /// one of these.
    #[must_use]
    pub fn new(keys: &KeyRing, issuer: String, audience: Vec<String>) -> Self {
        let signing = keys.current(Purpose::AccessToken);
        Self {
            signing_kid: kid(signing),
            signing_key: EncodingKey::from_secret(signing.bytes()),
            accepted: keys
                .accepted(Purpose::AccessToken)
                .map(|key| (kid(key), DecodingKey::from_secret(key.bytes())))
                .collect(),
            validation: validation(&issuer, &audience),
            issuer,
            audience,
        }
    }

    /// Signs a token: `typ: at+jwt`, `kid` beginning `pc-`; claims `sub`, `aud`, `exp`, `iat`, `nbf`,
    /// `jti`, `iss`, `sid` (unpadded base64url).
    ///
    /// # Errors
    /// Those of the signing library.
    pub fn issue(
        &self,
        token: &AccessToken,
        jti: Uuid,
        now: Timestamp,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYP.to_owned());
        header.kid = Some(self.signing_kid.clone());
        let claims = Claims {
            iss: self.issuer.clone(),
            sub: token.user,
            aud: self.audience.clone(),
            exp: token.expires_at.as_seconds(),
            nbf: now.as_seconds(),
            iat: now.as_seconds(),
            jti,
            sid: URL_SAFE_NO_PAD.encode(token.session),
        };
        jsonwebtoken::encode(&header, &claims, &self.signing_key)
    }

    /// Verifies a token: exactly HS256 and `at+jwt`, no `crit`, `b64`, `jwk`, `jku`, `x5*`; `aud`,
    /// `iss`, `exp`, `nbf` required and checked with 5 s leeway; `iat` at most 60 s ahead.
    ///
    /// # Errors
    /// [`InvalidToken`], without a reason for outsiders.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<AccessToken, InvalidToken> {
        let claims = self.read(token).ok_or(InvalidToken)?;
        if !is_in_time(&claims, now) {
            return Err(InvalidToken);
        }
        let mut session = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(&claims.sid, &mut session);
        if length != Ok(session.len()) {
            return Err(InvalidToken);
        }
        let expires_at = Timestamp::from_seconds(claims.exp);
        Ok(AccessToken { user: claims.sub, session, expires_at })
    }

    /// The claims of a token whose form, signature, issuer and audience are right. Kids may collide
    /// (they are 32 bits of a digest), so every key of that name is tried.
    fn read(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let header: StrictHeader = serde_json::from_slice(&header_of(token)?).ok()?;
        if header.alg != "HS256" || header.typ != TYP {
            return None;
        }
        self.accepted
            .iter()
            .filter(|(kid, _)| *kid == header.kid)
            .find_map(|(_, key)| jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok())
            .map(|data| data.claims)
    }
}

/// The decoded header of a token of exactly three parts.
fn header_of(token: &str) -> Option<Vec<u8>> {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(_), Some(_), None) => URL_SAFE_NO_PAD.decode(header).ok(),
        (_, _, _, _) => None,
    }
}

/// Time is not the library's business: it reads a clock of its own, so those checks are ours.
fn validation(issuer: &str, audience: &[String]) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(audience);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

fn is_in_time(claims: &Claims, now: Timestamp) -> bool {
    let (exp, nbf, iat) = (claims.exp, claims.nbf, claims.iat);
    Timestamp::from_seconds(exp).after(LEEWAY) > now
        && Timestamp::from_seconds(nbf) <= now.after(LEEWAY)
        && Timestamp::from_seconds(iat) <= now.after(MAX_AHEAD)
}

/// Names a key without saying anything of use about it: `pc-` and 32 bits of its SHA-256.
fn kid(key: &Key) -> String {
    let [a, b, c, d, ..] = sha256(key.bytes());
    format!("pc-{:08x}", u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use aws_lc_rs::hmac;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::web::headers::USUAL_JWT_START;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn keys(current: &str, previous: &[&str]) -> KeyRing {
        let previous: Vec<_> = previous.iter().map(|s| (*s).into()).collect();
        KeyRing::new(&current.into(), &previous)
    }

    fn bearer(current: &str, previous: &[&str]) -> Bearer {
        let audience = vec!["fastapi-users:auth".to_owned()];
        Bearer::new(&keys(current, previous), "https://auth.example.com".to_owned(), audience)
    }

    fn sample() -> AccessToken {
        AccessToken {
            user: Uuid::from_u128(7),
            session: [9; 32],
            expires_at: NOW.after(Duration::from_hours(1)),
        }
    }

    fn header() -> Value {
        json!({ "alg": "HS256", "typ": "at+jwt", "kid": bearer("one", &[]).signing_kid })
    }

    fn claims() -> Value {
        json!({
            "iss": "https://auth.example.com", "sub": Uuid::from_u128(7),
            "aud": ["fastapi-users:auth"], "exp": NOW.as_seconds() + 3600,
            "nbf": NOW.as_seconds(), "iat": NOW.as_seconds(), "jti": Uuid::from_u128(1),
            "sid": URL_SAFE_NO_PAD.encode([9; 32]),
        })
    }

    fn with(mut object: Value, key: &str, value: Value) -> Value {
        object.as_object_mut().unwrap().insert(key.to_owned(), value);
        object
    }

    fn without(mut object: Value, key: &str) -> Value {
        object.as_object_mut().unwrap().remove(key);
        object
    }

    /// Signs anything at all with the real key, not through the code under test.
    fn forge(header: &str, claims: &str, algorithm: hmac::Algorithm) -> String {
        let ring = keys("one", &[]);
        let key = hmac::Key::new(algorithm, ring.current(Purpose::AccessToken).bytes());
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let tag = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn forge_json(header: &Value, claims: &Value) -> String {
        forge(&header.to_string(), &claims.to_string(), hmac::HMAC_SHA256)
    }

    fn is_accepted(token: &str) -> bool {
        bearer("one", &[]).verify(token, NOW).is_ok()
    }

    #[test]
    fn an_issued_token_is_verified_and_says_what_went_in() {
        let bearer = bearer("one", &[]);
        let token = bearer.issue(&sample(), Uuid::from_u128(1), NOW).unwrap();
        assert_eq!(bearer.verify(&token, NOW), Ok(sample()));
        assert!(token.starts_with(USUAL_JWT_START), "{token}");
        assert_eq!(serde_json::from_slice::<Value>(&header_of(&token).unwrap()).unwrap(), header());
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), claims());
        assert!(bearer.signing_kid.starts_with("pc-") && bearer.signing_kid.len() == 11);
    }

    #[test]
    fn a_token_of_a_previous_secret_is_accepted_and_one_of_another_is_not() {
        let old = bearer("one", &[]).issue(&sample(), Uuid::nil(), NOW).unwrap();
        assert_eq!(bearer("two", &["zero", "one"]).verify(&old, NOW), Ok(sample()));
        assert_eq!(bearer("two", &["zero"]).verify(&old, NOW), Err(InvalidToken));
        let renamed = with(header(), "kid", json!(bearer("two", &[]).signing_kid));
        let token = forge_json(&renamed, &claims());
        assert_eq!(bearer("two", &["one"]).verify(&token, NOW), Err(InvalidToken));
    }

    #[test]
    fn a_forged_control_token_passes_so_that_the_refusals_below_mean_something() {
        assert!(is_accepted(&forge_json(&header(), &claims())));
    }

    #[test]
    fn other_algorithms_are_refused_even_when_rightly_signed() {
        for alg in ["none", "None", "NONE", "nOnE", "", "HS384", "hs256", "HS512", "RS256", "ES256"]
        {
            let header = with(header(), "alg", json!(alg));
            assert!(!is_accepted(&forge_json(&header, &claims())), "{alg}");
            let token = forge_json(&header, &claims());
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert!(!is_accepted(&unsigned), "{alg}, empty signature");
        }
        assert!(!is_accepted(&forge_json(&without(header(), "alg"), &claims())));
        assert!(!is_accepted(&forge_json(&with(header(), "alg", json!(null)), &claims())));
        for (alg, algorithm) in [("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
            let header = with(header(), "alg", json!(alg)).to_string();
            assert!(!is_accepted(&forge(&header, &claims().to_string(), algorithm)), "{alg}");
        }
    }

    #[test]
    fn any_header_but_ours_is_refused() {
        for typ in ["JWT", "at+JWT", "AT+JWT", "application/at+jwt", "refresh", "", "at+jwt "] {
            assert!(
                !is_accepted(&forge_json(&with(header(), "typ", json!(typ)), &claims())),
                "{typ}"
            );
        }
        for missing in ["typ", "kid"] {
            assert!(!is_accepted(&forge_json(&without(header(), missing), &claims())), "{missing}");
        }
        for kid in ["", "pc-", "pc-00000000", "other"] {
            assert!(
                !is_accepted(&forge_json(&with(header(), "kid", json!(kid)), &claims())),
                "{kid}"
            );
        }
        for (name, value) in [
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("b64", json!(false)),
            ("b64", json!(true)),
            ("jwk", json!({ "kty": "oct", "k": "AAAA" })),
            ("jku", json!("https://evil.example/")),
            ("x5u", json!("https://evil.example/")),
            ("x5c", json!(["AAAA"])),
            ("x5t", json!("AAAA")),
            ("x5t#S256", json!("AAAA")),
            ("zip", json!("DEF")),
            ("enc", json!("A128GCM")),
            ("p2c", json!(2_147_483_648_u32)),
            ("cty", json!("JWT")),
            ("url", json!("x")),
            ("nonce", json!("x")),
            ("new", json!(1)),
        ] {
            let token = forge_json(&with(header(), name, value), &claims());
            assert!(!is_accepted(&token), "{name}");
        }
        let twice = header().to_string().replacen('{', r#"{"alg":"HS256","#, 1);
        assert!(!is_accepted(&forge(&twice, &claims().to_string(), hmac::HMAC_SHA256)));
    }

    #[test]
    fn claims_are_required_and_of_one_type() {
        for missing in ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid"] {
            let token = forge_json(&header(), &without(claims(), missing));
            assert!(!is_accepted(&token), "without {missing}");
            let token = forge_json(&header(), &with(claims(), missing, json!(null)));
            assert!(!is_accepted(&token), "null {missing}");
        }
        for (name, value) in [
            ("iss", json!("https://evil.example")),
            ("iss", json!("https://auth.example.com/")),
            ("iss", json!(["https://evil.example", "https://auth.example.com"])),
            ("iss", json!(["https://auth.example.com"])),
            ("aud", json!([])),
            ("aud", json!(["other"])),
            ("aud", json!("fastapi-users:auth")),
            ("aud", json!([{ "fastapi-users:auth": 1 }])),
            ("aud", json!(["fastapi-users:auth", 1])),
            ("sub", json!("ann")),
            ("sub", json!(7)),
            ("sid", json!("")),
            ("sid", json!("AAAA")),
            ("sid", json!([9])),
            ("sid", json!(format!("{}=", URL_SAFE_NO_PAD.encode([9; 32])))),
            ("exp", json!("1900000000")),
            ("exp", json!(1_900_000_000.5)),
            ("exp", json!(1e99)),
            ("nbf", json!("0")),
            ("iat", json!("0")),
            ("jti", json!("x")),
        ] {
            let token = forge_json(&header(), &with(claims(), name, value.clone()));
            assert!(!is_accepted(&token), "{name}: {value}");
        }
        let two = with(claims(), "aud", json!(["other", "fastapi-users:auth"]));
        assert!(is_accepted(&forge_json(&header(), &two)), "any audience may match");
    }

    #[test]
    fn times_are_checked_against_the_time_given_with_five_seconds_of_leeway() {
        let now = NOW.as_seconds();
        for (name, at, is_good) in [
            ("exp", now + 1, true),
            ("exp", now, true),
            ("exp", now - 4, true),
            ("exp", now - 5, false),
            ("exp", now - 30, false),
            ("exp", 0, false),
            ("exp", -1, false),
            ("exp", i64::MAX, true),
            ("nbf", now + 5, true),
            ("nbf", now + 6, false),
            ("nbf", i64::MAX, false),
            ("nbf", 0, true),
            ("iat", now + 60, true),
            ("iat", now + 61, false),
            ("iat", 0, true),
        ] {
            let token = forge_json(&header(), &with(claims(), name, json!(at)));
            assert_eq!(is_accepted(&token), is_good, "{name} {}", at.saturating_sub(now));
        }
    }

    #[test]
    fn every_changed_cut_or_added_character_spoils_a_token() {
        let token = bearer("one", &[]).issue(&sample(), Uuid::from_u128(1), NOW).unwrap();
        for i in 0..token.len() {
            let old = token.as_bytes()[i];
            let new = if old == b'A' { 'B' } else { 'A' };
            let mut changed = token.clone();
            changed.replace_range(i..=i, &new.to_string());
            assert!(!is_accepted(&changed), "character {i}");
        }
        for variant in [
            token[..token.len() - 1].to_owned(),
            format!("{token}A"),
            format!("{token}="),
            format!("{token}."),
            format!(".{token}"),
            format!("{token}.a.b"),
            format!(" {token}"),
            format!("{token}\n"),
            token.to_uppercase(),
            token.replace('.', ""),
            String::new(),
            "..".to_owned(),
            format!("{token}{}", "A".repeat(MAX_TOKEN)),
        ] {
            assert!(!is_accepted(&variant), "{variant}");
        }
    }

    #[test]
    fn a_printed_bearer_shows_no_key() {
        let text = format!("{:?}", bearer("one", &["two"]));
        let ring = keys("one", &["two"]);
        for key in ring.accepted(Purpose::AccessToken) {
            let list = format!("{:?}", key.bytes());
            assert!(!text.contains(list.trim_matches(['[', ']'])), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_verification(token in "\\PC{0,60}", parts in "[A-Za-z0-9_-]{0,20}\\.[A-Za-z0-9_-]{0,20}\\.[A-Za-z0-9_-]{0,20}") {
            assert!(!is_accepted(&token));
            assert!(!is_accepted(&parts));
        }

        #[test]
        fn no_signed_claims_break_verification(claims in "\\PC{0,60}") {
            assert!(!is_accepted(&forge(&header().to_string(), &claims, hmac::HMAC_SHA256)));
        }
    }
}
