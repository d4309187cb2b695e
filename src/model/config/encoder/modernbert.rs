//! ModernBERT's `config.json`, with the defaults of `ModernBertConfig` in transformers 4.57.6; layers
//! and positions as transformers 5 writes them too (`layer_types`, `rope_parameters`).

use std::path::Path;

use serde_json::Value;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::config::encoder::architecture::{
    CheckpointNames, EncoderArchitecture, EncoderFacts,
};
use crate::model::config::encoder::{
    activation, check_heads, dropout, flag, optional_padding, refuse_other_models, size,
};
use crate::model::config::keys::{FROM_ZERO, Keys, check_weights, refused};
use crate::model::config::model_type::{self, ModelType};
use crate::model::encoder::head::{HeadSpec, Pooling};
use crate::model::encoder::modernbert::{LayerAttention, ModernBertConfig};
use crate::model::encoder::{Encode, Encoder};
use crate::model::linear_layer::LinearLayer;
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// The names that files have for it.
pub(crate) const MODERNBERT: ModelType = ModelType {
    name: "modernbert",
    title: "ModernBERT",
    class_stem: "ModernBert",
    tensor_part: "Wqkv",
};

const ABOVE_ZERO: std::ops::Range<f64> = f64::MIN_POSITIVE..f64::INFINITY;

impl ModernBertConfig {
    /// As [`config::read`](crate::model::config::read), for a ModernBERT.
    ///
    /// # Errors
    /// Likewise; and when the model is none.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        model_type::read(path, &[MODERNBERT], |keys, _| parse(keys))
    }
}

/// The configuration that the keys give.
pub(crate) fn parse(keys: Keys<'_>) -> Result<ModernBertConfig, String> {
    refuse_other_models(keys)?;
    let vocab_size = size(keys, "vocab_size", 50_368)?;
    let layers = size(keys, "num_hidden_layers", 22)?;
    let (global_rope_theta, local_rope_theta) = thetas(keys)?;
    let config = ModernBertConfig {
        vocab_size,
        hidden_size: size(keys, "hidden_size", 768)?,
        intermediate_size: size(keys, "intermediate_size", 1152)?,
        num_hidden_layers: layers,
        num_attention_heads: size(keys, "num_attention_heads", 12)?,
        hidden_activation: activation(keys, "hidden_activation", Activation::Gelu)?,
        max_position_embeddings: size(keys, "max_position_embeddings", 8192)?,
        initializer_range: keys.number("initializer_range", 0.02, &FROM_ZERO, "from 0")?,
        initializer_cutoff_factor: cutoff(keys)?,
        norm_eps: keys.number("norm_eps", 1e-5, &FROM_ZERO, "from 0")?,
        norm_bias: flag(keys, "norm_bias", false)?,
        pad_token_id: optional_padding(keys, 50_283, vocab_size)?,
        global_rope_theta,
        local_rope_theta,
        attention_bias: flag(keys, "attention_bias", false)?,
        attention_dropout: dropout(keys, "attention_dropout", 0.0)?,
        global_attn_every_n_layers: keys.size("global_attn_every_n_layers", 3, 10_000)?,
        layer_types: layer_types(keys, layers)?,
        local_attention: keys.size("local_attention", 128, 100_000_000)?,
        embedding_dropout: dropout(keys, "embedding_dropout", 0.0)?,
        mlp_bias: flag(keys, "mlp_bias", false)?,
        mlp_dropout: dropout(keys, "mlp_dropout", 0.0)?,
        classifier_pooling: pooling(keys)?,
        classifier_dropout: dropout(keys, "classifier_dropout", 0.0)?,
        classifier_bias: flag(keys, "classifier_bias", false)?,
        classifier_activation: activation(keys, "classifier_activation", Activation::Gelu)?,
        tokenizer_class: keys.text("tokenizer_class")?,
    };
    let (width, heads) = (config.hidden_size, config.num_attention_heads);
    check_heads(("hidden_size", width), ("num_attention_heads", heads))?;
    if width / heads % 2 != 0 {
        return Err(format!(
            "hidden_size {width} gives {heads} heads (num_attention_heads) an odd width; it must be \
             even, for positions turn pairs"
        ));
    }
    let sizes = "vocab_size, hidden_size, num_hidden_layers and intermediate_size";
    check_weights(&config, sizes)?;
    Ok(config)
}

/// `null` means 3 to transformers, whatever the default.
fn cutoff(keys: Keys<'_>) -> Result<f64, String> {
    const KEY: &str = "initializer_cutoff_factor";
    if keys.0.get(KEY) == Some(&Value::Null) {
        return Ok(3.0);
    }
    keys.number(KEY, 2.0, &(0.1..f64::INFINITY), "from 0.1")
}

/// What each layer attends to, if it is said.
fn layer_types(keys: Keys<'_>, layers: i64) -> Result<Option<Vec<LayerAttention>>, String> {
    let Some(value) = keys.given("layer_types") else {
        return Ok(None);
    };
    let named = |value: &Value| match value.as_str() {
        Some("full_attention") => Some(LayerAttention::Global),
        Some("sliding_attention") => Some(LayerAttention::Local),
        _ => None,
    };
    let each = value.as_array().map(|each| each.iter().map(named));
    let each: Option<Vec<_>> = each.and_then(Iterator::collect);
    let each = each.filter(|each| i64::try_from(each.len()) == Ok(layers));
    each.map(Some).ok_or_else(|| {
        let right = format!(
            "it must have \"full_attention\" or \"sliding_attention\" for each of {layers} layers"
        );
        refused("layer_types", value, &right)
    })
}

