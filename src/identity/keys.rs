//! Keys derived from the master secret: one per purpose (HKDF-SHA256, RFC 5869; empty salt, info
//! `portcullis/v1/<purpose>`), and what is computed with them or beside them: the cookie's tag, a message
//! authentication code, SHA-256, and comparing and showing bytes.
//!
//! What is authenticated, and where it travels, is decided by the callers.

use aws_lc_rs::{digest, hkdf, hmac};
use secrecy::{ExposeSecret, SecretString};
use siphasher::sip::SipHasher24;
use subtle::ConstantTimeEq;

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The tag of a session cookie.
    CookieTag,
    /// Access tokens.
    AccessToken,
    /// Tokens bound into forms.
    Form,
    /// What goes to a provider and comes back with its answer.
    ProviderFlow,
    /// Tokens of providers, at rest.
    ProviderTokens,
}

impl Purpose {
    /// Every purpose, in the order of their numbers.
    const ALL: [Self; 5] =
        [Self::CookieTag, Self::AccessToken, Self::Form, Self::ProviderFlow, Self::ProviderTokens];

    /// HKDF's `info`. Part of what stored cookies and tokens rest on: never changed, only added to.
    const fn info(self) -> &'static str {
        match self {
            Self::CookieTag => "portcullis/v1/cookie-tag",
            Self::AccessToken => "portcullis/v1/access-token",
            Self::Form => "portcullis/v1/form",
            Self::ProviderFlow => "portcullis/v1/provider-flow",
            Self::ProviderTokens => "portcullis/v1/provider-tokens",
        }
    }
}

/// A derived key. Zeroed when dropped; prints nothing.
#[derive(Clone, zeroize::ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl Key {
    /// The 32 bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The keys of one secret, in the order of [`Purpose::ALL`].
type Keys = [Key; Purpose::ALL.len()];

/// The keys of the current secret and of previous ones.
#[derive(Clone, Debug)]
pub struct KeyRing {
    current: Keys,
    previous: Vec<Keys>,
}

impl KeyRing {
    /// Derives every key.
    #[must_use]
    pub fn new(current: &SecretString, previous: &[SecretString]) -> Self {
        Self { current: derive_all(current), previous: previous.iter().map(derive_all).collect() }
    }

    /// The key that signs.
    #[must_use]
    pub const fn current(&self, purpose: Purpose) -> &Key {
        &self.current[purpose as usize]
    }

    /// Every key that is accepted, the signing one first.
    pub fn accepted(&self, purpose: Purpose) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .map(move |ring| &ring[purpose as usize])
    }
}

fn derive_all(secret: &SecretString) -> Keys {
    Purpose::ALL.map(|purpose| derive(secret.expose_secret().as_bytes(), purpose.info()))
}

fn derive(secret: &[u8], info: &str) -> Key {
    let mut key = Key([0; 32]);
    let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    let filled = pseudorandom
        .expand(&[info.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut key.0));
    if filled.is_err() {
        // One block of output is always within HKDF's bound; a process that cannot derive its keys
        // must not go on with keys of zeroes.
        std::process::abort();
    }
    key
}

/// The tag of a session cookie: SipHash-2-4 of its 32 random bytes, little-endian, keyed with the
/// first 16 bytes of the key. It only keeps made-up ids away from the database; what is looked up
/// is the digest.
#[must_use]
pub fn cookie_tag(key: &Key, random: &[u8; 32]) -> [u8; 8] {
    let mut half = zeroize::Zeroizing::new([0; 16]);
    half.copy_from_slice(&key.0[..16]);
    SipHasher24::new_with_key(&half).hash(random).to_le_bytes()
}

