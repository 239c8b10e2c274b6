//! The seam between the registry and where bytes lie: a small object-safe trait that a disk and a bucket can both keep.
//!
//! Paths name objects; directories exist only as common prefixes of objects. Whatever a method returns `Ok` for is durable
//! unless its contract says otherwise. Every driver passes the one contract suite in `contract.rs`.

use std::fmt;
use std::fs::File;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::config::{Config, Driver as DriverConfig};
use super::error::Result;
use super::layout::StoragePath;

mod bucket;
#[cfg(test)]
pub(in crate::storage) mod contract;
#[cfg(test)]
pub(crate) mod faulty;
pub mod filesystem;
mod listing;
mod many;
pub mod memory;
mod middleware;
#[cfg(test)]
mod model;
mod object;
pub mod observed;
pub mod oss;
pub mod s3;
mod suspended;
mod tree;

pub use filesystem::Access;
pub use listing::{Entries, Entry, EntryKind, ListPage, Listing, More};
pub use many::{ReadLimits, Share};
pub use middleware::{CloudFront, IpRanges, Middleware, Rewrite, ServedFromStore};
pub use object::{Content, Object, ReadRange, Reading};
pub use tree::{Tree, TreeEntry};

/// Opens the driver that `config` names, fit for `access`.
///
/// # Errors
/// `Backend` whose message says which place cannot be used and what to do about it.
pub async fn open(config: &Config, access: Access) -> Result<Arc<dyn Driver>> {
    let driver: Arc<dyn Driver> = match &config.driver {
        DriverConfig::Filesystem(config) => Arc::new(filesystem::Filesystem::open(config, access)?),
        DriverConfig::Memory => Arc::new(memory::Memory::new()),
        DriverConfig::S3(config) => s3::open(config).await?,
        DriverConfig::Oss(config) => oss::open(config).await?,
    };
    middleware::apply(driver, &config.middleware)
}

