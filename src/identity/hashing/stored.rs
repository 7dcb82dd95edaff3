//! Reads stored hashes, verifies passwords against them and makes new ones.
//!
//! Read are PHC strings (`$argon2id$v=19$m=19456,t=2,p=1$…`, `$scrypt$ln=16,r=8,p=1$…`,
//! `$pbkdf2-sha256$i=600000,l=32$…`), bcrypt (`$2a$`, `$2b$`, `$2y$`; not `$2x$`, which stands for a
//! bug), passlib's PBKDF2 (`$pbkdf2-sha256$29000$…`) and Django's `pbkdf2_sha256$…`, `bcrypt$…` and
//! `argon2$…`. Nothing here waits or bounds; that is the pool's.

use argon2::password_hash::PasswordHasher as _;
use argon2::{Argon2, Params, Version};
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD, STANDARD_NO_PAD};
use password_hash::phc::PasswordHash;
use subtle::ConstantTimeEq as _;

use super::kind::{Cost, Digest, Unusable, decimal, named};

/// Shorter digests than this could be met by chance.
const MIN_OUTPUT: usize = 16;

/// PHC's bound on a digest, taken for every format.
const MAX_OUTPUT: usize = 64;

/// bcrypt's base64. Some software leaves bits standing behind the salt, which others ignore.
const BCRYPT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::BCRYPT, NO_PAD.with_decode_allow_trailing_bits(true));

/// A stored hash that can be verified.
#[derive(Clone)]
pub(super) struct Stored {
    cost: Cost,
    /// Argon2 alone has versions.
    version: Version,
    salt: Vec<u8>,
    output: Vec<u8>,
}

/// Verifying or hashing failed for want of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not enough memory to hash a password")]
pub(super) struct OutOfMemory;

impl Stored {
    /// Reads a stored hash.
    pub(super) fn parse(hash: &str) -> Result<Self, Unusable> {
        let parsed = if hash.starts_with("$2") {
            bcrypt(hash)
        } else if let Some(rest) = hash.strip_prefix("bcrypt$") {
            bcrypt(rest)
        } else if let Some(rest) = hash.strip_prefix("argon2$") {
            phc(&format!("${rest}"))
        } else if let Some(rest) = hash.strip_prefix("pbkdf2_") {
            django_pbkdf2(rest)
        } else {
            passlib_pbkdf2(hash).or_else(|| phc(hash))
        };
        let stored = parsed.ok_or_else(|| Unusable::because("its format is unknown"))?;
        stored.cost.capped()?;
        if (MIN_OUTPUT..=MAX_OUTPUT).contains(&stored.output.len()) {
            Ok(stored)
        } else {
            Err(Unusable::because("its digest is too short or too long"))
        }
    }

    /// A hash of this cost that no password is known for.
    pub(super) fn dummy(cost: Cost) -> Self {
        let length = if matches!(cost, Cost::Bcrypt(_)) { 23 } else { 32 };
        Self { cost, version: Version::V0x13, salt: vec![0x5a; 16], output: vec![0; length] }
    }

    pub(super) const fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether this is the password's. Compares in constant time.
    pub(super) fn matches(&self, password: &[u8]) -> Result<bool, OutOfMemory> {
        let mut output = vec![0; self.output.len()];
        self.derive(password, &mut output)?;
        Ok(output.ct_eq(&self.output).into())
    }

