//! What telemetry is told: the `log` and `health` sections of distribution's `config.yml`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Logging and health checks.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The `log` section.
    pub log: Log,
    /// The `health` section.
    pub health: Health,
}

/// `log`: level, format and the fields added to every line.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Least severe level written.
    pub level: Level,
    /// How a line looks.
    pub formatter: Formatter,
    /// Fields added to every line, as strings.
    pub fields: BTreeMap<String, String>,
    /// Whether the access log on stdout is written.
    pub access_log: AccessLog,
    /// Whether a line names the source file it comes from (`log.reportcaller`).
    pub caller: Caller,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Only errors.
    Error,
    /// Errors and warnings.
    Warn,
    /// The default.
    #[default]
    Info,
    /// Everything.
    Debug,
}

/// `log.formatter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Formatter {
    /// `time="…" level=info msg="…" key=value`.
    #[default]
    Text,
    /// One JSON object a line: `time`, `level`, `msg` and the fields.
    Json,
    /// One JSON object a line as Logstash reads it: `@timestamp`, `@version`, `level`, `message`.
    Logstash,
}

/// `log.accesslog.disabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// Apache combined lines on stdout.
    #[default]
    Enabled,
    /// No access log.
    Disabled,
}

/// `log.reportcaller`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Caller {
    /// Lines do not name their source.
    #[default]
    Hidden,
    /// Lines carry `file` with path and line number.
    Shown,
}

/// `health`: what is probed, how often, and how many failures in a row make it unhealthy.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// `health.storagedriver`, when enabled.
    pub storage_driver: Option<Probe>,
    /// `health.file`: unhealthy while the file exists.
    pub files: Vec<FileCheck>,
    /// `health.http`: unhealthy unless the address answers HEAD with the wanted status.
    pub http: Vec<HttpCheck>,
    /// `health.tcp`: unhealthy unless the address accepts a connection.
    pub tcp: Vec<TcpCheck>,
}

/// How often something is probed and how many failures in a row count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Time between probes.
    pub interval: Duration,
    /// Failures in a row before the check is unhealthy; 0 and 1 mean the first.
    pub threshold: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), threshold: 0 }
    }
}

/// One `health.file` entry.
#[derive(Debug, Clone)]
pub struct FileCheck {
    /// The file whose existence makes the registry unhealthy.
    pub file: PathBuf,
    /// Rhythm.
    pub probe: Probe,
}

/// One `health.http` entry.
#[derive(Debug, Clone)]
pub struct HttpCheck {
    /// `http://` address asked by HEAD.
    pub uri: String,
    /// Status that counts as healthy.
    pub status: u16,
    /// Headers sent along.
    pub headers: Vec<(String, String)>,
    /// Time for connecting and answering.
    pub timeout: Duration,
    /// Rhythm.
    pub probe: Probe,
}

/// One `health.tcp` entry.
#[derive(Debug, Clone)]
pub struct TcpCheck {
    /// `host:port` to connect to.
    pub addr: String,
    /// Time for connecting.
    pub timeout: Duration,
    /// Rhythm.
    pub probe: Probe,
}
