//! The session cookie's value: unpadded base64url, canonical only, of 32 random bytes and an 8-byte
//! keyed tag over them. The tag only keeps made-up values away from the database; what is looked up
//! is the SHA-256 of the random bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::identity::keys::{KeyRing, Purpose, cookie_tag, sha256};

/// Length of the encoded value: 40 bytes in base64url.
const ENCODED: usize = 54;

/// Encodes a value for a browser.
pub(super) fn encode(random: &[u8; 32], keys: &KeyRing) -> String {
    let mut bytes = [0; 40];
    bytes[..32].copy_from_slice(random);
    bytes[32..].copy_from_slice(&cookie_tag(keys.current(Purpose::CookieTag), random));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The session's id behind a value, if the value is one this gateway (or one with the same secret)
/// made. Keys of previous secrets count.
pub(super) fn decode(value: &[u8], keys: &KeyRing) -> Option<[u8; 32]> {
    if value.len() != ENCODED {
        return None;
    }
    let mut bytes = [0; 40];
    // The engine refuses padding and non-zero trailing bits, so one session has one spelling.
    let length = URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()?;
    if length != bytes.len() {
        return None;
    }
    let (random, tag) = bytes.split_first_chunk::<32>()?;
    keys.accepted(Purpose::CookieTag)
        .any(|key| bool::from(cookie_tag(key, random).as_slice().ct_eq(tag)))
        .then(|| sha256(random))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::*;

    fn ring(secret: &str, previous: &[&str]) -> KeyRing {
        let previous: Vec<SecretString> = previous.iter().map(|s| (*s).into()).collect();
        KeyRing::new(&secret.into(), &previous)
    }

    #[test]
    fn only_values_this_secret_or_a_previous_one_made_are_read() {
        let keys = ring("one secret that is long enough, truly", &[]);
        let random = [7; 32];
        let value = encode(&random, &keys);
        assert_eq!(value.len(), ENCODED);
        assert_eq!(decode(value.as_bytes(), &keys), Some(sha256(&random)));
        let moved =
            ring("another secret that is long enough!", &["one secret that is long enough, truly"]);
        assert_eq!(decode(value.as_bytes(), &moved), Some(sha256(&random)));
        let foreign = ring("a third secret that is long enough...", &[]);
        assert_eq!(decode(value.as_bytes(), &foreign), None);
    }

    #[test]
    fn one_session_has_one_spelling() {
        let keys = ring("one secret that is long enough, truly", &[]);
        let value = encode(&[7; 32], &keys).into_bytes();
        for index in 0..value.len() {
            for byte in (0..=255u8).filter(|byte| *byte != value[index]) {
                let mut changed = value.clone();
                changed[index] = byte;
                assert_eq!(decode(&changed, &keys), None, "byte {index} as {byte}");
            }
        }
        for changed in [&value[1..], &value[..53], &[value.as_slice(), b"="].concat()] {
            assert_eq!(decode(changed, &keys), None);
        }
    }

    proptest! {
        #[test]
        fn a_value_is_read_only_if_it_was_made_with_the_secret(
            random in any::<[u8; 32]>(),
            tag in any::<[u8; 8]>(),
            other in "[A-Za-z0-9_-]{53}[AEIMQUYcgkosw048]",
            anything in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let keys = ring("one secret that is long enough, truly", &[]);
            let forged = URL_SAFE_NO_PAD.encode([&random[..], &tag[..]].concat());
            let made = encode(&random, &keys);
            for value in [forged.as_bytes(), other.as_bytes(), anything.as_slice()] {
                prop_assert!(value == made.as_bytes() || decode(value, &keys).is_none());
            }
            prop_assert_eq!(decode(made.as_bytes(), &keys), Some(sha256(&random)));
            let foreign = ring("a third secret that is long enough...", &[]);
            prop_assert_eq!(decode(made.as_bytes(), &foreign), None);
        }
    }
}
