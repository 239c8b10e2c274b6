//! What the store's refusals mean for the callers, and for the person who wrote `config.yml`.
//!
//! Must not print what the store says beyond its code and message: other elements of its answers echo what was signed.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use thiserror::Error;

use super::client::{Request, header};
use super::config::Config;
use super::xml;
use crate::storage::error::{Error, Retry};

/// Messages are cut after this many characters.
const LONGEST_MESSAGE: usize = 300;

/// The longest pause that the store may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why a request came to nothing.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The store said no.
    #[error("{}", .0.said())]
    Refused(Box<Refusal>),
    /// No connection came about.
    #[error("it cannot be reached ({0})")]
    Unreached(String),
    /// The connection broke, or what came makes no sense.
    #[error("it did not answer to the end: {0}")]
    Broken(String),
    /// Nothing came for too long.
    #[error("it did not answer in time")]
    Slow,
    /// The store received other bytes than were sent.
    #[error("what arrived there is not what was sent")]
    Altered,
    /// There is nothing to sign with.
    #[error("{0}")]
    Credentials(String),
}

/// A refusal, reduced to what decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// HTTP status.
    pub(super) status: u16,
    /// OSS's word for it; empty when the answer has none.
    pub(super) code: String,
    message: String,
    /// The endpoint that the bucket has, when the store tells.
    endpoint: Option<String>,
    /// The store's clock.
    date: Option<String>,
    /// How long the store wants to be left alone.
    pause: Duration,
    /// Under which the store's operator finds the request.
    request_id: Option<String>,
    /// Whether the same request was sent before, and may have done its work then.
    pub(super) is_repetition: bool,
}

impl Refusal {
    /// Reads an answer. The one to a HEAD has no body and carries it in a header.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap, content: &[u8]) -> Self {
        let in_header = || STANDARD.decode(header(headers, "x-oss-err")?).ok();
        let decoded = if content.is_empty() { in_header() } else { None };
        let told = xml::error(decoded.as_deref().unwrap_or(content)).unwrap_or_default();
        let message = told.message.chars().take(LONGEST_MESSAGE).map(|c| if c.is_control() { ' ' } else { c });
        let pause = header(headers, "x-oss-qos-delay-time").and_then(|pause| pause.parse().ok());
        Self {
            status: status.as_u16(),
            message: message.collect(),
            code: told.code,
            endpoint: Some(told.endpoint).filter(|endpoint| !endpoint.is_empty()),
            date: header(headers, "date").map(str::to_owned),
            pause: pause.map(Duration::from_millis).unwrap_or_default().min(LONGEST_PAUSE),
            request_id: header(headers, "x-oss-request-id").map(str::to_owned),
            is_repetition: false,
        }
    }

    /// Whether nothing lies where something was asked for. Only what says so does: a proxy may answer 404 too, and content
    /// that is not missing must not be taken to be.
    pub(super) fn is_missing(&self) -> bool {
        match self.code.as_str() {
            "NoSuchKey" | "NoSuchUpload" => true,
            // Older installations answer HEAD with the status alone.
            "" => self.status == 404 && self.request_id.is_some(),
            _ => false,
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..) && !matches!(self.status, 501 | 507)
            || matches!(self.code.as_str(), "RequestTimeout" | "QpsLimitExceeded" | "BadDigest" | "InvalidDigest")
            || self.code.contains("Throttling")
    }

    fn said(&self) -> String {
        let said = match (self.code.as_str(), self.message.as_str()) {
            ("", "") => format!("the store answered with status {}", self.status),
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        };
        match &self.request_id {
            Some(id) => format!("{said} (request {id})"),
            None => said,
        }
    }
}

impl Failure {
    /// What a failed transfer is.
    pub(super) fn of_transport(error: &reqwest::Error) -> Self {
        let cause = innermost(error);
        if error.is_timeout() && !error.is_connect() {
            Self::Slow
        } else if error.is_connect() {
            Self::Unreached(cause)
        } else {
            Self::Broken(cause)
        }
    }

