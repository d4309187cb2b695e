//! Keys and values of the tokens that a model has read, so that each is computed once.
//!
//! Prompts are kept apart from what follows them, once each, however many texts go on from one. What
//! follows is kept by step, a row for each text that was there: to follow other texts, as beam search
//! does at every token, nothing is moved but row numbers.

use tch::{TchError, Tensor};

use crate::base::torch::kernels::NextAttention;
use crate::model::ModelError;
use crate::model::decoder::attention::{CausalAttention, Scoring, join, split};
use crate::model::layers::soft_cap::SoftCap;

/// Keys and values of every layer, for texts that are continued.
#[derive(Debug, Default)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    /// Tokens of each prompt.
    prompts: Vec<i64>,
    texts: Vec<Text>,
}

/// A text that is continued.
#[derive(Debug, Clone)]
struct Text {
    prompt: usize,
    /// Its row in each step so far.
    rows: Vec<i64>,
}

/// A layer's keys and values.
#[derive(Debug, Default)]
struct LayerCache {
    /// Of each prompt, (tokens, key heads × width).
    prompts: Vec<(Tensor, Tensor)>,
    /// Of each step, (texts, key heads × width).
    steps: Vec<(Tensor, Tensor)>,
}

impl KvCache {
    /// The place of the next token of each text.
    #[must_use]
    pub fn positions(&self) -> Vec<i64> {
        let position = |text: &Text| self.prompts[text.prompt] + text.rows.len() as i64;
        self.texts.iter().map(position).collect()
    }

    /// Goes on with these texts, in this order; one may go on as several.
    ///
    /// # Errors
    /// If there is no such text.
    pub fn select(&mut self, texts: &[i64]) -> Result<(), ModelError> {
        let text = |at: &i64| {
            let found = usize::try_from(*at).ok().and_then(|at| self.texts.get(at));
            let none = || {
                let texts = self.texts.len();
                ModelError::Refused(format!(
                    "there is no text {at} among the {texts} of the cache"
                ))
            };
            found.cloned().ok_or_else(none)
        };
        self.texts = texts.iter().map(text).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Keeps a layer's keys and values of prompts of one length.
    pub(crate) fn keep_prompts(
        &mut self,
        layer: usize,
        attention: &CausalAttention<'_>,
    ) -> Result<(), ModelError> {
        let (key, value) = attention.keys_and_values()?;
        let kept = &mut self.layer(layer).prompts;
        // A model's queries may lie beside them, and are not to be kept.
        let (key, value) = (key.f_contiguous()?, value.f_contiguous()?);
        for row in 0..key.size()[0] {
            kept.push((key.f_select(0, row)?, value.f_select(0, row)?));
        }
        Ok(())
    }

    /// Counts prompts that all layers have kept; each becomes a text.
    pub(crate) fn count_prompts(&mut self, prompts: i64, tokens: i64) {
        for _ in 0..prompts {
            self.texts.push(Text {
                prompt: self.prompts.len(),
                rows: Vec::new(),
            });
            self.prompts.push(tokens);
        }
    }

    /// Keeps a layer's keys and values of a token more of each text, and attends with its queries, each
    /// (texts, heads, 1, width), to all of its text, or as much as its window holds: (texts, 1,
    /// heads × width).
    ///
    /// # Errors
    /// If there is not a token for each text, or the device fails.
    pub(crate) fn attend_next(
        &mut self,
        layer: usize,
        attention: &CausalAttention<'_>,
    ) -> Result<Tensor, ModelError> {
        let (texts, heads, _, _) = attention.query.size4()?;
        if texts != self.texts.len() as i64 {
            return Err(ModelError::Refused(format!(
                "{texts} tokens do not continue the {} texts of the cache",
                self.texts.len()
            )));
        }
        let own = |x: Tensor| x.f_squeeze_dim(1)?.f_contiguous();
        let (key, value) = attention.keys_and_values()?;
        let added = (own(key)?, own(value)?);
        self.layer(layer).steps.push(added);
        let LayerCache { prompts, steps } = &self.layers[layer];
        // This step's rows are the texts' own numbers, which are counted once all layers are through.
        let rows = self.texts.iter().zip(0..);
        let rows = rows.flat_map(|(text, own)| text.rows.iter().copied().chain([own]));
        let attention = NextAttention {
            query: &own(join(attention.query)?)?,
            heads,
            key_heads: attention.key.size()[1],
            prompts,
            steps,
            prompt_of: &self
                .texts
                .iter()
                .map(|it| it.prompt as i64)
                .collect::<Vec<_>>(),
            rows: &rows.collect::<Vec<_>>(),
            scale: attention.scoring.scale,
            softcap: attention.scoring.softcap.map(|cap| cap.0),
            window: attention.scoring.window,
        };
        let attended = match attention.attend()? {
            Some(attended) => attended,
            None => by_gathering(&attention)?,
        };
        Ok(attended.f_unsqueeze(1)?)
    }

    /// Counts a token more of each text, which all layers have kept.
    pub(crate) fn count_step(&mut self) {
        for (text, row) in self.texts.iter_mut().zip(0..) {
            text.rows.push(row);
        }
    }

    fn layer(&mut self, layer: usize) -> &mut LayerCache {
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, LayerCache::default);
        }
        &mut self.layers[layer]
    }
}

