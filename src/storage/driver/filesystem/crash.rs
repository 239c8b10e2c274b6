//! What a power cut leaves: every prefix of the changes, with everything unsynced lost or kept, must be a legal state.
//!
//! The changes of a few operations are recorded and replayed on a model of a disk that knows for each file and each
//! directory what of it was synced. Reliability, data losses 1 to 3.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustix::io::Errno;

use super::disk::{Disk, Step, Watch};
use super::open::{self, Access};
use super::{Driver, Filesystem, WriteMode};
use crate::storage::error::{Error, found};
use crate::storage::layout::StoragePath;

/// Records the changes, and lets one of them fail.
#[derive(Debug, Default)]
struct Recorder {
    steps: Mutex<Vec<Step>>,
    fail: Option<(usize, Errno)>,
}

impl Watch for Recorder {
    fn step(&self, step: Step) -> Result<(), Errno> {
        let mut steps = self.steps.lock().unwrap();
        steps.push(step);
        match self.fail {
            Some((number, errno)) if number + 1 == steps.len() => Err(errno),
            _ => Ok(()),
        }
    }
}

impl Recorder {
    fn failing(number: usize, errno: Errno) -> Self {
        Self { fail: Some((number, errno)), ..Self::default() }
    }

    fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap().clone()
    }
}

fn open_watched(root: &Path, recorder: &Arc<Recorder>) -> Filesystem {
    let mut disk = Disk::new(open::root(root, Access::ReadWrite).unwrap());
    disk.watch = Some(Arc::clone(recorder) as Arc<dyn Watch>);
    Filesystem::over(disk, 4)
}

fn at(path: &str) -> StoragePath {
    StoragePath::for_test(&format!("docker/registry/v2/crash/{path}"))
}

/// A disk that knows what was synced. Replays changes; those that a disk refuses have no effect.
#[derive(Debug)]
struct Model {
    nodes: Vec<Node>,
}

#[derive(Debug)]
enum Node {
    File { content: Vec<u8>, synced: Option<Vec<u8>> },
    Directory { names: BTreeMap<String, usize>, synced: BTreeMap<String, usize> },
}

/// What a power cut leaves at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Left {
    Content(Vec<u8>),
    /// A name that leads to a file whose bytes were not synced.
    Torn,
}

impl Model {
    fn new() -> Self {
        Self { nodes: vec![Node::Directory { names: BTreeMap::new(), synced: BTreeMap::new() }] }
    }

    fn find(&self, path: &str) -> Option<usize> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(0, |node, name| match &self.nodes[node] {
            Node::Directory { names, .. } => names.get(name).copied(),
            Node::File { .. } => None,
        })
    }

    /// The names in the directory of `path`, and the last component.
    fn names<'a>(&mut self, path: &'a str) -> Option<(&mut BTreeMap<String, usize>, &'a str)> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.find(directory)?;
        match &mut self.nodes[directory] {
            Node::Directory { names, .. } => Some((names, name)),
            Node::File { .. } => None,
        }
    }

    fn add(&mut self, path: &str, node: Node) {
        let number = self.nodes.len();
        if let Some((names, name)) = self.names(path)
            && !names.contains_key(name)
        {
            names.insert(name.to_owned(), number);
            self.nodes.push(node);
        }
    }

    fn replay(&mut self, step: &Step) {
        match step {
            Step::Create(path) => self.add(path, Node::File { content: Vec::new(), synced: None }),
            Step::MakeDirectory(path) => {
                self.add(path, Node::Directory { names: BTreeMap::new(), synced: BTreeMap::new() });
            }
            Step::Write(path, offset, chunks) => {
                let file = self.find(path).unwrap();
                let Node::File { content, .. } = &mut self.nodes[file] else { panic!("{path} is no file") };
                content.truncate(usize::try_from(*offset).unwrap());
                content.extend(chunks.concat());
            }
            Step::SyncFile(path) | Step::SyncDirectory(path) => match self.find(path).map(|node| &mut self.nodes[node])
            {
                Some(Node::File { content, synced }) => *synced = Some(content.clone()),
                Some(Node::Directory { names, synced }) => synced.clone_from(names),
                None => {}
            },
            Step::Rename(from, to) => {
                if self.names(to).is_some()
                    && let Some((names, name)) = self.names(from)
                    && let Some(moved) = names.remove(name)
                {
                    let (names, name) = self.names(to).unwrap();
                    names.insert(name.to_owned(), moved);
                }
            }
            Step::Touch(_) => {}
            Step::Unlink(path) => {
                let file = self.find(path).is_some_and(|node| matches!(self.nodes[node], Node::File { .. }));
                if let Some((names, name)) = self.names(path).filter(|_| file) {
                    names.remove(name);
                }
            }
            Step::RemoveDirectory(path) => {
                let node = self.find(path);
                let empty = node
                    .is_some_and(|node| matches!(&self.nodes[node], Node::Directory { names, .. } if names.is_empty()));
                if let Some((names, name)) = self.names(path).filter(|_| empty) {
                    names.remove(name);
                }
            }
        }
    }

    /// What lies at `path` after a power cut that kept the unsynced names of those directories that `keeps` chooses.
    fn after_power_cut(&self, path: &str, keeps: impl Fn(usize) -> bool) -> Option<Left> {
        let node = path.split('/').try_fold(0, |node, name| match &self.nodes[node] {
            Node::Directory { names, synced } => if keeps(node) { names } else { synced }.get(name).copied(),
            Node::File { .. } => None,
        })?;
        match &self.nodes[node] {
            Node::File { synced: Some(synced), content } if synced == content => Some(Left::Content(content.clone())),
            Node::File { .. } => Some(Left::Torn),
            Node::Directory { .. } => None,
        }
    }
}

