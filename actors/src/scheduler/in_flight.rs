//! Jobs under way, and what is due when in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::clock::{VirtualClock, VirtualTime};
use crate::ids::{ClientId, JobId, RunId};
use crate::plan::FederationPlan;
use crate::plan::fault::injection::InjectedFaults;
use crate::protocol::command::Command;
use crate::protocol::job::{JobFaults, UpdateInfo, Work};
use crate::protocol::round_record::{ClientRecord, Outcome};

/// What is due at some point in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Due {
    /// A client is done training and begins to send.
    Trained(JobId),
    /// A client's work ends without an update.
    Left(JobId),
    /// A client's update is with the server.
    Arrived(JobId),
    /// A client's update reaches the server a second time.
    Again(JobId),
    /// The round closes.
    Deadline { round: u32, attempt: u32 },
    /// A client may have become available.
    Wake { round: u32 },
}

impl Due {
    /// The job concerned.
    fn job_mut(&mut self) -> Option<&mut JobId> {
        match self {
            Self::Trained(id) | Self::Left(id) => Some(id),
            Self::Arrived(id) | Self::Again(id) => Some(id),
            Self::Deadline { .. } | Self::Wake { .. } => None,
        }
    }
}

/// One job, from the request until its update arrives or it is given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct InFlightJob {
    #[serde(alias = "stamp")]
    pub id: JobId,
    #[serde(alias = "strikes")]
    pub injected: InjectedFaults,
    pub bytes_down: u64,
    /// See [`Command::Train`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<ClientId>,
    /// When its client was selected.
    #[serde(alias = "asked")]
    pub selected_at: VirtualTime,
    /// When its client goes away.
    pub until: VirtualTime,
    /// What the machine has done of it.
    #[serde(alias = "machine")]
    pub state: JobState,
    /// In virtual time, training is done.
    pub sending: bool,
    /// Its round is closed.
    pub late: bool,
}

impl InFlightJob {
    /// What is due when its client is done training, one way or the other.
    pub fn end_of_training(&self) -> Due {
        match self.injected.interruption {
            Some(_) => Due::Left(self.id),
            None => Due::Trained(self.id),
        }
    }

    /// Has its client train.
    pub fn train_command(&self, plan: &FederationPlan) -> Command {
        let faults = JobFaults {
            interruption: self.injected.interruption,
            corruption: self.injected.corruption.map(|how| (how, plan.seed)),
        };
        Command::Train {
            id: self.id,
            faults,
            group: self.group.clone(),
        }
    }

    /// How the job ended, for the record of the round. `name` is its client's.
    pub fn record(&self, name: &str, outcome: Outcome) -> ClientRecord {
        let info = self.sent();
        // What the machine has done counts only where virtual time has waited for it.
        let ended = matches!(outcome, Outcome::Dropped | Outcome::Failed);
        let work = match &self.state {
            JobState::Failed { work, .. } if ended => *work,
            _ => Work::default(),
        };
        ClientRecord {
            client: self.id.client,
            name: name.to_owned(),
            outcome,
            loss: info.map(|info| info.loss),
            examples: info.map_or(work.examples, |info| info.examples),
            steps: info.map_or(work.steps, |info| info.steps),
            bytes_up: info.map_or(0, |info| info.bytes_up),
            bytes_down: self.bytes_down,
            seconds: info.map_or(0.0, |info| info.seconds),
        }
    }

    /// The facts of its update, once it is trained in virtual time.
    fn sent(&self) -> Option<&UpdateInfo> {
        match &self.state {
            JobState::Done(info) if self.sending => Some(info),
            _ => None,
        }
    }
}

/// What the machine has done of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum JobState {
    /// Not done yet.
    Busy,
    /// The update is at the server.
    Done(UpdateInfo),
    /// There is no update.
    Failed { reason: String, work: Work },
}

/// The jobs under way, at most one for each client, and the virtual clock.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight {
    pub jobs: BTreeMap<ClientId, InFlightJob>,
    pub clock: VirtualClock<Due>,
}

impl InFlight {
    /// The present, in virtual time.
    pub fn now(&self) -> VirtualTime {
        self.clock.now()
    }

    /// This very job, if it is still under way.
    pub fn job(&self, id: JobId) -> Option<&InFlightJob> {
        self.jobs.get(&id.client).filter(|job| job.id == id)
    }

    /// As [`InFlight::job`], to be changed.
    pub fn job_mut(&mut self, id: JobId) -> Option<&mut InFlightJob> {
        self.jobs.get_mut(&id.client).filter(|job| job.id == id)
    }

    /// Adds a job, in the place of any other of its client.
    pub fn insert(&mut self, job: InFlightJob) {
        self.jobs.insert(job.id.client, job);
    }

    /// Takes out this very job, if it is still under way.
    pub fn remove(&mut self, id: JobId) -> Option<InFlightJob> {
        self.job(id)?;
        self.jobs.remove(&id.client)
    }

    /// Whether this very job is still under way and the machine is not done with it.
    pub fn is_busy(&self, id: JobId) -> bool {
        self.busy_job(id.client).is_some_and(|job| job.id == id)
    }

    /// The job of this client that the machine is not done with.
    pub fn busy_job(&self, client: ClientId) -> Option<&InFlightJob> {
        let job = self.jobs.get(&client);
        job.filter(|job| matches!(job.state, JobState::Busy))
    }

    /// Whether the machine is done with every job.
    pub fn is_settled(&self) -> bool {
        self.busy_jobs().next().is_none()
    }

    /// The rounds of the jobs that the machine is not done with.
    pub fn busy_rounds(&self) -> BTreeSet<u32> {
        self.busy_jobs().map(|job| job.id.round).collect()
    }

    fn busy_jobs(&self) -> impl Iterator<Item = &InFlightJob> {
        let jobs = self.jobs.values();
        jobs.filter(|job| matches!(job.state, JobState::Busy))
    }

    /// The jobs of this round that are not late yet, in client order.
    pub fn of_round(&self, round: u32) -> Vec<JobId> {
        let jobs = self.jobs.values();
        let jobs = jobs.filter(|job| job.id.round == round && !job.late);
        jobs.map(|job| job.id).collect()
    }

    /// The earliest round of a job.
    pub fn oldest_round(&self) -> Option<u32> {
        self.jobs.values().map(|job| job.id.round).min()
    }

    /// Drops the deadlines and wake-ups of rounds up to this one, which are over.
    pub fn forget_deadlines(&mut self, number: u32) {
        self.clock.retain(|due| {
            !matches!(due, Due::Deadline { round, .. } | Due::Wake { round } if *round <= number)
        });
    }

    /// Gives every job to another run.
    pub fn set_run(&mut self, run: RunId) {
        self.jobs.values_mut().for_each(|job| job.id.run = run);
        self.clock.change(|due| {
            if let Some(id) = due.job_mut() {
                id.run = run;
            }
        });
    }
}
