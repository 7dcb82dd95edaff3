//! Secrets: whether a master secret is good enough, and reading one from a file.

use std::collections::BTreeSet;
use std::path::Path;

/// Fewest bytes of a master secret.
const MIN_BYTES: usize = 32;
/// Fewest different characters of one. 32 random hexadecimal digits have fewer than 8 once in ten
/// million; words repeated to length have that few as a rule.
const MIN_DISTINCT: usize = 8;
/// Longest secret file read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// What guides, examples and generators leave for people to replace.
const PLACEHOLDERS: [&str; 14] = [
    "your-secret",
    "your_secret",
    "yoursecret",
    "change-in-production",
    "change_in_production",
    "changeme",
    "change-me",
    "change_me",
    "change-this",
    "change_this",
    "replace-me",
    "replace_me",
    "insecure",
    "supersecret",
];

/// Whether a master secret is good enough: at least 32 bytes, not a known placeholder, not of low
/// entropy.
///
/// # Errors
/// Says what is wrong, without the secret, and shows the command that makes a good one.
pub fn check_secret(secret: &str) -> Result<(), String> {
    let folded = secret.to_lowercase();
    let fault = if PLACEHOLDERS.iter().any(|placeholder| folded.contains(placeholder)) {
        "is a well-known placeholder"
    } else if secret.len() < MIN_BYTES {
        "is shorter than 32 bytes"
    } else if is_guessable(secret.as_bytes()) {
        "is too regular to be random"
    } else {
        return Ok(());
    };
    Err(format!("the secret {fault}; make one with `openssl rand -base64 48`"))
}

/// Few different bytes, a short pattern repeated, or a run such as `abcdef…` through most of it.
fn is_guessable(secret: &[u8]) -> bool {
    let distinct: BTreeSet<u8> = secret.iter().copied().collect();
    let repeats = (1..=secret.len() / 2)
        .any(|period| secret.iter().zip(&secret[period..]).all(|(a, b)| a == b));
    let runs = secret.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    distinct.len() < MIN_DISTINCT || repeats || runs * 2 > secret.len()
}

/// Reads a secret from a file, its trailing newline cut.
///
/// # Errors
/// Says why it cannot be used: unreadable, too long, not text, empty, or readable by others.
pub(super) fn read_file(path: &Path) -> Result<String, String> {
    let name = path.display();
    let found = std::fs::metadata(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    if !found.is_file() {
        return Err(format!("{name} is not a file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(format!(
                "{name} is open to others (mode {mode:04o}); make it private with `chmod 600`"
            ));
        }
    }
    if found.len() > MAX_FILE {
        return Err(format!("{name} is longer than 64 KiB"));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {name} as text: {error}"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let secret = line.strip_suffix('\r').unwrap_or(line);
    if secret.is_empty() {
        return Err(format!("{name} is empty"));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "tests fail by panicking")]

    use super::check_secret;

    #[test]
    fn weak_secrets_are_refused_without_being_shown() {
        let weak = [
            ("", "shorter than 32 bytes"),
            ("tiny", "shorter than 32 bytes"),
            ("your-secret-key-change-in-production", "well-known placeholder"),
            ("Your-Secret-Key-Change-In-Production", "well-known placeholder"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "too regular"),
            ("passwordpasswordpasswordpasswordpassword", "too regular"),
            ("abcabcabcabcabcabcabcabcabcabcabcabcabcd", "too regular"),
            ("abcdefghijklmnopqrstuvwxyz0123456789ABCD", "too regular"),
        ];
        for (secret, reason) in weak {
            let message = check_secret(secret).expect_err(secret);
            assert!(message.contains(reason), "{secret}: {message}");
            assert!(message.contains("openssl rand -base64 48"), "{message}");
            assert!(secret.is_empty() || !message.contains(secret), "{message}");
        }
    }

    #[test]
    fn random_secrets_of_every_usual_alphabet_are_accepted() {
        let good = [
            "f3a9c07b51e84d26b8d0e72a94c16f35",
            "Zk8vQe1Yt0pLw7uXc4sRj2Nn5BhMfGd3aO6iTyVx",
            "3q2+7wAAuP0c1Yt0pLw7uXc4sRj2Nn5BhMfGd3aO6iTyVxkQ==",
            "correct horse battery staple, and then some more",
        ];
        for secret in good {
            assert_eq!(check_secret(secret), Ok(()), "{secret}");
        }
    }
}
