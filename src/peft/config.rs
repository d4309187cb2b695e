//! PEFT's `adapter_config.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use crate::adapter::Targets;
use crate::config::{AdapterKind, AdapterPlan, Bias};

/// The head's names: PEFT saves both with every sequence classifier.
const HEAD: [&str; 2] = ["classifier", "score"];

/// The kinds of adapter that Regatta knows, as `adapter_config.json` spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PeftType {
    /// LoRA and rsLoRA.
    Lora,
    /// VeRA.
    Vera,
    /// SORF-VeRA, which PEFT does not know: found in run folders only.
    #[serde(rename = "SORF_VERA")]
    SorfVera,
}

impl PeftType {
    /// The kind as the rest of the program has it.
    #[must_use]
    pub fn kind(self) -> AdapterKind {
        match self {
            Self::Lora => AdapterKind::Lora,
            Self::Vera => AdapterKind::Vera,
            Self::SorfVera => AdapterKind::SorfVera,
        }
    }
}

impl From<AdapterKind> for PeftType {
    fn from(kind: AdapterKind) -> Self {
        match kind {
            AdapterKind::Lora => Self::Lora,
            AdapterKind::Vera => Self::Vera,
            AdapterKind::SorfVera => Self::SorfVera,
        }
    }
}

/// A list that PEFT may write as one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
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

/// The keys that matter here, with PEFT's defaults; others are kept out of the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeftConfig {
    /// The kind of adapter.
    pub peft_type: PeftType,
    /// Rank.
    pub r: i64,
    /// Module names, or ends of them.
    pub target_modules: OneOrMany<String>,
    /// Biases that were trained: `none`, `all` or `lora_only`/`vera_only`.
    #[serde(default = "none")]
    pub bias: String,
    /// Modules trained in full.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// Layers by number.
    #[serde(default)]
    pub layers_to_transform: Option<OneOrMany<i64>>,
    /// The name before the layers' numbers.
    #[serde(default)]
    pub layers_pattern: Option<OneOrMany<String>>,
    /// Weights stored transposed; never so in an encoder's linear layers.
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
    /// Whether it is DoRA, which Regatta does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_dora: Option<bool>,
    /// How LoRA started; some ways change base weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_lora_weights: Option<serde_json::Value>,
    /// VeRA's first d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d_initial: Option<f64>,
    /// VeRA's dropout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vera_dropout: Option<f64>,
    /// Key of VeRA's projection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection_prng_key: Option<u64>,
    /// Whether VeRA's projection lies beside its vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_projection: Option<bool>,
    /// Seed of SORF-VeRA's orthogonal matrices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorf_seed: Option<u64>,
    /// Ranks that differ by module, which Regatta does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank_pattern: Option<serde_json::Map<String, serde_json::Value>>,
    /// Alphas that differ by module, which Regatta does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha_pattern: Option<serde_json::Map<String, serde_json::Value>>,
    /// What the model is for; `SEQ_CLS` here.
    #[serde(default)]
    pub task_type: Option<String>,
    /// Whether PEFT loads it frozen.
    #[serde(default)]
    pub inference_mode: bool,
    /// The model it was trained on.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
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

/// What can be wrong with a PEFT folder.
#[derive(Debug, thiserror::Error)]
pub enum PeftError {
    /// A file is missing or unreadable.
    #[error("{}: {source}; a PEFT folder has adapter_config.json and adapter_model.safetensors", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file says something that Regatta cannot take.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What, and what would be right.
        reason: String,
    },
    /// The tensor file is unreadable.
    #[error(transparent)]
    Tensor(#[from] crate::tensors::TensorError),
}

impl PeftConfig {
    /// What PEFT has to know of an adapter on this base model, its scaling folded into its
    /// tensors where PEFT has no word for it.
    #[must_use]
    pub fn of(adapter: &AdapterPlan, base_model: &str) -> Self {
        let lora = adapter.kind == AdapterKind::Lora;
        let bias = match adapter.bias {
            Bias::None => "none",
            Bias::All => "all",
            Bias::LoraOnly if lora => "lora_only",
            Bias::LoraOnly => "vera_only",
        };
        let layers = adapter.layers_to_transform.as_ref();
        Self {
            peft_type: adapter.kind.into(),
            r: i64::from(adapter.r),
            target_modules: OneOrMany::Many(adapter.target_modules.clone()),
            bias: bias.to_owned(),
            modules_to_save: Some(with_head(&adapter.modules_to_save)),
            layers_to_transform: layers
                .map(|numbers| OneOrMany::Many(numbers.iter().map(|n| i64::from(*n)).collect())),
            // Newer versions of PEFT refuse a pattern without numbers.
            layers_pattern: layers
                .and(adapter.layers_pattern.clone())
                .map(OneOrMany::One),
            fan_in_fan_out: false,
            lora_alpha: lora.then_some(adapter.lora_alpha),
            lora_dropout: lora.then_some(adapter.dropout),
            use_rslora: lora.then_some(adapter.rank_stabilised),
            use_dora: None,
            init_lora_weights: None,
            d_initial: (!lora).then_some(adapter.d_initial),
            vera_dropout: (!lora).then_some(adapter.dropout),
            projection_prng_key: (!lora).then_some(adapter.projection_prng_key),
            save_projection: (!lora).then_some(adapter.save_projection),
            sorf_seed: (adapter.kind == AdapterKind::SorfVera).then_some(adapter.sorf_seed),
            rank_pattern: None,
            alpha_pattern: None,
            task_type: Some("SEQ_CLS".to_owned()),
            inference_mode: true,
            base_model_name_or_path: Some(base_model.to_owned()),
        }
    }

