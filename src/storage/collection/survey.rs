//! Everything that is stored, page by page: what marking looks at. Must not know what is needed and what is not.
//!
//! A disk is looked at directory by directory, a bucket by listings of everything below a prefix. Errors are errors: what
//! could not be listed is never taken for empty.

use std::time::SystemTime;

use bytes::Bytes;

use super::{Fingerprints, Key, fingerprint};
use crate::oci::{Algorithm, Digest, RepositoryName, Tag};
use crate::storage::driver::{EntryKind, Latency, ListPage, ReadLimits, Stat, Tree};
use crate::storage::layout::{RepositoryPaths, StoragePath, all_blobs, blob_data, blobs};
use crate::storage::manifests::digest_of;
use crate::storage::{Error, LARGEST_LINK, Result, Store, found, target_of_link};

/// Objects asked for at once.
const PAGE: usize = 50_000;

/// Bytes of a link to a sha256 digest, which every link holds that is not named after another algorithm.
const SHA256_LINK: u64 = 71;

/// Something that lies under a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What names it.
    pub digest: Digest,
    /// Its size, bytes: of a link that of the link file.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: SystemTime,
}

impl Found {
    /// Whether a link of this name and size may lead to a digest other than its name.
    #[must_use]
    pub fn may_lead_elsewhere(&self) -> bool {
        self.digest.algorithm() != Algorithm::Sha256 && self.size == SHA256_LINK
    }
}

/// One page of a survey.
#[derive(Debug, Clone, Default)]
pub struct FoundPage {
    /// What was found.
    pub found: Vec<Found>,
    /// Where the next page begins, when there is one.
    pub next: Option<Cursor>,
}

/// One page of links.
#[derive(Debug, Clone, Default)]
pub struct LinkPage {
    /// Links to what is needed, at which nobody looked.
    pub needed: Vec<Digest>,
    /// The others.
    pub found: Vec<Found>,
    /// Where the next page begins, when there is one.
    pub next: Option<Cursor>,
}

/// A place in a survey; means something to the same survey only.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    algorithm: usize,
    after: Option<String>,
}

/// The manifests and tags of one repository.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Its manifests.
    pub revisions: Vec<Found>,
}

/// A part of all content that can be surveyed beside the others.
#[derive(Debug, Clone)]
pub struct Shelf(StoragePath, Scope);

#[derive(Debug, Clone, Copy)]
enum Scope {
    Everything,
    Algorithm(Algorithm),
}

impl Store {
    /// The manifests and tags of the repository.
    pub async fn survey_manifests(&self, name: &RepositoryName) -> Result<Manifests> {
        match self.latency {
            Latency::Local => self.manifests_by_directory(name).await,
            Latency::Remote => self.manifests_by_object(name).await,
        }
    }

    async fn manifests_by_directory(&self, name: &RepositoryName) -> Result<Manifests> {
        let paths = RepositoryPaths(name);
        let tags = self.driver.list(&paths.tags(), &ListPage::all()).await?;
        let directories = tags.entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
        let mut manifests = Manifests::default();
        for entry in directories {
            manifests.tags.push(entry.name.parse().map_err(|_| foreign(&paths.tags(), &entry.name))?);
        }
        self.refuse_unknown_algorithms(&paths.all_revisions()).await?;
        for algorithm in Algorithm::ALL {
            let directory = paths.revisions(algorithm);
            let mut page = ListPage { after: None, limit: PAGE };
            loop {
                let (names, next) = self.driver.directories(&directory, &page).await?;
                manifests.revisions.extend(self.look_at(&directory, algorithm, "link", names).await?);
                match next {
                    Some(next) => page = next,
                    None => break,
                }
            }
        }
        Ok(manifests)
    }

    /// What lies under `leaf` in those directories of `directory` that are named `names`, after the rest of digests.
    async fn look_at(
        &self,
        directory: &StoragePath,
        algorithm: Algorithm,
        leaf: &str,
        names: Vec<String>,
    ) -> Result<Vec<Found>> {
        let leaves = self.driver.leaves(directory, leaf, names).await?;
        let mut found = Vec::with_capacity(leaves.len());
        for (name, Stat { size, modified }) in leaves {
            let digest = digest_of(algorithm, &name).ok_or_else(|| foreign(directory, &name))?;
            found.push(Found { digest, size, modified });
        }
        Ok(found)
    }

    async fn manifests_by_object(&self, name: &RepositoryName) -> Result<Manifests> {
        let paths = RepositoryPaths(name);
        let directory = paths.manifests();
        let mut manifests = Manifests::default();
        let mut page = ListPage { after: None, limit: PAGE };
        loop {
            let tree = self.driver.tree(&directory, &page).await?;
            for object in &tree.objects {
                let below = object.path.below(&directory).unwrap_or_default();
                match below.split('/').collect::<Vec<_>>().as_slice() {
                    ["revisions", algorithm, hex, "link"] => {
                        let digest = parsed(&directory, algorithm, hex)?;
                        let (size, modified) = (object.stat.size, object.stat.modified);
                        manifests.revisions.push(Found { digest, size, modified });
                    }
                    ["tags", tag, ..] if manifests.tags.last().is_none_or(|last| last.as_str() != *tag) => {
                        manifests.tags.push(tag.parse().map_err(|_| foreign(&directory, tag))?);
                    }
                    _ => {}
                }
            }
            page.after = tree.next;
            if page.after.is_none() {
                return Ok(manifests);
            }
        }
    }

