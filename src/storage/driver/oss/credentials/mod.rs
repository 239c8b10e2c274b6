//! What requests are signed with: given once, or found on the machine and renewed before it expires.
//!
//! One renewal at a time; meanwhile, and when it fails, what is still good is used. Must not print a secret.

mod machine;
mod role;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use super::config::Credentials;
use super::sign::Keys;

use machine::Machine;

/// Temporary keys are renewed when less than this is left of their life.
const MARGIN: Duration = Duration::from_mins(5);

/// The one place that knows keys.
#[derive(Debug)]
pub(super) struct Provider {
    source: Source,
    held: ArcSwapOption<Held>,
    renewal: Mutex<()>,
}

#[derive(Debug)]
enum Source {
    Given(Arc<Keys>),
    Machine(Machine),
}

/// Keys and how long they are good.
#[derive(Debug)]
struct Held {
    keys: Arc<Keys>,
    /// `None` for keys that stay.
    expires: Option<SystemTime>,
}

impl Held {
    fn is_good_for(&self, time: Duration) -> bool {
        self.expires.is_none_or(|expires| SystemTime::now() + time < expires)
    }
}

impl Provider {
    /// Keys as the configuration says, or as the machine with this environment has them.
    pub(super) fn new(credentials: &Credentials, environment: HashMap<String, String>) -> Self {
        let source = match credentials {
            Credentials::Given { access_key_id, access_key_secret, security_token } => {
                let (id, secret, token) = (access_key_id.clone(), access_key_secret.clone(), security_token.clone());
                Source::Given(Arc::new(Keys { id, secret, token }))
            }
            Credentials::Found => Source::Machine(Machine::new(environment)),
        };
        Self { source, held: ArcSwapOption::empty(), renewal: Mutex::new(()) }
    }

    /// Keys that are good now.
    ///
    /// # Errors
    /// What was tried, and what to do.
    pub(super) async fn keys(&self, http: &reqwest::Client) -> Result<Arc<Keys>, String> {
        let machine = match &self.source {
            Source::Given(keys) => return Ok(Arc::clone(keys)),
            Source::Machine(machine) => machine,
        };
        if let Some(keys) = self.held_for(MARGIN) {
            return Ok(keys);
        }
        let _one_at_a_time = self.renewal.lock().await;
        if let Some(keys) = self.held_for(MARGIN) {
            return Ok(keys);
        }
        match machine.keys(http).await {
            Ok(found) => {
                let keys = Arc::clone(&found.keys);
                self.held.store(Some(Arc::new(found)));
                Ok(keys)
            }
            Err(reason) => self.held_for(Duration::ZERO).ok_or(reason),
        }
    }

    /// Forgets keys that the store refused. Says whether there may be others.
    pub(super) fn forget(&self) -> bool {
        match self.source {
            Source::Given(_) => false,
            Source::Machine(_) => self.held.swap(None).is_some(),
        }
    }

    fn held_for(&self, time: Duration) -> Option<Arc<Keys>> {
        self.held.load().as_ref().filter(|held| held.is_good_for(time)).map(|held| Arc::clone(&held.keys))
    }
}
