//! An OSS server in the process of the test: verifies every signature, keeps its objects in memory, is as strict as the
//! store it stands for. Proved against the official client libraries by `conformance/oss_sdks.sh`.
//!
//! Written from the rules of the protocol alone: it shares nothing with the driver that it judges.

mod answer;
mod listing;
mod multipart;
mod objects;
mod request;
mod verify;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use answer::Answer;
use objects::Store;
use request::Asked;

/// How the server is to be.
#[derive(Debug, Clone)]
pub(crate) struct OssOptions {
    /// Without `oss-`. Requests signed for another region are refused.
    pub(crate) region: String,
    /// The one bucket there is.
    pub(crate) bucket: String,
    /// The one account's access key id.
    pub(crate) access_key_id: String,
    /// The one account's access key secret.
    pub(crate) access_key_secret: String,
    /// Where there is one, every request must show it, as with temporary keys.
    pub(crate) security_token: Option<String>,
}

impl Default for OssOptions {
    fn default() -> Self {
        Self {
            region: "cn-test".to_owned(),
            bucket: "images".to_owned(),
            access_key_id: "test-key-id".to_owned(),
            access_key_secret: "test-key-secret".to_owned(),
            security_token: None,
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// `GET` …
    pub(crate) method: String,
    /// Still encoded, with the bucket in front when it came so.
    pub(crate) path: String,
    /// Still encoded; empty when there is none.
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

/// What the next requests meet instead of the store.
#[derive(Debug, Clone)]
pub(crate) enum Mishap {
    /// Refused with this status and code, before anything is done.
    Refused(u16, &'static str),
    /// Done, and the connection closed without an answer.
    Unanswered,
    /// Done, and another checksum told than that of what came.
    Miscounted,
    /// The answer ends in the middle of its body.
    Truncated,
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct OssServer {
    shared: Arc<Shared>,
    endpoint: String,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    options: OssOptions,
    store: Mutex<Store>,
    recorded: Mutex<Vec<Recorded>>,
    mishaps: Mutex<Vec<Mishap>>,
}

impl OssServer {
    /// Starts one on a free port of this machine.
    pub(crate) fn start(options: OssOptions) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("sockets can be non-blocking");
        Self::on(TcpListener::from_std(listener).expect("a runtime is here"), options)
    }

    /// Starts one on `listener`.
    pub(crate) fn on(listener: TcpListener, options: OssOptions) -> Self {
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (store, recorded, mishaps) = (Mutex::default(), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { options, store, recorded, mishaps });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, endpoint, accepting }
    }

    /// Scheme, address and port.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What it was started with.
    pub(crate) fn options(&self) -> &OssOptions {
        &self.shared.options
    }

    /// What was asked since the last time.
    pub(crate) fn take_requests(&self) -> Vec<Recorded> {
        std::mem::take(&mut lock(&self.shared.recorded))
    }

    /// Lets the next requests meet `mishaps`, one each.
    pub(crate) fn next_meet(&self, mishaps: &[Mishap]) {
        lock(&self.shared.mishaps).extend(mishaps.iter().cloned());
    }

    /// Multipart uploads that were begun and neither completed nor aborted.
    pub(crate) fn open_uploads(&self) -> usize {
        lock(&self.shared.store).uploads.len()
    }
}

impl Drop for OssServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Serves until the process ends, and forgets each request.
pub(crate) async fn serve(listener: TcpListener, options: OssOptions) {
    let server = OssServer::on(listener, options);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        server.take_requests();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = hyper::service::service_fn(|request| answer(Arc::clone(&shared), request));
            // A client that goes away is none of the server's business.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Sent>, Infallible> {
    let (parts, body) = request.into_parts();
    let recorded = Recorded {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.clone(),
    };
    lock(&shared.recorded).push(recorded);
    let mishap = {
        let mut mishaps = lock(&shared.mishaps);
        if mishaps.is_empty() { None } else { Some(mishaps.remove(0)) }
    };
    let Ok(body) = body.collect().await else {
        return Ok(Answer::refused(400, "RequestTimeout", "").into_response("").map(Sent::Whole));
    };
    let asked = Asked::new(&parts, body.to_bytes(), &shared.options.bucket);
    let answer = match (&mishap, asked) {
        (Some(Mishap::Refused(status, code)), _) => Answer::refused(*status, code, "as the test wants it"),
        (_, Err(refusal)) => refusal,
        (_, Ok(asked)) => match verify::verify(&asked, &shared.options) {
            Err(refusal) => refusal,
            Ok(()) => lock(&shared.store).answer(&asked, &shared.options),
        },
    };
    let mut response = answer.into_response(parts.method.as_str());
    match mishap {
        Some(Mishap::Miscounted) => {
            response.headers_mut().insert("x-oss-hash-crc64ecma", http::HeaderValue::from_static("1"));
        }
        Some(Mishap::Unanswered) => return Ok(Response::new(Sent::Broken)),
        Some(Mishap::Truncated) => return Ok(response.map(|whole| Sent::cut(&whole))),
        _ => {}
    }
    Ok(response.map(Sent::Whole))
}

/// The body of an answer, or what is left of one that a mishap met.
enum Sent {
    Whole(Full<Bytes>),
    Cut { half: Bytes, announced: u64, is_sent: bool },
    Broken,
}

impl Sent {
    fn cut(whole: &Full<Bytes>) -> Self {
        let announced = hyper::body::Body::size_hint(whole).exact().unwrap_or(0).max(1);
        Self::Cut {
            half: Bytes::from(vec![b'x'; usize::try_from(announced / 2).unwrap_or(0)]),
            announced,
            is_sent: false,
        }
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let broken = Some(Err(std::io::Error::other("as the test wants it")));
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Cut { half, .. } if !half.is_empty() => Poll::Ready(Some(Ok(Frame::data(std::mem::take(half))))),
            // What was given goes out only while there is nothing more to give.
            Self::Cut { is_sent, .. } if !*is_sent => {
                *is_sent = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Self::Cut { .. } | Self::Broken => Poll::Ready(broken),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => hyper::body::Body::size_hint(body),
            Self::Cut { announced, .. } => SizeHint::with_exact(*announced),
            Self::Broken => SizeHint::with_exact(1),
        }
    }
}
