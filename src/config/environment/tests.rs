//! Variables and the trees they give, as a table, and the forms in which distribution differs.

use super::*;

/// Text, variables with their values, and the tree they give.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// The tree of `text` after `variables`, on one line, and the warnings.
fn laid_over(text: &str, variables: &[(&str, &str)]) -> (String, Vec<String>) {
    let report = Report::default();
    let locate = |line, column| Place::Line { file: Arc::from("f"), line, column };
    let mut root = yaml::parse(text, &locate).unwrap();
    let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    apply(&mut root, &variables, &report);
    let (problems, warnings) = report.into_parts();
    assert_eq!(problems, [], "{text}");
    (root.to_string(), warnings.iter().map(ToString::to_string).collect())
}

#[test]
fn variables_change_the_tree_by_the_rules() {
    let cases: &[Case] = &[
        // The value is YAML and replaces what was there.
        ("http: {addr: a}", &[("REGISTRY_HTTP_ADDR", ":5000")], "{http: {addr: :5000}}"),
        ("", &[("REGISTRY_HTTP_HEADERS", "{X-A: [b]}")], "{http: {headers: {X-A: [b]}}}"),
        ("http: {addr: a}", &[("REGISTRY_HTTP_ADDR", "")], "{http: {addr: }}"),
        // Where one word belongs, what YAML would read otherwise is taken as it is.
        ("", &[("REGISTRY_HTTP_SECRET", "a: {b")], "{http: {secret: a: {b}}"),
        ("", &[("REGISTRY_HTTP_SECRET", "@x")], "{http: {secret: @x}}"),
        ("", &[("REGISTRY_HTTP_SECRET", "'q'")], "{http: {secret: q}}"),
        // A driver by name replaces the section, and further variables go below it, whatever their order.
        (
            "storage: {s3: {bucket: b}}",
            &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/d"), ("REGISTRY_STORAGE", "filesystem")],
            "{storage: {filesystem: {rootdirectory: /d}}}",
        ),
        (
            "storage: inmemory",
            &[("REGISTRY_STORAGE_DELETE_ENABLED", "true")],
            "{storage: {inmemory: , delete: {enabled: true}}}",
        ),
        ("auth: {htpasswd: {realm: r}}", &[("REGISTRY_AUTH", "")], "{auth: }"),
        ("auth: {htpasswd: {realm: r}}", &[("REGISTRY_AUTH", "none")], "{auth: {none: }}"),
        ("", &[("REGISTRY_AUTH_TOKEN_REALM", "r")], "{auth: {token: {realm: r}}}"),
        // Single keys below maintenance, with and without the section in the file.
        (
            "",
            &[("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")],
            "{storage: {maintenance: {readonly: {enabled: true}}}}",
        ),
        (
            "storage: {maintenance: {readonly: {enabled: false}}}",
            &[("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")],
            "{storage: {maintenance: {readonly: {enabled: true}}}}",
        ),
        (
            "",
            &[("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}")],
            "{storage: {maintenance: {readonly: {enabled: true}}}}",
        ),
        // Keys with an underscore, and keys of maps, found whatever their case.
        ("", &[("REGISTRY_STORAGE_AZURE_MAX_RETRIES", "7")], "{storage: {azure: {max_retries: 7}}}"),
        (
            "",
            &[("REGISTRY_STORAGE_GCS_CREDENTIALS_PRIVATE_KEY", "k")],
            "{storage: {gcs: {credentials: {private_key: k}}}}",
        ),
        ("log: {fields: {My_Field: a}}", &[("REGISTRY_LOG_FIELDS_MY_FIELD", "b")], "{log: {fields: {My_Field: b}}}"),
        ("", &[("REGISTRY_LOG_FIELDS_SERVICE", "s")], "{log: {fields: {service: s}}}"),
        ("", &[("REGISTRY_STORAGE_NEWDRIVER_ROOT_A", "b")], "{storage: {newdriver: {root_a: b}}}"),
        // Lists of sections and of words, edited and extended.
        ("", &[("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL", "u")], "{notifications: {endpoints: [{url: u}]}}"),
        (
            "health: {file: [{file: a}]}",
            &[("REGISTRY_HEALTH_FILE_0_INTERVAL", "5s")],
            "{health: {file: [{file: a, interval: 5s}]}}",
        ),
        (
            "",
            &[("REGISTRY_HTTP_TLS_CLIENTCAS_0", "a"), ("REGISTRY_HTTP_TLS_CLIENTCAS_1", "b")],
            "{http: {tls: {clientcas: [a, b]}}}",
        ),
        (
            "http: {tls: {clientcas: [x]}}",
            &[("REGISTRY_HTTP_TLS_CLIENTCAS", "[a, b]")],
            "{http: {tls: {clientcas: [a, b]}}}",
        ),
        ("", &[("REGISTRY_HTTP_TLS_LETSENCRYPT_HOSTS_0", "h")], "{http: {tls: {letsencrypt: {hosts: [h]}}}}"),
        // Names of the source code of distribution, and ours.
        (
            "",
            &[("REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES", "true")],
            "{notifications: {events: {includereferences: true}}}",
        ),
        (
            "",
            &[("REGISTRY_NOTIFICATIONS_EVENTS_INCLUDEREFERENCES", "true")],
            "{notifications: {events: {includereferences: true}}}",
        ),
        ("", &[("REGISTRY_HEALTH_FILECHECKERS_0_FILE", "f")], "{health: {file: [{file: f}]}}"),
        ("", &[("REGISTRY_HEALTH_HTTPCHECKERS_0_URI", "u")], "{health: {http: [{uri: u}]}}"),
        ("", &[("REGISTRY_HEALTH_TCPCHECKERS_0_ADDR", "a")], "{health: {tcp: [{addr: a}]}}"),
        ("", &[("REGISTRY_LOG_HOOKS_0_MAILOPTIONS_FROM", "f")], "{log: {hooks: [{options: {from: f}}]}}"),
        ("", &[("REGISTRY_REDIS_OPTIONS_ADDRS", "[a]")], "{redis: {addrs: [a]}}"),
        ("", &[("REGISTRY_REDIS_ADDRS_0", "a")], "{redis: {addrs: [a]}}"),
        // Sections without a value in the file, and levels that are missing.
        ("proxy:", &[("REGISTRY_PROXY_EXEC_COMMAND", "c")], "{proxy: {exec: {command: c}}}"),
        // Not for us.
        ("a: b", &[("REGISTRY_AUTH_FILE", "/run/user/0/auth.json")], "{a: b}"),
        ("a: b", &[("REGISTRY_PORT", "tcp://x"), ("REGISTRY_SERVICE_HOST", "x"), ("REGISTRYX", "y")], "{a: b}"),
    ];
    for (text, variables, expected) in cases {
        let (tree, warnings) = laid_over(text, variables);
        assert_eq!((tree.as_str(), warnings.as_slice()), (*expected, [].as_slice()), "{variables:?} over {text}");
    }
}

