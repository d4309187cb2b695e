//! What lasts from round to round: the part of the scheduler that a checkpoint holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{VirtualClock, VirtualTime};
use crate::fault::InjectedFaults;
use crate::learner::ClientId;
use crate::message::{JobId, RunId, UpdateInfo, Work};
use crate::record::RoundRecord;

/// What is due at some point in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Due {
    /// A client is done training and begins to send.
    Trained(JobId),
    /// A client's work ends without an update.
    Left(JobId),
    /// A client's update is with the server.
    Arrived(JobId),
    /// A client's update is with the server once more.
    Again(JobId),
    /// The round closes.
    Deadline { round: u32, attempt: u32 },
    /// Somebody may be there to be asked.
    Wake { round: u32 },
}

impl Due {
    /// The job that it is about.
    fn stamp_mut(&mut self) -> Option<&mut JobId> {
        match self {
            Self::Trained(stamp) | Self::Left(stamp) => Some(stamp),
            Self::Arrived(stamp) | Self::Again(stamp) => Some(stamp),
            Self::Deadline { .. } | Self::Wake { .. } => None,
        }
    }
}

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    /// The current round, from 1; 0 before the first.
    pub round: u32,
    pub clock: VirtualClock<Due>,
    /// By client.
    pub members: Vec<ClientEntry>,
    /// The jobs that go on, by client.
    pub flights: BTreeMap<ClientId, InFlightJob>,
    /// Entries in the ledger.
    pub recorded: u64,
    /// Commands from outside that took effect.
    pub intervened: usize,
    /// The last finished round.
    pub last: Option<RoundRecord>,
    /// Whether any update was folded so far. Of a run that was saved before this was noted, it is
    /// taken to be so.
    #[serde(default = "yes")]
    pub folded: bool,
    /// Rounds in which updates came and every one was refused.
    #[serde(default)]
    pub rounds_refused: u32,
    /// Why an update was last refused.
    #[serde(default)]
    pub last_refusal: Option<String>,
}

fn yes() -> bool {
    true
}

/// What is known of a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ClientEntry {
    /// The round whose starting state it holds.
    pub holds: Option<u32>,
    /// It cannot be asked before this.
    pub away_until: VirtualTime,
    /// It cannot be asked before this round.
    pub away_until_round: u32,
    /// Its failures that still count.
    pub failures: Vec<VirtualTime>,
    /// It failed too often.
    pub retired: bool,
    /// Somebody took it out.
    pub barred: bool,
    /// Somebody made it slower by this factor.
    pub slow: f64,
    /// The round and attempt in which it was asked last.
    pub asked: (u32, u32),
    /// What it did when an update of it last arrived.
    pub tried: Option<LastParticipation>,
}

/// A client's last contribution, from which its utility is judged.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct LastParticipation {
    pub round: u32,
    pub loss: f64,
    pub examples: u64,
    /// Virtual seconds from the request to the update.
    pub seconds: f64,
}

impl Default for ClientEntry {
    fn default() -> Self {
        Self {
            holds: None,
            away_until: VirtualTime::default(),
            away_until_round: 0,
            failures: Vec::new(),
            retired: false,
            barred: false,
            slow: 1.0,
            asked: (0, 0),
            tried: None,
        }
    }
}

/// One job, from the request until its update arrives or it is given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InFlightJob {
    pub stamp: JobId,
    pub strikes: InjectedFaults,
    pub bytes_down: u64,
    /// When it was asked for.
    pub asked: VirtualTime,
    /// When its client goes away.
    pub until: VirtualTime,
    /// What the machine has done of it.
    pub machine: JobState,
    /// In virtual time, training is done.
    pub sending: bool,
    /// Its round is closed.
    pub late: bool,
}

/// What the machine has done of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum JobState {
    /// Not done yet.
    Busy,
    /// The update lies in its slot.
    Done(UpdateInfo),
    /// There is no update.
    Failed { reason: String, work: Work },
}

impl InFlightJob {
    /// The facts of its update, once it is trained in virtual time.
    pub fn sent(&self) -> Option<&UpdateInfo> {
        match &self.machine {
            JobState::Done(receipt) if self.sending => Some(receipt),
            _ => None,
        }
    }
}

impl State {
    /// The state before the first round.
    pub fn new(clients: usize) -> Self {
        Self {
            round: 0,
            clock: VirtualClock::default(),
            members: vec![ClientEntry::default(); clients],
            flights: BTreeMap::new(),
            recorded: 0,
            intervened: 0,
            last: None,
            folded: false,
            rounds_refused: 0,
            last_refusal: None,
        }
    }

    /// Notes of a finished round whether it folded anything, or refused all.
    pub fn tell_apart(&mut self, record: &RoundRecord) {
        self.folded |= record.folded() > 0;
        self.rounds_refused += u32::from(record.all_refused());
        if let Some(refusal) = record.refused.first() {
            let name = record.name(refusal.client);
            self.last_refusal = Some(format!("{name}: {}", refusal.reason));
        }
    }

    pub fn member(&mut self, client: ClientId) -> &mut ClientEntry {
        &mut self.members[client.0 as usize]
    }

    /// The job under this very stamp, if it goes on.
    pub fn flight(&mut self, stamp: JobId) -> Option<&mut InFlightJob> {
        let flight = self.flights.get_mut(&stamp.client)?;
        (flight.stamp == stamp).then_some(flight)
    }

    /// Whether this very job goes on and the machine is not done with it.
    pub fn is_busy(&self, stamp: JobId) -> bool {
        self.flights
            .get(&stamp.client)
            .is_some_and(|flight| flight.stamp == stamp && matches!(flight.machine, JobState::Busy))
    }

    /// Whether the machine is done with every job.
    pub fn is_settled(&self) -> bool {
        let busy = |flight: &InFlightJob| matches!(flight.machine, JobState::Busy);
        !self.flights.values().any(busy)
    }

    /// Stamps everything with another run.
    pub fn with_attempt(&mut self, run: RunId) {
        self.flights.values_mut().for_each(|f| f.stamp.run = run);
        self.clock.change(|due| {
            if let Some(stamp) = due.stamp_mut() {
                stamp.run = run;
            }
        });
    }

    /// As bytes.
    ///
    /// # Errors
    /// Never, in fact.
    pub fn to_bytes(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        rmp_serde::to_vec_named(self)
    }

    /// From bytes that [`State::to_bytes`] gave for a fleet of this size.
    ///
    /// # Errors
    /// When they are something else.
    pub fn from_bytes(bytes: &[u8], clients: usize) -> Result<Self, String> {
        let state: Self = rmp_serde::from_slice(bytes).map_err(|e| e.to_string())?;
        if state.members.len() == clients {
            Ok(state)
        } else {
            let there = state.members.len();
            Err(format!(
                "it is of {there} clients, and the plan has {clients}"
            ))
        }
    }
}
