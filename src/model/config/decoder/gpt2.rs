//! GPT-2's `config.json`, with the defaults of `GPT2Config` in transformers 4.46.2.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::ModelError;
use crate::model::activation::Activation;
use crate::model::architecture::{Architecture, Model};
use crate::model::config::decoder::{activation, end_tokens, flag};
use crate::model::config::keys::{FROM_ZERO, Keys, check_weights, object_of};
use crate::model::config::model_type::{self, ModelType};
use crate::model::decoder::gpt2::Gpt2Config;
use crate::model::heads::language_model::LanguageModel;
use crate::model::heads::output_table::OutputTable;
use crate::model::linear_layer::LinearLayer;
use crate::model::objective::Objective;
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// The names that files have for it.
pub(crate) const GPT2: ModelType = ModelType {
    name: "gpt2",
    title: "GPT-2",
    class_stem: "GPT2",
    tensor_part: "gpt2",
};

/// Keys that make another model of it.
const NOT_COMPUTED: [(&str, &str); 4] = [
    ("add_cross_attention", "attention to another model"),
    ("scale_attn_by_inverse_layer_idx", "scores scaled by layer"),
    ("pruned_heads", "heads that were taken out"),
    ("quantization_config", "weights in integers"),
];

impl Gpt2Config {
    /// As [`config::read`](crate::model::config::read), for a GPT-2.
    ///
    /// # Errors
    /// Likewise; and if the model is not a GPT-2.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        model_type::read(path, &[GPT2], |keys, _| parse(keys))
    }
}

/// The configuration that the keys give.
pub(crate) fn parse(keys: Keys<'_>) -> Result<Gpt2Config, String> {
    for (key, meaning) in NOT_COMPUTED {
        keys.refuse_if_set(key, meaning)?;
    }
    if !flag(keys, "scale_attn_weights", true)? {
        return Err(
            "scale_attn_weights is false, which is not supported; it must be true".to_owned(),
        );
    }
    let dropout = |key| keys.number(key, 0.1, &(0.0..1.0), "from 0 to less than 1");
    let n_embd = keys.size("n_embd", 768, 1_000_000)?;
    let vocab_size = keys.size("vocab_size", 50_257, 100_000_000)?;
    let config = Gpt2Config {
        vocab_size,
        n_positions: keys.size("n_positions", 1024, 100_000_000)?,
        n_embd,
        n_layer: keys.size("n_layer", 12, 10_000)?,
        n_head: keys.size("n_head", 12, 1_000_000)?,
        n_inner: match keys.given("n_inner") {
            None => 4 * n_embd,
            Some(_) => keys.size("n_inner", 0, 10_000_000)?,
        },
        activation_function: activation(keys, "activation_function", Activation::GeluNew)?,
        layer_norm_epsilon: keys.number("layer_norm_epsilon", 1e-5, &FROM_ZERO, "from 0")?,
        embd_pdrop: dropout("embd_pdrop")?,
        attn_pdrop: dropout("attn_pdrop")?,
        resid_pdrop: dropout("resid_pdrop")?,
        initializer_range: keys.number("initializer_range", 0.02, &FROM_ZERO, "from 0")?,
        tie_word_embeddings: flag(keys, "tie_word_embeddings", true)?,
        eos_token_id: end_tokens(keys, Some(50_256), vocab_size)?,
    };
    let (hidden, heads) = (config.n_embd, config.n_head);
    if hidden % heads != 0 {
        return Err(format!(
            "n_embd {hidden} is not a multiple of n_head {heads}"
        ));
    }
    check_weights(
        &config,
        "vocab_size, n_embd, n_layer, n_inner and n_positions",
    )?;
    Ok(config)
}

impl Gpt2Config {
    fn output_name(&self) -> &'static str {
        match self.tie_word_embeddings {
            true => "transformer.wte.weight",
            false => "lm_head.weight",
        }
    }
}

