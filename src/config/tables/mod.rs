//! The tables of a scenario file besides its flat settings: the clients' resources, what
//! goes wrong, and how rounds deal with it.
//!
//! Durations, bandwidths and sizes are text with a unit; a bare number counts things, or is a
//! factor or a share. Every key is optional here: what a table needs, and what means nothing in
//! it, is decided when a plan is made of it, so that each error has its line.

pub mod forms;
pub mod numbers;
pub mod quantity;
pub(crate) mod reader;
pub mod task;

use std::collections::BTreeMap;
use std::path::PathBuf;

use regatta_actors::plan::fault::FaultName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::config::tables::forms::{CorruptionSpec, OnTooFewSpec, SlowdownSpec};
use crate::config::tables::numbers::IndexRanges;
use crate::config::tables::quantity::{Bandwidth, Bytes, Seconds};
use crate::config::tables::task::TaskTable;

/// The tables of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScenarioTables {
    /// A task on files of your own; [`schema`](crate::config::schema) has it beside the setting of
    /// that name.
    #[schemars(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskTable>,
    /// When a round ends, and how late updates are treated
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyTable>,
    /// The selection of clients for a round
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<SamplingTable>,
    /// What a round does with too few updates
    #[serde(skip_serializing_if = "Option::is_none")]
    pub too_few: Option<TooFewTable>,
    /// How failed clients are restarted
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartTable>,
    /// Groups of clients with the same resources, under names of your choice
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub clients: BTreeMap<String, ClientsTable>,
    /// The scripted faults
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultTable>,
}

/// The resources of a group of clients: those of `clients`, or a `share` of the fleet drawn
/// from the seed, or, with neither, all that are in no other group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientsTable {
    /// The group's clients, numbered from 0
    pub clients: Option<IndexRanges>,
    /// The group's share of the fleet, drawn from the seed among clients in no other group
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: Option<f64>,
    /// Examples trained per second [default: 100]
    pub speed: Option<f64>,
    /// Bandwidth towards the server [default: no limit]
    pub bandwidth_up: Option<Bandwidth>,
    /// Bandwidth from the server [default: no limit]
    pub bandwidth_down: Option<Bandwidth>,
    /// One-way latency of each message [default: 0 s]
    pub latency: Option<Seconds>,
    /// Memory of the client's device; a batch that does not fit is trained in parts, and a client
    /// that cannot hold one example fails [default: enough]
    pub memory: Option<Bytes>,
    /// When the clients are available [default: always]
    pub availability: Option<AvailabilityTable>,
}

/// The availability of clients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AvailabilityTable {
    /// always; daily: between two times of the day; markov: on and off by chance; trace: as listed
    /// in a file
    pub kind: Option<AvailabilityKind>,
    /// daily: time after midnight from which they are available; the run starts at midnight
    pub from: Option<Seconds>,
    /// daily: time after midnight at which they leave; if before `from`, on the next day
    pub to: Option<Seconds>,
    /// daily: length of a day [default: 24 h]
    pub day: Option<Seconds>,
    /// daily: each client's pattern is shifted by up to this long, drawn from the seed
    /// [default: 0 s]
    pub spread: Option<Seconds>,
    /// markov: mean time on
    pub on: Option<Seconds>,
    /// markov: mean time off
    pub off: Option<Seconds>,
    /// trace: CSV file with the header `client,from,to`, the times in virtual seconds
    pub file: Option<PathBuf>,
}

/// See [`AvailabilityTable::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum AvailabilityKind {
    Always,
    Daily,
    Markov,
    Trace,
}

