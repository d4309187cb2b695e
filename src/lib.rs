//! Regatta simulates federated fine-tuning of transformer encoders on GLUE.

pub mod adapter;
pub mod aggregate;
pub mod cli;
pub mod config;
pub mod federation;
pub mod files;
pub mod glue;
pub mod inputs;
pub mod model;
pub mod peft;
pub mod record;
pub mod telemetry;
pub mod tensors;
pub mod torch;
pub mod train;
