//! Encrypting what is to come back unread and unchanged: AES-256-GCM-SIV (RFC 8452) under a derived key.
//!
//! What is sealed, and where it is kept, is decided by the callers; `place` says where it belongs, so that
//! what was sealed for one place does not open at another.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::keys::{Key, KeyRing, Purpose};

/// Bytes of a nonce, which stands in front of what is sealed.
pub const NONCE: usize = NONCE_LEN;

/// Seals a text under the current key. The nonce is to be random.
#[must_use]
pub fn seal(
    keys: &KeyRing,
    purpose: Purpose,
    nonce: [u8; NONCE],
    place: &[u8],
    text: &[u8],
) -> Option<Vec<u8>> {
    let key = cipher(keys.current(purpose))?;
    let mut body = text.to_vec();
    let nonce_used = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce_used, Aad::from(place), &mut body).ok()?;
    Some([nonce.as_slice(), &body].concat())
}

/// Opens what [`seal`] made for this place. Keys of previous secrets count.
#[must_use]
pub fn open(
    keys: &KeyRing,
    purpose: Purpose,
    place: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE>()?;
    keys.accepted(purpose).find_map(|key| {
        let mut text = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = cipher(key)?.open_in_place(nonce, Aad::from(place), &mut text).ok()?.len();
        text.truncate(opened);
        Some(text)
    })
}

fn cipher(key: &Key) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM_SIV, key.bytes()).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use secrecy::SecretString;

    use super::*;

    fn ring(current: &str, previous: &[&str]) -> KeyRing {
        let previous: Vec<SecretString> = previous.iter().map(|s| (*s).into()).collect();
        KeyRing::new(&current.into(), &previous)
    }

    #[test]
    fn what_is_sealed_opens_at_its_place_for_its_purpose_and_under_its_secret_alone() {
        let keys = ring("one", &[]);
        let sealed = seal(&keys, Purpose::ProviderTokens, [7; NONCE], b"here", b"words").unwrap();
        let opened = |keys: &KeyRing, purpose, place: &[u8], sealed: &[u8]| {
            open(keys, purpose, place, sealed).map(|text| text.to_vec())
        };
        let tokens = Purpose::ProviderTokens;
        assert_eq!(opened(&keys, tokens, b"here", &sealed).unwrap(), b"words");
        let moved = ring("two", &["zero", "one"]);
        assert_eq!(opened(&moved, tokens, b"here", &sealed).unwrap(), b"words");
        assert_eq!(opened(&keys, tokens, b"there", &sealed), None);
        assert_eq!(opened(&keys, Purpose::ProviderFlow, b"here", &sealed), None);
        assert_eq!(opened(&ring("two", &[]), tokens, b"here", &sealed), None);
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(opened(&keys, tokens, b"here", &changed), None, "byte {place}");
            assert_eq!(opened(&keys, tokens, b"here", &sealed[..place]), None, "cut at {place}");
        }
        assert!(!sealed.windows(5).any(|part| part == b"words"));
    }
}