    /// The refusal, if it is one.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether it is the refusal of this code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == code)
    }

    /// Notes how often the request was sent.
    pub(super) fn tell_repetition(&mut self, attempt: u32) {
        if let Self::Refused(refusal) = self {
            refusal.is_repetition = attempt > 1;
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.may_pass(),
            Self::Unreached(_) | Self::Broken(_) | Self::Slow | Self::Altered => true,
            // Whoever hands out credentials has been asked often enough by now.
            Self::Credentials(_) => false,
        }
    }

    /// Whether other credentials may help.
    pub(super) fn is_about_credentials(&self) -> bool {
        let codes = ["SecurityTokenExpired", "InvalidSecurityToken", "InvalidAccessKeyId"];
        self.refusal().is_some_and(|refusal| refusal.status == 401 || codes.contains(&refusal.code.as_str()))
    }

    /// How long the store wants to be left alone.
    pub(super) fn wanted_pause(&self) -> Duration {
        self.refusal().map_or(Duration::ZERO, |refusal| refusal.pause)
    }

    /// The error for the callers.
    pub(super) fn into_error(self, request: &Request<'_>, config: &Config) -> Error {
        if self.refusal().is_some_and(Refusal::is_missing) {
            return Error::NotFound { path: request.key.to_owned() };
        }
        if self.refusal().is_some_and(|refusal| refusal.status == 507 || refusal.code.contains("QuotaExceeded")) {
            return Error::NoSpace { path: request.key.to_owned() };
        }
        let later = self.may_pass() || matches!(self, Self::Credentials(_));
        let retry = if later { Retry::Later } else { Retry::Pointless };
        backend(request, retry, self.explained(config))
    }

    fn explained(&self, config: &Config) -> String {
        let origin = config.address.origin();
        match self {
            Self::Refused(refusal) => match way_out(refusal, config) {
                Some(way_out) => format!("{self} – {way_out}"),
                None => self.to_string(),
            },
            Self::Unreached(cause) => format!(
                "{origin} cannot be reached ({cause}): check storage.oss.endpoint, storage.oss.region, \
                 storage.oss.internal, storage.oss.secure and the network"
            ),
            Self::Broken(_) | Self::Slow => format!("{origin}: {self}"),
            Self::Altered | Self::Credentials(_) => self.to_string(),
        }
    }
}

/// An error in words.
pub(super) fn backend(request: &Request<'_>, retry: Retry, text: String) -> Error {
    Error::Backend { operation: request.operation, path: request.key.to_owned(), retry, source: text.into() }
}

fn way_out(refusal: &Refusal, config: &Config) -> Option<String> {
    let (bucket, region) = (&config.bucket, &config.region);
    Some(match refusal.code.as_str() {
        "NoSuchBucket" => format!("there is no bucket {bucket}: check storage.oss.bucket, or create it"),
        "InvalidBucketName" => format!("{bucket} is no bucket's name: check storage.oss.bucket"),
        "SignatureDoesNotMatch" => {
            format!("check storage.oss.accesskeysecret, and that storage.oss.endpoint is bucket {bucket}'s")
        }
        "InvalidAccessKeyId" => "check storage.oss.accesskeyid".to_owned(),
        "SecurityTokenExpired" | "InvalidSecurityToken" => {
            "check storage.oss.securitytoken, which is valid for some hours only".to_owned()
        }
        "RequestTimeTooSkewed" => match &refusal.date {
            Some(date) => format!("set this machine's clock: the store's says {date}"),
            None => "set this machine's clock".to_owned(),
        },
        "SecondLevelDomainForbidden" => {
            "check storage.oss.endpoint: this host wants the bucket's name in it".to_owned()
        }
        "KmsServiceNotEnabled" => "check storage.oss.encryptionkeyid".to_owned(),
        "EntityTooSmall" => "check storage.oss.chunksize".to_owned(),
        code if code.starts_with("KMS") => "check storage.oss.encryptionkeyid".to_owned(),
        "" if refusal.request_id.is_none() && refusal.status < 500 => {
            "nothing there speaks OSS: check storage.oss.endpoint and storage.oss.bucket".to_owned()
        }
        _ if refusal.message.contains("region") => {
            format!("check storage.oss.region, which is {region}, and storage.oss.endpoint")
        }
        _ if refusal.endpoint.is_some() => {
            let right = refusal.endpoint.as_deref().unwrap_or_default();
            format!("the bucket is reached at {right}: check storage.oss.region and storage.oss.endpoint")
        }
        "AccessDenied" => format!(
            "the credentials of storage.oss may not do this in bucket {bucket}: allow ListObjects, GetObject, PutObject, \
             DeleteObject, ListMultipartUploads and AbortMultipartUpload; or storage.oss.signatureversion is v1, which \
             newer accounts refuse"
        ),
        _ => return None,
    })
}

