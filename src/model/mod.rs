//! Transformers as transformers defines them: encoders (BERT and its kin, ModernBERT, DeBERTa) with
//! classification heads; GPT-2, Llama and its like (Mistral, Qwen2, Qwen3, Gemma 2) as language models.
//!
//! | file | holds |
//! |---|---|
//! | [`source`] | where a model comes from, and how its files are read |
//! | [`architecture`] | the two traits by which all else knows a model |
//! | [`tensor_spec`] | a tensor that an architecture has, and its first values |
//! | [`objective`] | what a model is trained to give |
//! | [`linear_layer`] | a linear layer that an adapter may target |
//! | [`config`] | `config.json`, read as transformers reads it |
//! | [`activation`] | the activations that it can name |
//! | [`weights`] | named tensors on a device, seen through a prefix, with an overlay |
//! | [`quantised`] | frozen weights in fewer bits than float32 |
//! | [`base_form`] | which tensors of a model are held so |
//! | [`stacked_tensors`] | frozen tensors that lie one below the other |
//! | [`inputs`] | a batch as a model takes it |
//! | [`documents`] | several texts in a row of it |
//! | [`joint`], `joint_attention` | several batches in one pass |
//! | [`loss`] | what a batch is to be given, and how far a model is from it |
//! | [`layers`] | linear (where adapters attach), layer norm, embedding |
//! | [`delta`] | what an adapter adds to a linear layer |
//! | [`joint_delta`] | what the adapters of several clients add to one |
//! | [`encoder`] | encoders: sizes, embeddings, attention, feed-forward |
//! | [`decoder`] | GPT-2, Llama and its like: sizes, layers, positions, the cache of keys and values |
//! | [`heads`] | an encoder with a classification head, a decoder with its output layer: token ids to logits |
//! | [`generate`] | text from a language model: greedy, by beam search, or drawn |
//! | [`dropout`] | dropout masks from keyed streams |
//! | `recompute` | gradient checkpointing: blocks that are computed once more in the backward pass |
//!
//! Tensors carry their Hugging Face names (`roberta.encoder.layer.0.attention.self.query.weight`).
//! A [`Classifier`](heads::classifier::Classifier) is cheap to build: it borrows nothing, copies no
//! weights, and a client's replica is one built with that client's trained tensors laid over the
//! shared, frozen ones.

pub mod activation;
pub mod architecture;
pub mod base_form;
pub mod config;
pub mod decoder;
pub mod delta;
pub mod documents;
pub mod dropout;
pub mod encoder;
pub mod generate;
pub mod heads;
pub mod inputs;
pub mod joint;
mod joint_attention;
pub mod joint_delta;
pub mod layers;
pub mod linear_layer;
pub mod loss;
pub mod objective;
pub mod quantised;
mod recompute;
pub mod source;
pub mod stacked_tensors;
pub mod tensor_spec;
pub mod weights;

use crate::base::file_error::FileError;
use crate::base::tensors::TensorError;
use crate::base::torch::error::TorchError;

/// An error in a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// `config.json` is missing or cannot be read.
    #[error(
        "{0}; a model is a folder with config.json, model.safetensors and tokenizer.json, or a \
         GGUF file"
    )]
    NoConfig(FileError),
    /// `config.json` asks for something this model is not, or `model.safetensors` is not there or
    /// does not hold the model that `config.json` describes; or a GGUF file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A tensor that the architecture needs is not there.
    #[error("the checkpoint has no tensor {name}")]
    Missing {
        /// The tensor's full name.
        name: String,
    },
    /// A tensor has another shape than `config.json` says.
    #[error("tensor {name} has shape {got:?}, but config.json makes it {expected:?}")]
    Shape {
        /// The tensor's full name.
        name: String,
        /// The shape by the configuration.
        expected: Vec<i64>,
        /// The shape found.
        got: Vec<i64>,
    },
    /// Parts that do not belong together.
    #[error("{0}")]
    Refused(String),
    /// A tensor cannot be taken to or from a device.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// libtorch refused an operation.
    #[error(transparent)]
    Torch(#[from] TorchError),
}

impl From<tch::TchError> for ModelError {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error.into())
    }
}
