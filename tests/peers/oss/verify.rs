//! Verifies signatures: versions 4 and 1, in headers and in addresses. Nothing unsigned gets past.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use super::OssOptions;
use super::answer::Answer;
use super::request::{Asked, encoded};

/// How far clocks may be apart.
const SKEW: Duration = Duration::minutes(15);

/// Every parameter that version 1 signs.
const SIGNED_BY_1: &str = " acl append bucketInfo callback callback-var cname cloudboxes comp continuation-token cors \
    delete encryption endTime group img inventory inventoryId lifecycle link live location logging \
    metaQuery objectMeta partNumber policy position qos qosInfo queryPrefix referer regionList replication requestPayment \
    requesterQosInfo resourceGroup response-cache-control response-content-disposition response-content-encoding \
    response-content-language response-content-type response-expires restore security-token sequential startTime stat \
    status style styleName symlink tagging transferAcceleration udf uploadId uploads versionId versioning versions \
    vod website worm wormExtend wormId x-oss-ac-forward-allow x-oss-ac-source-ip x-oss-ac-subnet-mask x-oss-ac-vpc-id \
    x-oss-enable-md5 x-oss-enable-sha1 x-oss-enable-sha256 x-oss-hash-ctx x-oss-md5-ctx x-oss-process \
    x-oss-request-payer x-oss-traffic-limit ";

type Verdict = Result<(), Answer>;

/// Lets `asked` pass or says why not.
pub(super) fn verify(asked: &Asked, options: &OssOptions) -> Verdict {
    let header = asked.header("authorization");
    if let Some(rest) = header.and_then(|text| text.strip_prefix("OSS4-HMAC-SHA256 ")) {
        return v4_in_header(asked, rest, options);
    }
    if let Some(rest) = header.and_then(|text| text.strip_prefix("OSS ")) {
        return v1_in_header(asked, rest, options);
    }
    if header.is_some() {
        return Err(Answer::refused(400, "InvalidArgument", "Authorization header is invalid."));
    }
    if let Some(version) = asked.parameter("x-oss-signature-version") {
        if version != "OSS4-HMAC-SHA256" {
            return Err(Answer::refused(400, "InvalidArgument", "x-oss-signature-version is invalid."));
        }
        return v4_in_address(asked, options);
    }
    if asked.parameter("OSSAccessKeyId").is_some() {
        return v1_in_address(asked, options);
    }
    Err(denied("Anonymous access is forbidden for this operation."))
}

fn v4_in_header(asked: &Asked, authorization: &str, options: &OssOptions) -> Verdict {
    let mut fields = [("Credential", None), ("AdditionalHeaders", None), ("Signature", None)];
    for part in authorization.split(',') {
        let (name, value) = part.trim().split_once('=').ok_or_else(|| malformed("Authorization"))?;
        let field = fields.iter_mut().find(|(known, _)| *known == name).ok_or_else(|| malformed("Authorization"))?;
        field.1 = Some(value);
    }
    let [(_, credential), (_, additional), (_, signature)] = fields;
    let (Some(credential), Some(signature)) = (credential, signature) else { return Err(malformed("Authorization")) };
    let date = asked.header("x-oss-date").ok_or_else(|| malformed("x-oss-date"))?;
    let time = basic_time(date).ok_or_else(|| malformed("x-oss-date"))?;
    if asked.header("x-oss-content-sha256") != Some("UNSIGNED-PAYLOAD") {
        return Err(malformed("x-oss-content-sha256"));
    }
    known_key(credential.split('/').next().unwrap_or_default(), options)?;
    near(time)?;
    token(asked.header("x-oss-security-token"), options)?;
    let additional = additional_names(additional)?;
    v4(asked, &V4 { credential, date, additional, signature }, options)
}

