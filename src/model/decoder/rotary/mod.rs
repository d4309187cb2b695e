//! Decoders with rotary positions, RMS norms and gated feed-forwards: Llama and those that came after
//! it, which differ in few things.
//!
//! | file | holds |
//! |---|---|
//! | [`family`] | what tells one family from another |
//! | [`config`] | sizes, and the tensors and layers that follow from them |
//! | `block` | a layer: attention and feed-forward |
//! | `build` | the model that a configuration and weights make |

pub(crate) mod block;
mod build;
pub mod config;
pub mod family;
