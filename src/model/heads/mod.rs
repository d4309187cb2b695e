//! What turns a model's hidden states into answers.

pub mod classifier;
pub mod language_model;
pub mod output_table;
mod token_loss;
