//! A proxy that spoils the way to a bucket: added latency, throttling, broken connections, truncated answers, errors
//! inside a 200, and requests that arrive twice. What happens to a request follows from the seed and the request's
//! number alone. The Host header is passed on, so signatures hold. It knows HTTP/1.1 and nothing of Berth.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1 as client;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<BoxBody<Bytes, Failure>>;

/// One way to spoil a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// 503 with the code `SlowDown`; the store never sees the request.
    SlowDown,
    /// The connection is closed without an answer; the store never sees the request.
    ResetBefore,
    /// The store does what it was asked and the connection is closed without an answer.
    ResetAfter,
    /// Half of the answer's body arrives, then the connection is closed.
    Truncated,
    /// Status 200 with an error document as its body, as Complete and Copy have it; the store never sees the request.
    /// Any other request is throttled instead.
    ErrorInside,
    /// The store gets the request twice; the second answer comes back.
    Duplicated,
    /// 403 with the code `RequestTimeTooSkewed`, as a wrong clock is answered; the store never sees the request.
    Skewed,
}

impl Fault {
    /// The faults of a bad day, which pass. A wrong clock does not, so it is not among them.
    pub(crate) const PASSING: [Self; 6] =
        [Self::SlowDown, Self::ResetBefore, Self::ResetAfter, Self::Truncated, Self::ErrorInside, Self::Duplicated];

    /// The fault of that name: `slow-down`, `reset-before`, `reset-after`, `truncated`, `error-inside`, `duplicated`,
    /// `skewed`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::PASSING.into_iter().chain([Self::Skewed]).find(|fault| fault.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::SlowDown => "slow-down",
            Self::ResetBefore => "reset-before",
            Self::ResetAfter => "reset-after",
            Self::Truncated => "truncated",
            Self::ErrorInside => "error-inside",
            Self::Duplicated => "duplicated",
            Self::Skewed => "skewed",
        }
    }
}

/// What the proxy does to the requests.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Chooses which requests are spoiled, and how.
    pub(crate) seed: u64,
    /// Of a hundred requests, how many are spoiled.
    pub(crate) percent: u64,
    /// The faults to choose from; none without a fault here.
    pub(crate) faults: Vec<Fault>,
    /// Added to every request before the store sees it.
    pub(crate) latency: Duration,
}

impl Plan {
    /// Passes everything on as it is, and counts.
    pub(crate) fn clean() -> Self {
        Self { seed: 0, percent: 0, faults: Vec::new(), latency: Duration::ZERO }
    }

    /// Spoils so many of a hundred requests, in every way that passes.
    pub(crate) fn bad_day(seed: u64, percent: u64) -> Self {
        Self { seed, percent, faults: Fault::PASSING.to_vec(), latency: Duration::ZERO }
    }

    fn fault(&self, number: u64) -> Option<Fault> {
        let drawn = scramble(self.seed ^ scramble(number));
        let choices = u64::try_from(self.faults.len()).ok().filter(|count| *count > 0)?;
        let chosen = usize::try_from((drawn / 100) % choices).ok()?;
        (drawn % 100 < self.percent).then(|| self.faults.get(chosen).copied()).flatten()
    }
}

/// The finaliser of `SplitMix64`: equally spread numbers from consecutive ones.
fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// What went through the proxy since it began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// All requests.
    pub(crate) requests: u64,
    /// Requests by method and query words, such as `PUT`, `PUT partNumber uploadId` or `PUT copy`.
    pub(crate) by_kind: BTreeMap<String, u64>,
    /// Spoiled requests by the fault's name.
    pub(crate) by_fault: BTreeMap<&'static str, u64>,
}

/// The proxy's state, shared by its connections.
struct Proxy {
    to: SocketAddr,
    plan: Mutex<Plan>,
    counts: Mutex<Counts>,
}

