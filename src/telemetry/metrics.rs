//! Counters of requests and storage actions under distribution's names, and their text form.
//!
//! Counting is a few atomic additions into tables made beforehand; only a scrape allocates. A series appears once it has
//! counted something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::Handler;
use super::exposition::Exposition;
use super::histogram::Histogram;

/// Upper bounds for request durations, in microseconds: those of distribution.
const DURATIONS: [u64; 13] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000,
    60_000_000,
];

/// Upper bounds for body sizes, in bytes: powers of two from 1 KiB to 2 GiB, as distribution has them.
const SIZES: [u64; 22] = {
    let mut sizes = [1024; 22];
    let mut at = 1;
    while at < sizes.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
        {
            sizes[at] = sizes[at - 1] * 2;
        }
        at += 1;
    }
    sizes
};

/// Storage actions that have a series of their own.
const ACTIONS: [&str; 7] = ["GetContent", "PutContent", "Stat", "List", "Move", "Delete", "RedirectURL"];

/// Status codes that have a series of their own; any other counts under the last, 0, which no response has.
const CODES: [u16; 27] = [
    200, 201, 202, 204, 206, 301, 304, 307, 400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 416, 429, 431, 499, 500,
    501, 503, 507, 0,
];

/// Durations in seconds.
pub(super) type DurationHistogram = Histogram<13>;

/// Sizes in bytes.
pub(super) type SizeHistogram = Histogram<22>;

/// Method label, in the spelling of distribution's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Other,
}

impl Method {
    pub(super) const ALL: [Self; 8] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options, Self::Other];

    pub(super) fn of(method: &http::Method) -> Self {
        match *method {
            http::Method::GET => Self::Get,
            http::Method::HEAD => Self::Head,
            http::Method::POST => Self::Post,
            http::Method::PUT => Self::Put,
            http::Method::PATCH => Self::Patch,
            http::Method::DELETE => Self::Delete,
            http::Method::OPTIONS => Self::Options,
            _ => Self::Other,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Options => "options",
            Self::Other => "unknown",
        }
    }
}

/// A request that is over.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) handler: Handler,
    pub(super) method: Method,
    /// `None` when the client left before there was a response.
    pub(super) status: Option<StatusCode>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

/// The counters of one handler.
#[derive(Debug)]
pub(super) struct HandlerTable {
    pub(super) requests: [[AtomicU64; CODES.len()]; Method::ALL.len()],
    pub(super) durations: [DurationHistogram; Method::ALL.len()],
    pub(super) request_sizes: SizeHistogram,
    pub(super) response_sizes: SizeHistogram,
}

impl HandlerTable {
    fn new() -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            durations: std::array::from_fn(|_| Histogram::new(&DURATIONS)),
            request_sizes: Histogram::new(&SIZES),
            response_sizes: Histogram::new(&SIZES),
        }
    }

    /// Status code and count of each series of `method`.
    pub(super) fn counts(&self, method: Method) -> impl Iterator<Item = (u16, u64)> {
        let row = self.requests.get(method as usize).into_iter().flatten();
        CODES.into_iter().zip(row).map(|(code, count)| (code, count.load(Relaxed))).filter(|(_, count)| *count > 0)
    }
}

/// Everything counted.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) in_flight: AtomicU64,
    pub(super) handlers: [HandlerTable; Handler::ALL.len()],
    pub(super) storage: std::sync::OnceLock<StorageMetrics>,
}

/// All metrics of the process. Clones share the counters.
#[derive(Debug, Clone)]
pub struct Metrics {
    tables: Arc<Tables>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters at zero.
    #[must_use]
    pub fn new() -> Self {
        let handlers = std::array::from_fn(|_| HandlerTable::new());
        let tables = Tables { in_flight: AtomicU64::new(0), handlers, storage: std::sync::OnceLock::new() };
        Self { tables: Arc::new(tables) }
    }

    /// The counters of storage actions, labelled with the name of the driver of the first call.
    #[must_use]
    pub fn storage(&self, driver: &str) -> StorageMetrics {
        self.tables.storage.get_or_init(|| StorageMetrics::new(driver)).clone()
    }

