//! What a run did: requests, bytes, latencies, and the processor time and peak memory of the server and of this process,
//! read from `/proc`. Processor time has the kernel's accounting tick (10 ms) as its unit.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Target;

/// Clock ticks per second of `/proc/PID/stat`; the value of every Linux that Rust's standard library supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Samples taken when the measured part begins.
pub(crate) struct Meter {
    begun: Instant,
    server: f64,
    client: f64,
}

/// Sum of what the connections of a run did.
#[derive(Default)]
pub(crate) struct Tally {
    /// Time of each operation in microseconds.
    pub(crate) latencies: Vec<u32>,
    /// Payload bytes moved.
    pub(crate) bytes: u64,
    /// Operations whose answer had another status than the expected one.
    pub(crate) errors: u64,
}

impl Tally {
    /// Adds one finished operation.
    pub(crate) fn finish(&mut self, time: Duration, bytes: u64) {
        self.latencies.push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
        self.bytes += bytes;
    }

    /// Adds what another connection did.
    pub(crate) fn merge(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.bytes += other.bytes;
        self.errors += other.errors;
    }
}

impl Meter {
    /// Begins the measured part.
    pub(crate) fn start(target: &Target) -> io::Result<Self> {
        let server = processor_seconds(&target.server)?;
        let client = processor_seconds(&[std::process::id()])?;
        Ok(Self { begun: Instant::now(), server, client })
    }

    /// Ends the measured part and renders it as one line of JSON.
    pub(crate) fn stop(self, operation: &str, target: &Target, mut tally: Tally) -> io::Result<String> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let server = processor_seconds(&target.server)? - self.server;
        let client = processor_seconds(&[std::process::id()])? - self.client;
        tally.latencies.sort_unstable();
        let requests = real(tally.latencies.len() as u64);
        let mebibytes = real(tally.bytes) / 1_048_576.0;
        Ok(json!({
            "operation": operation,
            "label": target.label,
            "requests": tally.latencies.len(),
            "errors": tally.errors,
            "seconds": seconds,
            "requests_per_second": requests / seconds,
            "mib_per_second": mebibytes / seconds,
            "p50_us": percentile(&tally.latencies, 50),
            "p99_us": percentile(&tally.latencies, 99),
            "client_cpu_us_per_request": per(client * 1e6, requests),
            "server_cpu_us_per_request": per(server * 1e6, requests),
            "server_cpu_ms_per_mib": per(server * 1e3, mebibytes),
            "server_cpu_seconds": server,
            "server_peak_mib": peak_mebibytes(&target.server)?,
        })
        .to_string())
    }
}

fn per(amount: f64, count: f64) -> f64 {
    if count > 0.0 { amount / count } else { 0.0 }
}

fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0)
}

/// A count as a floating-point number; counts here are far below the 2^53 where that would lose digits.
#[allow(clippy::cast_precision_loss)]
fn real(count: u64) -> f64 {
    count as f64
}

/// User and system time of the processes so far, in seconds.
fn processor_seconds(processes: &[u32]) -> io::Result<f64> {
    let mut ticks = 0;
    for process in processes {
        let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The command's name is in brackets and may hold blanks; user and system time are the 12th and 13th words after it.
        let words = text.rsplit_once(')').map_or("", |(_, words)| words);
        ticks += words.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(real(ticks) / TICKS_PER_SECOND)
}

/// Sum of the processes' peak resident memory in MiB.
fn peak_mebibytes(processes: &[u32]) -> io::Result<f64> {
    let mut kibibytes = 0;
    for process in processes {
        let text = fs::read_to_string(format!("/proc/{process}/status"))?;
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        kibibytes += peak.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(real(kibibytes) / 1024.0)
}
