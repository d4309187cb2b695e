//! The outcome of a run, or its error.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::round_record::RoundRecord;
use crate::ids::LaneId;
use crate::plan::errors::PlanErrors;

/// The reason for the end of a run without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// All rounds are done.
    Complete,
    /// Asked to stop, it finished its round, and all its results are written.
    StoppedAfterRound,
    /// Asked to stop at once: the current round is lost, and no results were written.
    StoppedAtOnce,
}

/// The outcome of a run. The rounds went to the observers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// The way it ended.
    pub ending: EndReason,
    /// Rounds finished.
    pub rounds: u32,
    /// Rounds of these in which updates came and every one was refused.
    #[serde(default)]
    pub rounds_refused: u32,
    /// The last finished round.
    pub last: Option<RoundRecord>,
    /// Virtual time at the end, in seconds since the run's start.
    pub virtual_seconds: f64,
}

impl RunOutcome {
    /// Whether somebody stopped it before its last round.
    #[must_use]
    pub fn stopped_early(&self) -> bool {
        self.ending != EndReason::Complete
    }
}

/// The error that ended a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The plan is invalid; nothing was started.
    #[error(transparent)]
    Plan(#[from] PlanErrors),
    /// A lane could not be started, or started again after a failure.
    #[error("lane {} cannot start: {reason}", .lane.0)]
    Lane {
        /// The lane concerned.
        lane: LaneId,
        /// The workload's reason.
        reason: String,
    },
    /// The lanes, which are on other hosts, cannot go on.
    #[error("{0}")]
    Lanes(String),
    /// A device of this process does nothing more for it: see
    /// [`DeviceLost`](crate::workload::job::DeviceLost).
    #[error("{0}")]
    DeviceLost(String),
    /// Every client is retired, taken out, or gone for good.
    #[error("nobody is left to take part in round {round}{}", because(.last_failure))]
    NobodyLeft {
        /// The round that no client could take part in.
        round: u32,
        /// The last failure of a client.
        last_failure: Option<String>,
    },
    /// Too few updates came, and the plan says to stop then.
    #[error("only {updates} of the {needed} updates that round {round} needs came")]
    TooFewUpdates {
        /// The round.
        round: u32,
        /// Updates that came.
        updates: u32,
        /// Updates that it needs.
        needed: u32,
    },
    /// All rounds are done, and no update was aggregated in any: the model is the one that the run
    /// began with.
    #[error("nothing was aggregated: {}", nothing(*.rounds, *.refused, .last_refusal))]
    NothingAggregated {
        /// Rounds finished.
        rounds: u32,
        /// Rounds of these in which updates came and every one was refused.
        refused: u32,
        /// The client whose update was last refused, and the reason.
        last_refusal: Option<String>,
    },
    /// The plan's clock is the wall's.
    #[error("a run on the wall clock does not replay; only a run on the virtual clock does")]
    DoesNotReplay,
    /// The run's record cannot be kept, or does not agree.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The server could not do its part.
    #[error("the server failed to {task}{}: {reason}", in_round(*.round))]
    Server {
        /// The round it was in; 0 before the first.
        round: u32,
        /// The task that failed.
        task: ServerTask,
        /// The cause, as text.
        reason: String,
    },
    /// A thread could not be started, or a part of the machinery died.
    #[error("the run broke down: {0}")]
    Broken(String),
}

impl From<std::io::Error> for RunError {
    /// The machinery needs nothing from the system but threads.
    fn from(error: std::io::Error) -> Self {
        Self::Broken(format!("no thread could be started: {error}"))
    }
}

fn because(failure: &Option<String>) -> String {
    failure
        .as_ref()
        .map_or_else(String::new, |failure| format!("; {failure}"))
}

fn nothing(rounds: u32, refused: u32, last_refusal: &Option<String>) -> String {
    let last = last_refusal
        .as_ref()
        .map_or_else(String::new, |last| format!(", lastly that of {last}"));
    match refused {
        0 => format!("in {rounds} rounds no update came"),
        refused => format!("in {refused} of {rounds} rounds every update was refused{last}"),
    }
}

fn in_round(round: u32) -> String {
    if round == 0 {
        String::new()
    } else {
        format!(" in round {round}")
    }
}

/// A task of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerTask {
    /// Builds its aggregator.
    Start,
    /// Provides the global state.
    Open,
    /// Takes an update in.
    Receive,
    /// Aggregates the round's updates.
    Aggregate,
    /// Scores the global state.
    Evaluate,
    /// Saves the run's state.
    Save,
    /// Restores the last checkpoint.
    Recover,
    /// Writes the run's results.
    Finish,
}

impl std::fmt::Display for ServerTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Open => "open the round",
            Self::Receive => "take in an update",
            Self::Aggregate => "aggregate",
            Self::Evaluate => "evaluate",
            Self::Save => "save the run's state",
            Self::Recover => "restore its last checkpoint",
            Self::Finish => "write the results",
        })
    }
}

/// The reason that something could not be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A file of the run's record cannot be read or written.
    #[error("cannot {doing} {}: {reason}", .path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The attempted operation.
        doing: String,
        /// The cause, as text.
        reason: String,
    },
    /// The replayed event differs from the ledger.
    #[error("entry {sequence} differs from the ledger.\n  ledger: {expected}\n  now:    {found}")]
    Diverged {
        /// The entry's number.
        sequence: u64,
        /// The ledger's line.
        expected: String,
        /// The event found now.
        found: String,
    },
    /// The ledger ends here, in the middle of its run; up to here all is the same.
    #[error("the ledger ends after entry {0}")]
    LedgerEnds(u64),
}

impl RecordError {
    pub(crate) fn file(path: &Path, doing: &str, reason: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            doing: doing.to_owned(),
            reason: reason.to_string(),
        }
    }
}