impl Architecture for Gpt2Config {
    fn name(&self) -> &'static str {
        GPT2.name
    }

    fn summary(&self) -> String {
        format!("gpt2, {} layers of {}", self.n_layer, self.n_embd)
    }

    fn linear_layers(&self) -> Vec<LinearLayer> {
        self.layers()
    }

    fn layer_names(&self) -> &'static [&'static str] {
        &["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
    }

    fn default_targets(&self) -> &'static [&'static str] {
        &["c_attn"]
    }

    fn num_layers(&self) -> i64 {
        self.n_layer
    }

    fn layers_pattern(&self) -> &'static str {
        "h"
    }

    fn base_tensors(&self) -> Vec<TensorSpec> {
        self.tensors()
    }

    fn output_table(&self) -> Option<&'static str> {
        Some(self.output_name())
    }

    fn tied_output(&self) -> Option<[&'static str; 2]> {
        self.tie_word_embeddings
            .then_some(["transformer.wte.weight", "lm_head.weight"])
    }

    fn untied(&self) -> Option<Arc<dyn Architecture>> {
        Some(Arc::new(Self {
            tie_word_embeddings: false,
            ..self.clone()
        }))
    }

    /// Names may lack the prefix `transformer.`; masks that old files hold as buffers, and the
    /// output of a tied model, are of no use.
    fn tensor_named(&self, name: &str) -> Option<String> {
        if name == "lm_head.weight" {
            return (!self.tie_word_embeddings).then(|| name.to_owned());
        }
        let inner = name.strip_prefix("transformer.").unwrap_or(name);
        let inside = ["wte.", "wpe.", "h.", "ln_f."];
        let is_mask = inner.ends_with(".attn.bias") || inner.ends_with(".attn.masked_bias");
        let is_used = inside.iter().any(|start| inner.starts_with(start)) && !is_mask;
        is_used.then(|| format!("transformer.{inner}"))
    }

    fn initial_spread(&self) -> f64 {
        self.initializer_range
    }

    fn vocabulary(&self) -> i64 {
        self.vocab_size
    }

    /// Masked by length, so any token serves.
    fn padding(&self) -> i64 {
        self.eos_token_id.first().copied().unwrap_or(0)
    }

    fn end_tokens(&self) -> &[i64] {
        &self.eos_token_id
    }

    fn max_tokens(&self) -> i64 {
        self.n_positions
    }

    fn tokenizer_class(&self) -> &str {
        "GPT2Tokenizer"
    }

    fn with_dropout(&self, p: f64) -> Arc<dyn Architecture> {
        Arc::new(Self {
            embd_pdrop: p,
            attn_pdrop: p,
            resid_pdrop: p,
            ..self.clone()
        })
    }

    /// As of an encoder with as many layers, heads and as wide a feed-forward.
    fn activation_bytes(&self, tokens: u64) -> u64 {
        let (layers, width) = (self.n_layer as u64, self.n_embd as u64);
        let scores = (self.n_head as u64)
            .saturating_mul(tokens)
            .saturating_mul(5);
        let of_token = width.saturating_mul(34).saturating_add(scores);
        (2 * layers).saturating_mul(tokens).saturating_mul(of_token)
    }

    fn fingerprint(&self) -> String {
        Value::from(self.to_json()).to_string()
    }

    fn to_json(&self) -> Map<String, Value> {
        let mut keys = object_of(json!({
            "model_type": GPT2.name,
            "vocab_size": self.vocab_size,
            "n_positions": self.n_positions,
            "n_embd": self.n_embd,
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_inner": self.n_inner,
            "activation_function": self.activation_function.name(),
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "embd_pdrop": self.embd_pdrop,
            "attn_pdrop": self.attn_pdrop,
            "resid_pdrop": self.resid_pdrop,
            "initializer_range": self.initializer_range,
            "eos_token_id": self.eos_token_id,
        }));
        if !self.tie_word_embeddings {
            keys.insert("tie_word_embeddings".to_owned(), json!(false));
        }
        keys
    }

    fn class_name(&self, _: &Objective) -> String {
        "GPT2LMHeadModel".to_owned()
    }

    fn check_objective(&self, objective: &Objective) -> Result<(), ModelError> {
        objective.require_next_token(GPT2.title)
    }

    fn build(&self, root: &View<'_>, objective: &Objective) -> Result<Box<dyn Model>, ModelError> {
        self.check_objective(objective)?;
        let shape = [self.vocab_size, self.n_embd];
        let output = OutputTable::at(root, self.output_name(), shape)?;
        let decoder = self.decoder(root)?;
        Ok(Box::new(LanguageModel::new(decoder, output, None)))
    }
}
