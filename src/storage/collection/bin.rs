//! The bin: what collection removed, kept aside so that it can be put back. Must not know when that is wanted.
//!
//! `bin/<epoch>/list` says what was removed and how to write it again, `keep` for how long it was promised to stay,
//! `<algorithm>/<shelf>/<hex>/data` is content, and below `repositories` lie links, only because moving them takes less than
//! removing. A bin without a list is what emptying left over.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{EpochId, Key, NotAKey};
use crate::oci::{Algorithm, Digest, MediaType, RepositoryName};
use crate::storage::driver::{Hold, Latency, ListPage, Space, WriteMode};
use crate::storage::layout::{
    RepositoryPaths, StoragePath, bin, bin_clock, bin_data, bin_link, bin_part, bins, blob_data, collector_lock,
};
use crate::storage::manifests::digest_of;
use crate::storage::{Error, LARGEST_LINK, Result, Store, found};

/// Largest list read, bytes: 50,000 keys of the longest names and types.
const LARGEST_LIST: u64 = 128 * 1024 * 1024;

/// Objects asked for at once.
const PAGE: usize = 50_000;

/// How long a bin stays of which a crash left no word about that.
const UNSAID: Duration = Duration::from_hours(24);

/// Something that was removed, and what is lost with it that its content does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// What.
    pub key: Key,
    /// Under which its content lies, if not under the digest that names it.
    pub content: Option<Digest>,
    /// As what a manifest was pushed, where that was written down.
    pub media_type: Option<MediaType>,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)?;
        if let Some(content) = &self.content {
            write!(f, " content={content}")?;
        }
        match &self.media_type {
            Some(media_type) => write!(f, " type={media_type}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Removed {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let mut words = text.split(' ');
        let key = words.next().unwrap_or_default().parse()?;
        let mut removed = Self { key, content: None, media_type: None };
        for word in words {
            match word.split_once('=') {
                Some(("content", digest)) => removed.content = Some(digest.parse().map_err(|_| NotAKey)?),
                Some(("type", media_type)) => removed.media_type = Some(media_type.parse().map_err(|_| NotAKey)?),
                _ => return Err(NotAKey),
            }
        }
        Ok(removed)
    }
}

/// The list of a bin, as it is written: much smaller than what it says.
#[derive(Debug, Default)]
pub struct BinList(String);

impl BinList {
    /// Adds `removed`.
    pub fn push(&mut self, removed: &Removed) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{removed}");
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn into_bytes(mut self) -> Bytes {
        // Says that nothing is missing.
        self.0.push_str("end\n");
        self.0.into()
    }
}

/// When a bin was begun, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BinTimes {
    /// By the store's clock.
    pub since: SystemTime,
    /// What was promised then.
    pub keep: Duration,
}

impl BinTimes {
    /// Until when it was promised to stay.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        self.since.checked_add(self.keep).unwrap_or(self.since)
    }
}

impl Store {
    /// Room for a bin; `None` where there cannot be one: a bucket would have to copy what is moved.
    pub async fn space_for_bin(&self) -> Result<Option<Space>> {
        match self.latency {
            Latency::Local => self.driver.space(&bins()).await,
            Latency::Remote => Ok(None),
        }
    }

