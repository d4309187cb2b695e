//! What lies in a run folder, and under which name.

use crate::adapter::peft::BASE_DELTA;

/// A file or folder in a run folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Artifact {
    /// All settings, defaults filled in; runs again to the same result.
    Scenario,
    /// The ledger: every event that a replay has too. Only with `--ledger`.
    Ledger,
    /// A folder: the run's state after its last rounds, to resume from.
    Checkpoints,
    /// One line per round: a [`RoundRecord`](regatta_actors::protocol::round_record::RoundRecord).
    Rounds,
    /// How it ended and what came out: a [`Summary`](crate::runs::folder::summary::Summary).
    Summary,
    /// The page that `regatta report` made of it.
    Report,
    /// A folder: the page's figures.
    Figures,
    /// A folder: event files for TensorBoard. Only with `--tensorboard`.
    TensorBoard,
    /// The last metrics that were served, as Prometheus reads them.
    Metrics,
    /// The hosts that trained for it. Only in runs on other hosts.
    Hosts,
    /// What each client reached alone, one a line. Only with `--local_baseline`.
    LocalBaselines,
    /// A folder: predictions for the test split, as the task's own scripts or server take them.
    Predictions,
    /// A folder: texts that the model wrote, by round.
    Generated,
    /// A folder: the final adapter and head.
    Adapter,
    /// What aggregation merged into base weights.
    BaseDelta,
    /// A folder: adapter, head and base delta of the round with the best score, where a later one
    /// is worse.
    Best,
    /// Held by the process that writes here.
    Lock,
}

impl Artifact {
    /// The folders.
    pub(crate) const FOLDERS: [Self; 7] = [
        Self::Checkpoints,
        Self::Figures,
        Self::TensorBoard,
        Self::Predictions,
        Self::Generated,
        Self::Adapter,
        Self::Best,
    ];

    /// What a run writes before there is anything to resume it from.
    pub(crate) const BEFORE_A_CHECKPOINT: [Self; 7] = [
        Self::Scenario,
        Self::Rounds,
        Self::Summary,
        Self::Metrics,
        Self::Hosts,
        Self::TensorBoard,
        Self::Checkpoints,
    ];

    /// The name in the run folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scenario => "scenario.toml",
            Self::Ledger => "events.jsonl",
            Self::Checkpoints => "checkpoints",
            Self::Rounds => "rounds.jsonl",
            Self::Summary => "summary.json",
            Self::Report => "report.html",
            Self::Figures => "figures",
            Self::TensorBoard => "tensorboard",
            Self::Metrics => "metrics.prom",
            Self::Hosts => "hosts.json",
            Self::LocalBaselines => "local_baselines.jsonl",
            Self::Predictions => "predictions",
            Self::Generated => "generated",
            Self::Adapter => "adapter",
            Self::BaseDelta => BASE_DELTA,
            Self::Best => "best",
            Self::Lock => "lock",
        }
    }
}
