//! The sections that tell the rules of push and pull: `validation`, `policy`, `catalog`, `tags` and `limits`.

use regex::RegexSet;

use crate::registry::{Checks, Config, IndexPlatforms, Limits, Platform, RepositoryClass, UrlRules, Validation};

use super::document::is_on;
use super::section::{Field, Section};
use super::storage::Storage;

/// Most entries that one answer may be allowed to hold.
const MAX_PAGE: i64 = 1_000_000;

/// Reads the sections and adds what `storage` and `http` say of the same room.
pub(super) fn read(root: &Section<'_>, storage: &Storage, secret: Option<Vec<u8>>) -> Config {
    Config {
        deletion: storage.deletion,
        access: storage.access,
        validation: root.section("validation").map(validation).unwrap_or_default(),
        repository_classes: root.section("policy").map(policy).unwrap_or_default(),
        limits: limits(root),
        secret,
    }
}

fn validation(section: Section<'_>) -> Validation {
    let mut validation = Validation::default();
    // The older switch wins when it is on, and off it says nothing: so it is in distribution.
    let (disabled, enabled) = (is_on(Some(&section), "disabled"), is_on(Some(&section), "enabled"));
    if disabled && !enabled {
        validation.checks = Checks::Skipped;
    }
    if let Some(manifests) = section.section("manifests") {
        if let Some(urls) = manifests.section("urls") {
            let rules = |key| urls.get(key, Field::list).and_then(|patterns| patterns_of(&patterns));
            validation.urls = UrlRules { allow: rules("allow"), deny: rules("deny") };
            urls.finish();
        }
        if let Some(indexes) = manifests.section("indexes") {
            validation.index_platforms = index_platforms(indexes);
        }
        manifests.finish();
    }
    section.finish();
    validation
}

/// Each pattern is tried alone first, so that a wrong one is reported at its own line.
fn patterns_of(patterns: &[Field<'_>]) -> Option<RegexSet> {
    let read = |pattern: &Field<'_>| {
        let text = pattern.word()?;
        match RegexSet::new([&text]) {
            Ok(_) => Some(text),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
                pattern.expected(format_args!("a regular expression ({reason})"), "the syntax is that of RE2")
            }
        }
    };
    let texts: Vec<String> = patterns.iter().filter_map(read).collect();
    if texts.is_empty() { None } else { RegexSet::new(texts).ok() }
}

fn index_platforms(section: Section<'_>) -> IndexPlatforms {
    let kinds =
        [("all", IndexPlatforms::All), ("none", IndexPlatforms::None), ("list", IndexPlatforms::List(Vec::new()))];
    let kind = section.get("platforms", |field| field.choice(&kinds)).unwrap_or_default();
    let listed: Vec<Platform> = section
        .get("platformlist", Field::list)
        .unwrap_or_default()
        .iter()
        .filter_map(|item| platform(item.section()?))
        .collect();
    let platforms = match kind {
        IndexPlatforms::List(_) => IndexPlatforms::List(listed),
        other => {
            if !listed.is_empty() {
                section.warn("platformlist", "has no effect unless platforms is list");
            }
            other
        }
    };
    section.finish();
    platforms
}

fn platform(section: Section<'_>) -> Option<Platform> {
    let architecture = section.get("architecture", Field::word);
    let os = section.get("os", Field::word);
    if architecture.is_none() || os.is_none() {
        section.problem("architecture", "a platform needs architecture and os", "write both, such as amd64 and linux");
    }
    section.finish();
    Some(Platform { architecture: architecture?, os: os? })
}

fn policy(section: Section<'_>) -> Vec<RepositoryClass> {
    let classes = section.section("repository").map(|repository| {
        let known = [("image", RepositoryClass::Image), ("plugin", RepositoryClass::Plugin)];
        let classes = repository.get("classes", Field::list).unwrap_or_default();
        let classes = classes.iter().filter_map(|class| class.choice(&known)).collect();
        repository.finish();
        classes
    });
    section.finish();
    classes.unwrap_or_default()
}

fn limits(root: &Section<'_>) -> Limits {
    let mut limits = Limits::default();
    // As in distribution, a page of no or fewer than no repositories asks for the default.
    if let Some(section) = root.section("catalog") {
        let entries =
            section.get("maxentries", |field| field.number(i64::MIN..=MAX_PAGE)).filter(|entries| *entries > 0);
        limits.catalog_page = entries.and_then(|entries| entries.try_into().ok()).unwrap_or(limits.catalog_page);
        section.finish();
    }
    if let Some(section) = root.section("tags") {
        let tags = section.get("maxtags", |field| field.number(0..=MAX_PAGE)).filter(|tags| *tags > 0);
        limits.tags_page = tags.and_then(|tags| tags.try_into().ok()).unwrap_or(limits.tags_page);
        section.finish();
    }
    if let Some(section) = root.section("limits") {
        let manifest_bytes = section.get("manifestbytes", |field| field.bytes(64 * 1024..=1 << 30));
        let manifest_bytes = manifest_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        limits.manifest_bytes = manifest_bytes.unwrap_or(limits.manifest_bytes);
        limits.blob_bytes = section.get("blobbytes", |field| field.bytes(0..=1 << 60)).unwrap_or(limits.blob_bytes);
        let count = |key, default| section.get(key, |field| field.number(1..=1_000_000)).unwrap_or(default);
        limits.concurrent_uploads = count("concurrentuploads", limits.concurrent_uploads);
        limits.referrers_page = count("referrerspage", limits.referrers_page);
        section.finish();
    }
    limits
}
