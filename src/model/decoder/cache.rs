//! Keys and values of the tokens that a model has read, so that each is computed once.

use tch::{Kind, Tensor};

use crate::model::ModelError;

/// Keys and values of every layer, for rows of one length.
#[derive(Debug, Default)]
pub struct KvCache {
    layers: Vec<(Tensor, Tensor)>,
    tokens: i64,
    capacity: i64,
}

impl KvCache {
    /// Room for texts of N tokens.
    #[must_use]
    pub fn new(capacity: i64) -> Self {
        Self {
            layers: Vec::new(),
            tokens: 0,
            capacity,
        }
    }

    /// Tokens that are in it.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.tokens
    }

    /// Adds a layer's keys and values of the tokens after those that are there, each
    /// (rows, heads, tokens, width); all of the layer's so far.
    ///
    /// # Errors
    /// If there is no room for them, or the device fails.
    pub(crate) fn extend(
        &mut self,
        layer: usize,
        key: &Tensor,
        value: &Tensor,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let added = key.size()[2];
        if self.tokens + added > self.capacity {
            return Err(ModelError::Refused(format!(
                "{} tokens do not fit into a cache for {}",
                self.tokens + added,
                self.capacity
            )));
        }
        while self.layers.len() <= layer {
            let room = |like: &Tensor| {
                let (rows, heads, _, width) = like.size4()?;
                let shape = [rows, heads, self.capacity, width];
                Tensor::f_empty(shape, (like.kind(), like.device()))
            };
            let room = (room(key)?, room(value)?);
            self.layers.push(room);
        }
        let (keys, values) = &self.layers[layer];
        let put = |room: &Tensor, new: &Tensor| -> Result<Tensor, ModelError> {
            room.f_narrow(2, self.tokens, added)?.f_copy_(new)?;
            Ok(room.f_narrow(2, 0, self.tokens + added)?)
        };
        Ok((put(keys, key)?, put(values, value)?))
    }

    /// Counts tokens that all layers have been extended by.
    pub(crate) fn advance(&mut self, tokens: i64) {
        self.tokens += tokens;
    }

    /// Keeps these rows, in this order; one may be kept several times.
    ///
    /// # Errors
    /// If a row is not there, or the device fails.
    pub fn select(&mut self, rows: &[i64]) -> Result<(), ModelError> {
        for (keys, values) in &mut self.layers {
            let index = Tensor::f_from_slice(rows)?.f_to_device(keys.device())?;
            let index = index.f_to_kind(Kind::Int64)?;
            *keys = keys.f_index_select(0, &index)?;
            *values = values.f_index_select(0, &index)?;
        }
        Ok(())
    }
}
