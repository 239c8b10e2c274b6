//! Requests to remove something that went unanswered, and may arrive when nobody expects them any more.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::*;
use crate::gc::Event;
use crate::peers::faults::{Fault as Spoiled, FaultProxy, Plan};
use crate::peers::s3::{S3Options, S3Server};
use crate::storage::driver::faulty::{Fault, Faulty};
use crate::storage::driver::s3::{Addressing, Config as S3Config, Credentials, Secret};
use crate::storage::driver::{self, Latency};

/// Collects over a driver whose request number `number` meets `fault`; gives what happened and how long it took.
async fn collect_with(
    driver: &Faulty,
    number: Option<usize>,
    fault: Fault,
    during: impl AsyncFn(),
) -> (Result<Report, Error>, Duration) {
    match number {
        Some(number) => driver.fail(number, fault),
        None => driver.heal(),
    }
    let begun = Instant::now();
    let waiting = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&waiting);
    let config = no_grace(Untagged::Remove);
    let driver: Arc<dyn Driver> = Arc::new(driver.clone());
    let collecting = tokio::spawn(async move {
        let tell = |event: Event<'_>| {
            if matches!(event, Event::WaitingForRequests(_)) {
                told.notify_one();
            }
        };
        Collector::new(store(&driver), config).collect(&tell).await
    });
    tokio::select! {
        () = waiting.notified() => during().await,
        () = async { while !collecting.is_finished() { tokio::time::sleep(Duration::from_secs(1)).await } } => {}
    }
    let result = collecting.await.unwrap();
    (result, begun.elapsed())
}

/// Which calls of a collection remove things.
async fn removals(latency: Latency) -> Vec<usize> {
    let memory = memory();
    push_image(&registry(&memory), "a", "layer", None, "").await;
    let faulty = Faulty::at(latency, memory);
    let (result, took) = collect_with(&faulty, None, Fault::Before, async || {}).await;
    assert_eq!(result.unwrap().removed.manifests, 1);
    assert!(took < Duration::from_secs(5), "what was answered is not waited for: {took:?}");
    let calls = faulty.calls();
    calls.iter().enumerate().filter(|(_, call)| call.verb == "delete_once").map(|(number, _)| number).collect()
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_arrives_late_costs_no_push() {
    let removals = removals(Latency::Remote).await;
    assert!(removals.len() >= 3, "manifests, links and content go one after the other");
    for number in removals {
        let memory = memory();
        let untagged = push_image(&registry(&memory), "a", "layer", None, "").await;
        let everything = objects(&memory).await;
        let replica = registry(&memory);
        let config = sha256(b"config of layer");
        let manifest = image_of(&config, &[sha256(b"layer")], "");
        let faulty = Faulty::at(Latency::Remote, Arc::clone(&memory));
        let refused = AtomicBool::new(false);
        let during = async || {
            // The collector believes it repeated the removal; a client pushes again what is gone.
            push_blob(&replica, "a", b"config of layer").await;
            push_blob(&replica, "a", b"layer").await;
            let reference = Reference::Tag(tag("new"));
            let pushed = replica.put_manifest(&name("a"), &reference, &[], None, manifest.clone()).await;
            refused.store(pushed.is_err(), Ordering::Relaxed);
            // A moment before the request is certainly over it arrives.
            tokio::time::sleep(Collection::REQUEST_LIFETIME.saturating_sub(Duration::from_mins(2))).await;
            let lost: Vec<StoragePath> = everything.iter().map(|path| StoragePath::for_test(path)).collect();
            memory.delete_many(&lost).await.unwrap();
        };
        let (result, took) = collect_with(&faulty, Some(number), Fault::Before, during).await;
        result.unwrap();
        assert!(took >= Collection::REQUEST_LIFETIME, "call {number} was not waited out: {took:?}");
        assert!(refused.into_inner(), "a push was acknowledged while a removal of its parts was on its way");
        let again = push_image(&replica, "a", "layer", Some("new"), "").await;
        assert_eq!(again, untagged);
        assert!(has_blob(&memory, "layer").await && has_manifest(&memory, "a", &untagged).await);
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_may_have_begun_to_remove_is_waited_out() {
    for (latency, waits) in [(Latency::Remote, true), (Latency::Local, false)] {
        let memory = memory();
        push_image(&registry(&memory), "a", "layer", None, "").await;
        let faulty = Faulty::at(latency, Arc::clone(&memory));
        // The first collector dies in the middle of its removals.
        let first = *removals(latency).await.last().unwrap();
        let begun = Collector::new(store(&(Arc::new(faulty.clone()) as Arc<dyn Driver>)), no_grace(Untagged::Remove));
        faulty.fail(first, Fault::Hang);
        assert!(tokio::time::timeout(Duration::from_mins(30), begun.collect(&|_| {})).await.is_err());
        faulty.heal();
        let started = Instant::now();
        let report = begun.collect(&|_| {}).await.unwrap();
        assert_eq!(report.recovered, 1, "{latency:?}");
        assert_eq!(started.elapsed() >= Collection::REQUEST_LIFETIME, waits, "{latency:?}");
        assert!(!has_blob(&memory, "layer").await);
    }
}

#[tokio::test]
async fn a_bucket_that_closes_the_connection_without_an_answer_is_not_believed() {
    let server = S3Server::start(S3Options::default());
    let address = server.endpoint().trim_start_matches("http://").parse().unwrap();
    let proxy = Arc::new(FaultProxy::start(address, Plan::clean()).await.unwrap());
    let bucket = S3Config {
        endpoint: Some(proxy.endpoint()),
        addressing: Addressing::Path,
        region: server.region().to_owned(),
        credentials: Credentials::Given {
            access_key: server.access_key().to_owned(),
            secret_key: Secret::new(server.secret_key()),
            session_token: None,
        },
        ..S3Config::new(server.bucket())
    };
    let config = storage::Config { driver: storage::DriverConfig::S3(Box::new(bucket)), ..storage::Config::default() };
    let driver = driver::open(&config, driver::Access::ReadWrite).await.unwrap();
    for fault in [None, Some(Spoiled::ResetAfter), Some(Spoiled::ResetBefore), Some(Spoiled::SlowDown)] {
        push_blob(&registry(&driver), "a", b"layer").await;
        let waited = Mutex::new(Vec::new());
        let tell = |event: Event<'_>| match (event, fault) {
            (Event::Sweeping { .. }, Some(fault)) => {
                proxy.follow(Plan { percent: 100, faults: vec![fault], ..Plan::clean() });
                let proxy = Arc::clone(&proxy);
                let before: u64 = proxy.counts().by_fault.values().sum();
                tokio::spawn(async move {
                    while proxy.counts().by_fault.values().sum::<u64>() == before {
                        tokio::task::yield_now().await;
                    }
                    proxy.follow(Plan::clean());
                });
            }
            (Event::WaitingForRequests(time), _) => waited.lock().unwrap().push(time),
            _ => {}
        };
        let lifetime = Duration::from_millis(10);
        let config = Collection { request_lifetime: lifetime, ..no_grace(Untagged::Keep) };
        let report = Collector::new(store(&driver), config).collect(&tell).await.unwrap();
        assert_eq!((report.removed.layer_links, report.removed.blobs), (1, 1), "{fault:?}");
        let expected = if fault.is_some() { vec![lifetime] } else { Vec::new() };
        assert_eq!(*waited.lock().unwrap(), expected, "{fault:?}");
        assert!(!has_blob(&driver, "layer").await);
    }
}
