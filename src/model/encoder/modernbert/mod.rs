//! ModernBERT: Warner et al., *Smarter, Better, Faster, Longer: A Modern Bidirectional Encoder*,
//! 2024. Positions turn queries and keys (RoPE), most layers see a window of the text only, layers
//! are normalised before attention and before the feed-forward, which is gated (GeGLU).

pub(crate) mod body;

use serde::Serialize;

use crate::model::activation::Activation;
use crate::model::encoder::head::{HeadNorm, HeadSpec, Pooling, norm_tensors};
use crate::model::encoder::layer_spec::linear_layer;
use crate::model::linear_layer::LinearLayer;
use crate::model::tensor_spec::{StartValues, TensorSpec};

/// What a layer attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum LayerAttention {
    /// The whole text.
    #[serde(rename = "full_attention")]
    Global,
    /// What is near.
    #[serde(rename = "sliding_attention")]
    Local,
}

/// What `config.json` says of the architecture, in the words of its keys.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModernBertConfig {
    /// Tokens in the vocabulary.
    pub vocab_size: i64,
    /// Width of the hidden states.
    pub hidden_size: i64,
    /// Width of the gate between the two feed-forward layers.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Attention heads per layer; divides `hidden_size` into even widths.
    pub num_attention_heads: i64,
    /// The activation of the gate.
    pub hidden_activation: Activation,
    /// The longest text.
    pub max_position_embeddings: i64,
    /// Standard deviation of weights that are drawn, before it is cut off.
    pub initializer_range: f64,
    /// Where that is cut off, in standard deviations.
    pub initializer_cutoff_factor: f64,
    /// Added to the variance in every layer norm.
    pub norm_eps: f64,
    /// Whether norms have biases.
    pub norm_bias: bool,
    /// The padding token.
    pub pad_token_id: Option<i64>,
    /// The base of RoPE's frequencies in global layers.
    pub global_rope_theta: f64,
    /// The same in local layers.
    pub local_rope_theta: f64,
    /// Whether the projections of attention have biases.
    pub attention_bias: bool,
    /// Dropout on attention probabilities, and on attention's output.
    pub attention_dropout: f64,
    /// One layer in so many is global, the first of them.
    pub global_attn_every_n_layers: i64,
    /// What each layer attends to, where it is said for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<LayerAttention>>,
    /// The width of a local layer's window: half of it to each side.
    pub local_attention: i64,
    /// Dropout on the embeddings.
    pub embedding_dropout: f64,
    /// Whether the feed-forward layers have biases.
    pub mlp_bias: bool,
    /// Dropout on the gate.
    pub mlp_dropout: f64,
    /// What the head reads: `cls` or `mean`.
    #[serde(serialize_with = "pooling_name")]
    pub classifier_pooling: Pooling,
    /// Dropout in the head.
    pub classifier_dropout: f64,
    /// Whether the head's first layer has a bias.
    pub classifier_bias: bool,
    /// The head's activation.
    pub classifier_activation: Activation,
    /// The class of the tokenizer that goes with the model, where `config.json` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer_class: Option<String>,
}

fn pooling_name<S: serde::Serializer>(pooling: &Pooling, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match pooling {
        Pooling::FirstToken => "cls",
        Pooling::Mean => "mean",
    })
}

impl ModernBertConfig {
    /// What a layer attends to.
    #[must_use]
    pub fn attention_of(&self, layer: i64) -> LayerAttention {
        let told = self.layer_types.as_ref();
        let told = told.and_then(|each| each.get(usize::try_from(layer).ok()?));
        match told {
            Some(told) => *told,
            None if layer % self.global_attn_every_n_layers == 0 => LayerAttention::Global,
            None => LayerAttention::Local,
        }
    }

    /// The linear layers, in the order of the forward pass, the head's first among them.
    #[must_use]
    pub fn adaptable_layers(&self) -> Vec<LinearLayer> {
        let h = self.hidden_size;
        let head = linear_layer(self.head().dense, self.num_hidden_layers, h, h);
        let layers = (0..self.num_hidden_layers).flat_map(|layer| self.linear_layers_of(layer));
        layers.chain([head]).collect()
    }

    fn linear_layers_of(&self, layer: i64) -> [LinearLayer; 4] {
        let (h, wide) = (self.hidden_size, self.intermediate_size);
        [
            ("attn.Wqkv", h, 3 * h),
            ("attn.Wo", h, h),
            ("mlp.Wi", h, 2 * wide),
            ("mlp.Wo", wide, h),
        ]
        .map(|(name, d_in, d_out)| {
            linear_layer(format!("model.layers.{layer}.{name}"), layer, d_in, d_out)
        })
    }

    /// The tensors below the head, and the head's first layer and norm, which a checkpoint may
    /// lack.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let (h, bias) = (self.hidden_size, self.norm_bias);
        let words = "model.embeddings.tok_embeddings.weight".to_owned();
        let words = TensorSpec::new(words, vec![self.vocab_size, h], self.drawn(1.0));
        let mut tensors = vec![words];
        tensors.extend(norm_tensors("model.embeddings.norm", h, bias));
        for layer in 0..self.num_hidden_layers {
            let [qkv, output, widen, narrow] = self.linear_layers_of(layer);
            tensors.extend(started(&qkv, self.attention_bias, self.drawn(1.0)));
            tensors.extend(started(
                &output,
                self.attention_bias,
                self.drawn_of_output(),
            ));
            tensors.extend(started(&widen, self.mlp_bias, self.drawn(1.0)));
            tensors.extend(started(&narrow, self.mlp_bias, self.drawn_of_output()));
            let name = |norm| format!("model.layers.{layer}.{norm}");
            if layer > 0 {
                tensors.extend(norm_tensors(&name("attn_norm"), h, bias));
            }
            tensors.extend(norm_tensors(&name("mlp_norm"), h, bias));
        }
        tensors.extend(norm_tensors("model.final_norm", h, bias));
        tensors.extend(self.head().in_base());
        tensors
    }

    /// The head: `classifier(dropout(norm(activation(dense(pooled)))))`.
    #[must_use]
    pub fn head(&self) -> HeadSpec {
        let h = self.hidden_size;
        let of_output = (h as f64).sqrt().recip();
        HeadSpec {
            pooling: self.classifier_pooling,
            dense_bias: self.classifier_bias,
            dense_start: self.drawn_of_output(),
            dense_in_base: true,
            activation: self.classifier_activation,
            norm: Some(HeadNorm {
                module: "head.norm",
                eps: self.norm_eps,
                bias: self.norm_bias,
            }),
            output_dropout: self.classifier_dropout,
            output_start: StartValues::TruncatedNormal {
                spread: of_output,
                cutoff: self.initializer_cutoff_factor,
            },
            ..HeadSpec::of_first_token(h, "head.dense".to_owned(), "classifier")
        }
    }

    /// Weights before any training.
    fn drawn(&self, scale: f64) -> StartValues {
        StartValues::TruncatedNormal {
            spread: self.initializer_range * scale,
            cutoff: self.initializer_cutoff_factor,
        }
    }

    /// Those of layers that add to the residual stream.
    fn drawn_of_output(&self) -> StartValues {
        self.drawn((2.0 * self.num_hidden_layers as f64).sqrt().recip())
    }
}

/// A layer's tensors, its weight with other first values.
fn started(layer: &LinearLayer, has_bias: bool, start: StartValues) -> Vec<TensorSpec> {
    let mut tensors = layer.tensors(has_bias);
    if let Some(weight) = tensors.first_mut() {
        weight.start = start;
    }
    tensors
}
