//! What is known of one request, collected while it runs and reported when it is dropped.
//!
//! On the path of every request: no allocation unless the access log is on.

use std::time::Instant;

use http::{Request, StatusCode, header};

use super::access_log::Entry;
use super::metrics::{Finished, Method};
use super::{AccessLogSink, Handler, Metrics, PeerAddress, Telemetry};

/// A request under way. Dropping it counts it and writes its access log line, also when its connection broke.
#[derive(Debug)]
pub struct RequestRecord {
    metrics: Metrics,
    access_log: AccessLogSink,
    entry: Option<Box<Entry>>,
    finished: Finished,
    started: Instant,
}

impl Telemetry {
    /// Counts a request as in flight and begins its record.
    #[must_use]
    pub fn begin<B>(&self, request: &Request<B>, peer: PeerAddress) -> RequestRecord {
        self.metrics.started();
        let length =
            request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        RequestRecord {
            metrics: self.metrics.clone(),
            access_log: self.access_log.clone(),
            entry: self.access_log.is_enabled().then(|| Box::new(Entry::of(request, peer))),
            finished: Finished {
                handler: Handler::Other,
                method: Method::of(request.method()),
                status: None,
                request_bytes: length.unwrap_or(0),
                response_bytes: 0,
            },
            started: Instant::now(),
        }
    }
}

impl RequestRecord {
    /// The response's head is known.
    pub fn answered(&mut self, status: StatusCode, handler: Handler) {
        self.finished.status = Some(status);
        self.finished.handler = handler;
    }

    /// `count` more bytes of the response's body were handed to the connection.
    pub fn sent(&mut self, count: u64) {
        self.finished.response_bytes += count;
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.metrics.finished(&self.finished, self.started.elapsed());
        if let Some(entry) = self.entry.take() {
            self.access_log.write(*entry, self.finished.status, self.finished.response_bytes);
        }
    }
}