/// What there is no kernel for: each text's keys and values are gathered, and padded to the longest.
fn by_gathering(attention: &NextAttention<'_>) -> Result<Tensor, TchError> {
    let texts = places(attention);
    let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
    let (mut all, mut visible) = (Vec::new(), Vec::new());
    for text in &texts {
        let padding = std::iter::repeat_n(0, longest - text.len());
        all.extend(text.iter().copied().chain(padding));
        visible.extend((0..longest).map(|at| at < text.len()));
    }
    let (count, longest) = (texts.len() as i64, longest as i64);
    let place = |x: Tensor| x.f_to_device(attention.query.device());
    let all = place(Tensor::f_from_slice(&all)?)?;
    let visible = place(Tensor::f_from_slice(&visible)?)?.f_view([count, 1, 1, longest])?;
    let gather = |of: fn(&(Tensor, Tensor)) -> &Tensor| {
        let stored = attention.prompts.iter().chain(attention.steps);
        let gathered = Tensor::f_cat(&stored.map(of).collect::<Vec<_>>(), 0)?;
        split(
            &gathered
                .f_index_select(0, &all)?
                .f_view([count, longest, -1])?,
            attention.key_heads,
        )
    };
    let gathered = CausalAttention {
        query: &split(&attention.query.f_unsqueeze(1)?, attention.heads)?,
        key: &gather(|(key, _)| key)?,
        value: &gather(|(_, value)| value)?,
        scoring: Scoring {
            scale: attention.scale,
            softcap: attention.softcap.map(SoftCap),
            window: None,
        },
    };
    join(&gathered.attend_where(&visible)?)?.f_squeeze_dim(1)
}

/// Where the tokens of each text lie that are in its window, with all prompts and steps one after
/// another.
fn places(attention: &NextAttention<'_>) -> Vec<Vec<i64>> {
    let mut end = 0;
    let mut place = |(key, _): &(Tensor, Tensor)| {
        let start = end;
        end += key.size()[0];
        start..end
    };
    let prompts: Vec<_> = attention.prompts.iter().map(&mut place).collect();
    let steps: Vec<_> = attention.steps.iter().map(&mut place).collect();
    let text = |(prompt, rows): (&i64, &[i64])| {
        let after = steps.iter().zip(rows).map(|(step, row)| step.start + row);
        let prompt = prompts[*prompt as usize].clone();
        let tokens = (prompt.end - prompt.start) + steps.len() as i64;
        let hidden = (tokens - attention.window.unwrap_or(tokens)).max(0);
        prompt.chain(after).skip(hidden as usize).collect()
    };
    let rows = attention.rows.chunks(steps.len().max(1));
    attention.prompt_of.iter().zip(rows).map(text).collect()
}

#[cfg(test)]
mod tests;
