//! Transformers that read from left to right and give the next token: GPT-2, and Llama with those
//! that came after it.
//!
//! | file | holds |
//! |---|---|
//! | [`gpt2`] | GPT-2's sizes, tensors and layers |
//! | [`rotary`] | those of Llama and its like |
//! | [`llama`], [`mistral`], [`qwen2`], [`qwen3`], [`gemma2`] | what sets each of these apart |
//! | [`rope`] | rotary position embedding |
//! | `attention` | attention that looks back only |
//! | `packed` | the same where a row has several texts |
//! | `pass` | what the layers of a forward pass share, and attention in each way of reading |
//! | `positions` | the places of tokens in their texts |
//! | [`cache`] | keys and values of what has been read |

pub(crate) mod attention;
pub mod cache;
pub mod gemma2;
pub mod gpt2;
pub mod llama;
pub mod mistral;
mod packed;
pub(crate) mod pass;
mod positions;
pub mod qwen2;
pub mod qwen3;
pub mod rope;
pub mod rotary;

use tch::{Device, Tensor};

use crate::model::ModelError;
use crate::model::decoder::cache::KvCache;
use crate::model::decoder::pass::{Pass, Reading};
use crate::model::decoder::positions::{Positions, Rotary, side_by_side};
use crate::model::decoder::rope::Rope;
use crate::model::documents::Documents;
use crate::model::dropout::{Masks, dropout, shapes};
use crate::model::inputs::Inputs;
use crate::model::joint;
use crate::model::layers::{Embedding, Norm};
use crate::model::recompute::Recompute;

/// One transformer layer.
pub(crate) trait DecoderBlock {
    /// The hidden states after it, (rows, tokens, hidden). `layer`: its number.
    fn forward(&self, layer: usize, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor, ModelError>;
}

/// Embeddings, all layers, and the norm behind them.
pub struct Decoder {
    pub(crate) tokens: Embedding,
    /// What token embeddings are multiplied by, as rounded to their kind.
    pub(crate) token_scale: Option<f64>,
    /// Learnt positions, where the model has them.
    pub(crate) positions: Option<Embedding>,
    pub(crate) embedding_dropout: f64,
    pub(crate) rope: Option<Rope>,
    pub(crate) blocks: Vec<Box<dyn DecoderBlock>>,
    pub(crate) norm: Norm,
    pub(crate) recompute: Recompute<SharedByLayers>,
}

/// What layers that are computed again share.
pub(crate) struct SharedByLayers {
    rotary: Rotary,
    /// Of each batch, see [`Reading::Texts`].
    documents: Vec<Option<Documents>>,
}

impl Decoder {
    /// The last hidden states, (rows, tokens, hidden), of token ids (rows, tokens). Where rows have
    /// several texts, each of these is read as if it were alone, and what comes of padding has no
    /// meaning.
    ///
    /// # Errors
    /// If several texts of a row do not fit it, or libtorch fails.
    pub fn forward(
        &self,
        ids: &Tensor,
        documents: Option<&Documents>,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let (x, rotary) = self.begin(ids, documents, masks)?;
        self.layers(x, rotary, vec![documents.cloned()], masks, |_| {})
    }

    /// The same of several batches that are computed in one pass, with the masks of all.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub(crate) fn forward_joint(
        &self,
        batches: &[Inputs],
        masks: &Masks,
    ) -> Result<Vec<Tensor>, ModelError> {
        let members = masks.members().unwrap_or_default();
        let (mut embedded, mut tables, mut documents) = (Vec::new(), Vec::new(), Vec::new());
        for (inputs, member) in batches.iter().zip(members) {
            let own = inputs.documents.as_ref();
            let (x, rotary) = self.begin(&inputs.ids, own, Some(&member.masks))?;
            embedded.push(x);
            tables.extend(rotary.map(|rotary| (rotary, member.shape)));
            documents.push(own.cloned());
        }
        let rotary = (!tables.is_empty())
            .then(|| side_by_side(&tables))
            .transpose()?;
        let x = joint::join(&embedded)?;
        let x = self.layers(x, rotary, documents, Some(masks), |_| {})?;
        Ok(joint::split(&x, &shapes(members))?)
    }

