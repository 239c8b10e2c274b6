//! Moving objects to other places of the same file system, and how much room it has.

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::Shared;
use super::directories::Keep;
use super::disk::{Replace, is_file, parent};
use super::failure::failure;
use super::write::write_failure;
use crate::storage::driver::Space;
use crate::storage::error::Result;
use crate::storage::layout::StoragePath;

/// How the attempt to move one object ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    Yes,
    /// Nothing lies there.
    Missing,
    /// It cannot be moved there.
    Stays,
}

impl Shared {
    /// See [`crate::storage::driver::Driver::move_many`].
    pub(super) fn move_many(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        let (mut stay, mut arrived) = (Vec::new(), Vec::new());
        let mut left = BTreeSet::new();
        for (from, to) in moves {
            match self.move_one(from.as_str(), to.as_str())? {
                Moved::Yes => {
                    arrived.push(to.as_str());
                    left.insert(parent(from.as_str()));
                }
                Moved::Missing => {}
                Moved::Stays => stay.push(from.clone()),
            }
        }
        // The new names first: a file whose old name alone became durable would be gone after a power cut.
        self.make_names_durable(arrived)?;
        self.settle_deletion(left)?;
        Ok(stay)
    }

    /// Moves the file alone: somebody may be writing another beside it.
    fn move_one(&self, from: &str, to: &str) -> Result<Moved> {
        match self.disk.stat(from) {
            Ok(stat) if is_file(&stat) => {}
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => return Ok(Moved::Missing),
            Err(errno) => return Err(failure("stat", from, errno)),
        }
        // Before the move, so that it never lies at its new place with its old age.
        let renamed = self.disk.touch(from).and_then(|()| {
            self.directories.with_parent(&self.disk, to, Keep::Always, || self.disk.rename(from, to, Replace::Allowed))
        });
        match renamed {
            Ok(()) => Ok(Moved::Yes),
            Err(Errno::XDEV | Errno::NOSPC | Errno::DQUOT) => Ok(Moved::Stays),
            // Somebody removed it meanwhile, or its new directory cannot be made.
            Err(Errno::NOENT) if matches!(self.disk.stat(from), Err(Errno::NOENT)) => Ok(Moved::Missing),
            Err(errno) => Err(write_failure("move", to, errno)),
        }
    }

    /// See [`crate::storage::driver::Driver::space`].
    pub(super) fn space(&self, at: &StoragePath) -> Result<Option<Space>> {
        let mut directory = at.as_str();
        loop {
            match self.disk.space(directory) {
                // Some network file systems do not tell.
                Ok((available, total)) => return Ok((total > 0).then_some(Space { available, total })),
                // It would be made where the one above it is.
                Err(Errno::NOENT) if !directory.is_empty() => directory = parent(directory),
                Err(errno) => return Err(failure("look at", directory, errno)),
            }
        }
    }
}
