//! The door: every request passes parse, authorize, one exhaustive match, handler, in this order, and every answer goes out
//! through here, so that what all answers have is set in one place.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_RANGE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};

use crate::auth::{Authenticator, Authorization, Credentials, Grant, RealmBase, Refusal};
use crate::registry::{self, Registry, UploadSession};
use crate::telemetry::HealthChecks;

use super::body::{Drained, RequestBody};
use super::client::Redirects;
use super::endpoint::{Effect, Endpoint};
use super::location::{Addresses, peer_address};
use super::path::{self, Shape};
use super::query::Query;
use super::uploads::Session;
use super::{ClientCertificate, Config, Error, answer, blobs, listings, manifests, tokens, uploads};

/// The registry's HTTP API as a tower service. Clones share everything and cost one reference count.
#[derive(Debug, Clone)]
pub struct Routes {
    door: Arc<Door>,
}

#[derive(Debug)]
struct Door {
    prefix: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    addresses: Addresses,
    redirects: Redirects,
    registry: Arc<Registry>,
    authenticator: Arc<Authenticator>,
    health: HealthChecks,
}

/// What handlers see of a request besides its endpoint.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) parts: &'a Parts,
    pub(super) registry: &'a Registry,
    pub(super) addresses: &'a Addresses,
    pub(super) redirects: &'a Redirects,
    pub(super) grant: &'a Grant,
}

impl Routes {
    /// The API over `registry`, asking `authenticator` about every request and refusing all while `health` is bad.
    #[must_use]
    pub fn new(
        config: Config,
        registry: Arc<Registry>,
        authenticator: Arc<Authenticator>,
        health: HealthChecks,
    ) -> Self {
        let (addresses, redirects) = (Addresses::new(&config), Redirects::new(&config));
        let Config { prefix, headers, .. } = config;
        Self { door: Arc::new(Door { prefix, headers, addresses, redirects, registry, authenticator, health }) }
    }
}

impl tower::Service<Request<Body>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let door = Arc::clone(&self.door);
        Box::pin(async move { Ok(door.answer(request).await) })
    }
}

