//! Who a request comes from, and whether that client is sent to the store for its blobs. Nothing is allowed or refused by it.

use std::net::IpAddr;

use http::HeaderName;
use http::request::Parts;

use crate::telemetry::PeerAddress;

use super::config::{Config, ProxyNetwork, TrustedProxies};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The rule by which clients are sent to the store.
#[derive(Debug)]
pub(super) struct Redirects {
    served_directly: Vec<ProxyNetwork>,
    trusted_proxies: TrustedProxies,
}

/// What the rule says of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It may be sent elsewhere; its address, as far as it is known.
    MayGo(Option<IpAddr>),
    /// It gets everything from here.
    ServedDirectly,
}

impl Redirects {
    pub(super) fn new(config: &Config) -> Self {
        Self { served_directly: config.served_directly.clone(), trusted_proxies: config.trusted_proxies.clone() }
    }

    /// What to do about the client behind `parts`.
    pub(super) fn treatment(&self, parts: &Parts) -> Treatment {
        let client = self.client_address(parts);
        let inside = |client: IpAddr| self.served_directly.iter().any(|network| network.contains(client));
        if client.is_some_and(inside) { Treatment::ServedDirectly } else { Treatment::MayGo(client) }
    }

    /// The peer or, where a proxy in front may be believed, the client that it names: the last address that is no proxy's.
    /// Without `http.trustedproxies` the first one named is believed, as distribution does.
    fn client_address(&self, parts: &Parts) -> Option<IpAddr> {
        let peer = parts.extensions.get::<PeerAddress>().and_then(|peer| peer.0).map(|address| address.ip());
        let values = || parts.headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let mut named = values().flat_map(|value| value.split(',')).map(|text| text.trim().parse::<IpAddr>());
        match &self.trusted_proxies {
            TrustedProxies::Anyone => named.find_map(Result::ok).or(peer),
            TrustedProxies::Only(networks) => {
                let is_proxy = |address: IpAddr| networks.iter().any(|network| network.contains(address));
                let peer = peer?;
                if !is_proxy(peer) {
                    return Some(peer);
                }
                let named: Vec<_> = named.collect();
                // What stands before something unreadable was not written by a proxy of ours.
                let believed = named.into_iter().rev().map_while(Result::ok);
                believed.clone().find(|address| !is_proxy(*address)).or(Some(peer))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str, prefix: u8) -> ProxyNetwork {
        ProxyNetwork { address: text.parse().unwrap(), prefix }
    }

    fn treatment(trusted_proxies: TrustedProxies, peer: &str, forwarded: &[&'static str]) -> Treatment {
        let config = Config { trusted_proxies, served_directly: vec![network("10.1.0.0", 16)], ..Config::default() };
        let mut request = http::Request::new(());
        for value in forwarded {
            request.headers_mut().append(X_FORWARDED_FOR, http::HeaderValue::from_static(value));
        }
        request.extensions_mut().insert(PeerAddress(format!("{peer}:1").parse().ok()));
        Redirects::new(&config).treatment(&request.into_parts().0)
    }

    fn goes(address: &str) -> Treatment {
        Treatment::MayGo(Some(address.parse().unwrap()))
    }

    #[test]
    fn the_networks_that_cannot_reach_the_store_are_served_directly() {
        let only = || TrustedProxies::Only(vec![network("192.0.2.1", 32)]);
        assert_eq!(treatment(only(), "10.1.2.3", &[]), Treatment::ServedDirectly);
        assert_eq!(treatment(only(), "10.2.2.3", &[]), goes("10.2.2.3"));
        assert_eq!(treatment(only(), "192.0.2.1", &["10.1.2.3"]), Treatment::ServedDirectly);
    }

    #[test]
    fn a_proxy_that_is_trusted_names_the_client_and_nobody_else_does() {
        let only = || TrustedProxies::Only(vec![network("192.0.2.1", 32)]);
        assert_eq!(treatment(only(), "203.0.113.9", &["10.1.2.3"]), goes("203.0.113.9"));
        assert_eq!(treatment(only(), "192.0.2.1", &["10.1.2.3, 198.51.100.1", "192.0.2.1"]), goes("198.51.100.1"));
        assert_eq!(treatment(only(), "192.0.2.1", &["10.1.2.3, unknown"]), goes("192.0.2.1"));
        assert_eq!(treatment(TrustedProxies::Anyone, "192.0.2.1", &["x, 10.1.2.3"]), Treatment::ServedDirectly);
    }
}
