//! The `http` section, except TLS: for `server` what concerns sockets, for `routes` what concerns answers.

use http::{HeaderName, HeaderValue};

use crate::routes::{self, LocationForm, ProxyNetwork, Scheme, TrustedProxies};
use crate::server::{self, Debug, Limits, Net, Toggle};

use super::document::{Activation, is_on};
use super::scalar;
use super::section::{Field, Section};
use super::tls;

/// Where metrics are served when nothing else is said.
const METRICS_PATH: &str = "/metrics";

/// What the section says, by the room it is for.
#[derive(Debug, Default)]
pub(super) struct Http {
    /// For `server`.
    pub(super) server: server::Config,
    /// For `routes`.
    pub(super) routes: routes::Config,
    /// For `registry`: `http.secret`.
    pub(super) secret: Option<Vec<u8>>,
}

/// Reads `http`. Without an address to listen on there must be a socket that was passed.
pub(super) fn read(root: &Section<'_>, activation: Activation) -> Http {
    let Some(section) = root.section("http") else {
        if root.field("http").is_none() && activation == Activation::None {
            root.problem("http.addr", "is missing, so there is nothing to listen on", ADDR_HINT);
        }
        return Http::default();
    };
    let trusted = section.get("trustedproxies", Field::list).map(networks);
    let server = server(&section, trusted.clone().unwrap_or_default(), activation);
    let routes = routes::Config {
        prefix: section.get("prefix", prefix).unwrap_or_else(|| routes::Config::default().prefix),
        location: location(&section),
        scheme: if server.tls.is_some() { Scheme::Https } else { Scheme::Http },
        trusted_proxies: trusted.map_or(TrustedProxies::Anyone, TrustedProxies::Only),
        served_directly: Vec::new(),
        headers: section.section("headers").map(|headers| header_values(&headers)).unwrap_or_default(),
    };
    let secret = section.get("secret", Field::word).map(String::into_bytes);
    section.finish();
    Http { server, routes, secret }
}

const ADDR_HINT: &str = "write addr: :5000 below http:, or addr: 127.0.0.1:5000 for this machine only";

fn server(section: &Section<'_>, trusted_proxies: Vec<ProxyNetwork>, activation: Activation) -> server::Config {
    let defaults = server::Config::default();
    let net = section.get("net", |field| field.choice(&[("tcp", Net::Tcp), ("unix", Net::Unix), ("", Net::Tcp)]));
    let net = net.unwrap_or(defaults.net);
    let addr = match (section.field("addr").filter(|field| field.node.to_string() != ""), net) {
        (Some(field), Net::Tcp) => field.host_and_port(),
        (Some(field), Net::Unix) => field.word(),
        (None, _) => {
            if activation == Activation::None {
                section.problem("addr", "is missing, so there is nothing to listen on", ADDR_HINT);
            }
            None
        }
    };
    let (http2, h2c) = (section.section("http2"), section.section("h2c"));
    let (http2_off, h2c_on) = (is_on(http2.as_ref(), "disabled"), is_on(h2c.as_ref(), "enabled"));
    [http2, h2c].into_iter().flatten().for_each(Section::finish);
    let limits = section.section("limits").map(limits).unwrap_or_default();
    server::Config {
        addr: addr.unwrap_or(defaults.addr),
        net,
        tls: section.section("tls").and_then(tls::read),
        http2: if http2_off { Toggle::Off } else { Toggle::On },
        h2c: if h2c_on { Toggle::On } else { Toggle::Off },
        drain_timeout: section.get("draintimeout", Field::duration).unwrap_or(defaults.drain_timeout),
        debug: section.section("debug").and_then(debug),
        limits: Limits { trusted_proxies, ..limits },
    }
}

/// Reads blocks of addresses.
pub(super) fn networks(items: Vec<Field<'_>>) -> Vec<ProxyNetwork> {
    let hint = "write for example 10.0.0.0/8, fd00::/8 or 192.0.2.7";
    let read = |item: Field<'_>| {
        let network = item.word().as_deref().and_then(scalar::network);
        network.or_else(|| item.expected("an address or a block of addresses", hint))
    };
    items.into_iter().filter_map(read).collect()
}

