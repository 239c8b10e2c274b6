//! Every limit fires, and none fires on those who keep to it.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use berth::server::{Config, Limits, Toggle};

use super::harness::{PATIENCE, Server, config, content, generous};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_silent_connection_is_closed_by_the_header_limit() {
    for h2c in [Toggle::Off, Toggle::On] {
        let limits = Limits { header_timeout: SHORT, ..generous() };
        let server = Server::start(Config { h2c, ..config(limits) }, b"");
        let start = Instant::now();
        assert!(server.connect().rest().is_empty());
        assert!(start.elapsed() >= SHORT, "{h2c:?}: too early");
    }
}

#[test]
fn a_head_that_dribbles_is_closed_by_the_header_limit() {
    for (h2c, start) in [(Toggle::Off, "GET / HTTP/1.1\r\nA: "), (Toggle::On, "PRI * HTT"), (Toggle::On, "GET / H")] {
        let limits = Limits { header_timeout: SHORT, ..generous() };
        let server = Server::start(Config { h2c, ..config(limits) }, b"");
        let mut client = server.connect();
        client.send(start);
        let begun = Instant::now();
        while h2c == Toggle::Off && client.stream.write_all(b"x").is_ok() {
            assert!(begun.elapsed() < PATIENCE, "{start:?} is never closed");
            std::thread::sleep(SHORT / 10);
        }
        assert!(!client.rest().starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn an_idle_connection_outlives_the_header_limit_but_not_the_idle_limit() {
    let limits = Limits { header_timeout: SHORT, idle_timeout: 3 * SHORT, ..generous() };
    let server = Server::start(config(limits), b"");
    let mut client = server.connect();
    assert_eq!(client.get("/ok").status, 200);
    let idle_since = Instant::now();
    assert!(client.rest().is_empty());
    assert!(idle_since.elapsed() >= 2 * SHORT, "closed by the wrong limit");
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/ok").status, 200);
        std::thread::sleep(3 * SHORT / 2);
    }
    assert_eq!(client.get("/ok").status, 200);
    client.send("GET /ok HT");
    let half_since = Instant::now();
    assert!(client.rest().is_empty());
    assert!(half_since.elapsed() < 3 * SHORT, "a half head counts against the header limit, not the idle one");
}

#[test]
fn an_upload_that_stalls_is_given_up() {
    let server = Server::start(config(Limits { stall_timeout: SHORT, ..generous() }), b"");
    let mut client = server.connect();
    client.send("POST /receive HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
    client.rest();
    server.await_in_flight(0);
}

#[test]
fn a_slow_but_steady_upload_is_not() {
    let server = Server::start(config(Limits { stall_timeout: SHORT, ..generous() }), b"");
    let mut client = server.connect();
    client.send("POST /receive HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n");
    for _ in 0..12 {
        client.send("x");
        std::thread::sleep(SHORT / 4);
    }
    assert_eq!(client.answer().body, b"12");
}

#[test]
fn a_reader_that_stops_is_given_up() {
    let content = content(64 * 1024 * 1024);
    let server = Server::start(config(Limits { stall_timeout: SHORT, ..generous() }), &content);
    let mut client = server.connect();
    client.send(&format!("GET /file?offset=0&length={} HTTP/1.1\r\nHost: x\r\n\r\n", content.len()));
    assert_eq!(client.head().status, 200);
    server.await_in_flight(0);
    assert!(client.rest().len() < content.len());
}

#[test]
fn a_handler_may_take_its_time() {
    let limits = Limits { header_timeout: SHORT, idle_timeout: SHORT, stall_timeout: SHORT, ..generous() };
    let server = Server::start(config(limits), b"");
    let mut client = server.connect();
    client.send("GET /gate HTTP/1.1\r\nHost: x\r\n\r\n");
    std::thread::sleep(4 * SHORT);
    server.gate.add_permits(1);
    assert_eq!(client.answer().body, b"through");
}

#[test]
fn a_head_that_is_too_large_gets_431() {
    let limits = Limits { header_bytes: 16 * 1024, header_count: 20, ..generous() };
    let server = Server::start(config(limits), b"");
    let mut client = server.connect();
    client.send(&format!("GET /ok HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(17 * 1024)));
    assert_eq!(client.head().status, 431);
    let mut many = String::from("GET /ok HTTP/1.1\r\nHost: x\r\n");
    for number in 0..20 {
        write!(many, "A{number}: a\r\n").expect("a string grows");
    }
    let mut client = server.connect();
    client.send(&(many + "\r\n"));
    assert_eq!(client.head().status, 431);
    let mut client = server.connect();
    client.send(&format!("GET /ok HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(15 * 1024)));
    assert_eq!(client.answer().status, 200);
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place() {
    let server = Server::start(config(Limits { connections: 2, ..generous() }), b"");
    let mut first = server.connect();
    let mut second = server.connect();
    assert_eq!((first.get("/ok").status, second.get("/ok").status), (200, 200));
    let mut third = server.connect();
    third.send("GET /ok HTTP/1.1\r\nHost: x\r\n\r\n");
    third.stream.set_read_timeout(Some(SHORT)).expect("set");
    assert!(third.stream.read(&mut [0; 1]).is_err(), "answered beyond the limit");
    third.stream.set_read_timeout(Some(PATIENCE)).expect("set");
    drop(first);
    assert_eq!(third.answer().status, 200);
}

#[test]
fn one_address_gets_no_more_than_its_share() {
    let server = Server::start(config(Limits { connections_per_address: 1, ..generous() }), b"");
    let mut first = server.connect();
    assert_eq!(first.get("/ok").status, 200);
    assert!(server.connect().rest().is_empty());
    assert_eq!(first.get("/ok").status, 200);
}

#[test]
fn a_request_knows_its_peer() {
    let server = Server::start(config(generous()), b"");
    let mut client = server.connect();
    let own = client.stream.local_addr().expect("connected");
    assert_eq!(client.get("/peer").body, format!("{:?}", Some(own)).as_bytes());
}
