//! The real writers and the real collector over one store, step by step in an order that a seed chooses.
//!
//! Every call of the store waits until the scheduler lets it go on, so that anything may happen between any two calls; a
//! failing seed is run again with `BERTH_SEED=<seed>`. Judged is what matters: an acknowledged push whose tag stands is whole.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::gc::{Takeover, Untagged};
use crate::storage::Result as Stored;
use crate::storage::driver::{
    Latency, Listing, Object, PresignMethod, Reading, Space, StagedWrite, Stat, Unfinished, WriteMode,
};

/// A driver whose every call first stops once, so that the scheduler can let others go first.
#[derive(Debug)]
pub(super) struct Stepping(Arc<dyn Driver>);

impl Stepping {
    pub(super) fn new(inner: Arc<dyn Driver>) -> Self {
        Self(inner)
    }
}

/// Stops once.
struct Step(bool);

impl Future for Step {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Groups of futures poll only those of theirs that asked for it.
        context.waker().wake_by_ref();
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

macro_rules! steps {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        #[async_trait]
        impl Driver for Stepping {
            fn name(&self) -> &'static str {
                self.0.name()
            }
            fn latency(&self) -> Latency {
                Latency::Local
            }
            $(async fn $name(&self, $($argument: $type),*) -> Stored<$result> {
                Step(false).await;
                self.0.$name($($argument),*).await
            })*
            async fn delete_many(&self, paths: &[StoragePath]) -> Stored<()> {
                // A batch is many deletes, and takes effect bit by bit.
                for path in paths {
                    Step(false).await;
                    self.0.delete(path).await?;
                }
                Ok(())
            }
            async fn move_many(&self, moves: &[(StoragePath, StoragePath)]) -> Stored<Vec<StoragePath>> {
                for one in moves {
                    Step(false).await;
                    self.0.move_many(std::slice::from_ref(one)).await?;
                }
                Ok(Vec::new())
            }
            async fn delete_once(&self, paths: &[StoragePath], _issued: SystemTime) -> Stored<()> {
                self.delete_many(paths).await
            }
            async fn write_many(&self, objects: Vec<(StoragePath, Bytes)>) -> Stored<()> {
                for (path, content) in objects {
                    Step(false).await;
                    self.0.write(&path, content, WriteMode::Overwrite).await?;
                }
                Ok(())
            }
        }
    };
}

steps! {
    stat(path: &StoragePath) -> Stat;
    read(path: &StoragePath, limit: u64) -> Bytes;
    open(path: &StoragePath, reading: Reading) -> Object;
    write(path: &StoragePath, content: Bytes, mode: WriteMode) -> ();
    delete_prefix(prefix: &StoragePath) -> ();
    space(at: &StoragePath) -> Option<Space>;
    list(prefix: &StoragePath, page: &ListPage) -> Listing;
    presigned_url(path: &StoragePath, method: PresignMethod) -> Option<String>;
    stage(staging: &StoragePath) -> Box<dyn StagedWrite>;
    create(target: &StoragePath, length: Option<u64>) -> Box<dyn StagedWrite>;
    resume(staging: &StoragePath, state: &[u8]) -> Box<dyn StagedWrite>;
    staged_length(staging: &StoragePath, state: &[u8]) -> u64;
    discard_staged(staging: &StoragePath, state: &[u8]) -> ();
    unfinished_writes(before: SystemTime, what: Unfinished) -> u64;
}

/// What was acknowledged: which manifest each tag of repository `a` was last moved to, and whether that is still going on.
type Acknowledged = Arc<Mutex<Vec<(String, Digest)>>>;

struct Cast {
    registry: Arc<Registry>,
    acknowledged: Acknowledged,
}

impl Cast {
    /// Pushes an image of shared parts as a client does: what is there is not sent again.
    async fn image(&self, layer: &'static str, tagged: Option<&'static str>) -> Option<Digest> {
        let (registry, repository) = (&self.registry, name("a"));
        let parts = [format!("config of {layer}"), layer.to_owned(), "base".to_owned()];
        for part in &parts {
            let digest = sha256(part.as_bytes());
            if registry.blob_size(&repository, &digest).await.is_err() {
                let bytes = Bytes::copy_from_slice(part.as_bytes());
                let body: Body<'static> = Box::pin(futures_util::stream::iter([Ok(bytes)]));
                registry.upload_blob(&repository, &digest, body.into()).await.unwrap();
            }
        }
        let digests = parts.map(|part| sha256(part.as_bytes()));
        self.put(image_of(&digests[0], &digests[1..], ""), tagged).await
    }

    async fn put(&self, manifest: Bytes, tagged: Option<&'static str>) -> Option<Digest> {
        let digest = sha256(&manifest);
        let reference = tagged.map_or(Reference::Digest(digest), |text| Reference::Tag(tag(text)));
        // Refusals are allowed: the client pushes again.
        self.registry.put_manifest(&name("a"), &reference, &[], None, manifest).await.ok()?;
        if let Some(tagged) = tagged {
            self.acknowledged.lock().unwrap().push((tagged.to_owned(), digest));
        }
        Some(digest)
    }

    async fn index(&self, layer: &'static str, tagged: &'static str) {
        if let Some(child) = self.image(layer, None).await {
            self.put(index_of(&[child]), Some(tagged)).await;
        }
    }
}

