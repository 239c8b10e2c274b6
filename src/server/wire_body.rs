//! Bodies as they cross the connection: responses with files in them, and requests whose end the connection must notice.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::file_stream::FileStream;
use super::watch::{Framing, Watch};
use super::wire_buf::WireBuf;
use crate::telemetry::RequestRecord;

/// The body of a response. Dropping it ends the request: its record is written and the connection may be idle.
#[derive(Debug)]
pub(super) struct WireBody {
    content: Content,
    open: OpenRequest,
}

#[derive(Debug)]
enum Content {
    Axum(Body),
    File(FileStream),
}

/// A request that is not over; dropping it is what ends it, however it ends.
#[derive(Debug)]
pub(super) struct OpenRequest {
    record: RequestRecord,
    watch: Arc<Watch>,
    waits: bool,
}

impl OpenRequest {
    /// `watch` was told of the request's beginning.
    pub(super) fn new(record: RequestRecord, watch: Arc<Watch>) -> Self {
        Self { record, watch, waits: false }
    }

    /// What is recorded of this request.
    pub(super) fn record(&mut self) -> &mut RequestRecord {
        &mut self.record
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.waits {
            self.watch.body_rests();
        }
        self.watch.request_ends();
    }
}

impl WireBody {
    /// Frames of an ordinary body.
    pub(super) fn axum(body: Body, open: OpenRequest) -> Self {
        Self::new(Content::Axum(body), open)
    }

    /// Frames of a file.
    pub(super) fn file(file: FileStream, open: OpenRequest) -> Self {
        Self::new(Content::File(file), open)
    }

    fn new(content: Content, mut open: OpenRequest) -> Self {
        if open.watch.framing() == Framing::Http2 {
            open.watch.body_waits();
            open.waits = true;
        }
        Self { content, open }
    }
}

impl HttpBody for WireBody {
    type Data = WireBuf;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let frame = match &mut this.content {
            Content::Axum(body) => Pin::new(body).poll_frame(cx).map_ok(|frame| frame.map_data(WireBuf::Bytes)),
            Content::File(file) => file.poll_next(cx).map_ok(Frame::data).map_err(axum::Error::new),
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            this.open.record.sent(frame.data_ref().map_or(0, |data| data.remaining() as u64));
            if this.open.waits {
                this.open.watch.body_moves();
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Axum(body) => body.is_end_stream(),
            Content::File(file) => file.remaining() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Axum(body) => body.size_hint(),
            Content::File(file) => SizeHint::with_exact(file.remaining()),
        }
    }
}

/// The body of a request; tells the connection when nothing more is wanted from the client.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Incoming,
    watch: Arc<Watch>,
    waits: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, watch: Arc<Watch>) -> Self {
        Self { incoming, watch, waits: false }
    }

    /// Notes a change between waiting for the client and not, which only HTTP/2 needs to know.
    fn note(&mut self, waits: bool) {
        if self.watch.framing() == Framing::Http2 && self.waits != waits {
            self.waits = waits;
            if waits { self.watch.body_waits() } else { self.watch.body_rests() }
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.incoming).poll_frame(cx);
        this.note(frame.is_pending());
        if !matches!(frame, Poll::Pending | Poll::Ready(Some(Ok(_)))) || this.incoming.is_end_stream() {
            this.watch.request_body_ended();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.note(false);
        self.watch.request_body_ended();
    }
}
