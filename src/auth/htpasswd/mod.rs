//! Users in an htpasswd file, and robots: names and bcrypt hashes, verified without holding up anybody else.
//!
//! A right password is remembered for a minute under a key that only this process knows, so that a push pays for bcrypt
//! once. Wrong ones are not remembered, and an unknown name costs as much as a known one.

mod file;
mod remembered;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::watched::Watched;
use super::{Error, HtpasswdConfig, Robot, unix_time};
pub use file::PasswordHash;
use file::Users;
use remembered::{Begun, Remembered};

/// Of the challenge, where there are robots alone.
const REALM: &str = "registry";

/// Verifications that run at the same time: bcrypt keeps a processor busy for a tenth of a second and more.
const AT_ONCE: usize = 2;

/// Verifications that run or wait; beyond them the registry says that it is busy.
const MOST: usize = 64;

/// Users from a file.
#[derive(Debug)]
pub(super) struct Htpasswd {
    pub(super) realm: Arc<str>,
    users: Option<Watched<Users>>,
    /// Changes while requests are served.
    robots: ArcSwap<Robots>,
    key: [u8; 32],
    remembered: Arc<Remembered>,
    slots: Arc<Semaphore>,
}

/// Robots, and the time at which each ends.
#[derive(Debug, Default)]
struct Robots {
    users: Users,
    expires: HashMap<String, i64>,
}

/// What is found about a name and a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They belong together.
    Right,
    /// They belong together, and the robot's time ended then, Unix.
    Expired(i64),
    /// They do not, or there is no such name.
    Wrong,
    /// Nobody has looked: too much to do.
    Busy,
}

impl Htpasswd {
    /// Reads the file, if there is to be one, after making it when it is not there.
    pub(super) fn open(config: Option<HtpasswdConfig>, robots: &[Robot]) -> Result<Self, Error> {
        let realm = config.as_ref().map_or(REALM, |config| &config.realm).into();
        let users = config.map(|config| open_file(config.path)).transpose()?;
        Ok(Self {
            realm,
            users,
            robots: ArcSwap::from_pointee(Robots::new(robots)),
            key: rand::random(),
            remembered: Arc::new(Remembered::new(MOST)),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// Puts other robots in the place of those there are.
    pub(super) fn adopt_robots(&self, robots: &[Robot]) {
        self.robots.store(Arc::new(Robots::new(robots)));
    }

    /// Whether `password` is that of `user`, and of a robot whether its time has not ended.
    pub(super) async fn verify(&self, user: &str, password: &str) -> Verdict {
        self.verify_at(user, password, unix_time()).await
    }

    async fn verify_at(&self, user: &str, password: &str, now: i64) -> Verdict {
        let robots = self.robots.load_full();
        match (self.verify_password(&robots.users, user, password).await, robots.expires.get(user)) {
            (Verdict::Right, Some(expires)) if *expires <= now => Verdict::Expired(*expires),
            (verdict, _) => verdict,
        }
    }

    /// Equal questions at the same time share one answer.
    async fn verify_password(&self, robots: &Users, user: &str, password: &str) -> Verdict {
        let users = self.users.as_ref().map(Watched::current).unwrap_or_default();
        let entry = file::entry([robots, &users], user, self.token_of(&[user]));
        let digest = self.digest(&[user, password, &entry.hash]);
        let mut answer = match self.remembered.begin(digest) {
            Begun::Right => return Verdict::Right,
            Begun::Full => return Verdict::Busy,
            Begun::Running(answer) => answer,
            Begun::First(question, answer) => {
                let (slots, password, hash) = (Arc::clone(&self.slots), password.to_owned(), entry.hash.into_owned());
                let known = entry.known;
                // On its own, so that a client that hangs up does not take the answer from the others.
                tokio::spawn(async move {
                    let Ok(_slot) = slots.acquire().await else { return };
                    let matched = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash).unwrap_or(false));
                    question.answer(matched.await.unwrap_or(false) && known);
                });
                answer
            }
        };
        match answer.wait_for(Option::is_some).await.map(|right| *right) {
            Ok(Some(true)) => Verdict::Right,
            _ => Verdict::Wrong,
        }
    }

    /// What the password of `user` hashes to; `None` when there is no such user, or a robot whose time has ended.
    pub(super) fn hash_of(&self, user: &str) -> Option<String> {
        let robots = self.robots.load_full();
        if robots.expires.get(user).is_some_and(|expires| *expires <= unix_time()) {
            return None;
        }
        let users = self.users.as_ref().map(Watched::current).unwrap_or_default();
        let entry = file::entry([&robots.users, &users], user, 0);
        entry.known.then(|| entry.hash.into_owned())
    }

    /// A digest of `words` that nobody else can compute, each with its length so that they cannot run together.
    fn digest(&self, words: &[&str]) -> [u8; 32] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return self.key };
        for word in words {
            mac.update(&word.len().to_le_bytes());
            mac.update(word.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    fn token_of(&self, words: &[&str]) -> usize {
        let [first, second, ..] = self.digest(words);
        usize::from(first) << 8 | usize::from(second)
    }

    #[cfg(test)]
    fn look_again(&self) {
        self.users.as_ref().unwrap().look_again();
    }
}

impl Robots {
    fn new(robots: &[Robot]) -> Self {
        let expires = robots.iter().map(|robot| (robot.name.clone(), robot.expires)).collect();
        Self { users: Users::robots(robots), expires }
    }
}

fn open_file(path: PathBuf) -> Result<Watched<Users>, Error> {
    if !path.exists() {
        make(&path)?;
    }
    let users = Watched::open("auth.htpasswd.path", path, Users::read)?;
    for problem in users.current().problems() {
        tracing::warn!("{problem}");
    }
    Ok(users)
}

/// The bcrypt hash of `password`, as the file holds it.
///
/// # Errors
/// In words for people, when the password is too long for bcrypt.
pub fn hash(password: &str) -> Result<String, String> {
    let parts =
        bcrypt::non_truncating_hash_with_result(password, bcrypt::DEFAULT_COST).map_err(|error| match error {
            bcrypt::BcryptError::Truncation(_) => "bcrypt takes 72 bytes at most; choose a shorter password".to_owned(),
            other => other.to_string(),
        })?;
    Ok(parts.format_for_version(bcrypt::Version::TwoY))
}

/// Makes the file with the user `docker` and a random password, said once in the log, as distribution does since 2.7.
fn make(path: &Path) -> Result<(), Error> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    let failed = |source| Error::File { key: "auth.htpasswd.path", path: path.to_owned(), source };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    let password = hex::encode(rand::random::<[u8; 16]>());
    let hash = hash(&password).map_err(|problem| failed(std::io::Error::other(problem)))?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(format!("docker:{hash}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    tracing::warn!(
        user = "docker",
        password,
        "{} did not exist and was made with one user; this password is not shown again",
        path.display()
    );
    Ok(())
}

/// For `fuzz/`.
#[cfg(fuzzing)]
pub(super) mod fuzzing {
    /// Reads a file and looks for users in it.
    pub(in crate::auth) fn file(content: &[u8]) {
        if let Ok(users) = super::Users::read(content) {
            let nobody = super::Users::default();
            let entry = super::file::entry([&users, &nobody], "alice", content.len());
            assert!(entry.hash.len() == 60);
        }
    }
}

/// The lowest cost that bcrypt has, so that tests are quick.
#[cfg(test)]
pub(super) const TEST_COST: u32 = 4;

#[cfg(test)]
mod tests;
