//! Steering a run from outside: a [`ControlHandle`] sends commands, the run holds the [`Control`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::board::Board;

/// A command to a running federation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlCommand {
    /// Finish this round as if it were the last, then end the run.
    FinishRound,
    /// End the run at once; the round is lost.
    StopNow,
}

/// Sends commands to a run and reads its status board; cheap to clone, usable on any thread.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    commands: mpsc::UnboundedSender<ControlCommand>,
    board: Arc<Board>,
}

/// The run's end of a [`ControlHandle`].
#[derive(Debug)]
pub struct Control {
    pub(crate) commands: mpsc::UnboundedReceiver<ControlCommand>,
    pub(crate) board: Arc<Board>,
}

/// Makes the two ends of one run's control line.
#[must_use]
pub fn control() -> (ControlHandle, Control) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let board = Arc::new(Board::default());
    (
        ControlHandle {
            commands: sender,
            board: board.clone(),
        },
        Control {
            commands: receiver,
            board,
        },
    )
}

impl ControlHandle {
    /// Sends a command. Returns whether the run is still there to take it.
    pub fn send(&self, command: ControlCommand) -> bool {
        self.commands.send(command).is_ok()
    }

    /// The status board of the run.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }
}