    fn derive(&self, password: &[u8], output: &mut [u8]) -> Result<(), OutOfMemory> {
        match self.cost {
            Cost::Argon2 { variant, memory, passes, lanes } => {
                let params = Params::new(memory, passes, lanes, None).map_err(|_| OutOfMemory)?;
                Argon2::new(variant, self.version, params)
                    .hash_password_into(password, &self.salt, output)
                    .map_err(|_| OutOfMemory)
            }
            Cost::Bcrypt(cost) => {
                let mut salt = [0; 16];
                salt.copy_from_slice(&self.salt);
                let key = bcrypt_key(password);
                output.copy_from_slice(&bcrypt::bcrypt(cost, salt, &key)[..output.len()]);
                Ok(())
            }
            Cost::Scrypt { log_n, block, lanes } => {
                let log_n = u8::try_from(log_n).map_err(|_| OutOfMemory)?;
                let params = scrypt::Params::new(log_n, block, lanes).map_err(|_| OutOfMemory)?;
                scrypt::scrypt(password, &self.salt, &params, output).map_err(|_| OutOfMemory)
            }
            Cost::Pbkdf2 { digest, rounds } => {
                let rounds = std::num::NonZeroU32::new(rounds).ok_or(OutOfMemory)?;
                pbkdf2::derive(algorithm(digest), rounds, &self.salt, password, output);
                Ok(())
            }
        }
    }
}

/// Hashes a new password with current parameters, as a PHC string.
pub(super) fn hash_new(password: &[u8], salt: &[u8; 16]) -> Result<String, OutOfMemory> {
    Argon2::default()
        .hash_password_with_salt(password, salt)
        .map(|hash| hash.to_string())
        .map_err(|_| OutOfMemory)
}

const fn algorithm(digest: Digest) -> pbkdf2::Algorithm {
    match digest {
        Digest::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        Digest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Digest::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    }
}

/// bcrypt's key: the password with a NUL, of which the first 72 bytes count. The software that made
/// the hash cut it there too, so refusing longer passwords would lock their owners out; the hash is
/// replaced at that sign-in.
fn bcrypt_key(password: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    let mut key = zeroize::Zeroizing::new(Vec::with_capacity(73));
    key.extend_from_slice(&password[..password.len().min(72)]);
    key.push(0);
    key.truncate(72);
    key
}

/// `$2b$12$` and 22 + 31 characters.
fn bcrypt(hash: &str) -> Option<Stored> {
    let fields: Vec<&str> = hash.split('$').collect();
    let ["", "2a" | "2b" | "2y", cost, tail] = fields.as_slice() else { return None };
    if cost.len() != 2 || !cost.bytes().all(|b| b.is_ascii_digit()) || tail.len() != 53 {
        return None;
    }
    let (salt, output) = tail.split_at_checked(22)?;
    Some(Stored {
        cost: Cost::Bcrypt(cost.parse().ok()?),
        version: Version::V0x13,
        salt: BCRYPT.decode(salt).ok()?,
        output: BCRYPT.decode(output).ok()?,
    })
}

/// PHC strings.
fn phc(hash: &str) -> Option<Stored> {
    let parsed = PasswordHash::new(hash).ok()?;
    let params = parsed.params.as_str();
    // A string without `v` is of the time before there was one.
    let version = Version::try_from(parsed.version.unwrap_or(0x10)).ok()?;
    let name = parsed.algorithm.as_str();
    let cost = if name == "scrypt" {
        let [log_n, block, lanes] = named(params, ["ln", "r", "p"])?;
        Cost::Scrypt { log_n, block, lanes }
    } else if let Some(digest) = name.strip_prefix("pbkdf2-") {
        Cost::Pbkdf2 { digest: digest_of(digest)?, rounds: rounds(params, &parsed)? }
    } else {
        let [memory, passes, lanes] = named(params, ["m", "t", "p"])?;
        let variant = argon2::Algorithm::new(name).ok()?;
        Cost::Argon2 { variant, memory, passes, lanes }
    };
    if parsed.version.is_some() && !matches!(cost, Cost::Argon2 { .. }) {
        return None;
    }
    Some(Stored {
        cost,
        version,
        salt: parsed.salt?.to_vec(),
        output: parsed.hash?.as_bytes().to_vec(),
    })
}

/// `i=600000` or `i=600000,l=32`, where `l` is the length of the digest that follows.
fn rounds(params: &str, hash: &PasswordHash) -> Option<u32> {
    if let Some([rounds]) = named(params, ["i"]) {
        return Some(rounds);
    }
    let [rounds, length] = named(params, ["i", "l"])?;
    (hash.hash?.len() == usize::try_from(length).ok()?).then_some(rounds)
}

