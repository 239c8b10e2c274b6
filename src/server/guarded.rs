//! A connection's bytes under the time limits: head, idle and stall.
//!
//! Wraps whatever carries the bytes (a socket, or TLS over one). The timer is only looked at when a read or write has to
//! wait, and is left running when it is early rather than reset for each request, so that a busy connection never touches
//! it. No limit applies to a request as a whole.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Limits;
use super::watch::{Framing, Phase, Watch};

/// The limits of one connection's waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    head: Duration,
    idle: Duration,
    stall: Duration,
}

impl From<&Limits> for Waits {
    fn from(limits: &Limits) -> Self {
        Self { head: limits.header_timeout, idle: limits.idle_timeout, stall: limits.stall_timeout }
    }
}

/// Bytes with time limits. A limit that passes shows as an error of kind `TimedOut` from the operation that waited.
#[derive(Debug)]
pub(super) struct Guarded<T> {
    inner: T,
    watch: Arc<Watch>,
    waits: Waits,
    head_since: Instant,
    moved: Instant,
    read_waits: Option<Instant>,
    write_waits: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> Guarded<T> {
    /// Puts `inner` under the limits; the first head is due from the opening of the connection.
    pub(super) fn new(inner: T, watch: Arc<Watch>, waits: Waits) -> Self {
        let opened = watch.opened();
        Self {
            inner,
            watch,
            waits,
            head_since: opened,
            moved: opened,
            read_waits: None,
            write_waits: None,
            timer: None,
        }
    }

    /// When the present wait is too long, if there is a limit to it.
    fn due(&self) -> Option<Instant> {
        if let Some(since) = self.write_waits {
            return Some(since.max(self.moved) + self.waits.stall);
        }
        let since = self.read_waits?;
        match self.watch.framing() {
            Framing::Http1 => match self.watch.phase() {
                Phase::Idle => Some(self.moved + self.waits.idle),
                Phase::Head => Some(self.head_since + self.waits.head),
                Phase::Receiving => Some(since.max(self.moved) + self.waits.stall),
                Phase::Answering => None,
            },
            Framing::Http2 if self.watch.is_busy() => {
                self.watch.bodies_stalled_since().map(|since| since + self.waits.stall)
            }
            Framing::Http2 => Some(self.moved + self.waits.idle),
        }
    }

    /// Called when an operation waits: an error when it has waited too long, else a wake-up no later than that.
    fn wait(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<()> {
        // A wait without a limit may become an idle one without another read, so it is looked at again by then.
        let due = self.due().unwrap_or(now + self.waits.idle);
        if due <= now {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer was given up after waiting too long"));
        }
        let wanted = tokio::time::Instant::from_std(due);
        match &mut self.timer {
            Some(timer) if !timer.is_elapsed() && timer.deadline() <= wanted => return Ok(()),
            Some(timer) => timer.as_mut().reset(wanted),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(wanted))),
        }
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            // The limit passed between the two looks at the clock; the next poll reports it.
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn wrote(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        if result.is_pending() {
            self.write_waits.get_or_insert(now);
            self.wait(cx, now)?;
        } else {
            self.write_waits = None;
            self.moved = now;
        }
        result
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guarded<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_read(cx, buf);
        let now = Instant::now();
        if result.is_pending() {
            this.read_waits.get_or_insert(now);
            this.wait(cx, now)?;
            return Poll::Pending;
        }
        this.read_waits = None;
        this.moved = now;
        if this.watch.phase() == Phase::Idle {
            this.head_since = now;
            this.watch.head_begins();
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.wrote(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_flush(cx);
        this.finished(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.finished(cx, result)
    }
}

impl<T> Guarded<T> {
    /// Flush and shutdown move bytes only under TLS, where they can wait as long as a write.
    fn finished(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if result.is_pending() {
            let now = Instant::now();
            self.write_waits.get_or_insert(now);
            self.wait(cx, now)?;
        } else {
            self.write_waits = None;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SHORT: Duration = Duration::from_millis(40);
    const LONG: Duration = Duration::from_mins(1);

    fn guarded(waits: Waits) -> (Guarded<tokio::io::DuplexStream>, tokio::io::DuplexStream, Arc<Watch>) {
        let (near, far) = tokio::io::duplex(16);
        let watch = Arc::new(Watch::new(Framing::Http1));
        (Guarded::new(near, Arc::clone(&watch), waits), far, watch)
    }

    #[tokio::test]
    async fn a_silent_peer_is_given_up_after_the_head_limit() {
        let (mut guarded, _far, _watch) = guarded(Waits { head: SHORT, idle: LONG, stall: LONG });
        let error = guarded.read_u8().await.expect_err("nothing was sent");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn dribbling_does_not_extend_the_head_limit() {
        let (mut guarded, mut far, watch) = guarded(Waits { head: SHORT, idle: LONG, stall: LONG });
        watch.request_begins(Phase::Answering);
        watch.request_ends();
        let dribble = tokio::spawn(async move {
            while far.write_u8(b'x').await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let mut reads = 0;
        let error = loop {
            match guarded.read_u8().await {
                Ok(_) => reads += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(reads > 1);
        drop(guarded);
        dribble.await.expect("the writer ends with its peer");
    }

    #[tokio::test]
    async fn waiting_for_a_slow_handler_has_no_limit_but_a_body_that_stalls_has() {
        let (mut guarded, _far, watch) = guarded(Waits { head: SHORT, idle: SHORT, stall: SHORT });
        watch.request_begins(Phase::Answering);
        let unlimited = tokio::time::timeout(3 * SHORT, guarded.read_u8()).await;
        assert!(unlimited.is_err(), "the read must still wait");
        watch.request_begins(Phase::Receiving);
        let error = guarded.read_u8().await.expect_err("the body stalls");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_reader_that_stops_is_given_up_after_the_stall_limit() {
        let (mut guarded, _far, watch) = guarded(Waits { head: LONG, idle: LONG, stall: SHORT });
        watch.request_begins(Phase::Answering);
        let error = guarded.write_all(&[0; 64]).await.expect_err("the pipe holds 16 bytes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
