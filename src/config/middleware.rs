//! The `middleware` section: what `storage` is told of redirects. Those of distribution's other kinds are not built.

use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::storage::driver::{CloudFront, IpRanges, Middleware, Rewrite, ServedFromStore};
use crate::storage::{self, DriverConfig};

use super::document::is_on;
use super::scalar::nearest;
use super::section::{Field, Section};
use super::unbuilt::{enabled_items, refuse};

const KNOWN: [&str; 3] = ["cloudfront", "redirect", "rewrite"];

/// Where Amazon publishes its addresses.
const AMAZON_RANGES: &str = "https://ip-ranges.amazonaws.com/ip-ranges.json";

/// Reads `middleware` for the storage that is configured otherwise.
pub(super) fn read(root: &Section<'_>, storage: &storage::Config) -> Vec<Middleware> {
    let Some(section) = root.section("middleware") else { return Vec::new() };
    for kind in ["registry", "repository"] {
        for item in enabled_items(&section, kind) {
            let name = item.section().and_then(|item| item.get("name", Field::text)).unwrap_or_default();
            let way_out = "take the entry out, or add disabled: true to it";
            refuse(&item, format_args!("{kind} middleware {name}").to_string().trim_end(), way_out);
        }
    }
    let items = enabled_items(&section, "storage");
    let middlewares = items.iter().filter_map(|item| middleware(item, storage)).collect();
    section.finish();
    middlewares
}

fn middleware(item: &Field<'_>, storage: &storage::Config) -> Option<Middleware> {
    let section = item.section()?;
    is_on(Some(&section), "disabled");
    let Some(name) = section.field("name") else {
        section.problem("name", "is missing", "write name: redirect, rewrite or cloudfront");
        return None;
    };
    let options = section.section("options");
    section.finish();
    let word = name.word()?;
    let read: fn(&Section<'_>) -> Option<Middleware> = match word.as_str() {
        "redirect" => redirect,
        "rewrite" => |options| Some(Middleware::Rewrite(rewrite(options))),
        "cloudfront" => cloudfront,
        _ => {
            let hint = match nearest(&word, KNOWN) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "known are cloudfront, redirect and rewrite".to_owned(),
            };
            name.problem(format_args!("unknown storage middleware {word:?}"), hint);
            return None;
        }
    };
    if word == "cloudfront" && !matches!(storage.driver, DriverConfig::S3(_)) {
        name.problem("cloudfront stands in front of an S3 bucket only", "use redirect, or configure storage.s3");
    }
    let Some(options) = options else {
        item.problem(
            "has no options",
            "write options: and below it at least baseurl:, or for rewrite what is to change",
        );
        return None;
    };
    let middleware = read(&options);
    options.finish();
    middleware
}

fn redirect(options: &Section<'_>) -> Option<Middleware> {
    let base = needed(options, "baseurl", "write for example https://blobs.example.org")?;
    Some(Middleware::Redirect { base: base_url(&base)? })
}

fn rewrite(options: &Section<'_>) -> Rewrite {
    let schemes = [("http", Scheme::HTTP), ("https", Scheme::HTTPS)];
    let host = options.field("host").filter(|host| host.word().is_some());
    let authority = host.as_ref().and_then(|field| {
        let authority = field.word()?.parse::<Authority>().ok().filter(|authority| !authority.as_str().contains('@'));
        authority.or_else(|| field.expected("a host name, with a port or without", "write for example cdn.example.org"))
    });
    Rewrite {
        scheme: options.get("scheme", |field| field.choice(&schemes)),
        host: authority,
        trim_path_prefix: options.get("trimpathprefix", Field::word).unwrap_or_default(),
    }
}

fn cloudfront(options: &Section<'_>) -> Option<Middleware> {
    let base = needed(options, "baseurl", "write the distribution's address, such as https://d111.cloudfront.net");
    let base = base.and_then(|field| {
        // distribution takes a bare host name here.
        let text = field.word()?;
        if text.contains("://") { base_url(&field) } else { checked_base(&field, &format!("https://{text}")) }
    });
    let private_key = needed(options, "privatekey", "name the PEM file of the key");
    let key_pair_id = needed(options, "keypairid", "write the id that CloudFront shows for the key");
    let key_pair_id = key_pair_id.and_then(|field| {
        let id = field.word()?;
        let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plain { Some(id) } else { field.expected("letters and digits", "copy the id that CloudFront shows") }
    });
    let duration = options.get("duration", Field::period).unwrap_or(Duration::from_mins(20));
    let served_from_store = served_from_store(options);
    Some(Middleware::CloudFront(Box::new(CloudFront {
        base: base?,
        private_key: private_key?.path()?,
        key_pair_id: key_pair_id?,
        duration,
        served_from_store,
    })))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilteredBy {
    None,
    Aws,
    Region,
}

fn served_from_store(options: &Section<'_>) -> ServedFromStore {
    let choices = [
        ("none", FilteredBy::None),
        ("", FilteredBy::None),
        ("aws", FilteredBy::Aws),
        ("awsregion", FilteredBy::Region),
    ];
    let filtered_by = options.get("ipfilteredby", |field| field.choice(&choices)).unwrap_or(FilteredBy::None);
    let regions = options.get("awsregion", Field::text).unwrap_or_default();
    // The misspelling is distribution's own and counts where the right spelling is absent.
    let misspelled = options.get("updatefrenquency", Field::period);
    let update_frequency = options.get("updatefrequency", Field::period).or(misspelled);
    let url = options.field("iprangesurl").filter(|field| field.word().is_some());
    let url = url.map_or_else(|| Some(AMAZON_RANGES.to_owned()), |field| base_url(&field));
    let regions: Vec<String> = regions
        .split(',')
        .map(|region| region.trim().to_ascii_lowercase())
        .filter(|region| !region.is_empty())
        .collect();
    if filtered_by == FilteredBy::Region && regions.is_empty() {
        options.problem(
            "awsregion",
            "is missing, so no client is of a region",
            "write awsregion: us-east-1, or ipfilteredby: aws",
        );
    }
    match filtered_by {
        FilteredBy::None => ServedFromStore::Nobody,
        FilteredBy::Aws | FilteredBy::Region => ServedFromStore::Within(IpRanges {
            url: url.unwrap_or_default(),
            update_frequency: update_frequency.unwrap_or(Duration::from_hours(12)),
            regions: if filtered_by == FilteredBy::Aws { Vec::new() } else { regions },
        }),
    }
}

fn needed<'a>(options: &Section<'a>, key: &'static str, hint: &str) -> Option<Field<'a>> {
    let field = options.field(key).filter(|field| field.node.to_string() != "");
    if field.is_none() {
        options.problem(key, "is missing", hint);
    }
    field
}

/// An address that paths are put behind.
fn base_url(field: &Field<'_>) -> Option<String> {
    checked_base(field, &field.word()?)
}

fn checked_base(field: &Field<'_>, text: &str) -> Option<String> {
    let usable = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    };
    if text.parse::<Uri>().is_ok_and(|uri| usable(&uri)) && !text.contains('#') {
        return Some(text.trim_end_matches('/').to_owned());
    }
    field.expected("an address of http or https without a query", "write for example https://blobs.example.org")
}