/// The bases of RoPE's frequencies, of global layers and of local ones.
fn thetas(keys: Keys<'_>) -> Result<(f64, f64), String> {
    keys.refuse_if_set("rope_scaling", "positions that are stretched")?;
    let apart = |key| keys.number(key, 0.0, &ABOVE_ZERO, "above 0");
    let global = match keys.given("global_rope_theta") {
        None => 160_000.0,
        Some(_) => apart("global_rope_theta")?,
    };
    let local = match keys.0.get("local_rope_theta") {
        None => 10_000.0,
        // As transformers reads it.
        Some(Value::Null) => global,
        Some(_) => apart("local_rope_theta")?,
    };
    let Some(value) = keys.given("rope_parameters") else {
        return Ok((global, local));
    };
    let table = value.as_object();
    let table = table.ok_or_else(|| refused("rope_parameters", value, "it must be an object"))?;
    let theta = |kind: &str, default| match Keys(table).given(kind) {
        None => Ok(default),
        Some(Value::Object(inside)) => theta_of(Keys(inside), default)
            .map_err(|error| format!("rope_parameters: {kind}: {error}")),
        Some(other) => Err(refused(
            &format!("rope_parameters: {kind}"),
            other,
            "it must be an object",
        )),
    };
    Ok((
        theta("full_attention", global)?,
        theta("sliding_attention", local)?,
    ))
}

fn theta_of(keys: Keys<'_>, default: f64) -> Result<f64, String> {
    match keys.text("rope_type")?.as_deref() {
        None | Some("default") => {}
        Some(other) => {
            return Err(format!(
                "rope_type is {other:?}, which stretches positions and is not supported; supported \
                 is default"
            ));
        }
    }
    match keys.given("rope_theta") {
        None => Ok(default),
        Some(_) => keys.number("rope_theta", default, &ABOVE_ZERO, "above 0"),
    }
}

fn pooling(keys: Keys<'_>) -> Result<Pooling, String> {
    match keys.0.get("classifier_pooling") {
        None => Ok(Pooling::FirstToken),
        Some(Value::String(name)) if name == "cls" => Ok(Pooling::FirstToken),
        Some(Value::String(name)) if name == "mean" => Ok(Pooling::Mean),
        Some(other) => Err(refused(
            "classifier_pooling",
            other,
            "it must be \"cls\" or \"mean\"",
        )),
    }
}

impl EncoderArchitecture for ModernBertConfig {
    fn model_type(&self) -> ModelType {
        MODERNBERT
    }

    fn facts(&self) -> EncoderFacts<'_> {
        let named = self.tokenizer_class.as_deref();
        EncoderFacts {
            layers: self.num_hidden_layers,
            width: self.hidden_size,
            initial_spread: self.initializer_range,
            vocabulary: self.vocab_size,
            token_types: None,
            padding: self.pad_token_id,
            max_tokens: self.max_position_embeddings,
            tokenizer_class: named.unwrap_or("PreTrainedTokenizerFast"),
        }
    }

    fn checkpoint_names(&self) -> CheckpointNames {
        CheckpointNames {
            prefix: "model",
            inside: &["embeddings.", "layers.", "final_norm."],
            unused: &[],
            beside: &["head.", "classifier."],
        }
    }

    fn adaptable(&self) -> Vec<LinearLayer> {
        self.adaptable_layers()
    }

    fn names_of_layers(&self) -> &'static [&'static str] {
        &["Wqkv", "attn.Wo", "Wi", "mlp.Wo"]
    }

    /// PEFT has none for it; these are what it has for others that compute queries, keys and values
    /// at once.
    fn targets(&self) -> &'static [&'static str] {
        &["Wqkv"]
    }

    fn attention_inputs(&self) -> Option<[&'static str; 3]> {
        None
    }

    fn name_before_number(&self) -> &'static str {
        "layers"
    }

    fn below_head(&self) -> Vec<TensorSpec> {
        self.tensors()
    }

    fn head_spec(&self) -> HeadSpec {
        self.head()
    }

    fn set_dropout(&mut self, p: f64) {
        self.attention_dropout = p;
        self.embedding_dropout = p;
        self.mlp_dropout = p;
        self.classifier_dropout = p;
    }

    /// Inputs and outputs of each layer's products, norms, the turned queries and keys and the gate,
    /// and the scores that libtorch keeps where attention has a mask.
    fn bytes_in_training(&self, tokens: u64) -> u64 {
        let sizes = [
            self.num_hidden_layers,
            self.hidden_size,
            self.intermediate_size,
            self.num_attention_heads,
        ];
        let [layers, h, wide, heads] = sizes.map(|size| size as u64);
        let scores = heads.saturating_mul(tokens).saturating_mul(2);
        let of_token = (12 * h + 5 * wide).saturating_add(scores);
        (4 * layers).saturating_mul(tokens).saturating_mul(of_token)
    }

    fn encoder(&self, root: &View<'_>) -> Result<Box<dyn Encode>, ModelError> {
        Ok(Box::new(Encoder::new(self.body(root)?)))
    }
}
