//! `summary.json`: how a run ended and what came out.

use regatta_actors::protocol::outcome::EndReason;
use serde::{Deserialize, Serialize};

use crate::config::plan::Plan;
use crate::runs::history::totals::RunTotals;

/// The identity of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The run's name.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// The GLUE task.
    pub task: String,
    /// The pretrained model.
    pub model: String,
    /// The adapter.
    pub adapter: String,
    /// The aggregation method.
    pub method: String,
    /// The seed.
    pub seed: u64,
}

impl RunInfo {
    /// The identity of a plan's run, with this program.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            name: plan.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            task: plan.data.task.to_string(),
            model: plan.model.source.to_string(),
            adapter: plan.adapter.kind.title().to_owned(),
            method: plan.aggregation.method.to_string(),
            seed: plan.seed,
        }
    }
}

/// A summary of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The identity of the run.
    #[serde(flatten)]
    pub identity: RunInfo,
    /// Rounds planned.
    pub rounds_planned: u32,
    /// The reason for the end; `None` after an error.
    pub ending: Option<EndReason>,
    /// The error that ended it.
    pub error: Option<String>,
    /// The totals of the rounds.
    #[serde(flatten)]
    pub totals: RunTotals,
    /// Wall seconds from start to end.
    pub seconds: f64,
}

impl Summary {
    /// A summary of a run that has just ended.
    #[must_use]
    pub fn new(
        plan: &Plan,
        totals: RunTotals,
        ending: Option<EndReason>,
        error: Option<String>,
        seconds: f64,
    ) -> Self {
        Self {
            identity: RunInfo::of(plan),
            rounds_planned: plan.rounds,
            ending,
            error,
            totals,
            seconds,
        }
    }
}
