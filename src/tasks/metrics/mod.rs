//! Scores of predictions.

pub mod classification;
pub mod generation;
