//! GLUE: from files to padded batches, from logits to scores and submissions. No tensor in it.
//!
//! The way of the data, in the order of the modules:
//!
//! 1. [`task`] says what a task is: its names, splits, classes, metrics.
//! 2. [`source`] finds a task in a folder (or [`locate`] fetches it from the hub), and reads it
//!    from TSV or Parquet into a [`TaskData`] of [`Split`]s.
//! 3. [`partition()`] divides the training split among the clients.
//! 4. [`tokenize`] turns texts into token ids, once, with a cache on disk.
//! 5. [`batch`] orders an epoch and pads each batch to its own longest.
//! 6. [`metrics`] scores predictions; [`submission`] writes them as GLUE's server takes them.
//!
//! [`summary`] counts what there is at each step, for `regatta data`.

mod label;
mod limits;
mod parquet;
mod spec;
mod tokenizer;
mod tsv;

pub mod batch;
pub mod error;
#[cfg(feature = "hub")]
pub mod hub;
pub mod locate;
pub mod metrics;
pub mod partition;
pub mod source;
pub mod split;
pub mod submission;
pub mod summary;
pub mod task;
pub mod token_cache;
pub mod tokenize;

pub use batch::Batch;
pub use error::DataError;
pub use partition::{Partition, PartitionError, partition};
pub use source::{LoadOptions, TaskData, load, load_with};
pub use split::{CategoricalColumn, Example, Split};
pub use task::{SplitName, Task};
pub use tokenize::{EncodedSplit, TextEncoder, TokenizerLimits};
pub(crate) use tokenizer::conversion as tokenizer_conversion;
