//! A driver for tests that makes the n-th call to the driver below it fail, and keeps a record of all calls.
//!
//! For tests that let every call of an operation fail in turn, and for tests that count requests.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Driver, Hold, Latency, ListPage, Listing, Object, PresignMethod, ReadLimits, Reading, Share, Space, StagedWrite,
    Stat, Tree, Unfinished, WriteMode,
};
use crate::storage::error::{Error, Result, Retry};
use crate::storage::layout::StoragePath;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does nothing and reports an error that passes.
    Before,
    /// It does all of its work and reports an error that passes, like a connection lost before the answer.
    After,
    /// It does nothing and reports that no space is left.
    NoSpace,
    /// It does nothing and never returns.
    Hang,
}

/// Every fault that ends by itself.
pub(crate) const FAULTS: [Fault; 3] = [Fault::Before, Fault::After, Fault::NoSpace];

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The method: `read`, `write`, `append` …
    pub(crate) verb: &'static str,
    /// The first path it was given; that of the staging place for `append`, `suspend` and `abort`, the target's for `publish`.
    pub(crate) path: String,
}

/// A driver whose calls are recorded and fail as planned. Clones share plan and record.
#[derive(Debug, Clone)]
pub(crate) struct Faulty {
    inner: Arc<dyn Driver>,
    plan: Arc<Plan>,
    latency: Latency,
}

#[derive(Debug, Default)]
struct Plan {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    fault: Option<(usize, Fault)>,
}

impl Faulty {
    /// Passes every call on to `inner` until told otherwise.
    pub(crate) fn new(inner: Arc<dyn Driver>) -> Self {
        let latency = inner.latency();
        Self { inner, plan: Arc::default(), latency }
    }

    /// The same, and says of itself that `inner` is so far away.
    pub(crate) fn at(latency: Latency, inner: Arc<dyn Driver>) -> Self {
        Self { latency, ..Self::new(inner) }
    }

    /// Forgets the calls so far, and lets call `number`, counted from 0 from now on, fail by `fault`.
    pub(crate) fn fail(&self, number: usize, fault: Fault) {
        *self.plan.state() = State { calls: Vec::new(), fault: Some((number, fault)) };
    }

    /// Forgets the calls so far, and lets all calls succeed.
    pub(crate) fn heal(&self) {
        *self.plan.state() = State::default();
    }

    /// The calls made since the last [`Faulty::fail`] or [`Faulty::heal`], also those that failed.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.plan.state().calls.clone()
    }

    /// How many of these calls were of `verb`.
    pub(crate) fn count(&self, verb: &str) -> usize {
        self.plan.state().calls.iter().filter(|call| call.verb == verb).count()
    }
}

impl Plan {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Records a call and gives the fault it is to meet.
    fn record(&self, verb: &'static str, path: String) -> Option<Fault> {
        let mut state = self.state();
        let number = state.calls.len();
        state.calls.push(Call { verb, path });
        state.fault.filter(|(planned, _)| *planned == number).map(|(_, fault)| fault)
    }

    /// Makes a call, or not, as planned.
    async fn call<T>(
        &self,
        verb: &'static str,
        path: impl ToString + Send,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let path = path.to_string();
        let failed = |path| Error::Backend { operation: verb, path, retry: Retry::Later, source: "planned".into() };
        match self.record(verb, path.clone()) {
            None => call.await,
            Some(Fault::Before) => Err(failed(path)),
            Some(Fault::After) => match call.await {
                Ok(_) => Err(failed(path)),
                Err(error) => Err(error),
            },
            Some(Fault::NoSpace) => Err(Error::NoSpace { path }),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }

    fn wrap(self: &Arc<Self>, path: &StoragePath, inner: Box<dyn StagedWrite>) -> Box<dyn StagedWrite> {
        Box::new(Staged { inner, path: path.clone(), plan: Arc::clone(self) })
    }
}

#[async_trait]
impl Driver for Faulty {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn latency(&self) -> Latency {
        self.latency
    }

