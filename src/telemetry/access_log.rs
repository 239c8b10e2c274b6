//! The access log on stdout, in Apache's combined format.
//!
//! A request only puts what it has into a bounded queue; a thread of its own makes lines and writes them in batches. When
//! stdout is slower than the requests, lines are dropped and counted rather than requests delayed.

use std::fmt::Write as _;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::SystemTime;

use http::header::{AUTHORIZATION, HeaderName, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::{AccessLog, PeerAddress};

/// Lines that may wait to be written.
const QUEUE: usize = 16 * 1024;

/// Bytes written at once, more or less.
const BATCH: usize = 64 * 1024;

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// Where access log lines go: nowhere, or through a bounded queue to stdout. Clones share the queue.
#[derive(Debug, Clone)]
pub struct AccessLogSink {
    queue: Option<SyncSender<Entry>>,
    dropped: Arc<AtomicU64>,
}

impl AccessLogSink {
    /// A sink for `log.accesslog`. When enabled, starts the thread that writes to stdout; it ends with the last clone.
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
        Self { queue: None, dropped: Arc::default() }
    }

    fn to(output: impl Write + Send + 'static) -> Self {
        let (queue, entries) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("access-log".to_owned());
        match thread.spawn(move || write_all(&entries, output)) {
            Ok(_) => Self { queue: Some(queue), dropped: Arc::default() },
            Err(error) => {
                tracing::error!(%error, "no thread for the access log; it is off");
                Self::disabled()
            }
        }
    }

    /// Lines lost so far because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.queue.is_some()
    }

    pub(super) fn write(&self, mut entry: Entry, status: Option<StatusCode>, bytes: u64) {
        entry.status = status;
        entry.bytes = bytes;
        if let Some(queue) = &self.queue
            && queue.try_send(entry).is_err()
            && self.dropped.fetch_add(1, Relaxed) == 0
        {
            tracing::warn!("stdout is too slow for the access log; lines are being dropped");
        }
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

    fn format(&self, line: &mut String) {
        match self.peer {
            Some(peer) => _ = write!(line, "{peer} - "),
            None => line.push_str("- - "),
        }
        match self.user.as_ref().and_then(user_name) {
            Some(user) => escape(line, user.as_bytes()),
            None => line.push('-'),
        }
        let time = OffsetDateTime::from(self.time).format(TIME).unwrap_or_default();
        let _ = write!(line, " [{time}] \"");
        escape(line, self.method.as_str().as_bytes());
        line.push(' ');
        escape(line, self.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
        // 499 is what nginx writes for a client that left before its answer.
        let status = self.status.map_or(499, |status| status.as_u16());
        let _ = write!(line, " {:?}\" {status} {} \"", self.version, self.bytes);
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
    for byte in text {
        match byte {
            b'"' | b'\\' => line.extend(['\\', char::from(*byte)]),
            0x20..=0x7e => line.push(char::from(*byte)),
            _ => _ = write!(line, "\\x{byte:02x}"),
        }
    }
}

/// Writes entries until their senders are gone: as many as wait, in one write.
fn write_all(entries: &Receiver<Entry>, mut output: impl Write) {
    let mut lines = String::with_capacity(BATCH);
    while let Ok(entry) = entries.recv() {
        entry.format(&mut lines);
        while lines.len() < BATCH
            && let Ok(entry) = entries.try_recv()
        {
            entry.format(&mut lines);
        }
        // A closed stdout is no reason to stop serving, and there is nowhere better to say so.
        let _ = output.write_all(lines.as_bytes()).and_then(|()| output.flush());
        lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use super::*;

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
        let (queue, _never_read) = sync_channel(1);
        let sink = AccessLogSink { queue: Some(queue), dropped: Arc::default() };
        for _ in 0..3 {
            sink.write(Entry::of(&request("x"), PeerAddress(None)), None, 0);
        }
        assert_eq!(sink.dropped(), 2);
    }
}
