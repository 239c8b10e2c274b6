//! The two range grammars: `Range` of a blob download (RFC 9110 §14.2) and `Content-Range` of an upload chunk
//! (distribution-spec, "Pushing a blob in chunks"; RFC 9110 §14.4).

use std::str::FromStr;

use super::Error;

/// The ranges asked for by a `Range` header with the unit `bytes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSet(Vec<Spec>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    /// `start-end` or `start-`.
    From(u64, Option<u64>),
    /// `-length`.
    Suffix(u64),
}

/// A range of bytes that exists. `start <= end`, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset of the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Number of bytes, at least 1.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.end - self.start + 1
    }
}

/// What a [`RangeSet`] means for a body of known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolvedRanges {
    /// Send everything: the ranges together ask for more than there is, which is cheaper whole.
    Whole,
    /// Send these, in the order asked for.
    Parts(Vec<ByteRange>),
    /// Nothing asked for exists.
    Unsatisfiable,
}

impl RangeSet {
    /// Reads a `Range` header. `None` when it is to be ignored because its unit is not `bytes`; a malformed set of bytes is
    /// one that cannot be satisfied, as clients of distribution know it.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, set) = header.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let specs: Option<Vec<Spec>> =
            set.split(',').map(str::trim).filter(|spec| !spec.is_empty()).map(parse_spec).collect();
        Some(Self(specs.unwrap_or_default()))
    }

    /// Which bytes of a body of `length` bytes are meant. Ranges are clipped at the end; those beyond it are dropped.
    #[must_use]
    pub fn resolve(&self, length: u64) -> ResolvedRanges {
        let parts: Vec<ByteRange> = self.0.iter().filter_map(|spec| spec.resolve(length)).collect();
        let total = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.length()));
        if parts.is_empty() {
            ResolvedRanges::Unsatisfiable
        } else if parts.len() > 1 && total > length {
            ResolvedRanges::Whole
        } else {
            ResolvedRanges::Parts(parts)
        }
    }
}

fn parse_spec(spec: &str) -> Option<Spec> {
    match spec.split_once('-')? {
        ("", suffix) => Some(Spec::Suffix(number(suffix)?)),
        (start, "") => Some(Spec::From(number(start)?, None)),
        (start, end) => {
            let (start, end) = (number(start)?, number(end)?);
            (start <= end).then_some(Spec::From(start, Some(end)))
        }
    }
}

impl Spec {
    fn resolve(self, length: u64) -> Option<ByteRange> {
        let last = length.checked_sub(1)?;
        match self {
            Self::From(start, end) => (start <= last).then(|| ByteRange { start, end: end.unwrap_or(last).min(last) }),
            Self::Suffix(0) => None,
            Self::Suffix(suffix) => Some(ByteRange { start: length.saturating_sub(suffix), end: last }),
        }
    }
}

/// Digits only: no sign, no blanks, no overflow.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Where a chunk of an upload belongs: `<start>-<end>`, both inclusive; `bytes <start>-<end>/<total or *>` is understood too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Offset of the chunk's first byte.
    pub start: u64,
    /// Offset of the chunk's last byte.
    pub end: u64,
}

impl ContentRange {
    /// Number of bytes in the chunk; `None` when it does not fit 64 bits.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        (self.end - self.start).checked_add(1)
    }
}

impl FromStr for ContentRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || Error::ContentRange(Error::quoted(text));
        let range = match text.strip_prefix("bytes ") {
            Some(rest) => {
                let (range, total) = rest.split_once('/').ok_or_else(malformed)?;
                if total != "*" && number(total).is_none() {
                    return Err(malformed());
                }
                range
            }
            None => text,
        };
        let (start, end) = range.split_once('-').ok_or_else(malformed)?;
        match (number(start), number(end)) {
            (Some(start), Some(end)) if start <= end => Ok(Self { start, end }),
            _ => Err(malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resolve(header: &str, length: u64) -> ResolvedRanges {
        RangeSet::parse(header).unwrap().resolve(length)
    }

    fn parts(ranges: &[(u64, u64)]) -> ResolvedRanges {
        ResolvedRanges::Parts(ranges.iter().map(|&(start, end)| ByteRange { start, end }).collect())
    }

    #[test]
    fn the_conformance_suites_ranges() {
        assert_eq!(resolve("bytes=500-1499", 2048), parts(&[(500, 1499)]));
        assert_eq!(resolve("bytes=500-", 2048), parts(&[(500, 2047)]));
        assert_eq!(resolve("bytes=-500", 2048), parts(&[(1548, 2047)]));
        assert_eq!(resolve("bytes=2000-5000", 2048), parts(&[(2000, 2047)]));
        assert_eq!(resolve("bytes=500-0", 2048), ResolvedRanges::Unsatisfiable);
        assert_eq!(resolve("bytes=5000-10000", 2048), ResolvedRanges::Unsatisfiable);
    }

    #[test]
    fn odd_headers() {
        assert_eq!(RangeSet::parse("items=0-1"), None);
        assert_eq!(RangeSet::parse("nonsense"), None);
        assert_eq!(resolve("bytes=0-0, 5-6 ,-1", 10), parts(&[(0, 0), (5, 6), (9, 9)]));
        assert_eq!(resolve("bytes=0-9,0-9", 10), ResolvedRanges::Whole);
        assert_eq!(resolve("bytes=-20", 10), parts(&[(0, 9)]));
        for bad in ["bytes=", "bytes=a-b", "bytes=+1-2", "bytes=1", "bytes=99999999999999999999-", "bytes=-0"] {
            assert_eq!(resolve(bad, 10), ResolvedRanges::Unsatisfiable, "{bad}");
        }
        assert_eq!(resolve("bytes=0-", 0), ResolvedRanges::Unsatisfiable);
    }

    #[test]
    fn chunks_may_be_written_in_both_forms() {
        let expected = ContentRange { start: 5, end: 9 };
        for good in ["5-9", "bytes 5-9/*", "bytes 5-9/20"] {
            assert_eq!(good.parse(), Ok(expected), "{good}");
        }
        for bad in
            ["", "5", "9-5", "-5", "5-", "bytes=5-9", "bytes 5-9", "bytes 5-9/x", "5-9/*", "5-99999999999999999999"]
        {
            assert!(bad.parse::<ContentRange>().is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn resolved_parts_lie_inside(header in "bytes=[0-9,-]{0,30}", length in 0u64..5000) {
            if let Some(ResolvedRanges::Parts(parts)) = RangeSet::parse(&header).map(|set| set.resolve(length)) {
                for part in parts {
                    prop_assert!(part.start <= part.end && part.end < length);
                }
            }
        }
    }
}
