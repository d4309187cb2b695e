//! Qwen3's `config.json`, with the defaults of `Qwen3Config` in transformers 4.57.6.

use serde_json::{Map, Value, json};

use crate::model::config::decoder::flag;
use crate::model::config::decoder::qwen2::{QWEN, window_keys, with_windows};
use crate::model::config::decoder::rotary::{RotaryDefaults, RotaryModel, checked};
use crate::model::config::keys::Keys;
use crate::model::decoder::qwen3::QWEN3;
use crate::model::decoder::rotary::config::RotaryConfig;

pub(crate) static MODEL: RotaryModel = RotaryModel {
    family: &QWEN3,
    parse,
    own_keys,
};

static DEFAULTS: RotaryDefaults = RotaryDefaults {
    head_dim: Some(128),
    ..QWEN
};

fn parse(keys: Keys<'_>) -> Result<RotaryConfig, String> {
    let config = RotaryConfig {
        attention_bias: flag(keys, "attention_bias", false)?,
        ..RotaryConfig::of_keys(keys, &QWEN3, &DEFAULTS)?
    };
    checked(with_windows(keys, config)?)
}

fn own_keys(config: &RotaryConfig) -> Map<String, Value> {
    let mut keys = window_keys(config);
    keys.insert("attention_bias".to_owned(), json!(config.attention_bias));
    keys
}
