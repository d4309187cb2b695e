//! Clients or rounds by number: `3`, `"5..9"`, `[1, 4]`, `["0..4", 7]`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Numbers, as ranges whose ends are both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRanges(Vec<(u32, u32)>);

impl IndexRanges {
    /// The ranges, as given.
    #[must_use]
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// Every number below `end`, each once, in order.
    #[must_use]
    pub fn below(&self, end: u32) -> Vec<u32> {
        let inside = |number: &u32| self.0.iter().any(|(a, b)| (a..=b).contains(&number));
        (0..end).filter(inside).collect()
    }

    /// The largest number.
    #[must_use]
    pub fn largest(&self) -> Option<u32> {
        self.0.iter().map(|(_, to)| *to).max()
    }
}

fn parse_range(text: &str) -> Option<(u32, u32)> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (from <= to).then_some((from, to))
}

/// One number or range of a list.
struct IndexRange((u32, u32));

impl<'de> Deserialize<'de> for IndexRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneVisitor).map(Self)
    }
}

struct OneVisitor;

impl Visitor<'_> for OneVisitor {
    type Value = (u32, u32);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0 or a range such as \"5..9\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(u32, u32), E> {
        let wrong = || E::invalid_value(de::Unexpected::Signed(number), &self);
        u32::try_from(number).map(|n| (n, n)).map_err(|_| wrong())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(u32, u32), E> {
        let wrong = || E::invalid_value(de::Unexpected::Unsigned(number), &self);
        u32::try_from(number).map(|n| (n, n)).map_err(|_| wrong())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(u32, u32), E> {
        let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
        parse_range(text).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for IndexRanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ManyVisitor)
    }
}

struct ManyVisitor;

impl<'de> Visitor<'de> for ManyVisitor {
    type Value = IndexRanges;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 0, a range such as \"5..9\", or a list of these")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<IndexRanges, E> {
        OneVisitor
            .visit_i64(number)
            .map(|range| IndexRanges(vec![range]))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<IndexRanges, E> {
        OneVisitor
            .visit_str(text)
            .map(|range| IndexRanges(vec![range]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<IndexRanges, A::Error> {
        let mut ranges = Vec::new();
        while let Some(IndexRange(range)) = list.next_element()? {
            ranges.push(range);
        }
        if ranges.is_empty() {
            return Err(de::Error::invalid_length(0, &self));
        }
        Ok(IndexRanges(ranges))
    }
}

impl Serialize for IndexRanges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for &(from, to) in &self.0 {
            if from == to {
                list.serialize_element(&from)?;
            } else {
                list.serialize_element(&format!("{from}..{to}"))?;
            }
        }
        list.end()
    }
}

impl JsonSchema for IndexRanges {
    fn schema_name() -> Cow<'static, str> {
        "Numbers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^ *[0-9]+ *(\\.\\. *[0-9]+ *)?$" },
            ]
        });
        json_schema!({
            "description": "A number, a range whose ends are both included such as \"5..9\", or a list of these",
            "anyOf": [one, { "type": "array", "minItems": 1, "items": one }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct KeyLine {
        n: IndexRanges,
    }

    fn read(text: &str) -> Result<Vec<u32>, String> {
        let line: KeyLine = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        let again: KeyLine = toml::from_str(&toml::to_string(&line).unwrap()).unwrap();
        assert_eq!(again, line);
        Ok(line.n.below(20))
    }

    #[test]
    fn numbers_ranges_and_lists_of_both_are_read_with_both_ends() {
        assert_eq!(read("n = 3"), Ok(vec![3]));
        assert_eq!(read("n = \"5..7\""), Ok(vec![5, 6, 7]));
        assert_eq!(read("n = [4, 1, \"3 .. 4\"]"), Ok(vec![1, 3, 4]));
    }

    #[test]
    fn what_is_no_number_and_no_range_is_refused() {
        for text in [
            "n = -1",
            "n = \"9..5\"",
            "n = \"all\"",
            "n = []",
            "n = 1.5",
            "n = \"3..\"",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
