//! The kinds of adapter as `adapter_config.json` spells them.

use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serializer, de};

use crate::adapter::settings::AdapterKind;

/// The kind of that name.
pub(crate) fn find(name: &str) -> Option<AdapterKind> {
    let mut kinds = AdapterKind::value_variants().iter();
    kinds.find(|kind| kind.info().peft_type == name).copied()
}

pub(crate) fn serialize<S: Serializer>(kind: &AdapterKind, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(kind.info().peft_type)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<AdapterKind, D::Error> {
    let name = String::deserialize(from)?;
    find(&name).ok_or_else(|| de::Error::custom(format_args!("no adapter is called {name:?}")))
}
