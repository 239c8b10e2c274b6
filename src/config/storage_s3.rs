//! `storage.s3`, with the keys of distribution 2.8 and 3.x and their meanings.
//!
//! Where distribution always sends a header that the store would assume anyway (`objectacl: private`, `storageclass:
//! STANDARD`), nothing is sent unless the key is written: stores differ in which of them they refuse.

use crate::storage::DriverConfig;
use crate::storage::driver::s3::{
    Addressing, Certificates, Config, Credentials, Encryption, EndpointVariant, RequestLog, Secret,
};

use super::document::is_on;
use super::section::{Field, Section};

/// The classes that Amazon has; `NONE` is distribution's word for leaving it to the bucket.
const CLASSES: [&str; 9] = [
    "NONE",
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "OUTPOSTS",
    "GLACIER_IR",
    "EXPRESS_ONEZONE",
];

/// The canned access control lists.
const ACLS: [&str; 7] = [
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
];

/// distribution's levels; they differ in how much of a request they show, which here is the same for all of them.
const LOG_LEVELS: [(&str, RequestLog); 8] = [
    ("", RequestLog::Off),
    ("off", RequestLog::Off),
    ("debug", RequestLog::On),
    ("debugwithsigning", RequestLog::On),
    ("debugwithhttpbody", RequestLog::On),
    ("debugwithrequestretries", RequestLog::On),
    ("debugwithrequesterrors", RequestLog::On),
    ("debugwitheventstreambody", RequestLog::On),
];

/// Reads the section. What is missing from it or wrong has been reported; the rest is read nevertheless, to report it too.
pub(super) fn read(section: Section<'_>) -> DriverConfig {
    let secure = section.get("secure", Field::boolean).unwrap_or(true);
    let endpoint = section.get("regionendpoint", |field| address(field, secure));
    let region = region(&section);
    let defaults = Config::new(bucket(&section).unwrap_or_default());
    unsupported(&section);
    let config = Config {
        addressing: addressing(&section, endpoint.as_deref()),
        variants: variants(&section),
        credentials: credentials(&section),
        certificates: certificates(&section),
        encryption: encryption(&section),
        redirect_endpoint: section.get("redirectendpoint", redirect_endpoint),
        part_size: section.get("chunksize", part_size).unwrap_or(defaults.part_size),
        largest_copy: section
            .get("multipartcopythresholdsize", |field| field.bytes(0..=Config::LARGEST_PART))
            .unwrap_or(defaults.largest_copy),
        copies_at_once: section
            .get("multipartcopymaxconcurrency", |field| field.number(1..=1000_i64))
            .and_then(|copies| usize::try_from(copies).ok())
            .unwrap_or(defaults.copies_at_once),
        root_directory: section.get("rootdirectory", root_directory).unwrap_or_default(),
        storage_class: section.get("storageclass", |field| word_of(field, &CLASSES)).filter(|class| class != "NONE"),
        acl: section.get("objectacl", |field| word_of(field, &ACLS)),
        user_agent: section.get("useragent", header_text),
        request_log: section.get("loglevel", |field| field.choice(&LOG_LEVELS)).unwrap_or(RequestLog::Off),
        endpoint: endpoint.or_else(|| (!secure).then(|| format!("http://s3.{region}.amazonaws.com"))),
        region,
        ..defaults
    };
    section.finish();
    DriverConfig::S3(Box::new(config))
}

fn part_size(field: &Field<'_>) -> Option<u64> {
    field.bytes(Config::LEAST_PART..=Config::LARGEST_PART)
}

fn bucket(section: &Section<'_>) -> Option<String> {
    let Some(field) = section.field("bucket").filter(|field| field.word().is_some()) else {
        section.problem("bucket", "is missing", "name the bucket that holds the content; it must exist");
        return None;
    };
    let name = field.word()?;
    if name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
        return field.expected("a bucket's name", "a prefix within the bucket is rootdirectory's");
    }
    Some(name)
}

/// Any name is fine, because stores that are not Amazon's choose their own and Amazon goes on choosing new ones.
fn region(section: &Section<'_>) -> String {
    let region = section.get("region", Field::word);
    if region.is_none() && section.get("regionendpoint", Field::word).is_none() {
        section.problem("region", "is missing", "write the bucket's region, such as eu-central-1, or a regionendpoint");
    }
    region.unwrap_or_else(|| "us-east-1".to_owned())
}

/// distribution 2.8 addresses by path whenever there is an endpoint, 3.x never by itself; of the stores that are not
/// Amazon's nearly all want it, and Alibaba's refuses it.
fn addressing(section: &Section<'_>, endpoint: Option<&str>) -> Addressing {
    match section.get("forcepathstyle", Field::boolean) {
        Some(true) => return Addressing::Path,
        Some(false) => return Addressing::VirtualHost,
        None => {}
    }
    let host = endpoint.and_then(|url| url.split_once("://")).map_or("", |(_, rest)| rest);
    let name = host.split(['/', ':']).next().unwrap_or_default();
    match name {
        "" => Addressing::VirtualHost,
        name if name.ends_with(".amazonaws.com") || name.ends_with(".aliyuncs.com") => Addressing::VirtualHost,
        _ => Addressing::Path,
    }
}

