//! Every object below a directory, page by page, for drivers that can only list one directory at a time.
//!
//! The order is depth first, component by component, so a cursor is the path of the last object seen.

use std::collections::VecDeque;

use super::{Driver, Entry, EntryKind, ListPage, More, Result, Stat, StoragePath};
use crate::storage::error::found;

/// Names asked for at once in one directory.
const NAMES_AT_ONCE: usize = 1000;

/// One page of the objects below a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The objects, in an order of the driver's own that is the same for every page.
    pub objects: Vec<TreeEntry>,
    /// The `after` of the next page, when there is one. It means something to the same driver only.
    pub next: Option<String>,
}

/// An object somewhere below a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its whole path.
    pub path: StoragePath,
    /// Its size and time.
    pub stat: Stat,
}

/// A directory on the way down.
struct Step {
    /// Relative to where the walk began; empty there.
    directory: String,
    after: Option<String>,
    names: VecDeque<Entry>,
    more: More,
}

impl Step {
    fn new(directory: String, after: Option<String>) -> Self {
        Self { directory, after, names: VecDeque::new(), more: More::Yes }
    }
}

/// One page of the objects below `prefix`, by listing one directory after the other.
///
/// # Errors
/// Of listing. An object that vanishes meanwhile is left out.
pub(super) async fn walk<D: Driver + ?Sized>(driver: &D, prefix: &StoragePath, page: &ListPage) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut steps = steps_to(page.after.as_deref());
    let mut last = None;
    while let Some(step) = steps.last_mut() {
        let Some(entry) = next_name(driver, prefix, step).await? else {
            steps.pop();
            continue;
        };
        let below = join(&step.directory, &entry.name);
        if entry.kind == EntryKind::Directory {
            steps.push(Step::new(below, None));
            continue;
        }
        if tree.objects.len() >= page.limit {
            tree.next = last;
            return Ok(tree);
        }
        let path = prefix.listed(&below);
        if let Some(stat) = found(driver.stat(&path).await)? {
            tree.objects.push(TreeEntry { path, stat });
            last = Some(below);
        }
    }
    Ok(tree)
}

async fn next_name<D: Driver + ?Sized>(driver: &D, prefix: &StoragePath, step: &mut Step) -> Result<Option<Entry>> {
    while step.names.is_empty() && step.more == More::Yes {
        let directory = if step.directory.is_empty() { prefix.clone() } else { prefix.listed(&step.directory) };
        let page = ListPage { after: step.after.take(), limit: NAMES_AT_ONCE };
        let listing = driver.list(&directory, &page).await?;
        step.after = listing.entries.last().map(|entry| entry.name.clone());
        step.more = listing.more;
        step.names = listing.entries.iter().cloned().collect();
    }
    Ok(step.names.pop_front())
}

/// The way down to the object `cursor`, as if everything up to it had been seen.
fn steps_to(cursor: Option<&str>) -> Vec<Step> {
    let mut steps = vec![Step::new(String::new(), None)];
    for component in cursor.into_iter().flat_map(|cursor| cursor.split('/')) {
        let Some(parent) = steps.last_mut() else { break };
        parent.after = Some(component.to_owned());
        let directory = join(&parent.directory, component);
        steps.push(Step::new(directory, None));
    }
    // The last one would be the object itself.
    if steps.len() > 1 {
        steps.pop();
    }
    steps
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
