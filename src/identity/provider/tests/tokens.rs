//! ID tokens and logout tokens, made of whatever an attacker might.

use aws_lc_rs::hmac;
use jsonwebtoken::Algorithm;
use proptest::prelude::*;

use super::super::discovery::ALGORITHMS;
use super::super::keys::KeySet;
use super::super::token::{
    Answering, Expected, Issuer, LogoutClaims, TENANT, Token, check_id_token, check_logout_token,
};
use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const ISSUER: &str = "https://id.example.com";
const ACCESS: &str = "an-access-token";

fn now() -> i64 {
    NOW.as_seconds()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "ann", "aud": "us", "nonce": "the-nonce",
        "iat": now(), "exp": now() + 300,
    })
}

fn keys() -> KeySet {
    KeySet::read(jwks().as_object().unwrap()).unwrap()
}

fn all() -> Vec<Algorithm> {
    ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect()
}

fn expected(issuer: &Issuer) -> Expected<'_> {
    Expected { issuer, client_id: "us", now: NOW, leeway: Duration::from_mins(1) }
}

fn check_as(text: &str, issuer: &Issuer, algorithms: &[Algorithm]) -> Result<(), ProviderError> {
    let answering = Answering { nonce: Some("the-nonce"), access_token: Some(ACCESS) };
    let token = Token::read(text, algorithms)?;
    check_id_token(&token, &keys(), &expected(issuer), &answering).map(drop)
}

fn check(text: &str) -> Result<(), ProviderError> {
    check_as(text, &Issuer::Exactly(ISSUER.to_owned()), &all())
}

