//! How the server aggregates, and what each update weighs.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use clap::ValueEnum;
use clap::builder::{
    PossibleValue, PossibleValuesParser, TypedValueParser, ValueParser, ValueParserFactory,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::adapter::settings::AdapterKind;
use crate::aggregate::methods::info::MethodInfo;
use crate::aggregate::methods::{self, METHODS};

/// How the server aggregates: a row of the table of methods.
#[derive(Clone, Copy)]
pub struct MethodName(&'static MethodInfo);

impl MethodName {
    /// The row.
    #[must_use]
    pub fn info(self) -> &'static MethodInfo {
        self.0
    }

    /// The name as `--agg_type` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The method for an adapter where none is asked for: the table's first exact one for it alone.
    #[must_use]
    pub fn default_for(kind: AdapterKind) -> Self {
        let mut exact = METHODS.iter().filter(|info| info.exact);
        let own = exact.find(|info| info.adapters == [kind]);
        Self(own.unwrap_or(&METHODS[0]))
    }
}

impl PartialEq for MethodName {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for MethodName {}

impl Hash for MethodName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MethodName {
    type Err = String;

    /// Reads a name or an alias.
    ///
    /// # Errors
    /// No method has it; the message lists the names, in the words of serde.
    fn from_str(name: &str) -> Result<Self, String> {
        methods::find(name).map(Self).ok_or_else(|| {
            let names = METHODS.iter().map(|info| format!("`{}`", info.name));
            let names = names.collect::<Vec<_>>().join(", ");
            format!("unknown variant `{name}`, expected one of {names}")
        })
    }
}

impl Serialize for MethodName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for MethodName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(de::Error::custom)
    }
}

impl ValueParserFactory for MethodName {
    type Parser = ValueParser;

    fn value_parser() -> ValueParser {
        let value = |info: &&MethodInfo| {
            let help = format!("{}: {} [{}]", info.title, info.help, info.paper);
            PossibleValue::new(info.name)
                .aliases(info.aliases)
                .help(help)
        };
        let names = PossibleValuesParser::new(METHODS.iter().map(value));
        ValueParser::new(names.try_map(|name| name.parse::<Self>()))
    }
}

impl JsonSchema for MethodName {
    fn schema_name() -> Cow<'static, str> {
        "MethodName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let value = |info: &&MethodInfo| {
            let help = format!("{}: {}.", info.title, info.help);
            json_schema!({"type": "string", "const": info.name, "description": help})
        };
        let alias = |info: &&'static MethodInfo| {
            let name = info.name;
            info.aliases.iter().map(move |alias| {
                let help = format!("Another name of {name}.");
                json_schema!({"type": "string", "const": alias, "description": help})
            })
        };
        let aliases = METHODS.iter().flat_map(alias);
        let values: Vec<Schema> = METHODS.iter().map(value).chain(aliases).collect();
        json_schema!({"description": "How the server aggregates.", "oneOf": values})
    }
}

/// What an update weighs in the aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Weighting {
    /// The same for each client.
    Uniform,
    /// In proportion to the examples it was trained on.
    Examples,
}

/// What the server does with the updates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AggregationPlan {
    /// How updates are aggregated.
    pub method: MethodName,
    /// Scale the residual by the learning rate rather than by the adapter's scaling.
    pub vera_scale: bool,
    /// By what the residual is multiplied before it is merged into the base; 1 is exact.
    pub residual_scale: f64,
    /// What each weighs.
    pub weighting: Weighting,
    /// Updates of a larger norm are refused; see [`crate::aggregate::sound::update_norm`].
    pub max_update_norm: Option<f64>,
}