    /// The same for the LoRA of rank r and scaling 1 that another adapter comes to.
    #[must_use]
    pub fn as_lora(&self) -> Self {
        Self {
            peft_type: PeftType::Lora,
            bias: self.bias.replace("vera_only", "lora_only"),
            lora_alpha: Some(self.r as f64),
            lora_dropout: self.vera_dropout,
            use_rslora: Some(false),
            d_initial: None,
            vera_dropout: None,
            projection_prng_key: None,
            save_projection: None,
            sorf_seed: None,
            ..self.clone()
        }
    }

    /// Reads and checks `adapter_config.json`.
    ///
    /// # Errors
    /// [`PeftError`], naming the file.
    pub fn read(path: &Path) -> Result<Self, PeftError> {
        let text = std::fs::read_to_string(path).map_err(|source| PeftError::Io {
            path: path.into(),
            source,
        })?;
        let wrong = |reason: String| PeftError::Format {
            path: path.into(),
            reason,
        };
        let config: Self = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        config.check().map_err(wrong)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.use_dora == Some(true) {
            return Err("use_dora is true; Regatta reads plain LoRA and VeRA".to_owned());
        }
        let start = self.init_lora_weights.as_ref().and_then(|v| v.as_str());
        if let Some(start) = start.filter(|s| !["gaussian", "eva", "orthogonal"].contains(s)) {
            return Err(format!(
                "init_lora_weights is {start:?}, which changes base weights that the folder does \
                 not hold; convert the adapter to plain LoRA when saving it"
            ));
        }
        let patterns = [&self.rank_pattern, &self.alpha_pattern];
        if patterns.into_iter().flatten().any(|p| !p.is_empty()) {
            return Err(
                "rank_pattern and alpha_pattern must be empty: one rank for all modules".to_owned(),
            );
        }
        if self.r < 1 || u32::try_from(self.r).is_err() {
            return Err(format!("r is {}; a rank is at least 1", self.r));
        }
        Ok(())
    }

    /// The choice of layers.
    #[must_use]
    pub fn targets(&self) -> Targets {
        Targets {
            modules: self.target_modules.to_vec(),
            layers: self.layers_to_transform.as_ref().map(OneOrMany::to_vec),
            pattern: self
                .layers_pattern
                .as_ref()
                .and_then(|p| p.to_vec().into_iter().next()),
        }
    }

    /// Modules saved in full beside the classification head.
    #[must_use]
    pub fn further_modules(&self) -> Vec<String> {
        let saved = self.modules_to_save.iter().flatten();
        saved
            .filter(|name| !HEAD.contains(&name.as_str()))
            .cloned()
            .collect()
    }

    /// Adds a module that is saved in full.
    pub fn save_module(&mut self, name: &str) {
        let saved = self.modules_to_save.get_or_insert_default();
        if !saved.iter().any(|known| known == name) {
            saved.push(name.to_owned());
        }
    }

    /// Makes a plan's adapter the one that is described here. What the description leaves open,
    /// what is trained beside it among others, stays as it was.
    pub fn apply_to(&self, adapter: &mut AdapterPlan) {
        adapter.kind = self.peft_type.kind();
        adapter.r = u32::try_from(self.r).unwrap_or(u32::MAX);
        adapter.lora_alpha = self.lora_alpha.unwrap_or(adapter.lora_alpha);
        adapter.rank_stabilised = self.use_rslora.unwrap_or(false);
        adapter.projection_prng_key = self
            .projection_prng_key
            .unwrap_or(adapter.projection_prng_key);
        adapter.sorf_seed = self.sorf_seed.unwrap_or(adapter.sorf_seed);
        let targets = self.targets();
        adapter.target_modules = targets.modules;
        adapter.layers_to_transform = targets
            .layers
            .map(|numbers| numbers.iter().map(|n| *n as u32).collect());
        adapter.layers_pattern = targets.pattern;
    }
}

fn with_head(further: &[String]) -> Vec<String> {
    let further = further.iter().filter(|m| !HEAD.contains(&m.as_str()));
    let head = HEAD.map(str::to_owned).into_iter();
    head.chain(further.cloned()).collect()
}
