//! The token that stands for what a vocabulary has no token for.

use tokenizers::{ModelWrapper, Tokenizer};

/// How vocabularies of Unigram spell it.
const OF_UNIGRAM: &str = "<unk>";

/// A tokenizer's unknown token; `None` where there is none, for all bytes have tokens.
pub(crate) fn unknown_token(tokenizer: &Tokenizer) -> Option<u32> {
    let spelled = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
        ModelWrapper::WordLevel(model) => Some(model.unk_token.as_str()),
        ModelWrapper::BPE(model) => model.unk_token.as_deref(),
        ModelWrapper::Unigram(_) => Some(OF_UNIGRAM),
    };
    tokenizer.token_to_id(spelled?)
}
