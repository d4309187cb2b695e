//! Readers of data files, a format a file; `quoting` checks the quotation marks of `csv`.

pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod parquet;
pub(crate) mod quoting;
pub(crate) mod records;
pub(crate) mod tsv;
