//! Media types of manifests and what we know of them: OCI image-spec, media-types.md, and Docker's schema 2.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::Error;

/// `type/subtype` without parameters, as in RFC 6838 §4.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(Cow<'static, str>);

/// What a manifest of some media type looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An image manifest: config and layers.
    Image,
    /// An index or manifest list: child manifests.
    Index,
    /// Any other JSON document, kept as it is.
    Opaque,
}

/// Longest media type, in characters: type and subtype of at most 127 each.
const LONGEST: usize = 255;

impl MediaType {
    /// `application/vnd.oci.image.manifest.v1+json`.
    pub const OCI_MANIFEST: Self = Self(Cow::Borrowed("application/vnd.oci.image.manifest.v1+json"));
    /// `application/vnd.oci.image.index.v1+json`.
    pub const OCI_INDEX: Self = Self(Cow::Borrowed("application/vnd.oci.image.index.v1+json"));
    /// `application/vnd.docker.distribution.manifest.v2+json`.
    pub const DOCKER_MANIFEST: Self = Self(Cow::Borrowed("application/vnd.docker.distribution.manifest.v2+json"));
    /// `application/vnd.docker.distribution.manifest.list.v2+json`.
    pub const DOCKER_LIST: Self = Self(Cow::Borrowed("application/vnd.docker.distribution.manifest.list.v2+json"));

    /// `application/vnd.docker.distribution.manifest.v1+prettyjws`, which old stores hold and nobody pushes any more.
    pub const DOCKER_SCHEMA1_SIGNED: Self =
        Self(Cow::Borrowed("application/vnd.docker.distribution.manifest.v1+prettyjws"));

    /// The media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a `Content-Type` header: parameters are dropped, as distribution-spec "Pushing Manifests" asks.
    pub fn from_content_type(header: &str) -> Result<Self, Error> {
        header.split(';').next().unwrap_or_default().trim().parse()
    }

    /// What a manifest of this type looks like.
    #[must_use]
    pub fn class(&self) -> Class {
        if *self == Self::OCI_MANIFEST || *self == Self::DOCKER_MANIFEST {
            Class::Image
        } else if *self == Self::OCI_INDEX || *self == Self::DOCKER_LIST {
            Class::Index
        } else {
            Class::Opaque
        }
    }

    /// Whether manifests of this type must name it themselves, as Docker's do.
    #[must_use]
    pub fn is_docker(&self) -> bool {
        *self == Self::DOCKER_MANIFEST || *self == Self::DOCKER_LIST
    }

    /// Whether documents of this type are JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let subtype = self.0.split_once('/').map_or("", |(_, subtype)| subtype);
        subtype == "json" || subtype.ends_with("+json")
    }

    /// Whether a layer of this type need not be stored here: its `urls` say where it lies.
    #[must_use]
    pub fn is_non_distributable(&self) -> bool {
        self.0.starts_with("application/vnd.oci.image.layer.nondistributable.v1.")
            || *self.0 == *"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
            || *self.0 == *"application/vnd.docker.image.rootfs.foreign.diff.tar"
    }
}

impl FromStr for MediaType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // RFC 6838 restricted-name-chars; the first character of each part must be alphanumeric.
        let is_name = |part: &str| {
            part.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
        };
        match text.split_once('/') {
            Some((kind, subtype)) if text.len() <= LONGEST && is_name(kind) && is_name(subtype) => {
                Ok(Self(Cow::Owned(text.to_owned())))
            }
            _ => Err(Error::MediaType(Error::quoted(text))),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for MediaType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for MediaType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_content_type_are_dropped() {
        let media_type = MediaType::from_content_type("application/json; charset=utf-8").unwrap();
        assert_eq!(media_type.as_str(), "application/json");
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        let overlong = format!("application/{}", "x".repeat(250));
        for bad in ["", "json", "/json", "application/", "a/b/c", "a b/c", "a/b;c", "a/\r\nx", "ä/b", &overlong] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad:?} was accepted");
        }
    }
}
