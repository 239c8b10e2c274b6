//! Lists: the catalog, tags (distribution-spec, "Listing Tags") and referrers ("Listing Referrers").

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde::Serialize;

use crate::oci::{Descriptor, Digest, RepositoryName};
use crate::registry::{Page, PageRequest};

use super::Error;
use super::answer::{self, OCI_FILTERS_APPLIED};
use super::door::Call;
use super::location::NextPage;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Serialize)]
struct Catalog<'a> {
    repositories: Vec<&'a str>,
}

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Referrers<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: &'a [Descriptor],
}

/// `GET /v2/_catalog`.
pub(super) async fn catalog(call: &Call<'_>, page: &PageRequest) -> Result<Response<Body>, Error> {
    let found = visible(call, page).await?;
    let repositories = found.items.iter().map(RepositoryName::as_str).collect();
    let mut response = answer::json(document(&Catalog { repositories }));
    link_next(call, &mut response, "_catalog", &found, &[]);
    Ok(response)
}

/// The page without what the holder of the grant may not see. Its end is the last name that may be seen, because the
/// link to the next page tells it.
async fn visible(call: &Call<'_>, page: &PageRequest) -> Result<Page<RepositoryName>, Error> {
    let mut found = call.registry.catalog(page).await.map_err(Error::by_registry)?;
    if call.grant.sees_whole_catalog() {
        return Ok(found);
    }
    let limit = found.limit;
    found.items.retain(|name| call.grant.may_see(name));
    while found.items.len() < limit
        && let Some(after) = found.next.take()
    {
        let more = PageRequest { after: Some(after), limit: None };
        let mut more = call.registry.catalog(&more).await.map_err(Error::by_registry)?;
        more.items.retain(|name| call.grant.may_see(name));
        found.items.append(&mut more.items);
        found.next = more.next;
    }
    let further = found.next.is_some() || found.items.len() > limit;
    found.items.truncate(limit);
    found.next = found.items.last().filter(|_| further).map(ToString::to_string);
    Ok(found)
}

/// `GET /v2/<name>/tags/list`.
pub(super) async fn tags(call: &Call<'_>, name: &RepositoryName, page: &PageRequest) -> Result<Response<Body>, Error> {
    let found = call.registry.tags(name, page).await.map_err(Error::by_registry)?;
    let tags = found.items.iter().map(crate::oci::Tag::as_str).collect();
    let mut response = answer::json(document(&Tags { name: name.as_str(), tags }));
    if found.next.is_some() {
        link_next(call, &mut response, &format!("{name}/tags/list"), &found, &[]);
    }
    Ok(response)
}

/// `GET /v2/<name>/referrers/<digest>`.
pub(super) async fn referrers(
    call: &Call<'_>,
    name: &RepositoryName,
    subject: &Digest,
    artifact_types: &[String],
    page: &PageRequest,
) -> Result<Response<Body>, Error> {
    let found = call.registry.referrers(name, subject, artifact_types, page).await.map_err(Error::by_registry)?;
    let index = Referrers { schema_version: 2, media_type: OCI_INDEX, manifests: &found.items };
    let mut response = answer::json(document(&index));
    let headers = response.headers_mut();
    // Clients compare it literally.
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCI_INDEX));
    if !artifact_types.is_empty() {
        headers.insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    let parameters: Vec<_> = artifact_types.iter().map(|filter| ("artifactType", filter.as_str())).collect();
    link_next(call, &mut response, &format!("{name}/referrers/{subject}"), &found, &parameters);
    Ok(response)
}

fn link_next<T>(
    call: &Call<'_>,
    response: &mut Response<Body>,
    path: &str,
    page: &Page<T>,
    parameters: &[(&'static str, &str)],
) {
    if let Some(last) = &page.next {
        let next = NextPage { last, limit: page.limit, parameters };
        call.addresses.link_next(response.headers_mut(), path, &next);
    }
}

/// The document as JSON. Strings, numbers and lists of them cannot fail to be written.
fn document(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
