//! Health checks: what is asked, how often, and the verdict.
//!
//! The verdict is one atomic flag for the path of every request; the reasons behind it are under a lock for those who ask.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use super::health_probes::{HttpTarget, file_is_absent, tcp_accepts};
use super::{Health, Probe, TelemetryError};

/// Asks the storage driver whether it is there; the error is what `/debug/health` shows. Called once for each interval.
pub type StorageProbe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The checks and their verdict. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct HealthChecks {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    failing: AtomicBool,
    reasons: Mutex<BTreeMap<String, String>>,
}

impl HealthChecks {
    /// No checks, healthy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the configured checks on the current runtime; each is made at once and then after each interval, for as long
    /// as the process runs. `storage` is the check's name (`storagedriver_filesystem`) and the question; it is used when
    /// `health.storagedriver` is enabled. On an error no check was started.
    pub fn start(&self, config: &Health, storage: Option<(String, StorageProbe)>) -> Result<(), TelemetryError> {
        let targets: Result<Vec<_>, _> = config.http.iter().map(HttpTarget::parse).collect();
        let targets = targets?;
        if let (Some(probe), Some((name, ask))) = (config.storage_driver, storage) {
            self.spawn(name, probe, move || ask());
        }
        for check in config.files.clone() {
            let name = check.file.display().to_string();
            self.spawn(name, check.probe, move || file_is_absent(check.file.clone()));
        }
        for (check, target) in config.http.iter().zip(targets) {
            let target = Arc::new(target);
            self.spawn(check.uri.clone(), check.probe, move || Arc::clone(&target).ask());
        }
        for check in config.tcp.clone() {
            self.spawn(check.addr.clone(), check.probe, move || tcp_accepts(check.addr.clone(), check.timeout));
        }
        Ok(())
    }

    /// What is wrong, as `check: error`, or `None` when all checks pass. Costs one atomic load when healthy.
    #[must_use]
    pub fn unhealthy(&self) -> Option<Arc<str>> {
        if !self.state.failing.load(Relaxed) {
            return None;
        }
        let reasons = self.reasons();
        reasons.iter().next().map(|(check, error)| format!("{check}: {error}").into())
    }

    /// Status and JSON body of `/debug/health`.
    pub(super) fn report(&self) -> (StatusCode, String) {
        let reasons = self.reasons();
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        // A map of strings always has a JSON form.
        (status, serde_json::to_string(&*reasons).unwrap_or_default())
    }

    fn reasons(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.state.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn<A>(&self, name: String, probe: Probe, mut ask: impl FnMut() -> A + Send + 'static)
    where
        A: Future<Output = Result<(), String>> + Send + 'static,
    {
        let health = self.clone();
        tokio::spawn(async move {
            let mut failures = Failures { threshold: probe.threshold, in_a_row: 0 };
            loop {
                let answer = ask().await;
                health.settle(&name, failures.count(answer));
                // An interval of zero would only burn the processor.
                tokio::time::sleep(probe.interval.max(std::time::Duration::from_millis(100))).await;
            }
        });
    }

    /// Records the verdict on one check: `Some` is why it fails.
    fn settle(&self, name: &str, verdict: Option<String>) {
        let mut reasons = self.reasons();
        match verdict {
            Some(reason) => {
                if reasons.insert(name.to_owned(), reason.clone()).is_none() {
                    tracing::error!(check = name, error = reason, "health check failed");
                }
            }
            None => {
                if reasons.remove(name).is_some() {
                    tracing::info!(check = name, "health check passes again");
                }
            }
        }
        self.state.failing.store(!reasons.is_empty(), Relaxed);
    }
}

/// Failures in a row of one check.
#[derive(Debug)]
struct Failures {
    threshold: u32,
    in_a_row: u32,
}

impl Failures {
    /// Takes an answer; `Some` with its error once there were enough failures in a row.
    fn count(&mut self, answer: Result<(), String>) -> Option<String> {
        match answer {
            Ok(()) => {
                self.in_a_row = 0;
                None
            }
            Err(error) => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                (self.in_a_row >= self.threshold).then_some(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::FileCheck;

    #[test]
    fn a_check_fails_at_its_threshold_and_one_success_clears_it() {
        let mut failures = Failures { threshold: 2, in_a_row: 0 };
        let failed = || Err("down".to_owned());
        assert_eq!(failures.count(failed()), None);
        assert_eq!(failures.count(failed()), Some("down".to_owned()));
        assert_eq!(failures.count(Ok(())), None);
        assert_eq!(failures.count(failed()), None);
        let mut first = Failures { threshold: 0, in_a_row: 0 };
        assert_eq!(first.count(failed()), Some("down".to_owned()));
    }

    #[test]
    fn the_report_names_each_failing_check() {
        let health = HealthChecks::new();
        assert_eq!(health.unhealthy(), None);
        health.settle("b", Some("gone".to_owned()));
        health.settle("a", Some("slow \"x\"".to_owned()));
        assert_eq!(health.unhealthy().as_deref(), Some("a: slow \"x\""));
        let expected = r#"{"a":"slow \"x\"","b":"gone"}"#;
        assert_eq!(health.report(), (StatusCode::SERVICE_UNAVAILABLE, expected.to_owned()));
        health.settle("a", None);
        health.settle("b", None);
        assert_eq!(health.report(), (StatusCode::OK, "{}".to_owned()));
        assert_eq!(health.unhealthy(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn checks_run_until_their_file_is_gone() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let probe = Probe { interval: Duration::from_secs(1), threshold: 2 };
        let config = Health { files: vec![FileCheck { file: file.path().to_owned(), probe }], ..Health::default() };
        let health = HealthChecks::new();
        health.start(&config, None).expect("starts");
        while health.unhealthy().is_none() {
            tokio::time::sleep(probe.interval).await;
        }
        file.close().expect("removed");
        while health.unhealthy().is_some() {
            tokio::time::sleep(probe.interval).await;
        }
    }
}
