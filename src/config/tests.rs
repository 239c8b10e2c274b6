//! Whole configurations, good and bad, as a person would write them; most live in `tests/data/config`.

use std::fmt::Write;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::auth::Config as Auth;
use crate::registry::{Access, Checks, Deletion, IndexPlatforms, RepositoryClass};
use crate::routes::{LocationForm, TrustedProxies};
use crate::server::{Net, TlsVersion, Toggle};
use crate::storage::{DriverConfig, Redirect};
use crate::telemetry::{AccessLog, Caller, Formatter, Level};

const EXAMPLE: &str = include_str!("../../config.example.yml");
const BAD: &str = include_str!("../../tests/data/config/bad.txt");

/// Text added to a minimal configuration, variables with their values, and how the one warning begins.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

fn pairs(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<(Config, Vec<Warning>), ConfigError> {
    from_text(text, "config.yml", pairs(variables))
}

/// A configuration that is right, and free of warnings.
fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    let (config, warnings) = load(text, variables).unwrap_or_else(|error| panic!("{error}\n--- in:\n{text}"));
    assert_eq!(warnings, [], "in:\n{text}");
    config
}

/// A minimal configuration with more at its end.
fn minimal(more: &str) -> String {
    format!("version: 0.1\nstorage: inmemory\nhttp: {{addr: ':5000'}}\n{more}")
}

fn root_directory(config: &Config) -> String {
    match &config.storage.driver {
        DriverConfig::Filesystem(filesystem) => filesystem.root_directory.display().to_string(),
        DriverConfig::Memory => "memory".to_owned(),
        DriverConfig::S3(_) | DriverConfig::Oss(_) => "a bucket".to_owned(),
    }
}

/// One entry of the table: `===` name, `$` variables, text, `---`, the whole message.
struct BadCase<'a> {
    name: &'a str,
    variables: Vec<(&'a str, &'a str)>,
    text: String,
    message: &'a str,
}

fn bad_cases() -> Vec<BadCase<'static>> {
    let parse = |case: &'static str| {
        let (name, rest) = case.split_once('\n').expect("a case has a name");
        let (text, message) = rest.split_once(">>>\n").unwrap_or((rest, ""));
        let mut case = BadCase { name, variables: Vec::new(), text: String::new(), message: message.trim_end() };
        if name.starts_with("+ ") {
            case.text.push_str("version: 0.1\nstorage: inmemory\n");
        }
        for line in text.lines() {
            match line.strip_prefix("$ ").and_then(|line| line.split_once('=')) {
                Some(variable) => case.variables.push(variable),
                None => writeln!(case.text, "{line}").expect("a string takes all"),
            }
        }
        // Most cases are about something else than the address, and leave it to a socket that was passed.
        if !case.variables.iter().any(|(name, _)| *name == "LISTEN_FDS") {
            case.variables.push(("LISTEN_FDS", "1"));
        }
        // Likewise the secret, which every bucket needs.
        let bucket = case.text.contains("s3:") || case.text.contains("s3aws:") || case.text.contains("oss:");
        let bucket = bucket || case.variables.contains(&("REGISTRY_STORAGE", "s3"));
        if bucket && !case.name.contains("without a secret") {
            case.variables.push(("REGISTRY_HTTP_SECRET", "secret"));
        }
        case
    };
    BAD.split("=== ").skip(1).map(parse).collect()
}

