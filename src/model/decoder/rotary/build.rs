//! The model that a configuration and weights make.

use crate::model::ModelError;
use crate::model::decoder::rotary::block::RotaryBlock;
use crate::model::decoder::rotary::config::RotaryConfig;
use crate::model::decoder::{Decoder, DecoderBlock};
use crate::model::layers::{Embedding, Norm, RmsNorm};
use crate::model::recompute::Recompute;
use crate::model::weights::View;

impl RotaryConfig {
    /// The model whose tensors `root` shows, without its output.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn decoder(&self, root: &View<'_>) -> Result<Decoder, ModelError> {
        let (h, eps) = (self.hidden_size, self.rms_norm_eps);
        let view = root.pp("model");
        let block = |layer| -> Result<Box<dyn DecoderBlock>, ModelError> {
            let view = view.pp("layers").pp(layer);
            Ok(Box::new(RotaryBlock::new(&view, self, layer)?))
        };
        let layers = 0..self.num_hidden_layers;
        let norm = RmsNorm::scaled(&view.pp("norm"), h, eps, self.family.norm_scale)?;
        Ok(Decoder {
            tokens: Embedding::new(&view.pp("embed_tokens"), self.vocab_size, h)?,
            token_scale: (self.family.scaled_embeddings).then(|| (h as f64).sqrt()),
            positions: None,
            embedding_dropout: 0.0,
            rope: Some(self.rope.clone()),
            blocks: layers.map(block).collect::<Result<_, _>>()?,
            norm: Norm::Rms(norm),
            recompute: Recompute::default(),
        })
    }
}