fn fault(text: &str) -> IdTokenFault {
    match check(text) {
        Err(ProviderError::IdToken(fault)) => fault,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn tokens_of_every_algorithm_that_is_taken_are_good() {
    let hashes = [("256", 16), ("384", 24), ("512", 32)];
    for (algorithm, _) in ALGORITHMS {
        let digest = hashes.iter().find(|(bits, _)| algorithm.ends_with(bits));
        let (bits, half) = digest.copied().unwrap_or(("512", 32));
        let hash = match bits {
            "256" => &aws_lc_rs::digest::SHA256,
            "384" => &aws_lc_rs::digest::SHA384,
            _ => &aws_lc_rs::digest::SHA512,
        };
        let at_hash = b64(&aws_lc_rs::digest::digest(hash, ACCESS.as_bytes()).as_ref()[..half]);
        let claims = with(&claims(), &json!({ "at_hash": at_hash })).to_string();
        let kid = match &algorithm[..2] {
            "ES" if bits == "256" => "p256",
            "ES" => "p384",
            "Ed" => "ed",
            _ => "rsa",
        };
        for header in [
            format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#),
            format!(r#"{{"alg":"{algorithm}","typ":"jwt","x5t":"abc","extra":{{"a":1}}}}"#),
        ] {
            let message = message(&header, &claims);
            let text = format!("{message}.{}", b64(signature(algorithm, &message)));
            assert_eq!(check(&text), Ok(()), "{header}");
            let others: Vec<_> =
                all().into_iter().filter(|one| format!("{one:?}") != algorithm).collect();
            let refused = check_as(&text, &Issuer::Exactly(ISSUER.to_owned()), &others);
            assert_eq!(refused, Err(IdTokenFault::Algorithm.into()), "not announced: {algorithm}");
        }
    }
}

#[test]
fn jwt_01_and_02_and_08_and_14_headers_that_trick_the_verifier_are_refused() {
    let claims = claims().to_string();
    let mut none =
        vec!["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "RS1", "ES512"];
    none.extend(["rs256", "RS256 ", "dir", "A128KW", "EdDSA448"]);
    for algorithm in none {
        let text = forge(&json!({ "alg": algorithm, "kid": "rsa" }).to_string(), &claims);
        assert_eq!(fault(&text), IdTokenFault::Algorithm, "{algorithm}");
    }
    for header in [r#"{"kid":"rsa"}"#, r#"{"alg":null}"#, r#"{"alg":["RS256"]}"#, r#"{"alg":7}"#] {
        assert_eq!(fault(&forge(header, &claims)), IdTokenFault::Algorithm, "{header}");
    }
    let own = rsa_jwk(&KEYS.foreign, "rsa");
    for (name, value) in [
        ("jwk", own),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/chain")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("epk", json!({})),
    ] {
        let header = with(&json!({ "alg": "RS256", "kid": "rsa" }), &json!({ name: value }));
        assert_eq!(fault(&forge(&header.to_string(), &claims)), IdTokenFault::Header, "{name}");
    }
    for typ in ["at+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "application/at+jwt", ""] {
        let header = json!({ "alg": "RS256", "kid": "rsa", "typ": typ }).to_string();
        assert_eq!(fault(&forge(&header, &claims)), IdTokenFault::Header, "{typ}");
    }
    for header in [r#"{"alg":"RS256","kid":7}"#, r#"{"alg":"RS256","typ":["JWT"]}"#] {
        assert_eq!(fault(&forge(header, &claims)), IdTokenFault::Header, "{header}");
    }
}

#[test]
fn jwt_02_a_public_key_is_no_secret_to_sign_with() {
    let claims = claims().to_string();
    let jwk = rsa_jwk(&KEYS.rsa, "rsa");
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let spki = KEYS.rsa.public_key().as_ref().to_vec();
    let secrets = [modulus, spki.clone(), jwk.to_string().into_bytes(), b64(&spki).into_bytes()];
    for secret in secrets {
        for kid in ["rsa", "secret"] {
            let message = message(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), &claims);
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            let text = format!("{message}.{}", b64(hmac::sign(&key, message.as_bytes())));
            assert_eq!(fault(&text), IdTokenFault::Algorithm);
            // The same tag under a name that is taken is no signature.
            let message = self::message(r#"{"alg":"RS256","kid":"rsa"}"#, &claims);
            let text = format!("{message}.{}", b64(hmac::sign(&key, message.as_bytes())));
            assert_eq!(fault(&text), IdTokenFault::Signature);
        }
    }
}

#[test]
fn a_token_is_good_only_under_a_key_of_the_set_of_its_kind_and_name() {
    let claims = claims().to_string();
    let by = |header: &str, signature: Vec<u8>| {
        format!("{}.{}", message(header, &claims), b64(signature))
    };
    let rsa = r#"{"alg":"RS256","kid":"rsa"}"#;
    let text = message(rsa, &claims);
    assert_eq!(
        fault(&by(rsa, sign_rsa(&KEYS.foreign, &RSA_PKCS1_SHA256, &text))),
        IdTokenFault::Signature
    );
    assert_eq!(fault(&by(rsa, Vec::new())), IdTokenFault::Signature);
    assert_eq!(fault(&by(rsa, vec![0; 256])), IdTokenFault::Signature);
    for kid in ["other", "p256", "ed", "secret", "encryption", "", "../rsa", "rsa'--"] {
        let header = json!({ "alg": "RS256", "kid": kid }).to_string();
        let text = by(&header, signature("RS256", &message(&header, &claims)));
        assert_eq!(fault(&text), IdTokenFault::Key, "{kid}");
    }
    // ECDSA of one curve under the name of the other's key.
    let header = r#"{"alg":"ES256","kid":"p384"}"#;
    let text = by(header, signature("ES384", &message(header, &claims)));
    assert_eq!(fault(&text), IdTokenFault::Key);
    let header = r#"{"alg":"ES256","kid":"p256"}"#;
    let zero = by(header, vec![0; 64]);
    assert_eq!(fault(&zero), IdTokenFault::Signature, "CVE-2022-21449");
}

#[test]
fn what_is_not_three_parts_of_canonical_base64url_with_one_meaning_is_refused() {
    let good = token(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims_part, signature] = parts[..] else { panic!("three parts") };
    let twice = r#"{"alg":"RS256","kid":"rsa","kid":"rsa"}"#;
    let texts = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{claims_part}"),
        format!("{good}.x"),
        format!("{header}.{claims_part}.{signature}.{signature}.{signature}"),
        format!("{header}=.{claims_part}.{signature}"),
        format!(" {good}"),
        format!("{header}.{claims_part}\n.{signature}"),
        forge(twice, &claims().to_string()),
        forge(r#"["RS256"]"#, &claims().to_string()),
        forge(r#"{"alg":"RS256","kid":"rsa"}"#, r#"{"sub":"ann","sub":"bob"}"#),
        forge(r#"{"alg":"RS256","kid":"rsa"}"#, r#"{"a":{"b":1,"b":2}}"#),
        forge(r#"{"alg":"RS256","kid":"rsa"}"#, r#"["ann"]"#),
        forge(r#"{"alg":"RS256","kid":"rsa"}"#, &"[".repeat(10_000)),
        format!("{good}{}", "A".repeat(70_000)),
    ];
    for text in texts {
        let shown: String = text.chars().take(80).collect();
        assert_eq!(fault(&text), IdTokenFault::Form, "{shown}");
    }
    for signature in [format!("{signature}="), format!("{signature}!"), format!("{signature}A")] {
        let text = format!("{header}.{claims_part}.{signature}");
        assert!(check(&text).is_err(), "{signature}");
    }
}

#[test]
fn jwt_05_and_13_only_our_own_issuers_tokens_for_us_are_taken() {
    let cases = [
        (json!({ "iss": "https://id.example.com/" }), IdTokenFault::Issuer),
        (json!({ "iss": "https://ID.example.com" }), IdTokenFault::Issuer),
        (json!({ "iss": "https://evil.example" }), IdTokenFault::Issuer),
        (json!({ "iss": ["https://evil.example", ISSUER] }), IdTokenFault::Issuer),
        (json!({ "iss": ABSENT }), IdTokenFault::Issuer),
        (json!({ "aud": "them" }), IdTokenFault::Audience),
        (json!({ "aud": "US" }), IdTokenFault::Audience),
        (json!({ "aud": [] }), IdTokenFault::Audience),
        (json!({ "aud": ABSENT }), IdTokenFault::Audience),
        (json!({ "aud": {} }), IdTokenFault::Audience),
        (json!({ "aud": [["us"]] }), IdTokenFault::Audience),
        (json!({ "aud": ["us", { "us": 1 }] }), IdTokenFault::Audience),
        (json!({ "aud": ["us", "them"] }), IdTokenFault::Audience),
        (json!({ "aud": ["us", "them"], "azp": "them" }), IdTokenFault::Audience),
        (json!({ "aud": "us", "azp": "them" }), IdTokenFault::Audience),
        (json!({ "aud": "us", "azp": ["us"] }), IdTokenFault::Audience),
        (json!({ "aud": "them", "azp": "us" }), IdTokenFault::Audience),
        (json!({ "nonce": "another" }), IdTokenFault::Nonce),
        (json!({ "nonce": "" }), IdTokenFault::Nonce),
        (json!({ "nonce": ["the-nonce"] }), IdTokenFault::Nonce),
        (json!({ "nonce": ABSENT }), IdTokenFault::Nonce),
        (json!({ "sub": "" }), IdTokenFault::Subject),
        (json!({ "sub": ABSENT }), IdTokenFault::Subject),
        (json!({ "sub": 7 }), IdTokenFault::Subject),
        (json!({ "sub": "a\u{0}b" }), IdTokenFault::Subject),
        (json!({ "sub": "a".repeat(256) }), IdTokenFault::Subject),
        (json!({ "exp": ABSENT }), IdTokenFault::Claim("exp")),
        (json!({ "exp": "1800000300" }), IdTokenFault::Claim("exp")),
        (json!({ "exp": 1e300 }), IdTokenFault::Claim("exp")),
        (json!({ "exp": -5 }), IdTokenFault::Claim("exp")),
        (json!({ "iat": ABSENT }), IdTokenFault::Claim("iat")),
        (json!({ "iat": "now" }), IdTokenFault::Claim("iat")),
        (json!({ "nbf": "now" }), IdTokenFault::Claim("nbf")),
        (json!({ "at_hash": "AAAA" }), IdTokenFault::AccessToken),
        (json!({ "at_hash": 7 }), IdTokenFault::AccessToken),
        (json!({ "events": {} }), IdTokenFault::Header),
    ];
    for (changes, expected) in cases {
        assert_eq!(fault(&token(&with(&claims(), &changes))), expected, "{changes}");
    }
    for changes in [
        json!({ "aud": ["us"] }),
        json!({ "aud": ["them", "us"], "azp": "us" }),
        json!({ "azp": "us" }),
        json!({ "sub": "a".repeat(255) }),
        json!({ "exp": 1_800_000_300.5 }),
    ] {
        assert_eq!(check(&token(&with(&claims(), &changes))), Ok(()), "{changes}");
    }
}

#[test]
fn jwt_04_clocks_may_differ_by_the_leeway_and_the_error_prints_both() {
    let cases = [
        (json!({ "exp": now() - 59 }), None),
        (json!({ "exp": now() - 60 }), Some("exp")),
        (json!({ "iat": now() + 60 }), None),
        (json!({ "iat": now() + 61 }), Some("iat")),
        (json!({ "nbf": now() + 60 }), None),
        (json!({ "nbf": now() + 61 }), Some("nbf")),
        (json!({ "nbf": 0 }), None),
    ];
    for (changes, refused) in cases {
        match (check(&token(&with(&claims(), &changes))), refused) {
            (Ok(()), None) => {}
            (Err(ProviderError::Clock { claim, .. }), Some(expected)) => {
                assert_eq!(claim, expected, "{changes}");
            }
            (other, _) => panic!("{changes}: {other:?}"),
        }
    }
    let error = check(&token(&with(&claims(), &json!({ "iat": now() + 3600 })))).unwrap_err();
    let words = error.to_string();
    assert!(words.contains("2027-01-15T08:00:00Z"), "ours: {words}");
    assert!(words.contains("2027-01-15T09:00:00Z"), "theirs: {words}");
}

#[test]
fn jwt_10_a_tenants_token_has_to_come_from_that_tenants_issuer() {
    let base = "https://login.microsoftonline.com";
    let tenant = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
    let other = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let issuer = Issuer::OfTenant(format!("{base}/{TENANT}/v2.0"));
    let named = |tenant: &str| format!("{base}/{tenant}/v2.0");
    let cases = [
        (json!({ "iss": named(tenant), "tid": tenant }), None),
        (json!({ "iss": named(other), "tid": tenant }), Some(IdTokenFault::Issuer)),
        (json!({ "iss": named(tenant), "tid": other }), Some(IdTokenFault::Issuer)),
        (json!({ "iss": named(tenant) }), Some(IdTokenFault::Tenant)),
        (json!({ "iss": named(TENANT), "tid": TENANT }), Some(IdTokenFault::Tenant)),
        (json!({ "iss": named("x"), "tid": "x" }), Some(IdTokenFault::Tenant)),
        (
            json!({ "iss": format!("https://evil.example/{tenant}/v2.0"), "tid": tenant }),
            Some(IdTokenFault::Issuer),
        ),
    ];
    for (changes, expected) in cases {
        let checked = check_as(&token(&with(&claims(), &changes)), &issuer, &all());
        assert_eq!(checked.err(), expected.map(ProviderError::from), "{changes}");
    }
    assert!(issuer.is_named(&named(tenant)));
    for text in
        [named("common"), named(""), format!("{}/", named(tenant)), named(&format!("x/{tenant}"))]
    {
        assert!(!issuer.is_named(&text), "{text}");
    }
}

fn logout(
    changes: &Value,
    typ: Option<&str>,
) -> Result<(Option<String>, Option<String>, String), ProviderError> {
    let claims = json!({
        "iss": ISSUER, "aud": "us", "iat": now(), "exp": now() + 120, "jti": "once", "sub": "ann",
        "sid": "s1", "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    let mut header = json!({ "alg": "RS256", "kid": "rsa" });
    if let Some(typ) = typ {
        header = with(&header, &json!({ "typ": typ }));
    }
    let text = forge(&header.to_string(), &with(&claims, changes).to_string());
    let issuer = Issuer::Exactly(ISSUER.to_owned());
    let token = Token::read(&text, &all())?;
    let LogoutClaims { subject, session, id, until } =
        check_logout_token(&token, &keys(), &expected(&issuer))?;
    assert_eq!(until.as_seconds(), now() + 180);
    Ok((subject.map(str::to_owned), session.map(str::to_owned), id.to_owned()))
}

#[test]
fn jwt_07_a_logout_token_is_what_the_standard_says_and_nothing_else() {
    let text = |text: &str| Some(text.to_owned());
    for typ in [None, Some("JWT"), Some("logout+jwt"), Some("Logout+JWT")] {
        let expected = (text("ann"), text("s1"), "once".to_owned());
        assert_eq!(logout(&json!({}), typ), Ok(expected), "{typ:?}");
    }
    let only = logout(&json!({ "sid": ABSENT }), None);
    assert_eq!(only, Ok((text("ann"), None, "once".to_owned())));
    let only = logout(&json!({ "sub": ABSENT }), None);
    assert_eq!(only, Ok((None, text("s1"), "once".to_owned())));
    let cases = [
        (json!({ "nonce": "the-nonce" }), IdTokenFault::NoLogout),
        (json!({ "events": ABSENT }), IdTokenFault::NoLogout),
        (json!({ "events": {} }), IdTokenFault::NoLogout),
        (
            json!({ "events": ["http://schemas.openid.net/event/backchannel-logout"] }),
            IdTokenFault::NoLogout,
        ),
        (
            json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": true } }),
            IdTokenFault::NoLogout,
        ),
        (json!({ "sub": ABSENT, "sid": ABSENT }), IdTokenFault::Subject),
        (json!({ "sub": 7 }), IdTokenFault::Subject),
        (json!({ "sid": "" }), IdTokenFault::Subject),
        (json!({ "jti": ABSENT }), IdTokenFault::Claim("jti")),
        (json!({ "jti": "" }), IdTokenFault::Claim("jti")),
        (json!({ "exp": ABSENT }), IdTokenFault::Claim("exp")),
        (json!({ "iat": ABSENT }), IdTokenFault::Claim("iat")),
        (json!({ "aud": "them" }), IdTokenFault::Audience),
        (json!({ "iss": "https://evil.example" }), IdTokenFault::Issuer),
    ];
    for (changes, expected) in cases {
        assert_eq!(logout(&changes, None), Err(expected.into()), "{changes}");
    }
    for typ in ["at+jwt", "id_token+jwt", ""] {
        assert_eq!(logout(&json!({}), Some(typ)), Err(IdTokenFault::NoLogout.into()), "{typ}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_token_that_was_changed_anywhere_is_never_good(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..4,
        put in "[A-Za-z0-9_.=-]{0,4}",
    ) {
        let good = token(&claims());
        let start = at.index(good.len());
        let end = (start + cut).min(good.len());
        let changed = format!("{}{put}{}", &good[..start], &good[end..]);
        prop_assume!(changed != good);
        prop_assert!(check(&changed).is_err(), "{changed}");
    }

    #[test]
    fn no_text_is_a_token_by_chance_and_none_makes_reading_panic(text in "\\PC{0,200}") {
        prop_assert!(check(&text).is_err());
    }

    #[test]
    fn claims_of_any_types_are_refused_or_right(
        name in prop::sample::select(vec!["iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "at_hash"]),
        value in prop_oneof![
            Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from), "\\PC{0,20}".prop_map(Value::from),
            Just(json!([])), Just(json!({})), Just(json!(["us", 7])),
        ],
    ) {
        let changed = with(&claims(), &json!({ name: value.clone() }));
        if check(&token(&changed)).is_ok() {
            // Only what is as good as before: another subject, an earlier start, a later end.
            let is_right = matches!(name, "sub") && value.is_string()
                || matches!(name, "exp" | "iat" | "nbf") && value.is_number();
            prop_assert!(is_right, "{name}: {value}");
        }
    }
}
