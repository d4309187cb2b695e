//! Quantities with their units, as a scenario file has them: `"30 s"`, `"20 Mbit/s"`, `"4 GiB"`.
//!
//! A bare number is refused: its unit would be unclear. What a quantity may be where it stands is
//! the actors' to check.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A stretch of time: `"5 ms"`, `"30 s"`, `"1 h 30 min"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(SignedDuration);

/// Bits per second: `"20 Mbit/s"`, or bytes: `"2.5 MB/s"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidth {
    bits: f64,
}

/// A number of bytes: `"512 MB"`, `"4 GiB"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bytes {
    bytes: f64,
}

/// Units with their size, the largest first.
type Units = &'static [(&'static str, f64)];

const RATES: Units = &[
    ("Gbit/s", 1e9),
    ("Mbit/s", 1e6),
    ("kbit/s", 1e3),
    ("bit/s", 1.0),
    ("GB/s", 8e9),
    ("MB/s", 8e6),
    ("kB/s", 8e3),
    ("B/s", 8.0),
];

const SIZES: Units = &[
    ("TiB", 1_099_511_627_776.0),
    ("GiB", 1_073_741_824.0),
    ("MiB", 1_048_576.0),
    ("KiB", 1024.0),
    ("TB", 1e12),
    ("GB", 1e9),
    ("MB", 1e6),
    ("kB", 1e3),
    ("B", 1.0),
];

/// A number and a unit, in the unit of size 1.
fn parse(text: &str, units: Units) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(end);
    let (_, size) = units.iter().find(|(name, _)| *name == unit.trim())?;
    let value = number.parse::<f64>().ok()? * size;
    value.is_finite().then_some(value)
}

/// The value in the largest unit in which it is the same number again.
fn write(f: &mut fmt::Formatter<'_>, value: f64, units: Units) -> fmt::Result {
    let exact = |(_, size): &&(&str, f64)| value >= *size && (value / size) * size == value;
    let smallest = units.iter().find(|(_, size)| *size == 1.0);
    match units.iter().find(exact).or(smallest) {
        Some((unit, size)) => write!(f, "{} {unit}", value / size),
        None => write!(f, "{value}"),
    }
}

impl Seconds {
    /// The number of seconds.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl Bandwidth {
    /// Bytes per second.
    #[must_use]
    pub fn bytes_per_second(self) -> f64 {
        self.bits / 8.0
    }
}

impl Bytes {
    /// The number of bytes, rounded.
    #[must_use]
    pub fn get(self) -> u64 {
        self.bytes.round() as u64
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!(
                "invalid duration {text:?}: use a number with a unit, such as \"30 s\", \"5 ms\" \
                 or \"2 h\""
            )
        })
    }
}

impl FromStr for Bandwidth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, RATES).map(|bits| Self { bits }).ok_or_else(|| {
            format!(
                "invalid bandwidth {text:?}: use a number with a unit, such as \"20 Mbit/s\" or \
                 \"2.5 MB/s\""
            )
        })
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, SIZES).map(|bytes| Self { bytes }).ok_or_else(|| {
            format!(
                "invalid size {text:?}: use a number with a unit, such as \"512 MB\" or \"4 GiB\""
            )
        })
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.bits, RATES)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.bytes, SIZES)
    }
}

/// Reads a value written as text with its own syntax; a bare number is refused with the same
/// message.
pub(crate) fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    /// The accepted values; a number is accepted only to report what is missing.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Whole(i64),
        Number(f64),
    }
    let text = match Written::deserialize(deserializer) {
        Ok(Written::Text(text)) => text,
        Ok(Written::Whole(number)) => number.to_string(),
        Ok(Written::Number(number)) => number.to_string(),
        Err(_) => return Err(D::Error::custom("expected text in quotes")),
    };
    text.parse().map_err(D::Error::custom)
}

/// Writes text through serde, reads it back, and describes it for editors.
macro_rules! as_text {
    ($type:ty, $name:literal, $description:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::tables::quantity::from_text(deserializer)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "description": $description,
                    "pattern": $pattern,
                })
            }
        }
    };
}
pub(crate) use as_text;

as_text!(
    Seconds,
    "Duration",
    "A duration with its unit, such as \"30 s\", \"5 ms\" or \"1 h 30 min\"",
    "^[0-9].*[a-z]$"
);
as_text!(
    Bandwidth,
    "Bandwidth",
    "A bandwidth with its unit, such as \"20 Mbit/s\" or \"2.5 MB/s\"",
    "^[0-9.]+ *([kMG]?bit|[kMG]?B)/s$"
);
as_text!(
    Bytes,
    "Bytes",
    "A size with its unit, such as \"512 MB\" or \"4 GiB\"",
    "^[0-9.]+ *([kMGT]?B|[KMGT]iB)$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_what_they_say() {
        let rate = |text: &str| text.parse::<Bandwidth>().map(Bandwidth::bytes_per_second);
        assert_eq!(rate("20 Mbit/s"), Ok(2.5e6));
        assert_eq!(rate("2.5MB/s"), Ok(2.5e6));
        assert_eq!("4 GiB".parse::<Bytes>().unwrap().get(), 1 << 32);
        assert_eq!("1.5 kB".parse::<Bytes>().unwrap().get(), 1500);
        assert_eq!("5 ms".parse::<Seconds>().unwrap().get(), 0.005);
        assert_eq!("1 h 30 min".parse::<Seconds>().unwrap().get(), 5400.0);
    }

    #[test]
    fn a_number_without_its_unit_is_refused_and_so_is_nonsense() {
        for text in ["30", "", "s", "1 fortnite"] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
        for text in ["20", "20 MBit/s", "1e400 B/s", "Mbit/s", "-1 B/s"] {
            assert!(text.parse::<Bandwidth>().is_err(), "{text}");
        }
        assert!("4 gb".parse::<Bytes>().is_err());
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for text in ["20 Mbit/s", "0.3 kbit/s", "7 B/s", "1.000001 Gbit/s"] {
            let value: Bandwidth = text.parse().unwrap();
            assert_eq!(value.to_string().parse(), Ok(value), "{text}");
        }
        for text in ["90 min", "0 s", "1.000000001 s", "3 days"] {
            let parsed = text.parse::<Seconds>();
            if let Ok(value) = parsed {
                assert_eq!(value.to_string().parse(), Ok(value), "{text}");
            }
        }
        let memory: Bytes = "1536 MiB".parse().unwrap();
        assert_eq!(memory.to_string(), "1.5 GiB");
    }
}
