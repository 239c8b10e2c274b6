//! The contract of all drivers, as tests that are stamped on each of them.
//!
//! A clause is a function that is given an empty driver and panics when the driver breaks the clause. A driver's own
//! tests say `contract_tests!(expression)`, where the expression gives an `Arc<dyn Driver>` and what must live as long.

mod concurrency;
mod listing;
mod objects;
mod staged;

use std::ops::Range;

use bytes::Bytes;
use futures_util::TryStreamExt;

pub(in crate::storage) use concurrency::*;
pub(in crate::storage) use listing::*;
pub(in crate::storage) use objects::*;
pub(in crate::storage) use staged::*;

use super::{Content, Driver, Object, WriteMode};
use crate::storage::layout::StoragePath;

/// Stamps every clause on the driver that the expression gives.
macro_rules! contract_tests {
    // For stores that a test cannot start itself.
    (ignored: $open:expr) => {
        $crate::storage::driver::contract::contract_tests! { @clauses [#[ignore = "needs a store"]] $open }
    };
    (@clauses $attributes:tt $open:expr) => {
        $crate::storage::driver::contract::contract_tests! { @stamp $attributes $open;
            reads_what_was_written,
            stat_never_goes_back_in_time,
            what_is_missing_is_not_found,
            a_directory_is_not_an_object,
            read_refuses_more_than_the_limit,
            overwriting_replaces,
            create_only_spares_what_exists,
            write_many_writes_all,
            deleting_what_is_missing_succeeds,
            delete_many_removes_exactly_its_paths,
            moving_moves_or_leaves_everything_as_it_is,
            putting_aside_moves_or_leaves_everything_as_it_is,
            delete_prefix_spares_names_that_share_the_string,
            delete_prefix_removes_no_object_of_that_name,
            an_open_object_outlives_overwriting_and_deleting,
            an_object_opened_for_parts_is_read_in_any_order,
            a_tree_is_every_object_below,
            leaves_are_the_objects_of_that_name,
            directories_come_page_by_page,
            many_are_read_as_one_by_one,
            lists_objects_and_directories_in_byte_order,
            a_missing_directory_lists_empty,
            pages_are_the_whole_listing_cut,
            a_page_starts_after_a_name_that_is_gone,
            listings_follow_writes_and_deletions,
            listings_do_not_mix_directories_that_share_the_string,
            publishing_makes_visible_and_leaves_no_staging,
            nothing_is_visible_before_publishing,
            publishing_replaces,
            appends_pieces_of_every_size_in_order,
            a_suspended_write_goes_on,
            dropping_keeps_what_was_suspended,
            a_held_write_is_busy,
            a_direct_write_is_seen_when_published_and_forgotten_when_dropped,
            creating_where_all_of_it_lies_changes_nothing,
            foreign_states_are_stale,
            a_state_promising_more_than_is_there_is_refused,
            aborting_leaves_nothing,
            discarding_ends_a_held_write,
            reads_back_what_was_appended,
            one_create_only_writer_wins,
            readers_never_see_a_mixture,
            one_resumer_wins,
            publishers_to_one_path_all_succeed,
            writers_outlast_deleters_of_their_directory,
            writers_outlast_those_who_empty_their_directory,
            a_resumer_gets_the_bytes_or_nothing,
            listing_during_changes_shows_what_stays,
        }
    };
    (@stamp [$($attribute:tt)*] $open:expr; $clause:ident, $($rest:ident,)*) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $clause() {
            let (driver, _store) = $open;
            $crate::storage::driver::contract::$clause(driver).await;
        }
        $crate::storage::driver::contract::contract_tests! { @stamp [$($attribute)*] $open; $($rest,)* }
    };
    (@stamp $attributes:tt $open:expr;) => {};
    ($open:expr) => {
        $crate::storage::driver::contract::contract_tests! { @clauses [] $open }
    };
}
pub(in crate::storage) use contract_tests;

/// Stamps the clauses of drivers that have one place for a staged write, on top of the others: they know at once that
/// nothing lies there any more, while one that goes by states alone tells when the bytes are needed.
macro_rules! one_place_tests {
    ($open:expr) => {
        $crate::storage::driver::contract::contract_tests! { @stamp [] $open;
            staging_at_a_used_path_is_refused,
            an_empty_state_takes_up_whatever_lies_there,
            a_resumer_never_gets_a_published_object,
            an_ended_write_cannot_be_taken_up,
        }
    };
}
pub(in crate::storage) use one_place_tests;

/// A path for an object, as deep as the layout's.
fn at(path: &str) -> StoragePath {
    StoragePath::for_test(&format!("docker/registry/v2/contract/{path}"))
}

/// The directory that holds everything of a test.
fn top() -> StoragePath {
    StoragePath::for_test("docker/registry/v2/contract")
}

/// More than any object of the contract.
const PLENTY: u64 = 1 << 30;

async fn put(driver: &dyn Driver, path: &str, content: &str) {
    driver.write(&at(path), Bytes::copy_from_slice(content.as_bytes()), WriteMode::Overwrite).await.unwrap();
}

/// The content at `path`, `None` when nothing is there.
async fn get(driver: &dyn Driver, path: &str) -> Option<String> {
    let content = crate::storage::error::found(driver.read(&at(path), PLENTY).await).unwrap()?;
    Some(String::from_utf8(content.to_vec()).unwrap())
}

/// Waits until `condition` holds, which may be some moments after the answer: cleaning up is not waited for.
async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.is_ok(), "{what}");
}

/// All bytes of an open object.
async fn all_of(object: &Object) -> Bytes {
    part_of(object, 0..object.size).await
}

/// The bytes in `range` of an open object.
async fn part_of(object: &Object, range: Range<u64>) -> Bytes {
    match &object.content {
        Content::File(file) => {
            let mut content = vec![0; usize::try_from(range.end - range.start).unwrap()];
            std::os::unix::fs::FileExt::read_exact_at(&**file, &mut content, range.start).unwrap();
            content.into()
        }
        Content::Memory(content) => {
            content.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap())
        }
        Content::Remote(remote) => {
            let pieces: Vec<Bytes> = remote.read_range(range).try_collect().await.unwrap();
            pieces.concat().into()
        }
    }
}

/// `length` bytes in which no stretch repeats soon.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|index| u8::try_from((index * 31 + index / 251) % 256).unwrap()).collect::<Vec<u8>>().into()
}
