//! Runs a federation from its first round to its last.

use std::sync::Arc;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::control::Control;
use crate::event::Observer;
use crate::learner::{ClientId, LaneId, Learner};
use crate::message::ServerTask;
use crate::plan::{FederationPlan, PlanErrors};
use crate::record::RoundRecord;
use crate::{federation, guard};

/// How a run that met no error ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All rounds are done.
    Complete,
    /// Told to stop, it finished its round, and all that it leaves behind is written.
    StoppedAfterRound,
    /// Told to stop at once: the round it was in is lost, and the folder was not finished.
    StoppedAtOnce,
}

/// What is left of a run. The rounds went to the observers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// How it ended.
    pub ending: Ending,
    /// Rounds finished.
    pub rounds: u32,
    /// The last finished round.
    pub last: Option<RoundRecord>,
    /// Virtual time at the end, in seconds since the run's start.
    pub virtual_seconds: f64,
}

impl RunOutcome {
    /// Whether somebody stopped it before its last round.
    #[must_use]
    pub fn stopped_early(&self) -> bool {
        self.ending != Ending::Complete
    }
}

/// What ended a run before its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The plan makes no sense; nothing was started.
    #[error(transparent)]
    Plan(#[from] PlanErrors),
    /// A lane could not be started, or started again after a failure.
    #[error("lane {} cannot start: {reason}", .lane.0)]
    Lane {
        /// Which.
        lane: LaneId,
        /// The learner's reason.
        reason: String,
    },
    /// A client's job failed.
    #[error("client {client} ({name}) failed in round {round}{}: {reason}", on_lane(.lane))]
    Job {
        /// Whose.
        client: ClientId,
        /// The client's name.
        name: String,
        /// In which round.
        round: u32,
        /// On which lane, if it came that far.
        lane: Option<LaneId>,
        /// What happened.
        reason: String,
    },
    /// The server could not do its part.
    #[error("the server failed to {task}{}: {reason}", in_round(*.round))]
    Server {
        /// The round it was in; 0 before the first.
        round: u32,
        /// What it was doing.
        task: ServerTask,
        /// What happened.
        reason: String,
    },
    /// A thread could not be started, or a part of the machinery died.
    #[error("the run broke down: {0}")]
    Broken(String),
}

impl From<std::io::Error> for RunError {
    /// All that the machinery asks of the system is threads.
    fn from(error: std::io::Error) -> Self {
        Self::Broken(format!("no thread could be started: {error}"))
    }
}

fn on_lane(lane: &Option<LaneId>) -> String {
    lane.map_or_else(String::new, |lane| format!(" on lane {}", lane.0))
}

fn in_round(round: u32) -> String {
    if round == 0 {
        String::new()
    } else {
        format!(" in round {round}")
    }
}

/// Runs `plan` to its end and returns when every thread that it started has ended.
///
/// Blocks; may be called anywhere, also inside another runtime's thread. Observers see every event
/// before this returns.
///
/// # Errors
/// See [`RunError`].
pub fn run<L: Learner>(
    plan: FederationPlan,
    learner: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
) -> Result<RunOutcome, RunError> {
    plan.check()?;
    thread::Builder::new()
        .name("regatta-run".into())
        .spawn(move || federation::run(plan, learner, observers, control))?
        .join()
        .unwrap_or_else(|panic| Err(RunError::Broken(guard::message(panic.as_ref()))))
}
