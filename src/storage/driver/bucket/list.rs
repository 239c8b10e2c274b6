//! Listings in the order of names over a store that lists in the order of keys.
//!
//! A store compares `a/` where a listing compares `a`, and `-` and `.` come before `/`: it names the directory `a` after `a-b` and
//! `a.b`. The names that a page lacks for this are the ancestors of its last key, prefixes of it that end before
//! such a byte: if an unseen directory `n/` comes after the last key `L` though `n` comes before a seen one, then
//! `n <= L < n/`, so `L` begins with `n`. These few are looked up.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Depth, KeyPage, ListQuery, MOST_KEYS, Service, refused};
use crate::storage::driver::Stat;
use crate::storage::driver::{Entry, EntryKind, ListPage, Listing, More, Tree, TreeEntry};
use crate::storage::error::{Result, Retry};
use crate::storage::layout::StoragePath;

/// Ancestors looked up at once.
const LOOKUPS_AT_ONCE: usize = 8;

/// One page of keys and the last of them, objects and folded names together.
///
/// # Errors
/// `Backend` when the store promises more and does not get on: whoever believed that would list without end.
pub(super) async fn page(service: &dyn Service, query: &ListQuery<'_>) -> Result<(KeyPage, Option<String>)> {
    let page = service.list(query).await?;
    let object = page.objects.last().map(|object| object.key.as_str());
    let last = object.max(page.folded.last().map(String::as_str)).map(str::to_owned);
    if page.more == More::Yes && last.as_deref() <= query.after {
        return Err(refused("list", query.prefix, Retry::Later, "the store promised more keys and gave none"));
    }
    Ok((page, last))
}

/// The names of a directory that were seen.
struct Names<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    seen: BTreeMap<String, EntryKind>,
}

impl Names<'_> {
    fn wants(&self, name: &str) -> bool {
        !name.is_empty() && self.after.is_none_or(|after| name > after)
    }

    /// Notes the names of `page`. Where an object and a directory have one name, it is a directory.
    fn note(&mut self, page: &KeyPage) {
        for object in &page.objects {
            if let Some(name) = object.key.strip_prefix(self.prefix).filter(|name| self.wants(name)) {
                self.seen.entry(name.to_owned()).or_insert(EntryKind::Object);
            }
        }
        for folded in &page.folded {
            let name = folded.strip_prefix(self.prefix).and_then(|name| name.strip_suffix('/'));
            if let Some(name) = name.filter(|name| self.wants(name)) {
                self.seen.insert(name.to_owned(), EntryKind::Directory);
            }
        }
    }

    /// The directories that may lie before the end of what was seen, although the store lists them after `last`.
    fn unsure(&self, last: &str) -> Vec<String> {
        let Some(last) = last.strip_prefix(self.prefix) else { return Vec::new() };
        let itself = (!last.ends_with('/')).then_some(last);
        ancestors(last).chain(itself).filter(|name| self.wants(name)).map(str::to_owned).collect()
    }

    /// Whether the store may still list names after `last` that are none of this page, because they come before it.
    fn awaits_earlier_names(&self, last: &str) -> bool {
        let after = self.after.unwrap_or_default();
        let last = last.strip_prefix(self.prefix).unwrap_or_default();
        ancestors(after).chain([after]).any(|name| last < format!("{name}/").as_str())
    }
}

/// What `name` begins with, cut before each byte that sorts before `/`.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    name.char_indices().filter(|(end, next)| *end > 0 && *next < '/').filter_map(|(end, _)| name.get(..end))
}

/// One page of the names directly below `prefix`, which ends with `/`.
pub(super) async fn directory(service: &dyn Service, prefix: &str, wanted: &ListPage) -> Result<Listing> {
    let after = wanted.after.as_deref().filter(|after| !after.is_empty());
    let mut names = Names { prefix, after, seen: BTreeMap::new() };
    // The name after which the page begins and its ancestors may be listed again, and one more name tells whether there is more.
    let again = after.map_or(0, |after| 1 + ancestors(after).count());
    let mut start = after.map(|after| format!("{prefix}{after}"));
    let more = loop {
        let missing = wanted.limit.saturating_sub(names.seen.len());
        let limit = missing.saturating_add(again + 2).min(MOST_KEYS);
        let query = ListQuery { prefix, depth: Depth::Directory, after: start.as_deref(), limit };
        let (page, last) = page(service, &query).await?;
        names.note(&page);
        start = last.or(start);
        let seen = names.seen.len();
        let certain = start.as_deref().is_some_and(|last| !names.awaits_earlier_names(last));
        if page.more == More::No || seen > wanted.limit || (seen == wanted.limit && certain) {
            break page.more;
        }
    };
    if more == More::Yes
        && let Some(last) = &start
    {
        look_up(service, &mut names, last).await?;
    }
    let more = if names.seen.len() > wanted.limit { More::Yes } else { more };
    let entries: Vec<Entry> =
        names.seen.into_iter().take(wanted.limit).map(|(name, kind)| Entry { name, kind }).collect();
    Ok(Listing { entries: entries.into(), more })
}

async fn look_up(service: &dyn Service, names: &mut Names<'_>, last: &str) -> Result<()> {
    let prefix = names.prefix;
    let lookups = names.unsure(last).into_iter().map(|name| async move {
        let below = format!("{prefix}{name}/");
        let query = ListQuery { prefix: &below, depth: Depth::Tree, after: None, limit: 1 };
        let (page, _) = page(service, &query).await?;
        Ok::<_, crate::storage::error::Error>((name, page.objects.is_empty()))
    });
    let lookups = stream::iter(lookups.collect::<Vec<_>>()).buffer_unordered(LOOKUPS_AT_ONCE);
    let found: Vec<(String, bool)> = lookups.try_collect().await?;
    let directories = found.into_iter().filter(|(_, empty)| !empty);
    names.seen.extend(directories.map(|(name, _)| (name, EntryKind::Directory)));
    Ok(())
}

/// One page of the objects below `prefix`, which ends with `/` and is the key of `directory`.
pub(super) async fn tree(
    service: &dyn Service,
    prefix: &str,
    directory: &StoragePath,
    wanted: &ListPage,
) -> Result<Tree> {
    let after = wanted.after.as_deref().filter(|after| !after.is_empty()).map(|after| format!("{prefix}{after}"));
    let limit = wanted.limit.clamp(1, MOST_KEYS);
    let query = ListQuery { prefix, depth: Depth::Tree, after: after.as_deref(), limit };
    let (page, last) = page(service, &query).await?;
    let objects = page.objects.iter().filter_map(|object| {
        let below = object.key.strip_prefix(prefix)?;
        // Some consoles put an empty object at the key of a directory.
        (!below.is_empty() && !below.ends_with('/')).then(|| TreeEntry {
            path: directory.listed(below),
            stat: Stat { size: object.size, modified: object.modified },
        })
    });
    let next = last.filter(|_| page.more == More::Yes).and_then(|last| Some(last.strip_prefix(prefix)?.to_owned()));
    Ok(Tree { objects: objects.collect(), next })
}
