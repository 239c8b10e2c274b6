//! An S3 server in the process of the test: protocol and signatures by `s3s`, objects in memory.
//!
//! It records what it was asked, can be told to have the habits of stores that are not Amazon's, and refuses what it is
//! told to. Dropping it ends it.

#![allow(clippy::expect_used, reason = "this is a test's")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use md5::{Digest, Md5};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

#[path = "s3_objects.rs"]
mod objects;

use objects::Objects;

/// A habit that some stores have and Amazon's does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// `If-None-Match` on writes is silently ignored, as Garage does.
    IgnoresConditions,
    /// No request deletes several objects, as with Google's.
    NoDeleteObjects,
    /// Checksum headers are refused, as by Backblaze B2.
    RefusesChecksums,
    /// Chunked signatures are refused, as by Alibaba's OSS.
    RefusesAwsChunked,
    /// All parts but the last must have one size, as with Cloudflare's R2.
    EqualParts,
    /// `start-after` outside the prefix lists nothing, as in Garage.
    StartAfterWithinPrefix,
}

/// How the server is to be.
#[derive(Debug, Clone)]
pub(crate) struct S3Options {
    /// Requests signed for another region are refused.
    pub(crate) region: String,
    /// The one bucket there is.
    pub(crate) bucket: String,
    /// The one account's access key.
    pub(crate) access_key: String,
    /// The one account's secret key.
    pub(crate) secret_key: String,
    /// Habits of stores that are not Amazon's.
    pub(crate) habits: Vec<Habit>,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            bucket: "images".to_owned(),
            access_key: "test-access-key".to_owned(),
            secret_key: "test-secret-key".to_owned(),
            habits: Vec::new(),
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// `GET` …
    pub(crate) method: String,
    /// With the bucket in front.
    pub(crate) path: String,
    /// Empty when there is none.
    pub(crate) query: String,
    /// All of them.
    pub(crate) headers: HeaderMap,
}

impl Recorded {
    /// A header as text; empty when it was not sent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A refusal that the server was told to give.
#[derive(Debug, Clone)]
struct Refusal {
    status: u16,
    code: String,
}

#[derive(Debug)]
struct Gate {
    options: S3Options,
    recorded: Mutex<Vec<Recorded>>,
    refusals: Mutex<VecDeque<Refusal>>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct S3Server {
    gate: Arc<Gate>,
    endpoint: String,
    accepting: JoinHandle<()>,
}

impl S3Server {
    /// Starts one on a free port of 127.0.0.1, within the runtime that this is called in.
    pub(crate) fn start(options: S3Options) -> Self {
        Self::on(free_port(), options)
    }

    /// Starts one that speaks TLS, with a certificate that nobody vouches for.
    pub(crate) fn start_encrypted(options: S3Options) -> Self {
        Self::with(free_port(), options, Some(acceptor()))
    }

    /// Starts one on `listener`.
    pub(crate) fn on(listener: TcpListener, options: S3Options) -> Self {
        Self::with(listener, options, None)
    }

    fn with(listener: TcpListener, options: S3Options, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}", listener.local_addr().expect("it is bound"));
        let mut builder = S3ServiceBuilder::new(Objects::new(options.bucket.clone(), options.habits.clone()));
        builder.set_auth(SimpleAuth::from_single(options.access_key.clone(), options.secret_key.clone()));
        let gate = Arc::new(Gate { options, recorded: Mutex::default(), refusals: Mutex::default() });
        let accepting = tokio::spawn(accept(listener, tls, Arc::clone(&gate), builder.build()));
        Self { gate, endpoint, accepting }
    }

    /// Serves until the process ends, and forgets each request: for a program that nobody asks for them.
    pub(crate) async fn run(self) {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            self.forget_requests();
        }
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The one bucket there is.
    pub(crate) fn bucket(&self) -> &str {
        &self.gate.options.bucket
    }

    /// The one account's access key.
    pub(crate) fn access_key(&self) -> &str {
        &self.gate.options.access_key
    }

    /// The one account's secret key.
    pub(crate) fn secret_key(&self) -> &str {
        &self.gate.options.secret_key
    }

    /// The region that requests must be signed for.
    pub(crate) fn region(&self) -> &str {
        &self.gate.options.region
    }

