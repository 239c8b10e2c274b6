//! What is changed on requests just before they are signed, what is repeated, and the log of all.
//!
//! Never looks at bodies that are streamed, and never logs a header: signatures and session tokens are in them.

use std::time::Instant;

use aws_sdk_s3::config::interceptors::{
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
    InterceptorContext,
};
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadError;
use aws_sdk_s3::operation::copy_object::CopyObjectError;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use base64::Engine;
use md5::{Digest, Md5};

/// Sends one's own `User-Agent`.
#[derive(Debug)]
pub(super) struct UserAgent(String);

impl UserAgent {
    pub(super) fn new(header: &str) -> Self {
        Self(header.to_owned())
    }
}

#[dyn_dispatch_hint]
impl Intercept for UserAgent {
    fn name(&self) -> &'static str {
        "UserAgent"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().try_insert("user-agent", self.0.clone())?;
        Ok(())
    }
}

/// Says that a request without a body has none: some stores and proxies want a length with every PUT and POST.
#[derive(Debug)]
pub(super) struct ContentLength;

#[dyn_dispatch_hint]
impl Intercept for ContentLength {
    fn name(&self) -> &'static str {
        "ContentLength"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let empty = request.body().content_length() == Some(0);
        if empty && matches!(request.method(), "PUT" | "POST") {
            request.headers_mut().try_insert("content-length", "0")?;
        }
        Ok(())
    }
}

/// Proves the body by `Content-MD5`, which every store knows, in place of the checksum headers that some refuse.
#[derive(Debug)]
pub(super) struct ContentMd5;

#[dyn_dispatch_hint]
impl Intercept for ContentMd5 {
    fn name(&self) -> &'static str {
        "ContentMd5"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let digest = Md5::digest(request.body().bytes().ok_or("a body that is streamed has no Content-MD5")?);
        let headers = request.headers_mut();
        let checksums: Vec<String> = headers
            .iter()
            .map(|(name, _)| name.to_owned())
            .filter(|name| name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm")
            .collect();
        for name in checksums {
            headers.remove(name);
        }
        headers.try_insert("content-md5", base64::engine::general_purpose::STANDARD.encode(digest))?;
        Ok(())
    }
}

/// Repeats what the client library does not: requests that met another one at the same key, such as a write while the
/// store clears away the emptied directory around it, and those that came too often.
#[derive(Debug)]
pub(super) struct Collisions;

impl ClassifyRetry for Collisions {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response().map(|response| response.status().as_u16()) {
            Some(408 | 409 | 429) => RetryAction::transient_error(),
            // MinIO denies a write that meets the removal of the emptied directory around it. Credentials that may not write
            // are told as such a few seconds later.
            Some(403) if is_write(context) => RetryAction::transient_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "Collisions"
    }
}

/// Whether what failed would have made an object. The error's type tells, because the request is gone by then.
fn is_write(context: &InterceptorContext) -> bool {
    let error = context.output_or_error().and_then(|answer| answer.as_ref().err()?.as_operation_error());
    error.is_some_and(|error| {
        error.downcast_ref::<PutObjectError>().is_some()
            || error.downcast_ref::<CopyObjectError>().is_some()
            || error.downcast_ref::<CompleteMultipartUploadError>().is_some()
    })
}

/// Logs each request that was sent, repetitions included.
#[derive(Debug)]
pub(super) struct RequestLogger;

#[derive(Debug)]
struct Sent(Instant);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for RequestLogger {
    fn name(&self) -> &'static str {
        "RequestLogger"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(Sent(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(request) = context.request() else { return Ok(()) };
        let response = context.response();
        let header = |name| response.and_then(|response| response.headers().get(name)).unwrap_or_default();
        tracing::debug!(
            method = request.method(),
            uri = request.uri(),
            status = response.map_or(0, |response| response.status().as_u16()),
            milliseconds = bag.load::<Sent>().map_or(0, |sent| sent.0.elapsed().as_millis()),
            request_id = header("x-amz-request-id"),
            "request to the bucket"
        );
        Ok(())
    }
}
