//! GPT-2: Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019. Layers are
//! normalised before attention and before the feed-forward; weights lie as (d_in, d_out).

use tch::Tensor;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::decoder::attention::{CausalAttention, Scoring, split};
use crate::model::decoder::pass::Pass;
use crate::model::decoder::{Decoder, DecoderBlock};
use crate::model::dropout::dropout;
use crate::model::layers::linear::{Linear, LinearSpec};
use crate::model::layers::mlp::Mlp;
use crate::model::layers::{Embedding, LayerNorm, Norm};
use crate::model::linear_layer::{LinearLayer, WeightLayout};
use crate::model::recompute::Recompute;
use crate::model::tensor_spec::{StartValues, TensorSpec};
use crate::model::weights::View;

/// What `config.json` says of a GPT-2, in the words of its keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpt2Config {
    /// Tokens in the vocabulary.
    pub vocab_size: i64,
    /// Positions that are learnt.
    pub n_positions: i64,
    /// Width of the hidden states.
    pub n_embd: i64,
    /// Layers.
    pub n_layer: i64,
    /// Attention heads per layer; divides `n_embd`.
    pub n_head: i64,
    /// Width between the two feed-forward layers.
    pub n_inner: i64,
    /// The activation between them.
    pub activation_function: Activation,
    /// Added to the variance in every layer norm.
    pub layer_norm_epsilon: f64,
    /// Dropout on embeddings.
    pub embd_pdrop: f64,
    /// Dropout on attention probabilities.
    pub attn_pdrop: f64,
    /// Dropout on each sub-layer's output.
    pub resid_pdrop: f64,
    /// Standard deviation of weights that are drawn.
    pub initializer_range: f64,
    /// Whether the output is the table of token embeddings.
    pub tie_word_embeddings: bool,
    /// The tokens that end a text.
    pub eos_token_id: Vec<i64>,
}

impl Gpt2Config {
    /// The linear layers, in the order of the forward pass.
    #[must_use]
    pub fn layers(&self) -> Vec<LinearLayer> {
        let (h, inner) = (self.n_embd, self.n_inner);
        let modules = [
            ("attn.c_attn", h, 3 * h),
            ("attn.c_proj", h, h),
            ("mlp.c_fc", h, inner),
            ("mlp.c_proj", inner, h),
        ];
        let of_layer = |layer| {
            modules.map(|(name, d_in, d_out)| LinearLayer {
                module: format!("transformer.h.{layer}.{name}"),
                layer,
                d_in,
                d_out,
                layout: WeightLayout::InOut,
            })
        };
        (0..self.n_layer).flat_map(of_layer).collect()
    }

    /// All tensors.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let h = self.n_embd;
        let table = |name: &str, rows| {
            let name = format!("transformer.{name}.weight");
            TensorSpec::new(name, vec![rows, h], StartValues::Normal)
        };
        let norm = |module: String| {
            [("weight", StartValues::Ones), ("bias", StartValues::Zeros)]
                .map(|(end, start)| TensorSpec::new(format!("{module}.{end}"), vec![h], start))
        };
        let mut tensors = vec![
            table("wte", self.vocab_size),
            table("wpe", self.n_positions),
        ];
        for layer in self.layers() {
            let mut own = layer.tensors(true);
            if layer.module.ends_with(".c_proj") {
                let layers = self.n_layer;
                own[0].start = StartValues::NormalOfResidual { layers };
            }
            tensors.extend(own);
        }
        for layer in 0..self.n_layer {
            for name in ["ln_1", "ln_2"] {
                tensors.extend(norm(format!("transformer.h.{layer}.{name}")));
            }
        }
        tensors.extend(norm("transformer.ln_f".to_owned()));
        if !self.tie_word_embeddings {
            let shape = vec![self.vocab_size, h];
            let output = TensorSpec::new("lm_head.weight".to_owned(), shape, StartValues::Normal);
            tensors.push(output);
        }
        tensors
    }

    /// The model whose tensors `root` shows, without its output.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn decoder(&self, root: &View<'_>) -> Result<Decoder, ModelError> {
        let (h, eps) = (self.n_embd, self.layer_norm_epsilon);
        let view = root.pp("transformer");
        let block = |layer| -> Result<Box<dyn DecoderBlock>, ModelError> {
            Ok(Box::new(Gpt2Block::new(&view.pp("h").pp(layer), self)?))
        };
        Ok(Decoder {
            tokens: Embedding::new(&view.pp("wte"), self.vocab_size, h)?,
            token_scale: None,
            positions: Some(Embedding::new(&view.pp("wpe"), self.n_positions, h)?),
            embedding_dropout: self.embd_pdrop,
            rope: None,
            blocks: (0..self.n_layer).map(block).collect::<Result<_, _>>()?,
            norm: Norm::Layer(LayerNorm::new(&view.pp("ln_f"), h, eps)?),
            recompute: Recompute::default(),
        })
    }
}

struct Gpt2Block {
    attention_norm: LayerNorm,
    attention: Linear,
    attention_output: Linear,
    feed_forward_norm: LayerNorm,
    feed_forward: Mlp,
    heads: i64,
    attention_dropout: f64,
    dropout: f64,
}

impl Gpt2Block {
    fn new(view: &View<'_>, config: &Gpt2Config) -> Result<Self, ModelError> {
        let (h, inner, eps) = (config.n_embd, config.n_inner, config.layer_norm_epsilon);
        let linear = |name: &str, part: &str, d_in, d_out| {
            let spec = LinearSpec {
                layout: WeightLayout::InOut,
                ..LinearSpec::new(d_in, d_out)
            };
            Linear::new(&view.pp(name).pp(part), &spec)
        };
        Ok(Self {
            attention_norm: LayerNorm::new(&view.pp("ln_1"), h, eps)?,
            attention: linear("attn", "c_attn", h, 3 * h)?,
            attention_output: linear("attn", "c_proj", h, h)?,
            feed_forward_norm: LayerNorm::new(&view.pp("ln_2"), h, eps)?,
            feed_forward: Mlp {
                widen: linear("mlp", "c_fc", h, inner)?,
                narrow: linear("mlp", "c_proj", inner, h)?,
                activation: config.activation_function,
            },
            heads: config.n_head,
            attention_dropout: config.attn_pdrop,
            dropout: config.resid_pdrop,
        })
    }
}

impl DecoderBlock for Gpt2Block {
    fn forward(&self, layer: usize, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor, ModelError> {
        let masks = pass.masks;
        let normed = self.attention_norm.forward(x)?;
        let parts = self.attention.forward(&normed, masks)?.f_chunk(3, -1)?;
        let heads = |part: usize| split(&parts[part], self.heads);
        let attention = CausalAttention {
            query: &heads(0)?,
            key: &heads(1)?,
            value: &heads(2)?,
            scoring: Scoring::default(),
        };
        let attended = pass.attend(layer, &attention, self.attention_dropout)?;
        let y = self.attention_output.forward(&attended, masks)?;
        let norm = &self.feed_forward_norm;
        let (x, normed) = norm.with_sum(&y, x, self.dropout, masks)?;
        let y = self.feed_forward.forward(&normed, masks)?;
        Ok(x.f_add(&dropout(&y, self.dropout, masks)?)?)
    }
}
