//! Routes and server together over a raw socket: bytes that no HTTP client sends, refusals while a body is under way,
//! `Expect: 100-continue`, and a client that goes away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use berth::server::{self, Address, Shutdown, ShutdownTrigger};
use berth::telemetry::Telemetry;
use http::{Method, StatusCode};
use support::{Berth, Driver, digest, noise, to, with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A registry behind a socket of its own.
struct Wire {
    berth: Berth,
    address: std::net::SocketAddr,
    _trigger: ShutdownTrigger,
}

impl Wire {
    async fn new() -> Self {
        let berth = Berth::new(Driver::Filesystem);
        let config = server::Config { addr: "127.0.0.1:0".to_owned(), ..server::Config::default() };
        let bound = server::bind(config).await.unwrap();
        let Address::Tcp(address) = *bound.address() else { panic!("not a TCP address") };
        let (trigger, shutdown) = Shutdown::manual();
        tokio::spawn(bound.run(berth.app.clone(), Telemetry::silent(), shutdown));
        Self { berth, address, _trigger: trigger }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `bytes` and returns all that comes until the server closes or the answer's body is complete.
    async fn ask(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect().await;
        // A server that has seen enough may close before it has read all.
        let _ = stream.write_all(bytes).await;
        read(&mut stream).await
    }
}

/// The head of an answer, and its body.
#[derive(Debug)]
struct Reply {
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Reads one answer; an empty one when the connection was closed without.
async fn read(stream: &mut TcpStream) -> Reply {
    tokio::time::timeout(PATIENCE, read_patiently(stream)).await.expect("an answer in time")
}

async fn read_patiently(stream: &mut TcpStream) -> Reply {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    let mut reply = Reply { head: String::from_utf8(head).unwrap(), body: Vec::new() };
    let length: usize = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
    reply.body = vec![0; length];
    let _ = stream.read_exact(&mut reply.body).await;
    reply
}

/// Requests that are no HTTP, or HTTP at its edges, and the status that each gets; 0 closes without an answer.
fn table() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let with_header = |header: &[u8]| [b"GET /v2/ HTTP/1.1\r\nHost: a\r\n", header, b"\r\n\r\n"].concat();
    let put = |header: &str, body: &str| {
        format!("PUT /v2/a/manifests/x HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n{body}").into_bytes()
    };
    vec![
        ("a blank in the path", get("/v2/a b/tags/list"), &[400]),
        ("a tab in the path", get("/v2/a\tb/tags/list"), &[400]),
        ("a NUL in the path", get("/v2/a\0/tags/list"), &[400]),
        ("an escape in the path", get("/v2/a\x1b[31m/tags/list"), &[400]),
        (
            "no UTF-8 in the path",
            [b"GET /v2/\xff/tags/list".as_slice(), b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat(),
            &[400],
        ),
        ("a backslash in the path", get("/v2/a\\b/tags/list"), &[400]),
        ("dots out of the root", get("/v2/../../../etc/passwd"), &[404]),
        ("a carriage return in a header", with_header(b"X: a\rb"), &[400]),
        ("a NUL in a header", with_header(b"X: a\0b"), &[400]),
        ("a folded header", with_header(b"X: a\r\n b"), &[400]),
        ("a header without a name", with_header(b": a"), &[400]),
        ("a header without a colon", with_header(b"X"), &[400]),
        ("a blank before the colon", with_header(b"X : a"), &[400]),
        ("no UTF-8 in a header's value", with_header(b"Range: \xff\xfe"), &[200]),
        ("too many headers", with_header(b"X: a\r\n".repeat(300).trim_ascii_end()), &[431]),
        ("too large a header", with_header(format!("X: {}", "a".repeat(100_000)).as_bytes()), &[431]),
        ("too long a path", get(&format!("/v2/{}", "a".repeat(100_000))), &[414, 431]),
        ("no version", b"GET /v2/\r\n\r\n".to_vec(), &[400]),
        ("a version to come", b"GET /v2/ HTTP/9.9\r\n\r\n".to_vec(), &[400, 505]),
        ("an old version", b"GET /v2/ HTTP/1.0\r\n\r\n".to_vec(), &[200]),
        ("no method", b" /v2/ HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), &[400, 0]),
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), &[400]),
        ("the absolute form", get("http://evil.example/v2/"), &[200]),
        ("the absolute form, out of the root", get("http://evil.example/../etc/passwd"), &[404]),
        ("the asterisk form", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), &[404]),
        ("two lengths", put("Content-Length: 2\r\nContent-Length: 3", "{}"), &[400]),
        ("a negative length", put("Content-Length: -1", ""), &[400]),
        ("a length with a sign", put("Content-Length: +2", "{}"), &[400]),
        ("a length beyond 64 bits", put("Content-Length: 99999999999999999999", ""), &[400, 413]),
        ("a length beyond the limit", put("Content-Length: 99999999999", ""), &[413]),
        ("an unknown coding", put("Transfer-Encoding: gzip", "{}"), &[400]),
        ("chunked not last", put("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"), &[400]),
        ("a chunk size that is none", put("Transfer-Encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n"), &[400]),
        ("a chunk size beyond 64 bits", put("Transfer-Encoding: chunked", "fffffffffffffffff\r\n"), &[400]),
        ("a chunk longer than it says", put("Transfer-Encoding: chunked", "1\r\n{}\r\n0\r\n\r\n"), &[400]),
    ]
}

#[tokio::test]
async fn every_row_gets_an_answer_and_the_server_goes_on() {
    let wire = Wire::new().await;
    for (name, bytes, expected) in table() {
        let reply = tokio::time::timeout(PATIENCE, wire.ask(&bytes)).await.unwrap_or_else(|_| panic!("{name}: no end"));
        assert!(expected.contains(&reply.status()), "{name}: expected {expected:?}, got {reply:?}");
        assert!(!reply.head.contains("evil"), "{name}: {reply:?}");
        assert_eq!(wire.ask(b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200, "after {name}");
    }
    assert!(wire.berth.files().is_empty());
}

#[tokio::test]
async fn a_refused_push_is_answered_after_all_was_sent_and_the_connection_lives_on() {
    let wire = Wire::new().await;
    let mut stream = wire.connect().await;
    let body = noise(8 * 1024 * 1024);
    for _ in 0..2 {
        let head =
            format!("POST /v2/UPPER/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.expect("the server reads on");
        let reply = read(&mut stream).await;
        assert_eq!((reply.status(), reply.header("connection")), (400, None));
        assert!(String::from_utf8(reply.body).unwrap().contains("NAME_INVALID"));
    }
}

#[tokio::test]
async fn a_refused_push_without_end_is_answered_and_closed() {
    let wire = Wire::new().await;
    let (mut receiving, mut sending) = wire.connect().await.into_split();
    let head = "POST /v2/UPPER/blobs/uploads/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1099511627776\r\n\r\n";
    sending.write_all(head.as_bytes()).await.unwrap();
    let sender = tokio::spawn(async move {
        let piece = vec![0; 1024 * 1024];
        let mut sent = 0_u64;
        while sending.write_all(&piece).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let mut answer = vec![0; 4096];
    let length = tokio::time::timeout(PATIENCE, receiving.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("connection: close"), "{answer}");
    let sent = tokio::time::timeout(PATIENCE, sender).await.unwrap().unwrap();
    assert!(sent < 1024, "{sent} MiB were taken from a client that had been refused");
}

#[tokio::test]
async fn leave_to_send_comes_only_after_every_check() {
    let wire = Wire::new().await;
    let session = wire.berth.begin("a").await;
    let state = session.split_once("?_state=").unwrap().0;
    for (target, status) in [(format!("{state}?_state=x"), 404), ("/v2/UPPER/blobs/uploads/".to_owned(), 405)] {
        let head = format!("PATCH {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(wire.ask(head.as_bytes()).await.status(), status, "and no 100 before it");
    }
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let mut stream = wire.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream).await.status(), 100);
    stream.write_all(b"01234").await.unwrap();
    let reply = read(&mut stream).await;
    assert_eq!((reply.status(), reply.header("range")), (202, Some("0-4")));
}

#[tokio::test]
async fn a_client_that_goes_away_can_come_back() {
    let wire = Wire::new().await;
    let session = wire.berth.begin("a").await;
    let content = noise(3_000_000);
    let mut stream = wire.connect().await;
    let head = format!("PATCH {session} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", content.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&content[..2_000_000]).await.unwrap();
    drop(stream);
    // The server notices when it reads; until then the session may be held by the request that lost its client.
    let started = std::time::Instant::now();
    let (from, location) = loop {
        assert!(started.elapsed() < PATIENCE, "the session is never released");
        let status = wire.berth.get(&session).await.is(StatusCode::NO_CONTENT);
        let stands: usize = status.header("range").strip_prefix("0-").unwrap().parse().unwrap();
        let location = status.header("location").to_owned();
        if stands + 1 == 2_000_000 {
            break (stands + 1, location);
        }
        tokio::task::yield_now().await;
    };
    let mut last = None;
    while last.is_none() {
        assert!(started.elapsed() < PATIENCE, "the session is never released");
        let range = format!("{from}-{}", content.len() - 1);
        let request = to(Method::PATCH, &location).header("content-range", range);
        let answer = wire.berth.send(request.body(content[from..].to_vec().into()).unwrap()).await;
        assert!([StatusCode::ACCEPTED, StatusCode::CONFLICT].contains(&answer.status), "{answer:?}");
        last = (answer.status == StatusCode::ACCEPTED).then_some(answer);
    }
    let location = last.unwrap().header("location").to_owned();
    let closing = with(&location, &format!("digest={}", digest(&content)));
    let blob = wire.berth.put(&closing, "").await.is(StatusCode::CREATED);
    let reply = wire.ask(format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", blob.header("location")).as_bytes()).await;
    assert_eq!(reply.status(), 200);
    assert!(reply.body == content, "the blob differs from what was sent");
}

#[tokio::test]
async fn answers_over_the_wire_are_those_of_the_routes() {
    let wire = Wire::new().await;
    let content = noise(200_000);
    let target = format!("/v2/a/blobs/{}", wire.berth.push_blob("a", &content).await);
    for (method, header, status, expected) in [
        ("GET", "X: y", 200, &content[..]),
        ("HEAD", "X: y", 200, &[]),
        ("GET", "Range: bytes=1000-150000", 206, &content[1000..=150_000]),
        ("GET", "Range: bytes=-7", 206, &content[199_993..]),
    ] {
        let mut stream = wire.connect().await;
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{header}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.unwrap().unwrap();
        let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let reply = Reply { head: String::from_utf8(all[..end].to_vec()).unwrap(), body: all[end..].to_vec() };
        assert_eq!(reply.status(), status, "{header}");
        assert!(reply.body == expected, "{method} {header}: other bytes");
        let length = if method == "HEAD" { content.len() } else { expected.len() };
        assert_eq!(reply.header("content-length"), Some(&*length.to_string()));
    }
}
