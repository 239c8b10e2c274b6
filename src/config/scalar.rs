//! What a word means once its key says which type it has: booleans, numbers, durations, sizes, addresses.
//!
//! Pure. The forms are those that Go's yaml.v2, strconv and time packages accept; sizes with a unit are ours.

use std::net::IpAddr;
use std::time::Duration;

use crate::routes::ProxyNetwork;

/// A boolean as YAML 1.1 writes it.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A whole number as Go reads it: decimal, `0x`, `0o`, `0b`, a leading zero for octal, and underscores between digits.
pub(super) fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "").to_ascii_lowercase();
    let magnitude = if let Some(hex) = digits.strip_prefix("0x") {
        i64::from_str_radix(hex, 16)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        i64::from_str_radix(binary, 2)
    } else if let Some(octal) = digits.strip_prefix("0o").or_else(|| digits.strip_prefix('0')).filter(|o| !o.is_empty())
    {
        // What looks octal but is not, such as 09, Go takes for a decimal fraction without a fraction.
        i64::from_str_radix(octal, 8).or_else(|_| digits.parse())
    } else {
        digits.parse()
    };
    magnitude.ok().map(|magnitude| if negative { -magnitude } else { magnitude })
}

/// A size in bytes: a whole number, alone or with `KiB`, `MiB` or `GiB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit() && c != '_') {
        Some(at) => text.split_at_checked(at)?,
        None => (text, ""),
    };
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.replace('_', "").parse::<u64>().ok()?.checked_mul(factor)
}

/// A duration as Go writes it (`1h30m`, `1.5s`, `250ms`), or a bare whole number of nanoseconds. Never negative.
pub fn duration(text: &str) -> Option<Duration> {
    if let Some(nanoseconds) = integer(text) {
        return u64::try_from(nanoseconds).ok().map(Duration::from_nanos);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_ends = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(number_ends)?;
        let unit_ends = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_ends)?;
        total = total.checked_add(amount(number, nanoseconds_in(unit)?)?)?;
        rest = after;
    }
    // Go counts nanoseconds in 64 bits with a sign, 292 years.
    i64::try_from(total).ok().and_then(|total| u64::try_from(total).ok()).map(Duration::from_nanos)
}

fn nanoseconds_in(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

/// `number` times `unit`, where the number may have a fraction; what is below a nanosecond is dropped.
fn amount(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.into() };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(place.checked_mul(digit.to_digit(10)?.into())?)?;
    }
    Some(total)
}

/// Why an address to listen on or to connect to is not one.
pub(super) fn host_and_port(text: &str) -> Result<(), &'static str> {
    let Some((host, port)) = text.rsplit_once(':') else { return Err("the port is missing") };
    if port.is_empty() || !port.chars().all(|digit| digit.is_ascii_digit()) {
        return Err("the port is not a number");
    }
    if port.parse::<u16>().is_err() {
        return Err("the port is above 65535");
    }
    let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    match bracketed {
        // A scope such as fe80::1%eth0 is left to the system.
        Some(inner) if inner.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()) => Ok(()),
        Some(_) => Err("what stands in brackets is not an IPv6 address"),
        None if host.contains(':') => Err("an IPv6 address needs brackets"),
        None if host.chars().any(|c| c.is_whitespace() || c.is_control() || "/@?#[]".contains(c)) => {
            Err("the host has characters that no host name has")
        }
        None => Ok(()),
    }
}

/// An address block: `10.0.0.0/8`, `fd00::/8` or a single address.
pub(super) fn network(text: &str) -> Option<ProxyNetwork> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(digits) if digits.chars().all(|c| c.is_ascii_digit()) => {
            digits.parse().ok().filter(|bits| *bits <= most)?
        }
        Some(_) => return None,
        None => most,
    };
    Some(ProxyNetwork { address, prefix })
}

/// The candidate that `word` most resembles, when one is close enough to have been meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = word.to_ascii_lowercase();
    let measured = candidates.into_iter().filter_map(|candidate| {
        let other = candidate.to_ascii_lowercase();
        let shorter = wanted.len().min(other.len());
        let distance = strsim::damerau_levenshtein(&wanted, &other);
        let abbreviates = shorter >= 3 && other.contains(&wanted);
        let extends = shorter >= 3 && wanted.contains(&other);
        let close = abbreviates || extends || distance <= (shorter / 3).max(1);
        close.then_some((distance > 1 && !abbreviates, distance, candidate))
    });
    measured.min().map(|(_, _, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_go_reads_them() {
        let cases = [
            ("10", Some(10)),
            ("-3", Some(-3)),
            ("+7", Some(7)),
            ("0", Some(0)),
            ("0600", Some(0o600)),
            ("0o17", Some(15)),
            ("0x1F", Some(31)),
            ("0b101", Some(5)),
            ("1_000", Some(1000)),
            ("09", Some(9)),
            ("", None),
            ("-", None),
            ("ten", None),
            ("1.5", None),
            ("0x", None),
            ("99999999999999999999", None),
            ("--1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(integer(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases = [
            ("10s", Some(10_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5ms", Some(500_000)),
            ("250us", Some(250_000)),
            ("250µs", Some(250_000)),
            ("0", Some(0)),
            ("1500", Some(1500)),
            ("168h", Some(604_800_000_000_000)),
            ("", None),
            ("s", None),
            (".s", None),
            ("5", Some(5)),
            ("5 s", None),
            ("5d", None),
            ("-5s", None),
            ("-5", None),
            ("1.2.3s", None),
            ("3000000h", None),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(duration(text), nanoseconds.map(Duration::from_nanos), "{text}");
        }
    }

    #[test]
    fn sizes_take_binary_units() {
        assert_eq!(bytes("4MiB"), Some(4 << 20));
        assert_eq!(bytes("1 KiB"), Some(1024));
        assert_eq!(bytes("17"), Some(17));
        assert_eq!(bytes("4MB"), None, "it says nothing certain, so it is asked again");
        assert_eq!(bytes("-1"), None);
        assert_eq!(bytes("99999999999GiB"), None);
    }

    #[test]
    fn addresses_need_a_port() {
        for good in [":5000", "0.0.0.0:5000", "localhost:5000", "[::1]:5000", "[fe80::1%eth0]:80", ":0"] {
            assert_eq!(host_and_port(good), Ok(()), "{good}");
        }
        for bad in ["5000", "localhost", ":http", ":65536", "::1:5000", "[::1:5000", "a b:1", "http://x:1", "[x]:1"] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_have_a_prefix_that_fits() {
        assert_eq!(network("10.0.0.0/8"), Some(ProxyNetwork { address: "10.0.0.0".parse().unwrap(), prefix: 8 }));
        assert_eq!(network("::1").map(|block| block.prefix), Some(128));
        for bad in ["10.0.0.0/33", "10.0.0/8", "::/129", "a/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/-1"] {
            assert_eq!(network(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_close_words_are_suggested() {
        assert_eq!(nearest("adress", ["addr", "address", "net"]), Some("address"));
        assert_eq!(nearest("Storage", ["http", "storage"]), Some("storage"));
        assert_eq!(nearest("rootdir", ["maxthreads", "rootdirectory"]), Some("rootdirectory"));
        assert_eq!(nearest("some", ["all", "none", "list"]), None);
        assert_eq!(nearest("zebra", ["http", "storage"]), None);
    }
}
