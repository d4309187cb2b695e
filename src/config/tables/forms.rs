//! Choices with parameters, written like a call: `"uniform(2, 8)"`, `"noise(0.5)"`,
//! `"retry(2)"`. Only the form is read here; the actors check the numbers.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use regatta_actors::plan::fault::{Corruption, Slowdown};
use regatta_actors::plan::policy::OnTooFew;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::tables::quantity::as_text;

/// The slowdown of a straggler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowdownSpec(pub Slowdown);

/// The corruption of an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorruptionSpec(pub Corruption);

/// The action when there are too few updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnTooFewSpec(pub OnTooFew);

/// `name(1, 2)` as the name and its numbers; a name alone has none.
fn call(text: &str) -> Option<(&str, Vec<f64>)> {
    let text = text.trim();
    let Some((name, rest)) = text.split_once('(') else {
        return Some((text, Vec::new()));
    };
    let numbers = rest.strip_suffix(')')?.split(',');
    let numbers = numbers.map(|number| number.trim().parse().ok());
    Some((name.trim_end(), numbers.collect::<Option<_>>()?))
}

impl FromStr for SlowdownSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(factor) = text.trim().parse() {
            return Ok(Self(Slowdown::Factor { factor }));
        }
        match call(text).as_ref().map(|(name, n)| (*name, n.as_slice())) {
            Some(("uniform", &[low, high])) => Ok(Slowdown::Uniform { low, high }),
            Some(("log_normal", &[median, sigma])) => Ok(Slowdown::LogNormal { median, sigma }),
            Some(("pareto", &[shape])) => Ok(Slowdown::Pareto { shape }),
            _ => Err(format!(
                "invalid slowdown {text:?}: use a factor such as 4, or \"uniform(2, 8)\", \
                 \"log_normal(MEDIAN, SIGMA)\" or \"pareto(SHAPE)\""
            )),
        }
        .map(Self)
    }
}

impl FromStr for CorruptionSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match call(text).as_ref().map(|(name, n)| (*name, n.as_slice())) {
            Some(("nan", [])) => Ok(Corruption::Nan),
            Some(("wrong_shape", [])) => Ok(Corruption::WrongShape),
            Some(("sign_flip", [])) => Ok(Corruption::SignFlip),
            Some(("noise", &[scale])) => Ok(Corruption::Noise { scale }),
            _ => Err(format!(
                "invalid corruption {text:?}: use nan, wrong_shape, sign_flip or noise(SCALE)"
            )),
        }
        .map(Self)
    }
}

impl FromStr for OnTooFewSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match call(text).as_ref().map(|(name, n)| (*name, n.as_slice())) {
            Some(("skip", [])) => Ok(OnTooFew::Skip),
            Some(("stop", [])) => Ok(OnTooFew::Stop),
            Some(("retry", &[attempts])) if attempts.fract() == 0.0 => {
                let attempts = attempts as u32;
                Ok(OnTooFew::Retry { attempts })
            }
            _ => Err(format!(
                "invalid choice {text:?}: use skip, stop or retry(ATTEMPTS)"
            )),
        }
        .map(Self)
    }
}

impl fmt::Display for SlowdownSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Slowdown::Factor { factor } => write!(f, "{factor}"),
            Slowdown::Uniform { low, high } => write!(f, "uniform({low}, {high})"),
            Slowdown::LogNormal { median, sigma } => write!(f, "log_normal({median}, {sigma})"),
            Slowdown::Pareto { shape } => write!(f, "pareto({shape})"),
        }
    }
}

impl fmt::Display for CorruptionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Corruption::Nan => f.write_str("nan"),
            Corruption::WrongShape => f.write_str("wrong_shape"),
            Corruption::SignFlip => f.write_str("sign_flip"),
            Corruption::Noise { scale } => write!(f, "noise({scale})"),
            // One that a later version adds is shown as it is named there.
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for OnTooFewSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            OnTooFew::Skip => f.write_str("skip"),
            OnTooFew::Stop => f.write_str("stop"),
            OnTooFew::Retry { attempts } => write!(f, "retry({attempts})"),
        }
    }
}

as_text!(
    CorruptionSpec,
    "Corruption",
    "nan, wrong_shape, sign_flip (as far the other way from where the round began), or \
     noise(SCALE) with normal noise of SCALE times a tensor's root mean square",
    "^(nan|wrong_shape|sign_flip|noise\\([0-9.eE+-]+\\))$"
);
as_text!(
    OnTooFewSpec,
    "Then",
    "skip, stop, or retry(ATTEMPTS)",
    "^(skip|stop|retry\\([0-9]+\\))$"
);

impl Serialize for SlowdownSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Slowdown::Factor { factor } => factor.serialize(serializer),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for SlowdownSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::config::tables::quantity::from_text(deserializer)
    }
}

impl JsonSchema for SlowdownSpec {
    fn schema_name() -> Cow<'static, str> {
        "Slowdown".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A factor, or uniform(LOW, HIGH), log_normal(MEDIAN, SIGMA) or \
             pareto(SHAPE) to draw one",
            "anyOf": [
                { "type": "number", "exclusiveMinimum": 0 },
                { "type": "string", "pattern": "^(uniform|log_normal|pareto)\\(.+\\)$" },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_written_alike() {
        for text in ["4.5", "uniform(2, 8)", "log_normal(2, 0.5)", "pareto(1.5)"] {
            assert_eq!(text.parse::<SlowdownSpec>().unwrap().to_string(), text);
        }
        for text in ["nan", "wrong_shape", "sign_flip", "noise(0.25)"] {
            assert_eq!(text.parse::<CorruptionSpec>().unwrap().to_string(), text);
        }
        for text in ["skip", "stop", "retry(3)"] {
            assert_eq!(text.parse::<OnTooFewSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn another_form_is_refused() {
        for text in ["pareto()", "pareto(1, 2)", "uniform(1, x)", "fast", ""] {
            assert!(text.parse::<SlowdownSpec>().is_err(), "{text}");
        }
        for text in ["noise", "nan(1)", "noise(1", ""] {
            assert!(text.parse::<CorruptionSpec>().is_err(), "{text}");
        }
        for text in ["retry", "retry(1.5)", "again"] {
            assert!(text.parse::<OnTooFewSpec>().is_err(), "{text}");
        }
    }
}
