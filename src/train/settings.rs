//! The local training of a client in a round.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Number format of the forward and backward passes on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Precision {
    /// Mixed where the device is a GPU (bfloat16 if it has it, else float16), float32 on a CPU.
    Auto,
    /// float32 throughout.
    Float32,
    /// Mixed with bfloat16.
    Bfloat16,
    /// Mixed with float16 and loss scaling.
    Float16,
}

impl Precision {
    /// What [`Self::Auto`] is on GPUs of these compute capabilities: bfloat16, or float16 where one
    /// of them is too old for that; float32 without any.
    pub fn for_capabilities(capabilities: impl Iterator<Item = (u32, u32)>) -> Self {
        match capabilities.min() {
            None => Self::Float32,
            Some((major, _)) if major < 8 => Self::Float16,
            Some(_) => Self::Bfloat16,
        }
    }
}

/// The local training of a client in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingPlan {
    /// Passes over its shard.
    pub local_epochs: u32,
    /// Examples in a batch.
    pub batch_size: u32,
    /// Clients that a lane trains together, a step of each at a time.
    pub clients_per_step: u32,
    /// Examples in a batch of evaluation.
    pub eval_batch_size: u32,
    /// Peak learning rate.
    pub lr: f64,
    /// Share of the steps in which the learning rate warms up.
    pub warmup_ratio: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Whether examples are shuffled each epoch.
    pub shuffle: bool,
    /// Share of what a label is to be given that all classes or tokens have.
    pub label_smoothing: f64,
    /// The largest norm of a step's gradients; `None`: any.
    pub max_grad_norm: Option<f64>,
    /// Whether a row has several examples.
    pub pack: bool,
    /// Whether layers are computed again in the backward pass, to save memory.
    pub checkpoint_blocks: bool,
    /// Number format.
    pub precision: Precision,
}
