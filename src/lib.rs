//! Federated fine-tuning of transformer encoders on GLUE, simulated: exact aggregation, scripted
//! faults, bit-for-bit replay.

pub mod cli;
pub mod config;
pub mod files;
pub mod glue;
pub mod inputs;
pub mod record;
pub mod telemetry;
