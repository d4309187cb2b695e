//! How a partition is written: `iid`, `natural:domain`, `dirichlet(0.5)`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::partition::error::PartitionError;

/// A way to divide examples among clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Partition {
    /// By the values of a column of the data.
    Natural(String),
    /// At random, in equal shares.
    Iid,
    /// In equal shares of consecutive examples.
    Contiguous,
    /// Label skew: each class divided in proportions drawn from Dir(α).
    Dirichlet(f64),
    /// Shards of sizes drawn from Dir(α), each as a random sample.
    Quantity(f64),
    /// The number of classes per client.
    Classes(usize),
}

impl Partition {
    /// The column that the data must be read with.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Natural(column) => Some(column),
            _ => None,
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Natural(column) => write!(f, "natural:{column}"),
            Self::Iid => f.write_str("iid"),
            Self::Contiguous => f.write_str("contiguous"),
            Self::Dirichlet(alpha) => write!(f, "dirichlet({alpha})"),
            Self::Quantity(alpha) => write!(f, "quantity({alpha})"),
            Self::Classes(count) => write!(f, "classes({count})"),
        }
    }
}

impl FromStr for Partition {
    type Err = PartitionError;

    /// Takes an argument in parentheses or after a colon.
    fn from_str(text: &str) -> Result<Self, PartitionError> {
        parse(text.trim()).ok_or_else(|| PartitionError::Unknown {
            found: text.to_owned(),
        })
    }
}

fn parse(text: &str) -> Option<Partition> {
    let (kind, argument) = match text.split_once([':', '(']) {
        Some((kind, rest)) if text[kind.len()..].starts_with('(') => {
            (kind, rest.strip_suffix(')')?)
        }
        Some((kind, rest)) => (kind, rest),
        None => (text, ""),
    };
    let alpha = || {
        argument
            .trim()
            .parse()
            .ok()
            .filter(|it: &f64| it.is_normal() && *it > 0.0)
    };
    match kind.trim() {
        "natural" if !argument.is_empty() => Some(Partition::Natural(argument.to_owned())),
        "iid" if argument.is_empty() => Some(Partition::Iid),
        "contiguous" if argument.is_empty() => Some(Partition::Contiguous),
        "dirichlet" => Some(Partition::Dirichlet(alpha()?)),
        "quantity" => Some(Partition::Quantity(alpha()?)),
        "classes" => argument
            .trim()
            .parse()
            .ok()
            .filter(|it| *it > 0)
            .map(Partition::Classes),
        _ => None,
    }
}

impl TryFrom<String> for Partition {
    type Error = PartitionError;

    fn try_from(text: String) -> Result<Self, PartitionError> {
        text.parse()
    }
}

impl From<Partition> for String {
    fn from(partition: Partition) -> Self {
        partition.to_string()
    }
}
