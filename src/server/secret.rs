//! The master secret: the configuration's, or one made once and kept beside the data.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::SecretString;

use crate::clock::Entropy;
use crate::config::Config;
use crate::store::file::give_to_owner_of;

/// Its name in the data directory.
pub(super) const FILE: &str = "secret";
/// Longest file that is read.
const LONGEST: u64 = 4096;

/// Reads the secret, or makes it on the first start (mode 0600).
///
/// # Errors
/// Those of the file system; `InvalidData` for a file that is too short to be a secret.
pub(super) fn load_or_make(config: &Config, entropy: &Entropy) -> io::Result<SecretString> {
    if let Some(secret) = &config.secret {
        return Ok(secret.clone());
    }
    fs::create_dir_all(&config.data)?;
    let path = config.data.join(FILE);
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    let secret = STANDARD_NO_PAD.encode(entropy.bytes::<48>());
    // Written aside and linked into place, so that two starting at once agree on one secret and
    // nobody reads half of one.
    let aside = config.data.join(format!(".{FILE}-{}", entropy.uuid()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    give_to_owner_of(&config.data, &file)?;
    let linked = fs::hard_link(&aside, &path);
    fs::remove_file(&aside)?;
    match linked {
        Ok(()) => Ok(secret.into()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(&path)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        }
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<Option<SecretString>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.len() < 32 {
        let message = format!("{} does not hold a secret of 32 bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Some(secret.into()))
}
