//! A decoder that gives the next token.

use tch::{Device, Kind, Reduction, Tensor};

use crate::model::ModelError;
use crate::model::architecture::{CausalLm, Model};
use crate::model::decoder::Decoder;
use crate::model::decoder::cache::KvCache;
use crate::model::dropout::Masks;
use crate::model::inputs::Inputs;

/// What a position has for a label where nothing is to be learnt, as transformers has it.
pub const NO_LABEL: i64 = -100;

/// A decoder with its output: the table of token embeddings, or one of its own.
pub struct LanguageModel {
    decoder: Decoder,
    output: Tensor,
}

impl LanguageModel {
    /// A decoder with an output, (vocabulary, hidden); `None`: tied to the token embeddings.
    #[must_use]
    pub fn new(decoder: Decoder, output: Option<Tensor>) -> Self {
        let tied = || decoder.token_table().shallow_clone();
        let output = output.unwrap_or_else(tied);
        Self { decoder, output }
    }

    /// The decoder.
    #[must_use]
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        Ok(hidden.f_linear(&self.output, None::<&Tensor>)?)
    }
}

impl Model for LanguageModel {
    /// Logits, (rows, tokens, vocabulary).
    fn outputs(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        self.logits(&self.decoder.forward(&inputs.ids, masks, None)?)
    }

    /// `labels` are (rows, tokens), aligned with the tokens, and [`NO_LABEL`] where nothing is to be
    /// learnt; the mean is over the labelled tokens of all rows.
    fn loss(&self, outputs: &Tensor, labels: &Tensor) -> Result<Tensor, ModelError> {
        let (rows, tokens) = labels.size2()?;
        let before = outputs.f_narrow(1, 0, tokens - 1)?.f_to_kind(Kind::Float)?;
        let next = labels.f_narrow(1, 1, tokens - 1)?.f_to_kind(Kind::Int64)?;
        let vocabulary = outputs.size()[2];
        Ok(before
            .f_reshape([rows * (tokens - 1), vocabulary])?
            .f_cross_entropy_loss(
                &next.f_reshape([-1])?,
                None::<&Tensor>,
                Reduction::Mean,
                NO_LABEL,
                0.0,
            )?)
    }

    fn checkpoint_blocks(&mut self) {
        self.decoder.checkpoint_blocks();
    }

    fn finish_backward(&self) -> Result<(), ModelError> {
        self.decoder.finish_backward()
    }

    fn as_causal(&self) -> Option<&dyn CausalLm> {
        Some(self)
    }
}

impl CausalLm for LanguageModel {
    fn next_logits(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError> {
        let hidden = self.decoder.forward(ids, None, Some(cache))?;
        let last = hidden.f_select(1, -1)?;
        Ok(self.logits(&last)?.f_to_kind(Kind::Float)?)
    }

    fn device(&self) -> Device {
        self.output.device()
    }
}
