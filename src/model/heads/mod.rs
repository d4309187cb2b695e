//! What turns a model's hidden states into answers.

pub mod classifier;
pub mod language_model;
mod token_loss;
