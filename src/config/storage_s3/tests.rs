//! `storage.s3` as people write it; what is wrong with it is in `tests/data/config/bad.txt`.

use crate::config::{Warning, from_text};
use crate::storage::DriverConfig;
use crate::storage::driver::s3::{
    Addressing, Certificates, Config, Credentials, Encryption, EndpointVariant, RequestLog, Secret,
};

const LAIN: &str = include_str!("../../../tests/data/config/real/lain-s3.yml");

fn load(text: &str, variables: &[(&str, &str)]) -> (Config, Vec<Warning>) {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let (config, warnings) = from_text(text, "config.yml", variables).unwrap_or_else(|error| panic!("{error}"));
    match config.storage.driver {
        DriverConfig::S3(config) => (*config, warnings),
        other => panic!("{other:?}"),
    }
}

fn s3(keys: &str) -> Config {
    let (config, warnings) = load(&document(keys), &[]);
    assert_eq!(warnings, [], "{keys}");
    config
}

fn document(keys: &str) -> String {
    format!("version: 0.1\nhttp: {{addr: ':1', secret: 12345678}}\nstorage: {{s3: {{bucket: b, {keys}}}}}\n")
}

fn warning(keys: &str) -> String {
    let (_, warnings) = load(&document(keys), &[]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings[0].to_string()
}

#[test]
fn the_configuration_of_lain_loads_unchanged() {
    let (config, warnings) = load(LAIN, &[]);
    assert_eq!(warnings, []);
    let keys = Credentials::Given {
        access_key: "ABCDEFGHIJ0123456789".to_owned(),
        secret_key: Secret::new("AB12C3dE4fGhIvmMB4TZrpypR0rOJ2G5WhGUPn9L"),
        session_token: None,
    };
    assert_eq!(config.credentials, keys);
    assert_eq!((config.bucket.as_str(), config.region.as_str()), ("test", "us-west-1"));
    assert_eq!(config.endpoint.as_deref(), Some("http://s3.domain.svc"), "a scheme that is written counts");
    assert_eq!((config.part_size, config.root_directory.as_str()), (5 << 20, "registry"));
    assert_eq!(config.addressing, Addressing::Path);
}

#[test]
fn strings_native_values_and_variables_mean_the_same() {
    let native =
        s3("region: r, secure: false, forcepathstyle: true, chunksize: 6291456, multipartcopymaxconcurrency: 7");
    let strings = s3("region: r, secure: 'false', forcepathstyle: 'true', chunksize: '6291456', \
                      multipartcopymaxconcurrency: '7'");
    let variables = [
        ("REGISTRY_STORAGE_S3_REGION", "r"),
        ("REGISTRY_STORAGE_S3_SECURE", "false"),
        ("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", "true"),
        ("REGISTRY_STORAGE_S3_CHUNKSIZE", "6291456"),
        ("REGISTRY_STORAGE_S3_MULTIPARTCOPYMAXCONCURRENCY", "7"),
    ];
    let (by_variables, _) = load(&document(""), &variables);
    assert_eq!(format!("{native:?}"), format!("{strings:?}"));
    assert_eq!(format!("{native:?}"), format!("{by_variables:?}"));
    assert_eq!((native.part_size, native.copies_at_once), (6 << 20, 7));
    assert_eq!(native.endpoint.as_deref(), Some("http://s3.r.amazonaws.com"));
}

#[test]
fn s3aws_is_another_name() {
    let text = "version: 0.1\nhttp: {addr: ':1', secret: 12345678}\nstorage: {s3aws: {bucket: b, region: r}}\n";
    assert_eq!(load(text, &[]).0.bucket, "b");
}

#[test]
fn addresses_are_taken_in_every_form() {
    let cases = [
        ("regionendpoint: store", "https://store", Addressing::Path),
        ("regionendpoint: 'store:9000', secure: no", "http://store:9000", Addressing::Path),
        ("regionendpoint: 'https://store:9000/', secure: no", "https://store:9000", Addressing::Path),
        ("regionendpoint: '[::1]:9000'", "https://[::1]:9000", Addressing::Path),
        ("regionendpoint: store, forcepathstyle: false", "https://store", Addressing::VirtualHost),
        (
            "regionendpoint: s3.oss-cn-beijing.aliyuncs.com",
            "https://s3.oss-cn-beijing.aliyuncs.com",
            Addressing::VirtualHost,
        ),
        ("regionendpoint: s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com", Addressing::VirtualHost),
    ];
    for (keys, endpoint, addressing) in cases {
        let config = s3(keys);
        assert_eq!((config.endpoint.as_deref(), config.addressing), (Some(endpoint), addressing), "{keys}");
    }
    assert_eq!(s3("region: r").endpoint, None);
    assert_eq!(s3("region: r, redirectendpoint: 'https://cdn:1/'").redirect_endpoint.as_deref(), Some("https://cdn:1"));
}

#[test]
fn nothing_is_sent_that_was_not_asked_for() {
    let config = s3("region: r");
    assert_eq!((config.storage_class, config.acl, config.user_agent), (None, None, None));
    assert_eq!((config.encryption, config.credentials), (Encryption::BucketDefault, Credentials::Found));
    assert_eq!((config.certificates, config.request_log), (Certificates::Verified, RequestLog::Off));
    let config =
        s3("region: r, storageclass: none, objectacl: bucket-owner-full-control, encrypt: true, loglevel: Debug");
    assert_eq!((config.storage_class, config.acl.as_deref()), (None, Some("bucket-owner-full-control")));
    assert_eq!((config.encryption, config.request_log), (Encryption::StoreKey, RequestLog::On));
    let config =
        s3("region: r, storageclass: standard_ia, encrypt: true, keyid: k, usedualstack: true, usefipsendpoint: true");
    assert_eq!(
        (config.storage_class.as_deref(), config.encryption),
        (Some("STANDARD_IA"), Encryption::ManagedKey("k".into()))
    );
    assert_eq!(config.variants, [EndpointVariant::DualStack, EndpointVariant::Fips]);
}

#[test]
fn what_means_something_else_here_is_said() {
    assert!(warning("region: r, v4auth: 'false'").contains("storage.s3.v4auth: requests are signed with version 4"));
    assert!(warning("region: r, skipverify: true").contains("whoever stands between"));
    assert!(warning("region: r, keyid: k").contains("storage.s3.keyid: has no effect without encrypt"));
    assert!(warning("region: r, multipartcopychunksize: '33554432'").contains("has no effect"));
}

#[test]
fn secrets_are_not_printed() {
    let config = s3("region: r, accesskey: name, secretkey: hush, sessiontoken: hushhush");
    assert!(!format!("{config:?}").contains("hush"));
}