/// One scripted fault.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultTable {
    /// The kind of fault
    #[schemars(schema_with = "fault_names")]
    pub kind: Option<FaultName>,
    /// The clients that it can strike, numbered from 0 [default: all]
    pub clients: Option<IndexRanges>,
    /// The rounds in which it can strike, numbered from 1 [default: all]
    pub rounds: Option<IndexRanges>,
    /// Probability that it strikes each of these clients in each of these rounds, drawn from the
    /// seed [default: 1]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub probability: Option<f64>,
    /// straggle: factor by which the client's training takes longer
    pub slowdown: Option<SlowdownSpec>,
    /// drop, crash, lane_failure: after this fraction of the client's work [default: 0 for drop,
    /// else 0.5]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub at: Option<f64>,
    /// drop: the round in which the client returns [default: the next]
    pub rejoin: Option<u32>,
    /// slow_link: factor by which transfers take longer
    pub factor: Option<f64>,
    /// late_update: delay of the update; duplicate_update: delay after the first; server_crash:
    /// downtime [default: 0 s for the last two]
    pub delay: Option<Seconds>,
    /// corrupt_update: the kind of corruption
    pub corruption: Option<CorruptionSpec>,
}

fn fault_names(_: &mut SchemaGenerator) -> Schema {
    let names = FaultName::ALL.map(FaultName::as_str);
    json_schema!({ "type": "string", "enum": names })
}

/// The condition that ends a round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTable {
    /// sync: when all have answered; deadline: after a time limit; quorum: when the first updates
    /// have arrived; over_select: select more clients and take the first updates; buffered:
    /// asynchronous (FedBuff), aggregating whenever N updates have arrived [default: sync]
    pub kind: Option<PolicyKind>,
    /// deadline: this long after the broadcast
    pub after: Option<Seconds>,
    /// quorum, buffered: number of updates
    pub updates: Option<u32>,
    /// over_select: factor by which more clients are selected
    pub factor: Option<f64>,
    /// deadline, quorum, over_select: late updates are refused (the client stops), stale
    /// (counted and dropped) or carried into the round in which they arrive [default: refuse]
    pub late: Option<LateKind>,
    /// carry, buffered: an update that started τ rounds ago weighs (1 + τ)^−exponent
    /// [default: 0.5]
    pub staleness_exponent: Option<f64>,
    /// carry, buffered: updates staler than this are dropped [default: none are]
    pub max_staleness: Option<u32>,
}

/// See [`PolicyTable::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum PolicyKind {
    Sync,
    Deadline,
    Quorum,
    OverSelect,
    Buffered,
}

/// See [`PolicyTable::late`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum LateKind {
    Refuse,
    Stale,
    Carry,
}

/// The selection of clients for a round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SamplingTable {
    /// Number of clients [default: all]
    pub number: Option<u32>,
    /// Share of the fleet, at least one client [default: all]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fraction: Option<f64>,
    /// uniform; examples: in proportion to the shards; utility: by expected benefit (Oort)
    /// [default: uniform]
    pub by: Option<SampleKind>,
    /// utility: share of the sample drawn from clients that never took part [default: 0.1]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub exploration: Option<f64>,
    /// utility: target duration of a client's round [default: duration is ignored]
    pub preferred: Option<Seconds>,
    /// utility: penalty on slow clients, Oort's α [default: 2]
    pub penalty: Option<f64>,
}

/// See [`SamplingTable::by`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum SampleKind {
    Uniform,
    Examples,
    Utility,
}

/// The policy for rounds with too few updates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TooFewTable {
    /// Updates that a round needs [default: 1]
    pub minimum: Option<u32>,
    /// skip the round, stop the run, or retry(ATTEMPTS) and then stop [default: skip]
    pub then: Option<OnTooFewSpec>,
}

/// The restart policy for failed clients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartTable {
    /// Failures allowed within the window; a client with more is retired [default: 3]
    pub budget: Option<u32>,
    /// Window in which failures are counted [default: 1 h]
    pub window: Option<Seconds>,
    /// Time until a client returns after its first failure; doubled with each further one
    /// [default: 1 s]
    pub backoff: Option<Seconds>,
    /// The longest time until it returns [default: 10 min]
    pub max_backoff: Option<Seconds>,
}

impl ScenarioTables {
    /// Takes the values that `other` has.
    pub(crate) fn extend(&mut self, other: Self) {
        self.task = other.task.or(self.task.take());
        self.policy = other.policy.or(self.policy.take());
        self.sampling = other.sampling.or(self.sampling.take());
        self.too_few = other.too_few.or(self.too_few.take());
        self.restart = other.restart.or(self.restart.take());
        self.clients.extend(other.clients);
        self.faults.extend(other.faults);
    }
}
