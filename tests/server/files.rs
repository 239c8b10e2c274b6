//! Files arrive byte for byte, however they are asked for and however the client behaves.

use std::fmt::Write;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use berth::server::{Address, Config, Limits, Net};

use super::harness::{Client, Server, config, content, generous};

const STRETCH: usize = 1024 * 1024;

fn path(offset: usize, length: usize) -> String {
    format!("/file?offset={offset}&length={length}")
}

#[test]
fn ranges_on_one_connection_are_the_files_bytes() {
    let content = content(3 * STRETCH + 123);
    let server = Server::start(config(generous()), &content);
    let mut client = server.connect();
    let mut ranges = vec![(0, 0), (content.len(), 0), (0, content.len())];
    for size in [1, STRETCH - 1, STRETCH, STRETCH + 1, 2 * STRETCH, 3 * STRETCH] {
        ranges.extend([(0, size), (7, size), (content.len() - size, size)]);
    }
    let numbers: Vec<usize> = content
        .chunks_exact(4)
        .take(400)
        .map(|four| usize::try_from(u32::from_be_bytes(four.try_into().expect("four"))).expect("64 bits"))
        .collect();
    for pair in numbers.chunks_exact(2) {
        let offset = pair[0] % content.len();
        ranges.push((offset, pair[1] % (content.len() - offset).min(200_000)));
    }
    for (offset, length) in ranges {
        let answer = client.get(&path(offset, length));
        assert_eq!(answer.status, 200);
        assert!(answer.body == content[offset..offset + length], "{offset} {length}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let content = content(2 * STRETCH);
    let server = Server::start(config(generous()), &content);
    let mut client = server.connect();
    let ranges = [(0, 10), (5, 0), (1, STRETCH + 5), (100, 65_536), (0, 1), (2, STRETCH)];
    let mut requests = String::new();
    for (offset, length) in ranges {
        write!(requests, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path(offset, length)).expect("a string grows");
    }
    client.send(&(requests + "GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"));
    for (offset, length) in ranges {
        assert!(client.answer().body == content[offset..offset + length], "{offset} {length}");
    }
    assert_eq!(client.answer().body, b"ok");
}

#[test]
fn head_sends_the_length_and_nothing_else() {
    let server = Server::start(config(generous()), &content(1000));
    let mut client = server.connect();
    client.send(&format!("HEAD {} HTTP/1.1\r\nHost: x\r\n\r\n", path(0, 1000)));
    assert_eq!(client.head().content_length(), 1000);
    client.send("HEAD /ok HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.head().content_length(), 2);
    assert_eq!(client.get("/ok").body, b"ok");
}

#[test]
fn an_old_client_gets_the_file_and_the_end() {
    let content = content(STRETCH + 9);
    let server = Server::start(config(generous()), &content);
    let mut client = server.connect();
    client.send(&format!("GET {} HTTP/1.0\r\n\r\n", path(9, STRETCH)));
    let head = client.head();
    assert_eq!(head.content_length(), STRETCH);
    assert!(client.rest() == content[9..]);
}

#[test]
fn a_client_that_leaves_halfway_disturbs_nobody() {
    let content = content(8 * STRETCH);
    let server = Server::start(config(generous()), &content);
    for _ in 0..4 {
        let mut client = server.connect();
        client.send(&format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path(0, content.len())));
        let mut part = vec![0; 100_000];
        client.stream.read_exact(&mut part).expect("the beginning");
    }
    server.await_in_flight(0);
    assert!(server.connect().get(&path(0, content.len())).body == content);
}

#[test]
fn a_slow_reader_with_a_small_window_gets_every_byte() {
    let content = content(STRETCH + 77);
    let server = Server::start(config(generous()), &content);
    let mut client = server.connect();
    rustix::net::sockopt::set_socket_recv_buffer_size(&client.stream, 16 * 1024).expect("set");
    client.send(&format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path(0, content.len())));
    assert_eq!(client.head().status, 200);
    let mut received = Vec::new();
    let mut part = [0; 1500];
    let mut reads = 0_u32;
    received.append(&mut client.rest_buffered());
    loop {
        let count = client.stream.read(&mut part).expect("read");
        if count == 0 {
            break;
        }
        received.extend_from_slice(&part[..count]);
        reads += 1;
        if reads.is_multiple_of(64) {
            // Long enough for the server to meet a full socket again and again.
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    assert!(received == content, "{} bytes", received.len());
}

#[test]
fn a_file_that_ends_early_ends_the_connection_without_a_wrong_byte() {
    for size in [0, 100, STRETCH, STRETCH + 100] {
        let content = content(size);
        let server = Server::start(config(generous()), &content);
        let mut client = server.connect();
        client.send(&format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path(0, size + 50_000)));
        let all = client.rest();
        let body = all.windows(4).position(|window| window == b"\r\n\r\n").map(|end| all[end + 4..].to_vec());
        let body = body.unwrap_or_default();
        assert!(content.starts_with(&body), "{size}: {} bytes", body.len());
    }
}

#[test]
fn a_unix_socket_sends_files_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("berth.sock");
    let content = content(2 * STRETCH + 1);
    let addr = socket.to_str().expect("UTF-8").to_owned();
    let config = Config { net: Net::Unix, addr, limits: Limits::default(), ..Config::default() };
    let server = Server::start(config, &content);
    assert_eq!(server.address, Address::Unix(socket.clone()));
    let mut client = Client::new(UnixStream::connect(&socket).expect("connected"));
    assert!(client.get(&path(1, 2 * STRETCH)).body == content[1..]);
    assert_eq!(client.get("/peer").body, b"None");
    drop(client);
    server.trigger.trigger();
    server.outcome();
    assert!(!socket.exists(), "the socket is removed at the end");
}
