//! Random sequences of operations, on the memory driver and on another one: both must answer the same.
//!
//! What contracts leave open is left out of the comparison: times, emptied directories on a disk, and with a bucket whatever
//! one that has a place for each staged write knows earlier.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::bucket;
use super::filesystem::{Access, Filesystem};
use super::memory::Memory;
use super::{Driver, ListPage, StagedWrite, WriteMode};
use crate::storage::config::Filesystem as Config;
use crate::storage::error::{Error, Result, found};
use crate::storage::layout::StoragePath;

/// Places of objects. None is a directory of another, and each directory has its own way to become empty.
const OBJECTS: &[&str] = &["a/link", "a/b/link", "a/b/c/link", "a/bc/link", "a/b-c", "ab/link", "z/data"];
const DIRECTORIES: &[&str] = &["", "a", "a/b", "a/b/c", "a/bc", "ab", "z", "_uploads", "missing", "z/data"];
const STAGINGS: &[&str] = &["_uploads/1/data", "_uploads/2/data"];

#[derive(Debug, Clone)]
enum Operation {
    Write(usize, usize, bool),
    WriteMany(Vec<usize>, usize),
    Read(usize, u64),
    Delete(usize),
    DeleteMany(Vec<usize>),
    DeletePrefix(usize),
    List(usize, Option<String>, usize),
    Stage(usize),
    Resume(usize),
    Append(usize, Vec<usize>),
    ReadBack(usize, u64, u64),
    Suspend(usize),
    Drop(usize),
    Publish(usize, usize),
    Abort(usize),
    Discard(usize),
    StagedLength(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation as Op;
    let object = 0..OBJECTS.len();
    let objects = prop::collection::vec(object.clone(), 0..4);
    let directory = 0..DIRECTORIES.len();
    let staging = 0..STAGINGS.len();
    let size = prop_oneof![Just(0), 1_usize..200, 4090_usize..4100, Just(70_000)];
    let after = prop::option::of(prop_oneof![Just("b"), Just("a"), Just("link"), Just("b-")].prop_map(str::to_owned));
    prop_oneof![
        (object.clone(), size.clone(), any::<bool>()).prop_map(|(object, size, new)| Op::Write(object, size, new)),
        (objects.clone(), size.clone()).prop_map(|(objects, size)| Op::WriteMany(objects, size)),
        (object.clone(), prop_oneof![Just(100), Just(1 << 20)]).prop_map(|(object, limit)| Op::Read(object, limit)),
        object.clone().prop_map(Op::Delete),
        objects.prop_map(Op::DeleteMany),
        (1..DIRECTORIES.len()).prop_map(Op::DeletePrefix),
        (directory, after, 0_usize..4).prop_map(|(directory, after, limit)| Op::List(directory, after, limit)),
        staging.clone().prop_map(Op::Stage),
        staging.clone().prop_map(Op::Resume),
        (staging.clone(), prop::collection::vec(size, 0..4)).prop_map(|(staging, sizes)| Op::Append(staging, sizes)),
        (staging.clone(), 0_u64..5000, 0_u64..5000).prop_map(|(staging, from, length)| Op::ReadBack(
            staging,
            from,
            from + length
        )),
        staging.clone().prop_map(Op::Suspend),
        staging.clone().prop_map(Op::Drop),
        (staging.clone(), object).prop_map(|(staging, object)| Op::Publish(staging, object)),
        staging.clone().prop_map(Op::Abort),
        staging.clone().prop_map(Op::Discard),
        staging.prop_map(Op::StagedLength),
    ]
}

/// A driver and what a caller of it remembers.
struct Player<'a> {
    driver: &'a dyn Driver,
    held: [Option<Box<dyn StagedWrite>>; 2],
    states: [Vec<u8>; 2],
    /// Numbers the contents, so that no two writes write the same.
    writes: u8,
    manners: Manners,
}

/// What a player may do with staged writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manners {
    /// Everything.
    Any,
    /// What the registry does: one request at a time goes on from the latest state, and a path always gets the same bytes.
    OneAtATime,
}