fn v4_in_address(asked: &Asked, options: &OssOptions) -> Verdict {
    let need = |name: &str| asked.parameter(name).ok_or_else(|| malformed(name));
    let (credential, date) = (need("x-oss-credential")?, need("x-oss-date")?);
    let (expires, signature) = (need("x-oss-expires")?, need("x-oss-signature")?);
    let time = basic_time(date).ok_or_else(|| malformed("x-oss-date"))?;
    let seconds: i64 = expires.parse().map_err(|_| malformed("x-oss-expires"))?;
    if !(1..=604_800).contains(&seconds) {
        return Err(malformed("x-oss-expires"));
    }
    known_key(credential.split('/').next().unwrap_or_default(), options)?;
    let now = OffsetDateTime::now_utc();
    if time > now + SKEW {
        return Err(denied("Request is not valid yet."));
    }
    if now > time + Duration::seconds(seconds) {
        return Err(denied("Request has expired."));
    }
    token(asked.parameter("x-oss-security-token"), options)?;
    let additional = additional_names(asked.parameter("x-oss-additional-headers"))?;
    v4(asked, &V4 { credential, date, additional, signature }, options)
}

/// What a signature of version 4 claims.
struct V4<'a> {
    credential: &'a str,
    date: &'a str,
    additional: Vec<String>,
    signature: &'a str,
}

fn v4(asked: &Asked, claim: &V4<'_>, options: &OssOptions) -> Verdict {
    let scope: Vec<&str> = claim.credential.split('/').collect();
    let [_, day, region, product, terminator] = scope[..] else { return Err(malformed("Credential")) };
    if region != options.region {
        let message = format!("Invalid signing region in Authorization header: expected {}.", options.region);
        return Err(Answer::refused(400, "InvalidArgument", &message));
    }
    if product != "oss" || terminator != "aliyun_v4_request" || !claim.date.starts_with(day) {
        return Err(malformed("Credential"));
    }
    let canonical = v4_canonical(asked, &claim.additional);
    let hash = hex::encode(Sha256::digest(canonical.as_bytes()));
    let to_sign = ["OSS4-HMAC-SHA256", claim.date, &[day, region, product, terminator].join("/"), &hash].join("\n");
    let mut key = format!("aliyun_v4{}", options.access_key_secret).into_bytes();
    for step in [day, region, product, terminator, &to_sign] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any key will do");
        mac.update(step.as_bytes());
        key = mac.finalize().into_bytes().to_vec();
    }
    same(&hex::encode(key), claim.signature, &canonical)
}

fn v4_canonical(asked: &Asked, additional: &[String]) -> String {
    let path = if asked.bucket.is_empty() { "/".to_owned() } else { format!("/{}/{}", asked.bucket, asked.key) };
    let mut query: Vec<String> = Vec::new();
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, value) in &asked.query {
        if name != "x-oss-signature" {
            pairs.push((encoded(name, ""), encoded(value, "")));
        }
    }
    pairs.sort();
    for (name, value) in pairs {
        query.push(if value.is_empty() { name } else { name + "=" + &value });
    }
    let mut headers: Vec<String> = Vec::new();
    for (name, value) in &asked.headers {
        let name = name.as_str();
        let always = name == "content-type" || name == "content-md5" || name.starts_with("x-oss-");
        if always || additional.iter().any(|other| other == name) {
            headers.push(format!("{name}:{}\n", value.to_str().unwrap_or_default().trim()));
        }
    }
    // By name alone: a colon sorts before letters and after a hyphen.
    headers.sort_by(|one, other| one.split(':').next().cmp(&other.split(':').next()));
    let fields = [
        asked.method.clone(),
        encoded(&path, "/"),
        query.join("&"),
        headers.concat(),
        additional.join(";"),
        asked.header("x-oss-content-sha256").unwrap_or("UNSIGNED-PAYLOAD").to_owned(),
    ];
    fields.join("\n")
}

