//! Whether a collector may still believe that others know it is alive.
//!
//! Where no lock tells, others take a collector for dead that has given no sign of life for long. One that slept for as
//! long must not go on removing things when it wakes up.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Error;

/// Without a sign of life for so long a collector stops by itself, long before others believe it dead.
pub(super) const SILENCE: Duration = Duration::from_mins(1);

/// The last sign of life.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Option<Beat>>);

#[derive(Debug, Clone, Copy)]
struct Beat {
    /// Stands still while the machine is suspended.
    running: Instant,
    /// Goes on meanwhile, and may be set.
    wall: SystemTime,
}

impl Beat {
    fn now() -> Self {
        Self { running: Instant::now(), wall: SystemTime::now() }
    }

    /// The longer of the times since, by either clock; for ever when a clock was set back.
    fn age(self) -> Duration {
        self.wall.elapsed().map_or(Duration::MAX, |age| age.max(self.running.elapsed()))
    }
}

impl Pulse {
    /// Notes that a sign of life is about to be given; [`Sign::given`] counts it.
    pub(super) fn sign(&self) -> Sign<'_> {
        Sign(self, Beat::now())
    }

    /// From here on a lock tells others that this collector lives.
    pub(super) fn rest(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The time with which a request may be issued now.
    ///
    /// The time is taken first: whoever falls asleep after it either finds the last sign of life too old here, or sends a
    /// request that the store finds too old.
    ///
    /// # Errors
    /// [`Error::OutOfTouch`].
    pub(super) fn issue(&self) -> Result<SystemTime, Error> {
        let issued = SystemTime::now();
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(beat) if beat.age() > SILENCE => Err(Error::OutOfTouch(SILENCE.as_secs())),
            _ => Ok(issued),
        }
    }
}

/// A sign of life that is being given.
#[derive(Debug)]
pub(super) struct Sign<'a>(&'a Pulse, Beat);

impl Sign<'_> {
    /// It was: others saw it no earlier than it was begun.
    pub(super) fn given(self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_slept_too_long_issues_nothing_until_a_new_sign_is_given() {
        let pulse = Pulse::default();
        pulse.sign().given();
        tokio::time::advance(SILENCE).await;
        assert!(pulse.issue().is_ok());
        let late = pulse.sign();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(pulse.issue().is_err());
        late.given();
        assert!(pulse.issue().is_ok());
        tokio::time::advance(SILENCE).await;
        assert!(pulse.issue().is_err(), "a sign counts from when it was begun");
        pulse.rest();
        assert!(pulse.issue().is_ok());
    }
}