/// The debug listener needs an address; metrics alone are served nowhere.
fn debug(section: Section<'_>) -> Option<Debug> {
    let addr = section.field("addr").filter(|field| field.node.to_string() != "");
    let prometheus = section.section("prometheus");
    let enabled = is_on(prometheus.as_ref(), "enabled");
    let path = prometheus.as_ref().and_then(|prometheus| prometheus.get("path", absolute_path));
    if let Some(prometheus) = prometheus {
        prometheus.finish();
    }
    if addr.is_none() && enabled {
        section.warn("prometheus", "metrics are served on http.debug.addr only, which is not set");
    }
    let addr = addr.and_then(|field| field.host_and_port());
    section.finish();
    let prometheus_path = enabled.then(|| path.unwrap_or_else(|| METRICS_PATH.to_owned()));
    Some(Debug { addr: addr?, prometheus_path })
}

fn absolute_path(field: &Field<'_>) -> Option<String> {
    let path = field.word()?;
    if path.starts_with('/') {
        Some(path)
    } else {
        field.expected("a path that begins with /", format!("write /{path}"))
    }
}

fn prefix(field: &Field<'_>) -> Option<String> {
    let text = field.word()?;
    let plain = text.parse::<http::uri::PathAndQuery>().is_ok_and(|path| path.query().is_none());
    if plain && text.starts_with('/') && text.ends_with('/') && !text.contains("//") {
        return Some(text);
    }
    let words: Vec<&str> = text.split('/').filter(|word| !word.is_empty()).collect();
    field.expected("a path that begins and ends with /", format_args!("write /{}/", words.join("/")))
}

/// `host` wins; relative addresses otherwise, unless the file asks for absolute ones.
fn location(section: &Section<'_>) -> LocationForm {
    let relative = section.get("relativeurls", Field::boolean).unwrap_or(true);
    match section.get("host", host) {
        Some(host) => LocationForm::Fixed(host),
        None if relative => LocationForm::Relative,
        None => LocationForm::FromRequest,
    }
}

fn host(field: &Field<'_>) -> Option<String> {
    let text = field.word()?;
    let uri = text.parse::<http::Uri>().ok();
    let usable = |uri: &http::Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    };
    if uri.as_ref().is_some_and(usable) && !text.contains('#') {
        return Some(text.trim_end_matches('/').to_owned());
    }
    field.expected("the address by which clients know this registry", "write for example https://registry.example.org")
}

fn header_values(section: &Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for field in section.rest() {
        let Ok(name) = field.key.parse::<HeaderName>() else {
            field.problem("is not a header name", "use letters, digits and dashes");
            continue;
        };
        for item in field.list().unwrap_or_default() {
            match item.text().map(|text| text.parse::<HeaderValue>()) {
                Some(Ok(value)) => headers.push((name.clone(), value)),
                Some(Err(_)) => drop(item.expected::<()>("a header value", "write it without line breaks")),
                None => {}
            }
        }
    }
    headers
}

fn limits(section: Section<'_>) -> Limits {
    let mut limits = Limits::default();
    let count = |key, default| section.get(key, |field| field.number(1..=10_000_000)).unwrap_or(default);
    limits.connections = count("connections", limits.connections);
    limits.connections_per_address = count("connectionsperaddress", limits.connections_per_address);
    limits.header_count = section.get("headercount", |field| field.number(8..=10_000)).unwrap_or(limits.header_count);
    let header_bytes = section.get("headerbytes", |field| field.bytes(8192..=16 << 20));
    limits.header_bytes = header_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(limits.header_bytes);
    let time = |key, default| section.get(key, Field::period).unwrap_or(default);
    limits.header_timeout = time("headertimeout", limits.header_timeout);
    limits.idle_timeout = time("idletimeout", limits.idle_timeout);
    limits.stall_timeout = time("stalltimeout", limits.stall_timeout);
    section.finish();
    limits
}