    /// All requests so far, refused ones included.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        lock(&self.gate.recorded).clone()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget_requests(&self) {
        lock(&self.gate.recorded).clear();
    }

    /// Refuses the next `times` requests with `status` and S3's `code`.
    pub(crate) fn refuse_next(&self, times: usize, status: u16, code: &str) {
        let refusal = Refusal { status, code: code.to_owned() };
        lock(&self.gate.refusals).extend(std::iter::repeat_n(refusal, times));
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn free_port() -> TcpListener {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("sockets can be non-blocking");
    TcpListener::from_std(listener).expect("a runtime is here")
}

fn acceptor() -> TlsAcceptor {
    let signed = rcgen::generate_simple_self_signed(vec!["store.invalid".to_owned()]).expect("a key can be made");
    let key = rustls_pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("it is a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions are known")
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .expect("key and certificate belong together");
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, gate: Arc<Gate>, service: S3Service) {
    // Connections end with the task that accepts them.
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let _ = socket.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let (gate, service) = (Arc::clone(&gate), service.clone());
        match tls.clone() {
            None => connections.spawn(serve(socket, gate, service)),
            Some(tls) => connections.spawn(async move {
                if let Ok(socket) = tls.accept(socket).await {
                    serve(socket, gate, service).await;
                }
            }),
        };
    }
}

async fn serve<S>(socket: S, gate: Arc<Gate>, service: S3Service)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = hyper::service::service_fn(move |request| {
        let (gate, service) = (Arc::clone(&gate), service.clone());
        async move { gate.answer(request, &service).await }
    });
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(socket), answer).await;
}

impl Gate {
    async fn answer(&self, request: Request<Incoming>, service: &S3Service) -> Result<Response<Body>, HttpError> {
        lock(&self.recorded).push(Recorded {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: request.headers().clone(),
        });
        if let Some((status, code, message)) = self.refusal(request.headers()) {
            // Reading what was sent keeps the connection usable.
            let _ = request.into_body().collect().await;
            return Ok(error(status, &code, &message, self.region()));
        }
        let (parts, body) = request.into_parts();
        let Some(md5) = parts.headers.get("content-md5").cloned() else {
            return service.call(Request::from_parts(parts, Body::from(body))).await;
        };
        let content = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if md5.as_bytes() != base64(&Md5::digest(&content)).as_bytes() {
            return Ok(error(400, "BadDigest", "the Content-MD5 is not the body's", self.region()));
        }
        service.call(Request::from_parts(parts, Body::from(content))).await
    }

    fn refusal(&self, headers: &HeaderMap) -> Option<(u16, String, String)> {
        if let Some(told) = lock(&self.refusals).pop_front() {
            return Some((told.status, told.code, "as the test wants it".to_owned()));
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let refuse = |code: &str, message: String| Some((400, code.to_owned(), message));
        let region = self.region();
        let authorization = text("authorization");
        if let Some(named) = authorization.split("Credential=").nth(1).and_then(|scope| scope.split('/').nth(2))
            && named != region
        {
            // As Amazon says it: the right region is an element beside the message.
            return refuse(
                "AuthorizationHeaderMalformed",
                format!("the region '{named}' is wrong; expecting '{region}'"),
            );
        }
        let checksum = |name: &str| name.starts_with("x-amz-checksum-") || name.starts_with("x-amz-sdk-checksum");
        if self.has(Habit::RefusesChecksums) && headers.keys().any(|name| checksum(name.as_str())) {
            return refuse("InvalidArgument", "checksum headers are not supported".to_owned());
        }
        let chunked =
            text("content-encoding").contains("aws-chunked") || text("x-amz-content-sha256").contains("STREAMING");
        if self.has(Habit::RefusesAwsChunked) && chunked {
            return refuse("NotImplemented", "aws-chunked is not supported".to_owned());
        }
        None
    }

    fn region(&self) -> &str {
        &self.options.region
    }

    fn has(&self, habit: Habit) -> bool {
        self.options.habits.contains(&habit)
    }
}

/// As Amazon and Garage say it: with the right region beside code and message.
fn error(status: u16, code: &str, message: &str, region: &str) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message><Region>{region}</Region></Error>"
    );
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}
