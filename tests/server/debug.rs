//! The debug listener: health and metrics on an address of their own.

use std::net::TcpStream;

use berth::server::{Config, Debug};

use super::harness::{Client, Server, config, generous};

#[test]
fn health_and_metrics_are_beside_the_registry_not_in_it() {
    let debug = Debug { addr: "127.0.0.1:0".to_owned(), prometheus_path: Some("/metrics".to_owned()) };
    let server = Server::start(Config { debug: Some(debug), ..config(generous()) }, b"");
    assert_eq!(server.connect().get("/ok").status, 200);
    assert_eq!(server.connect().get("/metrics").status, 404);
    server.await_in_flight(0);
    let mut client = Client::new(TcpStream::connect(server.debug.expect("bound")).expect("connected"));
    let health = client.get("/debug/health");
    assert_eq!((health.status, health.body.as_slice()), (200, b"{}".as_slice()));
    let metrics = client.get("/metrics");
    assert!(metrics.head.contains("application/openmetrics-text"), "{}", metrics.head);
    let text = String::from_utf8(metrics.body).expect("UTF-8");
    for code in [200, 404] {
        let line = format!(r#"registry_http_requests_total{{handler="other",method="get",code="{code}"}} 1"#);
        assert!(text.contains(&line), "{text}");
    }
    assert_eq!(client.get("/v2/").status, 404);
}
