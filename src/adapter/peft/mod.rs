//! Adapters in the files of Python's PEFT: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! | file | holds |
//! |---|---|
//! | [`config`] | `adapter_config.json` |
//! | `peft_type` | the kinds of adapter in its words |
//! | `keys` | what becomes of each of its keys |
//! | `describe` | an adapter's plan in its words |
//! | `choice` | which layers of a model it chooses |
//! | `ranks` | ranks and alphas that differ by layer |
//! | [`fit`] | what a folder means for a model: layers, ranks and alphas |
//! | [`names`] | tensors' names in files of PEFT |
//! | [`export`] | an adapter written as PEFT writes it |
//! | [`import`] | a PEFT folder read into an adapter's tensors |
//!
//! PEFT puts `base_model.model.` before a module's name; below it the names are ours.

pub(crate) mod choice;
pub mod config;
pub(crate) mod describe;
pub mod export;
pub mod fit;
pub mod import;
pub(crate) mod keys;
pub mod names;
pub(crate) mod peft_type;
pub(crate) mod ranks;

/// The prefix that PEFT puts before a module's name.
pub const PREFIX: &str = "base_model.model.";
/// The names of VeRA's shared projection, when it is saved.
pub const PROJECTION: [&str; 2] = ["base_model.vera_A", "base_model.vera_B"];
/// The file of what aggregation changed base weights by.
pub const BASE_DELTA: &str = "base_delta.safetensors";
