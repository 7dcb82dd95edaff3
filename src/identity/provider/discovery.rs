//! The discovery document (OpenID Connect Discovery 1.0 section 3): what of it is used, and that it is
//! the configured issuer's.

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use url::Url;

use super::error::ProviderError;
use crate::config::{ClientAuth, is_here, is_protected};
use crate::web::json;

/// Signature algorithms that are taken, by name. None of them can be verified with a secret that both
/// sides know, nor without a key.
pub(super) const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// What a provider says of itself.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) userinfo: Option<Url>,
    pub(super) keys: Url,
    pub(super) end_session: Option<Url>,
    /// Those of [`ALGORITHMS`] that it signs ID tokens with.
    pub(super) algorithms: Vec<Algorithm>,
    /// How it wants a client to prove itself; `None`: in neither way that is spoken here.
    pub(super) client_auth: Option<ClientAuth>,
    /// It names itself in every callback (RFC 9207).
    pub(super) announces_iss: bool,
    /// It knows the scope `offline_access`.
    pub(super) offers_offline_access: bool,
}

/// Where an issuer's document is: below its path.
pub(super) fn address(issuer: &str) -> Option<Url> {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    Url::parse(&format!("{issuer}/.well-known/openid-configuration")).ok()
}

/// Reads a document, which must be this issuer's to the letter.
pub(super) fn read(document: &Map<String, Value>, issuer: &str) -> Result<Metadata, ProviderError> {
    if json::text(document, "issuer") != Some(issuer) {
        return Err(ProviderError::Malformed(
            "its discovery document names another `issuer` than the configuration, to the letter",
        ));
    }
    let algorithms = algorithms(document);
    if algorithms.is_empty() {
        return Err(ProviderError::Malformed("it signs ID tokens with no algorithm that is taken"));
    }
    let is_true = |name: &str| document.get(name) == Some(&Value::Bool(true));
    Ok(Metadata {
        authorization: required(document, issuer, "authorization_endpoint")?,
        token: required(document, issuer, "token_endpoint")?,
        userinfo: endpoint(document, issuer, "userinfo_endpoint")?,
        keys: required(document, issuer, "jwks_uri")?,
        end_session: endpoint(document, issuer, "end_session_endpoint")?,
        algorithms,
        client_auth: client_auth(document),
        announces_iss: is_true("authorization_response_iss_parameter_supported"),
        offers_offline_access: names(document, "scopes_supported")
            .is_some_and(|scopes| scopes.contains(&"offline_access")),
    })
}

/// The list of texts under a name.
fn names<'a>(document: &'a Map<String, Value>, name: &str) -> Option<Vec<&'a str>> {
    Some(document.get(name)?.as_array()?.iter().filter_map(Value::as_str).collect())
}

/// RS256 is what everybody must support (section 3).
fn algorithms(document: &Map<String, Value>) -> Vec<Algorithm> {
    let announced = names(document, "id_token_signing_alg_values_supported");
    let announced = announced.unwrap_or_else(|| vec!["RS256"]);
    let is_announced = |(name, _): &&(&str, Algorithm)| announced.contains(name);
    ALGORITHMS.iter().filter(is_announced).map(|(_, algorithm)| *algorithm).collect()
}

/// Basic is what an absent list means (section 3).
fn client_auth(document: &Map<String, Value>) -> Option<ClientAuth> {
    let Some(ways) = names(document, "token_endpoint_auth_methods_supported") else {
        return Some(ClientAuth::Basic);
    };
    [("client_secret_basic", ClientAuth::Basic), ("client_secret_post", ClientAuth::Post)]
        .into_iter()
        .find(|(name, _)| ways.contains(name))
        .map(|(_, way)| way)
}

fn required(
    document: &Map<String, Value>,
    issuer: &str,
    name: &'static str,
) -> Result<Url, ProviderError> {
    endpoint(document, issuer, name)?
        .ok_or(ProviderError::Malformed("its discovery document lacks an address"))
}

