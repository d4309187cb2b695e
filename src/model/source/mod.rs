//! Where a model comes from: a snapshot folder, a GGUF file, the hub, or an architecture to draw
//! weights for.
//!
//! | file | holds |
//! |---|---|
//! | [`location`] | how a model is named |
//! | [`locate`] | its folder, fetched if need be |
//! | [`files`] | a model at hand: a snapshot folder, a GGUF file, or an architecture |
//! | [`known`] | architectures by name, for models without a checkpoint |
//! | [`checkpoint`] | a model's files read into named tensors; a fresh head where there is none |
//! | [`gguf`] | a language model in one GGUF file: configuration, quantised weights, tokenizer |
//! | `shards` | the weights of a snapshot, in one file or several |
//! | `gather` | a model's tensors as they are read, in the form in which they are held |
//! | `soundness` | whether a snapshot's tensors are those of its configuration, and finite |
//! | `random`, `draw` | weights drawn from a seed |

pub mod checkpoint;
pub(crate) mod draw;
pub mod files;
pub(crate) mod gather;
pub mod gguf;
pub mod known;
pub mod locate;
pub mod location;
pub(crate) mod random;
pub(crate) mod shards;
pub(crate) mod soundness;
