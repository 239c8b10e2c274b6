//! Small objects: written beside their place, synced, moved into place, and the move synced.
//!
//! The order is that of a power cut: content durable before it is visible, visible durable before the answer.

use bytes::Bytes;
use rustix::io::Errno;
use uuid::Uuid;

use super::Shared;
use super::directories::{Keep, ToSync};
use super::disk::Replace;
use super::failure::{failure, refusal};
use crate::storage::driver::WriteMode;
use crate::storage::error::{Error, Result};
use crate::storage::layout::StoragePath;

/// End of the names of files that are being written.
const TEMPORARY: &str = ".tmp";

/// How often a file is written against others who empty its directory meanwhile.
const ATTEMPTS: usize = 100;

impl Shared {
    /// Writes `content` to `path` as [`crate::storage::driver::Driver::write`] promises.
    pub(super) fn write(&self, path: &StoragePath, content: &Bytes, mode: WriteMode) -> Result<()> {
        let replace = match mode {
            WriteMode::Overwrite => Replace::Allowed,
            // Most losers are told before they have written anything; the rename decides among the others.
            WriteMode::CreateOnly if self.disk.stat(path.as_str()).is_ok() => {
                return Err(Error::AlreadyExists { path: path.to_string() });
            }
            WriteMode::CreateOnly => Replace::Refused,
        };
        let temporary = self.write_temporary(path, content.clone())?;
        self.put_in_place(temporary, path, content, replace)?;
        self.make_names_durable([path.as_str()])
    }

    /// Writes all `objects` as [`crate::storage::driver::Driver::write_many`] promises. Directories that several of them
    /// share are synced once.
    pub(super) fn write_many(&self, objects: Vec<(StoragePath, Bytes)>) -> Result<()> {
        let mut written = Vec::with_capacity(objects.len());
        for (path, content) in objects {
            match self.write_temporary(&path, content.clone()) {
                Ok(temporary) => written.push((temporary, path, content)),
                Err(error) => {
                    for (temporary, ..) in &written {
                        let _ = self.disk.unlink(temporary.as_str());
                    }
                    return Err(error);
                }
            }
        }
        let mut result = Ok(());
        for (temporary, path, content) in &written {
            if result.is_ok() {
                result = self.put_in_place(temporary.clone(), path, content, Replace::Allowed);
            } else {
                let _ = self.disk.unlink(temporary.as_str());
            }
        }
        result?;
        self.make_names_durable(written.iter().map(|(_, path, _)| path.as_str()))
    }

    /// Writes `content` durably to a new file beside `path` and gives that file's path. Leaves none behind after an error.
    fn write_temporary(&self, path: &StoragePath, content: Bytes) -> Result<StoragePath> {
        let (place, path) = (path.temporary_beside(), path.as_str());
        let temporary = place.as_str();
        let file = self
            .directories
            .with_parent(&self.disk, path, Keep::Always, || self.disk.create(temporary))
            .map_err(|errno| write_failure("create", path, errno))?;
        let written = self
            .disk
            .write(temporary, &file, 0, &[content])
            .and_then(|()| self.disk.sync_file(temporary, &file))
            .map_err(|errno| write_failure("write", path, errno));
        if written.is_err() {
            let _ = self.disk.unlink(temporary);
        }
        written.map(|()| place)
    }

    /// Moves the file `temporary`, which holds `content`, to `path`; removes it when that fails.
    fn put_in_place(
        &self,
        mut temporary: StoragePath,
        path: &StoragePath,
        content: &Bytes,
        replace: Replace,
    ) -> Result<()> {
        let mut attempts = 1;
        loop {
            match self.disk.rename(temporary.as_str(), path.as_str(), replace) {
                Ok(()) => return Ok(()),
                // Somebody emptied the directory and took the file along.
                Err(Errno::NOENT) if attempts < ATTEMPTS => temporary = self.write_temporary(path, content.clone())?,
                Err(errno) => {
                    let _ = self.disk.unlink(temporary.as_str());
                    return Err(write_failure("rename", path.as_str(), errno));
                }
            }
            attempts += 1;
        }
    }

    /// Makes the names `paths` durable, and with them the directories that lead to them.
    pub(super) fn make_names_durable<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut to_sync = ToSync::new();
        for path in paths {
            self.directories.collect(path, &mut to_sync);
        }
        self.directories
            .sync(&self.disk, to_sync)
            .map_err(|(directory, errno)| write_failure("sync directory", &directory, errno))
    }
}

/// The error for a write: what would mean "not found" to a reader means to a writer that somebody stands in the way.
pub(super) fn write_failure(operation: &'static str, path: &str, errno: Errno) -> Error {
    match errno {
        Errno::NOTDIR => {
            refusal(operation, path, "a file lies where a directory has to be; move it out of the storage".to_owned())
        }
        Errno::NOENT => refusal(
            operation,
            path,
            "its directory cannot be made; was the root directory removed or its disk unmounted? Restart once it is back"
                .to_owned(),
        ),
        errno => failure(operation, path, errno),
    }
}

/// Whether a file of this name is one that is being written, here or by distribution: `<name>.<uuid>.tmp`.
pub(super) fn is_temporary(name: &str) -> bool {
    name.strip_suffix(TEMPORARY)
        .and_then(|name| name.rsplit_once('.'))
        .is_some_and(|(_, unique)| Uuid::try_parse(unique).is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_temporary;

    #[test]
    fn only_names_with_a_uuid_and_the_suffix_are_temporary() {
        assert!(is_temporary("link.0b6e9bd2-3c0f-4d5f-9c9a-6d3f6a4a6d55.tmp"));
        assert!(!is_temporary("link.tmp"));
        assert!(!is_temporary("0b6e9bd2-3c0f-4d5f-9c9a-6d3f6a4a6d55.tmp"));
        assert!(!is_temporary("link.0b6e9bd2-3c0f-4d5f-9c9a-6d3f6a4a6d55"));
    }
}
