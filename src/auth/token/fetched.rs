//! A key set at an address, such as a token server's `/jwks.json`: fetched at the start, every few minutes, and when a token
//! names a key that is not in it. What was read last stays in force while it cannot be fetched.
//!
//! The address comes from the configuration alone; nothing that a token says is ever fetched.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::redirect::{Attempt, Policy};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::{Error, KeySet};
use super::trust::{Named, read_set};

/// Time between two fetches.
const INTERVAL: Duration = Duration::from_mins(5);

/// Least time between two fetches that tokens with unknown keys ask for, so that nobody makes us a nuisance to the server.
const FLOOR: Duration = Duration::from_secs(30);

/// Longest time that a fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest set that is read, bytes; a key has less than a thousand.
const LARGEST: usize = 1024 * 1024;

/// Most redirects, all of them on the same host.
const MOST_REDIRECTS: usize = 3;

/// The keys at an address.
#[derive(Debug)]
pub(super) struct FetchedSet {
    address: String,
    floor: Duration,
    http: reqwest::Client,
    keys: ArcSwap<Named>,
    /// When a fetch has ended last, well or not. Held while one is under way.
    ended: Mutex<Option<Instant>>,
}

/// What came of asking for newer keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::auth) enum Renewed {
    /// There may be keys that were not there before.
    Yes,
    /// There are none.
    No,
}

impl FetchedSet {
    /// Nothing is fetched yet.
    pub(super) fn new(address: String) -> Result<Self, Error> {
        // A provider that is installed already is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let builder = reqwest::Client::builder().timeout(PATIENCE).redirect(Policy::custom(on_the_same_host));
        // The variables for proxies count, as they do everywhere, except for this machine itself.
        let builder = if KeySet::is_this_machine(&address) { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| failed(&address, &error))?;
        Ok(Self { address, floor: FLOOR, http, keys: ArcSwap::default(), ended: Mutex::default() })
    }

    /// The keys as they were fetched last; none before the first time.
    pub(super) fn current(&self) -> Arc<Named> {
        self.keys.load_full()
    }

    /// Fetches the keys, and puts them in the place of those there are.
    pub(super) async fn fetch(&self) -> Result<(), Error> {
        self.fetch_locked(&mut *self.ended.lock().await).await
    }

    /// Fetches the keys, unless that was tried moments ago. Those who ask while it is under way share what comes of it.
    pub(super) async fn renew(&self) -> Renewed {
        let asked = Instant::now();
        let mut ended = self.ended.lock().await;
        match *ended {
            Some(ended) if ended >= asked => return Renewed::Yes,
            Some(ended) if ended.elapsed() < self.floor => return Renewed::No,
            _ => {}
        }
        match self.fetch_locked(&mut ended).await {
            Ok(()) => Renewed::Yes,
            Err(error) => {
                tracing::warn!(%error, "a token names an unknown key, and newer keys cannot be fetched");
                Renewed::No
            }
        }
    }

    /// Fetches the keys now and then for as long as somebody holds `self`. A first failure is only said: the token server
    /// may be started after us, or by us.
    pub(super) async fn start(self: &Arc<Self>) {
        if let Err(error) = self.fetch().await {
            tracing::warn!(%error, "no token can be verified with these keys until they can be fetched");
        }
        tokio::spawn(keep_up_to_date(Arc::downgrade(self)));
    }

    async fn fetch_locked(&self, ended: &mut Option<Instant>) -> Result<(), Error> {
        let json = self.read().await;
        *ended = Some(Instant::now());
        let json = json.map_err(|error| failed(&self.address, &*error))?;
        let keys = read_set(&json).map_err(|problem| failed(&self.address, &problem))?;
        let before = self.keys.swap(Arc::new(keys));
        let now = self.keys.load();
        if before.len() != now.len() || now.keys().any(|name| !before.contains_key(name)) {
            tracing::info!(address = %self.address, names = now.len(), "auth.token.jwks holds other keys than before");
        }
        Ok(())
    }

    async fn read(&self) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mut response =
            self.http.get(&self.address).send().await.map_err(|error| innermost(&error))?.error_for_status()?;
        let mut json = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            json.extend_from_slice(&chunk);
            if json.len() > LARGEST {
                return Err(format!("the answer has more than {LARGEST} bytes").into());
            }
        }
        Ok(json)
    }
}

async fn keep_up_to_date(set: Weak<FetchedSet>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(set) = set.upgrade() else { return };
        if let Err(error) = set.fetch().await {
            tracing::warn!(%error, "the keys that were fetched before stay in force");
        }
    }
}

