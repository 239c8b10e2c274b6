//! One accepted connection from its first byte to its last: TLS or not, HTTP/1 or 2, and the order to drain.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::exchange::Exchange;
use super::file_stream::Transfer;
use super::guarded::{Guarded, Waits};
use super::shutdown::{Shutdown, Stage};
use super::socket::{Socket, Stream};
use super::tls::Acceptor;
use super::watch::{Framing, Watch};
use super::{Limits, Toggle};
use crate::telemetry::{PeerAddress, Telemetry};

/// First bytes of an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Most that hyper reads at once, and so the size of its frames of an upload; a connection grows to it only under load.
const READ_BUFFER: usize = 256 * 1024;

/// HTTP/2 flow control windows; the protocol's default of 64 KiB would throttle pushes.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// What all connections of a listener share.
pub(super) struct Protocol {
    waits: Waits,
    header_timeout: Duration,
    h2c: Toggle,
    tls: Option<Acceptor>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocol {
    /// Builders with every limit set that they have themselves; the time limits are `Guarded`'s.
    pub(super) fn new(limits: &Limits, h2c: Toggle, tls: Option<Acceptor>) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(READ_BUFFER.max(limits.header_bytes))
            .max_header_size(limits.header_bytes);
        // Setting the count makes hyper allocate for each request, so its own default is left alone.
        if limits.header_count != 100 {
            http1.max_headers(limits.header_count);
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(100)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(200)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(64 * 1024)
            .max_send_buf_size(READ_BUFFER)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        Self { waits: Waits::from(limits), header_timeout: limits.header_timeout, h2c, tls, http1, http2 }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve<S>(
        &self,
        stream: Stream,
        peer: PeerAddress,
        app: S,
        telemetry: Telemetry,
        shutdown: Shutdown,
    ) where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let exchange = |framing, transfer, certificate| {
            let watch = Arc::new(Watch::new(framing));
            Exchange { app, telemetry, peer, certificate, watch, transfer }
        };
        if let Some(acceptor) = &self.tls {
            let Some(tls) = self.handshake(&acceptor.acceptor, stream, peer).await else { return };
            let framing = match tls.get_ref().1.alpn_protocol() {
                Some(b"h2") => Framing::Http2,
                _ => Framing::Http1,
            };
            let certificate = acceptor.verified_certificate(tls.get_ref().1);
            return Box::pin(self.http(tls, exchange(framing, Transfer::Memory, certificate), shutdown)).await;
        }
        let Some((stream, framing, read)) = self.sniff(stream).await else { return };
        let socket = Socket::new(stream, read);
        let transfer = match framing {
            Framing::Http1 => Transfer::Stretches(socket.offers()),
            Framing::Http2 => Transfer::Memory,
        };
        self.http(socket, exchange(framing, transfer, None), shutdown).await;
    }

    async fn handshake(
        &self,
        acceptor: &TlsAcceptor,
        stream: Stream,
        peer: PeerAddress,
    ) -> Option<tokio_rustls::server::TlsStream<Socket>> {
        let socket = Socket::new(stream, Bytes::new());
        match tokio::time::timeout(self.header_timeout, Box::pin(acceptor.accept(socket))).await {
            Ok(Ok(tls)) => Some(tls),
            Ok(Err(error)) => {
                tracing::debug!(?peer, %error, "TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!(?peer, "TLS handshake took too long");
                None
            }
        }
    }

    /// Where cleartext HTTP/2 is asked for, reads until the first bytes are, or cannot be, its preface.
    async fn sniff(&self, mut stream: Stream) -> Option<(Stream, Framing, Bytes)> {
        if self.h2c == Toggle::Off {
            return Some((stream, Framing::Http1, Bytes::new()));
        }
        let mut read = BytesMut::with_capacity(PREFACE.len());
        let sniffed = tokio::time::timeout(self.header_timeout, async {
            while read.len() < PREFACE.len() && PREFACE.starts_with(&read) {
                let mut rest = (&mut stream).take((PREFACE.len() - read.len()) as u64);
                if !matches!(rest.read_buf(&mut read).await, Ok(1..)) {
                    break;
                }
            }
        });
        sniffed.await.ok()?;
        let framing = if read == PREFACE { Framing::Http2 } else { Framing::Http1 };
        Some((stream, framing, read.freeze()))
    }

    async fn http<T, S>(&self, io: T, exchange: Exchange<S>, shutdown: Shutdown)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let watch = Arc::clone(&exchange.watch);
        let io = TokioIo::new(Guarded::new(io, Arc::clone(&watch), self.waits));
        let ended = match watch.framing() {
            Framing::Http1 => {
                let connection = self.http1.serve_connection(io, exchange);
                drive(connection, http1::Connection::graceful_shutdown, shutdown).await
            }
            Framing::Http2 => {
                let connection = self.http2.serve_connection(io, exchange);
                // Boxed, so that the many connections that speak HTTP/1 do not hold room for it.
                Box::pin(drive(connection, http2::Connection::graceful_shutdown, shutdown)).await
            }
        };
        if let Some(Err(error)) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// Runs a connection until it ends, asking it to finish when a drain is ordered; `None` when all was to end at once.
///
/// The order is looked at by an atomic load for each poll; its waker is registered only once for each stage.
async fn drive<C: Future>(
    connection: C,
    mut finish: impl FnMut(Pin<&mut C>),
    mut shutdown: Shutdown,
) -> Option<C::Output> {
    let mut connection = pin!(connection);
    let mut orders = shutdown.clone();
    {
        let mut drain = pin!(shutdown.reached(Stage::Draining));
        let mut registered = false;
        let ended = std::future::poll_fn(|cx| {
            if (!registered || orders.changed()) && drain.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            registered = true;
            connection.as_mut().poll(cx).map(Some)
        })
        .await;
        if ended.is_some() {
            return ended;
        }
    }
    finish(connection.as_mut());
    tokio::select! {
        ended = connection => Some(ended),
        () = orders.reached(Stage::Now) => None,
    }
}
