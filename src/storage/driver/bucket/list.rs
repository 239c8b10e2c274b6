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
        let unsure = ancestors(last).chain(itself).filter(|name| self.wants(name));
        unsure.filter(|name| self.seen.get(*name) != Some(&EntryKind::Directory)).map(str::to_owned).collect()
    }

    /// Whether the store may still list names after `last` that are none of this page, because they come before it.
    fn awaits_earlier_names(&self, last: &str) -> bool {
        let after = self.after.unwrap_or_default();
        let last = last.strip_prefix(self.prefix).unwrap_or_default();
        ancestors(after).chain([after]).any(|name| last < format!("{name}/").as_str())
    }

    /// Whether what the store lists after `last` may be nothing but directories that have the names of seen objects.
    fn may_repeat(&self, last: &str) -> bool {
        let last = last.strip_prefix(self.prefix).unwrap_or_default();
        let mut objects = self.seen.iter().filter(|(_, kind)| **kind == EntryKind::Object);
        objects.any(|(name, _)| last < format!("{name}/").as_str())
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
        let certain = start.as_deref().is_some_and(|last| !names.awaits_earlier_names(last) && !names.may_repeat(last));
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
    let after = wanted.after.as_deref().map(|after| format!("{prefix}{after}"));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::fake::Fake;
    use super::*;
    use crate::storage::driver::WriteMode;

    /// Keys below `p/` of one to three components, of letters on both sides of `/`.
    fn key() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab0_.-]{1,3}", 1..4).prop_map(|names| names.join("/"))
    }

    /// The names directly below `p/`, by the words of the contract.
    fn names(keys: &BTreeSet<String>) -> BTreeMap<String, EntryKind> {
        let mut names = BTreeMap::new();
        for key in keys {
            match key.split_once('/') {
                Some((directory, _)) => names.insert(directory.to_owned(), EntryKind::Directory),
                None => Some(*names.entry(key.clone()).or_insert(EntryKind::Object)),
            };
        }
        names
    }

    async fn filled(keys: &BTreeSet<String>) -> Fake {
        let fake = Fake::new(10);
        for key in keys {
            fake.put(&format!("p/{key}"), bytes::Bytes::new().into(), WriteMode::Overwrite).await.unwrap();
        }
        // What a listing of `p/` must not be led astray by.
        for key in ["p", "p-", "p0", "p/", "o/z", "q"] {
            fake.put(key, bytes::Bytes::new().into(), WriteMode::Overwrite).await.unwrap();
        }
        fake
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pages_are_in_order_of_names_and_complete(
            keys in prop::collection::btree_set(key(), 0..40),
            after in prop::option::of("[ab0_.-]{0,4}"),
            limit in 0_usize..12,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (listing, requests) = runtime.block_on(async {
                let fake = filled(&keys).await;
                fake.fail(&[]);
                let listing = directory(&fake, "p/", &ListPage { after: after.clone(), limit }).await.unwrap();
                (listing, fake.verbs().len())
            });
            let wanted = names(&keys).into_iter().filter(|(name, _)| *name > after.clone().unwrap_or_default());
            let mut wanted: Vec<Entry> = wanted.map(|(name, kind)| Entry { name, kind }).collect();
            let more = if wanted.len() > limit { More::Yes } else { More::No };
            wanted.truncate(limit);
            prop_assert_eq!(&listing.entries[..], &wanted[..]);
            prop_assert_eq!(listing.more, more);
            prop_assert!(requests <= 6, "{} requests", requests);
        }

        #[test]
        fn pages_of_a_tree_are_every_key_once(
            keys in prop::collection::btree_set(key(), 0..40),
            limit in 1_usize..9,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(async {
                let fake = filled(&keys).await;
                let mut found = Vec::new();
                let mut page = ListPage { after: None, limit };
                loop {
                    let tree = tree(&fake, "p/", &StoragePath::for_test("p"), &page).await.unwrap();
                    found.extend(tree.objects.into_iter().map(|object| object.path.to_string()));
                    page.after = tree.next;
                    if page.after.is_none() {
                        return found;
                    }
                }
            });
            prop_assert_eq!(found, keys.iter().map(|key| format!("p/{key}")).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn an_object_and_a_directory_of_one_name_are_no_further_page() {
        let keys = ["-", "-_", ".", "0", "0/_", "_", "_/0"].map(str::to_owned).into();
        let listing = directory(&filled(&keys).await, "p/", &ListPage { after: None, limit: 5 }).await.unwrap();
        assert_eq!((listing.entries.len(), listing.more), (5, More::No));
    }

    #[tokio::test]
    async fn a_thousand_names_cost_a_request_a_page() {
        let keys = (0..2500).map(|number| format!("tag{number:04}/current/link")).collect();
        let fake = filled(&keys).await;
        let mut page = ListPage { after: None, limit: 1000 };
        for expected in [1000, 1000, 500] {
            fake.fail(&[]);
            let listing = directory(&fake, "p/", &page).await.unwrap();
            assert_eq!(listing.entries.len(), expected);
            assert!(fake.verbs().len() <= 2, "{:?}", fake.verbs());
            page.after = listing.entries.last().map(|entry| entry.name.clone());
        }
    }
}
