//! Encoders' `config.json` as transformers reads it: each family's own default for a key that is not
//! there, `null` where transformers takes it, and a refusal by key of all else.
//!
//! | file | holds |
//! |---|---|
//! | [`architecture`] | what a family tells of itself, and the [`Architecture`] that follows |
//! | `bert` | the keys of BERT and its kin |
//! | `distilbert`, `modernbert`, `deberta` | families with keys of their own |
//!
//! Here the keys that they share.
//!
//! [`Architecture`]: crate::model::architecture::Architecture

pub mod architecture;
pub(crate) mod bert;
pub(crate) mod deberta;
pub(crate) mod distilbert;
pub(crate) mod modernbert;

use serde_json::Value;

use crate::model::activation::Activation;
use crate::model::config::keys::{Keys, refused};

/// The sizes and the most that each may be; beyond it, it is a mistake or an attack.
const MOST: [(&str, i64); 13] = [
    ("vocab_size", 100_000_000),
    ("embedding_size", 1_000_000),
    ("hidden_size", 1_000_000),
    ("dim", 1_000_000),
    ("num_hidden_layers", 10_000),
    ("n_layers", 10_000),
    ("num_attention_heads", 1_000_000),
    ("n_heads", 1_000_000),
    ("intermediate_size", 10_000_000),
    ("hidden_dim", 10_000_000),
    ("max_position_embeddings", 100_000_000),
    ("max_relative_positions", 100_000_000),
    ("type_vocab_size", 1_000_000),
];

/// Keys that make another model of it unless they are `false`, `null`, empty or not there.
const NOT_COMPUTED: [(&str, &str); 4] = [
    ("is_decoder", "attention that looks back only"),
    ("add_cross_attention", "attention to another model"),
    ("pruned_heads", "heads that were taken out"),
    ("quantization_config", "weights in integers"),
];

/// Refuses what makes another model of it.
fn refuse_other_models(keys: Keys<'_>) -> Result<(), String> {
    let mut all = NOT_COMPUTED.into_iter();
    all.try_for_each(|(key, meaning)| keys.refuse_if_set(key, meaning))
}

/// A size by its key.
fn size(keys: Keys<'_>, key: &str, default: i64) -> Result<i64, String> {
    let most = MOST.iter().find(|(name, _)| *name == key);
    keys.size(key, default, most.map_or(i64::MAX, |(_, most)| *most))
}

/// A size by its key, or by the name that transformers takes for it too and prefers.
fn size_by(keys: Keys<'_>, [key, other]: [&str; 2], default: i64) -> Result<i64, String> {
    let key = match keys.0.contains_key(other) {
        true => other,
        false => key,
    };
    size(keys, key, default)
}

/// A probability of dropout by its key.
fn dropout(keys: Keys<'_>, key: &str, default: f64) -> Result<f64, String> {
    keys.number(key, default, &(0.0..1.0), "from 0 to less than 1")
}

/// A truth value by its key.
fn flag(keys: Keys<'_>, key: &str, default: bool) -> Result<bool, String> {
    match keys.0.get(key) {
        None => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(refused(key, other, "it must be true or false")),
    }
}

/// An activation by its key.
fn activation(keys: Keys<'_>, key: &str, default: Activation) -> Result<Activation, String> {
    let Some(value) = keys.0.get(key) else {
        return Ok(default);
    };
    value.as_str().and_then(Activation::find).ok_or_else(|| {
        let names = Activation::ALL.map(Activation::name).join(", ");
        refused(key, value, &format!("known are {names}"))
    })
}

/// The padding token; `null` where a model learns from the mask what is padding, so that any token
/// serves.
fn optional_padding(keys: Keys<'_>, default: i64, tokens: i64) -> Result<Option<i64>, String> {
    let pad = match keys.0.get("pad_token_id") {
        None => Some(default),
        Some(Value::Null) => None,
        Some(value) => {
            let number = value.as_i64();
            Some(number.ok_or_else(|| refused("pad_token_id", value, &token_number(default)))?)
        }
    };
    check_padding(pad, tokens)?;
    Ok(pad)
}

/// What a padding token must be.
fn token_number(default: i64) -> String {
    format!("it must be a token's number; the family's own is {default}")
}

/// Refuses heads that do not divide the width evenly; both with their keys.
fn check_heads((of_width, width): (&str, i64), (key, heads): (&str, i64)) -> Result<(), String> {
    match width % heads {
        0 => Ok(()),
        _ => Err(format!(
            "{of_width} {width} is not a multiple of {key} {heads}"
        )),
    }
}

/// Refuses a padding token that the model does not embed.
fn check_padding(pad: Option<i64>, tokens: i64) -> Result<(), String> {
    match pad.filter(|pad| !(0..tokens).contains(pad)) {
        None => Ok(()),
        Some(pad) => Err(format!(
            "pad_token_id {pad} is not one of the {tokens} tokens (vocab_size), numbered from 0"
        )),
    }
}

#[cfg(test)]
mod tests;