    /// What has to be known of `key` to write it again.
    pub async fn describe(&self, key: &Key) -> Result<Removed> {
        let (content, media_type) = match key {
            Key::Revision(name, digest) => {
                let paths = RepositoryPaths(name);
                let media_type = self.driver.read(&paths.revision_media_type(digest), LARGEST_LINK).await;
                let media_type = readable(media_type)?.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok());
                (self.elsewhere(&paths.revision_link(digest), digest).await?, media_type)
            }
            Key::Link(name, digest) => (self.elsewhere(&RepositoryPaths(name).layer_link(digest), digest).await?, None),
            Key::Blob(_) => (None, None),
        };
        Ok(Removed { key: key.clone(), content, media_type })
    }

    /// The digest that the link holds if it is not `digest`, its name. Only distribution writes such links, and only below
    /// names of other algorithms than its own.
    async fn elsewhere(&self, link: &StoragePath, digest: &Digest) -> Result<Option<Digest>> {
        if digest.algorithm() == Algorithm::Sha256 {
            return Ok(None);
        }
        let target = readable(self.read_link(link).await)?.flatten();
        Ok(target.filter(|target| target != digest))
    }

    /// Begins the bin of `epoch`, durably: `removed` is about to be removed, and is to stay there for so long.
    ///
    /// # Errors
    /// `NoSpace`.
    pub async fn begin_bin(&self, epoch: EpochId, keep: Duration, removed: BinList) -> Result<()> {
        let id = epoch.to_string();
        let keep = (bin_part(&id, "keep"), Bytes::from(keep.as_secs().to_string()));
        self.driver.write_many(vec![keep, (bin_part(&id, "list"), removed.into_bytes())]).await
    }

    /// Says anew what is in the bin of `epoch`.
    pub async fn rewrite_bin(&self, epoch: EpochId, removed: BinList) -> Result<()> {
        self.driver.write(&bin_part(&epoch.to_string(), "list"), removed.into_bytes(), WriteMode::Overwrite).await
    }

    /// Every bin, also what is left of those that were emptied.
    pub async fn bins(&self) -> Result<Vec<EpochId>> {
        let listing = self.driver.list(&bins(), &ListPage::all()).await?;
        Ok(listing.entries.iter().filter_map(|entry| entry.name.parse().ok()).collect())
    }

    /// Since when and for how long the bin of `epoch` stays; `None` when there is none.
    pub async fn bin_times(&self, epoch: EpochId) -> Result<Option<BinTimes>> {
        let id = epoch.to_string();
        let Some(list) = found(self.driver.stat(&bin_part(&id, "list")).await)? else { return Ok(None) };
        let keep = found(self.driver.read(&bin_part(&id, "keep"), LARGEST_LINK).await)?;
        let seconds = keep.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
        Ok(Some(BinTimes { since: list.modified, keep: seconds.map_or(UNSAID, Duration::from_secs) }))
    }

    /// What was removed in `epoch` and not put back; `None` when there is no bin of it.
    ///
    /// # Errors
    /// `Damaged` when the list is not whole.
    pub async fn bin_list(&self, epoch: EpochId) -> Result<Option<Vec<Removed>>> {
        let path = bin_part(&epoch.to_string(), "list");
        let Some(content) = found(self.driver.read(&path, LARGEST_LIST).await)? else { return Ok(None) };
        let damaged = || Error::Damaged { path: path.to_string(), reason: "it is no list of what was removed".into() };
        let text =
            std::str::from_utf8(&content).ok().and_then(|text| text.strip_suffix("end\n")).ok_or_else(damaged)?;
        let removed: Result<Vec<Removed>, _> = text.lines().map(str::parse).collect();
        removed.map(Some).map_err(|_| damaged())
    }

    /// Takes content away into the bin of `epoch`; gives what cannot be moved there and stays where it is.
    pub async fn put_into_bin(&self, epoch: EpochId, content: &[Digest]) -> Result<Vec<Digest>> {
        let id = epoch.to_string();
        let moves: Vec<_> = content.iter().map(|digest| (blob_data(digest), bin_data(&id, digest))).collect();
        Ok(those_that_stay(content, &moves, &self.driver.put_aside(&moves).await?))
    }

    /// Takes links to blobs away, each from its repository, into the bin of `epoch`; gives those that stay.
    pub async fn put_links_into_bin(
        &self,
        epoch: EpochId,
        links: &[(RepositoryName, Digest)],
    ) -> Result<Vec<(RepositoryName, Digest)>> {
        let id = epoch.to_string();
        let place = |(name, digest): &(RepositoryName, Digest)| {
            (RepositoryPaths(name).layer_link(digest), bin_link(&id, name, digest))
        };
        let moves: Vec<_> = links.iter().map(place).collect();
        let stay = self.driver.put_aside(&moves).await;
        for link in links {
            self.layer_links.remove(link);
        }
        Ok(those_that_stay(links, &moves, &stay?))
    }

    /// Puts content back from the bin of `epoch`, where it counts as written now; gives what cannot be moved.
    pub async fn take_from_bin(&self, epoch: EpochId, content: &[Digest]) -> Result<Vec<Digest>> {
        let id = epoch.to_string();
        let moves: Vec<_> = content.iter().map(|digest| (bin_data(&id, digest), blob_data(digest))).collect();
        Ok(those_that_stay(content, &moves, &self.driver.move_many(&moves).await?))
    }

    /// The content in the bin of `epoch`, with its bytes.
    pub async fn content_in_bin(&self, epoch: EpochId) -> Result<Vec<(Digest, u64)>> {
        let directory = bin(&epoch.to_string());
        let mut content = Vec::new();
        let mut page = ListPage { after: None, limit: PAGE };
        loop {
            let tree = self.driver.tree(&directory, &page).await?;
            content.extend(tree.objects.iter().filter_map(|object| {
                let (algorithm, shelved) = object.path.below(&directory)?.strip_suffix("/data")?.split_once('/')?;
                let (_, hex) = shelved.split_once('/')?;
                Some((digest_of(algorithm.parse().ok()?, hex)?, object.stat.size))
            }));
            page.after = tree.next;
            if page.after.is_none() {
                return Ok(content);
            }
        }
    }

    /// Removes content from the bin of `epoch` for good.
    pub async fn drop_from_bin(&self, epoch: EpochId, content: &[Digest]) -> Result<()> {
        let id = epoch.to_string();
        self.driver.delete_many(&content.iter().map(|digest| bin_data(&id, digest)).collect::<Vec<_>>()).await
    }

    /// Removes the bin of `epoch` for good.
    pub async fn empty_bin(&self, epoch: EpochId) -> Result<()> {
        let id = epoch.to_string();
        // Nobody must take half of it for all.
        self.driver.delete(&bin_part(&id, "list")).await?;
        self.driver.delete_prefix(&bin(&id)).await
    }

    /// Takes the lock of those who put back or empty.
    pub async fn hold_bins(&self) -> Result<Hold> {
        self.driver.hold(&collector_lock("bin")).await
    }

    /// The time by the store's own clock.
    pub async fn time_for_bins(&self) -> Result<SystemTime> {
        let clock = bin_clock();
        self.driver.write(&clock, Bytes::new(), WriteMode::Overwrite).await?;
        Ok(self.driver.stat(&clock).await?.modified)
    }
}