/// HMAC-SHA256 (RFC 2104) over several parts, each preceded by its length as 8 big-endian bytes, so
/// that no two lists of parts give the same message.
#[must_use]
pub fn mac(key: &Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key.0));
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// Compares two byte strings in time that depends only on their lengths.
#[must_use]
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// SHA-256 (FIPS 180-4).
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Lower-case hexadecimal digits, as ids of sessions are shown.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.filter_map(|half| char::from_digit(half.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(current: &str, previous: &[&str]) -> KeyRing {
        let previous: Vec<SecretString> = previous.iter().map(|s| (*s).into()).collect();
        KeyRing::new(&current.into(), &previous)
    }

    #[test]
    fn derivation_is_the_hkdf_of_rfc_5869() {
        // Appendix A.3: empty salt, empty info; the first 32 of its 42 bytes.
        assert_eq!(
            hex(derive(&[0x0b; 22], "").bytes()),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
        );
    }

    #[test]
    fn a_derived_key_is_one_block_of_hkdf_under_its_purpose() {
        let secret = "correct horse battery staple, and more of it";
        let keys = ring(secret, &[]);
        for (purpose, info) in [
            (Purpose::CookieTag, "portcullis/v1/cookie-tag"),
            (Purpose::AccessToken, "portcullis/v1/access-token"),
            (Purpose::Form, "portcullis/v1/form"),
            (Purpose::ProviderFlow, "portcullis/v1/provider-flow"),
            (Purpose::ProviderTokens, "portcullis/v1/provider-tokens"),
        ] {
            let extract = hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]);
            let pseudorandom = hmac::sign(&extract, secret.as_bytes());
            let expand = hmac::Key::new(hmac::HMAC_SHA256, pseudorandom.as_ref());
            let block = hmac::sign(&expand, &[info.as_bytes(), &[1]].concat());
            assert_eq!(keys.current(purpose).bytes(), block.as_ref(), "{info}");
        }
    }

    #[test]
    fn previous_secrets_are_accepted_after_the_current_one() {
        let keys = ring("new", &["old", "older"]);
        let expected =
            ["new", "old", "older"].map(|s| *ring(s, &[]).current(Purpose::Form).bytes());
        let accepted: Vec<[u8; 32]> =
            keys.accepted(Purpose::Form).map(|key| *key.bytes()).collect();
        assert_eq!(accepted, expected);
    }

    #[test]
    fn a_cookie_tag_is_siphash_2_4() {
        // The reference vectors of Aumasson and Bernstein have key 00…0f; for the message 00…1f of
        // 32 bytes the output is 0x7127512f72f27cce.
        let mut key = Key([0; 32]);
        let mut message = [0; 32];
        for (i, byte) in (0u8..32).enumerate() {
            key.0[i] = byte;
            message[i] = byte;
        }
        assert_eq!(cookie_tag(&key, &message), 0x7127_512f_72f2_7cce_u64.to_le_bytes());
        key.0[0] ^= 1;
        assert_ne!(cookie_tag(&key, &message), 0x7127_512f_72f2_7cce_u64.to_le_bytes());
    }

    #[test]
    fn a_mac_tells_apart_what_reads_the_same_when_joined() {
        let key = derive(b"secret", "test");
        assert_ne!(mac(&key, &[b"ab", b"c"]), mac(&key, &[b"a", b"bc"]));
        assert_ne!(mac(&key, &[b"abc"]), mac(&key, &[b"abc", b""]));
        assert_ne!(mac(&key, &[b"abc"]), mac(&derive(b"other", "test"), &[b"abc"]));
        assert_eq!(mac(&key, &[b"ab", b"c"]), mac(&key, &[b"ab", b"c"]));
    }

    #[test]
    fn sha_256_gives_the_published_digest() {
        assert_eq!(
            hex(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn comparison_sees_every_byte_and_the_length() {
        assert!(is_same(b"abc", b"abc"));
        assert!(!is_same(b"abc", b"abd"));
        assert!(!is_same(b"abc", b"ab"));
    }

    #[test]
    fn printed_keys_show_nothing() {
        let text = format!("{:?}", ring("very secret words", &["older secret words"]));
        assert!(!text.contains("secret words"), "{text}");
        assert!(text.contains("Key(…)"), "{text}");
    }
}
