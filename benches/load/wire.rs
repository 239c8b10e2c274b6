//! HTTP/1.1 as a client on a blocking or non-blocking socket: an incremental reader of answers and a connection that
//! sends prepared requests. It discards bodies unless asked to keep them; RFC 9112 sections 6 and 7.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a blocking request may wait for its answer before the run is given up.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the reader expects next.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Counted(u64),
    ChunkSize,
    Chunk(u64),
    Trailer,
    Done,
}

/// Whether the request was a HEAD, whose answer announces a body and sends none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// The answer carries its body.
    Get,
    /// The answer ends with its header.
    Head,
}

/// Reads one answer from whatever pieces the socket delivers.
#[derive(Debug)]
pub(crate) struct Reader {
    stage: Stage,
    method: Method,
    head: Vec<u8>,
    line: Vec<u8>,
    status: u16,
    body: u64,
    kept: Option<Vec<u8>>,
}

impl Reader {
    /// A reader for the answer to one request.
    pub(crate) fn new(method: Method) -> Self {
        Self {
            stage: Stage::Head,
            method,
            head: Vec::with_capacity(512),
            line: Vec::new(),
            status: 0,
            body: 0,
            kept: None,
        }
    }

    /// Forgets the last answer and keeps the allocation.
    pub(crate) fn reset(&mut self) {
        self.stage = Stage::Head;
        self.head.clear();
        self.line.clear();
        self.body = 0;
    }

    /// The status of the answer, once its header was read.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Body bytes read so far.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body
    }

    /// Bytes that may be thrown away unread because they can only be body.
    pub(crate) fn discardable(&self) -> u64 {
        if let Stage::Counted(left) = self.stage { left } else { 0 }
    }

    /// Notes that `count` of the discardable bytes were thrown away; true at the end of the answer.
    pub(crate) fn discarded(&mut self, count: u64) -> bool {
        if let Stage::Counted(left) = self.stage {
            self.body += count;
            self.stage = if left > count { Stage::Counted(left - count) } else { Stage::Done };
        }
        self.stage == Stage::Done
    }

    /// Takes the next bytes; true at the end of the answer. Bytes past the end are an error: nothing is pipelined.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        while !bytes.is_empty() {
            bytes = match self.stage {
                Stage::Head => self.take_head(bytes)?,
                Stage::Counted(left) => {
                    let (taken, rest) = split(bytes, left);
                    self.keep(bytes, rest);
                    self.discarded(taken);
                    rest
                }
                Stage::Chunk(left) => {
                    let (taken, rest) = split(bytes, left);
                    self.keep(bytes, rest);
                    self.stage = if left > taken { Stage::Chunk(left - taken) } else { Stage::ChunkSize };
                    self.body += taken;
                    rest
                }
                Stage::ChunkSize | Stage::Trailer => self.take_line(bytes)?,
                Stage::Done => return Err(io::Error::other("the server sent more than it announced")),
            };
        }
        Ok(self.stage == Stage::Done)
    }

    /// Keeps the body's part of `bytes`, which is what stands before `rest`, if bodies are kept.
    fn keep(&mut self, bytes: &[u8], rest: &[u8]) {
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes.get(..bytes.len() - rest.len()).unwrap_or_default());
        }
    }

    fn take_head<'b>(&mut self, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        let known = self.head.len();
        self.head.extend_from_slice(bytes);
        let from = known.saturating_sub(3);
        let end = self.head.get(from..).and_then(|tail| tail.windows(4).position(|four| four == b"\r\n\r\n"));
        let Some(end) = end.map(|at| from + at + 4) else {
            return Ok(&[]);
        };
        self.head.truncate(end);
        self.status = std::str::from_utf8(&self.head)
            .ok()
            .and_then(|text| text.split(' ').nth(1))
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| io::Error::other("the server's status line is not HTTP"))?;
        self.stage = self.body_stage()?;
        Ok(bytes.get(end - known..).unwrap_or_default())
    }

    fn body_stage(&self) -> io::Result<Stage> {
        if self.method == Method::Head || matches!(self.status, 204 | 304) {
            return Ok(Stage::Done);
        }
        if let Some(length) = self.header("content-length") {
            return match length.parse() {
                Ok(0) => Ok(Stage::Done),
                Ok(length) => Ok(Stage::Counted(length)),
                Err(_) => Err(io::Error::other("Content-Length is no number")),
            };
        }
        match self.header("transfer-encoding") {
            Some(_) => Ok(Stage::ChunkSize),
            None => Ok(Stage::Done),
        }
    }

    fn take_line<'b>(&mut self, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            return Ok(&[]);
        };
        self.line.extend_from_slice(bytes.get(..end).unwrap_or_default());
        let text = String::from_utf8_lossy(&self.line).trim().to_owned();
        self.line.clear();
        self.stage = match (&self.stage, text.is_empty()) {
            (Stage::Trailer, true) => Stage::Done,
            (Stage::Trailer, false) => Stage::Trailer,
            (_, true) => Stage::ChunkSize,
            (_, false) => match u64::from_str_radix(&text, 16) {
                Ok(0) => Stage::Trailer,
                Ok(size) => Stage::Chunk(size),
                Err(_) => return Err(io::Error::other("a chunk size is no hexadecimal number")),
            },
        };
        Ok(bytes.get(end + 1..).unwrap_or_default())
    }

    /// The value of a header of the last answer, looked up by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(&self.head).ok()?.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// How many of `bytes` belong to a part of which `left` are missing, and what follows them.
