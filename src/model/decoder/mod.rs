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

use crate::base::torch::joint_kernels::{AttendedBatch, JointAttention};
use crate::model::ModelError;
use crate::model::decoder::attention::{CausalAttention, join, split};
use crate::model::decoder::cache::KvCache;
use crate::model::decoder::rope::Rope;
use crate::model::documents::Documents;
use crate::model::dropout::{Masks, PassMember, dropout, shapes};
use crate::model::inputs::Inputs;
use crate::model::joint::{self, BatchShape};
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
    /// Whole texts, of which nothing is kept: of each batch, the texts of its rows where these have
    /// several.
    Texts(&'a [Option<Documents>]),
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
            Reading::Next(cache) => cache.attend_next(layer, attention),
            Reading::Prompts(cache) => {
                cache.keep_prompts(layer, attention)?;
                attend_to_texts(attention, None, dropout, self.masks)
            }
            Reading::Texts(documents) => match self.masks.and_then(Masks::members) {
                Some(members) => attend_jointly(attention, documents, dropout, members),
                None => {
                    let documents = documents.iter().flatten().next();
                    attend_to_texts(attention, documents, dropout, self.masks)
                }
            },
        }
    }
}

/// Attention of one batch, (rows, tokens, heads × width).
fn attend_to_texts(
    attention: &CausalAttention<'_>,
    documents: Option<&Documents>,
    dropout: f64,
    masks: Option<&Masks>,
) -> Result<Tensor, ModelError> {
    let masks = masks.filter(|_| dropout > 0.0);
    let mask = || masks.map(|masks| masks.next(dropout)).transpose();
    let attended = match documents {
        Some(documents) => packed::attend(attention, documents, mask)?,
        None => attention.attend(mask()?)?,
    };
    Ok(join(&attended)?)
}

/// Attention of batches that lie side by side, each by itself.
fn attend_jointly(
    attention: &CausalAttention<'_>,
    documents: &[Option<Documents>],
    dropout: f64,
    members: &[PassMember],
) -> Result<Tensor, ModelError> {
    if let Some(attended) = attend_in_one_call(attention, documents, dropout, members)? {
        return Ok(attended);
    }
    let shapes = shapes(members);
    let parts = |x: &Tensor| -> Result<Vec<Tensor>, ModelError> {
        let heads = x.size()[1];
        let batches = joint::split(&join(x)?, &shapes)?;
        let own = |batch: &Tensor| Ok(split(batch, heads)?);
        batches.iter().map(own).collect()
    };
    let (queries, keys, values) = (
        parts(attention.query)?,
        parts(attention.key)?,
        parts(attention.value)?,
    );
    let mut attended = Vec::with_capacity(members.len());
    for (at, (member, documents)) in members.iter().zip(documents).enumerate() {
        let own = CausalAttention {
            query: &queries[at],
            key: &keys[at],
            value: &values[at],
            scoring: attention.scoring,
        };
        let (documents, masks) = (documents.as_ref(), Some(&*member.masks));
        attended.push(attend_to_texts(&own, documents, dropout, masks)?);
    }
    Ok(joint::join(&attended)?)
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

/// The same in one call, where there is a kernel for it: with probabilities dropped, and a text to a row.
fn attend_in_one_call(
    attention: &CausalAttention<'_>,
    documents: &[Option<Documents>],
    dropout: f64,
    members: &[PassMember],
) -> Result<Option<Tensor>, ModelError> {
    let is_plain = |member: &PassMember| attention.scoring.is_plain(member.shape.tokens);
    let is_one_to_a_row = documents.iter().all(Option::is_none);
    if dropout == 0.0 || !is_one_to_a_row || !members.iter().all(is_plain) {
        return Ok(None);
    }
    let (query, key, value) = (
        join(attention.query)?,
        join(attention.key)?,
        join(attention.value)?,
    );
    let all = JointAttention {
        query: &query,
        key: &key,
        value: &value,
        heads: attention.query.size()[1],
        causal: true,
    };
    if !all.is_known() {
        return Ok(None);
    }
    let mut batches = Vec::with_capacity(members.len());
    let mut threshold = 0;
    for member in members {
        let mask = member.masks.next(dropout)?;
        threshold = mask.threshold;
        batches.push(AttendedBatch {
            rows: member.shape.rows,
            queries: member.shape.tokens,
            tokens: member.shape.tokens,
            seed: mask.seed,
            bias: None,
        });
    }
    Ok(Some(all.attend(&batches, threshold)?))
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
    /// Those of texts, several to a row where there are documents.
    ///
    /// # Errors
    /// If the documents do not fit the rows.
    fn of_texts(ids: &Tensor, documents: Option<&Documents>) -> Result<Self, ModelError> {
        let (rows, tokens) = ids.size2()?;
        let Some(documents) = documents else {
            return Ok(Self::FromStart(tokens));
        };
        let fits = |lengths: &Vec<i64>| lengths.iter().sum::<i64>() <= tokens;
        if documents.rows().len() as i64 != rows || !documents.rows().iter().all(fits) {
            return Err(ModelError::Refused(format!(
                "the texts of packed rows do not fit {rows} rows of {tokens} tokens"
            )));
        }
        Ok(Self::Each {
            places: documents.positions(tokens),
            rows,
            longest: documents.longest(),
        })
    }
}

/// Cosines and sines of the positions, (tokens, head_dim) or (rows, 1, tokens, head_dim), where a model
/// rotates by them.
type Rotary = Option<(Tensor, Tensor)>;

/// The cosines and sines of batches that lie side by side, (1, 1, tokens of all, head_dim), of those of
/// each, (tokens, head_dim) or (rows, 1, tokens, head_dim).
fn side_by_side(tables: &[((Tensor, Tensor), BatchShape)]) -> Result<(Tensor, Tensor), ModelError> {
    let every_token = |table: &Tensor, shape: &BatchShape| -> Result<Tensor, ModelError> {
        let width = table.size().last().copied().unwrap_or(0);
        let table = table.f_reshape([-1, shape.tokens, width])?;
        Ok(table.f_expand([shape.rows, -1, -1], false)?)
    };
    let (mut cosines, mut sines) = (Vec::new(), Vec::new());
    for ((cos, sin), shape) in tables {
        cosines.push(every_token(cos, shape)?);
        sines.push(every_token(sin, shape)?);
    }
    let all = |tables: &[Tensor]| joint::join(tables)?.f_unsqueeze(0);
    Ok((all(&cosines)?, all(&sines)?))
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

    /// The table of token embeddings, (vocabulary, hidden).
    pub(crate) fn token_table(&self) -> &Tensor {
        self.tokens.table()
    }
}
