//! What a stored hash costs, how that is written, and what is too dear to be verified at all.

use std::fmt;

/// What a stored hash costs: its algorithm and parameters, without salt and digest. Written as in
/// `password_kinds.kind`, for example `argon2id:m=19456,t=2,p=1`, `bcrypt:12`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kind(String);

impl Kind {
    /// The kind of new hashes: argon2id, m = 19 MiB, t = 2, p = 1.
    #[must_use]
    pub fn current() -> Self {
        Self(Cost::CURRENT.to_string())
    }

    /// The kind of a stored hash: PHC strings of argon2id, argon2i, argon2d, scrypt and PBKDF2, and
    /// the bcrypt, passlib and Django forms that `stored` lists.
    ///
    /// # Errors
    /// [`Unusable`]: unknown format, or dearer than the caps (argon2 or scrypt above 256 MiB or
    /// t > 10, bcrypt above 14, pbkdf2 above 2,000,000 rounds).
    pub fn of(hash: &str) -> Result<Self, Unusable> {
        super::stored::Stored::parse(hash).map(|stored| Self(stored.cost().to_string()))
    }

    /// As stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads what [`Kind::as_str`] wrote.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether a hash of this kind is replaced at sign-in: another algorithm than argon2id, or
    /// argon2id with m × t below 38 MiB; never a costlier argon2id.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        match self.cost() {
            Some(Cost::Argon2 { variant: argon2::Algorithm::Argon2id, memory, passes, .. }) => {
                u64::from(memory) * u64::from(passes) < ENOUGH
            }
            Some(
                Cost::Argon2 { .. } | Cost::Bcrypt(_) | Cost::Scrypt { .. } | Cost::Pbkdf2 { .. },
            )
            | None => true,
        }
    }

    /// The cost behind the text; `None` for a text this version does not write, or one that is too
    /// dear.
    pub(super) fn cost(&self) -> Option<Cost> {
        Cost::parse(&self.0).and_then(|cost| cost.capped().ok())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A stored hash that is not verified at all. Says why, without any part of the hash.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unusable password hash: {0}")]
pub struct Unusable(pub String);

impl Unusable {
    pub(super) fn because(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// KiB × passes of an argon2id hash that is good enough to be kept: 38 MiB.
const ENOUGH: u64 = 38 * 1024;

/// KiB that argon2 and scrypt may take at most: 256 MiB.
const MAX_MEMORY: u64 = 256 * 1024;

/// Passes over its memory that argon2 (`t`) and scrypt (`p`) may make at most.
const MAX_PASSES: u32 = 10;

/// bcrypt's cost (the logarithm of its rounds) at most.
const MAX_BCRYPT: u32 = 14;

/// PBKDF2's rounds at most.
const MAX_ROUNDS: u32 = 2_000_000;

/// An algorithm with its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cost {
    /// RFC 9106; memory in KiB.
    Argon2 { variant: argon2::Algorithm, memory: u32, passes: u32, lanes: u32 },
    /// The logarithm of its rounds.
    Bcrypt(u32),
    /// RFC 7914; N is two to the power of `log_n`.
    Scrypt { log_n: u32, block: u32, lanes: u32 },
    /// RFC 8018.
    Pbkdf2 { digest: Digest, rounds: u32 },
}

/// The hash function under PBKDF2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    pub(super) const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl Cost {
    /// What new hashes cost (OWASP's first choice for argon2id).
    pub(super) const CURRENT: Self = Self::Argon2 {
        variant: argon2::Algorithm::Argon2id,
        memory: 19 * 1024,
        passes: 2,
        lanes: 1,
    };

    /// KiB a verification needs beside its fixed state. Saturating: what saturates is over the cap.
    pub(super) fn memory(self) -> u64 {
        match self {
            Self::Argon2 { memory, .. } => u64::from(memory),
            Self::Bcrypt(_) | Self::Pbkdf2 { .. } => 0,
            Self::Scrypt { log_n, block, lanes } => {
                // 128·r bytes each for the N blocks of the table and for every further lane.
                let blocks = 1_u64.checked_shl(log_n).unwrap_or(u64::MAX);
                let blocks = blocks.saturating_add(u64::from(lanes.saturating_sub(1)));
                blocks.saturating_mul(u64::from(block)) / 8
            }
        }
    }

    /// The cost itself, if it is under the caps and the algorithm can take it.
    pub(super) fn capped(self) -> Result<Self, Unusable> {
        if self.memory() > MAX_MEMORY {
            return Err(Unusable::because("it needs more than 256 MiB"));
        }
        let (is_possible, is_cheap) = match self {
            Self::Argon2 { memory, passes, lanes, .. } => {
                (argon2::Params::new(memory, passes, lanes, None).is_ok(), passes <= MAX_PASSES)
            }
            Self::Bcrypt(cost) => (cost >= 4, cost <= MAX_BCRYPT),
            // `r * p` is bounded before the library multiplies the two: `r` by the memory.
            Self::Scrypt { log_n, block, lanes } => {
                (log_n >= 1 && block >= 1 && lanes >= 1, lanes <= MAX_PASSES)
            }
            Self::Pbkdf2 { rounds, .. } => (rounds >= 1, rounds <= MAX_ROUNDS),
        };
        match (is_possible, is_cheap) {
            (true, true) => Ok(self),
            (true, false) => Err(Unusable::because("it takes too many rounds")),
            (false, _) => Err(Unusable::because("its parameters are impossible")),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(':')?;
        if let Some(digest) = name.strip_prefix("pbkdf2-") {
            let digest = Digest::ALL.into_iter().find(|known| known.as_str() == digest)?;
            return Some(Self::Pbkdf2 { digest, rounds: rest.parse().ok()? });
        }
        match name {
            "bcrypt" => Some(Self::Bcrypt(rest.parse().ok()?)),
            "scrypt" => {
                let [log_n, block, lanes] = named(rest, ["ln", "r", "p"])?;
                Some(Self::Scrypt { log_n, block, lanes })
            }
            _ => {
                let variant = argon2::Algorithm::new(name).ok()?;
                let [memory, passes, lanes] = named(rest, ["m", "t", "p"])?;
                Some(Self::Argon2 { variant, memory, passes, lanes })
            }
        }
    }
}

/// Reads `a=1,b=2`, with exactly these names, each once, in any order.
pub(super) fn named<const N: usize>(text: &str, names: [&str; N]) -> Option<[u32; N]> {
    let mut found = [None; N];
    for pair in text.split(',') {
        let (name, value) = pair.split_once('=')?;
        let slot = names.iter().position(|known| *known == name).and_then(|i| found.get_mut(i))?;
        if slot.replace(decimal(value)?).is_some() {
            return None;
        }
    }
    let mut values = [0; N];
    for (value, found) in values.iter_mut().zip(found) {
        *value = found?;
    }
    Some(values)
}

/// Reads a number that has one spelling only: digits, no sign, no leading zero.
pub(super) fn decimal(text: &str) -> Option<u32> {
    let is_canonical =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_canonical { text.parse().ok() } else { None }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2 { variant, memory, passes, lanes } => {
                write!(f, "{}:m={memory},t={passes},p={lanes}", variant.as_str())
            }
            Self::Bcrypt(cost) => write!(f, "bcrypt:{cost}"),
            Self::Scrypt { log_n, block, lanes } => {
                write!(f, "scrypt:ln={log_n},r={block},p={lanes}")
            }
            Self::Pbkdf2 { digest, rounds } => write!(f, "pbkdf2-{}:{rounds}", digest.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A salt and a digest of 32 bytes.
    const TAIL: &str = "c29tZXNhbHRzb21lc2FsdA$XhjWNhE/Pq9k1buchfn33nn+wgJJKfOMoR5HgvSw8Jg";
    const BCRYPT_TAIL: &str = "kZBe.7K7DCMpQK3yxbd6red/79Qrf12uoVneRCF5s8jqgRysBwhc.";

    #[test]
    fn the_kind_of_a_hash_names_algorithm_and_parameters() {
        for (hash, kind) in [
            (format!("$argon2id$v=19$m=19456,t=2,p=1${TAIL}"), "argon2id:m=19456,t=2,p=1"),
            (format!("$argon2i$v=19$m=512,t=10,p=4${TAIL}"), "argon2i:m=512,t=10,p=4"),
            (format!("$argon2d$m=262144,t=1,p=1${TAIL}"), "argon2d:m=262144,t=1,p=1"),
            (format!("$2b$12${BCRYPT_TAIL}"), "bcrypt:12"),
            (format!("$2y$04${BCRYPT_TAIL}"), "bcrypt:4"),
            (format!("$2a$14${BCRYPT_TAIL}"), "bcrypt:14"),
            (format!("$scrypt$ln=18,r=8,p=1${TAIL}"), "scrypt:ln=18,r=8,p=1"),
            (format!("$pbkdf2-sha256$i=2000000${TAIL}"), "pbkdf2-sha256:2000000"),
            (format!("$pbkdf2-sha512$i=1,l=32${TAIL}"), "pbkdf2-sha512:1"),
            (format!("$pbkdf2-sha256$29000${TAIL}"), "pbkdf2-sha256:29000"),
            (format!("$pbkdf2$131000${TAIL}"), "pbkdf2-sha1:131000"),
        ] {
            let found = Kind::of(&hash);
            assert_eq!(found.as_ref().map(Kind::as_str), Ok(kind), "{hash}");
            let cost = found.as_ref().ok().and_then(Kind::cost);
            assert_eq!(cost.map(|cost| cost.to_string()).as_deref(), Some(kind), "read back");
        }
        assert_eq!(Kind::current().as_str(), "argon2id:m=19456,t=2,p=1");
    }

    #[test]
    fn hashes_over_the_caps_and_of_unknown_form_are_unusable() {
        for hash in [
            format!("$argon2id$v=19$m=307200,t=2,p=1${TAIL}"),
            format!("$argon2id$v=19$m=262145,t=1,p=1${TAIL}"),
            format!("$argon2id$v=19$m=4294967295,t=1,p=1${TAIL}"),
            format!("$argon2id$v=19$m=19456,t=11,p=1${TAIL}"),
            format!("$argon2id$v=19$m=19456,t=0,p=1${TAIL}"),
            format!("$argon2id$v=19$m=7,t=1,p=1${TAIL}"),
            format!("$argon2id$v=19$m=19456,t=2,p=16777215${TAIL}"),
            format!("$argon2id$v=18$m=19456,t=2,p=1${TAIL}"),
            format!("$argon2id$v=19$m=19456,t=2${TAIL}"),
            format!("$argon2id$v=19$m=19456,t=2,p=1,p=1${TAIL}"),
            format!("$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAA${TAIL}"),
            format!("$argon2id$v=19$m=019456,t=2,p=1${TAIL}"),
            format!("$argon2x$v=19$m=19456,t=2,p=1${TAIL}"),
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA".to_owned(),
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAA".to_owned(),
            format!("$scrypt$ln=19,r=8,p=1${TAIL}"),
            format!("$scrypt$ln=18,r=8,p=2${TAIL}"),
            format!("$scrypt$ln=17,r=8,p=11${TAIL}"),
            format!("$scrypt$ln=64,r=8,p=1${TAIL}"),
            format!("$scrypt$ln=4294967295,r=4294967295,p=4294967295${TAIL}"),
            format!("$scrypt$ln=1,r=4294967295,p=4294967295${TAIL}"),
            format!("$scrypt$ln=0,r=8,p=1${TAIL}"),
            format!("$scrypt$ln=8,r=0,p=1${TAIL}"),
            format!("$scrypt$v=1$ln=8,r=8,p=1${TAIL}"),
            format!("$pbkdf2-sha256$i=2000001${TAIL}"),
            format!("$pbkdf2-sha256$2000001${TAIL}"),
            format!("$pbkdf2-sha256$0${TAIL}"),
            format!("$pbkdf2-sha256$i=1000,l=20${TAIL}"),
            format!("$pbkdf2-md5$i=1000${TAIL}"),
            format!("$2b$15${BCRYPT_TAIL}"),
            format!("$2b$31${BCRYPT_TAIL}"),
            format!("$2b$03${BCRYPT_TAIL}"),
            format!("$2b$4${BCRYPT_TAIL}"),
            format!("$2b$+4${BCRYPT_TAIL}"),
            format!("$2x$04${BCRYPT_TAIL}"),
            format!("$2b$04${BCRYPT_TAIL}x"),
            format!("$2b$04${}", &BCRYPT_TAIL[1..]),
            "$2b$04$\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\
             \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}a"
                .to_owned(),
            String::new(),
            "!".to_owned(),
            "$".to_owned(),
            "plaintext".to_owned(),
            "5f4dcc3b5aa765d61d8327deb882cf99".to_owned(),
            "$1$salt$digest".to_owned(),
            "$6$rounds=5000$salt$digest".to_owned(),
        ] {
            let found = Kind::of(&hash);
            assert!(found.is_err(), "{hash}");
        }
    }

    #[test]
    fn only_other_kinds_and_cheaper_ones_are_outdated() {
        for (kind, is_outdated) in [
            ("argon2id:m=19456,t=2,p=1", false),
            ("argon2id:m=38912,t=1,p=1", false),
            ("argon2id:m=65536,t=3,p=4", false),
            ("argon2id:m=262144,t=10,p=1", false),
            ("argon2id:m=12288,t=3,p=1", true),
            ("argon2id:m=38911,t=1,p=1", true),
            ("argon2id:m=19455,t=2,p=1", true),
            ("argon2i:m=65536,t=3,p=4", true),
            ("argon2d:m=65536,t=3,p=4", true),
            ("bcrypt:14", true),
            ("scrypt:ln=18,r=8,p=1", true),
            ("pbkdf2-sha256:2000000", true),
            ("something else", true),
        ] {
            assert_eq!(Kind::from_stored(kind).is_outdated(), is_outdated, "{kind}");
        }
        assert!(!Kind::current().is_outdated());
    }

    #[test]
    fn an_unusable_hash_is_not_repeated_in_the_message() {
        let message =
            Kind::of("$argon2id$v=19$m=307200,t=2,p=1$c2VjcmV0c2VjcmV0$c2VjcmV0c2VjcmV0c2VjcmV0")
                .map_or_else(|unusable| unusable.to_string(), |_| String::new());
        assert_eq!(message, "unusable password hash: it needs more than 256 MiB");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(
            text in "\\PC{0,80}",
            shaped in "(\\$|pbkdf2_|bcrypt\\$|argon2\\$)?(argon2id|scrypt|2b|pbkdf2-sha256|sha256)(\\$v=[0-9]{1,3})?\\$((m|t|p|ln|r|i|l)=[0-9]{1,11},?){0,4}[0-9]{0,3}\\$[a-zA-Z0-9+/.=]{0,60}(\\$[a-zA-Z0-9+/.=]{0,60})?",
        ) {
            for hash in [text, shaped] {
                if let Ok(kind) = Kind::of(&hash) {
                    prop_assert!(kind.cost().is_some(), "{}", kind);
                }
            }
        }

        #[test]
        fn no_stored_kind_breaks_the_reader(text in "(argon2id|bcrypt|scrypt|pbkdf2-sha1)?:?\\PC{0,30}") {
            let _either_way = Kind::from_stored(&text).is_outdated();
        }
    }
}
