//! What an adapter is: its kind, its rank and scaling, and the layers that get it.

use std::collections::BTreeMap;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::adapter::target_modules::TargetModules;
use crate::model::architecture::Architecture;

/// The parametrisation of the adapted layers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum AdapterKind {
    /// LoRA: ΔW = B A.
    Lora,
    /// VeRA: ΔW = diag(b) B diag(d) A, with A and B frozen and shared by all layers.
    Vera,
    /// SORF-VeRA: ΔW = S Γ(b) B Λ(m, θ) A.
    SorfVera,
}

/// The biases that are trained in addition to the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Bias {
    /// None.
    None,
    /// Every bias of the model.
    All,
    /// Those of the adapted layers.
    LoraOnly,
}

/// The rank and alpha of a layer's LoRA.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRank {
    /// The rank, at least 1.
    pub r: u32,
    /// Alpha of the scaling.
    pub alpha: f64,
}

/// The adapter. A field that has no meaning for `kind` holds its default.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterPlan {
    /// The parametrisation of ΔW.
    pub kind: AdapterKind,
    /// The rank, at least 1; of the server's adapter where the clients' differ.
    pub r: u32,
    /// Each client's rank.
    pub ranks: Vec<u32>,
    /// Layers whose rank or alpha is another, by module; only a LoRA folder that a run starts from
    /// has any.
    pub layer_ranks: BTreeMap<String, LayerRank>,
    /// Alpha of the scaling.
    pub lora_alpha: f64,
    /// Dropout on the adapter's input.
    pub dropout: f64,
    /// Scale by α/√r (`rslora`, `rsvera`).
    pub rank_stabilised: bool,
    /// First value of VeRA's d and SORF-VeRA's m.
    pub d_initial: f64,
    /// Seed of the projections that VeRA and SORF-VeRA share over layers.
    pub projection_prng_key: u64,
    /// Whether the projections are saved with the adapter.
    pub save_projection: bool,
    /// Seed of SORF-VeRA's orthogonal matrices.
    pub sorf_seed: u64,
    /// Whether it starts at zero; else at random.
    pub init_weights: bool,
    /// The adapted layers; `None`, until the model is known: those that PEFT adapts in such a
    /// model.
    pub target_modules: Option<TargetModules>,
    /// Transformer layers that are adapted; `None`: all.
    pub layers_to_transform: Option<Vec<u32>>,
    /// Name before the number in the layers' names; `None`: the model's own.
    pub layers_pattern: Option<String>,
    /// Whether the linear layers store their weights as (in, out); the model's, once it is known.
    pub fan_in_fan_out: bool,
    /// Biases that are trained.
    pub bias: Bias,
    /// Modules trained in full in addition to the classification head, if there is one.
    pub modules_to_save: Vec<String>,
}

impl AdapterPlan {
    /// An adapter of rank r on query and value, without dropout: what measurements train.
    #[must_use]
    pub fn plain(kind: AdapterKind, r: u32) -> Self {
        Self {
            kind,
            r,
            ranks: Vec::new(),
            layer_ranks: BTreeMap::new(),
            lora_alpha: 8.0,
            dropout: 0.0,
            rank_stabilised: false,
            d_initial: 0.1,
            projection_prng_key: 0,
            save_projection: true,
            sorf_seed: 0,
            init_weights: true,
            target_modules: Some(TargetModules::names(&["query", "value"])),
            layers_to_transform: None,
            layers_pattern: None,
            fan_in_fan_out: false,
            bias: Bias::None,
            modules_to_save: Vec::new(),
        }
    }

    /// Decides what the model decides.
    pub(crate) fn fill_in(&mut self, model: &dyn Architecture) {
        let own = || TargetModules::names(model.default_targets());
        self.target_modules.get_or_insert_with(own);
        self.fan_in_fan_out = model.stores_in_out();
    }
}
