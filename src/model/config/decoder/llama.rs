//! Llama's `config.json`, with the defaults of `LlamaConfig` in transformers 4.46.2.

use serde_json::{Map, Value, json};

use crate::model::activation::Activation;
use crate::model::config::decoder::flag;
use crate::model::config::decoder::rotary::{RotaryDefaults, RotaryModel, checked};
use crate::model::config::keys::{Keys, object_of};
use crate::model::decoder::llama::LLAMA;
use crate::model::decoder::rotary::config::RotaryConfig;

pub(crate) static MODEL: RotaryModel = RotaryModel {
    family: &LLAMA,
    parse,
    own_keys,
};

static DEFAULTS: RotaryDefaults = RotaryDefaults {
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 11_008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: None,
    head_dim: None,
    max_position_embeddings: 2048,
    activation: ("hidden_act", Activation::Silu),
    tie_word_embeddings: false,
    pad_token_id: None,
    eos_token_id: Some(2),
};

fn parse(keys: Keys<'_>) -> Result<RotaryConfig, String> {
    checked(RotaryConfig {
        attention_bias: flag(keys, "attention_bias", false)?,
        mlp_bias: flag(keys, "mlp_bias", false)?,
        ..RotaryConfig::of_keys(keys, &LLAMA, &DEFAULTS)?
    })
}

fn own_keys(config: &RotaryConfig) -> Map<String, Value> {
    object_of(json!({
        "attention_bias": config.attention_bias,
        "mlp_bias": config.mlp_bias,
    }))
}
