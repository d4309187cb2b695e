//! A decoder that gives the next token.

use tch::{Device, Kind, Tensor};

use crate::model::ModelError;
use crate::model::architecture::{CausalLm, Model};
use crate::model::decoder::Decoder;
use crate::model::decoder::cache::KvCache;
use crate::model::dropout::Masks;
use crate::model::heads::output_table::OutputTable;
use crate::model::heads::token_loss::TokenLoss;
use crate::model::inputs::Inputs;
use crate::model::layers::soft_cap::SoftCap;
use crate::model::loss::{Labels, Loss};

/// A decoder with its output: the table of token embeddings, or one of its own.
pub struct LanguageModel {
    decoder: Decoder,
    output: OutputTable,
    /// Of the logits.
    cap: Option<SoftCap>,
}

impl LanguageModel {
    /// A decoder with an output, and the cap of its logits.
    #[must_use]
    pub fn new(decoder: Decoder, output: OutputTable, cap: Option<SoftCap>) -> Self {
        Self {
            decoder,
            output,
            cap,
        }
    }

    fn token_loss<'a>(
        &'a self,
        states: &'a Tensor,
        tokens: &'a Tensor,
        smoothing: f64,
    ) -> TokenLoss<'a> {
        TokenLoss {
            states,
            output: &self.output,
            cap: self.cap,
            tokens,
            smoothing,
        }
    }

    /// The decoder.
    #[must_use]
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}

/// The hidden states, (labels, hidden), that the tokens of a batch are predicted from, and these.
fn labelled<'a>(hidden: &Tensor, labels: &'a Labels) -> Result<(Tensor, &'a Tensor), ModelError> {
    let (places, tokens) = labels.of_tokens()?;
    let states = hidden.f_flatten(0, 1)?.f_index_select(0, places)?;
    Ok((states, tokens))
}

impl Model for LanguageModel {
    /// The last hidden states, (rows, tokens, hidden).
    fn outputs(&self, inputs: &Inputs, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let documents = inputs.documents.as_ref();
        self.decoder.forward(&inputs.ids, documents, masks)
    }

    fn joint_hidden(&self, batches: &[Inputs], masks: &Masks) -> Result<Vec<Tensor>, ModelError> {
        self.decoder.forward_joint(batches, masks)
    }

    fn outputs_of(
        &self,
        hidden: &Tensor,
        _: &Inputs,
        _: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        Ok(hidden.shallow_clone())
    }

    /// Cross-entropy, a mean over the labelled tokens of all rows.
    fn loss(&self, outputs: &Tensor, labels: &Labels, smoothing: f64) -> Result<Loss, ModelError> {
        let (states, tokens) = labelled(outputs, labels)?;
        self.token_loss(&states, tokens, smoothing).compute()
    }

    fn losses(
        &self,
        outputs: &[Tensor],
        labels: &[Labels],
        smoothing: f64,
    ) -> Result<Vec<Loss>, ModelError> {
        let (mut states, mut tokens) = (Vec::new(), Vec::new());
        for (outputs, labels) in outputs.iter().zip(labels) {
            let (own, next) = labelled(outputs, labels)?;
            states.push(own);
            tokens.push(next);
        }
        let all = (Tensor::f_cat(&states, 0)?, Tensor::f_cat(&tokens, 0)?);
        self.token_loss(&all.0, &all.1, smoothing)
            .compute_each(&states)
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
        let padded = self.output.padded_logits(hidden)?;
        let logits = padded.f_narrow(-1, 0, self.output.vocabulary())?;
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
        self.output.table().device()
    }
}
