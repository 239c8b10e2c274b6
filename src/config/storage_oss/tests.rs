//! `storage.oss` as people write it; what is wrong with it is in `tests/data/config/bad.txt`.

use crate::config::{Warning, from_text};
use crate::storage::DriverConfig;
use crate::storage::driver::oss::{Address, Config, Credentials, Encryption, Network, Scheme, Secret, Signature};

const LAIN: &str = include_str!("../../../tests/data/config/real/lain-oss.yml");

fn load(text: &str, variables: &[(&str, &str)]) -> (Config, Vec<Warning>) {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let (config, warnings) = from_text(text, "config.yml", variables).unwrap_or_else(|error| panic!("{error}"));
    match config.storage.driver {
        DriverConfig::Oss(config) => (*config, warnings),
        other => panic!("{other:?}"),
    }
}

fn document(keys: &str) -> String {
    format!("version: 0.1\nhttp: {{addr: ':1', secret: 12345678}}\nstorage: {{oss: {{bucket: b, {keys}}}}}\n")
}

fn oss(keys: &str) -> Config {
    let (config, warnings) = load(&document(keys), &[]);
    assert_eq!(warnings, [], "{keys}");
    config
}

fn warning(keys: &str) -> String {
    let (_, warnings) = load(&document(keys), &[]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings[0].to_string()
}

fn at(endpoint: &str) -> Address {
    Address::parse(endpoint, "b", Scheme::Secure).unwrap()
}

#[test]
fn the_configuration_of_lain_loads_unchanged() {
    let (config, warnings) = load(LAIN, &[]);
    assert_eq!(warnings.len(), 1, "its remark in place of a host is told: {warnings:?}");
    assert!(warnings[0].to_string().contains("storage.oss.internal: is neither true nor false nor a host"));
    let keys = Credentials::Given {
        access_key_id: "ABCDEFGHIJ0123456789".to_owned(),
        access_key_secret: Secret::new("AB12C3dE4fGhIvmMB4TZrpypR0rOJ2G5WhGUPn9L"),
        security_token: None,
    };
    assert_eq!((config.credentials, config.encryption), (keys, Encryption::BucketDefault));
    assert_eq!((config.bucket.as_str(), config.region.as_str()), ("test", "cn-beijing"));
    assert_eq!(config.address, Address::parse("http://s3.domain.svc", "test", Scheme::Secure).unwrap());
    assert_eq!((config.part_size, config.root_directory.as_str()), (5 << 20, "registry"));
}

#[test]
fn strings_native_values_and_variables_mean_the_same() {
    let native = oss("region: r, secure: false, internal: true, encrypt: true, chunksize: 6291456");
    let strings = oss("region: oss-r, secure: 'false', internal: 'true', encrypt: 'true', chunksize: '6MiB'");
    let variables = [
        ("REGISTRY_STORAGE_OSS_REGION", "oss-r"),
        ("REGISTRY_STORAGE_OSS_SECURE", "false"),
        ("REGISTRY_STORAGE_OSS_INTERNAL", "true"),
        ("REGISTRY_STORAGE_OSS_ENCRYPT", "true"),
        ("REGISTRY_STORAGE_OSS_CHUNKSIZE", "6291456"),
    ];
    let (by_variables, _) = load(&document(""), &variables);
    assert_eq!(format!("{native:?}"), format!("{strings:?}"));
    assert_eq!(format!("{native:?}"), format!("{by_variables:?}"));
    assert_eq!((native.part_size, native.encryption), (6 << 20, Encryption::StoreKey));
    assert_eq!(native.address, Address::of_region("r", Network::Internal, "b", Scheme::Plain));
}

#[test]
fn requests_and_clients_go_where_the_keys_say() {
    let public = Address::of_region("r", Network::Public, "b", Scheme::Secure);
    let inside = Address::of_region("r", Network::Internal, "b", Scheme::Secure);
    let cases = [
        ("region: r", public.clone(), public.clone()),
        ("region: r, internal: yes", inside.clone(), public.clone()),
        ("region: r, internal: oss-r-internal.aliyuncs.com", inside.clone(), public.clone()),
        ("region: r, internal: 10.0.0.1, endpoint: files.example.org", at("10.0.0.1"), at("files.example.org")),
        ("endpoint: 'https://b.oss-r-internal.aliyuncs.com'", inside.clone(), public.clone()),
        ("region: r, internal: true, endpoint: files.example.org", at("files.example.org"), at("files.example.org")),
        ("region: r, internal: true, redirectendpoint: 'http://cdn.org/'", inside, at("http://cdn.org")),
    ];
    for (keys, requests, clients) in cases {
        let config = oss(keys);
        assert_eq!((config.address, config.public_address, config.region.as_str()), (requests, clients, "r"), "{keys}");
    }
}

#[test]
fn nothing_is_sent_that_was_not_asked_for() {
    let config = oss("region: r");
    assert_eq!((config.encryption, config.credentials), (Encryption::BucketDefault, Credentials::Found));
    assert_eq!((config.signature, config.root_directory.as_str()), (Signature::V4, ""));
    let config = oss("region: r, encrypt: true, encryptionkeyid: k, signatureversion: V4");
    assert_eq!(config.encryption, Encryption::ManagedKey("k".into()));
}

#[test]
fn what_is_doubtful_is_said() {
    assert!(warning("region: r, signatureversion: v1").contains("since September 2025 refuse v1"));
    assert!(warning("region: r, encryptionkeyid: k").contains("has no effect without encrypt"));
}

#[test]
fn secrets_are_not_printed() {
    let config = oss("region: r, accesskeyid: name, accesskeysecret: hush, securitytoken: hushhush");
    assert!(!format!("{config:?}").contains("hush"));
}
