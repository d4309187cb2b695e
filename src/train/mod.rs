//! Local training: what one client does in one round.
//!
//! | file | holds |
//! |---|---|
//! | [`settings`] | what a plan says of a client's round |
//! | [`schedule`] | the learning rate: linear warm-up, linear decay |
//! | [`optimizers`] | AdamW over one client's trained tensors |
//! | [`precision`] | mixed precision and loss scaling |
//! | [`replica`] | a client's model: shared frozen weights, its own trained tensors |
//! | [`local`] | the loop over batches |
//! | [`evaluate`] | predictions and losses over a split |
//! | [`probe`] | steps on random tokens, to be timed |

pub mod evaluate;
pub mod local;
pub mod optimizers;
pub mod precision;
pub mod probe;
pub mod replica;
pub mod schedule;
pub mod settings;