/// What an operation leaves at a path, `None` for nothing.
type Effect = (&'static str, Option<&'static str>);

/// Performs operation `number` and gives its effects; `None` after the last.
async fn perform(driver: &Filesystem, number: usize) -> Option<Vec<Effect>> {
    let write = async |path, content: &'static str, mode| {
        driver.write(&at(path), content.into(), mode).await.unwrap();
        Some(vec![(path, Some(content))])
    };
    match number {
        0 => write("a/link", "one", WriteMode::Overwrite).await,
        1 => write("a/link", "two", WriteMode::Overwrite).await,
        2 => {
            let objects = [("x/1/link", "1"), ("x/2/link", "2"), ("y/link", "3"), ("a/link", "three")];
            let many = objects.map(|(path, content)| (at(path), Bytes::from(content)));
            driver.write_many(many.to_vec()).await.unwrap();
            Some(objects.map(|(path, content)| (path, Some(content))).to_vec())
        }
        3 => {
            let mut staged = driver.stage(&at("r/_uploads/1/data")).await.unwrap();
            staged.append(vec!["content".into()]).await.unwrap();
            staged.publish(&at("blobs/aa/aabb/data")).await.unwrap();
            Some(vec![("blobs/aa/aabb/data", Some("content"))])
        }
        4 => write("r/_layers/link", "layer", WriteMode::CreateOnly).await,
        5 => {
            driver.delete(&at("a/link")).await.unwrap();
            Some(vec![("a/link", None)])
        }
        6 => write("a/link", "again", WriteMode::Overwrite).await,
        7 => {
            let staging = at("r/_uploads/2/data");
            let mut staged = driver.stage(&staging).await.unwrap();
            staged.append(vec!["other ".into()]).await.unwrap();
            let state = staged.suspend().await.unwrap();
            let mut staged = driver.resume(&staging, &state).await.unwrap();
            staged.append(vec!["content".into()]).await.unwrap();
            let state = staged.suspend().await.unwrap();
            driver.resume(&staging, &state).await.unwrap().publish(&at("blobs/aa/aabb/data")).await.unwrap();
            Some(vec![("blobs/aa/aabb/data", Some("other content"))])
        }
        8 => {
            let staged = driver.stage(&at("r/_uploads/3/data")).await.unwrap();
            staged.publish(&at("blobs/ee/empty/data")).await.unwrap();
            Some(vec![("blobs/ee/empty/data", Some(""))])
        }
        9 => {
            driver.delete_many(&[at("x/1/link"), at("y/link")]).await.unwrap();
            Some(vec![("x/1/link", None), ("y/link", None)])
        }
        10 => {
            let moves =
                [("blobs/aa/aabb/data", "bin/e/aabb"), ("blobs/ee/empty/data", "bin/e/empty"), ("gone", "bin/e/x")];
            let stay = driver.move_many(&moves.map(|(from, to)| (at(from), at(to)))).await.unwrap();
            assert!(stay.is_empty());
            let (from, to) = (("blobs/aa/aabb/data", None), ("bin/e/aabb", Some("other content")));
            Some(vec![from, to, ("blobs/ee/empty/data", None), ("bin/e/empty", Some(""))])
        }
        11 => {
            driver.move_many(&[(at("bin/e/aabb"), at("blobs/aa/aabb/data"))]).await.unwrap();
            Some(vec![("bin/e/aabb", None), ("blobs/aa/aabb/data", Some("other content"))])
        }
        12 => {
            let moves = [("blobs/aa/aabb/data", "bin/f/aabb/data"), ("x/2/link", "bin/f/r/2/link")];
            let stay = driver.put_aside(&moves.map(|(from, to)| (at(from), at(to)))).await.unwrap();
            assert!(stay.is_empty());
            let (from, to) = (("blobs/aa/aabb/data", None), ("bin/f/aabb/data", Some("other content")));
            Some(vec![from, to, ("x/2/link", None), ("bin/f/r/2/link", Some("2"))])
        }
        _ => None,
    }
}

