//! Sends requests to the bucket: signed, within time limits, and again where that may help.
//!
//! Must not know what requests are for. Follows no redirects: the store's say that the endpoint is wrong.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use reqwest::Response;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};

use super::config::{Address, Config, Signature};
use super::credentials::Provider;
use super::failure::{Failure, Refusal};
use super::payload::{body, crc64};
use super::sign::{self, Signable, encoded_query};
use crate::storage::driver::bucket::{Payload, Sending};

/// How often a request is sent before its failure is told.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Until the answer to a small request is there, and between two pieces of a long one.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The slowest link, in bytes a second, over which a large request is waited for.
const SLOWEST: u64 = 100_000;

/// Copies and completions of large objects are answered only when the store is done.
const STORE_WORK_TIMEOUT: Duration = Duration::from_mins(10);

/// Idle connections are kept warm for this long; the store closes them after a minute.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// The longest answer that is read into memory: a listing of a thousand keys of 1,023 bytes that are all escaped.
const LONGEST_ANSWER: usize = 8 << 20;

/// A request before it is signed.
#[derive(Debug, Clone)]
pub(super) struct Request<'a> {
    /// What is done, as in [`crate::storage::error::Error::Backend`].
    pub(super) operation: &'static str,
    pub(super) method: Method,
    /// The object's key; empty for the bucket itself.
    pub(super) key: &'a str,
    /// Parameters, not encoded. One without a value has an empty one.
    pub(super) query: Vec<(&'static str, String)>,
    /// Headers, names in lower case.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Payload,
    pub(super) work: Work,
    pub(super) sending: Sending,
}

/// How long a request keeps the store busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Hardly longer than the bytes take to get there.
    Transfer,
    /// Long: the store moves bytes of its own.
    InStore,
}

impl<'a> Request<'a> {
    /// A request without parameters, headers and body.
    pub(super) fn new(operation: &'static str, method: Method, key: &'a str) -> Self {
        let (query, headers) = (Vec::new(), Vec::new());
        Self {
            operation,
            method,
            key,
            query,
            headers,
            body: Payload::default(),
            work: Work::Transfer,
            sending: Sending::AsOftenAsNeeded,
        }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, content: impl Into<Payload>) -> Self {
        self.body = content.into();
        self
    }

    pub(super) fn in_store(mut self) -> Self {
        self.work = Work::InStore;
        self
    }

    pub(super) fn sent(mut self, sending: Sending) -> Self {
        self.sending = sending;
        self
    }

    fn patience(&self) -> Duration {
        match self.work {
            Work::Transfer => ANSWER_TIMEOUT + Duration::from_secs(self.body.length() / SLOWEST),
            Work::InStore => STORE_WORK_TIMEOUT,
        }
    }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) headers: HeaderMap,
    pub(super) content: Bytes,
}

/// The connections to one bucket.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    credentials: Provider,
    bucket: String,
    region: String,
    signature: Signature,
    address: Address,
    public_address: Address,
}

impl Client {
    /// Prepares connections. Sends nothing.
    ///
    /// # Errors
    /// What keeps the machine from speaking HTTP at all.
    pub(super) fn new(config: &Config, credentials: Provider) -> Result<Self, String> {
        Ok(Self {
            http: connections(Route::AsTheMachine)?,
            credentials,
            bucket: config.bucket.clone(),
            region: config.region.clone(),
            signature: config.signature,
            address: config.address.clone(),
            public_address: config.public_address.clone(),
        })
    }

    /// Sends `request` and reads the answer.
    pub(super) async fn call(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        let (headers, content) = self.repeat(request, Rest::Read).await?;
        match content {
            Content::Read(content) => Ok(Reply { headers, content }),
            Content::Coming(_) => Ok(Reply { headers, content: Bytes::new() }),
        }
    }

    /// Sends `request` and leaves the body of the answer to the caller.
    pub(super) async fn fetch(&self, request: &Request<'_>) -> Result<Response, Failure> {
        match self.repeat(request, Rest::Leave).await?.1 {
            Content::Coming(response) => Ok(response),
            Content::Read(_) => Err(Failure::Broken("the answer has no body".to_owned())),
        }
    }

    /// An address that fetches `key` by `method` for `lifetime`.
    pub(super) async fn presign(&self, method: &Method, key: &str, lifetime: Duration) -> Result<String, Failure> {
        let keys = self.credentials.keys(&self.http).await.map_err(Failure::Credentials)?;
        let request = Signable { method: method.as_str(), bucket: &self.bucket, key, query: &[], headers: &[] };
        let (now, seconds) = (OffsetDateTime::now_utc(), lifetime.as_secs().max(1));
        let query = match self.signature {
            Signature::V4 => sign::v4_query(request, &keys, &self.region, now, seconds),
            Signature::V1 => {
                let expires = now.unix_timestamp().saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
                sign::v1_query(request, &keys, expires)
            }
        };
        Ok(self.public_address.url(key, &query))
    }

