//! PEFT's `adapter_config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::adapter::peft::{keys, peft_type};
use crate::adapter::settings::{AdapterKind, AdapterPlan};
use crate::base::file_error::FileError;
use crate::base::files;

/// A list that PEFT may write as one value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "not a value of the right type, nor a list of such values"
)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    /// All of them.
    pub fn to_vec(&self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

/// The keys that matter here, with PEFT's defaults; `keys` says what becomes of the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeftConfig {
    /// The kind of adapter.
    #[serde(with = "peft_type")]
    pub peft_type: AdapterKind,
    /// Rank.
    pub r: i64,
    /// A list of module names, or ends of them; or one regular expression for whole names, or
    /// `all-linear`. `None`: what PEFT adapts in such a model if nothing is said.
    #[serde(default)]
    pub target_modules: Option<OneOrMany<String>>,
    /// Modules that are not adapted though `target_modules` names them: a list or an expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_modules: Option<OneOrMany<String>>,
    /// Biases that were trained: `none`, `all` or `lora_only`/`vera_only`.
    #[serde(default = "none")]
    pub bias: String,
    /// Modules trained in full.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// Layers by number.
    #[serde(default)]
    pub layers_to_transform: Option<OneOrMany<i64>>,
    /// The names, as regular expressions, that may stand before the layers' numbers.
    #[serde(default)]
    pub layers_pattern: Option<OneOrMany<String>>,
    /// Whether weights are stored transposed. The model knows it, so this is not heeded.
    #[serde(default)]
    pub fan_in_fan_out: bool,
    /// LoRA's α.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "short"
    )]
    pub lora_alpha: Option<f64>,
    /// LoRA's dropout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora_dropout: Option<f64>,
    /// Whether LoRA scales by α/√r.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_rslora: Option<bool>,
    /// Whether it is DoRA, which Regatta does not have: false in what was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_dora: Option<bool>,
    /// How LoRA started; some ways change base weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_lora_weights: Option<Value>,
    /// VeRA's first d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d_initial: Option<f64>,
    /// VeRA's dropout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vera_dropout: Option<f64>,
    /// Key of VeRA's projection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection_prng_key: Option<u64>,
    /// Whether VeRA's projection is saved with its vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_projection: Option<bool>,
    /// Seed of SORF-VeRA's orthogonal matrices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorf_seed: Option<u64>,
    /// Ranks of modules that have another one, by an expression for the ends of their names. PEFT
    /// writes them sorted and takes the first that matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank_pattern: Option<BTreeMap<String, i64>>,
    /// Alphas of modules that have another one, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha_pattern: Option<BTreeMap<String, f64>>,
    /// The model's task: `SEQ_CLS`, or `CAUSAL_LM` of a language model.
    #[serde(default)]
    pub task_type: Option<String>,
    /// Whether PEFT loads it frozen.
    #[serde(default)]
    pub inference_mode: bool,
    /// The model it was trained on.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// The version of PEFT that wrote it; versions before 0.18 do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peft_version: Option<String>,
}

fn none() -> String {
    "none".to_owned()
}

/// Writes 8 rather than 8.0, as PEFT does where it declares an integer.
fn short<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(x) if x.fract() == 0.0 && x.abs() < 1e15 => serializer.serialize_i64(*x as i64),
        Some(x) => serializer.serialize_f64(*x),
        None => serializer.serialize_none(),
    }
}