fn variants(section: &Section<'_>) -> Vec<EndpointVariant> {
    let known = [
        ("usedualstack", EndpointVariant::DualStack),
        ("accelerate", EndpointVariant::Accelerate),
        ("usefipsendpoint", EndpointVariant::Fips),
    ];
    let elsewhere = section.get("regionendpoint", Field::word).is_some();
    let mut variants = Vec::new();
    for (key, variant) in known {
        if !is_on(Some(section), key) {
            continue;
        }
        if elsewhere {
            section.problem(
                key,
                "chooses among Amazon's endpoints, and regionendpoint names another",
                "keep one of them",
            );
        }
        variants.push(variant);
    }
    variants
}

fn credentials(section: &Section<'_>) -> Credentials {
    let access_key = section.get("accesskey", Field::word);
    let secret_key = section.get("secretkey", Field::word).map(Secret::new);
    let session_token = section.get("sessiontoken", Field::word).map(Secret::new);
    match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => Credentials::Given { access_key, secret_key, session_token },
        (Some(_), None) => {
            section.problem("accesskey", "is set without a secretkey", BOTH_OR_NEITHER);
            Credentials::Found
        }
        (None, Some(_)) => {
            section.problem("secretkey", "is set without an accesskey", BOTH_OR_NEITHER);
            Credentials::Found
        }
        (None, None) => {
            if session_token.is_some() {
                section.problem("sessiontoken", "is set without accesskey and secretkey", BOTH_OR_NEITHER);
            }
            Credentials::Found
        }
    }
}

const BOTH_OR_NEITHER: &str =
    "set accesskey and secretkey, or none of them: then the environment, a shared file or the machine's role is used";

fn certificates(section: &Section<'_>) -> Certificates {
    if !is_on(Some(section), "skipverify") {
        return Certificates::Verified;
    }
    section.warn(
        "skipverify",
        "the store need not prove who it is: whoever stands between can read and change all content; rather add the \
         store's authority to this machine's certificates",
    );
    Certificates::Unverified
}

fn encryption(section: &Section<'_>) -> Encryption {
    let key = section.get("keyid", Field::word);
    match (is_on(Some(section), "encrypt"), key) {
        (true, Some(key)) => Encryption::ManagedKey(key),
        (true, None) => Encryption::StoreKey,
        (false, Some(_)) => {
            section.warn("keyid", "has no effect without encrypt: true");
            Encryption::BucketDefault
        }
        (false, None) => Encryption::BucketDefault,
    }
}

/// What is accepted for distribution's sake and has nothing to choose here.
fn unsupported(section: &Section<'_>) {
    if section.get("v4auth", Field::boolean) == Some(false) {
        section.warn("v4auth", "requests are signed with version 4 nevertheless; version 2 is not spoken here");
    }
    let pieces = section.get("multipartcopychunksize", part_size);
    if pieces.is_some() {
        section
            .warn("multipartcopychunksize", "has no effect: what is copied has the size it was uploaded in, chunksize");
    }
}

/// A URL, or a host with or without a port, for which `secure` chooses the scheme.
fn address(field: &Field<'_>, secure: bool) -> Option<String> {
    let text = field.word()?;
    let given = text.trim_end_matches('/');
    let url = match given.split_once("://") {
        Some(_) => given.to_owned(),
        None if secure => format!("https://{given}"),
        None => format!("http://{given}"),
    };
    if is_address(&url) { Some(url) } else { field.expected(URL, "write for example https://s3.example.org") }
}

fn redirect_endpoint(field: &Field<'_>) -> Option<String> {
    let url = field.word()?;
    let url = url.trim_end_matches('/');
    let host_only = url.split_once("://").is_some_and(|(_, host)| !host.contains('/'));
    if host_only && is_address(url) {
        Some(url.to_owned())
    } else {
        field.expected("a scheme and a host, without a path", "write for example https://s3.example.org")
    }
}

const URL: &str = "a host, or a URL with http or https";

fn is_address(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let plain = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@') && !uri.host().unwrap_or_default().is_empty());
    matches!(uri.scheme_str(), Some("http" | "https")) && plain && uri.query().is_none()
}

/// Slashes at its ends mean nothing, as in distribution.
fn root_directory(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.chars().any(char::is_control) {
        return field.expected("a prefix of keys", "write for example registry, or leave the key out");
    }
    Some(text.trim_matches('/').to_owned())
}

fn header_text(field: &Field<'_>) -> Option<String> {
    let text = field.word()?;
    match http::HeaderValue::from_str(&text) {
        Ok(_) => Some(text),
        Err(_) => field.expected("text of one line", "leave the key out for its default"),
    }
}

/// One of a few words in the form the store wants it.
fn word_of(field: &Field<'_>, words: &'static [&'static str]) -> Option<String> {
    field.word()?;
    let choices: Vec<(&str, &'static str)> = words.iter().map(|word| (*word, *word)).collect();
    field.choice(&choices).map(str::to_owned)
}

#[cfg(test)]
mod tests;
