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
//! | [`cache`] | keys and values of what has been read |

pub(crate) mod attention;
pub mod cache;
pub mod gemma2;
pub mod gpt2;
pub mod llama;
pub mod mistral;
mod packed;
pub mod qwen2;
pub mod qwen3;
pub mod rope;
pub mod rotary;

use tch::{Device, Kind, Tensor};

use crate::model::ModelError;
use crate::model::decoder::attention::{CausalAttention, join};
use crate::model::decoder::cache::KvCache;
use crate::model::decoder::rope::Rope;
use crate::model::documents::Documents;
use crate::model::dropout::{Masks, dropout};
use crate::model::layers::{Embedding, Norm};
use crate::model::recompute::Recompute;

/// What the layers of one forward pass share.
pub(crate) struct Pass<'a> {
    /// Dropout masks, in training.
    pub masks: Option<&'a Masks>,
    /// Cosines and sines of the positions, where the model rotates by them.
    pub rotary: Option<&'a (Tensor, Tensor)>,
    pub reading: Reading<'a>,
}

/// What a forward pass reads.
pub(crate) enum Reading<'a> {
    /// Whole texts, of which nothing is kept.
    Texts,
    /// The same, several to a row.
    Packed(&'a Documents),
    /// Prompts of one length, to be kept.
    Prompts(&'a mut KvCache),
    /// The next token of each text that is continued.
    Next(&'a mut KvCache),
}

impl Pass<'_> {
    /// Attention of a layer, (rows, tokens, heads × width), its probabilities dropped with this
    /// probability in training.
    pub fn attend(
        &mut self,
        layer: usize,
        attention: &CausalAttention<'_>,
        dropout: f64,
    ) -> Result<Tensor, ModelError> {
        match &mut self.reading {
            Reading::Next(cache) => return cache.attend_next(layer, attention),
            Reading::Prompts(cache) => cache.keep_prompts(layer, attention)?,
            Reading::Texts | Reading::Packed(_) => {}
        }
        let masks = self.masks.filter(|_| dropout > 0.0);
        if let Reading::Packed(documents) = self.reading {
            let mask = || masks.map(|masks| masks.next(dropout));
            return Ok(join(&packed::attend(attention, documents, mask)?)?);
        }
        let attended = attention.attend(masks.map(|masks| masks.next(dropout)))?;
        Ok(join(&attended)?)
    }
}

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

/// The places of tokens in their texts.
enum Positions {
    /// 0 to N in every row.
    FromStart(i64),
    /// Each token's, (rows × tokens), in texts of at most as many tokens.
    Each {
        places: Vec<i64>,
        rows: i64,
        longest: i64,
    },
    /// A token of each row, at this place.
    Own(Vec<i64>),
}

impl Positions {
    fn of(ids: &Tensor, reading: &Reading<'_>) -> Result<Self, ModelError> {
        Ok(match reading {
            Reading::Next(cache) => Self::Own(cache.positions()),
            Reading::Texts | Reading::Prompts(_) => Self::FromStart(ids.size2()?.1),
            Reading::Packed(documents) => {
                let (rows, tokens) = ids.size2()?;
                Self::Each {
                    places: documents.positions(tokens),
                    rows,
                    longest: documents.longest(),
                }
            }
        })
    }
}

/// Cosines and sines of the positions, (tokens, head_dim) or (rows, 1, tokens, head_dim), where a model
/// rotates by them.
type Rotary = Option<(Tensor, Tensor)>;

/// What layers that are computed again share.
pub(crate) struct SharedByLayers {
    rotary: Rotary,
    documents: Option<Documents>,
}

impl Decoder {
    /// The last hidden states, (rows, tokens, hidden), of token ids (rows, tokens).
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(&self, ids: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        self.run(ids, masks, Reading::Texts, |_| {})
    }

    /// As [`Decoder::forward`], of rows that have several texts, each of which is read as if it were
    /// alone. What comes of padding has no meaning.
    ///
    /// # Errors
    /// If the texts do not fit the rows, or libtorch fails.
    pub fn forward_packed(
        &self,
        ids: &Tensor,
        documents: &Documents,
        masks: Option<&Masks>,
    ) -> Result<Tensor, ModelError> {
        let (rows, tokens) = ids.size2()?;
        let fits = |lengths: &Vec<i64>| lengths.iter().sum::<i64>() <= tokens;
        if documents.rows().len() as i64 != rows || !documents.rows().iter().all(fits) {
            return Err(ModelError::Refused(format!(
                "the texts of packed rows do not fit {rows} rows of {tokens} tokens"
            )));
        }
        self.run(ids, masks, Reading::Packed(documents), |_| {})
    }

    /// The last hidden states, (rows, tokens, hidden), of prompts (rows, tokens), each of which
    /// becomes a text of the cache.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn read_prompts(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError> {
        let (rows, tokens) = ids.size2()?;
        let hidden = self.run(ids, None, Reading::Prompts(cache), |_| {})?;
        cache.count_prompts(rows, tokens);
        Ok(hidden)
    }

    /// The last hidden states, (texts, 1, hidden), of the next token of each text of the cache, (texts, 1).
    ///
    /// # Errors
    /// If there is not a token for each text, or libtorch fails.
    pub fn read_next(&self, ids: &Tensor, cache: &mut KvCache) -> Result<Tensor, ModelError> {
        let hidden = self.run(ids, None, Reading::Next(cache), |_| {})?;
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
        let last = self.run(ids, None, Reading::Texts, visit)?;
        states.push(last);
        Ok(states)
    }

    fn run(
        &self,
        ids: &Tensor,
        masks: Option<&Masks>,
        reading: Reading<'_>,
        mut visit: impl FnMut(&Tensor),
    ) -> Result<Tensor, ModelError> {
        let positions = Positions::of(ids, &reading)?;
        let mut x = self.embed(ids, &positions, masks)?;
        let rotary = self.rotary(&positions, ids.device())?;
        if let Some(masks) = masks.filter(|_| self.recompute.is_wanted()) {
            let block = self.block();
            let documents = match reading {
                Reading::Packed(documents) => Some(documents.clone()),
                _ => None,
            };
            let shared = SharedByLayers { rotary, documents };
            x = (self.recompute).forward(x, shared, masks, self.blocks.len(), block)?;
            return self.norm.forward(&x);
        }
        let mut pass = Pass {
            masks,
            rotary: rotary.as_ref(),
            reading,
        };
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
            let device = ids.device();
            let numbers = match positions {
                Positions::FromStart(tokens) => Tensor::f_arange(*tokens, (Kind::Int64, device))?,
                Positions::Each { places, rows, .. } => Tensor::f_from_slice(places)?
                    .f_view([*rows, -1])?
                    .f_to_device(device)?,
                Positions::Own(each) => Tensor::f_from_slice(each)?
                    .f_unsqueeze(1)?
                    .f_to_device(device)?,
            };
            x = x.f_add(&table.forward(&numbers)?)?;
        }
        Ok(dropout(&x, self.embedding_dropout, masks)?)
    }

    fn rotary(&self, positions: &Positions, device: Device) -> Result<Rotary, ModelError> {
        let Some(rope) = &self.rope else {
            return Ok(None);
        };
        let tables = match positions {
            Positions::FromStart(tokens) => rope.tables(*tokens, device)?,
            Positions::Each {
                places,
                rows,
                longest,
            } => {
                let (cos, sin) = rope.tables(*longest, device)?;
                let places = Tensor::f_from_slice(places)?.f_to_device(device)?;
                let each = |table: Tensor| {
                    let width = table.size2()?.1;
                    let rows = [*rows, 1, -1, width];
                    table.f_index_select(0, &places)?.f_view(rows)
                };
                (each(cos)?, each(sin)?)
            }
            Positions::Own(each) => {
                let (cos, sin) = rope.tables_of_last(each, device)?;
                let per_row = |table: Tensor| table.f_view([each.len() as i64, 1, 1, -1]);
                (per_row(cos)?, per_row(sin)?)
            }
        };
        Ok(Some(tables))
    }

    /// One layer of those that are recomputed.
    fn block(
        &self,
    ) -> impl Fn(usize, &Tensor, &SharedByLayers, &Masks) -> Result<Tensor, ModelError> {
        |layer, x, shared, masks| {
            let documents = shared.documents.as_ref();
            let mut pass = Pass {
                masks: Some(masks),
                rotary: shared.rotary.as_ref(),
                reading: documents.map_or(Reading::Texts, Reading::Packed),
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
