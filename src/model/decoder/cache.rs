//! Keys and values of the tokens that a model has read, so that each is computed once.

use tch::Tensor;

use crate::model::ModelError;

/// Tokens that room is made for at a time.
const STEP: i64 = 64;

/// Keys and values of every layer, for rows of one length.
#[derive(Debug, Default)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    tokens: i64,
    capacity: i64,
}

/// A layer's keys and values, (rows, heads, room for tokens, width).
#[derive(Debug)]
struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

impl KvCache {
    /// A cache for texts of at most N tokens.
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
    /// If they would be too many, or the device fails.
    pub(crate) fn extend(
        &mut self,
        layer: usize,
        key: &Tensor,
        value: &Tensor,
    ) -> Result<(Tensor, Tensor), ModelError> {
        let added = key.size()[2];
        let (before, after) = (self.tokens, self.tokens + added);
        if after > self.capacity {
            return Err(ModelError::Refused(format!(
                "{after} tokens do not fit into a cache for {}",
                self.capacity
            )));
        }
        while self.layers.len() <= layer {
            self.layers.push(LayerCache {
                keys: key.f_narrow(2, 0, 0)?,
                values: value.f_narrow(2, 0, 0)?,
            });
        }
        let LayerCache { keys, values } = &mut self.layers[layer];
        let room = ((after + STEP - 1) / STEP * STEP).min(self.capacity);
        let put = |own: &mut Tensor, new: &Tensor| -> Result<Tensor, ModelError> {
            if own.size()[2] < after {
                *own = grown(own, before, room)?;
            }
            own.f_narrow(2, before, added)?.f_copy_(new)?;
            Ok(own.f_narrow(2, 0, after)?)
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
        let Some(first) = self.layers.first() else {
            return Ok(());
        };
        if (0..first.keys.size()[0]).eq(rows.iter().copied()) {
            return Ok(());
        }
        let index = Tensor::f_from_slice(rows)?.f_to_device(first.keys.device())?;
        let tokens = self.tokens;
        let keep = |own: &mut Tensor| -> Result<(), ModelError> {
            let mut shape = own.size();
            shape[0] = rows.len() as i64;
            let room = Tensor::f_empty(shape, (own.kind(), own.device()))?;
            let filled = own.f_narrow(2, 0, tokens)?;
            let _ = filled.f_index_select_out(&room.f_narrow(2, 0, tokens)?, 0, &index)?;
            *own = room;
            Ok(())
        };
        for LayerCache { keys, values } in &mut self.layers {
            keep(keys)?;
            keep(values)?;
        }
        Ok(())
    }
}

/// The first `filled` tokens, with room for more.
fn grown(own: &Tensor, filled: i64, room: i64) -> Result<Tensor, ModelError> {
    let mut shape = own.size();
    shape[2] = room;
    let larger = Tensor::f_empty(shape, (own.kind(), own.device()))?;
    let own = own.f_narrow(2, 0, filled)?;
    larger.f_narrow(2, 0, filled)?.f_copy_(&own)?;
    Ok(larger)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// Keys of rows × 1 head × tokens × 2: the row's number times 1000, and the token's.
    fn keys(rows: i64, tokens: std::ops::Range<i64>) -> Tensor {
        let options = (Kind::Float, Device::Cpu);
        let rows = Tensor::arange(rows, options).view([-1, 1, 1, 1]) * 1000.0;
        let tokens = Tensor::arange_start(tokens.start, tokens.end, options);
        (rows + tokens.view([1, 1, -1, 1])).repeat([1, 1, 1, 2])
    }

    #[test]
    fn rows_keep_what_was_read_while_room_is_made_and_they_are_selected() {
        let mut cache = KvCache::new(300);
        let mut want = keys(3, 0..300);
        // Over several steps of room, up to the last token.
        for (start, end) in [(0, 5), (5, 64), (64, 65), (65, 200), (200, 299), (299, 300)] {
            let new = want.narrow(2, start, end - start);
            let (key, value) = cache.extend(0, &new, &(&new * -1.0)).unwrap();
            cache.advance(end - start);
            assert_eq!(key, want.narrow(2, 0, end));
            assert_eq!(value, want.narrow(2, 0, end) * -1.0);
            // One leaves, one is doubled; then all stay.
            for next in [[0, 2, 2], [0, 1, 2]] {
                cache.select(&next).unwrap();
                want = want.index_select(0, &Tensor::from_slice(&next));
            }
        }
        assert!(cache.extend(0, &keys(3, 0..1), &keys(3, 0..1)).is_err());
        assert!(cache.select(&[3]).is_err());
    }
}
