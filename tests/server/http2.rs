//! HTTP/2 with prior knowledge, where it is switched on.

use std::time::Duration;

use axum::body::Body;
use berth::server::{Config, Limits, Toggle};
use http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::harness::{PATIENCE, Server, config, content, generous};

async fn connect(server: &Server) -> SendRequest<Body> {
    let stream = tokio::net::TcpStream::connect(server.tcp()).await.expect("connected");
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

async fn get(sender: &mut SendRequest<Body>, path: &str) -> Vec<u8> {
    let request = Request::get(format!("http://x{path}")).body(Body::empty()).expect("a request");
    let response = sender.send_request(request).await.expect("answered");
    response.into_body().collect().await.expect("whole").to_bytes().to_vec()
}

#[test]
fn both_protocols_share_a_port() {
    let content = content(3 * 1024 * 1024 + 5);
    let server = Server::start(Config { h2c: Toggle::On, ..config(generous()) }, &content);
    let path = format!("/file?offset=5&length={}", content.len() - 5);
    assert!(server.connect().get(&path).body == content[5..]);
    server.block_on(async {
        let mut sender = connect(&server).await;
        let mut other = sender.clone();
        let (one, two) = tokio::join!(get(&mut sender, &path), get(&mut other, &path));
        assert!(one == content[5..] && two == content[5..]);
    });
}

#[test]
fn head_sends_the_length_and_no_content() {
    let server = Server::start(Config { h2c: Toggle::On, ..config(generous()) }, &content(1000));
    server.block_on(async {
        let mut sender = connect(&server).await;
        for (path, length) in [("/file?offset=0&length=1000", "1000"), ("/ok", "2")] {
            let request = Request::head(format!("http://x{path}")).body(Body::empty()).expect("a request");
            let response = sender.send_request(request).await.expect("answered");
            assert_eq!(response.headers()["content-length"], length);
            assert!(response.into_body().collect().await.expect("no content").to_bytes().is_empty());
        }
    });
}

#[test]
fn a_stream_whose_reader_stops_is_given_up() {
    let limits = Limits { stall_timeout: Duration::from_millis(150), ..generous() };
    let content = content(20 * 1024 * 1024);
    let server = Server::start(Config { h2c: Toggle::On, ..config(limits) }, &content);
    let unread = server.block_on(async {
        let mut sender = connect(&server).await;
        let path = format!("http://x/file?offset=0&length={}", content.len());
        let request = Request::get(path).body(Body::empty()).expect("a request");
        (sender.send_request(request).await.expect("answered"), sender)
    });
    server.await_in_flight(0);
    drop(unread);
}

#[test]
fn an_idle_connection_is_closed() {
    let limits = Limits { idle_timeout: Duration::from_millis(150), ..generous() };
    let server = Server::start(Config { h2c: Toggle::On, ..config(limits) }, b"");
    server.block_on(async {
        let mut sender = connect(&server).await;
        assert_eq!(get(&mut sender, "/ok").await, b"ok");
        let closed = async {
            while !sender.is_closed() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("closed");
    });
}

#[test]
fn without_the_switch_the_preface_is_refused() {
    let server = Server::start(config(generous()), b"");
    let mut client = server.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(!client.rest().starts_with(b"HTTP/1.1 2"));
}

#[test]
fn an_upload_is_received_whole() {
    let server = Server::start(Config { h2c: Toggle::On, ..config(generous()) }, b"");
    server.block_on(async {
        let mut sender = connect(&server).await;
        let body = Body::from(content(5_000_000));
        let request = Request::post("http://x/receive").body(body).expect("a request");
        let response = sender.send_request(request).await.expect("answered");
        assert_eq!(response.into_body().collect().await.expect("whole").to_bytes(), "5000000");
    });
}