    async fn stat(&self, path: &StoragePath) -> Result<Stat> {
        self.plan.call("stat", path, self.inner.stat(path)).await
    }

    async fn read(&self, path: &StoragePath, limit: u64) -> Result<Bytes> {
        self.plan.call("read", path, self.inner.read(path, limit)).await
    }

    async fn open(&self, path: &StoragePath, reading: Reading) -> Result<Object> {
        self.plan.call("open", path, self.inner.open(path, reading)).await
    }

    async fn write(&self, path: &StoragePath, content: Bytes, mode: WriteMode) -> Result<()> {
        self.plan.call("write", path, self.inner.write(path, content, mode)).await
    }

    async fn write_many(&self, objects: Vec<(StoragePath, Bytes)>) -> Result<()> {
        let first = objects.first().map_or_else(String::new, |(path, _)| path.to_string());
        self.plan.call("write_many", first, self.inner.write_many(objects)).await
    }

    async fn delete_many(&self, paths: &[StoragePath]) -> Result<()> {
        let first = paths.first().map_or_else(String::new, ToString::to_string);
        self.plan.call("delete_many", first, self.inner.delete_many(paths)).await
    }

    async fn move_many(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        let first = moves.first().map_or_else(String::new, |(from, _)| from.to_string());
        self.plan.call("move_many", first, self.inner.move_many(moves)).await
    }

    async fn put_aside(&self, moves: &[(StoragePath, StoragePath)]) -> Result<Vec<StoragePath>> {
        let first = moves.first().map_or_else(String::new, |(from, _)| from.to_string());
        self.plan.call("put_aside", first, self.inner.put_aside(moves)).await
    }

    async fn space(&self, at: &StoragePath) -> Result<Option<Space>> {
        self.plan.call("space", at, self.inner.space(at)).await
    }

    async fn tidy(&self, prefix: &StoragePath, before: SystemTime, share: Share) -> Result<u64> {
        self.plan.call("tidy", prefix, self.inner.tidy(prefix, before, share)).await
    }

    async fn hold(&self, path: &StoragePath) -> Result<Hold> {
        self.plan.call("hold", path, self.inner.hold(path)).await
    }

    async fn delete_once(&self, paths: &[StoragePath], issued: SystemTime) -> Result<()> {
        let first = paths.first().map_or_else(String::new, ToString::to_string);
        self.plan.call("delete_once", first, self.inner.delete_once(paths, issued)).await
    }

    async fn tree(&self, prefix: &StoragePath, page: &ListPage) -> Result<Tree> {
        self.plan.call("tree", prefix, self.inner.tree(prefix, page)).await
    }

    async fn directories(&self, prefix: &StoragePath, page: &ListPage) -> Result<(Vec<String>, Option<ListPage>)> {
        self.plan.call("directories", prefix, self.inner.directories(prefix, page)).await
    }

    async fn leaves(&self, prefix: &StoragePath, leaf: &str, names: Vec<String>) -> Result<Vec<(String, Stat)>> {
        self.plan.call("leaves", prefix, self.inner.leaves(prefix, leaf, names)).await
    }

    async fn read_many(&self, paths: Vec<StoragePath>, limits: ReadLimits) -> Result<Vec<Result<Bytes>>> {
        let first = paths.first().map_or_else(String::new, ToString::to_string);
        self.plan.call("read_many", first, self.inner.read_many(paths, limits)).await
    }

    async fn unfinished_writes(&self, before: SystemTime, what: Unfinished) -> Result<u64> {
        self.plan.call("unfinished_writes", "", self.inner.unfinished_writes(before, what)).await
    }

    async fn delete_prefix(&self, prefix: &StoragePath) -> Result<()> {
        self.plan.call("delete_prefix", prefix, self.inner.delete_prefix(prefix)).await
    }

    async fn list(&self, prefix: &StoragePath, page: &ListPage) -> Result<Listing> {
        self.plan.call("list", prefix, self.inner.list(prefix, page)).await
    }

    async fn presigned_url(&self, path: &StoragePath, method: PresignMethod) -> Result<Option<String>> {
        self.plan.call("presigned_url", path, self.inner.presigned_url(path, method)).await
    }

