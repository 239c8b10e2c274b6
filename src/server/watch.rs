//! What a connection is doing, shared between its socket, its requests and their bodies so that each wait has its own limit.
//!
//! Only atomics: one connection is driven by one task, but bodies may be held elsewhere.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What an HTTP/1 connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between requests.
    Idle,
    /// The bytes of a request's head are arriving.
    Head,
    /// A request is being handled whose body is not read to its end.
    Receiving,
    /// A request is being handled or answered, and nothing more is expected from the client.
    Answering,
}

/// How the connection frames requests, which decides how a stall shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// One request at a time: waiting shows on the socket.
    Http1,
    /// Many streams on one socket: waiting shows on the bodies.
    Http2,
}

/// State of one connection.
#[derive(Debug)]
pub(super) struct Watch {
    opened: Instant,
    framing: Framing,
    phase: AtomicU8,
    requests: AtomicUsize,
    bodies: AtomicUsize,
    body_moved: AtomicU64,
}

impl Watch {
    /// A connection that was opened now and owes its first request.
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            opened: Instant::now(),
            framing,
            phase: AtomicU8::new(Phase::Head as u8),
            requests: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            body_moved: AtomicU64::new(0),
        }
    }

    /// How the connection frames requests.
    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// When the connection was opened.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// What an HTTP/1 connection is doing.
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Receiving,
            _ => Phase::Answering,
        }
    }

    /// The first bytes after an idle time have arrived.
    pub(super) fn head_begins(&self) {
        self.phase.store(Phase::Head as u8, Relaxed);
    }

    /// A request's head is complete.
    pub(super) fn request_begins(&self, phase: Phase) {
        self.requests.fetch_add(1, Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    /// The request's body was read to its end, or nobody wants the rest.
    pub(super) fn request_body_ended(&self) {
        let _ = self.phase.compare_exchange(Phase::Receiving as u8, Phase::Answering as u8, Relaxed, Relaxed);
    }

    /// The response was handed over in full, or given up.
    pub(super) fn request_ends(&self) {
        self.requests.fetch_sub(1, Relaxed);
        self.phase.store(Phase::Idle as u8, Relaxed);
    }

    /// Whether any request is being handled or answered.
    pub(super) fn is_busy(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    /// A body begins to wait for its peer (HTTP/2 only).
    pub(super) fn body_waits(&self) {
        self.body_moves();
        self.bodies.fetch_add(1, Relaxed);
    }

    /// A body that waited does so no more.
    pub(super) fn body_rests(&self) {
        self.bodies.fetch_sub(1, Relaxed);
    }

    /// Some body moved a frame.
    pub(super) fn body_moves(&self) {
        let since = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.body_moved.store(since, Relaxed);
    }

    /// When a body last moved, if any waits for its peer.
    pub(super) fn bodies_stalled_since(&self) -> Option<Instant> {
        (self.bodies.load(Relaxed) > 0).then(|| self.opened + Duration::from_millis(self.body_moved.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_passes_through_its_phases() {
        let watch = Watch::new(Framing::Http1);
        assert_eq!(watch.phase(), Phase::Head);
        watch.request_begins(Phase::Receiving);
        assert_eq!(watch.phase(), Phase::Receiving);
        watch.request_body_ended();
        assert_eq!(watch.phase(), Phase::Answering);
        watch.request_ends();
        assert_eq!((watch.phase(), watch.is_busy()), (Phase::Idle, false));
    }

    #[test]
    fn a_body_that_ends_late_does_not_disturb_the_idle_phase() {
        let watch = Watch::new(Framing::Http1);
        watch.request_begins(Phase::Receiving);
        watch.request_ends();
        watch.request_body_ended();
        assert_eq!(watch.phase(), Phase::Idle);
    }
}
