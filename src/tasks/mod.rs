//! TODO

pub mod glue;
pub mod metrics;
pub mod summary;
