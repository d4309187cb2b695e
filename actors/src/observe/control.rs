//! Steering a run from outside: a [`ControlHandle`] sends commands, the run holds the [`Control`].

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::observe::board::Board;
use crate::observe::hosts::HostBoard;
use crate::protocol::control::{ControlCommand, RunStatus};

/// The reason that a command is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unconfirmed {
    /// There is no run to take it.
    #[error("the run is over")]
    Over,
    /// The run does not follow it.
    #[error("{0}")]
    Refused(String),
    /// The run has not answered yet; it may still follow it.
    #[error("the run has not answered for {} s, and may still comply", .0.as_secs_f64())]
    Late(Duration),
}

/// A command on its way to the run.
#[derive(Debug)]
pub(crate) struct Order {
    pub command: ControlCommand,
    /// Where it is to be said whether it is followed.
    pub confirm: Option<SyncSender<Result<(), Unconfirmed>>>,
}

/// A host that is to do no more jobs, on its way to whoever has the run's hosts.
#[derive(Debug)]
pub(crate) struct DrainOrder {
    /// The host's id.
    pub host: String,
    /// Where it is to be said whether the host is told.
    pub confirm: SyncSender<Result<(), Unconfirmed>>,
}

/// Sends commands to a run and reads its boards; cheap to clone, usable on any thread.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    commands: mpsc::UnboundedSender<Order>,
    drains: mpsc::UnboundedSender<DrainOrder>,
    board: Arc<Board>,
    hosts: Arc<HostBoard>,
    status: Arc<Mutex<RunStatus>>,
}

/// The run's end of a [`ControlHandle`].
#[derive(Debug)]
pub struct Control {
    pub(crate) commands: mpsc::UnboundedReceiver<Order>,
    pub(crate) drains: mpsc::UnboundedReceiver<DrainOrder>,
    pub(crate) board: Arc<Board>,
    pub(crate) hosts: Arc<HostBoard>,
    pub(crate) status: Arc<Mutex<RunStatus>>,
}

/// Makes the two ends of one run's control line.
#[must_use]
pub fn control() -> (ControlHandle, Control) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (drain, drains) = mpsc::unbounded_channel();
    let board = Arc::new(Board::default());
    let hosts = Arc::new(HostBoard::default());
    let status = Arc::<Mutex<RunStatus>>::default();
    (
        ControlHandle {
            commands: sender,
            drains: drain,
            board: board.clone(),
            hosts: hosts.clone(),
            status: status.clone(),
        },
        Control {
            commands: receiver,
            drains,
            board,
            hosts,
            status,
        },
    )
}

impl ControlHandle {
    /// Sends a command. Returns whether the run is still there to take it.
    pub fn send(&self, command: ControlCommand) -> bool {
        let confirm = None;
        self.commands.send(Order { command, confirm }).is_ok()
    }

    /// Sends a command and waits until the run says that it follows it: one that changes the
    /// run's course is then written down, and takes effect even if the run is killed before and
    /// resumed. Blocks for as long as `patience` at most.
    ///
    /// # Errors
    /// If the run does not say so; see [`Unconfirmed`].
    pub fn order(&self, command: ControlCommand, patience: Duration) -> Result<(), Unconfirmed> {
        let (sender, confirmed) = sync_channel(1);
        let confirm = Some(sender);
        let sent = self.commands.send(Order { command, confirm });
        sent.map_err(|_| Unconfirmed::Over)?;
        wait(&confirmed, patience)
    }

    /// Has a host, by its id, do the jobs that it has, take no others, and leave. Waits until it is
    /// told, for as long as `patience` at most; it is told again until it leaves. The run's course
    /// is the same.
    ///
    /// # Errors
    /// If there is no such host, or it is not told in time; see [`Unconfirmed`].
    pub fn drain(&self, host: &str, patience: Duration) -> Result<(), Unconfirmed> {
        let (confirm, confirmed) = sync_channel(1);
        let host = host.to_owned();
        let sent = self.drains.send(DrainOrder { host, confirm });
        sent.map_err(|_| Unconfirmed::Over)?;
        wait(&confirmed, patience)
    }

    /// The run's current status.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        self.status.lock().map_or_else(|e| *e.into_inner(), |s| *s)
    }

    /// The status board of the run.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The board of the hosts that train for the run.
    #[must_use]
    pub fn hosts(&self) -> &Arc<HostBoard> {
        &self.hosts
    }
}

fn wait(
    confirmed: &Receiver<Result<(), Unconfirmed>>,
    patience: Duration,
) -> Result<(), Unconfirmed> {
    match confirmed.recv_timeout(patience) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(Unconfirmed::Late(patience)),
        Err(RecvTimeoutError::Disconnected) => Err(Unconfirmed::Over),
    }
}