    /// One page of the links that make blobs the repository's. Those to content in `needed` are not looked at any closer where
    /// that would take a look at each, unless they may lead elsewhere.
    pub async fn survey_links(
        &self,
        name: &RepositoryName,
        needed: &Fingerprints,
        from: Option<Cursor>,
    ) -> Result<LinkPage> {
        let paths = RepositoryPaths(name);
        let from = from.unwrap_or_default();
        let page = ListPage { after: from.after.clone(), limit: PAGE };
        if self.latency == Latency::Remote {
            let directory = paths.all_layers();
            let tree = self.driver.tree(&directory, &page).await?;
            let next = tree.next.clone().map(|after| Cursor { algorithm: 0, after: Some(after) });
            return Ok(LinkPage { needed: Vec::new(), found: by_object(&directory, "link", &tree)?, next });
        }
        let Some(algorithm) = Algorithm::ALL.get(from.algorithm).copied() else { return Ok(LinkPage::default()) };
        if from.algorithm == 0 && from.after.is_none() {
            self.refuse_unknown_algorithms(&paths.all_layers()).await?;
        }
        let directory = paths.layers(algorithm);
        let (names, next) = self.driver.directories(&directory, &page).await?;
        let mut links = LinkPage::default();
        let mut others = Vec::new();
        for name in names {
            match digest_of(algorithm, &name) {
                Some(digest) if algorithm == Algorithm::Sha256 && needed.contains(&fingerprint(&digest)) => {
                    links.needed.push(digest);
                }
                _ => others.push(name),
            }
        }
        links.found = self.look_at(&directory, algorithm, "link", others).await?;
        links.next = match next {
            Some(page) => Some(Cursor { after: page.after, ..from }),
            None if from.algorithm + 1 < Algorithm::ALL.len() => {
                Some(Cursor { algorithm: from.algorithm + 1, after: None })
            }
            None => None,
        };
        Ok(links)
    }

    /// What lies under digests that this program cannot read may need anything.
    async fn refuse_unknown_algorithms(&self, directory: &StoragePath) -> Result<()> {
        let listing = self.driver.list(directory, &ListPage::all()).await?;
        let mut directories = listing.entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
        match directories.find(|entry| entry.name.parse::<Algorithm>().is_err()) {
            Some(unknown) => Err(foreign(directory, &unknown.name)),
            None => Ok(()),
        }
    }

