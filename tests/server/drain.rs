//! The order to stop: what is in flight ends well, what is idle ends now, and nothing lasts for ever.

use std::net::TcpStream;
use std::time::Duration;

use berth::server::{Config, Outcome};

use super::harness::{Server, config, generous};

fn gated(server: &Server) -> super::harness::Client<TcpStream> {
    let mut client = server.connect();
    client.send("GET /gate HTTP/1.1\r\nHost: x\r\n\r\n");
    server.await_in_flight(1);
    client
}

#[test]
fn a_request_in_flight_is_answered_while_idle_connections_end() {
    let server = Server::start(config(generous()), b"");
    let mut busy = gated(&server);
    let mut idle = server.connect();
    assert_eq!(idle.get("/ok").status, 200);
    let mut silent = server.connect();
    server.trigger.trigger();
    assert!(idle.rest().is_empty());
    assert!(silent.rest().is_empty());
    assert!(TcpStream::connect(server.tcp()).is_err(), "still accepts");
    server.gate.add_permits(1);
    let answer = busy.answer();
    assert_eq!(answer.body, b"through");
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    assert_eq!(server.outcome(), Outcome::Drained);
}

#[test]
fn a_drain_ends_at_its_limit() {
    let short = Duration::from_millis(100);
    let server = Server::start(Config { drain_timeout: short, ..config(generous()) }, b"");
    let mut busy = gated(&server);
    server.trigger.trigger();
    assert!(busy.rest().is_empty());
    assert_eq!(server.outcome(), Outcome::TimedOut { connections: 1 });
}

#[test]
fn a_second_order_ends_at_once() {
    let server = Server::start(config(generous()), b"");
    let mut busy = gated(&server);
    server.trigger.trigger();
    server.trigger.trigger();
    assert!(busy.rest().is_empty());
    assert_eq!(server.outcome(), Outcome::Forced { connections: 1 });
}
