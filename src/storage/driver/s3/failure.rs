//! What the store's refusals mean for the callers, and for the person who wrote `config.yml`.
//!
//! Must not print what the store says beyond its code and message: other elements of its answers echo credentials.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::config::Config;
use crate::storage::error::{Error, Retry};

/// A request that failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// What was asked for, as in [`Error::Backend`].
    pub(super) operation: &'static str,
    /// The object's key.
    pub(super) key: &'a str,
}

/// What the store answered, reduced to what decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// HTTP status; 0 when it is not known.
    pub(super) status: u16,
    /// S3's word for it; empty when the answer has none.
    pub(super) code: String,
    /// What a person is told.
    pub(super) message: String,
    /// The bucket's region, when the store tells.
    pub(super) region: Option<String>,
    /// The store's clock.
    pub(super) date: Option<String>,
}

/// Of a place that answers, and not as a store does.
pub(super) const NOT_A_STORE: &str = "nothing there speaks S3: check storage.s3.regionendpoint and storage.s3.bucket";

/// Messages are cut after this many characters.
const LONGEST_MESSAGE: usize = 300;

impl Answer {
    /// The answer that `error` came from; `None` when there was none.
    pub(super) fn of<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<Self> {
        let SdkError::ServiceError(failure) = error else { return None };
        let header = |name| failure.raw().headers().get(name).map(str::to_owned);
        let message = failure.err().message().unwrap_or_default();
        Some(Self {
            status: failure.raw().status().as_u16(),
            code: failure.err().code().unwrap_or_default().to_owned(),
            message: message.chars().take(LONGEST_MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect(),
            region: header("x-amz-bucket-region").or_else(|| failure.raw().body().bytes().and_then(region_in)),
            date: header("date"),
        })
    }

    /// An error that the store put beside others into a successful answer.
    pub(super) fn of_entry(code: Option<&str>, message: Option<&str>) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self { status: 200, code: text(code), message: text(message), ..Self::default() }
    }

    /// Whether nothing lies where something was asked for. Only what says so does: a store may answer 404 to a person it
    /// does not know, and so may a proxy before it, and content that is not missing must not be taken to be.
    pub(super) fn is_missing(&self) -> bool {
        // `NotFound` is what the client library makes of a 404 without a body, the only answer that HEAD can have.
        matches!(self.code.as_str(), "NoSuchKey" | "NoSuchUpload" | "NoSuchVersion" | "NotFound")
    }

    /// Whether a condition that came with the request does not hold.
    pub(super) fn is_unmet_condition(&self) -> bool {
        matches!(self.code.as_str(), "PreconditionFailed" | "NotModified") || matches!(self.status, 304 | 412)
    }

    /// Whether the store does not know this kind of request.
    pub(super) fn is_unknown_request(&self) -> bool {
        matches!(self.code.as_str(), "NotImplemented" | "MethodNotAllowed" | "MalformedXML")
            || matches!(self.status, 405 | 501)
    }

