//! A provider's keys (RFC 7517): those that verify signatures of the kinds taken here.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::discovery::ALGORITHMS;
use super::error::{IdTokenFault, ProviderError};
use crate::web::json;

/// Keys of one provider at most.
const MAX_KEYS: usize = 100;

/// A provider's keys.
#[derive(Debug)]
pub(super) struct KeySet(Vec<VerificationKey>);

#[derive(Debug)]
struct VerificationKey {
    kid: Option<String>,
    /// The only algorithm it is for, where it says so.
    algorithm: Option<Algorithm>,
    kind: Kind,
    key: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// The kind of key that an algorithm takes; `None` for those that are not taken.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum, with algorithms not taken")]
const fn kind_of(algorithm: Algorithm) -> Option<Kind> {
    match algorithm {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => Some(Kind::Rsa),
        Algorithm::ES256 => Some(Kind::P256),
        Algorithm::ES384 => Some(Kind::P384),
        Algorithm::EdDSA => Some(Kind::Ed25519),
        _ => None,
    }
}

impl KeySet {
    /// Reads a key set. Keys of kinds and uses that mean nothing here are left out, as section 5 has it.
    pub(super) fn read(document: &Map<String, Value>) -> Result<Self, ProviderError> {
        let keys = document.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or(ProviderError::Malformed("it is no set of keys"))?;
        if keys.len() > MAX_KEYS {
            return Err(ProviderError::Malformed("it has too many keys"));
        }
        Ok(Self(keys.iter().filter_map(|key| read_key(key.as_object()?)).collect()))
    }

    /// Whether `signature` over `message` is one of these keys'. A token that names a key means that key;
    /// one that names none may be any fitting key's.
    pub(super) fn verify(&self, signed: &Signed<'_>) -> Result<(), IdTokenFault> {
        let kind = kind_of(signed.algorithm).ok_or(IdTokenFault::Algorithm)?;
        let fits = |key: &&VerificationKey| {
            key.kind == kind
                && key.algorithm.is_none_or(|only| only == signed.algorithm)
                && signed.kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
        };
        let mut fitting = self.0.iter().filter(fits).peekable();
        if fitting.peek().is_none() {
            return Err(IdTokenFault::Key);
        }
        let message = signed.message.as_bytes();
        let is_signed = fitting.any(|key| {
            jsonwebtoken::crypto::verify(signed.signature, message, &key.key, signed.algorithm)
                .unwrap_or(false)
        });
        if is_signed { Ok(()) } else { Err(IdTokenFault::Signature) }
    }
}

/// What of a token a signature is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<&'a str>,
    /// Header and claims as they came, with the dot between them.
    pub(super) message: &'a str,
    /// base64url.
    pub(super) signature: &'a str,
}

fn read_key(key: &Map<String, Value>) -> Option<VerificationKey> {
    let text = |name: &str| json::text(key, name);
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let operations = key.get("key_ops").and_then(Value::as_array);
    if operations.is_some_and(|list| !list.iter().any(|one| one.as_str() == Some("verify"))) {
        return None;
    }
    let algorithm = match text("alg") {
        None => None,
        Some(name) => {
            Some(ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, known)| *known)?)
        }
    };
    let (kind, decoded) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (Kind::Rsa, DecodingKey::from_rsa_components(text("n")?, text("e")?)),
        ("EC", Some("P-256")) => {
            (Kind::P256, DecodingKey::from_ec_components(text("x")?, text("y")?))
        }
        ("EC", Some("P-384")) => {
            (Kind::P384, DecodingKey::from_ec_components(text("x")?, text("y")?))
        }
        ("OKP", Some("Ed25519")) => (Kind::Ed25519, DecodingKey::from_ed_components(text("x")?)),
        (_, _) => return None,
    };
    if algorithm.is_some_and(|only| kind_of(only) != Some(kind)) {
        return None;
    }
    Some(VerificationKey {
        kid: text("kid").map(str::to_owned),
        algorithm,
        kind,
        key: decoded.ok()?,
    })
}