impl Door {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let mut body = RequestBody::new(&parts, body);
        let mut response = caught(&parts, self.route(&parts, &mut body)).await;
        let refused = response.status().is_client_error() || response.status().is_server_error();
        if refused && body.drain().await == Drained::GivenUp {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn route(&self, parts: &Parts, body: &mut RequestBody) -> Response<Body> {
        if let Some(reason) = self.health.unhealthy() {
            tracing::debug!(%reason, "refused while unhealthy");
            return answer::failure(&Error::Unhealthy);
        }
        let path = parts.uri.path();
        if path == "/" {
            return answer::root();
        }
        let decoded = path::decode(path.strip_prefix(self.prefix.as_str()).unwrap_or_default());
        if let Some(issuer) = self.authenticator.token_issuer().filter(|issuer| tokens::serves(*issuer, &decoded)) {
            let (authorization, address) = (authorization(&parts.headers), peer_address(parts));
            let query = Query::new(parts.uri.query());
            return tokens::answer(
                issuer,
                tokens::Asked { method: &parts.method, query, authorization, address },
                body,
            )
            .await;
        }
        let shape = match decoded.strip_prefix("v2") {
            // `/v2` is served as `/v2/`: a redirect would cost its clients a round trip to learn nothing.
            Some("") => Some(Shape::Base),
            Some(below) => below.strip_prefix('/').and_then(Shape::of),
            None => None,
        };
        let Some(shape) = shape else { return answer::failure(&Error::EndpointUnknown) };
        let mut response = if parts.method == Method::OPTIONS {
            answer::options(shape.allow())
        } else {
            self.dispatch(parts, shape, body).await
        };
        response.extensions_mut().insert(shape.handler());
        self.add_configured(response.headers_mut());
        response
    }

    async fn dispatch(&self, parts: &Parts, shape: Shape<'_>, body: &mut RequestBody) -> Response<Body> {
        let endpoint = match Endpoint::parse(shape, &parts.method, Query::new(parts.uri.query())) {
            Ok(endpoint) => endpoint,
            Err(error) => return answer::failure(&error),
        };
        match self.carry_out(parts, &endpoint, body).await {
            Ok(response) => response,
            Err(error) => self.refuse(parts, &endpoint, &error),
        }
    }

    async fn carry_out(
        &self,
        parts: &Parts,
        endpoint: &Endpoint,
        body: &mut RequestBody,
    ) -> Result<Response<Body>, Error> {
        let credentials = Credentials {
            authorization: authorization(&parts.headers),
            certificate: parts.extensions.get::<ClientCertificate>().map(|certificate| &*certificate.der),
            address: peer_address(parts),
        };
        let grant = &self.authenticator.authorize(credentials, endpoint.access()).await.map_err(Error::Refused)?;
        if endpoint.effect() == Effect::Writes {
            self.registry.writable().map_err(Error::by_registry)?;
        }
        let call =
            &Call { parts, registry: &self.registry, addresses: &self.addresses, redirects: &self.redirects, grant };
        match endpoint {
            Endpoint::Base => Ok(answer::ping()),
            Endpoint::Catalog { page } => listings::catalog(call, page).await,
            Endpoint::Tags { name, page } => listings::tags(call, name, page).await,
            Endpoint::Referrers { name, subject, artifact_types, page } => {
                listings::referrers(call, name, subject, artifact_types, page).await
            }
            Endpoint::PullManifest { name, reference } => manifests::pull(call, name, reference).await,
            Endpoint::PushManifest { name, reference, tags } => {
                manifests::push(call, name, reference, tags, body).await
            }
            Endpoint::DeleteManifest { name, reference } => manifests::delete(call, name, reference).await,
            Endpoint::PullBlob { name, digest } => blobs::pull(call, name, digest).await,
            Endpoint::DeleteBlob { name, digest } => blobs::delete(call, name, digest).await,
            Endpoint::BeginUpload { name, algorithm } => uploads::begin(call, name, *algorithm),
            Endpoint::PushBlob { name, digest } => uploads::push(call, name, digest, body).await,
            Endpoint::MountBlob { name, digest, source } => uploads::mount(call, name, digest, source.as_ref()).await,
            Endpoint::UploadStatus { name, id, state } => uploads::status(call, Session { name, id: *id, state }).await,
            Endpoint::AppendUpload { name, id, state } => {
                uploads::append(call, Session { name, id: *id, state }, body).await
            }
            Endpoint::FinishUpload { name, id, state, digest } => {
                uploads::finish(call, Session { name, id: *id, state }, digest, body).await
            }
            Endpoint::CancelUpload { name, id, state } => uploads::cancel(call, Session { name, id: *id, state }).await,
        }
    }

    /// The answer to an error, with what the endpoint adds to it; the one place where failures are logged.
    fn refuse(&self, parts: &Parts, endpoint: &Endpoint, error: &Error) -> Response<Body> {
        let mut response = answer::failure(error);
        if response.status().is_server_error() {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(method = %parts.method, path = parts.uri.path(), %error, cause, "a request failed");
        }
        let headers = response.headers_mut();
        match error {
            Error::ContentRange { session, .. } => self.locate_session(parts, headers, endpoint, session),
            Error::Registry(error) => {
                if let registry::Error::UploadOutOfOrder { session } = &**error {
                    self.locate_session(parts, headers, endpoint, session);
                }
            }
            Error::Refused(Refusal::Unauthorized { challenge, .. }) => {
                let base = match challenge.realm_base() {
                    RealmBase::Origin => self.addresses.origin(parts),
                    RealmBase::Registry => self.addresses.registry(parts),
                };
                answer::set(headers, WWW_AUTHENTICATE, challenge.header(base.as_deref()));
            }
            Error::RangeUnsatisfiable { size } => answer::set(headers, CONTENT_RANGE, format!("bytes */{size}")),
            _ => {}
        }
        response
    }

    /// From where a client whose chunk was refused can go on.
    fn locate_session(&self, parts: &Parts, headers: &mut HeaderMap, endpoint: &Endpoint, session: &UploadSession) {
        if let Some(name) = endpoint.repository() {
            self.addresses.locate_upload(parts, headers, name, session);
        }
    }

    /// `http.headers`: the first of each name replaces ours, further ones add to it.
    fn add_configured(&self, headers: &mut HeaderMap) {
        let mut previous = None;
        for (name, value) in &self.headers {
            if previous == Some(name) {
                headers.append(name, value.clone());
            } else {
                headers.insert(name, value.clone());
            }
            previous = Some(name);
        }
    }
}

/// The answer, or 500 should its making panic: one request's bad luck is not the process's.
async fn caught(parts: &Parts, answering: impl Future<Output = Response<Body>>) -> Response<Body> {
    AssertUnwindSafe(answering).catch_unwind().await.unwrap_or_else(|panic| {
        let (method, path, panic) = (&parts.method, parts.uri.path(), text_of(&*panic));
        tracing::error!(%method, path, panic, "a handler panicked");
        answer::failure(&Error::Panic)
    })
}

/// What the request shows to prove whose it is. Two headers are two stories, and so none that can be believed.
fn authorization(headers: &HeaderMap) -> Authorization<'_> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Authorization::Absent,
        (Some(value), None) => value.to_str().map_or(Authorization::Unreadable, Authorization::Text),
        (Some(_), Some(_)) => Authorization::Unreadable,
    }
}

/// What a panic said, for the log.
fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_one_answer_of_500_that_does_not_tell_why() {
        let (parts, ()) = Request::new(()).into_parts();
        let response = caught(&parts, async { panic!("the secret is 42") }).await;
        assert_eq!(response.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("UNKNOWN") && !body.contains("42"), "{body}");
    }

    #[test]
    fn two_stories_of_who_one_is_are_neither_one_nor_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(authorization(&headers), Authorization::Absent);
        headers.append(AUTHORIZATION, HeaderValue::from_static("Basic a"));
        assert_eq!(authorization(&headers), Authorization::Text("Basic a"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Basic b"));
        assert_eq!(authorization(&headers), Authorization::Unreadable);
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(b"Basic \xff").unwrap());
        assert_eq!(authorization(&headers), Authorization::Unreadable);
    }
}
