//! TODO

pub mod classifier;
