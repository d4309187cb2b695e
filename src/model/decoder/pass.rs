//! What the layers of a forward pass share, and attention in each way of reading.

use tch::Tensor;

use crate::base::torch::joint_kernels::JointAttention;
use crate::model::ModelError;
use crate::model::decoder::attention::{CausalAttention, join, split};
use crate::model::decoder::cache::KvCache;
use crate::model::decoder::packed;
use crate::model::documents::Documents;
use crate::model::dropout::{Masks, PassMember, shapes};
use crate::model::{joint, joint_attention};

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
    let biases = members.iter().map(|_| None);
    joint_attention::attend(&all, members, None, biases, dropout)
}