    /// Everything in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Exposition(Arc::clone(&self.tables))));
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }

    pub(super) fn started(&self) {
        self.tables.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn finished(&self, finished: &Finished, elapsed: Duration) {
        self.tables.in_flight.fetch_sub(1, Relaxed);
        let Some(table) = self.tables.handlers.get(finished.handler.index()) else { return };
        let code = finished.status.map_or(499, |status| status.as_u16());
        let code = CODES.iter().position(|known| *known == code).unwrap_or(CODES.len() - 1);
        let method = finished.method as usize;
        if let Some(count) = table.requests.get(method).and_then(|row| row.get(code)) {
            count.fetch_add(1, Relaxed);
        }
        if let Some(durations) = table.durations.get(method) {
            durations.observe(micros(elapsed));
        }
        table.request_sizes.observe(finished.request_bytes);
        table.response_sizes.observe(finished.response_bytes);
    }
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// `registry_storage_action_seconds`. Clones share the counters.
#[derive(Debug, Clone)]
pub struct StorageMetrics {
    pub(super) driver: Arc<str>,
    actions: Arc<[DurationHistogram; ACTIONS.len() + 1]>,
}

impl StorageMetrics {
    fn new(driver: &str) -> Self {
        Self { driver: driver.into(), actions: Arc::new(std::array::from_fn(|_| Histogram::new(&DURATIONS))) }
    }

    /// Counts one action of the driver. `action` is one of distribution's names: `GetContent`, `PutContent`, `Stat`,
    /// `List`, `Move`, `Delete`, `RedirectURL`; another name counts as `Other`.
    pub fn observe(&self, action: &'static str, elapsed: Duration) {
        let at = ACTIONS.iter().position(|known| *known == action).unwrap_or(ACTIONS.len());
        if let Some(histogram) = self.actions.get(at) {
            histogram.observe(micros(elapsed));
        }
    }

    /// Name and durations of each action.
    pub(super) fn actions(&self) -> impl Iterator<Item = (&'static str, &DurationHistogram)> {
        ACTIONS.into_iter().chain(["Other"]).zip(self.actions.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(status: u16) -> Finished {
        Finished {
            handler: Handler::Blob,
            method: Method::Get,
            status: StatusCode::from_u16(status).ok(),
            request_bytes: 0,
            response_bytes: 2_000,
        }
    }

    #[test]
    fn requests_appear_under_the_names_of_distribution() {
        let metrics = Metrics::new();
        metrics.started();
        metrics.started();
        metrics.finished(&finished(200), Duration::from_millis(7));
        let text = metrics.encode();
        for line in [
            "registry_http_in_flight_requests 1",
            r#"registry_http_requests_total{handler="blob",method="get",code="200"} 1"#,
            r#"registry_http_request_duration_seconds_bucket{le="0.005",handler="blob",method="get"} 0"#,
            r#"registry_http_request_duration_seconds_bucket{le="0.01",handler="blob",method="get"} 1"#,
            r#"registry_http_response_size_bytes_sum{handler="blob"} 2000.0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "missing: {line}\n{text}");
        }
        assert!(!text.contains(r#"handler="manifest""#), "a series that counted nothing");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_status_without_a_series_is_still_counted() {
        let metrics = Metrics::new();
        metrics.started();
        metrics.finished(&finished(418), Duration::ZERO);
        let text = metrics.encode();
        assert!(text.contains(r#"requests_total{handler="blob",method="get",code="other"} 1"#), "{text}");
    }

    #[test]
    fn storage_actions_carry_driver_and_action() {
        let metrics = Metrics::new();
        metrics.storage("filesystem").observe("GetContent", Duration::from_micros(10));
        metrics.storage("filesystem").observe("Teleport", Duration::from_micros(10));
        let text = metrics.encode();
        for action in ["GetContent", "Other"] {
            let line = format!(r#"registry_storage_action_seconds_count{{driver="filesystem",action="{action}"}} 1"#);
            assert!(text.contains(&line), "{text}");
        }
    }
}
