//! Local training: what one client does in one round.
//!
//! | file | holds |
//! |---|---|
//! | [`settings`] | what a plan says of a client's round |
//! | [`schedule`] | the learning rate: linear warm-up, linear decay |
//! | [`optimizers`] | AdamW over one client's trained tensors |
//! | [`precision`] | mixed precision and loss scaling |
//! | [`replica`] | a client's model: shared frozen weights, its own trained tensors |
//! | [`client_round`] | what is trained on what, and the parts that batches are cut into |
//! | `client_steps` | the next batch, its gradients, the optimiser's step |
//! | [`local`] | the loop over one client's batches |
//! | [`joint`] | the loop over several clients' batches, computed together |
//! | [`evaluate`] | predictions and losses over a split |
//! | [`probe`] | steps on random tokens, to be timed |

pub mod client_round;
mod client_steps;
pub mod evaluate;
pub mod joint;
pub mod local;
pub mod optimizers;
pub mod precision;
pub mod probe;
pub mod replica;
pub mod schedule;
pub mod settings;
