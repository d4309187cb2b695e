//! Control commands, and the status of a run.

use serde::{Deserialize, Serialize};

use crate::ids::ClientId;

/// A command to a running federation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlCommand {
    /// Finish this round as if it were the last, then end the run.
    FinishRound,
    /// End the run at once; the round is lost.
    StopNow,
    /// Wait after this round until [`ControlCommand::Resume`].
    Pause,
    /// Resume.
    Resume,
    /// Save the run's state after this round, if it is saved at all.
    Checkpoint,
    /// Do not select this client, from the next round on.
    DropClient {
        /// The client concerned.
        client: ClientId,
    },
    /// Select this client again, even one that is retired, from the next round on.
    RestoreClient {
        /// The client concerned.
        client: ClientId,
    },
    /// Make this client slower from the next round on.
    SlowClient {
        /// The client concerned.
        client: ClientId,
        /// Its training takes this many times as long as its profile says; 1: as it says. One of
        /// [`SLOWDOWNS`](crate::plan::fault::SLOWDOWNS).
        factor: f64,
    },
}

/// A command that changed a run's course, and where: between two rounds, so that a run with
/// interventions replays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intervention {
    /// The round after which it took effect.
    pub after_round: u32,
    /// The command.
    #[serde(flatten)]
    pub command: ControlCommand,
}

/// The status of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// The current round, from 1; 0 before the first.
    pub round: u32,
    /// Rounds planned.
    pub rounds: u32,
    /// Virtual time, in seconds since the run's start.
    pub virtual_seconds: f64,
    /// Clients at work.
    pub working: u32,
    /// Whether it waits for a resume command.
    pub paused: bool,
    /// Whether it is over.
    pub over: bool,
}