/// A place that keeps objects under paths.
///
/// All methods may be called from any number of tasks at once. A dropped future leaves either the state before or the
/// state after the call, never something in between that is visible at a path.
#[async_trait]
pub trait Driver: Send + Sync + fmt::Debug + 'static {
    /// Name as in `config.yml`: `filesystem`, `inmemory`, `s3`, `oss`.
    fn name(&self) -> &'static str;

    /// Size and last modification of the object at `path`.
    ///
    /// # Errors
    /// `NotFound` when no object lies there; a directory is not an object.
    async fn stat(&self, path: &StoragePath) -> Result<Stat>;

    /// The whole object at `path`, read atomically: never a mixture of two writes.
    ///
    /// # Errors
    /// `NotFound`; `TooLarge` when the object has more than `limit` bytes, without reading it.
    async fn read(&self, path: &StoragePath, limit: u64) -> Result<Bytes>;

    /// A handle for reading the object at `path` piecewise; `reading` says what will be asked of it first. It goes on giving the same bytes when the path is overwritten
    /// or deleted meanwhile, or fails; it never gives others.
    ///
    /// # Errors
    /// `NotFound`.
    async fn open(&self, path: &StoragePath, reading: Reading) -> Result<Object>;

    /// Writes a small object atomically and durably: afterwards, also after a crash, readers see all of it or what was
    /// there before.
    ///
    /// # Errors
    /// `AlreadyExists` with [`WriteMode::CreateOnly`] when something lies there, of which exactly one of several
    /// concurrent writers is spared; `NoSpace`.
    async fn write(&self, path: &StoragePath, content: Bytes, mode: WriteMode) -> Result<()>;

    /// Overwrites several small objects, each atomically, and returns when all are durable. No order among them is
    /// promised; after an error any subset may have been written.
    async fn write_many(&self, objects: Vec<(StoragePath, Bytes)>) -> Result<()> {
        for (path, content) in objects {
            self.write(&path, content, WriteMode::Overwrite).await?;
        }
        Ok(())
    }

    /// Removes the object at `path`; directories that become empty may go too. A missing object is not an error.
    async fn delete(&self, path: &StoragePath) -> Result<()> {
        self.delete_many(std::slice::from_ref(path)).await
    }

    /// Removes all `paths`. Missing ones are not errors; after an error any subset may be gone.
    async fn delete_many(&self, paths: &[StoragePath]) -> Result<()>;

    /// [`Driver::delete_many`] for a caller that must know when it is over: each request is sent once at most. After `Ok` none
    /// is left that could take effect later; after an error one may be, and repeating is up to the caller. A store across a
    /// network is told that the request was made at `issued`, and refuses it when that is too long ago.
    async fn delete_once(&self, paths: &[StoragePath], issued: SystemTime) -> Result<()>;

    /// Moves objects, each from its first path to its second, where it replaces what lies there and counts as written now.
    /// Missing ones are not errors. Durable on return; after an error any subset may have been moved.
    ///
    /// Gives the first paths of those that stay where they were, because this store cannot move them there: to another file
    /// system, without room, or, for a driver that cannot move at all, any of them.
    async fn move_many(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        Ok(moves.iter().map(|(from, _)| from.clone()).collect())
    }

    /// [`Driver::move_many`] for objects beside which nothing lies, neither where they are nor where they go, and whose age does
    /// not matter any more. What a writer keeps beside one for a moment may be taken along: it writes that again.
    async fn put_aside(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        self.move_many(moves).await
    }

    /// How much room there is for objects below the directory `at`, where that can be known.
    async fn space(&self, _at: &StoragePath) -> Result<Option<Space>> {
        Ok(None)
    }

    /// Takes the lock that `path` names. It lasts until the value is dropped or the process ends, however it ends.
    async fn hold(&self, _path: &StoragePath) -> Result<Hold> {
        Ok(Hold::Unknowable)
    }

    /// Removes every object below the directory `prefix` (`prefix/…`), not one that merely shares the string.
    /// Objects written below it meanwhile may or may not survive.
    async fn delete_prefix(&self, prefix: &StoragePath) -> Result<()>;

    /// One page of the names directly below the directory `prefix`, in byte order: objects and sub-directories that hold at
    /// least one object. A missing directory is an empty page. On a disk an emptied directory may be listed until it is
    /// removed.
    async fn list(&self, prefix: &StoragePath, page: &ListPage) -> Result<Listing>;

    /// One page of the objects anywhere below the directory `prefix`, at most `page.limit` of them. `page.after` is the
    /// `next` of the page before. Objects that come or go meanwhile may or may not be on it.
    async fn tree(&self, prefix: &StoragePath, page: &ListPage) -> Result<Tree> {
        tree::walk(self, prefix, page).await
    }

    /// One page of the names of the directories directly below `prefix`, in byte order and asked anew, and which page is next.
    async fn directories(&self, prefix: &StoragePath, page: &ListPage) -> Result<(Vec<String>, Option<ListPage>)> {
        many::directories(self, prefix, page).await
    }

    /// Size and time of the object named `leaf` in those of the directories `names` directly below `prefix` that have one, in
    /// their order.
    async fn leaves(&self, prefix: &StoragePath, leaf: &str, names: Vec<String>) -> Result<Vec<(String, Stat)>> {
        many::leaves(self, prefix, leaf, names).await
    }

    /// [`Driver::read`] of `paths` in their order: of the first at least, and of those after it until `limits.together` bytes
    /// are read. Worth it where a call costs more than a read.
    async fn read_many(&self, paths: Vec<StoragePath>, limits: ReadLimits) -> Result<Vec<Result<Bytes>>> {
        many::read_many(self, paths, limits).await
    }

    /// An address from which a client may fetch the object itself for a limited time, if the driver has such.
    async fn presigned_url(&self, path: &StoragePath, method: PresignMethod) -> Result<Option<String>>;

    /// Opens a new staged write. `staging` is where a driver that needs a place puts the bytes, at the path itself or below
    /// it; nothing is visible to [`Driver::read`] elsewhere before [`StagedWrite::publish`].
    ///
    /// # Errors
    /// `NoSpace`; `AlreadyExists` when `staging` is in use, from a driver that has one place for it. One that tells staged
    /// writes apart by their state alone begins another.
    async fn stage(&self, staging: &StoragePath) -> Result<Box<dyn StagedWrite>>;

    /// Opens a staged write whose bytes are known to become the object at `target`: a driver can put them where they will
    /// stay. [`StagedWrite::publish`] must name `target`; it cannot be suspended, and dropping it forgets its bytes.
    ///
    /// `length` is how many bytes are announced, if that is known: a driver to which writing is dear leaves an object of
    /// that length as it is, because what is published at one path is always the same.
    ///
    /// # Errors
    /// `NoSpace`.
    async fn create(&self, target: &StoragePath, length: Option<u64>) -> Result<Box<dyn StagedWrite>>;

    /// Takes up a staged write that [`StagedWrite::suspend`] laid down, in this process or another. An empty `state` is that
    /// of a client that was never told of one: a driver that has one place for it takes up whatever lies at `staging`, for
    /// others nothing does.
    ///
    /// # Errors
    /// `NotFound` when it was published, aborted or purged, which a bucket tells only when the bytes are needed; `Busy`
    /// while another request holds it in this process, or in any if the driver can know; `StaleState` when `state` is none
    /// that this driver issued for `staging`.
    async fn resume(&self, staging: &StoragePath, state: &[u8]) -> Result<Box<dyn StagedWrite>>;

    /// Bytes that a suspended or abandoned staged write holds, without taking it up.
    ///
    /// # Errors
    /// `NotFound`, `StaleState` as for [`Driver::resume`].
    async fn staged_length(&self, staging: &StoragePath, state: &[u8]) -> Result<u64>;

    /// Removes a staged write whoever holds it. A missing one is not an error.
    async fn discard_staged(&self, staging: &StoragePath, state: &[u8]) -> Result<()>;

    /// Gives up what writes that never ended, and were begun before `before` by the store's clock, left in the store where
    /// no listing shows it: the open multipart uploads of a bucket. Returns how many there were; with
    /// [`Unfinished::Count`] they stay.
    async fn unfinished_writes(&self, _before: SystemTime, _what: Unfinished) -> Result<u64> {
        Ok(0)
    }

    /// Removes what is no object below the directory `prefix`: directories that hold nothing, and files of writes that never
    /// ended and were last written before `before`. Returns how many files there were. Of directories with very many
    /// sub-directories it looks at `share` only. A bucket has neither.
    async fn tidy(&self, _prefix: &StoragePath, _before: SystemTime, _share: Share) -> Result<u64> {
        Ok(0)
    }

    /// How far away the store is: whether it pays to ask it several things at once.
    fn latency(&self) -> Latency {
        Latency::Local
    }

    /// Whether [`Driver::address_for`] may ever give an address, so that nobody asks in vain.
    fn addresses(&self) -> Addresses {
        match self.latency() {
            Latency::Local => Addresses::Never,
            Latency::Remote => Addresses::Possible,
        }
    }

    /// Where `client` may fetch the object itself: [`Driver::presigned_url`], unless a middleware knows better. `client` is
    /// `None` when nobody knows its address.
    async fn address_for(
        &self,
        path: &StoragePath,
        method: PresignMethod,
        _client: Option<IpAddr>,
    ) -> Result<Option<String>> {
        self.presigned_url(path, method).await
    }

    /// The object's name in the store, root directory included: what a service that reads the same store calls it. Without
    /// a leading slash.
    fn object_key(&self, path: &StoragePath) -> String {
        path.to_string()
    }

    /// What the store was seen to promise, tried out by writing below `docker/registry/v2/gc/probe` and removing it again.
    async fn capabilities(&self) -> Result<Capabilities> {
        Ok(Capabilities { create_only: Kept::Yes, read_after_write: Kept::Yes, list_after_write: Kept::Yes })
    }
}

