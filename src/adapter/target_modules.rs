//! Which linear layers get an adapter, as a user says it.

use std::convert::Infallible;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The word for all linear layers but the output, which PEFT takes in capitals too.
pub(crate) const ALL_LINEAR: &str = "all-linear";

/// What stands before a regular expression, so that it cannot be taken for a list of names.
const REGEX: &str = "regex:";

/// Which linear layers get an adapter. As text: `query,value`, `all-linear` or `regex:PATTERN`.
/// Names may also be a list, and are recorded as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "WrittenTargets", into = "WrittenTargets")]
pub enum TargetModules {
    /// Those with these names, or with names that end so: `query`, `attention.output.dense`.
    Names(Vec<String>),
    /// All but the head.
    AllLinear,
    /// Those whose whole name matches this expression, in Python's syntax. It may contain commas.
    Regex(String),
}

impl TargetModules {
    /// Layers by names that are known.
    #[must_use]
    pub fn names(names: &[&str]) -> Self {
        Self::Names(names.iter().map(|&name| name.to_owned()).collect())
    }
}

impl FromStr for TargetModules {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let text = text.trim();
        Ok(if text.eq_ignore_ascii_case(ALL_LINEAR) {
            Self::AllLinear
        } else if let Some(pattern) = text.strip_prefix(REGEX) {
            Self::Regex(pattern.to_owned())
        } else {
            let names = text.split(',').map(str::trim);
            let names = names.filter(|name| !name.is_empty());
            Self::Names(names.map(str::to_owned).collect())
        })
    }
}

/// The same as a file has it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a list of names in brackets, or \"all-linear\" or \"regex:PATTERN\""
)]
enum WrittenTargets {
    List(Vec<String>),
    Text(String),
}

impl From<WrittenTargets> for TargetModules {
    fn from(written: WrittenTargets) -> Self {
        match written {
            WrittenTargets::List(names) => Self::Names(names),
            WrittenTargets::Text(text) => text.parse().unwrap_or_else(|never| match never {}),
        }
    }
}

impl From<TargetModules> for WrittenTargets {
    fn from(targets: TargetModules) -> Self {
        match targets {
            TargetModules::Names(names) => Self::List(names),
            TargetModules::AllLinear => Self::Text(ALL_LINEAR.to_owned()),
            TargetModules::Regex(pattern) => Self::Text(format!("{REGEX}{pattern}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> TargetModules {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn names_a_word_and_an_expression_are_told_apart_and_written_as_they_are_read() {
        let regex = r".*\.(?:query|value){1,2}";
        for (text, targets, written) in [
            (
                "query, value",
                TargetModules::names(&["query", "value"]),
                json!(["query", "value"]),
            ),
            ("All-Linear", TargetModules::AllLinear, json!("all-linear")),
            (
                &format!("regex:{regex}"),
                TargetModules::Regex(regex.to_owned()),
                json!(format!("regex:{regex}")),
            ),
            (",", TargetModules::Names(Vec::new()), json!([])),
        ] {
            assert_eq!(text.parse(), Ok(targets.clone()));
            assert_eq!(read(json!(text)), targets);
            assert_eq!(serde_json::to_value(&targets).unwrap(), written);
            assert_eq!(read(written), targets);
        }
    }

    #[test]
    fn what_is_neither_text_nor_a_list_is_refused_with_what_would_be() {
        let error = serde_json::from_value::<TargetModules>(json!(3)).unwrap_err();
        assert!(error.to_string().contains("regex:PATTERN"), "{error}");
    }
}
