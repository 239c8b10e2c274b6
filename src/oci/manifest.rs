//! Manifests: the exact bytes that were pushed and what they refer to. OCI image-spec manifest.md and image-index.md,
//! Docker image manifest version 2 schema 2.
//!
//! A digest names bytes, so a manifest is never written anew from its parsed form.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Algorithm, Class, Descriptor, Digest, Hasher, ManifestError, MediaType, json};

/// A manifest that has passed the rules of its media type.
#[derive(Debug, Clone)]
pub struct Manifest {
    bytes: Bytes,
    digest: Digest,
    media_type: MediaType,
    relations: Vec<Relation>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// Something a manifest needs in order to be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// What it is to the manifest.
    pub role: Role,
    /// What it is.
    pub descriptor: Descriptor,
}

/// What a related piece of content is to its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The config blob.
    Config,
    /// A layer blob.
    Layer,
    /// A child manifest; caches of old `BuildKit` versions list blobs here.
    Child,
}

/// The fields read from a manifest. Everything else is kept unread.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema_version: Option<u64>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    /// The OCI 1.1 release candidates' artifact manifest listed its content here.
    #[serde(borrow)]
    blobs: Option<&'a RawValue>,
}

/// What an opaque document may tell about itself; fields of another shape are somebody else's and left alone.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Opaque<'a> {
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    #[serde(borrow)]
    artifact_type: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

/// The fields that tell what a stored document is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<u64>,
    media_type: Option<MediaType>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    signatures: Option<IgnoredAny>,
}

/// What a document says of its own media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclaredType {
    /// It has a `mediaType` field, which a push must agree with.
    Named(MediaType),
    /// It has no such field but the shape of a type that need not name itself; it may have been pushed as another.
    Shaped(MediaType),
    /// It says nothing.
    Unknown,
}

impl DeclaredType {
    /// Reads what `bytes` say of themselves.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let Ok(head) = serde_json::from_slice::<Head>(bytes) else { return Self::Unknown };
        match head {
            Head { media_type: Some(media_type), .. } => Self::Named(media_type),
            Head { schema_version: Some(2), manifests: Some(_), .. } => Self::Shaped(MediaType::OCI_INDEX),
            Head { schema_version: Some(2), config: Some(_), .. }
            | Head { schema_version: Some(2), layers: Some(_), .. } => Self::Shaped(MediaType::OCI_MANIFEST),
            // Schema 1 is no longer taken, but distribution 2.8 stores hold such manifests.
            Head { schema_version: Some(1), signatures: Some(_), .. } => Self::Shaped(MediaType::DOCKER_SCHEMA1_SIGNED),
            _ => Self::Unknown,
        }
    }
}

impl Manifest {
    /// Reads `bytes` as a manifest of the type that the request's `Content-Type` or the document's `mediaType` names, and
    /// computes its digest with `algorithm`.
    ///
    /// # Errors
    /// [`ManifestError`] when the two types differ or are both missing, when the bytes are not strict JSON, or when a known
    /// type does not have its shape. A document that could be read as an image and as an index is refused (CVE-2021-41190).
    pub fn parse(content_type: Option<MediaType>, bytes: Bytes, algorithm: Algorithm) -> Result<Self, ManifestError> {
        json::check(&bytes).map_err(ManifestError::Json)?;
        let media_type = agreed_media_type(content_type, &bytes)?;
        let mut manifest = Self {
            digest: Hasher::digest(algorithm, &bytes),
            bytes,
            media_type,
            relations: Vec::new(),
            subject: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        };
        let bytes = manifest.bytes.clone();
        match manifest.media_type.class() {
            Class::Opaque => manifest.read_opaque(&bytes),
            class => manifest.read_known(class, &bytes)?,
        }
        Ok(manifest)
    }

    fn read_known(&mut self, class: Class, bytes: &[u8]) -> Result<(), ManifestError> {
        let shape = |reason: String| ManifestError::Shape { media_type: self.media_type.to_string(), reason };
        let document: Document<'_> = serde_json::from_slice(bytes).map_err(|error| shape(error.to_string()))?;
        if document.schema_version != Some(2) {
            return Err(shape("schemaVersion must be 2".to_owned()));
        }
        let foreign = match class {
            Class::Index => document.config.is_some() || document.layers.is_some(),
            Class::Image | Class::Opaque => document.manifests.is_some(),
        };
        if foreign || document.blobs.is_some() {
            return Err(shape("it has fields of another kind of manifest".to_owned()));
        }
        let mut relations = Vec::new();
        let mut config_type = None;
        if class == Class::Index {
            let children = document.manifests.ok_or_else(|| shape("manifests is missing".to_owned()))?;
            relations.extend(children.into_iter().map(|descriptor| Relation { role: Role::Child, descriptor }));
        } else {
            let config = document.config.ok_or_else(|| shape("config is missing".to_owned()))?;
            config_type = Some(config.media_type.to_string());
            relations.push(Relation { role: Role::Config, descriptor: config });
            let layers = document.layers.unwrap_or_default();
            relations.extend(layers.into_iter().map(|descriptor| Relation { role: Role::Layer, descriptor }));
        }
        self.relations = relations;
        self.subject = document.subject;
        // distribution-spec, "Listing Referrers": an image without artifactType is known by its config's media type.
        self.artifact_type = document.artifact_type.filter(|name| !name.is_empty()).or(config_type);
        self.annotations = document.annotations.unwrap_or_default();
        Ok(())
    }

