//! The keys that decoders share.
//!
//! | file | holds |
//! |---|---|
//! | `gpt2` | GPT-2's keys, and the architecture that they make |
//! | `rotary`, `rope` | the keys that rotary decoders share, and those of positions |
//! | `llama`, `mistral`, `qwen2`, `qwen3`, `gemma2` | each family's own keys and defaults |
//! | `architecture` | the architecture that a rotary decoder's keys make |

pub(crate) mod architecture;
pub(crate) mod gemma2;
pub mod gpt2;
pub(crate) mod llama;
pub(crate) mod mistral;
pub(crate) mod qwen2;
pub(crate) mod qwen3;
pub(crate) mod rope;
pub(crate) mod rotary;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde_json::Value;

use crate::model::activation::Activation;
use crate::model::config::keys::{Keys, refused};

/// Above 0, and finite.
const ABOVE_ZERO: Range<f64> = f64::MIN_POSITIVE..f64::INFINITY;

/// The tokens that end a text: one, several, or none.
fn end_tokens(keys: Keys<'_>, default: Option<i64>, vocabulary: i64) -> Result<Vec<i64>, String> {
    let wrong = |value: &Value| {
        let right = format!("it must be one of the {vocabulary} tokens (vocab_size), or a list");
        refused("eos_token_id", value, &right)
    };
    let known = |value: &Value| value.as_i64().filter(|id| (0..vocabulary).contains(id));
    match keys.0.get("eos_token_id") {
        // A vocabulary of another size than the family's own has another end.
        None => Ok(default
            .filter(|id| (0..vocabulary).contains(id))
            .into_iter()
            .collect()),
        Some(Value::Null) => Ok(Vec::new()),
        Some(value @ Value::Array(ids)) => {
            let ids: Option<Vec<i64>> = ids.iter().map(known).collect();
            ids.ok_or_else(|| wrong(value))
        }
        Some(value) => known(value).map(|id| vec![id]).ok_or_else(|| wrong(value)),
    }
}

/// One token's number, if one is named.
fn token(
    keys: Keys<'_>,
    key: &str,
    default: Option<i64>,
    vocabulary: i64,
) -> Result<Option<i64>, String> {
    let value = match keys.0.get(key) {
        None => return Ok(default.filter(|id| (0..vocabulary).contains(id))),
        Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let known = value.as_i64().filter(|id| (0..vocabulary).contains(id));
    known.map(Some).ok_or_else(|| {
        let right = format!("it must be one of the {vocabulary} tokens (vocab_size)");
        refused(key, value, &right)
    })
}

/// An activation by its key.
fn activation(keys: Keys<'_>, key: &str, default: Activation) -> Result<Activation, String> {
    let Some(value) = keys.given(key) else {
        return Ok(default);
    };
    value.as_str().and_then(Activation::find).ok_or_else(|| {
        let names = Activation::ALL.map(Activation::name).join(", ");
        refused(key, value, &format!("known are {names}"))
    })
}

/// A truth value by its key.
fn flag(keys: Keys<'_>, key: &str, default: bool) -> Result<bool, String> {
    match keys.given(key) {
        None => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(refused(key, other, "it must be true or false")),
    }
}
