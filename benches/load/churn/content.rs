//! What the clients push: layers that all share, images made of some of them, indexes of images.

use serde_json::json;

use super::random::Random;
use crate::image;
use crate::payload;

/// Media type of indexes.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Images that differ in nothing but their number, pushed by every client.
const SHARED_IMAGES: usize = 16;

/// Bytes and their digest.
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: payload::digest(&bytes), bytes }
    }
}

/// An image or an index, with everything that has to be pushed before it.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) kind: Kind,
    pub(super) media_type: &'static str,
    pub(super) manifest: String,
    pub(super) digest: String,
    pub(super) config: String,
    pub(super) layers: Vec<usize>,
    pub(super) children: Vec<Content>,
}

/// Who else may push the same, and so what its owner may do to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody else: it may be deleted by its digest.
    Own,
    /// Other clients push the same, or an index of this client has it: only its tag may be deleted.
    Shared,
}

/// The layers, the same in every run.
pub(super) fn layers(count: usize, size: usize) -> Vec<Blob> {
    let noise = |number: usize| {
        let mut random = Random::new(number as u64);
        (0..size).map(|_| u8::try_from(random.below(256)).unwrap_or(0)).collect()
    };
    (0..count).map(|number| Blob::new(noise(number))).collect()
}

impl Content {
    /// An image that only this client pushes; `word` is its own.
    pub(super) fn own(random: &mut Random, layers: &[Blob], word: &str) -> Self {
        Self::image(random, layers, word, Kind::Own)
    }

    /// One of the images that every client pushes.
    pub(super) fn shared(random: &mut Random, layers: &[Blob]) -> Self {
        let number = random.below(SHARED_IMAGES);
        Self::image(&mut Random::new(number as u64), layers, &format!("shared {number}"), Kind::Shared)
    }

    /// An index of a shared image and one that only this client pushes.
    pub(super) fn index(random: &mut Random, layers: &[Blob], word: &str) -> Self {
        let children = vec![
            Self::shared(random, layers),
            Self { kind: Kind::Shared, ..Self::own(random, layers, &format!("{word} child")) },
        ];
        let descriptors: Vec<_> = children
            .iter()
            .map(|child| json!({ "mediaType": child.media_type, "digest": child.digest, "size": child.manifest.len() }))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": descriptors,
            "annotations": { "word": word },
        })
        .to_string();
        let digest = payload::digest(manifest.as_bytes());
        Self {
            kind: Kind::Own,
            media_type: INDEX,
            manifest,
            digest,
            config: String::new(),
            layers: Vec::new(),
            children,
        }
    }

    fn image(random: &mut Random, layers: &[Blob], word: &str, kind: Kind) -> Self {
        let mut chosen: Vec<usize> = (0..=random.below(3)).map(|_| random.below(layers.len())).collect();
        chosen.sort_unstable();
        chosen.dedup();
        let config = json!({ "architecture": "amd64", "os": "linux", "author": word }).to_string();
        let described: Vec<(String, usize)> = chosen
            .iter()
            .filter_map(|number| layers.get(*number))
            .map(|layer| (layer.digest.clone(), layer.bytes.len()))
            .collect();
        let manifest = image::manifest(&payload::digest(config.as_bytes()), config.len(), &described);
        let digest = payload::digest(manifest.as_bytes());
        Self { kind, media_type: image::MANIFEST, manifest, digest, config, layers: chosen, children: Vec::new() }
    }
}
