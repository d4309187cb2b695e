//! A decoder that gives the next token.

use tch::{Device, Kind, Tensor};

use crate::base::torch;
use crate::model::ModelError;
use crate::model::architecture::{CausalLm, Model};
use crate::model::decoder::Decoder;
use crate::model::decoder::cache::KvCache;
use crate::model::dropout::Masks;
use crate::model::heads::token_loss::TokenLoss;
use crate::model::inputs::Inputs;
use crate::model::layers::soft_cap::SoftCap;
use crate::model::loss::{Labels, Loss};

/// A decoder with its output: the table of token embeddings, or one of its own.
pub struct LanguageModel {
    decoder: Decoder,
    output: Tensor,
    /// Of the logits.
    cap: Option<SoftCap>,
}

impl LanguageModel {
    /// A decoder with an output, (vocabulary, hidden), or tied to the token embeddings if there is
    /// none; and the cap of its logits.
    #[must_use]
    pub fn new(decoder: Decoder, output: Option<Tensor>, cap: Option<SoftCap>) -> Self {
        let tied = || decoder.token_table().shallow_clone();
        let output = output.unwrap_or_else(tied);
        Self {
            decoder,
            output,
            cap,
        }
    }

    /// The decoder.
    #[must_use]
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}

impl Model for LanguageModel {
    /// The last hidden states, (rows, tokens, hidden).
    fn outputs(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        match &inputs.documents {
            None => self.decoder.forward(&inputs.ids, masks),
            Some(documents) => self.decoder.forward_packed(&inputs.ids, documents, masks),
        }
    }

    /// Cross-entropy, a mean over the labelled tokens of all rows.
    fn loss(&self, outputs: &Tensor, labels: &Labels, smoothing: f64) -> Result<Loss, ModelError> {
        let (places, tokens) = labels.of_tokens()?;
        let states = outputs.f_flatten(0, 1)?.f_index_select(0, places)?;
        let loss = TokenLoss {
            states: &states,
            output: &self.output,
            cap: self.cap,
            tokens,
            smoothing,
        };
        loss.compute()
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
    fn logits(&self, hidden: &Tensor) -> Result<Tensor, ModelError> {
        let logits = torch::kernels::linear(hidden, &self.output, None)?;
        match self.cap {
            Some(cap) => Ok(cap.forward(&logits.f_to_kind(Kind::Float)?)?),
            None => Ok(logits),
        }
    }

    fn read_prompts(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError> {
        let hidden = self.decoder.read_prompts(ids, cache)?;
        Ok(hidden.f_select(1, -1)?)
    }

    fn read_next(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError> {
        let hidden = self.decoder.read_next(&ids.f_unsqueeze(1)?, cache)?;
        Ok(hidden.f_select(1, 0)?)
    }

    fn device(&self) -> Device {
        self.output.device()
    }
}