/// The cause that lies deepest, which is the one that says something.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::config::{Address, Scheme};
    use super::*;

    fn config() -> Config {
        let address = Address::parse("oss-cn-test.aliyuncs.com", "images", Scheme::Secure).unwrap();
        Config::new("images", "cn-test", address)
    }

    fn refusal(status: u16, headers: &[(&'static str, &'static str)], content: &str) -> Refusal {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Refusal::of(StatusCode::from_u16(status).unwrap(), &headers, content.as_bytes())
    }

    fn error(refusal: Refusal) -> Error {
        Failure::Refused(Box::new(refusal)).into_error(&Request::new("read", Method::GET, "a/b"), &config())
    }

    fn told(code: &str) -> String {
        format!("<Error><Code>{code}</Code><Message>no\n</Message><StringToSign>hush</StringToSign></Error>")
    }

    const OURS: (&str, &str) = ("x-oss-request-id", "5C3D9175B6FC201293AD4890");

    #[test]
    fn only_what_says_so_is_missing() {
        let in_header = STANDARD.encode(told("NoSuchKey"));
        let headers = [("x-oss-err".parse().unwrap(), in_header.parse().unwrap())].into_iter().collect();
        assert!(error(Refusal::of(StatusCode::NOT_FOUND, &headers, b"")).is_not_found());
        assert!(error(refusal(404, &[], &told("NoSuchKey"))).is_not_found());
        assert!(error(refusal(404, &[], &told("NoSuchUpload"))).is_not_found());
        assert!(error(refusal(404, &[OURS], "")).is_not_found());
        assert!(!error(refusal(404, &[OURS], &told("NoSuchBucket"))).is_not_found());
        let other = error(refusal(404, &[], "<html>not found</html>"));
        assert!(!other.is_not_found() && other.to_string().contains("nothing there speaks OSS"), "{other}");
    }

    #[test]
    fn a_refusal_says_what_to_do_and_no_secret() {
        let cases = [
            (403, "SignatureDoesNotMatch", "storage.oss.accesskeysecret"),
            (403, "InvalidAccessKeyId", "storage.oss.accesskeyid"),
            (403, "SecurityTokenExpired", "storage.oss.securitytoken"),
            (403, "AccessDenied", "storage.oss.signatureversion"),
            (403, "SecondLevelDomainForbidden", "storage.oss.endpoint"),
            (404, "NoSuchBucket", "storage.oss.bucket"),
            (400, "EntityTooSmall", "storage.oss.chunksize"),
            (400, "KMS.InvalidKey", "storage.oss.encryptionkeyid"),
        ];
        for (status, code, way_out) in cases {
            let text = error(refusal(status, &[OURS], &told(code))).to_string();
            assert!(text.contains(way_out) && text.contains(code) && text.contains(OURS.1), "{text}");
            assert!(!text.contains("hush") && !text.contains('\n'), "{text}");
        }
        let elsewhere = "<Error><Code>AccessDenied</Code><Message>other endpoint</Message>\
                         <Endpoint>oss-cn-other.aliyuncs.com</Endpoint></Error>";
        let text = error(refusal(403, &[OURS], elsewhere)).to_string();
        assert!(text.contains("reached at oss-cn-other.aliyuncs.com: check storage.oss.region"), "{text}");
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        for (status, code, passes) in [
            (503, "ServiceUnavailable", true),
            (500, "InternalError", true),
            (429, "QpsLimitExceeded", true),
            (400, "RequestTimeout", true),
            (403, "DownloadTrafficThrottling", true),
            (403, "AccessDenied", false),
            (501, "NotImplemented", false),
        ] {
            assert_eq!(Failure::Refused(Box::new(refusal(status, &[], &told(code)))).may_pass(), passes, "{code}");
        }
        let busy = refusal(503, &[("x-oss-qos-delay-time", "250")], "");
        assert_eq!(Failure::Refused(Box::new(busy)).wanted_pause(), Duration::from_millis(250));
        assert!(matches!(error(refusal(403, &[], &told("StorageQuotaExceeded"))), Error::NoSpace { .. }));
    }
}