    async fn stage(&self, staging: &StoragePath) -> Result<Box<dyn StagedWrite>> {
        let inner = self.plan.call("stage", staging, self.inner.stage(staging)).await?;
        Ok(self.plan.wrap(staging, inner))
    }

    async fn create(&self, target: &StoragePath, length: Option<u64>) -> Result<Box<dyn StagedWrite>> {
        let inner = self.plan.call("create", target, self.inner.create(target, length)).await?;
        Ok(self.plan.wrap(target, inner))
    }

    async fn resume(&self, staging: &StoragePath, state: &[u8]) -> Result<Box<dyn StagedWrite>> {
        let inner = self.plan.call("resume", staging, self.inner.resume(staging, state)).await?;
        Ok(self.plan.wrap(staging, inner))
    }

    async fn staged_length(&self, staging: &StoragePath, state: &[u8]) -> Result<u64> {
        self.plan.call("staged_length", staging, self.inner.staged_length(staging, state)).await
    }

    async fn discard_staged(&self, staging: &StoragePath, state: &[u8]) -> Result<()> {
        self.plan.call("discard_staged", staging, self.inner.discard_staged(staging, state)).await
    }
}

#[derive(Debug)]
struct Staged {
    inner: Box<dyn StagedWrite>,
    path: StoragePath,
    plan: Arc<Plan>,
}

#[async_trait]
impl StagedWrite for Staged {
    fn length(&self) -> u64 {
        self.inner.length()
    }

    async fn append(&mut self, chunks: Vec<Bytes>) -> Result<()> {
        self.plan.call("append", &self.path, self.inner.append(chunks)).await
    }

    async fn read_back(&mut self, range: Range<u64>) -> Result<Bytes> {
        self.plan.call("read_back", &self.path, self.inner.read_back(range)).await
    }

    async fn suspend(self: Box<Self>) -> Result<Vec<u8>> {
        self.plan.call("suspend", &self.path, self.inner.suspend()).await
    }

    async fn publish(self: Box<Self>, path: &StoragePath) -> Result<()> {
        self.plan.call("publish", path, self.inner.publish(path)).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.plan.call("abort", &self.path, self.inner.abort()).await
    }
}

mod tests {
    use std::sync::Arc;

    use super::{FAULTS, Fault, Faulty};
    use crate::storage::driver::memory::Memory;
    use crate::storage::driver::{
        Driver, WriteMode,
        contract::{contract_tests, one_place_tests},
    };
    use crate::storage::error::Error;
    use crate::storage::layout::StoragePath;

    contract_tests!({
        let driver: Arc<dyn Driver> = Arc::new(Faulty::new(Arc::new(Memory::new())));
        (driver, ())
    });

    one_place_tests!({
        let driver: Arc<dyn Driver> = Arc::new(Faulty::new(Arc::new(Memory::new())));
        (driver, ())
    });

    #[tokio::test]
    async fn the_planned_call_fails_as_planned_and_no_other() {
        let driver = Faulty::new(Arc::new(Memory::new()));
        let path = StoragePath::for_test("a/b");
        for fault in FAULTS {
            let written = fault == Fault::After;
            driver.fail(1, fault);
            assert!(driver.stat(&path).await.unwrap_err().is_not_found());
            let error = driver.write(&path, "x".into(), WriteMode::Overwrite).await.unwrap_err();
            assert_eq!(matches!(error, Error::NoSpace { .. }), fault == Fault::NoSpace);
            assert_eq!(driver.read(&path, 10).await.is_ok(), written, "{fault:?}");
            assert_eq!((driver.calls().len(), driver.count("write")), (3, 1));
            driver.heal();
            driver.delete(&path).await.unwrap();
            assert_eq!(driver.calls().len(), 1);
        }
        driver.fail(0, Fault::Hang);
        let hung = tokio::select! {
            biased;
            result = driver.stat(&path) => result.is_ok(),
            () = tokio::task::yield_now() => true,
        };
        assert!(hung);
    }
}
