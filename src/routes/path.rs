//! The path of a request, split from the right into the words of one endpoint. Nothing is validated here and nothing is
//! normalised: `..`, doubled slashes and encoded slashes stay in their word, whose grammar refuses them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What a path below `/v2/` names, with its words as the client wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape<'a> {
    /// Nothing: end-1.
    Base,
    /// `_catalog`.
    Catalog,
    /// `<name>/tags/list`: end-8.
    Tags { name: &'a str },
    /// `<name>/manifests/<reference>`: end-3, end-7, end-9.
    Manifest { name: &'a str, reference: &'a str },
    /// `<name>/blobs/<digest>`: end-2, end-10.
    Blob { name: &'a str, digest: &'a str },
    /// `<name>/blobs/uploads/`: end-4, end-11.
    Uploads { name: &'a str },
    /// `<name>/blobs/uploads/<id>`: end-5, end-6, end-13, end-14.
    Upload { name: &'a str, id: &'a str },
    /// `<name>/referrers/<digest>`: end-12.
    Referrers { name: &'a str, subject: &'a str },
}

impl<'a> Shape<'a> {
    /// Splits what follows `/v2/`, already decoded by [`decode`]. `None` when no endpoint looks like that.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        match path {
            "" => return Some(Self::Base),
            "_catalog" => return Some(Self::Catalog),
            _ => {}
        }
        let (rest, last) = path.rsplit_once('/')?;
        let (name, verb) = rest.rsplit_once('/')?;
        match (verb, last) {
            ("tags", "list") => Some(Self::Tags { name }),
            ("manifests", reference) => Some(Self::Manifest { name, reference }),
            ("referrers", subject) => Some(Self::Referrers { name, subject }),
            // Both `…/blobs/uploads/` and, as distribution redirects it there, `…/blobs/uploads`.
            ("blobs", "uploads") => Some(Self::Uploads { name }),
            ("blobs", digest) => Some(Self::Blob { name, digest }),
            ("uploads", id) => {
                let name = name.strip_suffix("/blobs")?;
                Some(if id.is_empty() { Self::Uploads { name } } else { Self::Upload { name, id } })
            }
            _ => None,
        }
    }

    /// The methods that mean something here, for `Allow`.
    pub(super) fn allow(&self) -> &'static str {
        match self {
            Self::Base | Self::Catalog | Self::Tags { .. } | Self::Referrers { .. } => "GET, HEAD, OPTIONS",
            Self::Manifest { .. } => "DELETE, GET, HEAD, OPTIONS, PUT",
            Self::Blob { .. } => "DELETE, GET, HEAD, OPTIONS",
            Self::Uploads { .. } => "OPTIONS, POST",
            Self::Upload { .. } => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
        }
    }
}

/// Decodes percent signs once. An encoded slash stays encoded, so that it cannot turn one word into two; bytes that are no
/// UTF-8 become a character that no grammar has.
pub(super) fn decode(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = split_at_encoded_slash(rest) {
        decoded.push_str(&percent_decode_str(before).decode_utf8_lossy());
        decoded.push_str("%2F");
        rest = after;
    }
    decoded.push_str(&percent_decode_str(rest).decode_utf8_lossy());
    Cow::Owned(decoded)
}

fn split_at_encoded_slash(text: &str) -> Option<(&str, &str)> {
    text.split_once("%2F").into_iter().chain(text.split_once("%2f")).min_by_key(|(before, _)| before.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_from_the_right() {
        let shape = |path| Shape::of(path);
        assert_eq!(shape(""), Some(Shape::Base));
        assert_eq!(shape("_catalog"), Some(Shape::Catalog));
        assert_eq!(shape("a/b/tags/list"), Some(Shape::Tags { name: "a/b" }));
        assert_eq!(shape("a/manifests/x"), Some(Shape::Manifest { name: "a", reference: "x" }));
        assert_eq!(shape("a/blobs/sha256:0"), Some(Shape::Blob { name: "a", digest: "sha256:0" }));
        assert_eq!(shape("a/blobs/uploads/"), Some(Shape::Uploads { name: "a" }));
        assert_eq!(shape("a/blobs/uploads"), Some(Shape::Uploads { name: "a" }));
        assert_eq!(shape("a/blobs/uploads/1"), Some(Shape::Upload { name: "a", id: "1" }));
        assert_eq!(shape("a/referrers/sha256:0"), Some(Shape::Referrers { name: "a", subject: "sha256:0" }));
    }

    #[test]
    fn names_may_contain_the_words_of_endpoints() {
        assert_eq!(Shape::of("a/tags/list/tags/list"), Some(Shape::Tags { name: "a/tags/list" }));
        assert_eq!(
            Shape::of("a/blobs/uploads/manifests/list"),
            Some(Shape::Manifest { name: "a/blobs/uploads", reference: "list" })
        );
        assert_eq!(
            Shape::of("manifests/manifests/tags"),
            Some(Shape::Manifest { name: "manifests", reference: "tags" })
        );
        assert_eq!(Shape::of("a/blobs/blobs/uploads/"), Some(Shape::Uploads { name: "a/blobs" }));
    }

    #[test]
    fn everything_else_is_no_endpoint() {
        for path in
            ["_catalog/", "tags/list", "a", "a/", "a/b", "a/tags", "a/tags/list/", "a/uploads/1", "blobs/uploads/1"]
        {
            assert_eq!(Shape::of(path), None, "{path}");
        }
    }

    #[test]
    fn decodes_once_and_never_a_slash() {
        assert_eq!(decode("a/tags/list"), "a/tags/list");
        assert_eq!(decode("%61/tags/list"), "a/tags/list");
        assert_eq!(decode("a%2Fb%2fc/%74ags/list"), "a%2Fb%2Fc/tags/list");
        assert_eq!(decode("%252F"), "%2F");
        assert_eq!(decode("%2e%2e/%00"), "../\0");
        assert_eq!(decode("%ff%"), "\u{fffd}%");
    }
}
