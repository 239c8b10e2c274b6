//! `registry token`: makes a token with a key, and looks at one. What a token is signed with is never shown.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use time::format_description::well_known::Rfc3339;

use crate::auth::{self, Mint, Scope};

/// Longest token that is read from stdin, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token with a private key and print it
    Mint(MintOptions),
    /// Show what a token says, and whether a configuration takes it; exit code 1 when it does not
    Inspect {
        /// The token, or - for the first line of stdin
        #[arg(default_value = "-")]
        token: String,
        /// The configuration file; found as by serve without one
        config: Option<PathBuf>,
    },
}

/// A token to be made.
#[derive(Debug, Args)]
pub(super) struct MintOptions {
    /// A private key in PEM, or a configuration file that names one in auth.token.server.key; found as by serve without
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Whose token it is; without it nobody's in particular
    #[arg(long, default_value = "")]
    user: String,
    /// What it allows, such as repository:team/app:pull,push; may be repeated
    #[arg(long, value_parser = Scope::parse)]
    scope: Vec<Scope>,
    /// For how long, such as 30m or 1h
    #[arg(long, default_value = "5m", value_parser = duration)]
    expires: Duration,
    /// What auth.token.issuer is where the token is used; from the configuration, or "registry", without it
    #[arg(long)]
    issuer: Option<String>,
    /// What auth.token.service is there; from the configuration, or "registry", without it
    #[arg(long)]
    service: Option<String>,
}

/// Carries out `command`.
pub(super) fn run(command: Command) -> ExitCode {
    match command {
        Command::Mint(options) => mint(options),
        Command::Inspect { token, config } => inspect(token, config),
    }
}

fn mint(options: MintOptions) -> ExitCode {
    let MintOptions { key, user, scope, expires, issuer, service } = options;
    let Signer { key, issuer: known_issuer, service: known_service } = match signer(key) {
        Ok(signer) => signer,
        Err(code) => return code,
    };
    let order = Mint {
        key,
        issuer: issuer.unwrap_or(known_issuer),
        service: service.unwrap_or(known_service),
        subject: user,
        scopes: scope,
        expiration: expires.as_secs(),
    };
    match auth::mint(&order) {
        Ok(token) => {
            println!("{token}");
            ExitCode::SUCCESS
        }
        Err(error) => super::failed(&error),
    }
}

/// Who signs, as far as a configuration tells.
struct Signer {
    key: PathBuf,
    issuer: String,
    service: String,
}

/// A file that looks like a configuration is one; any other is a key.
fn signer(file: Option<PathBuf>) -> Result<Signer, ExitCode> {
    let name = || crate::config::TOKEN_SERVER_NAME.to_owned();
    let is_config = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "yml" || ending == "yaml");
    if let Some(key) = file.clone().filter(|path| !is_config(path)) {
        return Ok(Signer { key, issuer: name(), service: name() });
    }
    let loaded = super::load(file)?;
    let token = match loaded.config.auth {
        auth::Config::Closed(ways) => ways.token,
        auth::Config::Open => None,
    };
    let signer = token.and_then(|token| {
        let key = token.server?.key;
        Some(Signer { key, issuer: token.issuer, service: token.service })
    });
    signer.ok_or_else(|| {
        super::failed(&format_args!(
            "{} has no auth.token.server, whose key would sign; name a private key in PEM with --key",
            loaded.origin
        ))
    })
}

fn inspect(token: String, config: Option<PathBuf>) -> ExitCode {
    let token = if token == "-" { read() } else { Ok(token) };
    let token = match token {
        Ok(token) => token,
        Err(error) => return super::failed(&error),
    };
    let loaded = match super::load(config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match auth::inspect(&loaded.config.auth, token.trim()) {
        Ok(seen) => {
            println!("{:#}", serde_json::json!({ "header": seen.header, "claims": seen.claims }));
            match seen.verdict {
                Some(Ok(())) => {
                    eprintln!("registry: {} takes this token, until {}", loaded.origin, expiry(&seen.claims));
                    ExitCode::SUCCESS
                }
                Some(Err(rejection)) => {
                    super::failed(&format_args!("{} does not take this token: {rejection}", loaded.origin))
                }
                None => super::failed(&format_args!("{} has no auth.token and takes no tokens", loaded.origin)),
            }
        }
        Err(error) => super::failed(&error),
    }
}

/// Until when claims hold, RFC 3339.
fn expiry(claims: &serde_json::Value) -> String {
    let time = claims.get("exp").and_then(serde_json::Value::as_i64);
    let time = time.and_then(|time| time::OffsetDateTime::from_unix_timestamp(time).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "it expires".to_owned())
}

/// So that no list of processes shows the token.
fn read() -> Result<String, String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| format!("the token cannot be read from stdin: {error}"))?;
    text.lines().next().map(str::to_owned).ok_or_else(|| "there is no token on stdin".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = crate::config::duration(text).filter(|duration| *duration >= Duration::from_secs(1));
    duration.ok_or_else(|| "write a number and a unit, such as 30m or 1h; one second at least".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_a_second_at_least() {
        assert_eq!(duration("1h").unwrap(), Duration::from_hours(1));
        for text in ["", "1", "0s", "999ms", "h", "-1h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_configuration_is_told_from_a_key_by_its_ending() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config.yml");
        let text = "version: 0.1\nstorage: inmemory\nhttp: {addr: ':0'}\nauth:\n  htpasswd: {realm: r, path: /h}\n  \
                    token: {issuer: me, server: {key: /k.pem}}\n";
        std::fs::write(&config, text).unwrap();
        let found = signer(Some(config)).ok().unwrap();
        assert_eq!((found.key, &*found.issuer, &*found.service), ("/k.pem".into(), "me", "registry"));
        let found = signer(Some("/some/key.pem".into())).ok().unwrap();
        assert_eq!((found.key, &*found.issuer), ("/some/key.pem".into(), "registry"));
    }
}
