//! Commands from outside: what was wanted, and when it takes effect.

use crate::ids::ClientId;
use crate::plan::FederationPlan;
use crate::plan::fault::SLOWDOWNS;
use crate::protocol::control::{ControlCommand, Intervention};

/// What commands from outside ask of the run.
#[derive(Debug, Default)]
pub(super) struct Steering {
    /// Commands that change the run's course, by the round after which they take effect.
    interventions: Vec<Intervention>,
    /// Whether the run is to wait after this round.
    pub paused: bool,
    /// Whether the run is to end after this round.
    pub stop_requested: bool,
    /// Whether the run's state is to be saved after this round.
    pub save_requested: bool,
}

impl Steering {
    /// With commands that are known beforehand.
    pub fn new(mut interventions: Vec<Intervention>) -> Self {
        interventions.sort_by_key(|i| i.after_round);
        Self {
            interventions,
            ..Self::default()
        }
    }

    /// Adds a command, behind those that take effect after the same round.
    pub fn add(&mut self, intervention: Intervention) {
        let at = self.known_after(intervention.after_round);
        self.interventions.insert(at, intervention);
    }

    /// How many commands take effect after this round or an earlier one.
    pub fn known_after(&self, round: u32) -> usize {
        let until = |i: &Intervention| i.after_round <= round;
        self.interventions.partition_point(until)
    }

    /// The commands that take effect after this round, when `intervened` of all have done so.
    pub fn due(&self, round: u32, intervened: usize) -> &[Intervention] {
        let until = self.known_after(round);
        self.interventions.get(intervened..until).unwrap_or(&[])
    }
}

/// What a command changes in the run's course if it takes effect after this round; `None`: it
/// concerns this process alone.
///
/// # Errors
/// When the command makes no sense.
pub(super) fn intervention(
    plan: &FederationPlan,
    after_round: u32,
    command: ControlCommand,
) -> Result<Option<Intervention>, String> {
    match command {
        ControlCommand::StopNow
        | ControlCommand::Pause
        | ControlCommand::Resume
        | ControlCommand::Checkpoint => return Ok(None),
        ControlCommand::FinishRound => {}
        ControlCommand::DropClient { client } | ControlCommand::RestoreClient { client } => {
            check_client(plan, client)?;
        }
        ControlCommand::SlowClient { client, factor } => {
            check_client(plan, client)?;
            if !SLOWDOWNS.contains(&factor) {
                return Err(format!("a client cannot take {factor} times as long"));
            }
        }
    }
    Ok(Some(Intervention {
        after_round,
        command,
    }))
}

fn check_client(plan: &FederationPlan, client: ClientId) -> Result<(), String> {
    if (client.0 as usize) < plan.clients.len() {
        Ok(())
    } else {
        Err(format!("the run has no client {client}"))
    }
}
