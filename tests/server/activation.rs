//! A socket passed by systemd is served instead of `http.addr`.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use berth::server::Config;

use super::harness::{Client, PATIENCE, Server, generous};

/// Only run by the test below, in a process of its own, with a listening socket as file descriptor 3.
#[test]
#[ignore = "a child process of the other test"]
fn child() {
    let unusable = Config { addr: "not an address".to_owned(), limits: generous(), ..Config::default() };
    let _server = Server::start(unusable, b"");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_passed_socket_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound");
    let own = std::env::current_exe().expect("a path");
    // The shell turns its input into descriptor 3 and keeps its process id, as the protocol asks.
    let script = r#"exec 3<&0; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" --exact activation::child --ignored"#;
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(own)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let stream = std::net::TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut client = Client::new(stream);
    assert_eq!(client.get("/ok").body, b"ok");
    child.kill().expect("ended");
    child.wait().expect("ended");
}
