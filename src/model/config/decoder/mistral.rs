//! Mistral's `config.json`, with the defaults of `MistralConfig` in transformers 4.57.6.

use serde_json::{Map, Value, json};

use crate::model::activation::Activation;
use crate::model::config::decoder::rotary::{
    RotaryDefaults, RotaryModel, checked, layer_types, window,
};
use crate::model::config::keys::{Keys, object_of};
use crate::model::decoder::mistral::MISTRAL;
use crate::model::decoder::rotary::config::{LayerType, RotaryConfig};

pub(crate) static MODEL: RotaryModel = RotaryModel {
    family: &MISTRAL,
    parse,
    own_keys,
};

static DEFAULTS: RotaryDefaults = RotaryDefaults {
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: Some(8),
    head_dim: None,
    max_position_embeddings: 131_072,
    activation: ("hidden_act", Activation::Silu),
    tie_word_embeddings: false,
    pad_token_id: None,
    eos_token_id: Some(2),
};

/// All layers have the window, if there is one.
fn parse(keys: Keys<'_>) -> Result<RotaryConfig, String> {
    let mut config = RotaryConfig::of_keys(keys, &MISTRAL, &DEFAULTS)?;
    config.sliding_window = window(keys)?;
    let all = match config.sliding_window {
        Some(_) => LayerType::Sliding,
        None => LayerType::Full,
    };
    config.layer_types = layer_types(keys, &config, |_| all)?;
    if config.layer_types.iter().any(|kind| *kind != all) {
        return Err(format!(
            "layer_types are not all {}, as sliding_window has it: a Mistral with several types of \
             layers is not supported",
            all.name()
        ));
    }
    checked(config)
}

fn own_keys(config: &RotaryConfig) -> Map<String, Value> {
    object_of(json!({ "sliding_window": config.sliding_window }))
}
