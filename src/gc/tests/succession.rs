//! Who works when: locks, signs of life, succession to the dead, and rounds of a schedule.

use super::*;
use crate::gc::schedule::{LOOK, SILENT_LOOKS};
use crate::gc::{Rescuer, Scheduled, Scheduler};
use crate::storage::FilesystemConfig;
use crate::storage::collection::{EpochId, Key};
use crate::storage::driver::filesystem::Filesystem;
use crate::storage::driver::{Access, Hold, WriteMode};

/// An epoch that was decided by somebody who is not known here, and what it dooms.
async fn decided_epoch(driver: &Arc<dyn Driver>) -> EpochId {
    let store = store(driver);
    let digest = push_blob(&registry(driver), "a", b"doomed").await;
    let epoch = EpochId::random();
    store.give_sign_of_life(epoch, 0, Bytes::from_static(b"{}"), WriteMode::Overwrite).await.unwrap();
    store.announce(epoch, &[Key::Blob(digest)]).await.unwrap();
    store.close(epoch).await.unwrap();
    store.decide(epoch, &[Key::Blob(digest)]).await.unwrap();
    epoch
}

#[tokio::test]
async fn on_a_disk_a_lock_tells_the_dead_from_the_living() {
    let directory = tempfile::tempdir().unwrap();
    let config = FilesystemConfig { root_directory: directory.path().to_owned(), ..Default::default() };
    let open = || -> Arc<dyn Driver> { Arc::new(Filesystem::open(&config, Access::ReadWrite).unwrap()) };
    let (driver, theirs) = (open(), open());
    let epoch = decided_epoch(&driver).await;
    let held = store(&theirs).hold_epoch(epoch).await.unwrap();
    assert!(matches!(held, Hold::Mine(_)));
    let young = Collection { grace: Duration::from_hours(1), ..no_grace(Untagged::Keep) };
    let report = Collector::new(store(&driver), young).collect(&|_| {}).await.unwrap();
    assert_eq!((report.recovered, has_blob(&driver, "doomed").await), (0, true));
    drop(held);
    let report = Collector::new(store(&driver), young).collect(&|_| {}).await.unwrap();
    assert_eq!((report.recovered, has_blob(&driver, "doomed").await), (1, false));
}

#[tokio::test(start_paused = true)]
async fn where_no_lock_tells_whoever_gives_no_sign_for_long_is_succeeded() {
    let driver = memory();
    let epoch = decided_epoch(&driver).await;
    let mut rescuer = Rescuer::new(store(&driver), 1 << 20);
    for look in 0..SILENT_LOOKS {
        if look == 1 {
            // It lives.
            let sign = Bytes::from_static(b"{\"beat\":2}");
            store(&driver).give_sign_of_life(epoch, 0, sign, WriteMode::Overwrite).await.unwrap();
        }
        assert_eq!(rescuer.look().await.unwrap(), 0);
    }
    assert!(has_blob(&driver, "doomed").await);
    assert_eq!(rescuer.look().await.unwrap(), 0, "the sign changed after the first look");
    assert_eq!(rescuer.look().await.unwrap(), 1);
    assert!(!has_blob(&driver, "doomed").await);
    assert_eq!(store(&driver).epochs().await.unwrap().active.len(), 0);
}

fn scheduler(driver: &Arc<dyn Driver>) -> Scheduler {
    let schedule = "0 0 1 1 *".parse().unwrap();
    let config = Scheduled {
        schedule,
        grace: Duration::ZERO,
        untagged: Untagged::Remove,
        keep_removed: Collection::KEEP_REMOVED,
    };
    Scheduler::new(store(driver), config, 1 << 20)
}

#[tokio::test(start_paused = true)]
async fn of_several_replicas_one_collects() {
    let directory = tempfile::tempdir().unwrap();
    let config = FilesystemConfig { root_directory: directory.path().to_owned(), ..Default::default() };
    let disk: Arc<dyn Driver> = Arc::new(Filesystem::open(&config, Access::ReadWrite).unwrap());
    for driver in [memory(), disk] {
        push_blob(&registry(&driver), "a", b"garbage").await;
        let at = std::time::SystemTime::now();
        let replicas = [(); 3].map(|()| scheduler(&driver));
        let rounds = replicas.iter().map(|replica| replica.round(at));
        let reports = futures_util::future::try_join_all(rounds).await.unwrap();
        let removed: Vec<u64> = reports.iter().flatten().map(|report| report.removed.blobs).collect();
        assert_eq!(removed, [1], "{}", driver.name());
        assert!(scheduler(&driver).round(at).await.unwrap().is_none(), "the round is over");
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_whose_replica_died_is_taken_over() {
    let driver = memory();
    push_blob(&registry(&driver), "a", b"garbage").await;
    let at = std::time::SystemTime::now();
    let round = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    store(&driver).write_round(round, Bytes::from_static(b"dead"), WriteMode::Overwrite).await.unwrap();
    let begun = tokio::time::Instant::now();
    let report = scheduler(&driver).round(at).await.unwrap().unwrap();
    assert_eq!(report.removed.blobs, 1);
    assert!(begun.elapsed() >= LOOK * SILENT_LOOKS);
}

#[test]
fn schedules_are_in_utc_and_have_to_come_true() {
    let time = |seconds| std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    let nightly: crate::gc::Schedule = "0 3 * * *".parse().unwrap();
    assert_eq!(nightly.next_after(time(0)), Some(time(3 * 3600)));
    assert_eq!(nightly.next_after(time(3 * 3600)), Some(time(27 * 3600)));
    for wrong in ["", "soon", "61 * * * *", "0 0 31 2 *"] {
        assert!(wrong.parse::<crate::gc::Schedule>().is_err(), "{wrong}");
    }
}
