//! The `config.json` of Qwen2 and Qwen2.5, with the defaults of `Qwen2Config` in transformers 4.57.6;
//! and the keys of windows, which Qwen3 has too.

use serde_json::{Map, Value, json};

use crate::model::activation::Activation;
use crate::model::config::decoder::flag;
use crate::model::config::decoder::rotary::{
    RotaryDefaults, RotaryModel, check_window, checked, layer_type_names, layer_types, window,
};
use crate::model::config::keys::{Keys, object_of, refused};
use crate::model::decoder::qwen2::QWEN2;
use crate::model::decoder::rotary::config::{LayerType, RotaryConfig};

pub(crate) static MODEL: RotaryModel = RotaryModel {
    family: &QWEN2,
    parse,
    own_keys: window_keys,
};

static DEFAULTS: RotaryDefaults = RotaryDefaults {
    head_dim: None,
    ..QWEN
};

/// What Qwen2 and Qwen3 have alike.
pub(crate) const QWEN: RotaryDefaults = RotaryDefaults {
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22_016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(32),
    head_dim: None,
    max_position_embeddings: 32_768,
    activation: ("hidden_act", Activation::Silu),
    tie_word_embeddings: false,
    pad_token_id: None,
    eos_token_id: None,
};

fn parse(keys: Keys<'_>) -> Result<RotaryConfig, String> {
    checked(with_windows(
        keys,
        RotaryConfig::of_keys(keys, &QWEN2, &DEFAULTS)?,
    )?)
}

/// The configuration with the windows that the keys give: none unless `use_sliding_window`, and then
/// on the layers from `max_window_layers` on, or those that `layer_types` names.
pub(crate) fn with_windows(keys: Keys<'_>, config: RotaryConfig) -> Result<RotaryConfig, String> {
    let sliding_window = match flag(keys, "use_sliding_window", false)? {
        true => window(keys)?,
        false => None,
    };
    let first = match keys.0.get("max_window_layers") {
        None => 28,
        Some(value) => value.as_i64().filter(|it| *it >= 0).ok_or_else(|| {
            let right = "it must be a number of layers, from 0";
            refused("max_window_layers", value, right)
        })?,
    };
    let kind = |layer| match sliding_window {
        Some(_) if layer >= first => LayerType::Sliding,
        _ => LayerType::Full,
    };
    let layer_types = layer_types(keys, &config, kind)?;
    let config = RotaryConfig {
        sliding_window,
        layer_types,
        ..config
    };
    check_window(
        &config,
        "use_sliding_window must be true, and sliding_window a number",
    )?;
    Ok(config)
}

/// The keys of windows. Old versions of transformers know no `layer_types`.
pub(crate) fn window_keys(config: &RotaryConfig) -> Map<String, Value> {
    let windowed = |kind: &LayerType| *kind == LayerType::Sliding;
    let first = config.layer_types.iter().position(windowed);
    object_of(json!({
        "use_sliding_window": config.sliding_window.is_some(),
        "sliding_window": config.sliding_window,
        "max_window_layers": first.unwrap_or(config.layer_types.len()),
        "layer_types": layer_type_names(config),
    }))
}
