//! Conditional requests, RFC 9110 §13, for content whose entity tag is its digest: the tag is strong and content never
//! changes under it, so weak and strong comparison differ only in what a `W/` of the client means.

use http::HeaderMap;
use http::header::{AsHeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE};

/// What the request's conditions make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer as asked.
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// It is not what the client has in mind: 412.
    Failed,
}

/// Holds `If-Match` and `If-None-Match` against `digest`, in the order of RFC 9110 §13.2.2.
pub(super) fn evaluate(headers: &HeaderMap, digest: &[u8]) -> Verdict {
    // Most requests have none; two look-ups are all they pay.
    if headers.contains_key(IF_MATCH) && !listed(headers, IF_MATCH, digest, Comparison::Strong) {
        return Verdict::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) && listed(headers, IF_NONE_MATCH, digest, Comparison::Weak) {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether `Range` is to be looked at: without `If-Range`, or when that names this very content.
pub(super) fn range_applies(headers: &HeaderMap, digest: &[u8]) -> bool {
    // A date is never equal: this registry gives none.
    headers.get(IF_RANGE).is_none_or(|condition| names(condition.as_bytes(), digest, Comparison::Strong))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn listed(headers: &HeaderMap, name: impl AsHeaderName, digest: &[u8], comparison: Comparison) -> bool {
    headers.get_all(name).iter().any(|value| {
        // No entity tag of ours has a comma in it, so splitting inside a foreign tag cannot make a match.
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|tag| tag == b"*" || names(tag, digest, comparison))
    })
}

fn names(tag: &[u8], digest: &[u8], comparison: Comparison) -> bool {
    let tag = match tag.strip_prefix(b"W/") {
        Some(_) if comparison == Comparison::Strong => return false,
        Some(weak) => weak,
        None => tag,
    };
    // distribution takes the digest without quotes, and docker has sent it so.
    tag.strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\"")).unwrap_or(tag) == digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderName;

    const DIGEST: &[u8] = b"sha256:ab";

    fn verdict(name: &HeaderName, values: &[&'static str]) -> Verdict {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, http::HeaderValue::from_static(value));
        }
        evaluate(&headers, DIGEST)
    }

    #[test]
    fn if_none_match_compares_weakly_over_all_lists() {
        for values in [
            &["\"sha256:ab\""][..],
            &["sha256:ab"],
            &["W/\"sha256:ab\""],
            &["*"],
            &["\"x\", \"sha256:ab\""],
            &["\"x\"", "\"y\",W/\"sha256:ab\" "],
        ] {
            assert_eq!(verdict(&IF_NONE_MATCH, values), Verdict::NotModified, "{values:?}");
        }
        for values in [&["\"sha256:a\""][..], &["\"sha256:ab"], &[""], &["\"sha256:abc\""], &["W/"]] {
            assert_eq!(verdict(&IF_NONE_MATCH, values), Verdict::Proceed, "{values:?}");
        }
    }

    #[test]
    fn if_match_compares_strongly() {
        assert_eq!(verdict(&IF_MATCH, &["\"sha256:ab\""]), Verdict::Proceed);
        assert_eq!(verdict(&IF_MATCH, &["*"]), Verdict::Proceed);
        assert_eq!(verdict(&IF_MATCH, &["W/\"sha256:ab\""]), Verdict::Failed);
        assert_eq!(verdict(&IF_MATCH, &["\"sha256:cd\""]), Verdict::Failed);
    }

    #[test]
    fn a_range_needs_the_same_content() {
        let applies = |value| {
            let headers: HeaderMap = [(IF_RANGE, http::HeaderValue::from_static(value))].into_iter().collect();
            range_applies(&headers, DIGEST)
        };
        assert!(range_applies(&HeaderMap::new(), DIGEST));
        assert!(applies("\"sha256:ab\""));
        assert!(!applies("W/\"sha256:ab\""));
        assert!(!applies("\"sha256:cd\""));
        assert!(!applies("Sat, 29 Oct 1994 19:43:31 GMT"));
    }
}