impl Player<'_> {
    fn content(&mut self, size: usize) -> Bytes {
        self.writes = self.writes.wrapping_add(1);
        vec![self.writes; size].into()
    }

    /// Performs the operation, if it is one for players of these manners.
    async fn play_well(&mut self, operation: &Operation) -> String {
        if self.manners == Manners::Any {
            return self.play(operation).await;
        }
        let shows_staging = |directory: usize| ["", "_uploads"].contains(&DIRECTORIES[directory]);
        let unwanted = match operation {
            Operation::Stage(staging) => self.held[*staging].is_some() || !self.states[*staging].is_empty(),
            Operation::Resume(staging) => self.held[*staging].is_some() && self.states[*staging].is_empty(),
            Operation::StagedLength(staging) => self.held[*staging].is_some(),
            Operation::List(directory, ..) | Operation::DeletePrefix(directory) => shows_staging(*directory),
            Operation::Publish(staging, object) if self.held[*staging].is_some() => {
                self.driver.delete(&object_at(*object)).await.unwrap();
                false
            }
            _ => false,
        };
        if unwanted {
            return String::new();
        }
        if let Operation::Drop(staging) | Operation::Discard(staging) = operation {
            self.held[*staging] = None;
            self.driver.discard_staged(&at(STAGINGS[*staging]), &self.states[*staging]).await.unwrap();
        }
        let ends = match operation {
            Operation::Publish(staging, _) | Operation::Abort(staging) => {
                self.held[*staging].is_some().then_some(*staging)
            }
            Operation::Drop(staging) | Operation::Discard(staging) => Some(*staging),
            _ => None,
        };
        let answer = self.play(operation).await;
        if let Some(staging) = ends {
            self.states[staging].clear();
        }
        answer
    }

    /// Performs the operation and gives all that the caller may rely on, as text.
    async fn play(&mut self, operation: &Operation) -> String {
        match operation {
            Operation::Write(object, size, new) => {
                let mode = if *new { WriteMode::CreateOnly } else { WriteMode::Overwrite };
                let content = self.content(*size);
                answer(self.driver.write(&object_at(*object), content, mode).await)
            }
            Operation::WriteMany(objects, size) => {
                let content = self.content(*size);
                let objects = objects.iter().map(|object| (object_at(*object), content.clone())).collect();
                answer(self.driver.write_many(objects).await)
            }
            Operation::Read(object, limit) => answer(self.driver.read(&object_at(*object), *limit).await),
            Operation::Delete(object) => answer(self.driver.delete(&object_at(*object)).await),
            Operation::DeleteMany(objects) => {
                let paths: Vec<_> = objects.iter().map(|object| object_at(*object)).collect();
                answer(self.driver.delete_many(&paths).await)
            }
            Operation::DeletePrefix(directory) => answer(self.driver.delete_prefix(&at(DIRECTORIES[*directory])).await),
            Operation::List(directory, after, limit) => {
                let page = ListPage { after: after.clone(), limit: *limit };
                answer(self.list(DIRECTORIES[*directory], &page).await)
            }
            Operation::Stage(staging) if self.held[*staging].is_none() => {
                let staged = self.driver.stage(&at(STAGINGS[*staging])).await;
                self.hold(*staging, staged)
            }
            Operation::Stage(staging) => answer(self.driver.stage(&at(STAGINGS[*staging])).await.map(drop)),
            Operation::Resume(staging) => {
                let resumed = self.driver.resume(&at(STAGINGS[*staging]), &self.states[*staging]).await;
                if self.held[*staging].is_some() { answer(resumed.map(drop)) } else { self.hold(*staging, resumed) }
            }
            Operation::Append(staging, sizes) => {
                let chunks = sizes.iter().map(|size| self.content(*size)).collect();
                let Some(staged) = &mut self.held[*staging] else { return String::new() };
                let appended = staged.append(chunks).await;
                format!("{} {}", answer(appended), staged.length())
            }
            Operation::ReadBack(staging, from, to) => {
                let Some(staged) = &mut self.held[*staging] else { return String::new() };
                answer(staged.read_back(*from..*to).await)
            }
            Operation::Suspend(staging) => {
                let Some(staged) = self.held[*staging].take() else { return String::new() };
                match staged.suspend().await {
                    Ok(state) => self.states[*staging] = state,
                    Err(error) => return answer::<()>(Err(error)),
                }
                "suspended".to_owned()
            }
            Operation::Drop(staging) => {
                self.held[*staging] = None;
                String::new()
            }
            Operation::Publish(staging, object) => {
                let Some(staged) = self.held[*staging].take() else { return String::new() };
                answer(staged.publish(&object_at(*object)).await)
            }
            Operation::Abort(staging) => {
                let Some(staged) = self.held[*staging].take() else { return String::new() };
                answer(staged.abort().await)
            }
            Operation::Discard(staging) => {
                answer(self.driver.discard_staged(&at(STAGINGS[*staging]), &self.states[*staging]).await)
            }
            Operation::StagedLength(staging) => {
                answer(self.driver.staged_length(&at(STAGINGS[*staging]), &self.states[*staging]).await)
            }
        }
    }

    fn hold(&mut self, staging: usize, staged: Result<Box<dyn StagedWrite>>) -> String {
        match staged {
            Ok(staged) => {
                let length = staged.length();
                self.held[staging] = Some(staged);
                format!("holds {length}")
            }
            Err(error) => answer::<()>(Err(error)),
        }
    }

    /// A page of those names that hold something; a disk may list emptied directories beside them.
    async fn list(&self, directory: &str, page: &ListPage) -> Result<Vec<String>> {
        let everything = self.driver.list(&at(directory), &ListPage::all()).await?;
        let part = self.driver.list(&at(directory), page).await?;
        // That pages are cut from the whole is the contract suite's business; here it guards the comparison.
        assert!(part.entries.iter().all(|entry| everything.entries.contains(entry)));
        let mut names = Vec::new();
        for entry in &everything.entries {
            let below = below(&at(directory), &entry.name);
            let kind = entry.kind;
            if found(self.driver.stat(&below).await)?.is_some() || self.holds_something(below).await? {
                names.push(format!("{} {kind:?}", entry.name));
            }
        }
        Ok(names)
    }

    async fn holds_something(&self, directory: StoragePath) -> Result<bool> {
        let mut directories = vec![directory];
        while let Some(directory) = directories.pop() {
            for entry in &self.driver.list(&directory, &ListPage::all()).await?.entries {
                match entry.kind {
                    super::EntryKind::Object => return Ok(true),
                    super::EntryKind::Directory => directories.push(below(&directory, &entry.name)),
                }
            }
        }
        Ok(false)
    }
}

