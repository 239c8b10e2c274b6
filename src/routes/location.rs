//! How this registry names its own content to clients: `Location` and the next page's `Link`.
//!
//! What a client or a proxy says about host and scheme gets into a header only after its grammar was checked.

use std::net::IpAddr;
use std::sync::Once;

use http::header::{FORWARDED, HOST, LINK, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::oci::{Digest, RepositoryName};
use crate::registry::UploadSession;
use crate::telemetry::PeerAddress;

use super::answer::{UPLOAD_UUID, set};
use super::config::{Config, LocationForm, Scheme, TrustedProxies};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Everything but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Writes addresses of this registry in the configured form.
#[derive(Debug)]
pub(super) struct Addresses {
    form: LocationForm,
    /// `<prefix>v2/`.
    root: String,
    scheme: Scheme,
    trusted_proxies: TrustedProxies,
    believed_unasked: Once,
}

impl Addresses {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            form: config.location.clone(),
            root: format!("{}v2/", config.prefix),
            scheme: config.scheme,
            trusted_proxies: config.trusted_proxies.clone(),
            believed_unasked: Once::new(),
        }
    }

    /// Sets `Location` to a blob.
    pub(super) fn locate_blob(&self, parts: &Parts, headers: &mut HeaderMap, name: &RepositoryName, digest: &Digest) {
        self.locate(parts, headers, &format!("{name}/blobs/{digest}"));
    }

    /// Sets `Location` to a manifest.
    pub(super) fn locate_manifest(
        &self,
        parts: &Parts,
        headers: &mut HeaderMap,
        name: &RepositoryName,
        digest: &Digest,
    ) {
        self.locate(parts, headers, &format!("{name}/manifests/{digest}"));
    }

    /// Sets `Location`, `Range` and `Docker-Upload-UUID`, from which a client goes on with an upload.
    pub(super) fn locate_upload(
        &self,
        parts: &Parts,
        headers: &mut HeaderMap,
        name: &RepositoryName,
        session: &UploadSession,
    ) {
        let id = session.id.to_string();
        self.locate(parts, headers, &format!("{name}/blobs/uploads/{id}?_state={}", session.state));
        set(headers, UPLOAD_UUID, id);
        // Both ends inclusive and no unit. An empty upload cannot be said in this grammar: `0-0`, as distribution does.
        set(headers, http::header::RANGE, format!("0-{}", session.length.saturating_sub(1)));
    }

    fn locate(&self, parts: &Parts, headers: &mut HeaderMap, path: &str) {
        let address = match &self.form {
            LocationForm::Relative => format!("{}{path}", self.root),
            LocationForm::Fixed(base) => format!("{base}/v2/{path}"),
            LocationForm::FromRequest => match self.origin(parts) {
                Some(origin) => format!("{origin}{}{path}", self.root),
                None => format!("{}{path}", self.root),
            },
        };
        set(headers, LOCATION, address);
    }

    /// Sets `Link` to the next page of the list at `path` below `/v2/`: relative in every form, because clients hold it
    /// against the address they asked. `parameters` are repeated.
    pub(super) fn link_next(&self, headers: &mut HeaderMap, path: &str, page: &NextPage<'_>) {
        let mut link = format!("<{}{path}?", self.root);
        for (parameter, value) in page.parameters {
            link.extend([*parameter, "="].into_iter().chain(utf8_percent_encode(value, ESCAPED)).chain(["&"]));
        }
        link.push_str("last=");
        link.extend(utf8_percent_encode(page.last, ESCAPED));
        link.extend(["&n=", &page.limit.to_string(), ">; rel=\"next\""]);
        set(headers, LINK, link);
    }

    /// `scheme://host` as the client sees it: by `Forwarded`, else by `X-Forwarded-*`, else by the request itself.
    pub(super) fn origin(&self, parts: &Parts) -> Option<String> {
        let mut scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let own = text(&parts.headers, &HOST).or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
        let mut host = own.and_then(checked_host);
        if let Some(forwarded) = self.forwarded(parts) {
            scheme = forwarded.scheme.unwrap_or(scheme);
            host = forwarded.host.or(host);
        }
        host.map(|host| format!("{scheme}://{host}"))
    }

    /// The address by which clients know this registry, prefix included, without a slash at its end.
    pub(super) fn registry(&self, parts: &Parts) -> Option<String> {
        match &self.form {
            LocationForm::Fixed(base) => Some(base.clone()),
            LocationForm::Relative | LocationForm::FromRequest => {
                let prefix = self.root.strip_suffix("/v2/").unwrap_or_default();
                self.origin(parts).map(|origin| origin + prefix)
            }
        }
    }

    /// What the proxy in front says, if there is one that is to be believed.
    fn forwarded<'a>(&self, parts: &'a Parts) -> Option<Forwarded<'a>> {
        let forwarded = Forwarded::read(&parts.headers)?;
        let TrustedProxies::Only(networks) = &self.trusted_proxies else {
            self.believed_unasked.call_once(|| {
                tracing::warn!(
                    "a forwarded header is believed although http.trustedproxies is not set: whoever reaches this \
                     registry directly can choose the host in its Location headers; list your proxies there"
                );
            });
            return Some(forwarded);
        };
        let peer = peer_address(parts)?;
        networks.iter().any(|network| network.contains(peer)).then_some(forwarded)
    }
}

