//! Opening the root directory, with errors that tell an operator what to do.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::failure::refusal;
use crate::storage::error::Result;

/// What the root directory is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing is made or changed when opening, and the root need not be writable.
    Read,
    /// The root is made when it is missing and must be writable.
    ReadWrite,
}

/// The open directory `path`, fit for `access`.
pub(super) fn root(path: &Path, access: Access) -> Result<OwnedFd> {
    if access == Access::ReadWrite {
        make(path)?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| cannot("open", path, errno))?;
    if access == Access::ReadWrite {
        let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::accessat(&root, ".", wanted, AtFlags::EACCESS).map_err(|errno| cannot("write to", path, errno))?;
    }
    Ok(root)
}

/// Makes `path` and what is missing above it, durably.
fn make(path: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let mut above = Some(path);
    while let Some(directory) = above.filter(|directory| !directory.as_os_str().is_empty() && !directory.exists()) {
        missing.push(directory);
        above = directory.parent();
    }
    for directory in missing.into_iter().rev() {
        match std::fs::create_dir(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(refusal(
                    "make",
                    &path.display().to_string(),
                    format!("{error}; make the directory by hand, or set storage.filesystem.rootdirectory to another"),
                ));
            }
            _ => sync(directory.parent()),
        }
    }
    Ok(())
}

/// Makes a new name in `directory` durable where that is allowed; it may belong to somebody else.
fn sync(directory: Option<&Path>) {
    let directory = directory.filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

fn cannot(operation: &'static str, path: &Path, errno: Errno) -> crate::storage::error::Error {
    let user = rustix::process::geteuid().as_raw();
    let way_out = match errno {
        Errno::NOTDIR => "set storage.filesystem.rootdirectory to a directory".to_owned(),
        Errno::NOENT => "set storage.filesystem.rootdirectory to a directory that exists".to_owned(),
        Errno::ACCESS | Errno::PERM => format!("give user id {user} the right to it, for example by chown"),
        Errno::ROFS => "the disk is mounted read-only: mount it for writing".to_owned(),
        _ => "check the disk".to_owned(),
    };
    refusal(operation, &path.display().to_string(), format!("{}; {way_out}", std::io::Error::from(errno)))
}
