//! A plain socket that sends stretches of files without reading them.
//!
//! Everything but vectored writes is the socket's own. What the placeholder of a stretch is, see `wire_buf`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::wire_buf::{Offers, Stretch, read_stretch};

/// Bytes moved at once where the system cannot send a file directly.
const COPY: usize = 64 * 1024;

/// An accepted connection.
#[derive(Debug)]
pub(super) enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

/// A connection together with the stretches offered to it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    offers: Offers,
    already_read: Bytes,
}

impl Socket {
    /// `already_read` are bytes taken from the stream before, which the first reads return.
    pub(super) fn new(stream: Stream, already_read: Bytes) -> Self {
        Self { stream, offers: Offers::default(), already_read }
    }

    /// The list that this connection's responses share.
    pub(super) fn offers(&self) -> Offers {
        self.offers.clone()
    }

    /// Sends the memory before the first placeholder, then as much of its stretch as the socket takes.
    fn send(&self, slices: &[IoSlice<'_>], at: usize, number: usize) -> io::Result<usize> {
        let (memory, stretches) = slices.split_at_checked(at).unwrap_or((slices, &[]));
        let wanted: usize = memory.iter().map(|slice| slice.len()).sum();
        let mut sent = 0;
        if wanted > 0 {
            let flags = SendFlags::MORE | SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            sent = self.sendmsg(memory, flags)?;
            if sent < wanted {
                return Ok(sent);
            }
        }
        let length = stretches.first().map_or(0, |slice| slice.len());
        let result = match self.offers.get(number) {
            Some(stretch) => self.sendfile(&stretch, length),
            None => Err(io::Error::other("a stretch of a file lost its offer")),
        };
        match result {
            Ok(count) => Ok(sent + count),
            // What was sent must be reported; the next write meets the same error again.
            Err(_) if sent > 0 => Ok(sent),
            Err(error) => Err(error),
        }
    }

    fn sendmsg(&self, slices: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
        let mut none = SendAncillaryBuffer::default();
        let sent = match &self.stream {
            Stream::Tcp(tcp) => rustix::net::sendmsg(tcp, slices, &mut none, flags),
            Stream::Unix(unix) => rustix::net::sendmsg(unix, slices, &mut none, flags),
        };
        Ok(sent?)
    }

    fn sendfile(&self, stretch: &Stretch, length: usize) -> io::Result<usize> {
        let mut offset = stretch.offset;
        let sent = match &self.stream {
            Stream::Tcp(tcp) => rustix::fs::sendfile(tcp, &*stretch.file, Some(&mut offset), length),
            Stream::Unix(unix) => rustix::fs::sendfile(unix, &*stretch.file, Some(&mut offset), length),
        };
        match sent {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file ended before its recorded size")),
            Ok(count) => Ok(count),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let bytes = read_stretch(stretch, length.min(COPY))?;
                self.sendmsg(&[IoSlice::new(&bytes)], SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the socket to take bytes, then sends; a socket that is full after all is waited for again.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        at: usize,
        number: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let sent = match &self.stream {
                Stream::Tcp(tcp) => {
                    ready!(tcp.poll_write_ready(cx))?;
                    tcp.try_io(Interest::WRITABLE, || self.send(slices, at, number))
                }
                Stream::Unix(unix) => {
                    ready!(unix.poll_write_ready(cx))?;
                    unix.try_io(Interest::WRITABLE, || self.send(slices, at, number))
                }
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.already_read.has_remaining() {
            let bytes = this.already_read.split_to(this.already_read.len().min(buf.remaining()));
            buf.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.offers.is_broken() {
            return Poll::Ready(Err(io::Error::other("a file could not be read")));
        }
        let first = bufs.iter().enumerate().find_map(|(at, slice)| Some((at, Offers::number(slice)?)));
        let Some((at, number)) = first else {
            return match &mut this.stream {
                Stream::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
                Stream::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, bufs),
            };
        };
        let sent = this.poll_send(cx, bufs, at, number);
        this.offers.withdraw();
        sent
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }
}
