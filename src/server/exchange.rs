//! One request and its response: hands a request to the application and its response to the connection.
//!
//! The application is any tower service; what it is about is not known here.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::Service;

use super::file_stream::{FileStream, Transfer};
use super::watch::{Phase, Watch};
use super::wire_body::{OpenRequest, RequestBody, WireBody};
use crate::routes::{ClientCertificate, FileBody};
use crate::telemetry::{Handler, PeerAddress, Telemetry};

/// The application as one connection sees it.
#[derive(Debug, Clone)]
pub(super) struct Exchange<S> {
    pub(super) app: S,
    pub(super) telemetry: Telemetry,
    pub(super) peer: PeerAddress,
    /// Of the connection, when TLS has verified one.
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) watch: Arc<Watch>,
    pub(super) transfer: Transfer,
}

impl<S> hyper::service::Service<Request<Incoming>> for Exchange<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    type Response = Response<WireBody>;
    type Error = Infallible;
    type Future = Answer<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let record = self.telemetry.begin(&request, self.peer);
        let is_head = request.method() == Method::HEAD;
        let (mut parts, incoming) = request.into_parts();
        let body = if incoming.is_end_stream() {
            self.watch.request_begins(Phase::Answering);
            Body::empty()
        } else {
            self.watch.request_begins(Phase::Receiving);
            Body::new(RequestBody::new(incoming, Arc::clone(&self.watch)))
        };
        parts.extensions.insert(self.peer);
        if let Some(certificate) = &self.certificate {
            parts.extensions.insert(certificate.clone());
        }
        // The application must be ready at any time, as axum's router is; limits belong to the connection.
        let future = self.app.clone().call(Request::from_parts(parts, body));
        let open = OpenRequest::new(record, Arc::clone(&self.watch));
        Answer { future, open: Some(open), transfer: self.transfer.clone(), is_head }
    }
}

pin_project! {
    /// The response to come.
    pub(super) struct Answer<F> {
        #[pin]
        future: F,
        open: Option<OpenRequest>,
        transfer: Transfer,
        is_head: bool,
    }
}

/// Takes the content out of an answer to HEAD, leaving its length in the head. HTTP/1 would do so by itself; over HTTP/2
/// the content would be sent.
fn without_content(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    parts.extensions.remove::<FileBody>();
    if let Some(length @ 1..) = body.size_hint().exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(parts, Body::empty())
}

impl<F: Future<Output = Result<Response<Body>, Infallible>>> Future for Answer<F> {
    type Output = Result<Response<WireBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.future.poll(cx));
        let Some(mut open) = this.open.take() else {
            // A future is not polled after it was ready; waiting for ever is the harmless answer to one who does.
            return Poll::Pending;
        };
        let response = if *this.is_head { without_content(response) } else { response };
        let (mut parts, body) = response.into_parts();
        let handler = parts.extensions.get::<Handler>().copied().unwrap_or_default();
        open.record().answered(parts.status, handler);
        let body = match parts.extensions.remove::<FileBody>() {
            Some(file) => WireBody::file(FileStream::new(file, this.transfer.clone()), open),
            None => WireBody::axum(body, open),
        };
        Poll::Ready(Ok(Response::from_parts(parts, body)))
    }
}
