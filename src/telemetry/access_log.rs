//! The access log.

use http::{Request, StatusCode};

use super::{AccessLog, PeerAddress};

/// Where access log lines go: nowhere, or through a bounded queue to stdout. Clones share the queue.
#[derive(Debug, Clone)]
pub struct AccessLogSink {}
#[derive(Debug)]
pub(super) struct Entry {}
impl Entry {
    pub(super) fn of<B>(_request: &Request<B>, _peer: PeerAddress) -> Self {
        Self {}
    }
}

impl AccessLogSink {
    /// A sink for `log.accesslog`. When enabled, starts the thread that writes to stdout.
    #[must_use]
    pub fn start(_mode: AccessLog) -> Self {
        Self {}
    }

    /// A sink that writes nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self {}
    }
    pub(super) fn is_enabled(&self) -> bool {
        false
    }
    pub(super) fn write(&self, _entry: Entry, _status: Option<StatusCode>, _bytes: u64) {}
}
