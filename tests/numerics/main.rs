//! Models, adapters and aggregation against reference values and float64 oracles.

mod adapters;
mod aggregation;
mod models;
mod properties;
mod sorf;
mod support;
