//! `process_*` metrics, read from `/proc` at each scrape. What cannot be read is left out.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// What the system says of this process.
#[derive(Debug, PartialEq)]
struct Process {
    cpu_seconds: f64,
    start_seconds: f64,
    virtual_bytes: i64,
    resident_bytes: i64,
}

/// Writes what can be read.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut gauge = |name: &str, help: &str, value: i64| {
        ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    };
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let open = i64::try_from(open.count()).unwrap_or(i64::MAX);
        gauge("process_open_fds", "File descriptors in use", open)?;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(limit) = limit.and_then(|limit| i64::try_from(limit).ok()) {
        gauge("process_max_fds", "File descriptors allowed", limit)?;
    }
    let Some(process) = read() else { return Ok(()) };
    gauge("process_virtual_memory_bytes", "Address space", process.virtual_bytes)?;
    gauge("process_resident_memory_bytes", "Memory in use", process.resident_bytes)?;
    let start =
        encoder.encode_descriptor("process_start_time_seconds", "Start, in Unix time", None, MetricType::Gauge)?;
    ConstGauge::new(process.start_seconds).encode(start)?;
    let cpu = encoder.encode_descriptor("process_cpu_seconds", "Processor time used", None, MetricType::Counter)?;
    ConstCounter::new(process.cpu_seconds).encode(cpu)
}

fn read() -> Option<Process> {
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = system.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
    let page = i64::try_from(rustix::param::page_size()).ok()?;
    parse(&own, boot, rustix::param::clock_ticks_per_second(), page)
}

#[expect(clippy::cast_precision_loss, reason = "ticks since boot are far below 2^53")]
fn parse(stat: &str, boot: f64, ticks_per_second: u64, page: i64) -> Option<Process> {
    // The command name before the last parenthesis may hold spaces; fields are counted from the one after it, the third.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
    let seconds = |ticks: i64| ticks as f64 / ticks_per_second as f64;
    Some(Process {
        cpu_seconds: seconds(field(14)? + field(15)?),
        start_seconds: boot + seconds(field(22)?),
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * page,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 1 0 0 0 150 50 0 0 20 0 9 0 300 4096 2 99";
        let process = parse(stat, 1000.0, 100, 4096).expect("complete");
        let expected = Process { cpu_seconds: 2.0, start_seconds: 1003.0, virtual_bytes: 4096, resident_bytes: 8192 };
        assert_eq!(process, expected);
    }

    #[test]
    fn a_short_line_is_no_answer() {
        assert_eq!(parse("7 (a) S 1", 0.0, 100, 4096), None);
    }
}
