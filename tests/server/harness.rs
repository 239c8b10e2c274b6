//! A server on a port of its own with a few test endpoints, and a client that speaks bytes.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use berth::routes::{ClientCertificate, FileBody};
use berth::server::{self, Address, Config, Limits, Outcome, Shutdown, ShutdownTrigger};
use berth::telemetry::{PeerAddress, Telemetry};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

/// Longest that a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs until the test is over.
pub(crate) struct Server {
    pub(crate) address: Address,
    pub(crate) debug: Option<SocketAddr>,
    pub(crate) telemetry: Telemetry,
    pub(crate) trigger: ShutdownTrigger,
    pub(crate) gate: Arc<Semaphore>,
    outcome: tokio::task::JoinHandle<Outcome>,
    runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Endpoints {
    file: Arc<File>,
    gate: Arc<Semaphore>,
}

/// Limits so long that no test meets them by accident.
pub(crate) fn generous() -> Limits {
    let long = Duration::from_mins(2);
    Limits { header_timeout: long, idle_timeout: long, stall_timeout: long, ..Limits::default() }
}

/// A config for an ephemeral port with the given limits.
pub(crate) fn config(limits: Limits) -> Config {
    Config { addr: "127.0.0.1:0".to_owned(), limits, ..Config::default() }
}

impl Server {
    /// Serves `content` at `/file`, and `/ok`, `/gate`, `/receive`, `/peer` and `/certificate`.
    pub(crate) fn start(config: Config, content: &[u8]) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        Self::start_app(config, endpoints(content, &gate), gate)
    }

    /// Serves `app`.
    pub(crate) fn start_app(config: Config, app: Router, gate: Arc<Semaphore>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let telemetry = Telemetry::silent();
        let bound = runtime.block_on(server::bind(config)).expect("bound");
        let (address, debug) = (bound.address().clone(), bound.debug_address());
        let (trigger, shutdown) = Shutdown::manual();
        let outcome = runtime.spawn(bound.run(app, telemetry.clone(), shutdown));
        Self { address, debug, telemetry, trigger, gate, outcome, runtime }
    }

    pub(crate) fn tcp(&self) -> SocketAddr {
        match self.address {
            Address::Tcp(address) => address,
            Address::Unix(_) => panic!("not a TCP server"),
        }
    }

    pub(crate) fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.tcp()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        Client::new(stream)
    }

    /// Waits until the server has ended by itself.
    pub(crate) fn outcome(self) -> Outcome {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.outcome).await })
            .expect("ends")
            .expect("no panic")
    }

    /// Waits until the metrics say that `count` requests are in flight.
    pub(crate) fn await_in_flight(&self, count: usize) {
        let line = format!("registry_http_in_flight_requests {count}");
        let start = Instant::now();
        while !self.telemetry.metrics.encode().lines().any(|found| found == line) {
            assert!(start.elapsed() < PATIENCE, "never: {line}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

fn endpoints(content: &[u8], gate: &Arc<Semaphore>) -> Router {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(content).expect("written");
    Router::new()
        .route("/file", get(file_range))
        .route("/ok", get(|| async { "ok" }))
        .route("/gate", get(gated))
        .route("/receive", post(receive))
        .route("/peer", get(|Extension(peer): Extension<PeerAddress>| async move { format!("{:?}", peer.0) }))
        .route("/certificate", get(certificate))
        .with_state(Endpoints { file: Arc::new(file), gate: Arc::clone(gate) })
}

async fn certificate(certificate: Option<Extension<ClientCertificate>>) -> Vec<u8> {
    certificate.map_or_else(Vec::new, |Extension(certificate)| certificate.der.to_vec())
}

async fn file_range(State(state): State<Endpoints>, uri: Uri) -> Response {
    let number = |name: &str| -> u64 {
        let pairs = uri.query().expect("a query").split('&');
        let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        value.and_then(|(_, value)| value.parse().ok()).expect("a number")
    };
    let (offset, length) = (number("offset"), number("length"));
    let mut response =
        ([(HeaderName::from_static("content-length"), length.to_string())], Body::empty()).into_response();
    response.extensions_mut().insert(FileBody { file: state.file, offset, length });
    response
}

async fn gated(State(state): State<Endpoints>) -> &'static str {
    state.gate.acquire().await.expect("open").forget();
    "through"
}

async fn receive(body: Body) -> Response {
    match body.collect().await {
        Ok(body) => body.to_bytes().len().to_string().into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// A client that sends what it is told and reads responses with a `Content-Length`.
pub(crate) struct Client<T> {
    pub(crate) stream: T,
    buffer: Vec<u8>,
}

impl<T: Read + Write> Client<T> {
    pub(crate) fn new(stream: T) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("sent");
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.content_length();
        while self.buffer.len() < length {
            assert!(self.fill() > 0, "closed after {} of {length} bytes", self.buffer.len());
        }
        answer.body = self.buffer.drain(..length).collect();
        answer
    }

    /// The head of the next response; its body is left unread.
    pub(crate) fn head(&mut self) -> Answer {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).expect("ASCII");
                let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
                return Answer { status, head, body: Vec::new() };
            }
            assert!(self.fill() > 0, "closed before the head was complete");
        }
    }

    /// Everything until the server closes, or resets, the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// What was read beyond the last head or answer.
    pub(crate) fn rest_buffered(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    fn fill(&mut self) -> usize {
        let mut part = vec![0; 256 * 1024];
        match self.stream.read(&mut part) {
            Ok(count) => {
                self.buffer.extend_from_slice(&part[..count]);
                count
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("neither bytes nor an end"),
            Err(_) => 0,
        }
    }
}

impl Answer {
    pub(crate) fn content_length(&self) -> usize {
        let line = self.head.lines().find_map(|line| line.strip_prefix("content-length: "));
        line.map_or(0, |length| length.parse().expect("a number"))
    }
}

/// `count` bytes without a pattern of any power of two.
pub(crate) fn content(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state
    };
    std::iter::repeat_with(|| next().to_be_bytes()).flatten().take(count).collect()
}
