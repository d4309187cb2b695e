//! GGUF files: a language model in one file, as llama.cpp and its tools write it, with quantised
//! weights, the configuration, the tokenizer and the chat template.
//!
//! | file | holds |
//! |---|---|
//! | [`mod@file`] | a file at hand: its configuration, and its tensors under their Hugging Face names |
//! | [`header`] | what stands before the weights: version, metadata, where each tensor lies |
//! | [`metadata`] | keys and values, by type |
//! | `reader` | numbers and strings from a file that may be cut short or hostile |
//! | [`tensor_type`] | the types of weights, and which are supported |
//! | [`quantised`] | blocks of each type to float32 |
//! | `architecture` | the architectures that are read, and how their files differ |
//! | [`config`] | metadata to what a `config.json` says |
//! | [`rope`] | scaled rotary frequencies to what a `config.json` says of them |
//! | [`names`] | GGUF's names of tensors to Hugging Face's, and how their values are stored |
//! | [`tokenizer`] | the parts of the tokenizer; `data::tokenizer` makes one of them |
//! | [`error`] | what can be wrong |
//!
//! The format is that of <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

pub(crate) mod architecture;
pub mod config;
pub mod error;
pub mod file;
pub mod header;
pub mod metadata;
pub mod names;
pub mod quantised;
pub(crate) mod reader;
pub mod rope;
#[cfg(test)]
pub(crate) mod sample;
pub mod tensor_type;
pub mod tokenizer;
