//! Repositories: which exist, walked in the order that distribution's catalog has.

use std::collections::VecDeque;

use futures_util::future::try_join_all;

use super::driver::{EntryKind, ListPage, Listing, More};
use super::layout::{RepositoryPaths, repositories};
use super::{Error, Result, Store};
use crate::oci::RepositoryName;

/// Names asked of the driver at once while walking.
const NAMES_AT_ONCE: usize = 1000;

/// What a repository must hold to be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Manifests: the repositories that a catalog shows.
    Manifests,
    /// Upload sessions.
    Uploads,
    /// Anything at all, be it only what is left of a repository. Whoever asks wants to know of everything: a directory that
    /// is no repository's is an error, because what lies below it may need what is stored elsewhere.
    Anything,
}

impl Holding {
    /// What the name of the reserved directory begins with.
    fn directory(self) -> &'static str {
        match self {
            Self::Manifests => "_manifests",
            Self::Uploads => "_uploads",
            Self::Anything => "_",
        }
    }

    /// A name that stands just before the directory and is never used.
    fn just_before(self) -> &'static str {
        match self {
            Self::Manifests => "_manifestr",
            Self::Uploads => "_uploadr",
            Self::Anything => "_",
        }
    }
}

/// One page of repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPage {
    /// Names, component by component in byte order, so that `a/b` stands before `a-b`.
    pub names: Vec<RepositoryName>,
    /// Whether there are more after the last one.
    pub more: More,
}

/// A directory on the way from the root, which was looked at as a repository already.
struct Step {
    /// Components so far, joined by `/`; empty at the root.
    directory: String,
    /// The child listed last.
    after: Option<String>,
    /// Children listed and not yet visited.
    children: VecDeque<Child>,
    /// Whether the driver has children after `after`.
    more: More,
}

/// A directory still to be visited.
struct Child {
    /// Components so far, joined by `/`.
    directory: String,
    /// The beginning of its listing, once that was asked for: it tells what the child holds and where to go on.
    listing: Option<Listing>,
}

impl Step {
    /// A step whose children are those after `after`.
    fn new(directory: String, after: Option<String>) -> Self {
        Self { directory, after, children: VecDeque::new(), more: More::Yes }
    }

    /// The next children that are not listed yet, up to the first that is.
    fn unlisted(&mut self, most: usize) -> Vec<&mut Child> {
        self.children.iter_mut().take_while(|child| child.listing.is_none()).take(most).collect()
    }

    fn take_in(&mut self, holding: Holding, listing: &Listing) -> Result<()> {
        self.after = listing.entries.last().map(|entry| entry.name.clone());
        self.more = listing.more;
        for entry in listing.entries.iter().filter(|entry| entry.kind == EntryKind::Directory) {
            let directory = join(&self.directory, &entry.name);
            // What is no repository name is reserved or foreign, and nothing below it is a repository either.
            if directory.parse::<RepositoryName>().is_ok() {
                self.children.push_back(Child { directory, listing: None });
            } else if holding == Holding::Anything && !entry.name.starts_with('_') {
                let name = entry.name.chars().take(200).collect::<String>();
                let reason = format!("it holds {name:?}, which is no repository's name");
                return Err(Error::Damaged { path: repositories(&self.directory).to_string(), reason });
            }
        }
        Ok(())
    }
}

impl Store {
    /// Whether anything was ever pushed to the repository: a manifest or a layer.
    pub async fn repository_exists(&self, name: &RepositoryName) -> Result<bool> {
        let listing = self.driver.list(&RepositoryPaths(name).directory(), &ListPage::all()).await?;
        Ok(listing.entries.iter().any(|entry| entry.name == "_manifests" || entry.name == "_layers"))
    }

    /// At most `limit` repositories with the wanted holding, after the name `after`, which need not exist.
    ///
    /// Walks only what lies after `after`, and lists each directory once: the cost is that of the page.
    pub async fn list_repositories(
        &self,
        holding: Holding,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RepositoryPage> {
        let mut names = Vec::new();
        let mut steps = first_steps(after);
        while let Some(step) = steps.last_mut() {
            // The repository after the page is looked for too, to tell whether there is one.
            let wanted = limit.saturating_sub(names.len()).saturating_add(1);
            let Some((directory, listing)) =
                self.next_child(holding, step, wanted.min(self.questions_at_once())).await?
            else {
                steps.pop();
                continue;
            };
            if let Some(name) = self.repository_at(holding, &directory, &listing).await? {
                if names.len() == limit {
                    return Ok(RepositoryPage { names, more: More::Yes });
                }
                names.push(name);
            }
            let mut step = Step::new(directory, None);
            step.take_in(holding, &listing)?;
            steps.push(step);
        }
        Ok(RepositoryPage { names, more: More::No })
    }

    /// The repository at `directory`, whose listing begins with `listing`, if it holds what is wanted.
    async fn repository_at(
        &self,
        holding: Holding,
        directory: &str,
        listing: &Listing,
    ) -> Result<Option<RepositoryName>> {
        let Ok(name) = directory.parse::<RepositoryName>() else { return Ok(None) };
        let wanted = holding.directory();
        let holds = |listing: &Listing| listing.entries.iter().any(|entry| entry.name.starts_with(wanted));
        let ends_before = listing.entries.last().is_some_and(|entry| entry.name.as_str() < wanted);
        if listing.more == More::No || !ends_before || holds(listing) {
            return Ok(holds(listing).then_some(name));
        }
        let page = ListPage { after: Some(holding.just_before().to_owned()), limit: 1 };
        Ok(holds(&self.driver.list(&repositories(directory), &page).await?).then_some(name))
    }

    /// The next directory below `step` that may hold repositories, with the beginning of its listing. `ahead` directories
    /// are listed at once: this one and its next siblings.
    async fn next_child(&self, holding: Holding, step: &mut Step, ahead: usize) -> Result<Option<(String, Listing)>> {
        while step.children.is_empty() {
            if step.more == More::No {
                return Ok(None);
            }
            let listing = self.list_names(&step.directory, step.after.take()).await?;
            step.take_in(holding, &listing)?;
        }
        let unlisted = step.unlisted(ahead.max(1));
        let listings = unlisted.iter().map(|child| self.list_names(&child.directory, None));
        let listings = try_join_all(listings).await?;
        for (child, listing) in unlisted.into_iter().zip(listings) {
            child.listing = Some(listing);
        }
        Ok(step.children.pop_front().and_then(|child| Some((child.directory, child.listing?))))
    }

    async fn list_names(&self, directory: &str, after: Option<String>) -> Result<Listing> {
        self.driver.list(&repositories(directory), &ListPage { after, limit: NAMES_AT_ONCE }).await
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The way to `after`, as if everything up to it had been visited.
fn first_steps(after: Option<&str>) -> Vec<Step> {
    let mut steps = vec![Step::new(String::new(), None)];
    let Some(after) = after else { return steps };
    let mut directory = String::new();
    for component in after.split('/') {
        if let Some(parent) = steps.last_mut() {
            parent.after = Some(component.to_owned());
        }
        directory = join(&directory, component);
        if directory.parse::<RepositoryName>().is_err() {
            break;
        }
        steps.push(Step::new(directory.clone(), None));
    }
    steps
}
