//! `config.json` as transformers reads it: each architecture's own default for a key that is not
//! there, `null` where transformers takes it, and a refusal by key of all else.
//!
//! The defaults are those of `RobertaConfig` and `BertConfig` in transformers 4.46.2. Keys that do
//! not change what the model computes are not read.

use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value};

use crate::base::file_error::FileError;
use crate::base::{files, tensors};
use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::config::{Family, ModelConfig};

/// The most weights that a model may have: 40 GB of them in float32.
pub(crate) const MOST_WEIGHTS: i64 = 10_000_000_000;

/// The sizes and the most that each may be; beyond it, it is a mistake or an attack.
const MOST: [(&str, i64); 7] = [
    ("vocab_size", 100_000_000),
    ("hidden_size", 1_000_000),
    ("num_hidden_layers", 10_000),
    ("num_attention_heads", 1_000_000),
    ("intermediate_size", 10_000_000),
    ("max_position_embeddings", 100_000_000),
    ("type_vocab_size", 1_000_000),
];

/// Keys that make another model of it unless they are `false`, `null`, empty or not there.
const NOT_COMPUTED: [(&str, &str); 4] = [
    ("is_decoder", "attention that looks back only"),
    ("add_cross_attention", "attention to another model"),
    ("pruned_heads", "heads that were taken out"),
    ("quantization_config", "weights in integers"),
];

impl ModelConfig {
    /// Reads and checks a `config.json`. What it leaves out has its architecture's default in
    /// transformers; which architecture it is, the names of the tensors next to it may show.
    ///
    /// # Errors
    /// [`ModelError::NoConfig`] and [`ModelError::File`], which name the file; the latter also the
    /// key.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let json = object(path)?;
        let config = family(&json, path).and_then(|family| parse(&json, family));
        Ok(config.map_err(|reason| FileError::content(path, reason))?)
    }
}

/// All of the file's keys.
///
/// # Errors
/// If it cannot be read, or is not a JSON object.
pub(crate) fn object(path: &Path) -> Result<Map<String, Value>, ModelError> {
    let bytes = files::read(path).map_err(ModelError::NoConfig)?;
    let json = serde_json::from_slice(&bytes);
    Ok(json.map_err(|error| FileError::content(path, format!("not a JSON object: {error}")))?)
}

/// The architecture: by `model_type`, else by `architectures`, else by the tensors next to the
/// file.
fn family(json: &Map<String, Value>, path: &Path) -> Result<Family, String> {
    match json.get("model_type") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) => {
            let found = Family::ALL.into_iter().find(|it| it.prefix() == name);
            return found.ok_or_else(|| refused("model_type", &name.clone().into(), KNOWN));
        }
        Some(other) => return Err(refused("model_type", other, KNOWN)),
    }
    match json.get("architectures") {
        None | Some(Value::Null) => {}
        Some(Value::Array(names)) if names.is_empty() => {}
        Some(Value::Array(names)) => {
            let mut names = names.iter().filter_map(Value::as_str);
            let found = names.find_map(of_architecture);
            let given = &json["architectures"];
            return found.ok_or_else(|| refused("architectures", given, KNOWN));
        }
        Some(other) => {
            return Err(refused(
                "architectures",
                other,
                "it must be a list of names",
            ));
        }
    }
    of_tensors(path).ok_or_else(|| {
        "it has neither model_type nor architectures, and the names of the tensors in \
         model.safetensors do not show the architecture either; add \"model_type\": \"roberta\" or \
         \"model_type\": \"bert\""
            .to_owned()
    })
}

const KNOWN: &str = "supported are RoBERTa (\"roberta\") and BERT (\"bert\")";

/// `RobertaForMaskedLM`, `TFBertModel`; not `RobertaPreLayerNormModel` or `BertGenerationEncoder`.
fn of_architecture(name: &str) -> Option<Family> {
    let name = name.trim_start_matches("TF").trim_start_matches("Flax");
    let of = |stem, family| {
        let rest = name.strip_prefix(stem)?;
        (rest == "Model" || rest == "LMHeadModel" || rest.starts_with("For")).then_some(family)
    };
    of("Roberta", Family::Roberta).or_else(|| of("Bert", Family::Bert))
}

/// By a tensor's name, `roberta.…`, under whatever prefix.
fn of_tensors(path: &Path) -> Option<Family> {
    let index = tensors::index::index(&path.with_file_name("model.safetensors")).ok()?;
    let of_name = |name: &str| {
        let mut parts = name.split('.');
        parts.find_map(|part| Family::ALL.into_iter().find(|it| it.prefix() == part))
    };
    index.iter().find_map(|tensor| of_name(&tensor.name))
}