/// Where the next page of a list begins.
#[derive(Debug)]
pub(super) struct NextPage<'a> {
    pub(super) last: &'a str,
    pub(super) limit: usize,
    pub(super) parameters: &'a [(&'static str, &'a str)],
}

/// Host and scheme as a proxy saw them.
#[derive(Debug, PartialEq, Eq)]
struct Forwarded<'a> {
    scheme: Option<&'static str>,
    host: Option<&'a str>,
}

impl<'a> Forwarded<'a> {
    /// RFC 7239's first element; only without it the older headers, as distribution reads them.
    fn read(headers: &'a HeaderMap) -> Option<Self> {
        if let Some(forwarded) = text(headers, &FORWARDED) {
            let element = forwarded.split(',').next().unwrap_or_default();
            let parameter = |wanted: &str| {
                element.split(';').find_map(|pair| {
                    let (name, value) = pair.split_once('=')?;
                    name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
                })
            };
            let (scheme, host) =
                (parameter("proto").and_then(checked_scheme), parameter("host").and_then(checked_host));
            return Some(Self { scheme, host });
        }
        // Several proxies in a row make a list, of which the first saw the client.
        let first = |name: HeaderName| text(headers, &name).and_then(|list| list.split(',').next()).map(str::trim);
        let scheme = first(X_FORWARDED_PROTO).and_then(checked_scheme);
        let host = first(X_FORWARDED_HOST).and_then(checked_host);
        (scheme.is_some() || host.is_some()).then_some(Self { scheme, host })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn checked_scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| scheme.eq_ignore_ascii_case(text))
}

/// A host name or address with an optional port; nothing that could end the authority of an address.
fn checked_host(text: &str) -> Option<&str> {
    const LONGEST: usize = 260;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (!text.is_empty() && text.len() <= LONGEST && text.bytes().all(allowed)).then_some(text)
}

