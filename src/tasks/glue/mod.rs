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

pub mod locate;
pub mod source;
pub(crate) mod spec;
pub mod submission;
pub mod task;
