//! The `config.json` of DeBERTa's versions, with the defaults of `DebertaConfig` and
//! `DebertaV2Config` in transformers 4.57.6, and of their models for keys that those do not declare.

use std::path::Path;

use serde_json::Value;

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::config::encoder::architecture::{
    CheckpointNames, EncoderArchitecture, EncoderFacts, bytes_of_layers,
};
use crate::model::config::encoder::{
    activation, check_heads, dropout, flag, optional_padding, refuse_other_models, size,
};
use crate::model::config::keys::{FROM_ZERO, Keys, check_weights, refused};
use crate::model::config::model_type::{self, ModelType};
use crate::model::encoder::deberta::{ConvSpec, DebertaConfig, DebertaVersion, PositionScore};
use crate::model::encoder::head::HeadSpec;
use crate::model::encoder::{Encode, Encoder};
use crate::model::linear_layer::LinearLayer;
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// The names that files have for the first version.
pub(crate) const DEBERTA: ModelType = ModelType {
    name: "deberta",
    title: "DeBERTa",
    class_stem: "Deberta",
    tensor_part: "in_proj",
};

/// The names that files have for the second version, which are also the third's.
pub(crate) const DEBERTA_V2: ModelType = ModelType {
    name: "deberta-v2",
    title: "DeBERTa-v2 and -v3",
    class_stem: "DebertaV2",
    tensor_part: "query_proj",
};

impl DebertaConfig {
    /// As [`config::read`](crate::model::config::read), for a DeBERTa.
    ///
    /// # Errors
    /// Likewise; and when the model is none.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        model_type::read(path, &[DEBERTA, DEBERTA_V2], |keys, found| {
            parse(keys, version(found))
        })
    }
}

/// The version that a type of model is.
pub(crate) fn version(found: ModelType) -> DebertaVersion {
    match found == DEBERTA {
        true => DebertaVersion::One,
        false => DebertaVersion::Two,
    }
}

/// The configuration that the keys give.
pub(crate) fn parse(keys: Keys<'_>, version: DebertaVersion) -> Result<DebertaConfig, String> {
    refuse_other_models(keys)?;
    let default = |one, two| match version {
        DebertaVersion::One => one,
        DebertaVersion::Two => two,
    };
    let vocab_size = size(keys, "vocab_size", default(50_265, 128_100))?;
    let hidden_size = size(keys, "hidden_size", default(768, 1536))?;
    let positions = size(keys, "max_position_embeddings", 512)?;
    let config = DebertaConfig {
        version,
        vocab_size,
        embedding_size: size(keys, "embedding_size", hidden_size)?,
        hidden_size,
        num_hidden_layers: size(keys, "num_hidden_layers", default(12, 24))?,
        num_attention_heads: size(keys, "num_attention_heads", default(12, 24))?,
        intermediate_size: size(keys, "intermediate_size", default(3072, 6144))?,
        hidden_act: activation(keys, "hidden_act", Activation::Gelu)?,
        hidden_dropout_prob: dropout(keys, "hidden_dropout_prob", 0.1)?,
        attention_probs_dropout_prob: dropout(keys, "attention_probs_dropout_prob", 0.1)?,
        max_position_embeddings: positions,
        type_vocab_size: size_or_none(keys, "type_vocab_size")?.unwrap_or(0),
        layer_norm_eps: keys.number("layer_norm_eps", 1e-7, &FROM_ZERO, "from 0")?,
        initializer_range: keys.number("initializer_range", 0.02, &FROM_ZERO, "from 0")?,
        pad_token_id: optional_padding(keys, 0, vocab_size)?,
        relative_attention: flag(keys, "relative_attention", false)?,
        max_relative_positions: size_or_none(keys, "max_relative_positions")?.unwrap_or(positions),
        position_buckets: match version {
            DebertaVersion::One => None,
            DebertaVersion::Two => size_or_none(keys, "position_buckets")?,
        },
        norm_rel_ebd: version == DebertaVersion::Two && norm_of_positions(keys)?,
        share_att_key: version == DebertaVersion::Two && flag(keys, "share_att_key", false)?,
        pos_att_type: position_scores(keys)?,
        position_biased_input: flag(keys, "position_biased_input", true)?,
        conv: match version {
            DebertaVersion::One => None,
            DebertaVersion::Two => convolution(keys, hidden_size)?,
        },
        pooler_dropout: dropout(keys, "pooler_dropout", 0.0)?,
        pooler_hidden_act: activation(keys, "pooler_hidden_act", Activation::Gelu)?,
        cls_dropout: match keys.given("cls_dropout") {
            None => None,
            Some(_) => Some(dropout(keys, "cls_dropout", 0.0)?),
        },
        tokenizer_class: keys.text("tokenizer_class")?,
    };
    check(keys, &config)?;
    Ok(config)
}