fn digest_of(name: &str) -> Option<Digest> {
    Digest::ALL.into_iter().find(|digest| digest.as_str() == name)
}

/// passlib's `$pbkdf2-sha256$29000$salt$digest` (`$pbkdf2$` is SHA-1), base64 with `.` for `+`.
fn passlib_pbkdf2(hash: &str) -> Option<Stored> {
    let fields: Vec<&str> = hash.split('$').collect();
    let ["", name, rounds, salt, output] = fields.as_slice() else { return None };
    let digest = match name.strip_prefix("pbkdf2")? {
        "" => Digest::Sha1,
        other => digest_of(other.strip_prefix('-')?)?,
    };
    Some(Stored {
        cost: Cost::Pbkdf2 { digest, rounds: decimal(rounds)? },
        version: Version::V0x13,
        salt: STANDARD_NO_PAD.decode(salt.replace('.', "+")).ok()?,
        output: STANDARD_NO_PAD.decode(output.replace('.', "+")).ok()?,
    })
}

/// Django's `pbkdf2_sha256$600000$salt$digest`, the salt being text.
fn django_pbkdf2(rest: &str) -> Option<Stored> {
    let fields: Vec<&str> = rest.split('$').collect();
    let [digest, rounds, salt, output] = fields.as_slice() else { return None };
    Some(Stored {
        cost: Cost::Pbkdf2 { digest: digest_of(digest)?, rounds: decimal(rounds)? },
        version: Version::V0x13,
        salt: salt.as_bytes().to_vec(),
        output: STANDARD.decode(output).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(hash: &str, password: &str) -> Option<bool> {
        Stored::parse(hash).ok().and_then(|stored| stored.matches(password.as_bytes()).ok())
    }

    /// Hashes of "correct horse", made by the software named.
    const MADE_ELSEWHERE: [&str; 18] = [
        // argon2-cffi 25.1
        "$argon2id$v=19$m=19456,t=2,p=1$8egSCTJc6JFRq68kn0AIIA$9DP3PMJnfPmMjHX5bipFVAq04O3bt+mw6NrZKVutD68",
        "$argon2id$v=19$m=1024,t=1,p=4$32vznAFZhS5FJDggczebsA$Jimoonuf8O1bcZ8hzrvNorAlaVpvmMTLxSvjWh7Z+mc",
        "$argon2i$v=19$m=512,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$XhjWNhE/Pq9k1buchfn33nn+wgJJKfOMoR5HgvSw8Jg",
        "$argon2d$v=19$m=512,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$l+MO+mdbVuRixr2Y2kYel41k33mGc/joG+GSttnH94Y",
        "$argon2i$v=16$m=512,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Ry3QQT5zCCWEChNmILXwrHkOVCggo504cyrZsac9FU8",
        // The same as libraries older than the version field wrote it.
        "$argon2i$m=512,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Ry3QQT5zCCWEChNmILXwrHkOVCggo504cyrZsac9FU8",
        // bcrypt 5.0
        "$2b$04$kZBe.7K7DCMpQK3yxbd6red/79Qrf12uoVneRCF5s8jqgRysBwhc.",
        "$2a$04$GFrlZ2uuOGSZk3LrD2Fbe.IbqBvlj.bnRfUNIxp7X/4alIvqnUsUG",
        // passlib 1.7.4
        "$pbkdf2$1000$Xwuh1Np7731vjbFW6h0DAA$QMEeWn3.bq9zxQqPH0vYeciBIeU",
        "$pbkdf2-sha256$1000$zllrjRHC2LsXIkQIgRCCsA$CjT2LYPt3Q4vuaqEjSj4L9PuW8OGw29oTRKs4tbd2CM",
        "$pbkdf2-sha512$1000$BCCEMAbA.F.rdc65V.p97w$7mceldqEM.JvdZUl9N7Bp9jmIdjlOF9NotJjMuNHQ4y.nD6Y/E5KqHHzUITNdwXg6zNEFAkuXb1zZZ8FKir7Tw",
        "$scrypt$ln=8,r=8,p=1$KwXgPAdASEmJsbb2HkNoTQ$B4JeLjq95P3IkgeJWAZCr+EmxTGxS7xeSd86fLhLjnA",
        // Python's hashlib, written as PHC strings
        "$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHRzYWx0c2FsdA$BBs+1+PaslLtBPULUr8/lQicvVuHiEPMz0i8MjLCbzM",
        "$pbkdf2-sha512$i=1000$c2FsdHNhbHRzYWx0c2FsdA$EHLBej+uEvxlmr0QnHnceg1vM6h1wbwSP5XErh3SmizNDWZsIi28RPGARe0EssjGRoiACzxgHjNvqwJY1zxKig",
        // Django 5.2
        "pbkdf2_sha256$1000$NaClNaCl$DFRHyP75NhhP9KfmBQVw3DRMTlplRxD2m0/X6CUIpWg=",
        "pbkdf2_sha1$1000$b6HwLW23h8Ts$xnrGntLw6o/oqxISDGS0C4EXeJ0=",
        "argon2$argon2id$v=19$m=512,t=2,p=1$YWJjZGVmZ2hpamtsbW5vcA$hjlnvQ7oV8w+4VI914ZkJLCb7bQDSA67VISiNHFg8+Q",
        "bcrypt$$2b$04$7wG2TH/n0V5bsGYa25c.AOLzdp0Pxt4/SQXfCcfHFRlzDshJiCri6",
    ];

    #[test]
    fn hashes_made_by_other_software_are_verified() {
        for hash in MADE_ELSEWHERE {
            assert_eq!(is_match(hash, "correct horse"), Some(true), "{hash}");
            for wrong in ["", "correct horsf", "Correct horse", "correct horse ", "correct"] {
                assert_eq!(is_match(hash, wrong), Some(false), "{hash}: {wrong:?}");
            }
        }
    }

    #[test]
    fn hashes_of_published_vectors_are_verified() {
        for (hash, password) in [
            // OpenBSD's bcrypt, by way of crypt_blowfish's own tests; the first salt has bits
            // standing behind it that other software ignores.
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", ""),
            // passlib's documentation
            (
                "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
                "password",
            ),
        ] {
            assert_eq!(is_match(hash, password), Some(true), "{hash}");
        }
    }

    #[test]
    fn bcrypt_looks_at_72_bytes_as_the_software_did_that_made_the_hash() {
        let of_72 = "$2b$04$DHXBPsJPzjU/UBK2C3IiJuGzBcYxabirGEvuoq3WYyp7p8BFCWSd2";
        let of_71 = "$2b$04$o8xs7FPnZCITqT..iFIYh.xFFRZzmCbRGlCnRDSCdyoo4ivXdmet2";
        for (hash, length, expected) in [
            (of_72, 72, true),
            (of_72, 73, true),
            (of_72, 200, true),
            (of_72, 71, false),
            (of_71, 71, true),
            (of_71, 72, false),
        ] {
            assert_eq!(is_match(hash, &"x".repeat(length)), Some(expected), "{length} bytes");
        }
    }

    #[test]
    fn a_new_hash_has_current_parameters_and_its_own_salt() {
        let hash = hash_new(b"correct horse", b"0123456789abcdef").unwrap_or_default();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(is_match(&hash, "correct horse"), Some(true));
        assert_eq!(is_match(&hash, "correct horsf"), Some(false));
        assert_ne!(hash_new(b"correct horse", b"0123456789abcdeF"), Ok(hash));
    }

    #[test]
    fn a_changed_digest_matches_no_longer() {
        for hash in MADE_ELSEWHERE {
            // The last character may stand for bits that are not read, so one further in.
            let at = hash.len() - 6;
            let new = if hash.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = hash.to_owned();
            changed.replace_range(at..=at, new);
            assert_eq!(is_match(&changed, "correct horse"), Some(false), "{changed}");
        }
    }
}
