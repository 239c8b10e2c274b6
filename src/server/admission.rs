//! How many connections are held at once, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use crate::routes::ProxyNetwork;
use crate::telemetry::PeerAddress;

/// The counts of one listener.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    places: Arc<Semaphore>,
    total: u32,
    addresses: Arc<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    most: usize,
    exempt: Vec<ProxyNetwork>,
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    address: Option<(IpAddr, Arc<Addresses>)>,
}

impl Admission {
    /// Counts at zero.
    pub(super) fn new(limits: &Limits) -> Self {
        let total = limits.connections.clamp(1, Semaphore::MAX_PERMITS.min(1 << 30));
        let addresses = Addresses {
            most: limits.connections_per_address.max(1),
            exempt: limits.trusted_proxies.clone(),
            held: Mutex::default(),
        };
        Self {
            places: Arc::new(Semaphore::new(total)),
            total: u32::try_from(total).unwrap_or(u32::MAX),
            addresses: Arc::new(addresses),
        }
    }

    /// Waits until there is room for one more connection.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Gives the connection its place, or `None` when its address holds too many.
    pub(super) fn admit(&self, permit: OwnedSemaphorePermit, peer: PeerAddress) -> Option<Place> {
        let address = match peer.0.map(|peer| peer.ip()) {
            Some(ip) if !self.addresses.exempt.iter().any(|network| network.contains(ip)) => {
                let mut held = self.addresses.held.lock().unwrap_or_else(PoisonError::into_inner);
                let count = held.entry(ip).or_insert(0);
                if *count >= self.addresses.most {
                    return None;
                }
                *count += 1;
                Some((ip, Arc::clone(&self.addresses)))
            }
            _ => None,
        };
        Some(Place { _permit: permit, address })
    }

    /// Connections held now.
    pub(super) fn held(&self) -> usize {
        (self.total as usize).saturating_sub(self.places.available_permits())
    }

    /// Resolves when no connection is held any more.
    pub(super) async fn empty(&self) {
        let _ = self.places.acquire_many(self.total).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((ip, addresses)) = self.address.take() else { return };
        let mut held = addresses.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                held.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> PeerAddress {
        PeerAddress(Some(format!("{text}:1").parse().expect("an address")))
    }

    #[tokio::test]
    async fn an_address_gets_no_more_than_its_share_until_it_leaves() {
        let exempt = vec![ProxyNetwork { address: "10.0.0.0".parse().expect("an address"), prefix: 8 }];
        let limits = Limits { connections_per_address: 2, trusted_proxies: exempt, ..Limits::default() };
        let admission = Admission::new(&limits);
        let enter = async |text| {
            let permit = admission.room().await.expect("room");
            admission.admit(permit, peer(text))
        };
        let first = enter("192.0.2.1").await.expect("first");
        let _second = enter("192.0.2.1").await.expect("second");
        assert!(enter("192.0.2.1").await.is_none());
        assert!(enter("192.0.2.2").await.is_some());
        drop(first);
        assert!(enter("192.0.2.1").await.is_some());
        let proxied = [enter("10.1.1.1").await, enter("10.1.1.1").await, enter("10.1.1.1").await];
        assert!(proxied.iter().all(Option::is_some));
    }

    #[tokio::test]
    async fn a_full_house_has_room_again_when_one_leaves() {
        let admission = Admission::new(&Limits { connections: 1, ..Limits::default() });
        let only = admission.room().await.expect("room");
        assert_eq!(admission.held(), 1);
        assert!(tokio::time::timeout(std::time::Duration::ZERO, admission.room()).await.is_err());
        drop(only);
        assert!(admission.room().await.is_some());
        admission.empty().await;
    }
}