fn at(path: &str) -> StoragePath {
    StoragePath::for_test(format!("docker/registry/v2/model/{path}").trim_end_matches('/'))
}

fn below(directory: &StoragePath, name: &str) -> StoragePath {
    StoragePath::for_test(&format!("{directory}/{name}"))
}

fn object_at(object: usize) -> StoragePath {
    at(OBJECTS[object])
}

/// What a caller decides by: the value, or the kind of error.
fn answer<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(Error::TooLarge { size, limit, .. }) => format!("TooLarge {size} {limit}"),
        Err(Error::Backend { source, .. }) => panic!("neither driver may fail here: {source}"),
        Err(error) => format!("{error:?}").split([' ', '{']).next().unwrap_or_default().to_owned(),
    }
}

/// Lets `other` and the memory driver answer the same operations.
fn compare(other: &dyn Driver, manners: Manners, operations: &[Operation]) -> Result<(), TestCaseError> {
    let memory = Memory::new();
    let player = |driver| Player { driver, held: [None, None], states: [Vec::new(), Vec::new()], writes: 0, manners };
    let (mut other, mut memory) = (player(other), player(&memory));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for (number, operation) in operations.iter().enumerate() {
        let answers = runtime.block_on(async { (other.play_well(operation).await, memory.play_well(operation).await) });
        prop_assert_eq!(answers.0, answers.1, "operation {}: {:?}", number, operation);
    }
    // What is held cleans up behind it, for which there must be a runtime.
    let _runtime = runtime.enter();
    drop((other, memory));
    Ok(())
}

#[test]
fn a_write_that_is_held_is_busy_even_to_a_state_of_another() {
    let operations = [
        Operation::Stage(0),
        Operation::Append(0, vec![1]),
        Operation::Suspend(0),
        Operation::DeletePrefix(7),
        Operation::Stage(0),
        Operation::Resume(0),
    ];
    let root = tempfile::tempdir().unwrap();
    let config = Config { root_directory: root.path().to_owned(), max_threads: 4 };
    compare(&Filesystem::open(&config, Access::ReadWrite).unwrap(), Manners::Any, &operations).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_disk_and_the_memory_answer_the_same(operations in prop::collection::vec(operation(), 1..60)) {
        let root = tempfile::tempdir().unwrap();
        let config = Config { root_directory: root.path().to_owned(), max_threads: 4 };
        compare(&Filesystem::open(&config, Access::ReadWrite).unwrap(), Manners::Any, &operations)?;
    }

    #[test]
    fn a_bucket_and_the_memory_answer_the_same(operations in prop::collection::vec(operation(), 1..60)) {
        compare(&bucket::in_memory(10_000), Manners::OneAtATime, &operations)?;
    }
}
