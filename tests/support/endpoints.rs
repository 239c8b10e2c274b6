//! Every endpoint there is, for the tables that must have a row for each.

use berth::oci::{Reference, RepositoryName};
use berth::registry::{self, PageRequest};
use berth::routes::Endpoint;

/// One endpoint after the other; the match makes sure that none is left out.
fn after(endpoint: &Endpoint) -> Option<Endpoint> {
    let name: RepositoryName = "a".parse().unwrap();
    let reference = Reference::Tag("v1".parse().unwrap());
    let digest = super::digest(b"x").parse().unwrap();
    let (id, state, page) = (registry::UploadId::random(), String::new(), PageRequest::default());
    Some(match endpoint {
        Endpoint::Base => Endpoint::Catalog { page },
        Endpoint::Catalog { .. } => Endpoint::Tags { name, page },
        Endpoint::Tags { .. } => Endpoint::Referrers { name, subject: digest, artifact_types: Vec::new(), page },
        Endpoint::Referrers { .. } => Endpoint::PullManifest { name, reference },
        Endpoint::PullManifest { .. } => Endpoint::PushManifest { name, reference, tags: Vec::new() },
        Endpoint::PushManifest { .. } => Endpoint::DeleteManifest { name, reference },
        Endpoint::DeleteManifest { .. } => Endpoint::PullBlob { name, digest },
        Endpoint::PullBlob { .. } => Endpoint::DeleteBlob { name, digest },
        Endpoint::DeleteBlob { .. } => Endpoint::BeginUpload { name, algorithm: None },
        Endpoint::BeginUpload { .. } => Endpoint::PushBlob { name, digest },
        Endpoint::PushBlob { .. } => Endpoint::MountBlob { name, digest, source: None },
        Endpoint::MountBlob { .. } => Endpoint::UploadStatus { name, id, state },
        Endpoint::UploadStatus { .. } => Endpoint::AppendUpload { name, id, state },
        Endpoint::AppendUpload { .. } => Endpoint::FinishUpload { name, id, state, digest },
        Endpoint::FinishUpload { .. } => Endpoint::CancelUpload { name, id, state },
        Endpoint::CancelUpload { .. } => return None,
    })
}

/// Every endpoint. What it holds is of no consequence.
pub fn every_endpoint() -> impl Iterator<Item = Endpoint> {
    std::iter::successors(Some(Endpoint::Base), after)
}