    fn is_full(&self) -> bool {
        let code = self.code.as_str();
        self.status == 507
            || matches!(code, "InsufficientStorage" | "StorageFull" | "XMinioStorageFull")
            || code.contains("QuotaExceeded")
            || code.contains("InsufficientCapacity")
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn retry(&self) -> Retry {
        let passing = matches!(
            self.code.as_str(),
            "SlowDown" | "InternalError" | "ServiceUnavailable" | "RequestTimeout" | "OperationAborted" | "BadDigest"
        ) || self.code.contains("Throttl")
            || matches!(self.status, 408 | 409 | 429 | 500 | 502 | 503 | 504);
        if passing { Retry::Later } else { Retry::Pointless }
    }
}

/// The error that `answer` to `request` is.
pub(super) fn refused(request: Request<'_>, answer: &Answer, config: &Config) -> Error {
    let path = request.key.to_owned();
    if answer.is_missing() {
        return Error::NotFound { path };
    }
    if answer.is_full() {
        return Error::NoSpace { path };
    }
    backend(request, answer.retry(), explain(answer, config))
}

/// The error that `error` is, which may have come before any answer.
pub(super) fn failed<E>(request: Request<'_>, error: &SdkError<E>, config: &Config) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if let Some(answer) = Answer::of(error) {
        return refused(request, &answer, config);
    }
    let place = config.endpoint.as_deref().unwrap_or("Amazon S3");
    match error {
        SdkError::TimeoutError(_) => backend(request, Retry::Later, format!("{place} did not answer in time")),
        SdkError::DispatchFailure(_) if is_without_credentials(error) => {
            let text = "no credentials were found: set storage.s3.accesskey and storage.s3.secretkey, or \
                        AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role";
            backend(request, Retry::Later, text.to_owned())
        }
        SdkError::DispatchFailure(_) => {
            let text = format!(
                "{place} cannot be reached ({}): check storage.s3.regionendpoint, storage.s3.secure and the network",
                innermost(error)
            );
            backend(request, Retry::Later, text)
        }
        SdkError::ConstructionFailure(_) => {
            let text = format!("the request cannot be made: {}", DisplayErrorContext(error));
            backend(request, Retry::Pointless, text)
        }
        _ => backend(request, Retry::Later, format!("{place} did not answer to the end: {}", innermost(error))),
    }
}

/// An error in words.
pub(super) fn backend(request: Request<'_>, retry: Retry, text: String) -> Error {
    Error::Backend { operation: request.operation, path: request.key.to_owned(), retry, source: text.into() }
}

/// What a person reads: what the store said, and which key of the configuration to look at.
fn explain(answer: &Answer, config: &Config) -> String {
    let said = match (answer.code.as_str(), answer.message.as_str()) {
        ("", "") => format!("the store answered with status {}", answer.status),
        ("", message) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    match way_out(answer, config) {
        Some(way_out) => format!("{said} – {way_out}"),
        None => said,
    }
}

fn way_out(answer: &Answer, config: &Config) -> Option<String> {
    let bucket = &config.bucket;
    Some(match answer.code.as_str() {
        "NoSuchBucket" => format!("there is no bucket {bucket}: check storage.s3.bucket, or create it"),
        "InvalidBucketName" => format!("{bucket} is no bucket's name: check storage.s3.bucket"),
        "SignatureDoesNotMatch" => "check storage.s3.secretkey".to_owned(),
        "InvalidAccessKeyId" | "InvalidAccessKey" | "XAdminUserNotFound" | "NotSignedUp" => {
            "check storage.s3.accesskey".to_owned()
        }
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
            "check storage.s3.sessiontoken, which is valid for some hours only".to_owned()
        }
        "RequestTimeTooSkewed" | "RequestExpired" => match &answer.date {
            Some(date) => format!("set this machine's clock: the store's says {date}"),
            None => "set this machine's clock".to_owned(),
        },
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "InvalidRegion"
        | "IllegalLocationConstraintException"
        | "IncorrectEndpoint" => wrong_region(answer, config),
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => format!(
            "check storage.s3.accesskey and storage.s3.secretkey, and let them do ListBucket, \
             ListBucketMultipartUploads, GetObject, PutObject, DeleteObject and AbortMultipartUpload in bucket {bucket}"
        ),
        "AccessControlListNotSupported" => "take storage.s3.objectacl out".to_owned(),
        "InvalidStorageClass" => "check storage.s3.storageclass".to_owned(),
        code if code.starts_with("KMS.") => "check storage.s3.keyid".to_owned(),
        "EntityTooSmall" => "check storage.s3.chunksize".to_owned(),
        "" if answer.status == 404 => NOT_A_STORE.to_owned(),
        _ if answer.status == 301 || answer.status == 307 => wrong_region(answer, config),
        _ => return None,
    })
}

fn wrong_region(answer: &Answer, config: &Config) -> String {
    let region = &config.region;
    match &answer.region {
        Some(right) if right != region => format!("set storage.s3.region to {right}; it is {region} now"),
        _ => format!("check storage.s3.region, which is {region}, and storage.s3.regionendpoint"),
    }
}