/// Bytes on their way to a path: appended in order, then published or aborted, possibly over several requests.
///
/// Dropping it keeps the bytes appended so far, as far as the driver wrote them, for [`Driver::resume`].
#[async_trait]
pub trait StagedWrite: Send + fmt::Debug {
    /// Bytes appended so far.
    fn length(&self) -> u64;

    /// Appends `chunks` in order. After an error the length is unknown and the staged write must be taken up again.
    ///
    /// # Errors
    /// `NoSpace`.
    async fn append(&mut self, chunks: Vec<Bytes>) -> Result<()>;

    /// The bytes in `range` as appended, for a caller that has to look at them again.
    async fn read_back(&mut self, range: Range<u64>) -> Result<Bytes>;

    /// Makes what was appended durable and returns the few bytes from which [`Driver::resume`] goes on.
    async fn suspend(self: Box<Self>) -> Result<Vec<u8>>;

    /// Makes the content durable, then visible at `path`, durably; replaces what lies there. On success the staging place
    /// is gone. Readers of `path` see all of it or what was there before.
    async fn publish(self: Box<Self>, path: &StoragePath) -> Result<()>;

    /// Removes what was appended.
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Last modification by the store's own clock.
    pub modified: SystemTime,
}

/// Room in a store, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What may still be written.
    pub available: u64,
    /// What there is in all.
    pub total: u64,
}

/// How far away a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// In this machine: what is asked ahead of need is work for nothing.
    Local,
    /// Across a network: waiting costs more than asking.
    Remote,
}

/// Whether a driver can send clients to where the bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// It cannot.
    Never,
    /// It may give an address for an object.
    Possible,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub enum Hold {
    /// It is the caller's, for as long as the file is open.
    Mine(File),
    /// A process that lives has it.
    Another,
    /// The store does not know of the end of processes.
    Unknowable,
}

/// What to do about unfinished writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// Count them.
    Count,
    /// Remove them.
    Remove,
}

/// What a store keeps of what its drivers hope for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Of several writers with [`WriteMode::CreateOnly`] exactly one succeeds.
    pub create_only: Kept,
    /// What was written is read by the next request.
    pub read_after_write: Kept,
    /// What was written is in the next listing, and what was removed is in none.
    pub list_after_write: Kept,
}

/// Whether a store keeps a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It was seen to.
    Yes,
    /// It was seen not to.
    No,
}

/// Whether a write may replace what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Replace.
    Overwrite,
    /// Refuse with `AlreadyExists`.
    CreateOnly,
}

/// Which method a presigned address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresignMethod {
    /// GET.
    Get,
    /// HEAD.
    Head,
}
