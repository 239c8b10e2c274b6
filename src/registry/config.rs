//! What the rules of push and pull are told: what may be deleted, what a manifest may hold, and the limits.

use regex::RegexSet;

use crate::oci::Descriptor;

/// The rules of push and pull that an operator chooses.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `storage.delete.enabled`.
    pub deletion: Deletion,
    /// `storage.maintenance.readonly.enabled`.
    pub access: Access,
    /// `validation.manifests`.
    pub validation: Validation,
    /// `policy.repository.classes`; empty allows every class.
    pub repository_classes: Vec<RepositoryClass>,
    /// Limits on what one request or one repository may hold.
    pub limits: Limits,
    /// Key of upload session tokens (`http.secret`); `None` draws one for this process.
    pub secret: Option<Vec<u8>>,
}

/// `storage.delete.enabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deletion {
    /// Deletes are carried out.
    Enabled,
    /// Deletes are refused with `UNSUPPORTED`.
    #[default]
    Disabled,
}

/// `storage.maintenance.readonly.enabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Pulls and pushes.
    #[default]
    ReadWrite,
    /// Pulls only.
    ReadOnly,
}

/// `validation`: what a pushed manifest may refer to.
#[derive(Debug, Clone, Default)]
pub struct Validation {
    /// `validation.manifests.urls`, for layers that lie elsewhere.
    pub urls: UrlRules,
    /// `validation.manifests.indexes.platforms`: which children of an index must exist.
    pub index_platforms: IndexPlatforms,
    /// `validation.disabled`: URLs and index children go unchecked. Layers and configs are checked always.
    pub checks: Checks,
}

impl Validation {
    /// Whether an index may not be pushed without this child.
    #[must_use]
    pub fn requires(&self, child: &Descriptor) -> bool {
        match (&self.checks, &self.index_platforms) {
            (Checks::Skipped, _) | (_, IndexPlatforms::None) => false,
            (Checks::Applied, IndexPlatforms::All) => true,
            (Checks::Applied, IndexPlatforms::List(platforms)) => child.platform.as_ref().is_some_and(|platform| {
                platforms.iter().any(|wanted| wanted.os == platform.os && wanted.architecture == platform.architecture)
            }),
        }
    }
}

/// `validation.disabled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checks {
    /// Rules are applied.
    #[default]
    Applied,
    /// Rules are skipped.
    Skipped,
}

/// Patterns that the URLs of foreign layers are held against.
#[derive(Debug, Clone, Default)]
pub struct UrlRules {
    /// Any match is needed, when given.
    pub allow: Option<RegexSet>,
    /// No match is allowed, when given.
    pub deny: Option<RegexSet>,
}

/// Which children of an image index must exist when it is pushed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IndexPlatforms {
    /// Every child.
    #[default]
    All,
    /// None: a sparse index is welcome.
    None,
    /// Those of the platforms listed; a child without a platform is not checked.
    List(Vec<Platform>),
}

/// One entry of `validation.manifests.indexes.platformlist`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// CPU architecture as Go names it.
    pub architecture: String,
    /// Operating system as Go names it.
    pub os: String,
}

/// What a repository is used for, told by the media type of the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepositoryClass {
    /// Docker or OCI images.
    Image,
    /// Docker plugins.
    Plugin,
}

/// Bounds on input. Sizes in bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest manifest taken or given; the specification asks for at least 4 MiB.
    pub manifest_bytes: usize,
    /// Largest blob taken; 0 means no limit.
    pub blob_bytes: u64,
    /// Most repositories in one answer (`catalog.maxentries`).
    pub catalog_page: usize,
    /// Most tags in one answer (`tags.maxtags`).
    pub tags_page: usize,
    /// Most referrers in one answer.
    pub referrers_page: usize,
    /// Upload sessions that one process has requests running on at once.
    pub concurrent_uploads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 * 1024 * 1024,
            blob_bytes: 0,
            catalog_page: 1000,
            tags_page: 1000,
            referrers_page: 100,
            concurrent_uploads: 1000,
        }
    }
}
