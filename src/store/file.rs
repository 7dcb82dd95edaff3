//! Files that nobody else may read, with the owner of what they stand beside.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Makes an empty file with mode 0600 unless it exists, and the directories it lies in with mode
/// 0700 where they are missing. What root makes belongs to the owner of the directory it is made
/// in, so that a command run as root leaves nothing that the gateway's own user cannot open.
///
/// # Errors
/// Those of the file system.
pub fn create_private(path: &Path) -> io::Result<()> {
    let directory = directory_of(path);
    create_directories(directory)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => give_to_owner_of(directory, &file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The directory something stands in; `.` for a bare name.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn create_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory_of(directory);
    create_directories(above)?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => give_to_owner_of(above, &File::open(directory)?),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Hands a file just made to the owner of `beside` (a directory, or a file such as the database).
/// Does nothing unless root made it and `beside` is not root's.
///
/// # Errors
/// Those of the file system.
pub fn give_to_owner_of(beside: &Path, made: &File) -> io::Result<()> {
    const ROOT: u32 = 0;
    let owner = beside.metadata()?;
    if made.metadata()?.uid() != ROOT || owner.uid() == ROOT {
        return Ok(());
    }
    fchown(made, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_private_file_is_readable_by_its_owner_alone_and_is_never_emptied() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data/deeper/file");
        create_private(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(path.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::write(&path, "kept").unwrap();
        create_private(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    }

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_its_directory() {
        const SOMEBODY: u32 = 12_345;
        let root = tempfile::tempdir().unwrap();
        if root.path().metadata().unwrap().uid() != 0 {
            return; // Only root can give files away.
        }
        std::os::unix::fs::chown(root.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        let path = root.path().join("data/file");
        create_private(&path).unwrap();
        for made in [&path, &root.path().join("data")] {
            let made = made.metadata().unwrap();
            assert_eq!((made.uid(), made.gid()), (SOMEBODY, SOMEBODY));
        }
    }
}