#[test]
fn every_bad_configuration_is_refused_with_its_message() {
    let cases = bad_cases();
    assert!(cases.len() >= 80);
    let mut differences = String::new();
    for case in cases {
        let found = match load(&case.text, &case.variables) {
            Ok(_) => "(accepted)".to_owned(),
            Err(error) => error.to_string(),
        };
        if found != case.message {
            writeln!(differences, "=== {}\n{}>>>\n{found}", case.name, case.text).unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn the_example_loads_as_it_is_and_shows_the_defaults() {
    let example = good(EXAMPLE, &[]);
    let least = good("version: 0.1\nstorage: filesystem\nhttp: {addr: '127.0.0.1:5000'}\n", &[]);
    let mut shown = example.clone();
    // What the example switches on to show it, and the header and field it adds.
    shown.server.debug = None;
    shown.telemetry.health = crate::telemetry::Health::default();
    shown.telemetry.log.fields.clear();
    shown.routes.headers.clear();
    assert_eq!(format!("{shown:?}"), format!("{least:?}"));
    assert!(example.server.debug.is_some() && example.telemetry.health.storage_driver.is_some());
}

/// The example with every key that is switched off in it switched on.
fn example_with_everything() -> String {
    let switch_on = |line: &str| {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        match text.strip_prefix('#') {
            Some(key) if !key.is_empty() && !key.starts_with([' ', '-']) || key_of_item(text) => {
                format!("{indent}{}\n", &text[1..])
            }
            _ => format!("{line}\n"),
        }
    };
    EXAMPLE.lines().map(switch_on).collect()
}

fn key_of_item(text: &str) -> bool {
    text.starts_with("#- ")
}

#[test]
fn table_example_and_readers_know_the_same_keys() {
    let text = example_with_everything();
    let locate = |line, column| Place::Line { file: Arc::from("example"), line, column };
    let tree = yaml::parse(&text, &locate).unwrap_or_else(|problems| panic!("{problems:?}"));
    // s3aws is another name of s3, and not shown twice.
    for path in shape::paths().iter().filter(|path| !path.starts_with("storage.s3aws.")) {
        let found = path.split('.').try_fold(&tree, |node, key| {
            let below = node.get(key.trim_end_matches("[]"))?;
            match &below.value {
                tree::Value::Sequence(items) if key.ends_with("[]") => items.first(),
                _ => Some(below),
            }
        });
        assert!(found.is_some(), "{path} is in the table and not in the example");
    }
    let Err(ConfigError::Invalid(problems)) = load(&text, &[]) else { panic!("everything at once cannot be right") };
    for problem in problems {
        let expected = problem.message.contains("not built") || problem.message.starts_with("two ");
        assert!(expected, "the example or the table has what no reader takes: {problem}");
    }
}

#[test]
fn real_configurations_load_without_a_warning() {
    let two = good(include_str!("../../tests/data/config/real/registry-2-image.yml"), &[]);
    assert_eq!(root_directory(&two), "/var/lib/registry");
    assert_eq!(two.server.addr, ":5000");
    assert_eq!(two.telemetry.log.fields["service"], "registry");
    assert_eq!(two.telemetry.health.storage_driver.unwrap().threshold, 3);
    assert_eq!(two.routes.headers.len(), 1);
    assert_eq!(two.routes.location, LocationForm::Relative);
    assert_eq!(two.registry.deletion, Deletion::Disabled);
    assert_eq!(two.gc.upload_purging, Some(crate::gc::UploadPurging::default()));

    let three = good(include_str!("../../tests/data/config/real/registry-3-image.yml"), &[]);
    assert_eq!(three.registry.deletion, Deletion::Enabled);
    assert_eq!(three.storage.tag_reads, 5);
    assert_eq!(three.server.debug.unwrap().prometheus_path.as_deref(), Some("/metrics"));

    let debian = good(include_str!("../../tests/data/config/real/debian-package.yml"), &[]);
    assert_eq!(root_directory(&debian), "/var/lib/docker-registry");
}

#[test]
fn a_configuration_that_has_grown_means_what_it_meant() {
    let config = good(include_str!("../../tests/data/config/real/grown-over-years.yml"), &[]);
    let Config { server, telemetry, storage, registry, routes, auth, gc } = config;
    assert_eq!((telemetry.log.level, telemetry.log.formatter), (Level::Debug, Formatter::Json));
    assert_eq!((telemetry.log.access_log, telemetry.log.caller), (AccessLog::Disabled, Caller::Hidden));
    assert_eq!(telemetry.log.fields["rack"], "0042");
    assert_eq!(telemetry.log.fields["tags"], "[a, b]");
    assert_eq!((storage.redirect, registry.deletion), (Redirect::Never, Deletion::Enabled));
    assert!(matches!(&storage.driver, DriverConfig::Filesystem(disk) if disk.max_threads == 150));
    assert_eq!(gc.upload_purging.unwrap().interval, Duration::from_hours(24));
    assert_eq!(registry.access, Access::ReadWrite);
    assert_eq!(registry.secret.as_deref(), Some(b"12345678".as_slice()));
    assert_eq!((server.addr.as_str(), server.net), ("[::]:443", Net::Tcp));
    assert_eq!(server.drain_timeout, Duration::from_mins(1));
    assert_eq!((server.http2, server.h2c), (Toggle::On, Toggle::On));
    assert_eq!(server.tls.unwrap().client_cas.len(), 2);
    assert_eq!(routes.location, LocationForm::Fixed("https://hub.example.org".to_owned()));
    assert_eq!(telemetry.health.files[0].probe.interval, Duration::from_secs(30));
    assert_eq!(telemetry.health.tcp[0].timeout, Duration::from_secs(3));
    assert!(registry.validation.urls.allow.unwrap().is_match("https://cdn.example.com/layer"));
    assert!(matches!(registry.validation.index_platforms, IndexPlatforms::List(list) if list.len() == 1));
    assert_eq!(registry.repository_classes, [RepositoryClass::Image]);
    assert_eq!(registry.limits.catalog_page, 512);
    assert_eq!(auth, Auth::Open);
}

#[test]
fn the_built_in_defaults_serve_this_machine_only_and_yield_to_variables() {
    let Loaded { config, warnings, origin } = Config::load(Source::BuiltIn, []).unwrap();
    assert_eq!((warnings, origin.to_string().as_str()), (Vec::new(), "built-in defaults"));
    assert_eq!((root_directory(&config).as_str(), config.server.addr.as_str()), ("./registry-data", "127.0.0.1:5000"));
    assert_eq!(config.registry.deletion, Deletion::Disabled);

    let changed = pairs(&[("REGISTRY_STORAGE", "inmemory"), ("REGISTRY_HTTP_ADDR", ":80")]);
    let config = Config::load(Source::BuiltIn, changed).unwrap().config;
    assert_eq!((root_directory(&config).as_str(), config.server.addr.as_str()), ("memory", ":80"));
}

#[test]
fn a_file_that_is_missing_is_named() {
    let missing = Source::File("no-such-file.yml".into());
    let text = Config::load(missing, []).unwrap_err().to_string();
    assert!(text.starts_with("no-such-file.yml: cannot be read: "), "{text}");
}

#[test]
fn a_log_field_may_have_a_dot_in_its_name() {
    let config = good(&minimal("log: {fields: {service.name: registry}}"), &[]);
    assert_eq!(config.telemetry.log.fields["service.name"], "registry");
}

#[test]
fn a_header_by_a_variable_is_a_list() {
    let config = good(&minimal(""), &[("REGISTRY_HTTP_HEADERS_X-FRAME-OPTIONS", "[deny]")]);
    assert_eq!(config.routes.headers[0].0.as_str(), "x-frame-options");
    assert_eq!(config.routes.headers[0].1, "deny");
}

#[test]
fn suites_of_tls_1_3_alone_leave_no_older_version() {
    let tls = |suites: &str| {
        let tls = format!("tls: {{certificate: c, key: k, ciphersuites: [{suites}]}}");
        good(&format!("version: 0.1\nstorage: inmemory\nhttp: {{addr: ':1', {tls}}}\n"), &[]).server.tls.unwrap()
    };
    assert_eq!(tls("TLS_AES_128_GCM_SHA256").minimum, TlsVersion::Tls13);
    assert_eq!(tls("").minimum, TlsVersion::Tls12);
    let both = tls("TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305");
    assert_eq!(both.minimum, TlsVersion::Tls12);
    assert_eq!(both.cipher_suites, ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]);
}

#[test]
fn a_socket_that_was_passed_takes_the_place_of_an_address() {
    good("version: 0.1\nstorage: inmemory\n", &[("LISTEN_FDS", "1")]);
}

#[test]
fn a_large_file_gives_few_problems() {
    let keys =
        |indent: &str| (0..50_000).fold(String::new(), |text, number| text + indent + &format!("k{number}: a\n"));
    let count = |text: &str| match load(text, &[]) {
        Err(ConfigError::Invalid(problems)) => problems.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(count(&minimal(&keys(""))), 100);
    assert_eq!(count(&minimal(&"a: b\n".repeat(50_000))), 100);
    let config = good(&minimal(&format!("log:\n  fields:\n{}", keys("    "))), &[]);
    assert_eq!(config.telemetry.log.fields.len(), 50_000);
}

#[test]
fn values_mean_what_they_say() {
    let location = |http: &str| {
        good(&format!("version: 0.1\nstorage: inmemory\nhttp: {{addr: ':1', {http}}}\n"), &[]).routes.location
    };
    assert_eq!(location("relativeurls: true"), LocationForm::Relative);
    assert_eq!(location("relativeurls: no"), LocationForm::FromRequest);
    assert_eq!(
        location("host: 'http://a.example:5000/base/', relativeurls: true"),
        LocationForm::Fixed("http://a.example:5000/base".to_owned())
    );

    let proxies = |http: &str| good(&format!("version: 0.1\nstorage: inmemory\nhttp: {{addr: ':1', {http}}}\n"), &[]);
    assert_eq!(proxies("net: tcp").routes.trusted_proxies, TrustedProxies::Anyone);
    assert_eq!(proxies("trustedproxies: []").routes.trusted_proxies, TrustedProxies::Only(Vec::new()));
    assert_eq!(proxies("trustedproxies: [10.0.0.0/8]").server.limits.trusted_proxies[0].prefix, 8);

    let checks =
        |validation: &str| good(&minimal(&format!("validation: {validation}")), &[]).registry.validation.checks;
    assert_eq!(checks("{disabled: true}"), Checks::Skipped);
    assert_eq!(checks("{disabled: true, enabled: true}"), Checks::Applied);
    assert_eq!(checks("{enabled: false}"), Checks::Applied);

    let purging = |section: &str| {
        good(&format!("version: 0.1\nhttp: {{addr: ':1'}}\nstorage: {{inmemory: , maintenance: {{uploadpurging: {section}}}}}\n"), &[]).gc.upload_purging
    };
    assert_eq!(purging("{enabled: false}"), None);
    assert_eq!(purging("{dryrun: true}").unwrap().mode, crate::gc::PurgeMode::Report);
}

#[test]
fn what_has_no_meaning_here_is_accepted_with_one_warning() {
    let cases: [Case; 8] = [
        (
            "compatibility: {schema1: {enabled: true, signingkeyfile: /k}}",
            &[],
            "config.yml:4:17: compatibility.schema1: has no effect",
        ),
        ("reporting: {bugsnag: {apikey: a}}", &[], "config.yml:4:13: reporting.bugsnag: has no effect"),
        ("reporting: {newrelic: {name: a, verbose: true}}", &[], "config.yml:4:13: reporting.newrelic: has no effect"),
        ("", &[("OTEL_TRACES_EXPORTER", "otlp")], "environment variable OTEL_TRACES_EXPORTER: traces are not exported"),
        (
            "",
            &[("REGISTRY_HTTP_ADR", ":5000")],
            "environment variable REGISTRY_HTTP_ADR: sets nothing that is known here; did you mean REGISTRY_HTTP_ADDR?",
        ),
        (
            "",
            &[("REGISTRY_http_addr", ":5000")],
            "environment variable REGISTRY_http_addr: sets nothing that is known here; did you mean REGISTRY_HTTP_ADDR?",
        ),
        (
            "",
            &[("REGISTRY_HTTP_DRAINTIMEOUT", "60")],
            "environment variable REGISTRY_HTTP_DRAINTIMEOUT: http.draintimeout: 60 without a unit means 60 nanoseconds",
        ),
        (
            "validation: {manifests: {indexes: {platformlist: [{architecture: a, os: b}]}}}",
            &[],
            "config.yml:4:36: validation.manifests.indexes.platformlist: has no effect",
        ),
    ];
    for (more, variables, expected) in cases {
        let (_, warnings) = load(&minimal(more), variables).unwrap();
        let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert!(matches!(texts.as_slice(), [only] if only.starts_with(expected)), "{texts:?} instead of {expected}");
    }
    good(
        &minimal(""),
        &[
            ("OTEL_TRACES_EXPORTER", "none"),
            ("REGISTRY_CONFIGURATION_PATH", "x"),
            ("REGISTRY_PORT_5000_TCP", "tcp://a"),
        ],
    );
}

proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in "\\PC{0,200}", value in "\\PC{0,40}") {
        let _ = load(&text, &[("REGISTRY_HTTP_HEADERS", &value), ("REGISTRY_STORAGE", &value), ("REGISTRY_LOG", &text)]);
    }

    #[test]
    fn no_value_of_a_known_key_makes_loading_panic(
        at in any::<prop::sample::Index>(),
        value in prop_oneof!["\\PC{0,20}", "-?[0-9_.]{0,30}[a-zµ]{0,3}", r#"[\[\]{}:,"'&*<!\n ab-]{0,30}"#],
    ) {
        let variables = shape::variables();
        let name = variables[at.index(variables.len())].as_str();
        let _ = load(EXAMPLE, &[(name, &value)]);
        let _ = load("", &[(name, &value)]);
    }

    #[test]
    fn no_line_lost_from_the_example_makes_loading_panic(lost in prop::collection::vec(any::<prop::sample::Index>(), 1..20)) {
        let text = example_with_everything();
        let lines: Vec<&str> = text.lines().collect();
        let lost: Vec<usize> = lost.iter().map(|index| index.index(lines.len())).collect();
        let kept: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| !lost.contains(at)).map(|(_, line)| *line).collect();
        let _ = load(&kept.join("\n"), &[]);
    }
}
