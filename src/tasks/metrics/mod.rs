//! Scores of predictions.

pub mod classification;
pub mod generation;
pub mod info;
pub mod set;