/// An error in a PEFT folder.
#[derive(Debug, thiserror::Error)]
pub enum PeftError {
    /// One of the folder's files is missing or unreadable.
    #[error("{0}; a PEFT folder has adapter_config.json and adapter_model.safetensors")]
    Incomplete(FileError),
    /// A file says something that Regatta cannot take.
    #[error(transparent)]
    File(#[from] FileError),
}

impl PeftConfig {
    /// Reads and checks `adapter_config.json`.
    ///
    /// # Errors
    /// [`PeftError`], naming the file.
    pub fn read(path: &Path) -> Result<Self, PeftError> {
        let text = files::read_text(path).map_err(PeftError::Incomplete)?;
        let wrong = |reason: String| FileError::content(path, reason);
        let all: Map<String, Value> =
            serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        keys::check(&all).map_err(wrong)?;
        let config: Self = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        config.check().map_err(wrong)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if let Some(start) = self.start_that_changes_the_base() {
            return Err(format!(
                "init_lora_weights is {start}, which changes base weights that the folder does \
                 not hold; convert the adapter to plain LoRA when saving it"
            ));
        }
        if self.r < 1 || u32::try_from(self.r).is_err() {
            let most = u32::MAX;
            return Err(format!("r is {}; a rank is from 1 to {most}", self.r));
        }
        for (pattern, r) in self.rank_pattern.iter().flatten() {
            if *r < 1 || u32::try_from(*r).is_err() {
                return Err(format!(
                    "rank_pattern gives {pattern:?} the rank {r}; give 1 or more"
                ));
            }
        }
        if let Some(alpha) = self.lora_alpha.filter(|alpha| !is_alpha(*alpha)) {
            return Err(format!(
                "lora_alpha is {alpha:?}; Regatta takes a float32 above 0"
            ));
        }
        for (pattern, alpha) in self.alpha_pattern.iter().flatten() {
            if !is_alpha(*alpha) {
                return Err(format!(
                    "alpha_pattern gives {pattern:?} the alpha {alpha:?}; give a float32 above 0"
                ));
            }
        }
        if !["none", "all", "lora_only", "vera_only"].contains(&self.bias.as_str()) {
            let bias = &self.bias;
            return Err(format!(
                "bias is {bias:?}; PEFT knows none, all, lora_only and vera_only"
            ));
        }
        let task = self.task_type.as_deref();
        if let Some(task) = task.filter(|task| !["SEQ_CLS", "CAUSAL_LM"].contains(task)) {
            return Err(format!(
                "task_type is {task:?}; Regatta reads adapters of sequence classifiers, \"SEQ_CLS\", and \
                 of language models, \"CAUSAL_LM\""
            ));
        }
        let expression = matches!(self.target_modules, Some(OneOrMany::One(_)));
        if expression && !self.layer_numbers().is_empty() {
            return Err(
                "layers_to_transform goes with a list of target_modules; an expression names the \
                 layers itself"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The numbers in `layers_to_transform`; none: all layers.
    pub(crate) fn layer_numbers(&self) -> Vec<i64> {
        let numbers = self.layers_to_transform.as_ref();
        numbers.map(OneOrMany::to_vec).unwrap_or_default()
    }

    /// What `init_lora_weights` says if PEFT changes the base when it loads such an adapter.
    fn start_that_changes_the_base(&self) -> Option<&Value> {
        let harmless = ["gaussian", "eva", "orthogonal"];
        self.init_lora_weights.as_ref().filter(|start| match start {
            Value::Null | Value::Bool(_) => false,
            Value::String(start) => !harmless.contains(&start.as_str()),
            _ => true,
        })
    }
}

impl PeftConfig {
    /// Makes a plan's adapter of the kind that is described here. What depends on the model is told
    /// by a [`crate::adapter::peft::fit::Fit`]; what the description leaves open, what is trained
    /// beside the adapter among others, stays as it was.
    pub(crate) fn apply_to(&self, adapter: &mut AdapterPlan) {
        adapter.kind = self.peft_type;
        adapter.rank_stabilised = self.use_rslora.unwrap_or(false);
        adapter.projection_prng_key = self
            .projection_prng_key
            .unwrap_or(adapter.projection_prng_key);
        adapter.sorf_seed = self.sorf_seed.unwrap_or(adapter.sorf_seed);
    }
}

/// Whether a number can be an α: positive, and a float32 as the scaling of a tensor.
fn is_alpha(alpha: f64) -> bool {
    alpha > 0.0 && alpha <= f64::from(f32::MAX)
}
