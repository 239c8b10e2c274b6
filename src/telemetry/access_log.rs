//! The access log on stdout, in Apache's combined format.
//!
//! A request only puts what it has into a bounded queue; a thread of its own takes what has gathered there a few times a
//! second, makes lines and writes them. When stdout is slower than the requests, lines are dropped and counted rather than
//! requests delayed.

use std::fmt::Write as _;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, HeaderName, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::{AccessLog, PeerAddress};

/// Lines that may wait to be written.
const QUEUE: usize = 16 * 1024;

/// How long lines gather before they are written, so that waking the writer is paid once for many requests.
const GATHER: Duration = Duration::from_millis(50);

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// Where access log lines go: nowhere, or through a bounded queue to stdout. Clones share the queue; dropping the last one
/// waits until what is in it was written.
#[derive(Debug, Clone)]
pub struct AccessLogSink {
    writer: Option<Arc<Writer>>,
}

/// The writing thread and its queue.
#[derive(Debug)]
struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Entry>,
    dropped: u64,
    closed: bool,
}

impl AccessLogSink {
    /// A sink for `log.accesslog`. When enabled, starts the thread that writes to stdout.
    #[must_use]
    pub fn start(mode: AccessLog) -> Self {
        match mode {
            AccessLog::Enabled => Self::to(std::io::stdout()),
            AccessLog::Disabled => Self::disabled(),
        }
    }

    /// A sink that writes nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self { writer: None }
    }

    fn to(output: impl Write + Send + 'static) -> Self {
        let queue = Arc::new(Queue::default());
        let source = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        match thread.spawn(move || write_all(&source, output)) {
            Ok(thread) => Self { writer: Some(Arc::new(Writer { queue, thread: Some(thread) })) },
            Err(error) => {
                tracing::error!(%error, "no thread for the access log; it is off");
                Self::disabled()
            }
        }
    }

    /// Lines lost so far because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.queue.lock().dropped)
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.writer.is_some()
    }

    pub(super) fn write(&self, mut entry: Entry, status: Option<StatusCode>, bytes: u64) {
        entry.status = status;
        entry.bytes = bytes;
        if let Some(writer) = &self.writer {
            writer.queue.push(entry);
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry) {
        let mut waiting = self.lock();
        if waiting.entries.len() >= QUEUE {
            waiting.dropped += 1;
            if waiting.dropped == 1 {
                tracing::warn!("stdout is too slow for the access log; lines are being dropped");
            }
            return;
        }
        waiting.entries.push(entry);
        let is_first = waiting.entries.len() == 1;
        drop(waiting);
        if is_first {
            self.filled.notify_one();
        }
    }

    /// Waits for entries, lets more of them gather, and puts them into `taken`; false when all were taken for good.
    fn take(&self, taken: &mut Vec<Entry>) -> bool {
        let empty = |waiting: &mut Waiting| waiting.entries.is_empty() && !waiting.closed;
        let waiting = self.filled.wait_while(self.lock(), empty).unwrap_or_else(PoisonError::into_inner);
        let open = |waiting: &mut Waiting| !waiting.closed;
        let gathered = self.filled.wait_timeout_while(waiting, GATHER, open);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.entries, taken);
        !(waiting.closed && taken.is_empty())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // The writer does not panic, and would take no request with it.
            let _ = thread.join();
        }
    }
}

/// Writes entries until the queue is closed: as many as gathered, in one write.
fn write_all(queue: &Queue, mut output: impl Write) {
    let mut entries = Vec::new();
    let mut lines = String::new();
    let mut clock = Clock::default();
    while queue.take(&mut entries) {
        for entry in entries.drain(..) {
            entry.format(&mut lines, &mut clock);
        }
        // A closed stdout is no reason to stop serving, and there is nowhere better to say so.
        let _ = output.write_all(lines.as_bytes()).and_then(|()| output.flush());
        lines.clear();
    }
}

/// The last second that was written out, because most lines share theirs with the one before.
#[derive(Debug, Default)]
struct Clock {
    second: Option<i64>,
    text: String,
}

impl Clock {
    fn text(&mut self, time: SystemTime) -> &str {
        let time = OffsetDateTime::from(time);
        if self.second != Some(time.unix_timestamp()) {
            self.second = Some(time.unix_timestamp());
            self.text = time.format(TIME).unwrap_or_default();
        }
        &self.text
    }
}

/// What a line says. Holding it copies no text: the parts of the request are shared.
#[derive(Debug)]
pub(super) struct Entry {
    peer: Option<IpAddr>,
    user: Option<HeaderValue>,
    time: SystemTime,
    method: Method,
    uri: Uri,
    version: Version,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    status: Option<StatusCode>,
    bytes: u64,
}

