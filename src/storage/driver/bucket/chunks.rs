//! How a long content is cut into parts: a pure function of the part's number, so that every replica cuts alike.
//!
//! A store takes 10,000 parts. The first 8,000 have the configured size, the others sixteen times as much: with 5 MiB that is
//! 39 GiB in small parts and 195 GiB in all.

use super::refused;
use crate::storage::error::{Result, Retry};

/// Parts of one object, of S3 and OSS alike.
const MOST_PARTS: u32 = 10_000;
/// Parts of the configured size.
const EVEN_PARTS: u32 = 8_000;
/// How many times larger the others are.
pub(super) const GROWTH: u32 = 16;

/// How many configured parts part `index`, counted from 0, is as large as.
pub(super) fn weight(index: u32) -> u32 {
    if index < EVEN_PARTS { 1 } else { GROWTH }
}

/// Bytes of part `index`, counted from 0, unless it is the last.
pub(super) fn size(index: u32, part: u64) -> u64 {
    part.saturating_mul(u64::from(weight(index)))
}

/// Bytes of the first `count` parts.
pub(super) fn length(count: u32, part: u64) -> u64 {
    let even = u64::from(count.min(EVEN_PARTS));
    let large = u64::from(count.saturating_sub(EVEN_PARTS));
    part.saturating_mul(even + large * u64::from(GROWTH))
}

/// The part that holds the byte at `offset`.
pub(super) fn holding(offset: u64, part: u64) -> u32 {
    let even = length(EVEN_PARTS, part);
    let index =
        if offset < even { offset / part } else { u64::from(EVEN_PARTS) + (offset - even) / size(EVEN_PARTS, part) };
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Whether there may be a part `index`, counted from 0.
///
/// # Errors
/// `Backend` that names the limit.
pub(super) fn check(index: u32, part: u64, key: &str) -> Result<()> {
    if index < MOST_PARTS {
        return Ok(());
    }
    let most = length(MOST_PARTS, part);
    let reason = format!(
        "a store keeps {MOST_PARTS} parts of an object, which are {most} bytes with chunksize {part}; set a larger chunksize"
    );
    Err(refused("write", key, Retry::Pointless, reason))
}

/// Whether `count` parts can be.
pub(super) fn possible(count: u32) -> bool {
    count <= MOST_PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: u64 = 5 << 20;

    #[test]
    fn parts_follow_each_other_without_gap() {
        let mut end = 0;
        for index in 0..MOST_PARTS {
            assert_eq!(length(index, PART), end);
            assert_eq!(holding(end, PART), index);
            end += size(index, PART);
            assert_eq!(holding(end - 1, PART), index);
        }
        assert_eq!(length(MOST_PARTS, PART), end);
        assert_eq!(end >> 30, 195);
    }

    #[test]
    fn the_even_parts_end_where_they_did() {
        // Sessions under way when a new version starts are cut by this rule.
        assert_eq!((size(7999, PART), size(8000, PART)), (PART, 16 * PART));
        assert!(check(9999, PART, "k").is_ok());
        assert!(check(10_000, PART, "k").unwrap_err().to_string().contains("chunksize"));
    }
}