#[tokio::test]
async fn every_prefix_of_the_changes_is_a_legal_state_after_a_power_cut() {
    let root = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let driver = open_watched(root.path(), &recorder);
    let mut acknowledged: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    let mut model = Model::new();
    let mut replayed = 0;
    for number in 0.. {
        let Some(effects) = perform(&driver, number).await else { break };
        let steps = recorder.steps();
        let effects: BTreeMap<_, _> = effects.into_iter().collect();
        for path in effects.keys() {
            acknowledged.entry(path).or_default();
        }
        for step in &steps[replayed..] {
            model.replay(step);
            check(&model, &acknowledged, &effects, &format!("operation {number} after {step:?}"));
        }
        replayed = steps.len();
        acknowledged.extend(effects);
        check(&model, &acknowledged, &BTreeMap::new(), &format!("operation {number} acknowledged"));
    }
    assert!(replayed > 80, "the changes were recorded");
}

/// That each path holds what was acknowledged, or what the running operation puts there, however the power cut fell.
fn check(
    model: &Model,
    acknowledged: &BTreeMap<&str, Option<&str>>,
    running: &BTreeMap<&str, Option<&str>>,
    when: &str,
) {
    for choice in 0..32_u64 {
        // All unsynced names lost, all kept, and a spread of mixtures.
        let keeps = |node: usize| match choice {
            0 => false,
            1 => true,
            _ => (choice.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (node % 60)) & 1 == 1,
        };
        for (path, content) in acknowledged {
            let left = model.after_power_cut(at(path).as_str(), keeps);
            let legal = |content: Option<&str>| left == content.map(|content| Left::Content(content.into()));
            let is_legal = legal(*content) || running.get(path).copied().is_some_and(legal);
            assert!(is_legal, "{when}: {path} is {left:?}, choice {choice}");
        }
    }
}

#[tokio::test]
async fn directories_that_a_removal_may_empty_are_asked_for_once() {
    let root = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let driver = open_watched(root.path(), &recorder);
    let paths: Vec<StoragePath> =
        (0..40).map(|number| at(&format!("blobs/{}/{number}/data", number % 2))).chain([at("blobs/1/stays")]).collect();
    driver.write_many(paths.iter().map(|path| (path.clone(), "x".into())).collect()).await.unwrap();
    driver.delete_many(&paths[..40]).await.unwrap();
    let removals = recorder.steps().into_iter().filter(|step| matches!(step, Step::RemoveDirectory(_)));
    // Each its own directory, the two they share, and the one that one of these leaves.
    assert_eq!(removals.count(), 40 + 2 + 1);
    let left: Vec<_> = std::fs::read_dir(root.path().join(at("blobs").as_str())).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[tokio::test]
async fn whatever_change_fails_leaves_the_old_or_the_new_and_no_litter() {
    for errno in [Errno::NOSPC, Errno::IO, Errno::MFILE] {
        for number in 0.. {
            let root = tempfile::tempdir().unwrap();
            super::tests::open(root.path()).write(&at("a/link"), "old".into(), WriteMode::Overwrite).await.unwrap();
            let recorder = Arc::new(Recorder::failing(number, errno));
            let driver = open_watched(root.path(), &recorder);
            let many = vec![(at("b/link"), "new".into()), (at("a/link"), "new".into())];
            let Err(error) = driver.write_many(many).await else { break };
            assert_eq!(matches!(error, Error::NoSpace { .. }), errno == Errno::NOSPC, "{error}");
            for path in ["a/link", "b/link"] {
                let content = found(driver.read(&at(path), 100).await).unwrap();
                assert!([None, Some("old"), Some("new")].map(|text| text.map(Bytes::from)).contains(&content));
                assert!(path == "b/link" || content.is_some());
            }
            assert_eq!(temporary_files(root.path()), 0, "step {number}, {errno}");
            assert_no_second_sync(&recorder.steps(), number);
            driver.write(&at("b/link"), "later".into(), WriteMode::Overwrite).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_staged_write_that_cannot_be_synced_is_given_up() {
    for number in 0.. {
        let root = tempfile::tempdir().unwrap();
        let recorder = Arc::new(Recorder::failing(number, Errno::IO));
        let driver = open_watched(root.path(), &recorder);
        let staging = at("r/_uploads/1/data");
        let Ok(mut staged) = driver.stage(&staging).await else { continue };
        let result = async {
            staged.append(vec!["content".into()]).await?;
            staged.publish(&at("b/data")).await
        };
        let Err(error) = result.await else { break };
        assert!(matches!(error, Error::Backend { .. }), "{error}");
        let steps = recorder.steps();
        assert_no_second_sync(&steps, number);
        if matches!(steps.get(number), Some(Step::SyncFile(_))) {
            assert!(driver.stat(&staging).await.unwrap_err().is_not_found());
        }
    }
}

/// That a file whose sync failed was not synced again: the kernel would pretend success.
fn assert_no_second_sync(steps: &[Step], failed: usize) {
    if let Some(Step::SyncFile(path)) = steps.get(failed) {
        assert!(!steps[failed + 1..].contains(&Step::SyncFile(path.clone())), "{path} was synced again");
    }
}

fn temporary_files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { temporary_files(&path) } else { usize::from(path.extension().is_some()) })
        .sum()
}
