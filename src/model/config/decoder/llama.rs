//! Llama's `config.json`, with the defaults of `LlamaConfig` in transformers 4.46.2; positions as
//! transformers 5 writes them too (`rope_parameters`).

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::architecture::{Architecture, Model};
use crate::model::config::decoder::{activation, end_tokens, flag, token};
use crate::model::config::keys::{FROM_ZERO, Keys, check_weights, refused};
use crate::model::config::model_type::{self, ModelType};
use crate::model::decoder::llama::LlamaConfig;
use crate::model::decoder::rope::{Rope, RopeScaling, Yarn};
use crate::model::heads::language_model::LanguageModel;
use crate::model::linear_layer::LinearLayer;
use crate::model::objective::Objective;
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// The names that files have for it.
pub(crate) const LLAMA: ModelType = ModelType {
    name: "llama",
    title: "Llama",
    class_stem: "Llama",
    tensor_part: "llama",
};

impl LlamaConfig {
    /// As [`config::read`](crate::model::config::read), for a Llama.
    ///
    /// # Errors
    /// Likewise; and when the model is none.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        model_type::read(path, &[LLAMA], |keys, _| parse(keys))
    }
}

/// The configuration that the keys give.
pub(crate) fn parse(keys: Keys<'_>) -> Result<LlamaConfig, String> {
    keys.refuse_if_set("quantization_config", "weights in integers")?;
    let hidden_size = keys.size("hidden_size", 4096, 1_000_000)?;
    let heads = keys.size("num_attention_heads", 32, 1_000_000)?;
    let key_heads = match keys.given("num_key_value_heads") {
        None => heads,
        Some(_) => keys.size("num_key_value_heads", 0, 1_000_000)?,
    };
    let head_dim = match keys.given("head_dim") {
        None if hidden_size % heads != 0 => {
            return Err(format!(
                "hidden_size {hidden_size} is not a multiple of num_attention_heads {heads}, and \
                 there is no head_dim"
            ));
        }
        None => hidden_size / heads,
        Some(_) => keys.size("head_dim", 0, 1_000_000)?,
    };
    if heads % key_heads != 0 {
        return Err(format!(
            "num_attention_heads {heads} is not a multiple of num_key_value_heads {key_heads}"
        ));
    }
    if head_dim % 2 != 0 {
        return Err(format!(
            "head_dim is {head_dim}; it must be even, for positions turn pairs"
        ));
    }
    let positions = keys.size("max_position_embeddings", 2048, 100_000_000)?;
    let vocab_size = keys.size("vocab_size", 32_000, 100_000_000)?;
    let dropout = |key| keys.number(key, 0.0, &(0.0..1.0), "from 0 to less than 1");
    let config = LlamaConfig {
        vocab_size,
        hidden_size,
        num_hidden_layers: keys.size("num_hidden_layers", 32, 10_000)?,
        num_attention_heads: heads,
        num_key_value_heads: key_heads,
        head_dim,
        intermediate_size: keys.size("intermediate_size", 11_008, 10_000_000)?,
        hidden_act: activation(keys, "hidden_act", Activation::Silu)?,
        rms_norm_eps: keys.number("rms_norm_eps", 1e-6, &FROM_ZERO, "from 0")?,
        max_position_embeddings: positions,
        rope: rope(keys, head_dim, positions)?,
        tie_word_embeddings: flag(keys, "tie_word_embeddings", false)?,
        attention_bias: flag(keys, "attention_bias", false)?,
        mlp_bias: flag(keys, "mlp_bias", false)?,
        attention_dropout: dropout("attention_dropout")?,
        initializer_range: keys.number("initializer_range", 0.02, &FROM_ZERO, "from 0")?,
        pad_token_id: token(keys, "pad_token_id", vocab_size)?,
        eos_token_id: end_tokens(keys, 2, vocab_size)?,
    };
    let sizes = "vocab_size, hidden_size, num_hidden_layers and intermediate_size";
    check_weights(&config, sizes)?;
    Ok(config)
}