    /// The last hidden states, (rows, tokens, hidden), of prompts (rows, tokens), each of which
    /// becomes a text of the cache.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn read_prompts(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError> {
        let (rows, tokens) = ids.size2()?;
        let positions = Positions::FromStart(tokens);
        let hidden = self.read(ids, &positions, Reading::Prompts(cache))?;
        cache.count_prompts(rows, tokens);
        Ok(hidden)
    }

    /// The last hidden states, (texts, 1, hidden), of the next token of each text of the cache, (texts, 1).
    ///
    /// # Errors
    /// If there is not a token for each text, or libtorch fails.
    pub fn read_next(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError> {
        let positions = Positions::Own(cache.positions());
        let hidden = self.read(ids, &positions, Reading::Next(cache))?;
        cache.count_step();
        Ok(hidden)
    }

    /// As [`Decoder::forward`], and what goes into each layer and comes out of the last, after the
    /// norm.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn hidden_states(&self, ids: &Tensor) -> Result<Vec<Tensor>, ModelError> {
        let mut states = Vec::new();
        let visit = |x: &Tensor| states.push(x.shallow_clone());
        let (x, rotary) = self.begin(ids, None, None)?;
        let last = self.layers(x, rotary, vec![None], None, visit)?;
        states.push(last);
        Ok(states)
    }

    /// What goes into the first layer, and what it is rotated by.
    fn begin(
        &self,
        ids: &Tensor,
        documents: Option<&Documents>,
        masks: Option<&Masks>,
    ) -> Result<(Tensor, Rotary), ModelError> {
        let positions = Positions::of_texts(ids, documents)?;
        let x = self.embed(ids, &positions, masks)?;
        Ok((x, self.rotary(&positions, ids.device())?))
    }

    /// All layers on whole texts, and the norm behind them; `visit` sees what goes into each layer.
    fn layers(
        &self,
        x: Tensor,
        rotary: Rotary,
        documents: Vec<Option<Documents>>,
        masks: Option<&Masks>,
        visit: impl FnMut(&Tensor),
    ) -> Result<Tensor, ModelError> {
        if let Some(masks) = masks.filter(|_| self.recompute.is_wanted()) {
            let shared = SharedByLayers { rotary, documents };
            let (layers, block) = (self.blocks.len(), self.block());
            let x = self.recompute.forward(x, shared, masks, layers, block)?;
            return self.norm.forward(&x);
        }
        let pass = Pass {
            masks,
            rotary: rotary.as_ref(),
            reading: Reading::Texts(&documents),
        };
        self.run(x, pass, visit)
    }

    /// All layers on what is kept, and the norm behind them.
    fn read(
        &self,
        ids: &Tensor,
        positions: &Positions,
        reading: Reading<'_>,
    ) -> Result<Tensor, ModelError> {
        let x = self.embed(ids, positions, None)?;
        let rotary = self.rotary(positions, ids.device())?;
        let pass = Pass {
            masks: None,
            rotary: rotary.as_ref(),
            reading,
        };
        self.run(x, pass, |_| {})
    }

    fn run(
        &self,
        mut x: Tensor,
        mut pass: Pass<'_>,
        mut visit: impl FnMut(&Tensor),
    ) -> Result<Tensor, ModelError> {
        for (layer, block) in self.blocks.iter().enumerate() {
            visit(&x);
            x = block.forward(layer, &x, &mut pass)?;
        }
        self.norm.forward(&x)
    }

    /// What goes into the first layer.
    fn embed(
        &self,
        ids: &Tensor,
        positions: &Positions,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let mut x = self.tokens.forward(ids)?;
        if let Some(scale) = self.token_scale {
            let scale = Tensor::f_from_slice(&[scale])?.f_to_kind(x.kind())?;
            x = x.f_mul_scalar(scale.f_double_value(&[0])?)?;
        }
        if let Some(table) = &self.positions {
            let numbers = positions.numbers(ids.device())?;
            x = x.f_add(&table.forward(&numbers)?)?;
        }
        Ok(dropout(&x, self.embedding_dropout, masks)?)
    }

    fn rotary(&self, positions: &Positions, device: Device) -> Result<Rotary, ModelError> {
        let rope = self.rope.as_ref();
        rope.map(|rope| positions.rotary(rope, device)).transpose()
    }

    /// One layer of those that are recomputed.
    fn block(
        &self,
    ) -> impl Fn(usize, &Tensor, &SharedByLayers, &Masks) -> Result<Tensor, ModelError> {
        |layer, x, shared, masks| {
            let mut pass = Pass {
                masks: Some(masks),
                rotary: shared.rotary.as_ref(),
                reading: Reading::Texts(&shared.documents),
            };
            self.blocks[layer].forward(layer, x, &mut pass)
        }
    }

    /// Keeps only the layers' inputs in training, and computes the layers once more in the backward
    /// pass.
    pub(crate) fn checkpoint_blocks(&mut self) {
        self.recompute.want();
    }

    /// See [`Model::finish_backward`](crate::model::architecture::Model::finish_backward).
    pub(crate) fn finish_backward(&self) -> Result<(), ModelError> {
        self.recompute.backward(self.block())
    }
}