/// Those of `things` whose `moves` are among `stay`, which is in the order of the moves.
fn those_that_stay<T: Clone>(things: &[T], moves: &[(StoragePath, StoragePath)], stay: &[StoragePath]) -> Vec<T> {
    let mut stay = stay.iter().peekable();
    let stays = moves.iter().map(|(from, _)| stay.next_if(|path| *path == from).is_some());
    things.iter().zip(stays).filter(|(_, stays)| *stays).map(|(thing, _)| thing.clone()).collect()
}

/// What was read, if there is anything to read: damage is no reason to keep what is to be removed.
fn readable<T>(read: Result<T>) -> Result<Option<T>> {
    match found(read) {
        Err(Error::Damaged { .. } | Error::TooLarge { .. }) => Ok(None),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Hasher, RepositoryName};

    #[test]
    fn what_was_removed_is_read_as_it_is_written() {
        let [long, short] = [Algorithm::Sha512, Algorithm::Sha256].map(|algorithm| Hasher::digest(algorithm, b"x"));
        let name: RepositoryName = "a/b-c".parse().unwrap();
        let key = Key::Revision(name.clone(), long);
        let whole = Removed { key, content: Some(short), media_type: Some(MediaType::OCI_INDEX) };
        let link = Removed { key: Key::Link(name, long), content: Some(short), media_type: None };
        let blob = Removed { key: Key::Blob(short), content: None, media_type: None };
        for removed in [whole, link, blob] {
            assert_eq!(removed.to_string().parse(), Ok(removed));
        }
        for text in ["", "blob:", &format!("blob:{short} content="), &format!("blob:{short} x=y")] {
            assert_eq!(text.parse::<Removed>(), Err(NotAKey), "{text}");
        }
    }
}