    fn read_opaque(&mut self, bytes: &[u8]) {
        fn typed<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
            raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        }
        let document: Opaque<'_> = serde_json::from_slice(bytes).unwrap_or_default();
        self.subject = typed(document.subject);
        self.artifact_type = typed(document.artifact_type);
        self.annotations = typed(document.annotations).unwrap_or_default();
    }

    /// The bytes as pushed.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The type it was pushed as.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// What it needs: config and layers, or children.
    #[must_use]
    pub fn relations(&self) -> &[Relation] {
        &self.relations
    }

    /// What it is about. The subject need not exist.
    #[must_use]
    pub fn subject(&self) -> Option<&Descriptor> {
        self.subject.as_ref()
    }

    /// The descriptor under which a referrers answer lists it.
    #[must_use]
    pub fn referrer(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest,
            size: self.bytes.len() as u64,
            urls: Vec::new(),
            annotations: self.annotations.clone(),
            artifact_type: self.artifact_type.clone(),
            platform: None,
        }
    }

    /// The config's media type, for an image.
    #[must_use]
    pub fn config_media_type(&self) -> Option<&MediaType> {
        self.relations
            .iter()
            .find(|relation| relation.role == Role::Config)
            .map(|relation| &relation.descriptor.media_type)
    }
}

fn agreed_media_type(content_type: Option<MediaType>, bytes: &[u8]) -> Result<MediaType, ManifestError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        media_type: Option<MediaType>,
    }
    let named: Named = serde_json::from_slice(bytes).map_err(|error| ManifestError::Json(error.to_string()))?;
    let media_type = match (content_type, named.media_type) {
        (Some(sent), Some(written)) if sent != written => {
            return Err(ManifestError::MediaTypeMismatch {
                content_type: sent.to_string(),
                media_type: written.to_string(),
            });
        }
        (Some(sent), None) if sent.is_docker() => {
            return Err(ManifestError::Shape {
                media_type: sent.to_string(),
                reason: "mediaType is missing".to_owned(),
            });
        }
        (Some(media_type), _) | (None, Some(media_type)) => media_type,
        (None, None) => match DeclaredType::of(bytes) {
            DeclaredType::Named(media_type) | DeclaredType::Shaped(media_type) => media_type,
            DeclaredType::Unknown => return Err(ManifestError::NoMediaType),
        },
    };
    if media_type.is_json() { Ok(media_type) } else { Err(ManifestError::Unsupported(media_type.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":3}}"#)
    }

    fn image(extra: &str) -> String {
        let config = descriptor("application/vnd.oci.image.config.v1+json");
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar");
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]{extra}}}"#)
    }

    fn parse(content_type: Option<MediaType>, text: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(content_type, Bytes::copy_from_slice(text.as_bytes()), Algorithm::Sha256)
    }

    #[test]
    fn an_image_tells_what_it_needs() {
        let manifest = parse(Some(MediaType::OCI_MANIFEST), &image("")).unwrap();
        let roles: Vec<Role> = manifest.relations().iter().map(|relation| relation.role).collect();
        assert_eq!(roles, [Role::Config, Role::Layer]);
        assert_eq!(manifest.referrer().artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
    }

    #[test]
    fn a_document_of_two_shapes_is_refused() {
        let both = image(r#","manifests":[]"#);
        assert!(parse(Some(MediaType::OCI_MANIFEST), &both).is_err());
        assert!(parse(Some(MediaType::OCI_INDEX), &both).is_err());
    }

    #[test]
    fn types_must_agree_and_docker_types_must_be_written() {
        let named = image(r#","mediaType":"application/vnd.oci.image.manifest.v1+json""#);
        assert!(parse(Some(MediaType::OCI_INDEX), &named).is_err());
        assert!(parse(None, &named).is_ok());
        assert!(parse(Some(MediaType::DOCKER_MANIFEST), &image("")).is_err());
        assert_eq!(parse(None, &image("")).unwrap().media_type(), &MediaType::OCI_MANIFEST);
        assert_eq!(parse(None, "{}").unwrap_err(), ManifestError::NoMediaType);
        let text: MediaType = "text/plain".parse().unwrap();
        assert!(matches!(parse(Some(text), "{}"), Err(ManifestError::Unsupported(_))));
    }

    #[test]
    fn null_lists_of_go_clients_are_empty_lists() {
        let config = descriptor("application/vnd.oci.empty.v1+json");
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":null,"annotations":null}}"#);
        assert_eq!(parse(Some(MediaType::OCI_MANIFEST), &text).unwrap().relations().len(), 1);
    }

    #[test]
    fn an_opaque_document_keeps_its_subject_and_nothing_is_demanded_of_it() {
        let subject = descriptor("application/vnd.oci.image.manifest.v1+json");
        let artifact: MediaType = "application/vnd.example+json".parse().unwrap();
        let text = format!(r#"{{"subject":{subject},"config":"mine","artifactType":"a/b"}}"#);
        let manifest = parse(Some(artifact.clone()), &text).unwrap();
        assert!(manifest.subject().is_some());
        assert!(manifest.relations().is_empty());
        assert!(parse(Some(artifact), r#"{"subject":7}"#).unwrap().subject().is_none());
    }

    #[test]
    fn malformed_descriptors_are_refused() {
        for (from, to) in [
            (r#""size":3"#, r#""size":-3"#),
            (r#""size":3"#, r#""size":3.5"#),
            (r#""size":3"#, r#""size":"3""#),
            (r#""size":3"#, r#""other":3"#),
            ("sha256:ba", "sha256:BA"),
            ("sha256:", "md5:"),
            (r#""schemaVersion":2"#, r#""schemaVersion":1"#),
        ] {
            let text = image("").replace(from, to);
            assert!(parse(Some(MediaType::OCI_MANIFEST), &text).is_err(), "{from} -> {to} was accepted");
        }
    }
}