impl Entry {
    pub(super) fn of<B>(request: &Request<B>, peer: PeerAddress) -> Self {
        let header = |name: HeaderName| -> Option<HeaderValue> { HeaderMap::get(request.headers(), name).cloned() };
        Self {
            peer: peer.0.map(|peer| peer.ip()),
            user: header(AUTHORIZATION).filter(|value| value.as_bytes().starts_with(b"Basic ")),
            time: SystemTime::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            referer: header(REFERER),
            user_agent: header(USER_AGENT),
            status: None,
            bytes: 0,
        }
    }

    fn format(&self, line: &mut String, clock: &mut Clock) {
        match self.peer {
            Some(peer) => _ = write!(line, "{peer} - "),
            None => line.push_str("- - "),
        }
        match self.user.as_ref().and_then(user_name) {
            Some(user) => escape(line, user.as_bytes()),
            None => line.push('-'),
        }
        line.push_str(" [");
        line.push_str(clock.text(self.time));
        line.push_str("] \"");
        escape(line, self.method.as_str().as_bytes());
        line.push(' ');
        escape(line, self.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
        let version = match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        };
        // 499 is what nginx writes for a client that left before its answer.
        let status = self.status.map_or(499, |status| status.as_u16());
        let _ = write!(line, " {version}\" {status} {} \"", self.bytes);
        escape(line, self.referer.as_ref().map_or(b"", |value| value.as_bytes()));
        line.push_str("\" \"");
        escape(line, self.user_agent.as_ref().map_or(b"", |value| value.as_bytes()));
        line.push_str("\"\n");
    }
}

/// The user of Basic credentials; never the password.
fn user_name(value: &HeaderValue) -> Option<String> {
    use base64::Engine;
    let encoded = value.as_bytes().strip_prefix(b"Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim_ascii()).ok()?;
    let (user, _) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    (!user.is_empty() && !user.contains(' ')).then(|| user.to_owned())
}

/// Appends `text` so that it can neither end its quotes nor its line nor reach a terminal as a command.
fn escape(line: &mut String, text: &[u8]) {
    let harmless = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\');
    if let Ok(text) = std::str::from_utf8(text)
        && text.as_bytes().iter().all(harmless)
    {
        return line.push_str(text);
    }
    for byte in text {
        match byte {
            b'"' | b'\\' => line.extend(['\\', char::from(*byte)]),
            byte if harmless(byte) => line.push(char::from(*byte)),
            _ => _ = write!(line, "\\x{byte:02x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Lines(Sender<String>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.send(String::from_utf8_lossy(bytes).into_owned()).expect("the test listens");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn request(user_agent: &str) -> Request<()> {
        Request::get("/v2/a/tags/list?n=1")
            .header("authorization", "Basic YW5uOnNlY3JldA==")
            .header("user-agent", HeaderValue::from_bytes(user_agent.as_bytes()).expect("a value"))
            .body(())
            .expect("a request")
    }

    #[test]
    fn a_line_is_in_the_combined_format_and_names_no_password() {
        let (sender, lines) = channel();
        let sink = AccessLogSink::to(Lines(sender));
        let peer = PeerAddress(Some("192.0.2.7:4711".parse().expect("an address")));
        let mut entry = Entry::of(&request("docker/29 \"x\" \u{e9}"), peer);
        entry.time = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        sink.write(entry, Some(StatusCode::OK), 42);
        let line = lines.recv().expect("a line");
        let expected = "192.0.2.7 - ann [02/Jan/1970:00:00:00 +0000] \"GET /v2/a/tags/list?n=1 HTTP/1.1\" 200 42 \"\" \
                        \"docker/29 \\\"x\\\" \\xc3\\xa9\"\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = Arc::new(Queue::default());
        let sink = AccessLogSink { writer: Some(Arc::new(Writer { queue, thread: None })) };
        for _ in 0..QUEUE + 2 {
            sink.write(Entry::of(&request("x"), PeerAddress(None)), None, 0);
        }
        assert_eq!(sink.dropped(), 2);
    }

    #[test]
    fn the_last_lines_are_written_before_the_end() {
        let (sender, lines) = channel();
        let sink = AccessLogSink::to(Lines(sender));
        for _ in 0..3 {
            sink.write(Entry::of(&request("x"), PeerAddress(None)), None, 0);
        }
        drop(sink);
        assert_eq!(lines.iter().map(|batch| batch.lines().count()).sum::<usize>(), 3);
    }
}