fn split(bytes: &[u8], left: u64) -> (u64, &[u8]) {
    let size = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (size as u64, bytes.get(size..).unwrap_or_default())
}

/// Whether a connection serves one request, as the classic docker engine does it, or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// Keep-alive.
    Always,
    /// A new connection for each request.
    Never,
}

/// What becomes of an answer's body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    Discarded,
    Kept,
}

/// A blocking connection.
pub(crate) struct Connection {
    address: SocketAddr,
    reuse: Reuse,
    stream: Option<TcpStream>,
    reader: Reader,
    buffer: Vec<u8>,
}

impl Connection {
    /// A connection that is opened by its first request.
    pub(crate) fn new(address: SocketAddr, reuse: Reuse) -> Self {
        Self { address, reuse, stream: None, reader: Reader::new(Method::Get), buffer: vec![0; 16 * 1024] }
    }

    /// Forgets the open connection, whatever state it is in.
    pub(crate) fn reset(&mut self) {
        self.stream = None;
    }

    /// Sends one request, whose body is `parts` in order, and reads the whole answer; its body is discarded.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, parts: &[&[u8]]) -> io::Result<&Reader> {
        self.request(method, path, headers, parts, Body::Discarded)
    }

    /// As [`send`](Self::send), and returns the answer's body beside it.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        parts: &[&[u8]],
    ) -> io::Result<(&Reader, Vec<u8>)> {
        self.request(method, path, headers, parts, Body::Kept)?;
        let body = self.reader.kept.take().unwrap_or_default();
        Ok((&self.reader, body))
    }

    fn request(&mut self, method: &str, path: &str, headers: &str, parts: &[&[u8]], body: Body) -> io::Result<&Reader> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let framing = match method {
            "GET" | "HEAD" => String::new(),
            _ => format!("Content-Length: {length}\r\n"),
        };
        let close = if self.reuse == Reuse::Never { "Connection: close\r\n" } else { "" };
        let address = self.address;
        let mut first =
            format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{framing}{close}{headers}\r\n").into_bytes();
        let mut rest = parts;
        if let Some((small, others)) = parts.split_first().filter(|(part, _)| part.len() <= 64 * 1024) {
            first.extend_from_slice(small);
            rest = others;
        }
        self.exchange(method, &first, rest, body)
    }

    /// Asks for a path and returns the status and the whole body.
    pub(crate) fn fetch(&mut self, path: &str, accept: &str) -> io::Result<(u16, Vec<u8>)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", self.address);
        self.exchange("GET", request.as_bytes(), &[], Body::Kept)?;
        Ok((self.reader.status(), self.reader.kept.take().unwrap_or_default()))
    }

    /// Sends one request whose body has no announced length, as docker's layers have none.
    pub(crate) fn stream(&mut self, method: &str, path: &str, parts: &[&[u8]]) -> io::Result<&Reader> {
        let close = if self.reuse == Reuse::Never { "Connection: close\r\n" } else { "" };
        let address = self.address;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n{close}\r\n");
        let mut body = head.into_bytes();
        for piece in parts.iter().flat_map(|part| part.chunks(32 * 1024)) {
            body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            body.extend_from_slice(piece);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        self.exchange(method, &body, &[], Body::Discarded)
    }

    fn exchange(&mut self, method: &str, first: &[u8], rest: &[&[u8]], body: Body) -> io::Result<&Reader> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => open(self.address)?,
        };
        stream.write_all(first)?;
        for part in rest {
            stream.write_all(part)?;
        }
        self.reader = Reader::new(if method == "HEAD" { Method::Head } else { Method::Get });
        self.reader.kept = (body == Body::Kept).then(Vec::new);
        loop {
            let count = stream.read(&mut self.buffer)?;
            if count == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server closed before its answer was complete",
                ));
            }
            if self.reader.feed(self.buffer.get(..count).unwrap_or_default())? {
                break;
            }
        }
        let closes = self.reader.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if self.reuse == Reuse::Always && !closes {
            self.stream = Some(stream);
        }
        Ok(&self.reader)
    }
}

/// Opens a connection without Nagle's delay and with a limit on every wait.
pub(crate) fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
