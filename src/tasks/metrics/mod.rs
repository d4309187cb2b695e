//! TODO

pub mod classification;