/// How positions turn queries and keys: `rope_theta` and `rope_scaling`, or both in
/// `rope_parameters`.
fn rope(keys: Keys<'_>, head_dim: i64, positions: i64) -> Result<Rope, String> {
    const ABOVE_ZERO: std::ops::Range<f64> = f64::MIN_POSITIVE..f64::INFINITY;
    let (key, table) = match (keys.given("rope_parameters"), keys.given("rope_scaling")) {
        (Some(table), _) => ("rope_parameters", Some(table)),
        (None, table) => ("rope_scaling", table),
    };
    let empty = Map::new();
    let table = match table {
        None => &empty,
        Some(Value::Object(table)) => table,
        Some(other) => return Err(refused(key, other, "it must be an object")),
    };
    let inside = Keys(table);
    let own = |error: String| format!("{key}: {error}");
    let theta = match inside.given("rope_theta") {
        Some(_) => inside
            .number("rope_theta", 1e4, &ABOVE_ZERO, "above 0")
            .map_err(own)?,
        None => keys.number("rope_theta", 1e4, &ABOVE_ZERO, "above 0")?,
    };
    let scaling = scaling(inside, positions).map_err(own)?;
    Ok(Rope {
        theta,
        head_dim,
        scaling,
    })
}

fn scaling(keys: Keys<'_>, positions: i64) -> Result<RopeScaling, String> {
    const FROM_ONE: std::ops::Range<f64> = 1.0..f64::INFINITY;
    const ABOVE_ZERO: std::ops::Range<f64> = f64::MIN_POSITIVE..f64::INFINITY;
    let kind = keys.text("rope_type")?;
    let kind = kind.map_or_else(|| keys.text("type"), |kind| Ok(Some(kind)))?;
    let needed = |key: &str, range: &std::ops::Range<f64>, right: &str| {
        if keys.given(key).is_none() {
            return Err(format!("it lacks {key}, a number {right}"));
        }
        keys.number(key, 0.0, range, right)
    };
    let factor = || needed("factor", &FROM_ONE, "from 1");
    let original = || match keys.given("original_max_position_embeddings") {
        None => Ok(positions),
        Some(_) => keys.size("original_max_position_embeddings", 0, 100_000_000),
    };
    Ok(match kind.as_deref() {
        None | Some("default") => RopeScaling::None,
        Some("linear") => RopeScaling::Linear { factor: factor()? },
        Some("dynamic") => RopeScaling::Dynamic {
            factor: factor()?,
            original: positions,
        },
        Some("llama3") => RopeScaling::Llama3 {
            factor: factor()?,
            low: needed("low_freq_factor", &ABOVE_ZERO, "above 0")?,
            high: needed("high_freq_factor", &ABOVE_ZERO, "above 0")?,
            original: original()?,
        },
        Some("yarn") => {
            let factor = factor()?;
            let optional = |key: &str| match keys.given(key) {
                None => Ok(None),
                Some(_) => keys.number(key, 0.0, &ABOVE_ZERO, "above 0").map(Some),
            };
            let by_magnitudes = match (optional("mscale")?, optional("mscale_all_dim")?) {
                (Some(one), Some(all)) => {
                    Yarn::magnitude(factor, one) / Yarn::magnitude(factor, all)
                }
                _ => Yarn::magnitude(factor, 1.0),
            };
            RopeScaling::Yarn(Yarn {
                factor,
                original: original()?,
                beta_fast: optional("beta_fast")?.unwrap_or(32.0),
                beta_slow: optional("beta_slow")?.unwrap_or(1.0),
                attention_factor: optional("attention_factor")?.unwrap_or(by_magnitudes),
                truncate: match keys.given("truncate") {
                    Some(Value::Bool(truncate)) => *truncate,
                    _ => true,
                },
            })
        }
        Some(other) => {
            return Err(format!(
                "rope_type is {other:?}, which is not supported; supported are default, linear, \
                 dynamic, yarn and llama3"
            ));
        }
    })
}