    async fn repeat(&self, request: &Request<'_>, rest: Rest) -> Result<(HeaderMap, Content), Failure> {
        let started = Instant::now();
        let (mut attempt, mut may_forget) = (1, true);
        loop {
            let mut failure = match timeout(request.patience(), self.attempt(request, rest)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Slow,
            };
            failure.tell_repetition(attempt);
            let refreshed = may_forget && failure.is_about_credentials() && self.credentials.forget();
            may_forget &= !refreshed;
            // A refusal of the keys is certain: that request has done nothing and will do nothing.
            let again = refreshed || (failure.may_pass() && request.sending == Sending::AsOftenAsNeeded);
            if !again || attempt >= ATTEMPTS || started.elapsed() > request.patience() {
                return Err(failure);
            }
            tracing::debug!(operation = request.operation, key = request.key, attempt, %failure, "asking OSS again");
            sleep(pause(attempt).max(failure.wanted_pause())).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, request: &Request<'_>, rest: Rest) -> Result<(HeaderMap, Content), Failure> {
        let keys = self.credentials.keys(&self.http).await.map_err(Failure::Credentials)?;
        let signable = Signable {
            method: request.method.as_str(),
            bucket: &self.bucket,
            key: request.key,
            query: &request.query,
            headers: &request.headers,
        };
        let time = match request.sending {
            Sending::AsOftenAsNeeded => OffsetDateTime::now_utc(),
            Sending::Once { issued } => issued.into(),
        };
        let headers = match self.signature {
            Signature::V4 => sign::v4_headers(signable, &keys, &self.region, time),
            Signature::V1 => sign::v1_headers(signable, &keys, time),
        };
        let url = self.address.url(request.key, &encoded_query(&request.query));
        let mut sending = self.http.request(request.method.clone(), url);
        for (name, value) in headers {
            sending = sending.header(name, value);
        }
        if request.body.length() > 0 || request.method == Method::PUT || request.method == Method::POST {
            sending = sending.header(http::header::CONTENT_LENGTH, request.body.length());
        }
        let response = sending.body(body(&request.body)).send().await.map_err(|error| Failure::of_transport(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            let content = read(response).await.unwrap_or_default();
            return Err(Failure::Refused(Box::new(Refusal::of(status, &headers, &content))));
        }
        if let Rest::Leave = rest {
            return Ok((headers, Content::Coming(response)));
        }
        let content = read(response).await?;
        // The answer to a completion tells the checksum of the whole object.
        if request.method == Method::PUT {
            check(&request.body, &headers)?;
        }
        Ok((headers, Content::Read(content)))
    }
}

/// What becomes of the body of an answer.
#[derive(Debug, Clone, Copy)]
enum Rest {
    Read,
    Leave,
}

enum Content {
    Read(Bytes),
    Coming(Response),
}

/// Which way connections take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Through a proxy, where the environment names one.
    AsTheMachine,
    /// Straight to the host.
    Direct,
}

/// A pool of connections.
pub(super) fn connections(route: Route) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true)
        .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")));
    let builder = match route {
        Route::AsTheMachine => builder,
        Route::Direct => builder.no_proxy(),
    };
    builder.build().map_err(|error| error.to_string())
}

/// TLS that trusts what the machine trusts. A machine that trusts nobody can still speak plain HTTP.
fn tls() -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The body of an answer, unless it is longer than any that is expected.
async fn read(mut response: Response) -> Result<Bytes, Failure> {
    let mut content = BytesMut::new();
    loop {
        match timeout(ANSWER_TIMEOUT, response.chunk()).await {
            Ok(Ok(None)) => return Ok(content.freeze()),
            Ok(Ok(Some(chunk))) if content.len().saturating_add(chunk.len()) <= LONGEST_ANSWER => {
                content.extend_from_slice(&chunk);
            }
            Ok(Ok(Some(_))) => {
                return Err(Failure::Broken(format!("the answer is longer than {LONGEST_ANSWER} bytes")));
            }
            Ok(Err(error)) => return Err(Failure::of_transport(&error)),
            Err(_) => return Err(Failure::Slow),
        }
    }
}

/// Compares what was sent with what the store says it received.
fn check(sent: &Payload, headers: &HeaderMap) -> Result<(), Failure> {
    let told = headers.get("x-oss-hash-crc64ecma").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match told {
        Some(told) if sent.length() > 0 && told != crc64(sent) => Err(Failure::Altered),
        _ => Ok(()),
    }
}

fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

/// The value of a header that is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A time as headers write it; one that cannot be read is taken to mean the beginning of time, so that nothing looks
/// fresher than it is.
pub(super) fn header_time(headers: &HeaderMap, name: &str) -> SystemTime {
    let time = |text: &str| OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822).ok();
    header(headers, name).and_then(time).map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}
