//! What the layers of BERT and its kin are like: their names, sizes and dropout.

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::encoder::head::norm_tensors;
use crate::model::layers::LayerNorm;
use crate::model::layers::linear::{Linear, LinearSpec};
use crate::model::layers::query_key_value::QueryKeyValue;
use crate::model::linear_layer::{LinearLayer, WeightLayout};
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// The names of a layer's modules within the layer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LayerModules {
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    pub widen: &'static str,
    pub narrow: &'static str,
    pub output_norm: &'static str,
}

/// BERT's names.
pub(crate) static BERT_MODULES: LayerModules = LayerModules {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    widen: "intermediate.dense",
    narrow: "output.dense",
    output_norm: "output.LayerNorm",
};

/// What all of a model's layers are like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerSpec {
    pub modules: &'static LayerModules,
    /// Width of the hidden states.
    pub width: i64,
    /// Width between the two feed-forward layers.
    pub wide: i64,
    pub heads: i64,
    pub activation: Activation,
    pub eps: f64,
    /// Dropout on attention probabilities.
    pub probs_dropout: f64,
    /// Dropout on attention's output.
    pub attention_dropout: f64,
    /// Dropout on the feed-forward's output.
    pub output_dropout: f64,
}

impl LayerSpec {
    /// The linear layers of layer N, whose name is `prefix`.
    pub fn linear_layers(&self, prefix: &str, layer: i64) -> [LinearLayer; 6] {
        let (h, wide, names) = (self.width, self.wide, self.modules);
        [
            (names.query, h, h),
            (names.key, h, h),
            (names.value, h, h),
            (names.attention_output, h, h),
            (names.widen, h, wide),
            (names.narrow, wide, h),
        ]
        .map(|(name, d_in, d_out)| linear_layer(format!("{prefix}.{name}"), layer, d_in, d_out))
    }

    /// The norms of the layer of that name.
    pub fn norms(&self, prefix: &str) -> Vec<TensorSpec> {
        let names = [self.modules.attention_norm, self.modules.output_norm].into_iter();
        names
            .flat_map(|name| norm_tensors(&format!("{prefix}.{name}"), self.width, true))
            .collect()
    }

    /// A linear layer at a view.
    pub fn linear(
        &self,
        view: &View<'_>,
        name: &str,
        [d_in, d_out]: [i64; 2],
    ) -> Result<Linear, ModelError> {
        Linear::new(&view.pp(name), &self.linear_spec([d_in, d_out]))
    }

    /// The layers that make queries, keys and values at a view.
    pub fn query_key_value(&self, view: &View<'_>) -> Result<QueryKeyValue, ModelError> {
        let names = [self.modules.query, self.modules.key, self.modules.value];
        let layers = names.map(|name| (name, self.linear_spec([self.width; 2])));
        QueryKeyValue::new(view, layers)
    }

    fn linear_spec(&self, [d_in, d_out]: [i64; 2]) -> LinearSpec {
        LinearSpec::new(d_in, d_out)
    }

    /// A norm at a view.
    pub fn norm(&self, view: &View<'_>, name: &str) -> Result<LayerNorm, ModelError> {
        LayerNorm::new(&view.pp(name), self.width, self.eps)
    }
}

/// A linear layer whose weight is (d_out, d_in).
pub(crate) fn linear_layer(module: String, layer: i64, d_in: i64, d_out: i64) -> LinearLayer {
    LinearLayer {
        module,
        layer,
        d_in,
        d_out,
        layout: WeightLayout::OutIn,
    }
}
