//! Scores of predictions.

pub mod classification;
