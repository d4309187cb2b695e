//! The report of a finished or running run: figures, tables, one page.
//!
//! * [`costs`]: what each fault cost.
//! * [`tables`]: clients and rounds.
//! * [`hosts`]: who trained on other machines.
//! * `texts`: what the model wrote, as cards.
//! * [`page`]: all of it in one HTML file.
//!
//! [`history`](crate::runs::history) reads what happened, and [`figures`] draws it.

pub mod costs;
pub mod hosts;
pub mod page;
pub mod tables;
pub(crate) mod texts;

use std::path::Path;

use anyhow::Context;
use regatta_actors::journal::ledger;
use regatta_actors::protocol::round_record::RoundRecord;

use crate::base::machine::Host;
use crate::config::load;
use crate::config::plan::{Plan, PlanDraft};
use crate::runs::figures;
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::runs::folder::summary::Summary;
use crate::runs::history::clients::RunStats;
use crate::runs::history::collected::Participations;
use crate::runs::history::hosts::HostHistory;
use crate::runs::local_baselines::LocalBaselines;

/// Everything read from a run's folder.
#[derive(Debug, Clone)]
pub struct Run {
    /// The folder.
    pub folder: RunFolder,
    /// The plan.
    pub plan: Plan,
    /// The clients' statistics.
    pub stats: RunStats,
    /// The clients' work over time.
    pub participations: Participations,
    /// The hosts that trained for it; none if it ran on one machine.
    pub hosts: HostHistory,
    /// What each client reached alone; empty without `--local_baseline`.
    pub local_baselines: LocalBaselines,
    /// The finished rounds.
    pub rounds: Vec<RoundRecord>,
    /// The outcome, once it has ended.
    pub summary: Option<Summary>,
}

impl Run {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// If it has no run, or its files are not those of a run.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let folder = RunFolder::open(path)?;
        let plan = read_plan(&folder)?;
        anyhow::ensure!(
            folder.path_of(Artifact::Ledger).exists(),
            "{} has no ledger to report on; it was run with --ledger=false, or killed before it \
             began",
            path.display()
        );
        let (mut stats, mut participations) = (RunStats::default(), Participations::default());
        for entry in ledger::read(&folder.path_of(Artifact::Ledger))? {
            let event = entry?.event;
            stats.take(&event);
            participations.take(&event);
        }
        participations.finish();
        Ok(Self {
            plan,
            stats,
            participations,
            hosts: folder.read_hosts().unwrap_or_else(|error| {
                tracing::warn!("the run's hosts are not shown: {error}");
                HostHistory::default()
            }),
            local_baselines: LocalBaselines::read(&folder)?,
            rounds: folder.read_rounds()?,
            summary: folder.read_summary()?,
            folder,
        })
    }

    /// The figures.
    ///
    /// # Errors
    /// If one cannot be drawn.
    pub fn figures(&self) -> anyhow::Result<Vec<figures::Figure>> {
        figures::curves::of_run(&self.rounds, &self.participations, &self.plan)
    }

    /// What each client reached alone, and the federation in its last round; empty without
    /// `--local_baseline`.
    #[must_use]
    pub fn alone(&self) -> crate::base::table::Table {
        let last = tables::evals(&self.rounds).last().cloned();
        let metrics = self.plan.data.task.metric_set();
        self.local_baselines
            .table(&metrics, &last.unwrap_or_default())
    }

    /// The cost of each fault.
    #[must_use]
    pub fn costs(&self) -> crate::base::table::Table {
        let profiles = &self.plan.simulation.profiles;
        let epochs = self.plan.training.local_epochs;
        costs::table(&costs::costs(&self.participations, profiles, epochs))
    }
}

/// The plan of a run, from its folder.
///
/// # Errors
/// If its scenario is not one of this version's.
pub fn read_plan(folder: &RunFolder) -> anyhow::Result<Plan> {
    let scenario = folder.path_of(Artifact::Scenario);
    load(
        Some(&scenario),
        &crate::config::settings::Settings::default(),
        &Host::detect(),
    )
    .map(PlanDraft::into_plan)
    .with_context(|| format!("{} was written by another version", scenario.display()))
}