/// The address that the request's connection comes from; `None` on a unix socket.
pub(super) fn peer_address(parts: &Parts) -> Option<IpAddr> {
    let PeerAddress(peer) = parts.extensions.get::<PeerAddress>()?;
    peer.map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ProxyNetwork;

    const UPLOAD: &str = "a/b/blobs/uploads/1";

    fn located(config: &Config, request: http::request::Builder) -> String {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut headers = HeaderMap::new();
        Addresses::new(config).locate(&parts, &mut headers, UPLOAD);
        headers[LOCATION].to_str().unwrap().to_owned()
    }

    fn request() -> http::request::Builder {
        http::Request::builder().header("host", "registry.example:5000")
    }

    fn from_request() -> Config {
        Config { location: LocationForm::FromRequest, ..Config::default() }
    }

    #[test]
    fn the_configured_form_decides() {
        let relative = Config { prefix: "/base/".to_owned(), ..Config::default() };
        assert_eq!(located(&relative, request()), format!("/base/v2/{UPLOAD}"));
        let fixed = Config { location: LocationForm::Fixed("https://r.example/x".to_owned()), ..Config::default() };
        assert_eq!(located(&fixed, request()), format!("https://r.example/x/v2/{UPLOAD}"));
        assert_eq!(located(&from_request(), request()), format!("http://registry.example:5000/v2/{UPLOAD}"));
        let tls = Config { scheme: Scheme::Https, ..from_request() };
        assert_eq!(located(&tls, request()), format!("https://registry.example:5000/v2/{UPLOAD}"));
    }

    #[test]
    fn forwarded_headers_are_read_as_distribution_reads_them() {
        let seen = |request| located(&from_request(), request);
        assert_eq!(
            seen(request().header("x-forwarded-proto", "https").header("x-forwarded-host", "a.example , b.example")),
            format!("https://a.example/v2/{UPLOAD}")
        );
        assert_eq!(
            seen(
                request()
                    .header("forwarded", "for=1;proto=https;host=\"f.example:8443\", host=g")
                    .header("x-forwarded-host", "x")
            ),
            format!("https://f.example:8443/v2/{UPLOAD}")
        );
        assert_eq!(
            seen(request().header("forwarded", "for=192.0.2.1").header("x-forwarded-host", "x")),
            format!("http://registry.example:5000/v2/{UPLOAD}")
        );
    }

    #[test]
    fn listed_proxies_alone_are_believed() {
        let network = ProxyNetwork { address: "10.0.0.0".parse().unwrap(), prefix: 8 };
        let config = Config { trusted_proxies: TrustedProxies::Only(vec![network]), ..from_request() };
        let from = |peer: Option<&str>| {
            let peer = PeerAddress(peer.map(|peer| peer.parse().unwrap()));
            located(&config, request().header("x-forwarded-host", "evil.example").extension(peer))
        };
        assert_eq!(from(Some("10.1.2.3:9")), format!("http://evil.example/v2/{UPLOAD}"));
        assert_eq!(from(Some("192.0.2.1:9")), format!("http://registry.example:5000/v2/{UPLOAD}"));
        assert_eq!(from(None), format!("http://registry.example:5000/v2/{UPLOAD}"));
    }

    #[test]
    fn a_host_that_could_end_the_authority_is_not_used() {
        for host in ["evil.example/x", "user@evil.example", "a b", "a?b", "a#b", "a\\b", "a%0d", ""] {
            let location = located(&from_request(), http::Request::builder().header("host", host));
            assert_eq!(location, format!("/v2/{UPLOAD}"), "{host:?}");
        }
    }

    #[test]
    fn the_registry_is_where_its_clients_know_it() {
        let known = |config: &Config| {
            let (parts, ()) = request().header("x-forwarded-proto", "https").body(()).unwrap().into_parts();
            Addresses::new(config).registry(&parts)
        };
        let prefix = Config { prefix: "/base/".to_owned(), ..Config::default() };
        assert_eq!(known(&Config::default()).as_deref(), Some("https://registry.example:5000"));
        assert_eq!(known(&prefix).as_deref(), Some("https://registry.example:5000/base"));
        let fixed = Config { location: LocationForm::Fixed("https://r.example/x".to_owned()), ..prefix };
        assert_eq!(known(&fixed).as_deref(), Some("https://r.example/x"));
    }

    #[test]
    fn the_next_page_repeats_parameters_escaped() {
        let mut headers = HeaderMap::new();
        let page = NextPage { last: "a/b", limit: 7, parameters: &[("artifactType", "x/y+z;\"\r\n>")] };
        Addresses::new(&Config::default()).link_next(&mut headers, "_catalog", &page);
        assert_eq!(headers[LINK], "</v2/_catalog?artifactType=x%2Fy%2Bz%3B%22%0D%0A%3E&last=a%2Fb&n=7>; rel=\"next\"");
    }
}