#[test]
fn a_driver_by_name_says_what_it_takes_away() {
    let text = "storage: {filesystem: , delete: {enabled: true}, cache: {blobdescriptor: inmemory}}";
    let (tree, warnings) = laid_over(text, &[("REGISTRY_STORAGE", "filesystem")]);
    assert_eq!(tree, "{storage: {filesystem: }}");
    let expected = "environment variable REGISTRY_STORAGE: storage: replaces the whole section, so what the file says of \
                    delete and cache is lost";
    assert_eq!(warnings, [expected]);
}

#[test]
fn a_wrong_key_below_a_known_one_is_a_warning() {
    let (tree, warnings) = laid_over("storage: {filesystem: }", &[("REGISTRY_STORAGE_FILESYSTEM_ROOT", "/d")]);
    assert_eq!(tree, "{storage: {filesystem: }}");
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.ends_with("did you mean REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY?"), "{warning}");
}

#[test]
fn every_key_has_a_variable_that_reaches_it() {
    for (path, name) in shape::paths().iter().zip(shape::variables()) {
        let parts: Vec<&str> = name.strip_prefix(PREFIX).unwrap().split('_').collect();
        let (steps, _) = resolve(&ROOT, None, &parts).unwrap_or_else(|| panic!("{name} reaches nothing"));
        assert_eq!(path_of(&steps), path.replace("[]", "[0]"), "{name}");
    }
}