/// A size; `None`: none at all, which transformers understands by a number below 1, or no key.
fn size_or_none(keys: Keys<'_>, key: &str) -> Result<Option<i64>, String> {
    match keys.0.get(key) {
        None => Ok(None),
        Some(value) if value.as_i64().is_some_and(|size| size < 1) => Ok(None),
        Some(_) => size(keys, key, 1).map(Some),
    }
}

/// The conditions on several keys together, and what is not supported.
fn check(keys: Keys<'_>, config: &DebertaConfig) -> Result<(), String> {
    let (h, heads) = (config.hidden_size, config.num_attention_heads);
    check_heads(("hidden_size", h), ("num_attention_heads", heads))?;
    keys.refuse_if_set("talking_head", "scores that are mixed between heads")?;
    let must_be = |key: &str, value: i64, why: &str| match keys.given(key) {
        Some(given) if given.as_i64() != Some(value) => {
            Err(refused(key, given, &format!("it must be {value}, {why}")))
        }
        _ => Ok(()),
    };
    let share = "hidden_size / num_attention_heads; heads of another width are not supported";
    must_be("attention_head_size", h / heads, share)?;
    must_be("pooler_hidden_size", h, "as hidden_size is: it reads them")?;
    if let Some(buckets) = config
        .position_buckets
        .filter(|_| config.relative_attention)
    {
        let (least, furthest) = (4, config.max_relative_positions);
        if buckets < least || furthest - 1 <= buckets / 2 {
            return Err(format!(
                "position_buckets {buckets} do not divide {furthest} relative positions \
                 (max_relative_positions); there must be {least} or more buckets, and further \
                 positions than half of them"
            ));
        }
    }
    let sizes = "vocab_size, hidden_size, num_hidden_layers and intermediate_size";
    check_weights(config, sizes)
}

/// `c2p|p2c`, or a list of such.
fn position_scores(keys: Keys<'_>) -> Result<Vec<PositionScore>, String> {
    const KEY: &str = "pos_att_type";
    let Some(value) = keys.given(KEY) else {
        return Ok(Vec::new());
    };
    let wrong = || {
        let right = "supported are \"c2p\" and \"p2c\", each once, in a list or with | between";
        refused(KEY, value, right)
    };
    let names: Option<Vec<String>> = match value {
        Value::String(names) => {
            let names = names.split('|').map(|name| name.trim().to_lowercase());
            Some(names.filter(|name| !name.is_empty()).collect())
        }
        Value::Array(names) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    };
    let mut scores = Vec::new();
    for name in names.ok_or_else(wrong)? {
        let score = match name.as_str() {
            "c2p" => PositionScore::ContentToPosition,
            "p2c" => PositionScore::PositionToContent,
            _ => return Err(wrong()),
        };
        if scores.contains(&score) {
            return Err(wrong());
        }
        scores.push(score);
    }
    Ok(scores)
}

/// `none`, or `layer_norm`.
fn norm_of_positions(keys: Keys<'_>) -> Result<bool, String> {
    const KEY: &str = "norm_rel_ebd";
    match keys.text(KEY)?.map(|name| name.trim().to_lowercase()) {
        None => Ok(false),
        Some(name) if name == "none" => Ok(false),
        Some(name) if name == "layer_norm" => Ok(true),
        Some(name) => Err(refused(
            KEY,
            &name.into(),
            "supported are \"none\" and \"layer_norm\"",
        )),
    }
}

