//! What a run is to do, fully decided: who takes part, on how many lanes, and what goes wrong.
//!
//! A [`FederationPlan`] is plain data. A scenario file or a command line is validated elsewhere
//! and ends up as one of these; [`FederationPlan::check`] says whether it makes sense.

pub mod availability;
pub mod errors;
pub mod fault;
pub mod policy;
pub mod profile;
pub mod restart;
pub mod sampling;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, Digest, LaneId, RunId};
use crate::plan::errors::PlanErrors;
use crate::plan::fault::Fault;
use crate::plan::policy::{MinUpdates, RoundPolicy};
use crate::plan::profile::Profile;
use crate::plan::restart::RestartPolicy;
use crate::plan::sampling::Sampling;

/// A run: its clients, its rounds, its lanes.
///
/// ```
/// use regatta_actors::plan::{ClientPlan, FederationPlan};
/// let clients = (0..4).map(|i| ClientPlan::new(format!("client-{i}"), 1000)).collect();
/// let plan = FederationPlan { rounds: 10, lanes: 2, ..FederationPlan::new("demo", 42, clients) };
/// assert!(plan.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederationPlan {
    /// The run's name, for people and logs.
    pub run: String,
    /// Keys every random stream of the run.
    pub seed: u64,
    /// Rounds to run, at least 1.
    pub rounds: u32,
    /// Evaluate after every N rounds and after the last one; 0: never.
    pub eval_every: u32,
    /// The fleet. A client's place in the list is its [`ClientId`].
    pub clients: Vec<ClientPlan>,
    /// Device lanes in all, numbered from 0. A lane that some client has as its own serves no
    /// client without one; those share the rest.
    pub lanes: u32,
    /// Clients that are selected together and share lanes, so many of which a lane trains together:
    /// a step of each at a time. 1: one by one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub clients_per_step: u32,
    /// The scripted faults.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// The condition that ends a round.
    #[serde(default)]
    pub policy: RoundPolicy,
    /// The selection of clients for a round.
    #[serde(default)]
    pub sampling: Sampling,
    /// The policy for rounds with too few updates.
    #[serde(default)]
    pub too_few: MinUpdates,
    /// The restart policy for clients that fail.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// The checkpoint policy.
    #[serde(default)]
    pub checkpoints: CheckpointPolicy,
    /// The clock in use.
    #[serde(default)]
    pub clock: ClockMode,
    /// Wall seconds without progress after which a lane is reported; `None`: never.
    #[serde(default)]
    pub watchdog_seconds: Option<f64>,
    /// What else decides the run's results, by name: the workload's settings, digests of its
    /// files. A run is resumed only with the same fingerprint, its only use to the actors.
    #[serde(default, rename = "course")]
    pub fingerprint: BTreeMap<String, String>,
    /// What [`ClientTrainer::canary`](crate::workload::ClientTrainer::canary) gives where the run
    /// is. A run is resumed only where it gives the same; `None`: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Digest>,
}

/// The checkpoint policy, which applies if a place for checkpoints is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointPolicy {
    /// After every N rounds; 0: only on request.
    pub every: u32,
    /// How many of the last ones to keep.
    pub keep: u32,
}

impl Default for CheckpointPolicy {
    /// After every round; the last three.
    fn default() -> Self {
        Self { every: 1, keep: 3 }
    }
}

/// The clock of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "clock", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClockMode {
    /// Decided from the plan: the run replays to the bit, and takes as long as its work takes.
    #[default]
    Virtual,
    /// The wall's, for demonstrations: jobs take as long as they take here, and the run waits for
    /// what is due. Such a run does not replay.
    Wall {
        /// Seconds of the run per second of the wall.
        scale: f64,
    },
}

/// One client: an identity and a shard, with the means to work on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPlan {
    /// Unique in the run; keys the client's random streams.
    pub name: String,
    /// Examples in its shard.
    pub examples: u64,
    /// Passes over the shard in a round.
    #[serde(default = "one")]
    pub epochs: u32,
    /// The lane that it always runs on; `None`: whichever shared lane is free.
    #[serde(default)]
    pub lane: Option<LaneId>,
    /// Its speed, connection and memory in virtual time.
    #[serde(default)]
    pub profile: Profile,
}

fn one() -> u32 {
    1
}

fn is_one(count: &u32) -> bool {
    *count == 1
}

impl ClientPlan {
    /// A client of one epoch per round, with the default profile, on any shared lane.
    pub fn new(name: impl Into<String>, examples: u64) -> Self {
        Self {
            name: name.into(),
            examples,
            epochs: 1,
            lane: None,
            profile: Profile::default(),
        }
    }
}

