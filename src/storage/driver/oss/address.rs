//! Where a bucket answers: the host that an endpoint means, and whether the bucket stands in it, in the path or nowhere.
//!
//! Pure. OSS takes the bucket as a sub-domain; an IP address has none, and a host of one's own stands for one bucket.

use std::net::IpAddr;

use percent_encoding::utf8_percent_encode;
use thiserror::Error;

use super::sign::KEEPING_SLASHES;

/// The domain of OSS itself.
const DOMAIN: &str = ".aliyuncs.com";
const INTERNAL: &str = "-internal";

/// Scheme, host and whatever of the path comes before an object's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    scheme: Scheme,
    /// Host, port and, with the bucket in the path, `/bucket`.
    place: String,
}

/// With or without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    Plain,
    /// `https`.
    Secure,
}

/// Which of a region's endpoints is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The one that everybody reaches.
    Public,
    /// The one within the region, whose traffic costs nothing.
    Internal,
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unfit {
    /// Another scheme than http or https.
    #[error("a scheme other than http and https")]
    Scheme,
    /// Something behind the host.
    #[error("a path or a query behind the host")]
    Path,
    /// No host or one that cannot be.
    #[error("no host name")]
    Host,
}

impl Address {
    /// The region's own endpoint for `bucket`. `region` has no `oss-`.
    #[must_use]
    pub fn of_region(region: &str, network: Network, bucket: &str, scheme: Scheme) -> Self {
        let internal = if network == Network::Internal { INTERNAL } else { "" };
        // The two endpoints for acceleration are written where a region is.
        Self { scheme, place: format!("{bucket}.oss-{region}{internal}{DOMAIN}") }
    }

    /// The endpoint that `text` means: a host with or without a scheme, a port and the bucket. `scheme` is for a text without.
    pub fn parse(text: &str, bucket: &str, scheme: Scheme) -> Result<Self, Unfit> {
        let (scheme, rest) = match text.split_once("://") {
            Some((word, rest)) if word.eq_ignore_ascii_case("https") => (Scheme::Secure, rest),
            Some((word, rest)) if word.eq_ignore_ascii_case("http") => (Scheme::Plain, rest),
            Some(_) => return Err(Unfit::Scheme),
            None => (scheme, text),
        };
        let authority = rest.trim_end_matches('/').to_ascii_lowercase();
        if authority.contains(['/', '?', '#']) {
            return Err(Unfit::Path);
        }
        let parsed: http::uri::Authority = authority.parse().map_err(|_| Unfit::Host)?;
        let host = parsed.host();
        if host.is_empty() || authority.contains('@') {
            return Err(Unfit::Host);
        }
        let numeric = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let place = if numeric || !host.contains('.') {
            format!("{authority}/{bucket}")
        } else if host.ends_with(DOMAIN) && !host.starts_with(&format!("{bucket}.")) {
            format!("{bucket}.{authority}")
        } else {
            authority
        };
        Ok(Self { scheme, place })
    }

    /// The same bucket as everybody reaches it.
    #[must_use]
    pub fn public(&self) -> Self {
        let inside = format!("{INTERNAL}{DOMAIN}");
        Self { scheme: self.scheme, place: self.place.replacen(&inside, DOMAIN, 1) }
    }

    /// The address of `key`, or of the bucket when it is empty, with a query that is encoded already.
    pub(super) fn url(&self, key: &str, query: &str) -> String {
        let scheme = match self.scheme {
            Scheme::Plain => "http",
            Scheme::Secure => "https",
        };
        let (separator, key) = (if query.is_empty() { "" } else { "?" }, utf8_percent_encode(key, KEEPING_SLASHES));
        format!("{scheme}://{}/{key}{separator}{query}", self.place)
    }

    /// Scheme and host, for a message.
    pub(super) fn origin(&self) -> String {
        self.url("", "").trim_end_matches('/').to_owned()
    }
}

/// The region in the name of one of OSS's own endpoints.
#[must_use]
pub fn region_of(endpoint: &str) -> Option<String> {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest).split(['/', ':']).next()?;
    let name = host.strip_suffix(DOMAIN)?;
    let region = match name.strip_suffix(".oss") {
        Some(dual_stack) => dual_stack.rsplit('.').next()?,
        None => name.rsplit('.').next()?.strip_prefix("oss-")?,
    };
    let region = region.strip_suffix(INTERNAL).unwrap_or(region);
    (!region.is_empty() && !region.starts_with("accelerate")).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_endpoint_leads_to_the_bucket() {
        let cases = [
            ("oss-cn-beijing.aliyuncs.com", "https://b.oss-cn-beijing.aliyuncs.com/k"),
            ("https://oss-cn-beijing.aliyuncs.com/", "https://b.oss-cn-beijing.aliyuncs.com/k"),
            ("http://b.oss-cn-beijing-internal.aliyuncs.com", "http://b.oss-cn-beijing-internal.aliyuncs.com/k"),
            ("B.oss-cn-beijing.aliyuncs.com:443", "https://b.oss-cn-beijing.aliyuncs.com:443/k"),
            ("oss-accelerate.aliyuncs.com", "https://b.oss-accelerate.aliyuncs.com/k"),
            ("cn-beijing.oss.aliyuncs.com", "https://b.cn-beijing.oss.aliyuncs.com/k"),
            ("files.example.org", "https://files.example.org/k"),
            ("http://127.0.0.1:81", "http://127.0.0.1:81/b/k"),
            ("http://[::1]:81", "http://[::1]:81/b/k"),
            ("localhost", "https://localhost/b/k"),
        ];
        for (text, url) in cases {
            assert_eq!(Address::parse(text, "b", Scheme::Secure).unwrap().url("k", ""), url, "{text}");
        }
        let region = Address::of_region("cn-beijing", Network::Internal, "b", Scheme::Secure);
        assert_eq!(region.url("a b/c", "x=y"), "https://b.oss-cn-beijing-internal.aliyuncs.com/a%20b/c?x=y");
        assert_eq!(region.public().origin(), "https://b.oss-cn-beijing.aliyuncs.com");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let cases = [
            ("ftp://x.y", Unfit::Scheme),
            ("x.y/z", Unfit::Path),
            ("x.y?z", Unfit::Path),
            ("", Unfit::Host),
            ("https://", Unfit::Host),
            ("a b", Unfit::Host),
            ("me:word@x.y", Unfit::Host),
        ];
        for (text, unfit) in cases {
            assert_eq!(Address::parse(text, "b", Scheme::Secure), Err(unfit), "{text}");
        }
    }

    #[test]
    fn regions_are_read_from_hosts() {
        let cases = [
            ("oss-cn-beijing.aliyuncs.com", Some("cn-beijing")),
            ("https://b.oss-cn-beijing-internal.aliyuncs.com/", Some("cn-beijing")),
            ("b.cn-beijing.oss.aliyuncs.com", Some("cn-beijing")),
            ("oss-accelerate.aliyuncs.com", None),
            ("files.example.org", None),
        ];
        for (host, region) in cases {
            assert_eq!(region_of(host).as_deref(), region, "{host}");
        }
    }
}
