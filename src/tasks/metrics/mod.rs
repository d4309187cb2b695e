//! Scores of predictions.

pub mod classification;
pub mod errors;
pub mod generation;
pub mod info;
pub mod multilabel;
pub mod per_class;
pub mod set;
