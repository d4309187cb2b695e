//! How the server aggregates, and what each update weighs.

use std::fmt;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the server aggregates.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum MethodName {
    /// FedIT: the weighted mean of every tensor.
    Normal,
    /// FFA: one factor frozen, the other averaged.
    Ffa,
    /// FedEx-LoRA: means, and the residual merged into the base weights.
    Ours,
    /// FedEx-VeRA: means, and the residual merged into the base weights.
    OursVera,
    /// SORF-VeRA with the refit as published, which loses most of the update.
    SorfVera,
    /// SORF-VeRA with what the refit misses merged into the base weights.
    SorfVeraExact,
    /// FedSVD: clients train B alone; the server refactors the product by SVD.
    Fedsvd,
    /// FLoRA: the stacked updates are merged into the base weights each round.
    Flora,
    /// RoLoRA: A and B trained and averaged in alternate rounds.
    Rolora,
}

impl MethodName {
    /// The name as `--agg_type` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Ffa => "ffa",
            Self::Ours => "ours",
            Self::OursVera => "ours_vera",
            Self::SorfVera => "sorf_vera",
            Self::SorfVeraExact => "sorf_vera_exact",
            Self::Fedsvd => "fedsvd",
            Self::Flora => "flora",
            Self::Rolora => "rolora",
        }
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What an update weighs in the aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Weighting {
    /// The same for each client.
    Uniform,
    /// In proportion to the examples it was trained on.
    Examples,
}

/// What the server does with the updates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AggregationPlan {
    /// How updates are aggregated.
    pub method: MethodName,
    /// Scale the residual by the learning rate rather than by the adapter's scaling.
    pub vera_scale: bool,
    /// What each weighs.
    pub weighting: Weighting,
    /// Updates of a larger norm are refused; see [`crate::aggregate::sound::update_norm`].
    pub max_update_norm: Option<f64>,
}
