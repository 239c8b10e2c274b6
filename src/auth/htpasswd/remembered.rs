//! Passwords that were right a moment ago, and those that are being looked at, under digests that say nothing about them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long a right password is remembered.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Most right passwords that are remembered.
const MOST_REMEMBERED: usize = 10_000;

type Digest = [u8; 32];

/// The passwords.
#[derive(Debug)]
pub(super) struct Remembered {
    most_running: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    right: HashMap<Digest, Instant>,
    running: HashMap<Digest, watch::Receiver<Option<bool>>>,
}

/// What to do about a question.
#[derive(Debug)]
pub(super) enum Begun {
    /// Nothing, it was answered with yes a moment ago.
    Right,
    /// Wait for the answer that another is finding.
    Running(watch::Receiver<Option<bool>>),
    /// Find the answer, and wait for it.
    First(Question, watch::Receiver<Option<bool>>),
    /// Ask later.
    Full,
}

/// A question to be answered. Dropped without an answer, whoever waits is told that there is none.
#[derive(Debug)]
pub(super) struct Question {
    digest: Digest,
    answer: watch::Sender<Option<bool>>,
    remembered: Arc<Remembered>,
}

impl Remembered {
    /// With room for `most_running` questions that are not answered yet.
    pub(super) fn new(most_running: usize) -> Self {
        Self { most_running, state: Mutex::default() }
    }

    /// What to do about the question with `digest`.
    pub(super) fn begin(self: &Arc<Self>, digest: Digest) -> Begun {
        self.begin_at(digest, Instant::now())
    }

    fn begin_at(self: &Arc<Self>, digest: Digest, now: Instant) -> Begun {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.right.get(&digest).is_some_and(|until| now < *until) {
            return Begun::Right;
        }
        if let Some(answer) = state.running.get(&digest) {
            return Begun::Running(answer.clone());
        }
        if state.running.len() >= self.most_running {
            return Begun::Full;
        }
        let (sender, receiver) = watch::channel(None);
        state.running.insert(digest, receiver.clone());
        Begun::First(Question { digest, answer: sender, remembered: Arc::clone(self) }, receiver)
    }
}

impl Question {
    /// Answers it for everybody who waits.
    pub(super) fn answer(self, right: bool) {
        self.answer_at(right, Instant::now());
    }

    fn answer_at(self, right: bool, now: Instant) {
        if right {
            let mut state = self.remembered.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.right.len() >= MOST_REMEMBERED {
                state.right.retain(|_, until| now < *until);
            }
            if state.right.len() < MOST_REMEMBERED {
                state.right.insert(self.digest, now + REMEMBERED);
            }
        }
        self.answer.send_replace(Some(right));
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.remembered.state.lock().unwrap_or_else(PoisonError::into_inner).running.remove(&self.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(remembered: &Arc<Remembered>, digest: u8, now: Instant) -> Question {
        match remembered.begin_at([digest; 32], now) {
            Begun::First(question, _) => question,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_right_answer_holds_for_a_minute_and_a_wrong_one_not_at_all() {
        let (remembered, now) = (Arc::new(Remembered::new(8)), Instant::now());
        first(&remembered, 1, now).answer_at(true, now);
        first(&remembered, 2, now).answer_at(false, now);
        let just_before = now + REMEMBERED.checked_sub(Duration::from_nanos(1)).unwrap();
        assert!(matches!(remembered.begin_at([1; 32], just_before), Begun::Right));
        first(&remembered, 1, now + REMEMBERED);
        first(&remembered, 2, now);
    }

    #[tokio::test]
    async fn those_who_ask_the_same_wait_for_one_answer() {
        let (remembered, now) = (Arc::new(Remembered::new(1)), Instant::now());
        let question = first(&remembered, 1, now);
        let Begun::Running(mut answer) = remembered.begin_at([1; 32], now) else { panic!() };
        assert!(matches!(remembered.begin_at([2; 32], now), Begun::Full));
        question.answer(true);
        assert_eq!(*answer.wait_for(Option::is_some).await.unwrap(), Some(true));
        drop(first(&remembered, 2, now));
        let Begun::First(question, mut answer) = remembered.begin_at([2; 32], now) else { panic!() };
        drop(question);
        assert!(answer.wait_for(Option::is_some).await.is_err(), "an answer that will not come is not waited for");
    }
}
