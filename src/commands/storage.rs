//! Opening the storage that a configuration names, and saying in words what was found there.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::storage::driver::{self, Capabilities, Driver, Kept};
use crate::storage::{Config, DriverConfig, Error, Retry};

/// Longest time that a bucket may be out of reach when the registry starts. A store and its clients are often started
/// together; beyond this, whoever starts the process learns that it failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// First and longest time between two tries.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Opens the storage for reading and writing; tries again for a while when a bucket is out of reach.
///
/// # Errors
/// Of opening. What waiting does not mend, such as wrong credentials, is an error at once.
pub(super) async fn open(config: &Config) -> Result<Arc<dyn Driver>, Error> {
    let remote = matches!(config.driver, DriverConfig::S3(_) | DriverConfig::Oss(_));
    let (mut wait, longest) = WAITS;
    let mut waited = Duration::ZERO;
    loop {
        match driver::open(config, driver::Access::ReadWrite).await {
            Err(error @ Error::Backend { retry: Retry::Later, .. }) if remote && waited < PATIENCE => {
                warn!(%error, seconds = wait.as_secs(), "the bucket is out of reach; trying again");
                tokio::time::sleep(wait).await;
                waited += wait;
                wait = longest.min(wait * 2);
            }
            other => return other,
        }
    }
}

/// Where the content is, in words.
pub(super) fn place(driver: &DriverConfig) -> String {
    match driver {
        DriverConfig::Filesystem(filesystem) => filesystem.root_directory.display().to_string(),
        DriverConfig::Memory => "memory, until this process ends".to_owned(),
        DriverConfig::S3(s3) => match &s3.endpoint {
            Some(endpoint) => format!("the bucket {} at {endpoint}", s3.bucket),
            None => format!("the bucket {} in {}", s3.bucket, s3.region),
        },
        DriverConfig::Oss(_) => "an OSS bucket".to_owned(),
    }
}

/// Finds out what the store promises and says once what follows from it. Nothing waits for this.
pub(super) async fn tell_capabilities(driver: Arc<dyn Driver>) {
    match driver.capabilities().await {
        Ok(capabilities) => match what_follows(capabilities).as_slice() {
            [] => info!("the bucket keeps every promise: what was written is read, listed and created once"),
            missing => {
                for consequence in missing {
                    warn!("the bucket {consequence}");
                }
            }
        },
        Err(error) => warn!(%error, "what the bucket promises could not be tried out"),
    }
}

/// What each promise that is not kept means for the registry.
fn what_follows(capabilities: Capabilities) -> Vec<&'static str> {
    let Capabilities { create_only, read_after_write, list_after_write } = capabilities;
    let consequences = [
        (create_only, "ignores create-only writes: of two that create the same object the later one wins"),
        (
            read_after_write,
            "does not read what was just written: pushes through several replicas may fail and must be repeated",
        ),
        (
            list_after_write,
            "lists late what was written or removed: tags, catalog and referrers lag behind, and garbage-collect needs \
             a longer grace",
        ),
    ];
    consequences.into_iter().filter(|(kept, _)| *kept == Kept::No).map(|(_, consequence)| consequence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_promise_not_kept_is_told_with_what_follows() {
        let all = Capabilities { create_only: Kept::Yes, read_after_write: Kept::Yes, list_after_write: Kept::Yes };
        assert!(what_follows(all).is_empty());
        let garage = what_follows(Capabilities { create_only: Kept::No, ..all });
        assert!(garage.len() == 1 && garage[0].starts_with("ignores create-only"), "{garage:?}");
        let stale = Capabilities { list_after_write: Kept::No, read_after_write: Kept::No, ..all };
        assert_eq!(what_follows(stale).len(), 2);
    }

    #[tokio::test]
    async fn what_is_near_is_not_waited_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let root_directory = file.path().join("below-a-file");
        let filesystem = crate::storage::FilesystemConfig { root_directory, ..Default::default() };
        let config = Config { driver: DriverConfig::Filesystem(filesystem), ..Config::default() };
        assert!(open(&config).await.is_err());
    }
}
