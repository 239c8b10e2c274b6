//! A strict look at JSON before anything is read from it: depth, number of values and duplicate keys.
//!
//! Two readers of a document with duplicate keys may see two different manifests, so such a document is none.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Deepest nesting of arrays and objects.
const DEEPEST: usize = 64;

/// Most values in one document. A 4 MiB manifest of small descriptors has fewer.
const MOST_VALUES: usize = 500_000;

/// Refuses `bytes` that are no JSON document, or one beyond the limits. The text says what is wrong and where.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut values = 0;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Value { depth: 0, values: &mut values }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| error.to_string())
}

struct Value<'a> {
    depth: usize,
    values: &'a mut usize,
}

impl Value<'_> {
    fn below<E: de::Error>(&mut self) -> Result<Value<'_>, E> {
        if self.depth >= DEEPEST {
            return Err(E::custom(format_args!("nested deeper than {DEEPEST} levels")));
        }
        *self.values += 1;
        if *self.values > MOST_VALUES {
            return Err(E::custom(format_args!("more than {MOST_VALUES} values")));
        }
        Ok(Value { depth: self.depth + 1, values: self.values })
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(self.below()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(de::Error::custom(format_args!("duplicate key {key:?}")));
            }
            map.next_value_seed(self.below()?)?;
            seen.insert(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_documents_pass() {
        for good in ["{}", "[]", "null", r#"{"a":{"b":[1,2.5,"x",true,null,-3]}}"#, r#"{"a":{"a":1},"b":{"a":1}}"#] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
    }

    #[test]
    fn duplicates_depth_and_garbage_are_refused() {
        let deep = "[".repeat(10_000);
        let nested = format!("{}{}", "[".repeat(65), "]".repeat(65));
        for bad in
            [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#, "", "{", "{}x", "\u{feff}{}", "1e400", &deep, &nested]
        {
            assert!(check(bad.as_bytes()).is_err(), "{bad:.40} was accepted");
        }
        assert!(check(b"\"\xff\"").is_err());
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let many = format!("[{}0]", "0,".repeat(MOST_VALUES));
        assert!(check(many.as_bytes()).is_err());
    }
}
