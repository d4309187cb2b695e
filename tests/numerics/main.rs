//! Models, adapters and aggregation against reference values and float64 oracles.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adapters;
mod aggregation;
mod decoders;
mod encoders;
mod generation;
mod gguf;
mod joint;
mod models;
mod packing;
mod parts;
mod properties;
mod quantised;
mod recompute;
mod rounded;
mod sorf;
mod soundness;
mod stacked;
mod support;