    /// The parts of all content, to be surveyed side by side.
    pub async fn shelves(&self) -> Result<Vec<Shelf>> {
        if self.latency == Latency::Remote {
            let everything = Shelf(all_blobs(), Scope::Everything);
            // One listing shows a small store; only a large one is worth one listing for each shelf.
            if self.survey_shelf(&everything, None).await?.next.is_none() {
                return Ok(vec![everything]);
            }
        }
        let mut shelves = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = blobs(algorithm);
            let listing = self.driver.list(&directory, &ListPage::all()).await?;
            let names = listing.entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
            shelves.extend(names.map(|entry| Shelf(directory.listed(&entry.name), Scope::Algorithm(algorithm))));
        }
        Ok(shelves)
    }

    /// One page of the content on the shelf `on`.
    pub async fn survey_shelf(&self, on: &Shelf, from: Option<Cursor>) -> Result<FoundPage> {
        let Shelf(directory, scope) = on;
        let page = ListPage { after: from.and_then(|from| from.after), limit: PAGE };
        let next = |after| Cursor { algorithm: 0, after: Some(after) };
        if let (Scope::Algorithm(algorithm), Latency::Local) = (scope, self.latency) {
            let (names, page) = self.driver.directories(directory, &page).await?;
            let found = self.look_at(directory, *algorithm, "data", names).await?;
            return Ok(FoundPage { found, next: page.and_then(|page| page.after).map(next) });
        }
        let tree = self.driver.tree(directory, &page).await?;
        let after = tree.next.clone();
        let found = match scope {
            Scope::Everything => by_object(directory, "data", &tree)?,
            Scope::Algorithm(algorithm) => founds(directory, *algorithm, tree)?,
        };
        Ok(FoundPage { found, next: after.map(next) })
    }

    /// What each of `tags` points to, asked of the driver by as few calls as it takes; `None` where the tag is gone.
    pub async fn survey_tags(&self, name: &RepositoryName, tags: &[Tag]) -> Result<Vec<Result<Option<Digest>>>> {
        let paths: Vec<_> = tags.iter().map(|tag| RepositoryPaths(name).tag_link(tag)).collect();
        let limits = ReadLimits { each: LARGEST_LINK, together: u64::MAX };
        let links = self.driver.read_many(paths.clone(), limits).await?;
        let links = all_of(&RepositoryPaths(name).tags(), paths.len(), links)?;
        Ok(paths.iter().zip(links).map(|(path, link)| target_of_link(path, found(link)?)).collect())
    }

    /// The bytes of as many of `contents` as fit `together` bytes, in their order and at least of the first, asked of the
    /// driver by one call; `None` where there is none. `TooLarge` beyond `limit` bytes.
    pub async fn survey_contents(
        &self,
        contents: &[Digest],
        limit: u64,
        together: u64,
    ) -> Result<Vec<Result<Option<Bytes>>>> {
        let paths = contents.iter().map(blob_data).collect();
        let read = self.driver.read_many(paths, ReadLimits { each: limit, together }).await?;
        Ok(read.into_iter().map(found).collect())
    }

    /// What `tag` points to, asked of the driver.
    pub async fn survey_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<Option<Digest>> {
        self.read_link(&RepositoryPaths(name).tag_link(tag)).await
    }

    /// Whether `tag` was left behind by a push that was never acknowledged, and leads to the manifest `digest` that a collection
    /// removed meanwhile.
    pub async fn is_tag_remnant(&self, name: &RepositoryName, tag: &Tag, digest: &Digest) -> Result<bool> {
        self.is_remnant(&RepositoryPaths(name).tag_link(tag), &Key::Revision(name.clone(), *digest)).await
    }

    /// The same of the link of the repository's manifest `digest` and its bytes, which lie under `content`.
    pub async fn is_revision_remnant(&self, name: &RepositoryName, digest: &Digest, content: &Digest) -> Result<bool> {
        self.is_remnant(&RepositoryPaths(name).revision_link(digest), &Key::Blob(*content)).await
    }

    /// The digest that the link of the repository's manifest holds, asked of the driver.
    pub async fn survey_revision(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Digest>> {
        self.read_link(&RepositoryPaths(name).revision_link(digest)).await
    }

    /// The digest that the link of the repository's blob holds, asked of the driver.
    pub async fn survey_link(&self, name: &RepositoryName, digest: &Digest) -> Result<Option<Digest>> {
        self.read_link(&RepositoryPaths(name).layer_link(digest)).await
    }

    /// The bytes of the content `digest`, asked of the driver.
    ///
    /// # Errors
    /// `TooLarge` beyond `limit` bytes.
    pub async fn survey_content(&self, digest: &Digest, limit: u64) -> Result<Option<Bytes>> {
        found(self.driver.read(&blob_data(digest), limit).await)
    }
}

/// `answers`, if there are as many as were asked for: what was passed over might be needed.
fn all_of<T>(directory: &StoragePath, asked: usize, answers: Vec<T>) -> Result<Vec<T>> {
    if answers.len() == asked {
        return Ok(answers);
    }
    let reason = format!("of {asked} questions about what it holds {} were answered", answers.len());
    Err(Error::Damaged { path: directory.to_string(), reason })
}

/// The objects of `tree`, each of which lies in a directory of `directory` that is named after a digest.
fn founds(directory: &StoragePath, algorithm: Algorithm, tree: Tree) -> Result<Vec<Found>> {
    let mut found = Vec::with_capacity(tree.objects.len());
    for object in tree.objects {
        let below = object.path.below(directory).unwrap_or_default();
        let hex = below.split('/').next().unwrap_or_default();
        let digest = digest_of(algorithm, hex).ok_or_else(|| foreign(directory, hex))?;
        found.push(Found { digest, size: object.stat.size, modified: object.stat.modified });
    }
    Ok(found)
}

/// The objects of `tree` named `leaf`, each of which lies below a directory named after an algorithm.
fn by_object(directory: &StoragePath, leaf: &str, tree: &Tree) -> Result<Vec<Found>> {
    let mut found = Vec::with_capacity(tree.objects.len());
    for object in &tree.objects {
        let below = object.path.below(directory).unwrap_or_default();
        let digest = match below.split('/').collect::<Vec<_>>().as_slice() {
            [algorithm, hex, name] | [algorithm, _, hex, name] if *name == leaf => parsed(directory, algorithm, hex)?,
            _ => continue,
        };
        found.push(Found { digest, size: object.stat.size, modified: object.stat.modified });
    }
    Ok(found)
}

fn parsed(directory: &StoragePath, algorithm: &str, hex: &str) -> Result<Digest> {
    algorithm.parse().ok().and_then(|algorithm| digest_of(algorithm, hex)).ok_or_else(|| foreign(directory, hex))
}

/// A name where only digests and tags belong: whoever put it there may have put more.
fn foreign(directory: &StoragePath, name: &str) -> Error {
    Error::Damaged {
        path: directory.to_string(),
        reason: format!("it holds {:?}, which no registry puts there", name.chars().take(200).collect::<String>()),
    }
}
