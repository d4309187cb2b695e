//! Transformers that read from left to right and give the next token: GPT-2 and Llama.
//!
//! | file | holds |
//! |---|---|
//! | [`gpt2`], [`llama`] | a family's sizes, tensors and layers, a file each |
//! | [`rope`] | rotary position embedding |
//! | `attention` | attention that looks back only |
//! | [`cache`] | keys and values of what has been read |

pub(crate) mod attention;
pub mod cache;
pub mod gpt2;
pub mod llama;
pub mod rope;

use tch::{Device, Kind, Tensor};

use crate::model::ModelError;
use crate::model::decoder::cache::KvCache;
use crate::model::decoder::rope::Rope;
use crate::model::dropout::{Masks, dropout};
use crate::model::layers::{Embedding, Norm};
use crate::model::recompute::Recompute;

/// What the layers of one forward pass share.
pub(crate) struct Pass<'a> {
    /// Dropout masks, in training.
    pub masks: Option<&'a Masks>,
    /// Cosines and sines of the positions, where the model rotates by them.
    pub rotary: Option<&'a (Tensor, Tensor)>,
    /// What was read before.
    pub cache: Option<&'a mut KvCache>,
}

/// One transformer layer.
pub(crate) trait DecoderBlock {
    /// The hidden states after it, (rows, tokens, hidden). `layer`: its number.
    fn forward(&self, layer: usize, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor, ModelError>;
}

/// Embeddings, all layers, and the norm behind them.
pub struct Decoder {
    pub(crate) tokens: Embedding,
    /// Learnt positions, where the model has them.
    pub(crate) positions: Option<Embedding>,
    pub(crate) embedding_dropout: f64,
    pub(crate) rope: Option<Rope>,
    pub(crate) blocks: Vec<Box<dyn DecoderBlock>>,
    pub(crate) norm: Norm,
    pub(crate) recompute: Recompute<Rotary>,
}

/// Cosines and sines of the positions, (tokens, head_dim), where a model rotates by them.
type Rotary = Option<(Tensor, Tensor)>;

impl Decoder {
    /// The last hidden states, (rows, tokens, hidden), of token ids (rows, tokens). With a cache,
    /// of the tokens after those that are in it.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(
        &self,
        ids: &Tensor,
        masks: Option<&Masks>,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor, ModelError> {
        self.run(ids, masks, cache, |_| {})
    }

    /// As [`Decoder::forward`] without a cache, and what goes into each layer and comes out of the
    /// last, after the norm.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn hidden_states(&self, ids: &Tensor) -> Result<Vec<Tensor>, ModelError> {
        let mut states = Vec::new();
        let last = self.run(ids, None, None, |x| states.push(x.shallow_clone()))?;
        states.push(last);
        Ok(states)
    }

    fn run(
        &self,
        ids: &Tensor,
        masks: Option<&Masks>,
        mut cache: Option<&mut KvCache>,
        mut visit: impl FnMut(&Tensor),
    ) -> Result<Tensor, ModelError> {
        let tokens = ids.size2()?.1;
        let before = cache.as_deref().map_or(0, KvCache::tokens);
        let mut x = self.embed(ids, before, masks)?;
        let rotary = self.rotary(before, tokens, ids.device())?;
        if let Some(masks) = masks.filter(|_| self.recompute.is_wanted()) {
            let block = self.block();
            x = (self.recompute).forward(x, rotary, masks, self.blocks.len(), block)?;
            return self.norm.forward(&x);
        }
        let mut pass = Pass {
            masks,
            rotary: rotary.as_ref(),
            cache: cache.as_deref_mut(),
        };
        for (layer, block) in self.blocks.iter().enumerate() {
            visit(&x);
            x = block.forward(layer, &x, &mut pass)?;
        }
        if let Some(cache) = cache {
            cache.advance(tokens);
        }
        self.norm.forward(&x)
    }

    /// What goes into the first layer, of tokens that follow `before` others.
    fn embed(
        &self,
        ids: &Tensor,
        before: i64,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let mut x = self.tokens.forward(ids)?;
        if let Some(positions) = &self.positions {
            let end = before + ids.size2()?.1;
            let device = (Kind::Int64, ids.device());
            let numbers = Tensor::f_arange_start(before, end, device)?;
            x = x.f_add(&positions.forward(&numbers)?)?;
        }
        Ok(dropout(&x, self.embedding_dropout, masks)?)
    }

    fn rotary(&self, before: i64, tokens: i64, device: Device) -> Result<Rotary, ModelError> {
        let Some(rope) = &self.rope else {
            return Ok(None);
        };
        let (cos, sin) = rope.tables(before + tokens, device)?;
        let own = |table: Tensor| table.f_narrow(0, before, tokens);
        Ok(Some((own(cos)?, own(sin)?)))
    }

    /// One layer of those that are recomputed.
    fn block(&self) -> impl Fn(usize, &Tensor, &Rotary, &Masks) -> Result<Tensor, ModelError> {
        |layer, x, rotary, masks| {
            let mut pass = Pass {
                masks: Some(masks),
                rotary: rotary.as_ref(),
                cache: None,
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

    /// The table of token embeddings, (vocabulary, hidden).
    pub(crate) fn token_table(&self) -> &Tensor {
        self.tokens.table()
    }
}