impl FederationPlan {
    /// One round on one lane, evaluated; set the fields that should differ.
    pub fn new(run: impl Into<String>, seed: u64, clients: Vec<ClientPlan>) -> Self {
        Self {
            run: run.into(),
            seed,
            rounds: 1,
            eval_every: 1,
            clients,
            lanes: 1,
            clients_per_step: 1,
            faults: Vec::new(),
            policy: RoundPolicy::default(),
            sampling: Sampling::default(),
            too_few: MinUpdates::default(),
            restart: RestartPolicy::default(),
            checkpoints: CheckpointPolicy::default(),
            clock: ClockMode::default(),
            watchdog_seconds: None,
            fingerprint: BTreeMap::new(),
            canary: None,
        }
    }

    /// The clients with their numbers.
    pub fn numbered(&self) -> impl ExactSizeIterator<Item = (ClientId, &ClientPlan)> {
        self.clients
            .iter()
            .enumerate()
            .map(|(i, client)| (ClientId(i as u32), client))
    }

    /// What the run's messages are stamped with, made from its name and seed.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        let mut hasher = blake3::Hasher::new_derive_key("regatta run id v1");
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(self.run.as_bytes());
        let mut id = [0; 8];
        hasher.finalize_xof().fill(&mut id);
        RunId(u64::from_le_bytes(id))
    }

    /// Lanes that belong to single clients.
    #[must_use]
    pub fn own_lanes(&self) -> BTreeSet<LaneId> {
        self.clients.iter().filter_map(|c| c.lane).collect()
    }

    /// Checks the plan as a whole.
    ///
    /// # Errors
    /// Everything that is wrong with it, not only the first.
    pub fn check(&self) -> Result<(), PlanErrors> {
        let mut errors = PlanErrors::default();
        errors.at_least_one(self.rounds, "", "rounds");
        errors.at_least_one(self.clients_per_step, "", "clients_per_step");
        self.check_lanes(&mut errors);
        self.check_clients(&mut errors);
        let fleet = self.clients.len();
        for (i, fault) in self.faults.iter().enumerate() {
            fault.check(&format!("faults[{i}]"), fleet, &mut errors);
        }
        let most = self.policy.most_updates(&self.sampling, fleet);
        self.policy.check("policy", most, &mut errors);
        self.too_few.check("too_few", most, &mut errors);
        self.sampling.check("sampling", fleet, &mut errors);
        self.restart.check("restart", &mut errors);
        errors.at_least_one(self.checkpoints.keep, "checkpoints", "keep");
        if let ClockMode::Wall { scale } = self.clock {
            errors.positive(scale, "clock", "scale");
        }
        if let Some(seconds) = self.watchdog_seconds {
            errors.positive(seconds, "", "watchdog_seconds");
        }
        errors.into_result()
    }

    fn check_clients(&self, errors: &mut PlanErrors) {
        let none = self.clients.is_empty();
        errors.require(!none, "", "clients", "a run needs at least 1");
        let countable = u32::try_from(self.clients.len()).is_ok();
        errors.require(
            countable,
            "",
            "clients",
            "there are more than fit in 32 bits",
        );
        let mut names = BTreeSet::new();
        for (i, client) in self.clients.iter().enumerate() {
            let path = format!("clients[{i}]");
            if !names.insert(client.name.as_str()) {
                errors.add(
                    format!("{path}.name"),
                    format!("another client is named {:?} too", client.name),
                );
            }
            client.check(&path, errors);
        }
    }

    fn check_lanes(&self, errors: &mut PlanErrors) {
        errors.at_least_one(self.lanes, "", "lanes");
        if self.lanes == 0 {
            return;
        }
        for (i, client) in self.clients.iter().enumerate() {
            if let Some(lane) = client.lane.filter(|lane| lane.0 >= self.lanes) {
                errors.add(
                    format!("clients[{i}].lane"),
                    format!(
                        "there is no lane {}; there are {}, numbered from 0",
                        lane.0, self.lanes
                    ),
                );
            }
        }
        let shared = self.clients.iter().any(|client| client.lane.is_none());
        let ok = !shared || self.own_lanes().len() < self.lanes as usize;
        errors.require(
            ok,
            "",
            "lanes",
            "every lane is dedicated to a client, and none is left for the other clients; add a \
             lane",
        );
    }
}

impl ClientPlan {
    fn check(&self, path: &str, errors: &mut PlanErrors) {
        errors.require(!self.name.is_empty(), path, "name", "is empty");
        errors.at_least_one(self.epochs, path, "epochs");
        self.profile.check(&format!("{path}.profile"), errors);
    }

    /// Virtual seconds that its work of one round takes, without the transfers.
    pub(crate) fn train_seconds(&self) -> f64 {
        self.profile.train_seconds(self.examples, self.epochs)
    }
}
