//! What a run is to do, fully decided: who takes part, for how long, on how many lanes.
//!
//! A [`FederationPlan`] is plain data. A scenario file or a command line is validated elsewhere
//! and ends up as one of these; [`FederationPlan::check`] says whether it makes sense.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::learner::{ClientId, LaneId};
use crate::message::RunId;
pub use crate::profile::Profile;

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
    /// Evaluate after every so many rounds and after the last one; 0: never.
    pub eval_every: u32,
    /// The fleet. A client's place in the list is its [`ClientId`].
    pub clients: Vec<ClientPlan>,
    /// Device lanes in all, numbered from 0. A lane that some client has as its own serves no
    /// client without one; those share the rest.
    pub lanes: u32,
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
    /// How fast it is in virtual time.
    #[serde(default)]
    pub profile: Profile,
}

fn one() -> u32 {
    1
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

    /// Lanes that belong to clients of their own.
    #[must_use]
    pub fn own_lanes(&self) -> BTreeSet<LaneId> {
        self.clients.iter().filter_map(|c| c.lane).collect()
    }

    /// Checks the plan as a whole.
    ///
    /// # Errors
    /// Everything that is wrong with it, not only the first.
    pub fn check(&self) -> Result<(), PlanErrors> {
        let mut errors = Vec::new();
        if self.rounds == 0 {
            errors.push("rounds is 0; a run needs at least 1".to_owned());
        }
        if self.clients.is_empty() {
            errors.push("there are no clients; a run needs at least 1".to_owned());
        }
        if u32::try_from(self.clients.len()).is_err() {
            errors.push("more clients than 32 bits can number".to_owned());
        }
        self.check_lanes(&mut errors);
        let mut names = BTreeSet::new();
        for client in &self.clients {
            if !names.insert(client.name.as_str()) {
                errors.push(format!("two clients are named {:?}", client.name));
            }
            client.check(&mut errors);
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(PlanErrors(errors))
        }
    }

    fn check_lanes(&self, errors: &mut Vec<String>) {
        if self.lanes == 0 {
            errors.push("lanes is 0; a run needs at least 1".to_owned());
            return;
        }
        let own = self.own_lanes();
        if let Some(lane) = own.iter().find(|lane| lane.0 >= self.lanes) {
            errors.push(format!(
                "a client is bound to lane {}, but there are only {} (numbered from 0)",
                lane.0, self.lanes
            ));
        }
        let shared = self.clients.iter().find(|client| client.lane.is_none());
        if let Some(client) = shared
            && own.len() >= self.lanes as usize
        {
            errors.push(format!(
                "client {:?} has no lane of its own, and each of the {} lanes belongs to another; \
                 add a lane",
                client.name, self.lanes
            ));
        }
    }
}

impl ClientPlan {
    fn check(&self, errors: &mut Vec<String>) {
        let mut faults = self.profile.faults();
        if self.name.is_empty() {
            faults.push("its name is empty");
        }
        if self.epochs == 0 {
            faults.push("epochs is 0; at least 1 is needed");
        }
        let named = |fault| format!("client {:?}: {fault}", self.name);
        errors.extend(faults.into_iter().map(named));
    }

    /// Virtual seconds that its work of one round takes, without the transfers.
    pub(crate) fn train_seconds(&self) -> f64 {
        self.profile.train_seconds(self.examples, self.epochs)
    }
}

/// Everything that is wrong with a plan, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan cannot be run: {}", .0.join("; "))]
pub struct PlanErrors(pub Vec<String>);
