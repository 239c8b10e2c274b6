//! The same through the program itself: a file that changes while it serves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use super::{RULES, basic, write};

/// Longest that something is waited for that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, serving until the test is over.
struct Registry {
    child: Child,
    address: String,
    log: BufReader<ChildStderr>,
}

impl Registry {
    fn serve(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_registry"))
            .arg("serve")
            .arg(config)
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it served");
            if let Some((_, rest)) = line.split_once("serving on ") {
                break rest.split(' ').next().unwrap().to_owned();
            }
        };
        Self { child, address, log }
    }

    fn status(&self, user: &str) -> u16 {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let authorization = basic(user);
        let request = format!(
            "GET /v2/team/app/tags/list HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }

    /// Reads the log up to the line that holds `text`.
    fn await_line(&mut self, text: &str) -> String {
        let (started, mut line) = (Instant::now(), String::new());
        while started.elapsed() < PATIENCE {
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "it ended and never said {text}");
            if line.contains(text) {
                return line;
            }
        }
        panic!("it never said {text}")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_changed_file_changes_the_rules_and_a_broken_one_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = Registry::serve(&write(directory.path(), RULES));
    assert_eq!((registry.status("alice"), registry.status("carol")), (404, 403));
    let line = registry.await_line("carol may not pull team/app");
    assert!(line.contains("msg=refused target=\"berth::audit\" user=carol action=pull repository=team/app"), "{line}");
    write(directory.path(), &RULES.replace("[alice, bob]", "[carol]"));
    registry.await_line("the access rules and robots were read again");
    assert_eq!((registry.status("alice"), registry.status("carol")), (403, 404));
    write(directory.path(), "  access: [{who: everybody\n");
    registry.await_line("the access rules stay as they were");
    assert_eq!((registry.status("alice"), registry.status("carol")), (403, 404));
    write(directory.path(), "");
    registry.await_line("nothing changes before a restart");
    assert_eq!((registry.status("alice"), registry.status("carol")), (403, 404));
}
