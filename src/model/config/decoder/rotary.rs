//! The keys that rotary decoders share: of the same names in all families, with other defaults in
//! each.

use serde_json::{Map, Value};

use crate::model::activation::Activation;
use crate::model::config::decoder::rope::rope;
use crate::model::config::decoder::{ABOVE_ZERO, activation, end_tokens, flag, token};
use crate::model::config::keys::{FROM_ZERO, Keys, check_weights, refused};
use crate::model::config::model_type::ModelType;
use crate::model::decoder::rotary::config::{LayerType, RotaryConfig};
use crate::model::decoder::rotary::family::RotaryFamily;
use crate::model::layers::soft_cap::SoftCap;

/// How a family's `config.json` is read and written.
#[derive(Debug)]
pub(crate) struct RotaryModel {
    pub family: &'static RotaryFamily,
    pub parse: fn(Keys<'_>) -> Result<RotaryConfig, String>,
    /// The keys that not all families have.
    pub own_keys: fn(&RotaryConfig) -> Map<String, Value>,
}

impl RotaryModel {
    /// The names that files have for it.
    pub const fn model_type(&self) -> ModelType {
        ModelType {
            name: self.family.name,
            title: self.family.title,
            class_stem: self.family.class_stem,
            tensor_part: self.family.name,
        }
    }
}

/// What a family has where a key is not there.
#[derive(Debug)]
pub(crate) struct RotaryDefaults {
    pub vocab_size: i64,
    pub hidden_size: i64,
    pub intermediate_size: i64,
    pub num_hidden_layers: i64,
    pub num_attention_heads: i64,
    /// `None`: as many as query heads.
    pub num_key_value_heads: Option<i64>,
    /// `None`: the width divided by the query heads.
    pub head_dim: Option<i64>,
    pub max_position_embeddings: i64,
    /// The key of the gate's activation, and its default.
    pub activation: (&'static str, Activation),
    pub tie_word_embeddings: bool,
    pub pad_token_id: Option<i64>,
    pub eos_token_id: Option<i64>,
}

impl RotaryConfig {
    /// The configuration that the shared keys give: without biases, windows or caps, which are the
    /// families' to say.
    pub(crate) fn of_keys(
        keys: Keys<'_>,
        family: &'static RotaryFamily,
        defaults: &RotaryDefaults,
    ) -> Result<Self, String> {
        keys.refuse_if_set("quantization_config", "weights in integers")?;
        let size = |key, default, most| keys.size(key, default, most);
        let hidden_size = size("hidden_size", defaults.hidden_size, 1_000_000)?;
        let heads = defaults.num_attention_heads;
        let heads = size("num_attention_heads", heads, 1_000_000)?;
        let key_heads = key_heads(keys, defaults, heads)?;
        let head_dim = head_dim(keys, defaults, hidden_size, heads)?;
        let layers = size("num_hidden_layers", defaults.num_hidden_layers, 10_000)?;
        let positions = defaults.max_position_embeddings;
        let positions = size("max_position_embeddings", positions, 100_000_000)?;
        let wide = size("intermediate_size", defaults.intermediate_size, 10_000_000)?;
        let vocab_size = size("vocab_size", defaults.vocab_size, 100_000_000)?;
        let dropout = |key| keys.number(key, 0.0, &(0.0..1.0), "from 0 to less than 1");
        let (gate, gate_default) = defaults.activation;
        Ok(Self {
            family,
            vocab_size,
            hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: key_heads,
            head_dim,
            intermediate_size: wide,
            hidden_act: activation(keys, gate, gate_default)?,
            rms_norm_eps: keys.number("rms_norm_eps", 1e-6, &FROM_ZERO, "from 0")?,
            max_position_embeddings: positions,
            rope: rope(keys, head_dim, positions)?,
            tie_word_embeddings: flag(keys, "tie_word_embeddings", defaults.tie_word_embeddings)?,
            attention_bias: false,
            mlp_bias: false,
            sliding_window: None,
            layer_types: vec![LayerType::Full; layers as usize],
            query_pre_attn_scalar: None,
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            attention_dropout: dropout("attention_dropout")?,
            initializer_range: keys.number("initializer_range", 0.02, &FROM_ZERO, "from 0")?,
            pad_token_id: token(keys, "pad_token_id", defaults.pad_token_id, vocab_size)?,
            eos_token_id: end_tokens(keys, defaults.eos_token_id, vocab_size)?,
        })
    }
}

/// Refuses sizes whose weights nothing could hold.
pub(crate) fn checked(config: RotaryConfig) -> Result<RotaryConfig, String> {
    let sizes = "vocab_size, hidden_size, num_hidden_layers and intermediate_size";
    check_weights(&config, sizes)?;
    Ok(config)
}

fn key_heads(keys: Keys<'_>, defaults: &RotaryDefaults, heads: i64) -> Result<i64, String> {
    const KEY: &str = "num_key_value_heads";
    let key_heads = match keys.0.get(KEY) {
        None => defaults.num_key_value_heads.unwrap_or(heads),
        Some(Value::Null) => heads,
        Some(_) => keys.size(KEY, heads, 1_000_000)?,
    };
    if heads % key_heads != 0 {
        return Err(format!(
            "num_attention_heads {heads} is not a multiple of num_key_value_heads {key_heads}"
        ));
    }
    Ok(key_heads)
}

fn head_dim(
    keys: Keys<'_>,
    defaults: &RotaryDefaults,
    hidden_size: i64,
    heads: i64,
) -> Result<i64, String> {
    let head_dim = match (keys.given("head_dim"), defaults.head_dim) {
        (None, None) if hidden_size % heads != 0 => {
            return Err(format!(
                "hidden_size {hidden_size} is not a multiple of num_attention_heads {heads}, and \
                 there is no head_dim"
            ));
        }
        (None, None) => hidden_size / heads,
        (_, default) => keys.size("head_dim", default.unwrap_or(0), 1_000_000)?,
    };
    if head_dim % 2 != 0 {
        return Err(format!(
            "head_dim is {head_dim}; it must be even, for positions turn pairs"
        ));
    }
    Ok(head_dim)
}

/// The window of the layers that have one: 4096 tokens unless the keys say otherwise, and none where
/// it is `null`.
pub(crate) fn window(keys: Keys<'_>) -> Result<Option<i64>, String> {
    const KEY: &str = "sliding_window";
    match keys.0.get(KEY) {
        Some(Value::Null) => Ok(None),
        _ => keys.size(KEY, 4096, 100_000_000).map(Some),
    }
}

/// Each layer's type, by `layer_types`, or by its number where the file has none of them.
pub(crate) fn layer_types(
    keys: Keys<'_>,
    config: &RotaryConfig,
    by_number: impl Fn(i64) -> LayerType,
) -> Result<Vec<LayerType>, String> {
    const KEY: &str = "layer_types";
    let layers = config.num_hidden_layers;
    let known = LayerType::ALL.map(LayerType::name).join(" and ");
    let kinds = match keys.given(KEY) {
        None => (0..layers).map(by_number).collect(),
        Some(Value::Array(names)) if names.len() as i64 == layers => {
            let kind = |name: &Value| {
                let found = LayerType::ALL
                    .into_iter()
                    .find(|kind| name.as_str() == Some(kind.name()));
                found.ok_or_else(|| refused(KEY, name, &format!("supported are {known}")))
            };
            names.iter().map(kind).collect::<Result<Vec<_>, _>>()?
        }
        Some(other) => {
            let right = format!("it must name the types of {layers} layers (num_hidden_layers)");
            return Err(refused(KEY, other, &right));
        }
    };
    Ok(kinds)
}

/// The types as `layer_types` has them.
pub(crate) fn layer_type_names(config: &RotaryConfig) -> Vec<&'static str> {
    config.layer_types.iter().map(|kind| kind.name()).collect()
}

/// Refuses layers with a window where there is no length of one.
pub(crate) fn check_window(config: &RotaryConfig, why: &str) -> Result<(), String> {
    if config.sliding_window.is_none() && config.layer_types.contains(&LayerType::Sliding) {
        return Err(format!(
            "layers are of type {}, but there is no window: {why}",
            LayerType::Sliding.name()
        ));
    }
    Ok(())
}

/// A soft cap by its key; `null` is none.
pub(crate) fn soft_cap(keys: Keys<'_>, key: &str, default: f64) -> Result<Option<SoftCap>, String> {
    match keys.0.get(key) {
        Some(Value::Null) => Ok(None),
        _ => {
            let cap = keys.number(key, default, &ABOVE_ZERO, "above 0, or null")?;
            Ok(Some(SoftCap(cap)))
        }
    }
}
