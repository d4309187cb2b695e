//! Rotary decoders as an [`Architecture`]: what is the same in all families.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::model::ModelError;
use crate::model::architecture::{Architecture, Model};
use crate::model::config::decoder::rotary::RotaryModel;
use crate::model::config::decoder::{gemma2, llama, mistral, qwen2, qwen3};
use crate::model::config::keys::object_of;
use crate::model::config::model_type;
use crate::model::decoder::rope::RopeScaling;
use crate::model::decoder::rotary::config::RotaryConfig;
use crate::model::heads::language_model::LanguageModel;
use crate::model::heads::output_table::OutputTable;
use crate::model::linear_layer::LinearLayer;
use crate::model::objective::Objective;
use crate::model::tensor_spec::TensorSpec;
use crate::model::weights::View;

/// The families that there are.
pub(crate) static ROTARY: [&RotaryModel; 5] = [
    &llama::MODEL,
    &mistral::MODEL,
    &qwen2::MODEL,
    &qwen3::MODEL,
    &gemma2::MODEL,
];

/// The family of that name.
pub(crate) fn rotary_model(name: &str) -> Option<&'static RotaryModel> {
    ROTARY.into_iter().find(|model| model.family.name == name)
}

impl RotaryConfig {
    /// As [`config::read`](crate::model::config::read), for a rotary decoder.
    ///
    /// # Errors
    /// Likewise; and if the model is not a rotary decoder.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let known = ROTARY.map(RotaryModel::model_type);
        model_type::read(path, &known, |keys, found| {
            let model = rotary_model(found.name).ok_or("it is not a rotary decoder")?;
            (model.parse)(keys)
        })
    }
}

/// The keys of `config.json` that all families have.
fn common_keys(config: &RotaryConfig) -> Map<String, Value> {
    let json = json!({
        "model_type": config.family.name,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.intermediate_size,
        "hidden_act": config.hidden_act.name(),
        "rms_norm_eps": config.rms_norm_eps,
        "max_position_embeddings": config.max_position_embeddings,
        "rope_theta": config.rope.theta,
        "rope_scaling": config.rope.scaling.to_json(),
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_dropout": config.attention_dropout,
        "initializer_range": config.initializer_range,
        "pad_token_id": config.pad_token_id,
        "eos_token_id": config.eos_token_id,
    });
    object_of(json)
}

impl RotaryConfig {
    fn output_name(&self) -> &'static str {
        match self.tie_word_embeddings {
            true => "model.embed_tokens.weight",
            false => "lm_head.weight",
        }
    }
}

impl Architecture for RotaryConfig {
    fn name(&self) -> &'static str {
        self.family.name
    }

    fn summary(&self) -> String {
        let (layers, width) = (self.num_hidden_layers, self.hidden_size);
        format!("{}, {layers} layers of {width}", self.family.name)
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

    fn query_key_value(&self) -> Option<[&'static str; 3]> {
        Some(["q_proj", "k_proj", "v_proj"])
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

    fn output_table(&self) -> Option<&'static str> {
        Some(self.output_name())
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
        self.family.tokenizer_class
    }

    fn with_dropout(&self, p: f64) -> Arc<dyn Architecture> {
        Arc::new(Self {
            attention_dropout: p,
            ..self.clone()
        })
    }

    /// Inputs and outputs of each layer's products, norms and gates. Attention keeps nothing of its
    /// scores where a kernel computes it in one pass; elsewhere the capped ones, their probabilities,
    /// and those that are left by dropout.
    fn activation_bytes(&self, tokens: u64) -> u64 {
        let (h, wide) = (self.hidden_size as u64, self.intermediate_size as u64);
        let heads = (self.num_attention_heads + 2 * self.num_key_value_heads) as u64;
        let head_dim = self.head_dim as u64;
        let mut of_token = 8 * h + 3 * heads * head_dim + 4 * wide;
        of_token += 2 * h * (self.family.norms.names().count() as u64 - 2);
        if self.family.query_key_norms {
            of_token += 3 * heads * head_dim;
        }
        let keys = i64::try_from(tokens).unwrap_or(i64::MAX);
        let keeps_scores = |layer: &i64| {
            let scoring = self.scoring(*layer);
            scoring.keeps_scores(keys, self.attention_dropout)
        };
        let layers = 0..self.num_hidden_layers;
        let scoring_layers = layers.filter(keeps_scores).count() as u64;
        let scores = (3 * scoring_layers * self.num_attention_heads as u64).saturating_mul(tokens);
        let of_token = (self.num_hidden_layers as u64 * of_token).saturating_add(scores);
        tokens.saturating_mul(of_token).saturating_mul(4)
    }

    fn fingerprint(&self) -> String {
        Value::from(self.to_json()).to_string()
    }

    fn to_json(&self) -> Map<String, Value> {
        let mut json = common_keys(self);
        if let Some(model) = rotary_model(self.family.name) {
            json.extend((model.own_keys)(self));
        }
        json
    }

    fn class_name(&self, _: &Objective) -> String {
        format!("{}ForCausalLM", self.family.class_stem)
    }

    /// By default transformers takes PyTorch's fused attention, which silently ignores caps.
    fn loading_argument(&self) -> Option<&'static str> {
        let capped = self.attn_logit_softcapping.is_some();
        capped.then_some("attn_implementation=\"eager\"")
    }

    fn check_objective(&self, objective: &Objective) -> Result<(), ModelError> {
        objective.require_next_token(self.family.title)
    }

    fn build(&self, root: &View<'_>, objective: &Objective) -> Result<Box<dyn Model>, ModelError> {
        self.check_objective(objective)?;
        let shape = [self.vocab_size, self.hidden_size];
        let output = OutputTable::at(root, self.output_name(), shape)?;
        let decoder = self.decoder(root)?;
        Ok(Box::new(LanguageModel::new(
            decoder,
            output,
            self.final_logit_softcapping,
        )))
    }
}