/// The region that the body of a refusal names, beside its code and message.
fn region_in(body: &[u8]) -> Option<String> {
    let (_, after) = std::str::from_utf8(body).ok()?.split_once("<Region>")?;
    let (region, _) = after.split_once("</Region>")?;
    (!region.is_empty() && region.len() <= 64).then(|| region.to_owned())
}

fn is_without_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).any(<dyn std::error::Error>::is::<CredentialsError>)
}

/// The cause that lies deepest, which is the one that says something.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str, message: &str) -> Answer {
        Answer { status, code: code.to_owned(), message: message.to_owned(), ..Answer::default() }
    }

    fn text_of(answer: &Answer) -> String {
        let request = Request { operation: "list", key: "" };
        refused(request, answer, &Config::new("images")).to_string()
    }

    #[test]
    fn what_is_missing_is_not_found_and_a_missing_bucket_is_a_wrong_configuration() {
        let request = Request { operation: "read", key: "a/b" };
        let config = Config::new("images");
        for missing in [answer(404, "NoSuchKey", ""), answer(404, "NotFound", ""), answer(404, "NoSuchUpload", "")] {
            assert!(refused(request, &missing, &config).is_not_found(), "{missing:?}");
        }
        let error = refused(request, &answer(404, "NoSuchBucket", "no"), &config);
        assert!(matches!(&error, Error::Backend { retry: Retry::Pointless, .. }), "{error}");
        assert!(error.to_string().contains("no bucket images: check storage.s3.bucket"), "{error}");
    }

    #[test]
    fn hiccups_may_be_tried_again_and_refusals_may_not() {
        for code in ["SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "ThrottlingException"] {
            assert_eq!(answer(200, code, "").retry(), Retry::Later, "{code}");
        }
        for status in [429, 500, 502, 503, 504] {
            assert_eq!(answer(status, "", "").retry(), Retry::Later, "{status}");
        }
        for (status, code) in [(403, "AccessDenied"), (400, "InvalidArgument"), (501, "NotImplemented")] {
            assert_eq!(answer(status, code, "").retry(), Retry::Pointless, "{code}");
        }
    }

    #[test]
    fn a_full_store_is_full() {
        for (status, code) in [(507, ""), (403, "QuotaExceeded"), (400, "XMinioAdminBucketQuotaExceeded")] {
            let error = refused(Request { operation: "write", key: "k" }, &answer(status, code, ""), &Config::new("b"));
            assert!(matches!(error, Error::NoSpace { .. }), "{code}");
        }
    }

    #[test]
    fn refusals_name_the_key_to_change() {
        let cases = [
            (403, "SignatureDoesNotMatch", "", "storage.s3.secretkey"),
            (403, "InvalidAccessKeyId", "", "storage.s3.accesskey"),
            (403, "AccessDenied", "", "storage.s3.secretkey, and let them do ListBucket"),
            (404, "XAdminUserNotFound", "", "storage.s3.accesskey"),
            (404, "", "", "nothing there speaks S3"),
            (400, "ExpiredToken", "", "storage.s3.sessiontoken"),
            (403, "RequestTimeTooSkewed", "", "this machine's clock"),
            (301, "PermanentRedirect", "", "storage.s3.region, which is us-east-1"),
            (400, "AccessControlListNotSupported", "", "storage.s3.objectacl"),
        ];
        for (status, code, message, expected) in cases {
            let text = text_of(&answer(status, code, message));
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn the_right_region_is_told_when_the_store_tells_it() {
        let mut wrong = answer(301, "PermanentRedirect", "");
        wrong.region = Some("eu-central-1".to_owned());
        assert!(text_of(&wrong).contains("set storage.s3.region to eu-central-1; it is us-east-1 now"));
        assert_eq!(region_in(b"<Error><Region>garage</Region></Error>").as_deref(), Some("garage"));
        for body in ["", "<Error></Error>", "<Region>", "<Region></Region>"] {
            assert_eq!(region_in(body.as_bytes()), None, "{body}");
        }
    }
}