/// One run; gives how many pushes were acknowledged and how much was removed.
async fn play(seed: u64) -> (usize, u64) {
    let memory = memory();
    let first = registry(&memory);
    // Garbage that the pushes below want back: an untagged image, and a layer without any.
    push_image(&first, "a", "one", None, "").await;
    push_image(&first, "a", "three", Some("moving"), "").await;
    push_blob(&first, "a", b"two").await;
    let driver: Arc<dyn Driver> = Arc::new(Stepping(Arc::clone(&memory)));
    let acknowledged = Acknowledged::default();
    // Two replicas, which share nothing but the store.
    let [one, two] =
        [(); 2].map(|()| Cast { registry: Arc::new(registry(&driver)), acknowledged: Arc::clone(&acknowledged) });
    let removed = Arc::new(Mutex::new(0));
    let collectors = [0, 1].map(|_| {
        let (store, removed) = (store(&driver), Arc::clone(&removed));
        async move {
            let config = Collection { manifest_limit: 1 << 20, ..no_grace(Untagged::Remove) };
            for _ in 0..2 {
                // Another collector removing things is a doubt, and doubt stops it.
                if let Ok(report) = Collector::new(store.clone(), config).collect(&|_| {}).await {
                    *removed.lock().unwrap() += report.removed.manifests + report.removed.blobs;
                }
            }
        }
    });
    let [first_collector, second_collector] = collectors;
    let mut players: Vec<BoxFuture<'_, ()>> = vec![first_collector.boxed()];
    if seed.is_multiple_of(2) {
        players.push(second_collector.boxed());
    }
    players.push(one.image("one", Some("x")).map(|_| ()).boxed());
    players.push(async { one.index("two", "y").await }.boxed());
    players.push(
        async {
            two.index("one", "z").await;
            two.image("three", Some("w")).await;
            let deleted = two.registry.delete_manifest(&name("a"), &Reference::Tag(tag("moving"))).await;
            drop(deleted);
        }
        .boxed(),
    );
    if seed.is_multiple_of(3) {
        players.push(
            async {
                // What it cannot put back this time it says, and it goes on with the rest.
                drop(undo(&driver).run().await);
            }
            .boxed(),
        );
    }
    run_interleaved(players, seed).await;
    let acknowledged = acknowledged.lock().unwrap().clone();
    for (tagged, digest) in &acknowledged {
        assert_complete(&memory, tagged, digest, seed).await;
    }
    assert_nothing_is_lost(&memory, seed).await;
    let removed = *removed.lock().unwrap();
    (acknowledged.len(), removed)
}

/// Polls one player after the other, in an order that `seed` chooses, until all are done. Some sleep for long stretches.
async fn run_interleaved(mut players: Vec<BoxFuture<'_, ()>>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut idle = 0;
    while !players.is_empty() {
        let mut at = random.random_range(0..players.len());
        // Bursts: one player often takes many steps in a row.
        let longest = [1, 4, 40][random.random_range(0..3)];
        for _ in 0..random.random_range(1..=longest) {
            let Some(player) = players.get_mut(at) else { break };
            if player.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                drop(players.remove(at));
                at = 0;
                break;
            }
        }
        idle += 1;
        if idle % 50 == 0 {
            // Whoever waits for time to pass gets it.
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(idle < 100_000, "seed {seed}: {} players do not get on", players.len());
    }
}

/// Whatever was collected was kept, and can be put back.
async fn assert_nothing_is_lost(driver: &Arc<dyn Driver>, seed: u64) {
    // Collections that stopped in the middle are finished before.
    let finisher =
        Collection { takeover: Takeover::Everything, grace: Duration::from_hours(1), ..no_grace(Untagged::Keep) };
    // What a refused push left may stop it afterwards.
    drop(Collector::new(store(driver), finisher).collect(&|_| {}).await);
    let report = undo(driver).run().await.unwrap();
    assert_eq!((report.not_put_back, report.being_swept), (Vec::new(), 0), "seed {seed}");
    for layer in ["one", "two", "three"] {
        assert!(has_blob(driver, layer).await, "seed {seed}: {layer} is lost");
    }
    assert_eq!(store(driver).bins().await.unwrap(), [], "seed {seed}");
}

async fn assert_complete(driver: &Arc<dyn Driver>, tagged: &str, digest: &Digest, seed: u64) {
    let store = store(driver);
    let current = store.resolve_tag(&name("a"), &tag(tagged)).await.unwrap();
    assert_eq!(current.as_ref(), Some(digest), "seed {seed}: tag {tagged}");
    let mut todo = vec![*digest];
    while let Some(digest) = todo.pop() {
        let manifest = store.manifest(&name("a"), &digest, 1 << 20).await.unwrap();
        let (bytes, media_type) =
            manifest.unwrap_or_else(|| panic!("seed {seed}: {tagged} lacks the manifest {digest}"));
        let manifest = crate::oci::Manifest::parse(Some(media_type), bytes, Algorithm::Sha256).unwrap();
        for relation in manifest.relations() {
            let part = relation.descriptor.digest;
            if relation.role == crate::oci::Role::Child {
                todo.push(part);
            } else {
                let size = store.blob_size(&name("a"), &part).await.unwrap();
                assert!(size.is_some(), "seed {seed}: {tagged} lacks the blob {part}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_order_of_steps_loses_an_acknowledged_push() {
    let number = |variable| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("BERTH_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BERTH_SEEDS").unwrap_or(400),
    };
    let (mut acknowledged, mut removed, mut played) = (0, 0, 0);
    for seed in seeds {
        let (pushes, things) = Box::pin(play(seed)).await;
        acknowledged += pushes;
        removed += things;
        played += 1;
    }
    println!("{played} runs, {acknowledged} pushes acknowledged, {removed} things removed");
    assert!(acknowledged >= played && removed >= 1, "the play is too tame to show anything");
}
