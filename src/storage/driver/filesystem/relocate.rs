//! Moving objects to other places of the same file system, and how much room it has.

use std::collections::BTreeSet;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::Shared;
use super::directories::Keep;
use super::disk::{Replace, is_file, parent};
use super::failure::failure;
use super::list::raw_names;
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
        self.move_by(moves, |from, to| Ok((self.move_one(from, to)?, from, to)))
    }

    /// See [`crate::storage::driver::Driver::put_aside`]. A directory that is moved whole has not to be removed, which would
    /// set blocks free.
    pub(super) fn put_aside(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        self.move_by(moves, |from, to| match self.move_with_directory(from, to)? {
            Moved::Stays => Ok((self.move_one(from, to)?, from, to)),
            ended => Ok((ended, parent(from), parent(to))),
        })
    }

    /// Does `moves` one after the other, because the kernel does. `one` gives what it moved from where to where.
    fn move_by<'p>(
        &self,
        moves: &'p [(StoragePath, StoragePath)],
        one: impl Fn(&'p str, &'p str) -> Result<(Moved, &'p str, &'p str)>,
    ) -> Result<Vec<StoragePath>> {
        let (mut stay, mut arrived) = (Vec::new(), Vec::new());
        let mut left = BTreeSet::new();
        for (from, to) in moves {
            match one(from.as_str(), to.as_str())? {
                (Moved::Yes, from, to) => {
                    arrived.push(to);
                    left.insert(parent(from));
                }
                (Moved::Missing, ..) => {}
                (Moved::Stays, ..) => stay.push(from.clone()),
            }
        }
        // The new names first: a file whose old name alone became durable would be gone after a power cut.
        self.make_names_durable(arrived)?;
        self.settle_deletion(left)?;
        Ok(stay)
    }

    /// Moves the directory of the file `from`, if nothing else is in it and nothing lies where it goes.
    fn move_with_directory(&self, from: &str, to: &str) -> Result<Moved> {
        let (from, to, leaf) = (parent(from), parent(to), from.rsplit('/').next().unwrap_or_default());
        let (mut found, mut others) = (false, false);
        // One that leads elsewhere by a symbolic link was put there by a person.
        let looked = self.disk.open_own_directory(from).and_then(|directory| {
            raw_names(directory, |name, kind| match (name.to_bytes() == leaf.as_bytes(), kind) {
                (true, FileType::RegularFile) => found = true,
                _ => others = true,
            })
        });
        match looked {
            Ok(()) if others => return Ok(Moved::Stays),
            Ok(()) if found => {}
            Ok(()) | Err(Errno::NOENT | Errno::NAMETOOLONG) => return Ok(Moved::Missing),
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Moved::Stays),
            Err(errno) => return Err(failure("list", from, errno)),
        }
        let renamed =
            self.directories.with_parent(&self.disk, to, Keep::Always, || self.disk.rename(from, to, Replace::Allowed));
        match renamed {
            Ok(()) => Ok(Moved::Yes),
            Err(Errno::NOENT) if matches!(self.disk.stat(from), Err(Errno::NOENT)) => Ok(Moved::Missing),
            // What prevents it may not prevent that the file alone is moved, which tells if it does.
            Err(_) => Ok(Moved::Stays),
        }
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
