//! How a server is told to stop, and how it says that it did.

use std::process::ExitCode;

use tokio::sync::watch;

/// How far stopping has been asked for; it only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Serve.
    Serving,
    /// Accept nothing more, let requests in flight finish.
    Draining,
    /// Close everything.
    Now,
}

/// The server's end: resolves when it is to stop.
#[derive(Debug, Clone)]
pub struct Shutdown {
    stage: watch::Receiver<Stage>,
}

/// The caller's end. Dropping it asks for a drain.
#[derive(Debug, Clone)]
pub struct ShutdownTrigger {
    stage: watch::Sender<Stage>,
}

impl ShutdownTrigger {
    /// The first call asks for a drain, the second for an immediate end.
    pub fn trigger(&self) {
        self.stage.send_modify(|stage| {
            *stage = if *stage == Stage::Serving { Stage::Draining } else { Stage::Now };
        });
    }
}

impl Shutdown {
    /// A pair for tests and for programs with their own idea of when to stop.
    #[must_use]
    pub fn manual() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(Stage::Serving);
        (ShutdownTrigger { stage: sender }, Self { stage: receiver })
    }

    /// Stops on SIGTERM and SIGINT: the first signal drains, the second ends at once. Must be called on a runtime.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (trigger, shutdown) = Self::manual();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => tracing::info!("received SIGTERM"),
                    _ = interrupt.recv() => tracing::info!("received SIGINT"),
                }
                trigger.trigger();
            }
        });
        Ok(shutdown)
    }

    /// Whether anything was ordered, or the trigger is gone; costs one atomic load.
    pub(crate) fn changed(&self) -> bool {
        self.stage.has_changed().unwrap_or(true)
    }

    /// Resolves once `wanted` or more has been asked for.
    pub(crate) async fn reached(&mut self, wanted: Stage) {
        // A closed channel means that its trigger is gone, which asks for a drain but never for an immediate end.
        if self.stage.wait_for(|stage| *stage >= wanted).await.is_err() && wanted > Stage::Draining {
            std::future::pending::<()>().await;
        }
    }
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every request in flight was answered.
    Drained,
    /// The drain timeout passed with this many connections open; they were closed.
    TimedOut {
        /// Connections closed in the middle of a request.
        connections: usize,
    },
    /// A second signal closed everything at once.
    Forced {
        /// Connections closed in the middle of a request.
        connections: usize,
    },
}

impl Outcome {
    /// 0 after a clean drain, else 1.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self::Drained => ExitCode::SUCCESS,
            Self::TimedOut { .. } | Self::Forced { .. } => ExitCode::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_trigger_drains_and_two_end() {
        let (trigger, mut shutdown) = Shutdown::manual();
        trigger.trigger();
        shutdown.reached(Stage::Draining).await;
        assert_eq!(*shutdown.stage.borrow(), Stage::Draining);
        trigger.trigger();
        shutdown.reached(Stage::Now).await;
    }

    #[tokio::test]
    async fn a_dropped_trigger_drains() {
        let (trigger, mut shutdown) = Shutdown::manual();
        drop(trigger);
        shutdown.reached(Stage::Draining).await;
    }
}
