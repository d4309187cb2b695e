//! Adapters exchanged with Python's PEFT: reading, writing, exports and whole models.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;
mod decoders;
mod encoders;
mod export;
mod folders;
mod golden;
mod input;
mod python;
#[path = "../numerics/support.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod reference;
mod refusals;
mod start;
mod support;
mod text;
mod tiny;