fn parse(json: &Map<String, Value>, family: Family) -> Result<ModelConfig, String> {
    for (key, meaning) in NOT_COMPUTED {
        refuse_if_set(json, key, meaning)?;
    }
    let (vocabulary, pad) = match family {
        Family::Roberta => (50_265, 1),
        Family::Bert => (30_522, 0),
    };
    let dropout = |key| number(json, key, 0.1, &(0.0..1.0), "from 0 to less than 1");
    let config = ModelConfig {
        family,
        vocab_size: size(json, "vocab_size", vocabulary)?,
        hidden_size: size(json, "hidden_size", 768)?,
        num_hidden_layers: size(json, "num_hidden_layers", 12)?,
        num_attention_heads: size(json, "num_attention_heads", 12)?,
        intermediate_size: size(json, "intermediate_size", 3072)?,
        hidden_act: activation(json)?,
        max_position_embeddings: size(json, "max_position_embeddings", 512)?,
        type_vocab_size: size(json, "type_vocab_size", 2)?,
        layer_norm_eps: number(json, "layer_norm_eps", 1e-12, &FROM_ZERO, "from 0")?,
        hidden_dropout_prob: dropout("hidden_dropout_prob")?,
        attention_probs_dropout_prob: dropout("attention_probs_dropout_prob")?,
        classifier_dropout: match json.get("classifier_dropout") {
            None | Some(Value::Null) => None,
            Some(_) => Some(dropout("classifier_dropout")?),
        },
        initializer_range: number(json, "initializer_range", 0.02, &FROM_ZERO, "from 0")?,
        pad_token_id: padding(json, family, pad)?,
        position_embedding_type: positions(json)?,
        tokenizer_class: text(json, "tokenizer_class")?,
    };
    check(&config)?;
    Ok(config)
}

const FROM_ZERO: Range<f64> = 0.0..f64::INFINITY;

/// The conditions on several keys together.
fn check(config: &ModelConfig) -> Result<(), String> {
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
    if hidden % heads != 0 {
        return Err(format!(
            "hidden_size {hidden} is not a multiple of num_attention_heads {heads}"
        ));
    }
    let tokens = config.vocab_size;
    if let Some(pad) = config.pad_token_id.filter(|pad| !(0..tokens).contains(pad)) {
        return Err(format!(
            "pad_token_id {pad} is not one of the {tokens} tokens (vocab_size), numbered from 0"
        ));
    }
    if config.max_tokens() < 1 {
        let (positions, pad) = (config.max_position_embeddings, config.padding());
        return Err(format!(
            "max_position_embeddings {positions} leaves no position for a token: RoBERTa's begin \
             after pad_token_id {pad}"
        ));
    }
    let weights = config.base_weights();
    if weights > MOST_WEIGHTS {
        return Err(format!(
            "its sizes give {weights} weights, but at most {MOST_WEIGHTS} are supported; check \
             vocab_size, hidden_size, num_hidden_layers, intermediate_size and \
             max_position_embeddings"
        ));
    }
    Ok(())
}

/// What is wrong with a key's value, and what would be right.
fn refused(key: &str, value: &Value, right: &str) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(60) {
        text.replace_range(end.., "…");
    }
    format!("{key} is {text}; {right}")
}

fn size(json: &Map<String, Value>, key: &str, default: i64) -> Result<i64, String> {
    let Some(value) = json.get(key) else {
        return Ok(default);
    };
    let most = MOST.iter().find(|(name, _)| *name == key);
    let most = most.map_or(i64::MAX, |(_, most)| *most);
    let size = value.as_i64().filter(|size| (1..=most).contains(size));
    size.ok_or_else(|| {
        let right = format!("it must be a whole number from 1 to {most}");
        refused(key, value, &right)
    })
}

fn number(
    json: &Map<String, Value>,
    key: &str,
    default: f64,
    range: &Range<f64>,
    right: &str,
) -> Result<f64, String> {
    let Some(value) = json.get(key) else {
        return Ok(default);
    };
    let number = value.as_f64().filter(|number| range.contains(number));
    number.ok_or_else(|| refused(key, value, &format!("it must be a number {right}")))
}

fn activation(json: &Map<String, Value>) -> Result<Activation, String> {
    let Some(value) = json.get("hidden_act") else {
        return Ok(Activation::Gelu);
    };
    value.as_str().and_then(Activation::find).ok_or_else(|| {
        let names = Activation::ALL.map(Activation::name).join(", ");
        refused("hidden_act", value, &format!("known are {names}"))
    })
}

/// RoBERTa counts positions from the padding token's number, so it needs one.
fn padding(json: &Map<String, Value>, family: Family, default: i64) -> Result<Option<i64>, String> {
    match json.get("pad_token_id") {
        None => Ok(Some(default)),
        Some(Value::Null) if family == Family::Bert => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| {
            let right = "it must be a token's number; RoBERTa's own is 1, BERT's 0";
            refused("pad_token_id", value, right)
        }),
    }
}

fn positions(json: &Map<String, Value>) -> Result<&'static str, String> {
    const ABSOLUTE: &str = "absolute";
    match json.get("position_embedding_type") {
        None => Ok(ABSOLUTE),
        Some(Value::String(kind)) if kind == ABSOLUTE => Ok(ABSOLUTE),
        Some(other) => Err(refused(
            "position_embedding_type",
            other,
            "only \"absolute\" is known",
        )),
    }
}

fn text(json: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(refused(key, other, "it must be a name")),
    }
}

fn refuse_if_set(json: &Map<String, Value>, key: &str, meaning: &str) -> Result<(), String> {
    let value = json.get(key).unwrap_or(&Value::Null);
    let unset = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    };
    if unset {
        return Ok(());
    }
    let right = format!("{meaning}: not supported, and the model would differ without it");
    Err(refused(key, value, &right))
}

#[cfg(test)]
mod tests;
