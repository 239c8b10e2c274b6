//! Locks that end with the process that has them: what tells the dead from the living on one machine, containers or not.

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::Shared;
use super::directories::Keep;
use super::failure::failure;
use crate::storage::driver::Hold;
use crate::storage::error::Result;
use crate::storage::layout::StoragePath;

impl Shared {
    /// See [`crate::storage::driver::Driver::hold`].
    pub(super) fn hold(&self, path: &StoragePath) -> Result<Hold> {
        let path = path.as_str();
        let open = || match self.disk.open_for_writing(path) {
            Err(Errno::NOENT) => self.disk.create(path),
            other => other,
        };
        let opened = match self.directories.with_parent(&self.disk, path, Keep::UntilPowerCut, open) {
            // Somebody made it between the two tries.
            Err(Errno::EXIST) => self.disk.open_for_writing(path),
            other => other,
        };
        let file = opened.map_err(|errno| failure("lock", path, errno))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Hold::Mine(file)),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(Hold::Another),
            // Network filesystems may know no locks.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NOLCK) => Ok(Hold::Unknowable),
            Err(errno) => Err(failure("lock", path, errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::driver::{Driver, Hold};
    use crate::storage::layout::StoragePath;
    use crate::storage::{FilesystemConfig, driver};

    #[tokio::test]
    async fn a_lock_is_held_by_one_and_ends_with_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let config = FilesystemConfig { root_directory: directory.path().to_owned(), ..Default::default() };
        let [one, two] =
            [(); 2].map(|()| driver::filesystem::Filesystem::open(&config, driver::Access::ReadWrite).unwrap());
        let path = StoragePath::for_test("docker/registry/v2/gc/locks/x");
        let held = one.hold(&path).await.unwrap();
        assert!(matches!(held, Hold::Mine(_)));
        assert!(matches!(two.hold(&path).await.unwrap(), Hold::Another));
        drop(held);
        assert!(matches!(two.hold(&path).await.unwrap(), Hold::Mine(_)));
    }
}
