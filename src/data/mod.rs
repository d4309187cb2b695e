//! TODO

pub mod batch;
pub mod error;
pub mod formats;
pub(crate) mod label;
pub mod limits;
pub mod partition;
pub(crate) mod request;
pub mod schema;
pub mod split;
pub mod token_cache;
pub mod tokenize;
pub(crate) mod tokenizer;