/// The convolution beside the first layer, if there is one.
fn convolution(keys: Keys<'_>, width: i64) -> Result<Option<ConvSpec>, String> {
    let Some(kernel) = size_or_none(keys, "conv_kernel_size")? else {
        return Ok(None);
    };
    let groups = keys.size("conv_groups", 1, width)?;
    if kernel % 2 == 0 {
        return Err(format!(
            "conv_kernel_size is {kernel}; it must be odd, or texts would change their length"
        ));
    }
    check_heads(("hidden_size", width), ("conv_groups", groups))?;
    Ok(Some(ConvSpec {
        kernel,
        groups,
        activation: activation(keys, "conv_act", Activation::Tanh)?,
    }))
}

impl EncoderArchitecture for DebertaConfig {
    fn model_type(&self) -> ModelType {
        match self.version {
            DebertaVersion::One => DEBERTA,
            DebertaVersion::Two => DEBERTA_V2,
        }
    }

    fn facts(&self) -> EncoderFacts<'_> {
        let named = self.tokenizer_class.as_deref();
        EncoderFacts {
            layers: self.num_hidden_layers,
            width: self.hidden_size,
            initial_spread: self.initializer_range,
            vocabulary: self.vocab_size,
            token_types: Some(self.type_vocab_size).filter(|types| *types > 0),
            padding: self.pad_token_id,
            // Without absolute positions too: it is what the model was trained for.
            max_tokens: self.max_position_embeddings,
            tokenizer_class: named.unwrap_or(match self.version {
                DebertaVersion::One => "DebertaTokenizer",
                DebertaVersion::Two => "DebertaV2Tokenizer",
            }),
        }
    }

    /// Some checkpoints hold absolute positions that the model does not embed.
    fn checkpoint_names(&self) -> CheckpointNames {
        CheckpointNames {
            prefix: "deberta",
            inside: &["embeddings.", "encoder."],
            unused: match self.position_biased_input {
                true => &[],
                false => &["embeddings.position_embeddings."],
            },
            beside: &["pooler.", "classifier."],
        }
    }

    fn adaptable(&self) -> Vec<LinearLayer> {
        self.adaptable_layers()
    }

    fn names_of_layers(&self) -> &'static [&'static str] {
        match self.version {
            DebertaVersion::One => &[
                "in_proj",
                "pos_proj",
                "pos_q_proj",
                "attention.output.dense",
                "intermediate.dense",
                "output.dense",
            ],
            DebertaVersion::Two => &[
                "query_proj",
                "key_proj",
                "value_proj",
                "attention.output.dense",
                "intermediate.dense",
                "output.dense",
            ],
        }
    }

    fn targets(&self) -> &'static [&'static str] {
        match self.version {
            DebertaVersion::One => &["in_proj"],
            DebertaVersion::Two => &["query_proj", "value_proj"],
        }
    }

    fn attention_inputs(&self) -> Option<[&'static str; 3]> {
        match self.version {
            DebertaVersion::One => None,
            DebertaVersion::Two => Some(["query_proj", "key_proj", "value_proj"]),
        }
    }

    fn below_head(&self) -> Vec<TensorSpec> {
        self.tensors()
    }

    fn head_spec(&self) -> HeadSpec {
        self.head()
    }

    fn set_dropout(&mut self, p: f64) {
        self.hidden_dropout_prob = p;
        self.attention_probs_dropout_prob = p;
        self.pooler_dropout = p;
        self.cls_dropout = Some(p);
    }

    /// Each kind of scores by position is twice as large before its rows are picked.
    fn bytes_in_training(&self, tokens: u64) -> u64 {
        let sizes = [
            self.num_hidden_layers,
            self.hidden_size,
            self.num_attention_heads,
        ];
        let kinds = self.pos_att_type.len() as u64;
        bytes_of_layers(sizes, tokens, 5 + 6 * kinds)
    }

    fn encoder(&self, root: &View<'_>) -> Result<Box<dyn Encode>, ModelError> {
        Ok(Box::new(Encoder::new(self.body(root)?)))
    }
}
