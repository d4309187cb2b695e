//! The properties of a model that constrain its tokens.

use crate::data::token_cache::Tokens;
use crate::model::architecture::Architecture;
use crate::model::objective::Objective;

/// The properties of a model that constrain its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerLimits {
    /// The model's name, or the file that says all this; for errors.
    pub model: String,
    /// Tokens that it embeds.
    pub vocabulary: usize,
    /// Token types that it embeds; `None`: it reads none.
    pub token_types: Option<usize>,
    /// The longest sequence that its position embeddings take.
    pub positions: usize,
    /// The token that pads a batch.
    pub pad_id: u32,
    /// The tokens that end a text that the model writes, the one that it is taught first.
    pub end_tokens: Vec<u32>,
    /// Whether it reads from left to right, and so never what pads a text.
    pub is_decoder: bool,
    /// The class of transformers' that its tokenizer has where `tokenizer_config.json` names
    /// none. `None`: `tokenizer.json` says all.
    pub tokenizer_class: Option<String>,
}

impl TokenizerLimits {
    /// Those of an architecture; `model` names it in errors.
    #[must_use]
    pub fn of(model: String, architecture: &dyn Architecture) -> Self {
        let end_tokens = architecture.end_tokens().iter();
        let size = |size: i64| usize::try_from(size).unwrap_or(0);
        Self {
            model,
            vocabulary: size(architecture.vocabulary()),
            token_types: architecture.token_types().map(size),
            positions: size(architecture.max_tokens()),
            pad_id: u32::try_from(architecture.padding()).unwrap_or(0),
            end_tokens: end_tokens
                .filter_map(|id| u32::try_from(*id).ok())
                .collect(),
            is_decoder: architecture.check_objective(&Objective::NextToken).is_ok(),
            tokenizer_class: Some(architecture.tokenizer_class().to_owned()),
        }
    }

    /// Whether the model embeds all of the types. A post-processor has its own types.
    ///
    /// # Errors
    /// What the tokenizer gives that the model does not embed, and what would be right.
    pub(crate) fn check_types(&self, tokens: &Tokens) -> Result<(), String> {
        let model = &self.model;
        let largest = tokens.type_ids.iter().max().copied().unwrap_or(0);
        match self.token_types {
            Some(types) if usize::from(largest) >= types => Err(format!(
                "it produces tokens of type {largest} (for the second text, for example), but the \
                 model of {model} embeds {types} (type_vocab_size), numbered from 0; name a model \
                 with more token types, or give the tokenizer a post-processor that makes all of \
                 type 0"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(type_ids: &[u8], token_types: Option<usize>) -> Result<(), String> {
        let limits = TokenizerLimits {
            model: "tiny".to_owned(),
            vocabulary: 10,
            token_types,
            positions: 8,
            pad_id: 0,
            end_tokens: Vec::new(),
            is_decoder: false,
            tokenizer_class: None,
        };
        limits.check_types(&Tokens {
            ids: vec![1; type_ids.len()],
            type_ids: type_ids.to_vec(),
            ends: vec![type_ids.len() as u64],
            truncated: 0,
        })
    }

    #[test]
    fn types_beyond_the_models_table_are_refused_with_the_key() {
        assert_eq!(check(&[0, 1], Some(2)), Ok(()));
        assert_eq!(check(&[], Some(1)), Ok(()));
        let beyond = check(&[0, 1], Some(1)).unwrap_err();
        assert!(beyond.contains("type 1") && beyond.contains("type_vocab_size"));
    }

    #[test]
    fn a_model_that_reads_no_token_types_takes_any() {
        assert_eq!(check(&[0, 7], None), Ok(()));
    }
}
