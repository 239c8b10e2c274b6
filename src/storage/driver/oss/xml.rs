//! The documents that OSS sends and takes.
//!
//! Whatever comes is either understood or an error; elements that are not known are passed over.

use std::fmt::Write;
use std::time::SystemTime;

use percent_encoding::percent_decode_str;
use quick_xml::escape::escape;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::storage::driver::bucket::PartTag;

/// What went wrong.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Told {
    pub(super) code: String,
    pub(super) message: String,
    /// The right one, where a wrong one was used.
    pub(super) endpoint: String,
}

/// A page of keys. Names are encoded as in addresses.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Keys {
    #[serde(default)]
    pub(super) is_truncated: bool,
    #[serde(default)]
    pub(super) next_continuation_token: Option<String>,
    #[serde(default)]
    pub(super) contents: Vec<Object>,
    #[serde(default)]
    pub(super) common_prefixes: Vec<Prefix>,
}

/// An object of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) last_modified: String,
}

/// A folded name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Prefix {
    pub(super) prefix: String,
}

/// The beginning of a multipart upload.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Begun {
    pub(super) upload_id: String,
}

/// The end of a copy.
#[derive(Debug, Deserialize)]
pub(super) struct Copied {
    #[serde(rename = "ETag")]
    pub(super) tag: String,
}

/// A page of multipart uploads. Names are encoded as in addresses.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Uploads {
    #[serde(default)]
    pub(super) is_truncated: bool,
    #[serde(default)]
    pub(super) next_key_marker: String,
    #[serde(default)]
    pub(super) next_upload_id_marker: String,
    #[serde(default)]
    pub(super) upload: Vec<Upload>,
}

/// An upload of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Upload {
    pub(super) key: String,
    #[serde(rename = "UploadId")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) initiated: String,
}

/// What of a deletion did not succeed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Deletion {
    pub(super) error: Vec<NotDeleted>,
}

/// An object that stayed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NotDeleted {
    pub(super) key: String,
    pub(super) code: String,
    pub(super) message: String,
}

/// Reads a refusal; `None` for what is none.
pub(super) fn error(content: &[u8]) -> Option<Told> {
    let text = std::str::from_utf8(content).ok()?;
    text.contains("<Error").then(|| quick_xml::de::from_str(text).ok()).flatten()
}

/// Reads a document.
///
/// # Errors
/// What is wrong with it.
pub(super) fn document<T: DeserializeOwned>(content: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(content).map_err(|_| "the answer is not text".to_owned())?;
    quick_xml::de::from_str(text).map_err(|error| format!("the answer is not understood: {error}"))
}

/// A name that was encoded as in addresses.
///
/// # Errors
/// What is wrong with it.
pub(super) fn name(encoded: &str) -> Result<String, String> {
    let decoded = percent_decode_str(encoded).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| format!("the name {encoded} is not UTF-8"))
}

/// A time; one that cannot be read is taken to mean the beginning of time, so that nothing looks fresher than it is.
pub(super) fn time(text: &str) -> SystemTime {
    OffsetDateTime::parse(text, &Rfc3339).map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}

/// The request that removes `keys`.
pub(super) fn deletion(keys: &[String]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Delete><Quiet>true</Quiet>");
    for key in keys {
        let _ = write!(text, "<Object><Key>{}</Key></Object>", escape(key.as_str()));
    }
    text.push_str("</Delete>");
    text
}

/// The request that makes an object of `parts`, numbered from 1.
pub(super) fn completion(parts: &[PartTag]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><CompleteMultipartUpload>");
    for (index, PartTag(tag)) in parts.iter().enumerate() {
        let (number, tag) = (index + 1, escape(tag.as_str()));
        let _ = write!(text, "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    }
    text.push_str("</CompleteMultipartUpload>");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_listing_is_read_in_whatever_order_it_comes() {
        let text = "<?xml version=\"1.0\"?><ListBucketResult><Name>b</Name><CommonPrefixes><Prefix>a%2F</Prefix>\
                    </CommonPrefixes><Contents><Key>b%20c</Key><Size>3</Size>\
                    <LastModified>2012-02-24T08:43:07.000Z</LastModified></Contents><IsTruncated>true</IsTruncated>\
                    <CommonPrefixes><Prefix>d/</Prefix></CommonPrefixes></ListBucketResult>";
        let keys: Keys = document(text.as_bytes()).unwrap();
        assert!(keys.is_truncated);
        assert_eq!(name(&keys.contents[0].key).unwrap(), "b c");
        assert_ne!(time(&keys.contents[0].last_modified), SystemTime::UNIX_EPOCH);
        assert_eq!(keys.common_prefixes.len(), 2);
        let none: Keys = document(b"<ListBucketResult/>").unwrap();
        assert!(none.contents.is_empty() && !none.is_truncated);
    }

    #[test]
    fn a_refusal_is_told_from_other_documents() {
        let text = b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>m</Message><Endpoint>e</Endpoint></Error>";
        let told = error(text).unwrap();
        assert_eq!((told.code.as_str(), told.endpoint.as_str()), ("AccessDenied", "e"));
        assert!(error(b"<html>").is_none() && error(b"").is_none());
    }

    #[test]
    fn what_is_sent_is_escaped() {
        assert!(deletion(&["a&<b".to_owned()]).contains("<Key>a&amp;&lt;b</Key>"));
        assert!(completion(&[PartTag("\"e\"".to_owned())]).contains("<PartNumber>1</PartNumber><ETag>&quot;e&quot;<"));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_stops_the_program(content in "(<|>|/|Error|Key|Contents|ListBucketResult|&|%|x|\"|=|\\]|\\[|!|-|\\?){0,60}") {
            let _ = error(content.as_bytes());
            let _ = document::<Keys>(content.as_bytes());
            let _ = document::<Uploads>(content.as_bytes());
            let _ = name(&content);
            let _ = time(&content);
        }
    }
}
