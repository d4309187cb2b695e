//! TODO

pub(crate) mod parquet;
pub(crate) mod tsv;
