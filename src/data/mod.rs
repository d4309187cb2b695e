//! Data sets in memory, whatever the task: files to splits, splits to shards, texts to batches of
//! token ids. No tensor in it.
//!
//! | file | holds |
//! |---|---|
//! | [`schema`] | the names of a data set's splits, columns and labels, as its files have them |
//! | `request` | what is to be read of one split |
//! | [`formats`] | readers of TSV, CSV, JSON and Parquet |
//! | [`source_span`] | places in data files |
//! | [`split`] | examples in memory |
//! | `label` | labels as files spell them, and as numbers |
//! | [`partition`] | the training examples divided among the clients |
//! | [`tokenize`] | texts to token ids by the model's own tokenizer (`tokenizer`), once, with a cache on disk ([`token_cache`]) |
//! | [`rendered`] | texts as a template gives them, part by part |
//! | [`encoded`] | a split as a model takes it: token ids, and what counts in the loss |
//! | `limits` | the properties of a model that constrain its tokens |
//! | [`packing`] | several examples in a row |
//! | [`batch`] | an epoch's order, and batches padded to their own longest |
//! | [`error`] | the error type of this room |

pub mod batch;
pub mod encoded;
pub mod error;
pub mod formats;
pub(crate) mod label;
pub mod limits;
pub mod packing;
pub mod partition;
pub mod rendered;
pub(crate) mod request;
pub mod schema;
pub mod source_span;
pub mod split;
pub mod token_cache;
pub mod tokenize;
pub(crate) mod tokenizer;