/// Keys are believed because of the host they come from, so no other may be asked for them.
fn on_the_same_host(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let same = attempt.previous().last().is_some_and(|before| before.origin() == attempt.url().origin());
    if !same {
        attempt.error("it redirects to another host, which is not followed; write the final address")
    } else if attempt.previous().len() > MOST_REDIRECTS {
        attempt.error("it redirects too often")
    } else {
        attempt.follow()
    }
}

/// What reqwest says of a failure is wrapped several times; the cause is the last.
fn innermost(error: &reqwest::Error) -> Box<dyn std::error::Error + Send + Sync> {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string().into()
}

fn failed(address: &str, problem: &dyn std::fmt::Display) -> Error {
    Error::Fetch { address: address.to_owned(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex as StdMutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const TWO: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty":"OKP","crv":"Ed25519","kid":"b","x":"21qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    const ONE: &str =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"b","x":"21qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    /// A server that answers every request with what it was told last, and counts them.
    struct Server {
        address: String,
        answer: Arc<StdMutex<String>>,
        count: Arc<AtomicUsize>,
    }

    impl Server {
        fn start(answer: String) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = format!("http://{}/jwks", listener.local_addr().unwrap());
            let (answer, count) = (Arc::new(StdMutex::new(answer)), Arc::new(AtomicUsize::new(0)));
            let server = Self { address, answer: Arc::clone(&answer), count: Arc::clone(&count) };
            // Ends with the process of the tests.
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let (mut stream, mut asked) = (stream.unwrap(), Vec::new());
                    while !asked.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        if stream.read(&mut byte).unwrap_or(0) == 0 {
                            break;
                        }
                        asked.push(byte[0]);
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(answer.lock().unwrap().as_bytes());
                }
            });
            server
        }

        fn says(&self, answer: String) {
            *self.answer.lock().unwrap() = answer;
        }

        fn set(&self) -> FetchedSet {
            FetchedSet::new(self.address.clone()).unwrap()
        }
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    fn names(set: &FetchedSet) -> Vec<String> {
        let mut names: Vec<_> = set.current().keys().filter(|name| name.len() == 1).cloned().collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn the_last_good_keys_stay_until_there_are_others() {
        let server = Server::start(ok(TWO));
        let set = server.set();
        assert_eq!(names(&set), [""; 0]);
        set.fetch().await.unwrap();
        assert_eq!(names(&set), ["a", "b"]);
        let too_large = ok(&" ".repeat(LARGEST + 1));
        let unavailable = "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned();
        let cut = ok(TWO).replace("Content-Length: ", "Content-Length: 1");
        for bad in [ok("<html>"), ok(r#"{"keys":[]}"#), unavailable, too_large, cut, String::new()] {
            server.says(bad);
            let error = set.fetch().await.unwrap_err().to_string();
            assert!(error.contains("auth.token.jwks") && error.contains(&server.address), "{error}");
            assert_eq!(names(&set), ["a", "b"]);
        }
        server.says(ok(ONE));
        set.fetch().await.unwrap();
        assert_eq!(names(&set), ["b"], "a key that was taken out is trusted no longer");
    }

    #[tokio::test]
    async fn unknown_keys_are_asked_for_once_in_a_while() {
        let server = Server::start(ok(ONE));
        let mut set = server.set();
        let asked = futures_util::future::join_all((0..50).map(|_| set.renew())).await;
        assert!(asked.iter().all(|renewed| *renewed == Renewed::Yes), "{asked:?}");
        assert_eq!(server.count.load(Ordering::SeqCst), 1, "those who ask together share the answer");
        server.says(ok(TWO));
        assert_eq!((set.renew().await, names(&set).len()), (Renewed::No, 1));
        set.floor = Duration::ZERO;
        assert_eq!((set.renew().await, names(&set).len()), (Renewed::Yes, 2));
        server.says(String::new());
        assert_eq!((set.renew().await, names(&set).len()), (Renewed::No, 2));
    }

    #[tokio::test]
    async fn no_other_host_is_believed() {
        let (good, other) = (Server::start(ok(TWO)), Server::start(String::new()));
        let redirect = |to: &str| {
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        };
        other.says(redirect(&good.address));
        let error = other.set().fetch().await.unwrap_err().to_string();
        assert!(error.contains("redirects to another host"), "{error}");
        assert_eq!(good.count.load(Ordering::SeqCst), 0);
        other.says(redirect("/elsewhere"));
        let error = other.set().fetch().await.unwrap_err().to_string();
        assert!(error.contains("redirects too often"), "{error}");
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for here in ["http://localhost:1/x", "http://127.0.0.1/", "http://[::1]:5001/jwks", "https://127.9.9.9"] {
            assert!(KeySet::is_this_machine(here), "{here}");
        }
        for there in ["http://localhost.example/", "http://10.0.0.1/", "http://[::2]/", "nonsense", ""] {
            assert!(!KeySet::is_this_machine(there), "{there}");
        }
    }
}
