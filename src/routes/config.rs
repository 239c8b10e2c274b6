//! What the HTTP layer is told: how it names itself to clients and which headers it adds.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue};

/// The `http` section as far as requests and answers are concerned.
#[derive(Debug, Clone)]
pub struct Config {
    /// `http.prefix` with leading and trailing slash; routes live under `<prefix>v2/`.
    pub prefix: String,
    /// How `Location` is written.
    pub location: LocationForm,
    /// Scheme that clients use when no forwarded header says otherwise: whether `http.tls` is configured.
    pub scheme: Scheme,
    /// `http.trustedproxies`: whose `Forwarded` and `X-Forwarded-*` headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// `storage.redirect.exclude`: clients that are never sent to the store, because they cannot reach it.
    pub served_directly: Vec<ProxyNetwork>,
    /// `http.headers`, added to every answer of a `/v2/` route.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// How `Location` and token realms name this registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocationForm {
    /// Path only; the client keeps its own idea of host and scheme.
    Relative,
    /// `http.host`: scheme, host and base path, without a trailing slash.
    Fixed(String),
    /// `http.relativeurls: false` written in the config: scheme and host of the request, with forwarded headers
    /// believed as distribution does.
    FromRequest,
}

/// The scheme of this registry's own addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

/// Whose forwarded headers are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedProxies {
    /// The key is absent: everybody's, as in distribution, and a warning says so once.
    Anyone,
    /// Those of these networks, and of nobody else when there are none.
    Only(Vec<ProxyNetwork>),
}

/// An address block: of trusted proxies, or of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyNetwork {
    /// Any address of the block.
    pub address: IpAddr,
    /// Number of leading bits that count: at most 32 for IPv4, 128 for IPv6.
    pub prefix: u8,
}

impl ProxyNetwork {
    /// Whether `candidate` lies in this block. An IPv4-mapped IPv6 address counts as the IPv4 address it maps.
    #[must_use]
    pub fn contains(&self, candidate: IpAddr) -> bool {
        match (self.address.to_canonical(), candidate.to_canonical()) {
            (IpAddr::V4(mine), IpAddr::V4(theirs)) => {
                let differing = mine.to_bits() ^ theirs.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix.min(32))
            }
            (IpAddr::V6(mine), IpAddr::V6(theirs)) => {
                let differing = mine.to_bits() ^ theirs.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix.min(128))
            }
            _ => false,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prefix: "/".to_owned(),
            location: LocationForm::Relative,
            scheme: Scheme::default(),
            trusted_proxies: TrustedProxies::Anyone,
            served_directly: Vec::new(),
            headers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let network = |address: &str, prefix| ProxyNetwork { address: address.parse().unwrap(), prefix };
        let holds = |network: ProxyNetwork, candidate: &str| network.contains(candidate.parse().unwrap());
        assert!(holds(network("10.0.0.0", 8), "10.200.3.4"));
        assert!(holds(network("10.0.0.0", 8), "::ffff:10.1.2.3"));
        assert!(!holds(network("10.0.0.0", 8), "11.0.0.0"));
        assert!(holds(network("192.0.2.7", 32), "192.0.2.7"));
        assert!(!holds(network("192.0.2.7", 32), "192.0.2.6"));
        assert!(holds(network("0.0.0.0", 0), "203.0.113.9"));
        assert!(!holds(network("0.0.0.0", 0), "2001:db8::1"));
        assert!(holds(network("2001:db8::", 32), "2001:db8:1::5"));
        assert!(!holds(network("2001:db8::", 32), "2001:db9::5"));
    }
}
