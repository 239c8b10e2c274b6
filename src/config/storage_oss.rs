//! `storage.oss`, with the keys of distribution 2.8 and their meanings, and four that it did not have: `securitytoken`,
//! `redirectendpoint`, `signatureversion` and `encryptionkeyid`.

use std::fmt::Display;

use crate::storage::DriverConfig;
use crate::storage::driver::oss::{
    Address, Config, Credentials, Encryption, Network, Scheme, Secret, Signature, Unfit, region_of,
};

use super::document::is_on;
use super::scalar;
use super::section::{Field, Section};

const BOTH_OR_NEITHER: &str = "set accesskeyid and accesskeysecret, or none of them: then the environment or the machine's \
                               role is used";

/// Reads the section. What is missing from it or wrong has been reported; the rest is read nevertheless, to report it too.
pub(super) fn read(section: Section<'_>) -> DriverConfig {
    let bucket = bucket(&section).unwrap_or_default();
    let scheme = match section.get("secure", Field::boolean) {
        Some(false) => Scheme::Plain,
        _ => Scheme::Secure,
    };
    let region = region(&section);
    let (address, public) = addresses(&section, &region, &bucket, scheme);
    let redirect = section.get("redirectendpoint", |field| endpoint(field, &bucket, scheme));
    let defaults = Config::new(bucket, region, address);
    let config = Config {
        public_address: redirect.or(public).unwrap_or_else(|| defaults.public_address.clone()),
        signature: section.get("signatureversion", signature).unwrap_or(defaults.signature),
        credentials: credentials(&section),
        encryption: encryption(&section),
        part_size: section.get("chunksize", part_size).unwrap_or(defaults.part_size),
        root_directory: section.get("rootdirectory", root_directory).unwrap_or_default(),
        ..defaults
    };
    section.finish();
    DriverConfig::Oss(Box::new(config))
}

/// In lower case, as distribution takes it.
fn bucket(section: &Section<'_>) -> Option<String> {
    let Some(field) = section.field("bucket").filter(|field| field.word().is_some()) else {
        section.problem("bucket", "is missing", "name the bucket that holds the content; it must exist");
        return None;
    };
    let name = field.word()?.to_ascii_lowercase();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.chars().all(fits) {
        return Some(name);
    }
    field.expected(
        "a bucket's name",
        "it has letters, digits and hyphens; a prefix within the bucket is rootdirectory's",
    )
}

/// Any name is fine, because new regions come; one that an endpoint tells need not be written.
fn region(section: &Section<'_>) -> String {
    let given = section.get("region", Field::word).map(|region| {
        let region = region.strip_prefix("oss-").unwrap_or(&region);
        region.strip_suffix("-internal").unwrap_or(region).to_owned()
    });
    let told = || section.get("endpoint", Field::word).as_deref().and_then(region_of);
    given.or_else(told).unwrap_or_else(|| {
        section.problem("region", "is missing", "write the bucket's region, such as oss-cn-hangzhou");
        String::new()
    })
}

/// Where requests go and, when that was said in so many words, where clients go.
fn addresses(section: &Section<'_>, region: &str, bucket: &str, scheme: Scheme) -> (Address, Option<Address>) {
    let given = section.get("endpoint", |field| endpoint(field, bucket, scheme));
    let by_region = |network| Address::of_region(region, network, bucket, scheme);
    match section.get("internal", |field| internal(field, bucket, scheme)) {
        // An endpoint that is written counts, as in distribution.
        Some(Internal::Region) => (given.unwrap_or_else(|| by_region(Network::Internal)), None),
        Some(Internal::Host(inside)) => (inside, Some(given.unwrap_or_else(|| by_region(Network::Public)))),
        None => (given.unwrap_or_else(|| by_region(Network::Public)), None),
    }
}

enum Internal {
    Region,
    Host(Address),
}

/// True or false, or the host inside. Some examples have a remark in its place, which never meant anything.
fn internal(field: &Field<'_>, bucket: &str, scheme: Scheme) -> Option<Internal> {
    let text = field.word()?;
    match scalar::boolean(text.trim()) {
        Some(true) => return Some(Internal::Region),
        Some(false) => return None,
        None => {}
    }
    match Address::parse(&text, bucket, scheme) {
        Ok(address) if text.contains('.') => Some(Internal::Host(address)),
        _ => {
            field.warn("is neither true nor false nor a host, so requests go to the endpoint or the public one");
            None
        }
    }
}

fn endpoint(field: &Field<'_>, bucket: &str, scheme: Scheme) -> Option<Address> {
    let text = field.word()?;
    let wrong = |what: &dyn Display| {
        field.expected(
            format_args!("a host, or http:// or https:// and a host ({what})"),
            "write for example oss-cn-hangzhou.aliyuncs.com",
        )
    };
    match Address::parse(&text, bucket, scheme) {
        Ok(address) => Some(address),
        Err(unfit @ (Unfit::Scheme | Unfit::Path | Unfit::Host)) => wrong(&unfit),
    }
}

fn signature(field: &Field<'_>) -> Option<Signature> {
    let signature =
        field.choice(&[("v4", Signature::V4), ("v1", Signature::V1), ("4", Signature::V4), ("1", Signature::V1)])?;
    if signature == Signature::V1 {
        field.warn("accounts made since March 2025 and buckets made since September 2025 refuse v1");
    }
    Some(signature)
}

fn credentials(section: &Section<'_>) -> Credentials {
    let id = section.get("accesskeyid", Field::word);
    let secret = section.get("accesskeysecret", Field::word).map(Secret::new);
    let security_token = section.get("securitytoken", Field::word).map(Secret::new);
    let wrong = match (id, secret) {
        (Some(access_key_id), Some(access_key_secret)) => {
            return Credentials::Given { access_key_id, access_key_secret, security_token };
        }
        (Some(_), None) => Some(("accesskeyid", "is set without an accesskeysecret")),
        (None, Some(_)) => Some(("accesskeysecret", "is set without an accesskeyid")),
        (None, None) => security_token.map(|_| ("securitytoken", "is set without accesskeyid and accesskeysecret")),
    };
    if let Some((key, message)) = wrong {
        section.problem(key, message, BOTH_OR_NEITHER);
    }
    Credentials::Found
}

fn encryption(section: &Section<'_>) -> Encryption {
    let key = section.get("encryptionkeyid", Field::word);
    match (is_on(Some(section), "encrypt"), key) {
        (true, Some(key)) => Encryption::ManagedKey(key),
        (true, None) => Encryption::StoreKey,
        (false, Some(_)) => {
            section.warn("encryptionkeyid", "has no effect without encrypt: true");
            Encryption::BucketDefault
        }
        (false, None) => Encryption::BucketDefault,
    }
}

fn part_size(field: &Field<'_>) -> Option<u64> {
    field.bytes(Config::LEAST_PART..=Config::LARGEST_PART)
}

/// Slashes at its ends mean nothing, as in distribution.
fn root_directory(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.chars().any(char::is_control) {
        return field.expected("a prefix of keys", "write for example registry, or leave the key out");
    }
    Some(text.trim_matches('/').to_owned())
}

#[cfg(test)]
mod tests;