fn v1_in_header(asked: &Asked, authorization: &str, options: &OssOptions) -> Verdict {
    let (id, signature) = authorization.split_once(':').ok_or_else(|| malformed("Authorization"))?;
    known_key(id, options)?;
    let date = asked.header("x-oss-date").or_else(|| asked.header("date")).ok_or_else(|| malformed("Date"))?;
    let time = OffsetDateTime::parse(date, &Rfc2822).map_err(|_| malformed("Date"))?;
    near(time)?;
    // One of the client libraries leaves the prefix away.
    token(asked.header("x-oss-security-token").or_else(|| asked.header("security-token")), options)?;
    v1(asked, date, signature, options)
}

fn v1_in_address(asked: &Asked, options: &OssOptions) -> Verdict {
    let need = |name: &str| asked.parameter(name).ok_or_else(|| malformed(name));
    let (expires, signature) = (need("Expires")?, need("Signature")?);
    known_key(need("OSSAccessKeyId")?, options)?;
    let second: i64 = expires.parse().map_err(|_| malformed("Expires"))?;
    if OffsetDateTime::now_utc().unix_timestamp() > second {
        return Err(denied("Request has expired."));
    }
    token(asked.parameter("security-token"), options)?;
    v1(asked, expires, signature, options)
}

fn v1(asked: &Asked, date: &str, signature: &str, options: &OssOptions) -> Verdict {
    let plain = |name| asked.header(name).unwrap_or_default().to_owned();
    let mut lines = vec![asked.method.clone(), plain("content-md5"), plain("content-type"), date.to_owned()];
    let mut names: Vec<&str> =
        asked.headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-oss-")).collect();
    names.sort_unstable();
    lines.extend(names.iter().map(|name| format!("{name}:{}", plain(name).trim())));
    let mut parameters: Vec<String> = Vec::new();
    for (name, value) in &asked.query {
        if SIGNED_BY_1.contains(&format!(" {name} ")) {
            parameters.push(if value.is_empty() { name.clone() } else { format!("{name}={value}") });
        }
    }
    parameters.sort();
    let mark = if parameters.is_empty() { "" } else { "?" };
    lines.push(format!("/{}/{}{mark}{}", asked.bucket, asked.key, parameters.join("&")));
    let text = lines.join("\n");
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(options.access_key_secret.as_bytes()).expect("any key will do");
    mac.update(text.as_bytes());
    same(&STANDARD.encode(mac.finalize().into_bytes()), signature, &text)
}

fn additional_names(given: Option<&str>) -> Result<Vec<String>, Answer> {
    match given {
        None => Ok(Vec::new()),
        Some("") => Err(malformed("AdditionalHeaders")),
        Some(names) => Ok(names.split(';').map(str::to_owned).collect()),
    }
}

fn known_key(id: &str, options: &OssOptions) -> Verdict {
    if id == options.access_key_id {
        return Ok(());
    }
    let message = "The OSS Access Key Id you provided does not exist in our records.";
    Err(Answer::refused(403, "InvalidAccessKeyId", message))
}

fn token(given: Option<&str>, options: &OssOptions) -> Verdict {
    if given == options.security_token.as_deref() {
        return Ok(());
    }
    Err(Answer::refused(403, "InvalidSecurityToken", "The security token you provided is invalid."))
}

fn near(time: OffsetDateTime) -> Verdict {
    if (OffsetDateTime::now_utc() - time).abs() <= SKEW {
        return Ok(());
    }
    let message = "The difference between the request time and the current time is too large.";
    Err(Answer::refused(403, "RequestTimeTooSkewed", message))
}

fn same(right: &str, given: &str, signed: &str) -> Verdict {
    if right == given {
        return Ok(());
    }
    let message =
        format!("The request signature we calculated does not match the one you provided; signed was {signed:?}.");
    Err(Answer::refused(403, "SignatureDoesNotMatch", &message))
}

fn basic_time(text: &str) -> Option<OffsetDateTime> {
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    PrimitiveDateTime::parse(text, form).ok().map(PrimitiveDateTime::assume_utc)
}

fn malformed(what: &str) -> Answer {
    Answer::refused(400, "InvalidArgument", &format!("{what} is missing or malformed."))
}

fn denied(message: &str) -> Answer {
    Answer::refused(403, "AccessDenied", message)
}