/// One that is there but not safe to use makes the whole document useless. Only an issuer on this machine
/// may send us about it in the clear: another one could reach what listens here for nobody else.
fn endpoint(
    document: &Map<String, Value>,
    issuer: &str,
    name: &'static str,
) -> Result<Option<Url>, ProviderError> {
    let text = match document.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(ProviderError::Malformed("an address in its discovery document")),
    };
    let is_issuer_here = Url::parse(issuer).is_ok_and(|issuer| is_here(&issuer));
    match Url::parse(text) {
        Ok(url) if is_protected(&url) && (url.scheme() == "https" || is_issuer_here) => {
            Ok(Some(url))
        }
        Ok(_) | Err(_) => {
            Err(ProviderError::Malformed("an address in its discovery document is not https"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example.com/realms/one";

    fn document() -> Map<String, Value> {
        let document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.com/auth",
            "token_endpoint": "https://id.example.com/token",
            "jwks_uri": "https://id.example.com/keys",
            "id_token_signing_alg_values_supported": ["none", "HS256", "ES256", "RS256", "XX"],
        });
        document.as_object().unwrap().clone()
    }

    fn with(name: &str, value: Value) -> Result<Metadata, ProviderError> {
        let mut document = document();
        document.insert(name.to_owned(), value);
        read(&document, ISSUER)
    }

    #[test]
    fn only_asymmetric_algorithms_are_taken_from_what_is_announced() {
        let metadata = read(&document(), ISSUER).unwrap();
        assert_eq!(metadata.algorithms, [Algorithm::RS256, Algorithm::ES256]);
        assert_eq!(metadata.client_auth, Some(ClientAuth::Basic));
        assert!(with("id_token_signing_alg_values_supported", json!(["none", "HS256"])).is_err());
        let mut plain = document();
        plain.remove("id_token_signing_alg_values_supported");
        assert_eq!(read(&plain, ISSUER).unwrap().algorithms, [Algorithm::RS256]);
    }

    #[test]
    fn a_document_of_another_issuer_or_with_an_unsafe_address_is_refused() {
        let refused = [
            ("issuer", json!("https://id.example.com/realms/one/")),
            ("issuer", json!("https://id.example.com/realms/two")),
            ("issuer", json!(["https://id.example.com/realms/one"])),
            ("issuer", Value::Null),
            ("jwks_uri", json!("http://id.example.com/keys")),
            ("jwks_uri", json!("file:///etc/passwd")),
            ("jwks_uri", json!("https://user:word@id.example.com/keys")),
            ("jwks_uri", Value::Null),
            ("token_endpoint", json!(7)),
            ("token_endpoint", json!("/token")),
            ("userinfo_endpoint", json!("http://169.254.169.254/")),
            ("end_session_endpoint", json!("javascript:alert(1)")),
        ];
        for (name, value) in refused {
            assert!(with(name, value.clone()).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn addresses_on_this_machine_are_plain_http_only_where_the_issuer_is_there_too() {
        for keys in ["http://127.0.0.1:7/keys", "http://[::1]:7/keys", "http://localhost:7/keys"] {
            assert!(with("jwks_uri", json!(keys)).is_err(), "{keys}");
            for issuer in ["http://127.0.0.1:9", "http://localhost:9/realm", "http://[::1]:9"] {
                let mut document = document();
                document.insert("issuer".to_owned(), json!(issuer));
                document.insert("jwks_uri".to_owned(), json!(keys));
                assert!(read(&document, issuer).is_ok(), "{issuer}: {keys}");
            }
        }
    }

    #[test]
    fn a_client_proves_itself_in_a_way_the_provider_announces() {
        let cases = [
            (json!(["client_secret_post", "client_secret_basic"]), Some(ClientAuth::Basic)),
            (json!(["private_key_jwt", "client_secret_post"]), Some(ClientAuth::Post)),
            (json!(["private_key_jwt"]), None),
        ];
        for (announced, expected) in cases {
            let found = with("token_endpoint_auth_methods_supported", announced).unwrap();
            assert_eq!(found.client_auth, expected);
        }
    }

    #[test]
    fn the_document_is_below_the_issuers_path() {
        for issuer in [ISSUER, "https://id.example.com/realms/one/"] {
            let address = address(issuer).unwrap();
            let expected = "https://id.example.com/realms/one/.well-known/openid-configuration";
            assert_eq!(address.as_str(), expected);
        }
    }
}
