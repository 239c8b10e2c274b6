//! Access rules that change while the registry serves: the configuration file is looked at, and read again when it changed.
//!
//! Only the rules are taken from it. A file that has become wrong leaves the rules in force, and the log says why.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Adopted, Authenticator};
use crate::config::{Config, Source};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// Looks after the file that `source` is, for as long as the process lives.
pub(super) fn start(source: &Source, authenticator: Arc<Authenticator>) {
    let Source::File(path) = source else { return };
    let path = path.clone();
    tokio::spawn(async move {
        let mut seen = look_at(&path);
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = look_at(&path);
            if now != seen {
                seen = now;
                reload(path.clone(), &authenticator);
            }
        }
    });
}

/// Takes the rules over from the file at `path`.
fn reload(path: PathBuf, authenticator: &Authenticator) {
    match Config::load(Source::File(path), super::environment()) {
        Ok(loaded) => match authenticator.adopt_rules(&loaded.config.auth) {
            Adopted::Rules => tracing::info!("the access rules were read again; other changes need a restart"),
            Adopted::Nothing => {}
            Adopted::Kept => tracing::warn!(
                "the configuration no longer has the access rules in force, or opens or closes the registry; nothing \
                 changes before a restart"
            ),
        },
        Err(error) => tracing::warn!(%error, "the configuration has become wrong; the access rules stay as they were"),
    }
}

/// What tells one state of a file from another: time of change, size and inode.
fn look_at(path: &Path) -> Option<(i64, i64, u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino()))
}
