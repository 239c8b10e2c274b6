//! The questions that health checks ask of files, TCP ports and HTTP servers. Each answers within its timeout.

use std::fmt::Write;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{HttpCheck, TelemetryError};

/// Enough for a status line.
const STATUS_LINE: u64 = 1024;

/// An error while `file` exists: an operator makes it to take the registry out of service.
pub(super) async fn file_is_absent(file: PathBuf) -> Result<(), String> {
    match tokio::task::spawn_blocking(move || file.try_exists()).await {
        Ok(Ok(false)) => Ok(()),
        Ok(Ok(true)) => Err("file exists".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// An error unless `addr` accepts a connection.
pub(super) async fn tcp_accepts(addr: String, timeout: Duration) -> Result<(), String> {
    within(timeout, TcpStream::connect(addr)).await.map(drop)
}

async fn within<T>(timeout: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    let limit = if timeout.is_zero() { Duration::from_secs(10) } else { timeout };
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// An HTTP server and the question it is asked.
#[derive(Debug)]
pub(super) struct HttpTarget {
    addr: String,
    request: String,
    wanted: u16,
    timeout: Duration,
}

impl HttpTarget {
    /// Fails for addresses that are not `http://`.
    pub(super) fn parse(check: &HttpCheck) -> Result<Self, TelemetryError> {
        let wrong = |reason: &str| TelemetryError::HealthUri { uri: check.uri.clone(), reason: reason.to_owned() };
        let uri: Uri = check.uri.parse().map_err(|_| wrong("not an address"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http:// can be asked"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("the host is missing"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = format!("HEAD {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
        for (name, value) in &check.headers {
            if format!("{name}{value}").contains(['\r', '\n']) {
                return Err(wrong("a header holds a line break"));
            }
            let _ = write!(request, "{name}: {value}\r\n");
        }
        request.push_str("\r\n");
        let addr = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        Ok(Self { addr, request, wanted: check.status, timeout: check.timeout })
    }

    /// An error unless the server answers HEAD with the wanted status. Redirects are not followed.
    pub(super) async fn ask(self: Arc<Self>) -> Result<(), String> {
        let line = within(self.timeout, self.status_line()).await?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
        match status {
            Some(status) if status == self.wanted => Ok(()),
            Some(status) => Err(format!("downstream service returned unexpected status: {status}")),
            None => Err("the answer is not HTTP".to_owned()),
        }
    }

    async fn status_line(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(&self.addr).await?;
        stream.write_all(self.request.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut start = stream.take(STATUS_LINE);
        while !answer.contains(&b'\n') && start.read_buf(&mut answer).await? > 0 {}
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::telemetry::Probe;

    fn check(uri: String) -> HttpCheck {
        let headers = vec![("X-Probe".to_owned(), "berth".to_owned())];
        HttpCheck { uri, status: 204, headers, timeout: Duration::from_secs(5), probe: Probe::default() }
    }

    async fn answering(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let addr = listener.local_addr().expect("bound");
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.expect("read") > 0 {}
            stream.write_all(answer.as_bytes()).await.expect("written");
            String::from_utf8(request).expect("ASCII")
        });
        (format!("http://{addr}/up?x=1"), asked)
    }

    #[tokio::test]
    async fn the_wanted_status_is_healthy_and_another_is_not() {
        let (uri, asked) = answering("HTTP/1.1 204 No Content\r\n\r\n").await;
        Arc::new(HttpTarget::parse(&check(uri)).expect("parses")).ask().await.expect("healthy");
        let request = asked.await.expect("served");
        assert!(
            request.starts_with("HEAD /up?x=1 HTTP/1.1\r\n") && request.contains("X-Probe: berth\r\n"),
            "{request}"
        );
        let (uri, _asked) = answering("HTTP/1.1 500 Oops\r\n\r\n").await;
        let error = Arc::new(HttpTarget::parse(&check(uri)).expect("parses")).ask().await.expect_err("unhealthy");
        assert!(error.contains("500"), "{error}");
    }

    #[test]
    fn addresses_that_cannot_be_asked_are_refused() {
        for uri in ["https://example.org/", "example.org", "http:///path"] {
            assert!(HttpTarget::parse(&check(uri.to_owned())).is_err(), "{uri}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let addr = listener.local_addr().expect("bound").to_string();
        tcp_accepts(addr.clone(), Duration::from_secs(5)).await.expect("open");
        drop(listener);
        tcp_accepts(addr, Duration::from_secs(5)).await.expect_err("closed");
    }
}
