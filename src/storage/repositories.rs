//! Repositories: which exist, walked in the order that distribution's catalog has.

use std::collections::VecDeque;

use super::driver::{EntryKind, ListPage, More};
use super::layout::{RepositoryPaths, repositories};
use super::{Result, Store};
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
}

impl Holding {
    /// The reserved directory, and a name that stands just before it and is never used.
    fn directory(self) -> (&'static str, &'static str) {
        match self {
            Self::Manifests => ("_manifests", "_manifestr"),
            Self::Uploads => ("_uploads", "_uploadr"),
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

/// A directory still to be visited, on the way from the root.
struct Step {
    /// Components so far, joined by `/`; empty at the root.
    directory: String,
    /// Whether the directory itself was looked at as a repository.
    visited: bool,
    /// The child listed last.
    after: Option<String>,
    /// Children listed and not yet visited.
    children: VecDeque<String>,
    /// Whether the driver has children after `after`.
    more: More,
}

impl Step {
    fn new(directory: String, visited: bool) -> Self {
        Self { directory, visited, after: None, children: VecDeque::new(), more: More::Yes }
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
    /// Walks only what lies after `after`: the cost is that of the page.
    pub async fn list_repositories(
        &self,
        holding: Holding,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RepositoryPage> {
        let mut names = Vec::new();
        let mut steps = first_steps(after);
        while let Some(step) = steps.last_mut() {
            if !step.visited {
                step.visited = true;
                if let Some(name) = self.repository_at(holding, &step.directory).await? {
                    if names.len() == limit {
                        return Ok(RepositoryPage { names, more: More::Yes });
                    }
                    names.push(name);
                }
            }
            match self.next_child(step).await? {
                Some(directory) => steps.push(Step::new(directory, false)),
                None => {
                    steps.pop();
                }
            }
        }
        Ok(RepositoryPage { names, more: More::No })
    }

    async fn repository_at(&self, holding: Holding, directory: &str) -> Result<Option<RepositoryName>> {
        let Ok(name) = directory.parse::<RepositoryName>() else { return Ok(None) };
        let (wanted, before) = holding.directory();
        let page = ListPage { after: Some(before.to_owned()), limit: 1 };
        let listing = self.driver.list(&repositories(directory), &page).await?;
        Ok(listing.entries.first().is_some_and(|entry| entry.name == wanted).then_some(name))
    }

    /// The next directory below `step` that may hold repositories.
    async fn next_child(&self, step: &mut Step) -> Result<Option<String>> {
        loop {
            if let Some(child) = step.children.pop_front() {
                return Ok(Some(child));
            }
            if step.more == More::No {
                return Ok(None);
            }
            let page = ListPage { after: step.after.take(), limit: NAMES_AT_ONCE };
            let listing = self.driver.list(&repositories(&step.directory), &page).await?;
            step.after = listing.entries.last().map(|entry| entry.name.clone());
            step.more = listing.more;
            let directories = listing.entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
            let children = directories.map(|entry| join(&step.directory, &entry.name));
            // What is no repository name is reserved or foreign, and nothing below it is a repository either.
            step.children = children.filter(|child| child.parse::<RepositoryName>().is_ok()).collect();
        }
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The way to `after`, as if everything up to it had been visited.
fn first_steps(after: Option<&str>) -> Vec<Step> {
    let mut steps = vec![Step::new(String::new(), true)];
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
        steps.push(Step::new(directory.clone(), true));
    }
    steps
}