/// A running proxy; it ends when this is dropped.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    proxy: Arc<Proxy>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free loopback port before the store at `to`.
    pub(crate) async fn start(to: SocketAddr, plan: Plan) -> io::Result<Self> {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).await?, to, plan)
    }

    /// Serves a listener that is already there.
    pub(crate) fn on(listener: TcpListener, to: SocketAddr, plan: Plan) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let proxy = Arc::new(Proxy { to, plan: Mutex::new(plan), counts: Mutex::default() });
        let task = tokio::spawn(accept(listener, Arc::clone(&proxy)));
        Ok(Self { address, proxy, task })
    }

    /// Where it listens, as `http://127.0.0.1:PORT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests that arrive from now on follow this plan; their numbers go on.
    pub(crate) fn follow(&self, plan: Plan) {
        *locked(&self.proxy.plan) = plan;
    }

    /// What went through so far.
    pub(crate) fn counts(&self) -> Counts {
        locked(&self.proxy.counts).clone()
    }

    /// Waits until the listener fails, which it does not.
    pub(crate) async fn run(mut self) {
        let _ended = (&mut self.task).await;
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn accept(listener: TcpListener, proxy: Arc<Proxy>) {
    // Connections end with the proxy, so that a stopped one answers nobody.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let proxy = Arc::clone(&proxy);
        connections.spawn(async move {
            let upstream = Arc::new(tokio::sync::Mutex::new(None));
            let service = service_fn(move |request| handle(Arc::clone(&proxy), Arc::clone(&upstream), request));
            // A broken connection is this proxy's business, so nobody is told.
            let _ended =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The connection to the store that belongs to one client connection, opened by its first request.
type Upstream = Arc<tokio::sync::Mutex<Option<client::SendRequest<Full<Bytes>>>>>;

async fn handle(proxy: Arc<Proxy>, upstream: Upstream, request: Request<Incoming>) -> Result<Answer, Failure> {
    if request.uri().path() == "/-/counts" {
        return Ok(counted(&proxy));
    }
    let (parts, body) = request.into_parts();
    let plan = locked(&proxy.plan).clone();
    let (kind, fault) = {
        let mut counts = locked(&proxy.counts);
        counts.requests += 1;
        let kind = kind(&parts);
        *counts.by_kind.entry(kind.clone()).or_default() += 1;
        let fault = plan.fault(counts.requests).map(|fault| possible(fault, &kind));
        if let Some(fault) = fault {
            *counts.by_fault.entry(fault.name()).or_default() += 1;
        }
        (kind, fault)
    };
    let body = body.collect().await?.to_bytes();
    tokio::time::sleep(plan.latency).await;
    let again = || {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        request
    };
    match fault {
        Some(Fault::SlowDown) => {
            return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Please reduce your request rate."));
        }
        Some(Fault::Skewed) => {
            let message = "The difference between the request time and the current time is too large.";
            return Ok(refusal(StatusCode::FORBIDDEN, "RequestTimeTooSkewed", message));
        }
        Some(Fault::ErrorInside) => {
            return Ok(refusal(StatusCode::OK, "InternalError", "We encountered an internal error."));
        }
        Some(Fault::ResetBefore) => return Err(format!("{kind} is not passed on").into()),
        Some(Fault::Duplicated) => drop(forward(&proxy, &upstream, again()).await?.into_body().collect().await?),
        Some(Fault::ResetAfter | Fault::Truncated) | None => {}
    }
    let answer = forward(&proxy, &upstream, again()).await?;
    if fault == Some(Fault::ResetAfter) {
        answer.into_body().collect().await?;
        return Err(format!("{kind} is not answered").into());
    }
    Ok(answer.map(|body| match (fault, body.size_hint().exact()) {
        (Some(Fault::Truncated), Some(length)) => Truncated { body, left: length / 2 }.boxed(),
        _ => body.map_err(Failure::from).boxed(),
    }))
}

/// Sends a request to the store, on the connection that is open or on a new one.
async fn forward(
    proxy: &Proxy,
    upstream: &Upstream,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Failure> {
    let mut kept = upstream.lock().await;
    let open = match kept.take() {
        Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
        None => None,
    };
    let mut sender = if let Some(sender) = open {
        sender
    } else {
        let stream = TcpStream::connect(proxy.to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender
    };
    let answer = sender.send_request(request).await?;
    *kept = Some(sender);
    Ok(answer)
}

/// An error inside a 200 exists for two requests only, and a body that is not there cannot be cut.
fn possible(fault: Fault, kind: &str) -> Fault {
    let slow = matches!(kind, "POST uploadId" | "PUT copy" | "PUT copy partNumber uploadId");
    match fault {
        Fault::ErrorInside if !slow => Fault::SlowDown,
        Fault::Truncated if kind.starts_with("HEAD") || kind.starts_with("DELETE") => Fault::ResetAfter,
        other => other,
    }
}

/// The words that tell one operation of a bucket from another.
fn kind(parts: &http::request::Parts) -> String {
    const WORDS: [&str; 7] = ["delete", "list-type", "partNumber", "uploadId", "uploads", "max-uploads", "prefix"];
    let query = parts.uri.query().unwrap_or_default();
    let mut words = vec![parts.method.as_str()];
    if parts.headers.contains_key("x-amz-copy-source") || parts.headers.contains_key("x-oss-copy-source") {
        words.push("copy");
    }
    let asked = |word: &&str| query.split('&').any(|pair| pair.split('=').next() == Some(*word));
    words.extend(WORDS.into_iter().filter(asked));
    words.join(" ")
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>spoiled</RequestId></Error>"
    );
    let mut answer = Response::new(Full::new(Bytes::from(document)).map_err(|never| match never {}).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/xml"));
    answer
}

/// The counts as JSON, for scripts.
fn counted(proxy: &Proxy) -> Answer {
    let counts = locked(&proxy.counts).clone();
    let text =
        serde_json::json!({ "requests": counts.requests, "by_kind": counts.by_kind, "by_fault": counts.by_fault });
    Response::new(Full::new(Bytes::from(text.to_string())).map_err(|never| match never {}).boxed())
}

/// A body that breaks off.
struct Truncated {
    body: Incoming,
    left: u64,
}

impl Body for Truncated {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if self.left == 0 {
            return Poll::Ready(Some(Err("the body breaks off".into())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        polled.map(|next| {
            next.map(|frame| {
                let mut data = frame?.into_data().unwrap_or_default();
                data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= data.len() as u64;
                Ok(Frame::data(data))
            })
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_spoils_the_same_requests_and_about_as_many_as_asked() {
        let plan = Plan::bad_day(7, 20);
        let spoiled: Vec<_> = (0..10_000).map(|number| plan.fault(number)).collect();
        assert_eq!(spoiled, (0..10_000).map(|number| plan.fault(number)).collect::<Vec<_>>());
        let count = spoiled.iter().flatten().count();
        assert!((1_800..2_200).contains(&count), "{count}");
        for fault in Fault::PASSING {
            assert!(spoiled.contains(&Some(fault)), "{fault:?} never happens");
        }
        assert_ne!(spoiled, (0..10_000).map(|number| Plan::bad_day(8, 20).fault(number)).collect::<Vec<_>>());
    }

    #[test]
    fn a_clean_plan_spoils_nothing() {
        assert!((0..1_000).all(|number| Plan::clean().fault(number).is_none()));
    }

    #[test]
    fn every_fault_is_known_by_its_name() {
        for fault in Fault::PASSING.into_iter().chain([Fault::Skewed]) {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
        assert_eq!(Fault::named("none"), None);
    }
}
