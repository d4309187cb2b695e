//! Steering a run from another process: a line of JSON each way over TCP.
//!
//! A request is one line, `{"command":"slow","client":3,"factor":2.0,"token":"…"}`, and so is its
//! reply: `{"status":…}`, `{"workers":…}`, `{"done":"…"}` or `{"error":"…"}`. What changes the run's course goes
//! into its ledger, so that a run with interventions replays.
//!
//! The listener is for this machine. Anywhere else it requires a token, and anyone who can listen
//! on the way can read it.

pub mod client;
pub mod request;
pub mod server;
pub mod workers;

#[cfg(test)]
mod tests;

use std::fmt;

use regatta_actors::ids::ClientId;
use regatta_actors::protocol::client_state::ClientState;
use regatta_actors::protocol::control::{ControlCommand, RunStatus};
use serde::{Deserialize, Serialize};

use crate::live::control::workers::Workers;

/// The environment variable with the token.
pub const TOKEN_VARIABLE: &str = "REGATTA_CONTROL_TOKEN";

/// A secret that both ends know.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token of the environment, if it has one.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let text = std::env::var(TOKEN_VARIABLE).ok();
        text.filter(|text| !text.is_empty()).map(Self)
    }

    /// A token of this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it is this text. Takes as long for a wrong one as for the right one: hashes are
    /// compared, in constant time.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(text.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A request to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, clap::Subcommand)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Action {
    /// Show the status of the run and of its clients
    Status,
    /// Show the workers that train for the run, and what each of their lanes is doing
    Workers,
    /// Have a worker finish the jobs that it has, take no others, and leave; the run goes on
    Drain {
        /// Its name, or its id where several have the name
        host: String,
    },
    /// Wait after this round until resumed
    Pause,
    /// Resume
    Resume,
    /// Save the run's state after this round
    Checkpoint,
    /// Finish this round, save the run's state and stop
    Stop,
    /// Stop selecting a client, from the next round on
    Drop {
        /// Its number, from 0
        client: u32,
    },
    /// Select a client again, even one that is retired
    Restore {
        /// Its number, from 0
        client: u32,
    },
    /// Make a client slower from the next round on
    Slow {
        /// Its number, from 0
        client: u32,
        /// Its training takes this many times as long as its profile says, from 0.001 to 1000000;
        /// 1: as it says
        #[arg(value_parser = server::read_slowdown, allow_negative_numbers = true)]
        factor: f64,
    },
}

impl Action {
    /// The command that goes to the run; `None`: it does not concern the run's course.
    #[must_use]
    pub fn command(&self) -> Option<ControlCommand> {
        let client = self.client().unwrap_or(ClientId(0));
        Some(match *self {
            Self::Status | Self::Workers | Self::Drain { .. } => return None,
            Self::Pause => ControlCommand::Pause,
            Self::Resume => ControlCommand::Resume,
            Self::Checkpoint => ControlCommand::Checkpoint,
            Self::Stop => ControlCommand::FinishRound,
            Self::Drop { .. } => ControlCommand::DropClient { client },
            Self::Restore { .. } => ControlCommand::RestoreClient { client },
            Self::Slow { factor, .. } => ControlCommand::SlowClient { client, factor },
        })
    }

    /// The client that it is about.
    #[must_use]
    pub fn client(&self) -> Option<ClientId> {
        match *self {
            Self::Drop { client } | Self::Restore { client } | Self::Slow { client, .. } => {
                Some(ClientId(client))
            }
            _ => None,
        }
    }
}

/// One line back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The phase of the run.
    Status(Box<Status>),
    /// Its workers.
    Workers(Workers),
    /// The command is with the run.
    Done(String),
    /// The run has not said yet whether it follows the command; it may still do so.
    NotConfirmed(String),
    /// The reason that it is not.
    Error(String),
}

/// The state of a run and of its clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The run.
    #[serde(flatten)]
    pub run: RunStatus,
    /// Its clients, in order.
    pub clients: Vec<ClientLine>,
}

/// The state of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientLine {
    /// The client concerned.
    pub client: ClientId,
    /// Its current state.
    pub state: ClientState,
    /// The last round that it was selected in; 0 before its first.
    pub round: u32,
    /// Its last training loss.
    pub loss: Option<f64>,
}
