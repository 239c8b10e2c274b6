//! Listings of objects, old and new, and the reading of documents that clients send.

use serde::de::DeserializeOwned;

use super::answer::{Answer, document_date, element, holding, key_element};
use super::objects::Store;
use super::request::Asked;

/// Behind every key that begins with what stands before it.
const LAST: char = '\u{10FFFF}';

struct Page {
    content: String,
    /// The last name on it, when there are more.
    next: Option<String>,
    count: usize,
}

impl Store {
    pub(super) fn list_v2(&self, asked: &Asked) -> Result<Answer, Answer> {
        let token = asked.parameter("continuation-token").filter(|token| !token.is_empty());
        let after = match token {
            Some(token) => hex::decode(token).ok().and_then(|token| String::from_utf8(token).ok()),
            None => asked.parameter("start-after").map(str::to_owned).filter(|after| after.len() < 1024),
        };
        if token.is_some() && after.is_none() {
            return Err(Answer::refused(400, "InvalidArgument", "The continuation token is wrong."));
        }
        let page = self.page(asked, &after.unwrap_or_default())?;
        let mut content = page.content + &element("KeyCount", &page.count.to_string());
        if let Some(next) = page.next {
            content.push_str(&element("NextContinuationToken", &hex::encode(next)));
        }
        Ok(Answer::document("ListBucketResult", &content))
    }

    pub(super) fn list_v1(&self, asked: &Asked) -> Result<Answer, Answer> {
        let marker = asked.parameter("marker").unwrap_or_default();
        let page = self.page(asked, marker)?;
        let encoding = asked.parameter("encoding-type");
        let mut content = page.content + &key_element("Marker", marker, encoding);
        if let Some(next) = page.next {
            content.push_str(&key_element("NextMarker", &next, encoding));
        }
        Ok(Answer::document("ListBucketResult", &content))
    }

    fn page(&self, asked: &Asked, after: &str) -> Result<Page, Answer> {
        let encoding = asked.parameter("encoding-type");
        let (prefix, delimiter) =
            (asked.parameter("prefix").unwrap_or_default(), asked.parameter("delimiter").unwrap_or_default());
        let most = limit(asked, "max-keys", 100)?;
        let (mut objects, mut folded, mut count) = (String::new(), String::new(), 0);
        let (mut last, mut next) = (String::new(), None);
        let keys = self.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        for (key, object) in keys.filter(|(key, _)| key.as_str() > after) {
            if last.ends_with(LAST) && key.starts_with(last.trim_end_matches(LAST)) {
                continue;
            }
            if count == most {
                next = Some(last.clone());
                break;
            }
            count += 1;
            let rest = key.strip_prefix(prefix).unwrap_or_default();
            if let Some((name, _)) = rest.split_once(delimiter).filter(|_| !delimiter.is_empty()) {
                let name = format!("{prefix}{name}{delimiter}");
                let named = key_element("Prefix", &name, encoding);
                folded.push_str(&holding("CommonPrefixes", &named));
                last = format!("{name}{LAST}");
                continue;
            }
            let described = key_element("Key", key, encoding)
                + &element("LastModified", &document_date(object.modified))
                + &element("ETag", &format!("\"{}\"", object.tag))
                + &element("Type", if object.tag.contains('-') { "Multipart" } else { "Normal" })
                + &element("Size", &object.content.len().to_string())
                + &element("StorageClass", "Standard");
            objects.push_str(&holding("Contents", &described));
            last.clone_from(key);
        }
        let mut content = element("Name", &asked.bucket)
            + &key_element("Prefix", prefix, encoding)
            + &element("MaxKeys", &most.to_string())
            + &key_element("Delimiter", delimiter, encoding)
            + &element("IsTruncated", if next.is_some() { "true" } else { "false" });
        if let Some(encoding) = encoding {
            content.push_str(&element("EncodingType", encoding));
        }
        Ok(Page { content: content + &objects + &folded, next, count })
    }
}

/// How many names are wanted, from 1 to 1000.
pub(super) fn limit(asked: &Asked, name: &str, default: usize) -> Result<usize, Answer> {
    let Some(text) = asked.parameter(name) else { return Ok(default) };
    let wanted = text.parse().ok().filter(|wanted| (1..=1000).contains(wanted));
    wanted.ok_or_else(|| Answer::refused(400, "InvalidArgument", &format!("{name} is not from 1 to 1000.")))
}

/// A document that a client sent.
pub(super) fn document<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    quick_xml::de::from_str(text).map_err(|_| malformed())
}

pub(super) fn malformed() -> Answer {
    Answer::refused(400, "MalformedXML", "The XML you provided was not well-formed.")
}