impl Architecture for LlamaConfig {
    fn name(&self) -> &'static str {
        LLAMA.name
    }

    fn summary(&self) -> String {
        let (layers, width) = (self.num_hidden_layers, self.hidden_size);
        format!("llama, {layers} layers of {width}")
    }

    fn linear_layers(&self) -> Vec<LinearLayer> {
        self.layers()
    }

    fn layer_names(&self) -> &'static [&'static str] {
        &[
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ]
    }

    fn default_targets(&self) -> &'static [&'static str] {
        &["q_proj", "v_proj"]
    }

    fn num_layers(&self) -> i64 {
        self.num_hidden_layers
    }

    fn layers_pattern(&self) -> &'static str {
        "layers"
    }

    fn base_tensors(&self) -> Vec<TensorSpec> {
        self.tensors()
    }

    fn tied_output(&self) -> Option<[&'static str; 2]> {
        self.tie_word_embeddings
            .then_some(["model.embed_tokens.weight", "lm_head.weight"])
    }

    fn untied(&self) -> Option<Arc<dyn Architecture>> {
        Some(Arc::new(Self {
            tie_word_embeddings: false,
            ..self.clone()
        }))
    }

    /// Names may lack the prefix `model.`; frequencies that old files hold as buffers, and the output
    /// of a tied model, are of no use.
    fn tensor_named(&self, name: &str) -> Option<String> {
        if name == "lm_head.weight" {
            return (!self.tie_word_embeddings).then(|| name.to_owned());
        }
        let inner = name.strip_prefix("model.").unwrap_or(name);
        let inside = ["embed_tokens.", "layers.", "norm."];
        let is_buffer = inner.ends_with(".rotary_emb.inv_freq");
        let is_used = inside.iter().any(|start| inner.starts_with(start)) && !is_buffer;
        is_used.then(|| format!("model.{inner}"))
    }

    fn initial_spread(&self) -> f64 {
        self.initializer_range
    }

    fn vocabulary(&self) -> i64 {
        self.vocab_size
    }

    /// Masked by length, so any token serves.
    fn padding(&self) -> i64 {
        let end = self.eos_token_id.first().copied();
        self.pad_token_id.or(end).unwrap_or(0)
    }

    fn end_tokens(&self) -> &[i64] {
        &self.eos_token_id
    }

    fn max_tokens(&self) -> i64 {
        match self.rope.scaling {
            RopeScaling::Dynamic { factor, original } => (factor * original as f64) as i64,
            _ => self.max_position_embeddings,
        }
    }

    fn tokenizer_class(&self) -> &str {
        "LlamaTokenizer"
    }

    fn with_dropout(&self, p: f64) -> Arc<dyn Architecture> {
        Arc::new(Self {
            attention_dropout: p,
            ..self.clone()
        })
    }

    /// Inputs and outputs of each layer's products, norms and gates; attention keeps no scores.
    fn activation_bytes(&self, tokens: u64) -> u64 {
        let (h, wide) = (self.hidden_size as u64, self.intermediate_size as u64);
        let heads = (self.num_attention_heads + 2 * self.num_key_value_heads) as u64;
        let of_token = 8 * h + 3 * heads * self.head_dim as u64 + 4 * wide;
        let layers = self.num_hidden_layers as u64;
        (4 * layers).saturating_mul(tokens).saturating_mul(of_token)
    }

    fn fingerprint(&self) -> String {
        Value::from(self.to_json()).to_string()
    }

    fn to_json(&self) -> Map<String, Value> {
        let json = json!({
            "model_type": LLAMA.name,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.intermediate_size,
            "hidden_act": self.hidden_act.name(),
            "rms_norm_eps": self.rms_norm_eps,
            "max_position_embeddings": self.max_position_embeddings,
            "rope_theta": self.rope.theta,
            "rope_scaling": self.rope.scaling.to_json(),
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
            "attention_dropout": self.attention_dropout,
            "initializer_range": self.initializer_range,
            "pad_token_id": self.pad_token_id,
            "eos_token_id": self.eos_token_id,
        });
        match json {
            Value::Object(keys) => keys,
            _ => Map::new(),
        }
    }

    fn class_name(&self, _: &Objective) -> String {
        "LlamaForCausalLM".to_owned()
    }

    fn check_objective(&self, objective: &Objective) -> Result<(), ModelError> {
        objective.require_next_token(LLAMA.title)
    }

    fn build(&self, root: &View<'_>, objective: &Objective) -> Result<Box<dyn Model>, ModelError> {
        self.check_objective(objective)?;
        let shape = [self.vocab_size, self.hidden_size];
        let output = (!self.tie_word_embeddings).then(|| root.pp("lm_head").get("weight", &shape));
        let decoder = self.decoder(root)?;
        Ok(Box::new(LanguageModel::new(decoder, output.transpose()?)))
    }
}
