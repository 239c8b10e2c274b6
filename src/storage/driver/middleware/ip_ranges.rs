//! The list of Amazon's addresses that `cloudfront` may be told to look at, fetched now and then.
//!
//! Fails towards `CloudFront`: as long as no list could be read, no client counts as Amazon's.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Deserialize;
use tracing::{info, warn};

/// Longest time one fetch may take.
const FETCH_TIME: Duration = Duration::from_secs(30);

/// Largest list read, bytes; Amazon's has about two million.
const LARGEST_LIST: usize = 32 * 1024 * 1024;

/// Longest time until the next try after one that failed.
const RETRY_AFTER: Duration = Duration::from_mins(5);

/// Where the list is and what of it counts.
#[derive(Debug, Clone)]
pub struct IpRanges {
    /// `iprangesurl`.
    pub url: String,
    /// `updatefrequency`.
    pub update_frequency: Duration,
    /// `awsregion`, in lower case; empty counts every region.
    pub regions: Vec<String>,
}

/// A list that is kept up to date for as long as somebody holds it.
#[derive(Debug)]
pub(super) struct Watched {
    ranges: IpRanges,
    blocks: ArcSwap<Vec<Block>>,
}

/// A block of addresses, all written as IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    first: u128,
    last: u128,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    prefixes: Vec<Prefix>,
    #[serde(default)]
    ipv6_prefixes: Vec<Prefix>,
}

#[derive(Deserialize)]
struct Prefix {
    #[serde(alias = "ip_prefix", alias = "ipv6_prefix")]
    block: String,
    #[serde(default)]
    region: String,
}

impl Watched {
    /// Begins to watch, within a tokio runtime.
    pub(super) fn start(ranges: IpRanges) -> Arc<Self> {
        let watched = Arc::new(Self { ranges, blocks: ArcSwap::default() });
        tokio::spawn(keep_up_to_date(Arc::downgrade(&watched)));
        watched
    }

    /// Whether `client` lies in a block of the list.
    pub(super) fn contains(&self, client: IpAddr) -> bool {
        let client = bits(client);
        let blocks = self.blocks.load();
        let after = blocks.partition_point(|block| block.first <= client);
        after.checked_sub(1).and_then(|before| blocks.get(before)).is_some_and(|block| client <= block.last)
    }

    async fn update(&self) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
        // A provider that is installed already is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(FETCH_TIME).build()?;
        let mut response = client.get(&self.ranges.url).send().await?.error_for_status()?;
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            text.extend_from_slice(&chunk);
            if text.len() > LARGEST_LIST {
                return Err(format!("the list has more than {LARGEST_LIST} bytes").into());
            }
        }
        let blocks = parse(&text, &self.ranges.regions)?;
        let count = blocks.len();
        self.blocks.store(Arc::new(blocks));
        Ok(count)
    }
}

async fn keep_up_to_date(watched: Weak<Watched>) {
    while let Some(watched) = watched.upgrade() {
        let url = watched.ranges.url.clone();
        let wait = match watched.update().await {
            Ok(blocks) => {
                info!(%url, blocks, "read the addresses that middleware.storage cloudfront sends to the bucket itself");
                watched.ranges.update_frequency
            }
            Err(error) => {
                warn!(%url, %error, "the addresses for middleware.storage cloudfront cannot be read; all clients it does not know go to CloudFront");
                watched.ranges.update_frequency.min(RETRY_AFTER)
            }
        };
        drop(watched);
        tokio::time::sleep(wait).await;
    }
}

/// The blocks of a list in order, none within another. A block that is none is left out.
fn parse(text: &[u8], regions: &[String]) -> Result<Vec<Block>, serde_json::Error> {
    let list: List = serde_json::from_slice(text)?;
    let counts = |prefix: &Prefix| regions.is_empty() || regions.contains(&prefix.region.to_ascii_lowercase());
    let wanted = list.prefixes.iter().chain(&list.ipv6_prefixes).filter(|prefix| counts(prefix));
    let mut blocks: Vec<Block> = wanted.filter_map(|prefix| block(&prefix.block)).collect();
    // Of two blocks one holds the other or they have nothing in common, so the one that begins first and ends last stays.
    blocks.sort_by_key(|block| (block.first, std::cmp::Reverse(block.last)));
    let mut end = None;
    blocks.retain(|block| {
        let within = end.is_some_and(|end| block.last <= end);
        if !within {
            end = Some(block.last);
        }
        !within
    });
    Ok(blocks)
}

fn block(text: &str) -> Option<Block> {
    let (address, length) = text.split_once('/')?;
    let (address, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u32>().ok()?);
    let length = if address.is_ipv4() { length.checked_add(96)? } else { length };
    let host = if length > 128 { return None } else { u128::MAX.checked_shr(length).unwrap_or(0) };
    Some(Block { first: bits(address) & !host, last: bits(address) | host })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"syncToken":"1","prefixes":[
        {"ip_prefix":"3.5.140.0/22","region":"ap-northeast-2","service":"AMAZON","network_border_group":"x"},
        {"ip_prefix":"3.5.141.0/24","region":"ap-northeast-2","service":"S3"},
        {"ip_prefix":"52.94.76.0/22","region":"us-west-2","service":"AMAZON"},
        {"ip_prefix":"nonsense","region":"us-west-2"}],
        "ipv6_prefixes":[{"ipv6_prefix":"2600:1f14::/35","region":"us-west-2","service":"EC2"}]}"#;

    fn within(regions: &[&str], client: &str) -> bool {
        let regions: Vec<String> = regions.iter().map(ToString::to_string).collect();
        let blocks = ArcSwap::from_pointee(parse(LIST.as_bytes(), &regions).unwrap());
        let ranges = IpRanges { url: String::new(), update_frequency: Duration::ZERO, regions };
        Watched { ranges, blocks }.contains(client.parse().unwrap())
    }

    #[test]
    fn an_address_counts_when_its_block_and_region_do() {
        for client in ["3.5.140.0", "3.5.141.9", "3.5.143.255", "52.94.77.1", "::ffff:52.94.77.1", "2600:1f14:1fff::1"]
        {
            assert!(within(&[], client), "{client}");
        }
        for client in ["3.5.139.255", "3.5.144.0", "2600:1f14:2000::", "127.0.0.1", "::1"] {
            assert!(!within(&[], client), "{client}");
        }
        assert!(within(&["us-west-2"], "52.94.76.0") && !within(&["us-west-2"], "3.5.141.9"));
    }

    #[test]
    fn a_list_that_is_none_is_an_error() {
        assert!(parse(b"<html>", &[]).is_err());
        assert_eq!(parse(b"{}", &[]).unwrap(), []);
    }
}
