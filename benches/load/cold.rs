//! Cold start: the time from starting a program until it answers `GET /v2/` for the first time.

use std::io;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::Target;
use crate::wire::{Connection, Reuse};

/// How long a program may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to start.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// How often to start it; the median is reported.
    #[arg(long, default_value_t = 5)]
    times: usize,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<String>,
}

/// A program that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A program that has ended by itself cannot be killed, and that is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program several times.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    let mut times = Vec::with_capacity(options.times);
    for _ in 0..options.times.max(1) {
        times.push(once(options)?.as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(json!({ "operation": "cold-start", "label": options.target.label, "median_ms": median, "all_ms": times })
        .to_string())
}

fn once(options: &Options) -> io::Result<Duration> {
    let (program, arguments) = options.program.split_first().ok_or_else(|| io::Error::other("no program is named"))?;
    let begun = Instant::now();
    let child = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut running = Running(child);
    while TcpStream::connect(options.target.address).is_err() {
        if let Some(status) = running.0.try_wait()? {
            return Err(io::Error::other(format!("{program} ended before it answered: {status}")));
        }
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{program} did not answer for 30 s")));
        }
        thread::sleep(Duration::from_micros(200));
    }
    Connection::new(options.target.address, Reuse::Never).send("GET", "/v2/", "", &[])?;
    Ok(begun.elapsed())
}
