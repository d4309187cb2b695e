//! Gemma 2's `config.json`, with the defaults of `Gemma2Config` in transformers 4.57.6; 4.46.2 has the
//! sizes of another model.

use serde_json::{Map, Value, json};

use crate::model::activation::Activation;
use crate::model::config::decoder::rotary::{
    RotaryDefaults, RotaryModel, check_window, checked, layer_type_names, layer_types, soft_cap,
    window,
};
use crate::model::config::decoder::{ABOVE_ZERO, flag};
use crate::model::config::keys::{Keys, object_of};
use crate::model::decoder::gemma2::GEMMA2;
use crate::model::decoder::rotary::config::{LayerType, RotaryConfig};

pub(crate) static MODEL: RotaryModel = RotaryModel {
    family: &GEMMA2,
    parse,
    own_keys,
};

static DEFAULTS: RotaryDefaults = RotaryDefaults {
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 8192,
    activation: ("hidden_activation", Activation::GeluPytorchTanh),
    tie_word_embeddings: true,
    pad_token_id: Some(0),
    eos_token_id: Some(1),
};

/// Every other layer has the window, from the first on, unless `layer_types` names others.
fn parse(keys: Keys<'_>) -> Result<RotaryConfig, String> {
    keys.refuse_if_set("use_bidirectional_attention", "attention to later tokens")?;
    let mut config = RotaryConfig::of_keys(keys, &GEMMA2, &DEFAULTS)?;
    config.attention_bias = flag(keys, "attention_bias", false)?;
    let scalar = keys.number("query_pre_attn_scalar", 256.0, &ABOVE_ZERO, "above 0")?;
    config.query_pre_attn_scalar = Some(scalar);
    config.attn_logit_softcapping = soft_cap(keys, "attn_logit_softcapping", 50.0)?;
    config.final_logit_softcapping = soft_cap(keys, "final_logit_softcapping", 30.0)?;
    config.sliding_window = window(keys)?;
    config.layer_types = layer_types(keys, &config, |layer| match layer % 2 {
        0 => LayerType::Sliding,
        _ => LayerType::Full,
    })?;
    check_window(&config, "sliding_window must be a number")?;
    checked(config)
}

fn own_keys(config: &RotaryConfig) -> Map<String, Value> {
    // transformers 5 takes no number with a point for it.
    let scalar = match config.query_pre_attn_scalar {
        Some(scalar) if scalar.fract() == 0.0 && scalar < 1e15 => json!(scalar as i64),
        scalar => json!(scalar),
    };
    object_of(json!({
        "hidden_activation": config.hidden_act.name(),
        "attention_bias": config.attention_bias,
        "query_pre_attn_scalar": scalar,
        "attn_logit_softcapping": config.attn_logit_softcapping.map(|cap| cap.0),
        "final_logit_softcapping": config.final_logit_softcapping.map(|cap| cap.0),
        "sliding_window": config.sliding_window,
        "layer_types": layer_type_names(config),
    }))
}
