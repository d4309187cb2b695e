//! Scripted faults: their kind, their clients and their rounds.

mod check;
pub mod injection;

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::ids::ClientId;

/// One scripted fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The kind of fault.
    pub kind: FaultKind,
    /// The clients that it can strike; `None`: all of them. [`FaultKind::ServerCrash`] takes none.
    #[serde(default)]
    pub clients: Option<Vec<ClientId>>,
    /// In which rounds it can strike; `None`: in all.
    #[serde(default)]
    pub rounds: Option<Vec<RoundRange>>,
    /// How likely it strikes each of these clients in each of these rounds, drawn from the run's
    /// seed.
    #[serde(default = "certain")]
    pub probability: f64,
}

fn certain() -> f64 {
    1.0
}

/// The rounds from `from` to `to`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundRange {
    /// The first.
    pub from: u32,
    /// The last.
    pub to: u32,
}

/// The fault.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FaultKind {
    /// The client trains more slowly.
    Straggle {
        /// By how much.
        slowdown: Slowdown,
    },
    /// The client drops out of the round.
    Drop {
        /// After this fraction of its work; 0: before it begins.
        at: f64,
        /// The round in which it is back; `None`: the next one.
        #[serde(default)]
        rejoin: Option<u32>,
    },
    /// The client's actor panics and is restarted.
    Crash {
        /// After this fraction of its work.
        at: f64,
    },
    /// The device that the client trains on fails and restarts; the client's job is lost.
    LaneFailure {
        /// After this fraction of its work.
        at: f64,
    },
    /// The client's connection is slower in both directions, and its latency longer.
    SlowLink {
        /// By this factor.
        factor: f64,
    },
    /// The update never arrives. The server notices when it should have.
    LostUpdate,
    /// The update arrives twice.
    DuplicateUpdate {
        /// Seconds between the two.
        delay: f64,
    },
    /// The update takes longer on its way.
    LateUpdate {
        /// By this many seconds.
        seconds: f64,
    },
    /// The update is corrupted before it is sent.
    CorruptUpdate {
        /// The kind of corruption.
        corruption: Corruption,
    },
    /// The server dies when the round's updates are in, before it aggregates them. It is rebuilt
    /// from the last checkpoint, and what came after that is done again, to the same bits.
    ServerCrash {
        /// Seconds until it is back.
        downtime: f64,
    },
}

/// A fault's name, for events and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum FaultName {
    Straggle,
    Drop,
    Crash,
    LaneFailure,
    SlowLink,
    LostUpdate,
    DuplicateUpdate,
    LateUpdate,
    CorruptUpdate,
    ServerCrash,
}

impl FaultName {
    /// Faults after which an update still comes, later than it would have.
    pub const SLOWING: [Self; 3] = [Self::Straggle, Self::SlowLink, Self::LateUpdate];
}

/// Factors by which a client can be slower. Far beyond them virtual time, which counts
/// nanoseconds and 584 years, would stand still or be at its end.
pub const SLOWDOWNS: RangeInclusive<f64> = 1e-3..=1e6;

/// The slowdown of a straggler: its duration is multiplied by this.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "distribution", rename_all = "snake_case", deny_unknown_fields)]
pub enum Slowdown {
    /// Always the same.
    Factor {
        /// The factor.
        factor: f64,
    },
    /// Uniform between two factors.
    Uniform {
        /// The least.
        low: f64,
        /// The most.
        high: f64,
    },
    /// Log-normal: exp of a normal distribution.
    LogNormal {
        /// The median factor.
        median: f64,
        /// Standard deviation of the factor's logarithm.
        sigma: f64,
    },
    /// Pareto: at least 1, with a heavy tail.
    Pareto {
        /// The tail's exponent; the smaller, the heavier.
        shape: f64,
    },
}

/// The kind of corruption of an update; see [`crate::workload::Workload::corrupt`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "corruption", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Corruption {
    /// Some values are not numbers.
    Nan,
    /// A tensor has another shape than it should.
    WrongShape,
    /// Normal noise is added to every value.
    Noise {
        /// Its standard deviation, as a multiple of the root mean square of the tensor's values.
        scale: f64,
    },
    /// The client's step away from where it started is turned around.
    SignFlip,
}

impl Fault {
    /// A fault that strikes every client in every round.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            clients: None,
            rounds: None,
            probability: 1.0,
        }
    }

    /// Clients train this many times more slowly.
    #[must_use]
    pub fn straggle(factor: f64) -> Self {
        let slowdown = Slowdown::Factor { factor };
        Self::new(FaultKind::Straggle { slowdown })
    }

    /// Clients drop out after this fraction of their work, for the rest of the round.
    #[must_use]
    pub fn drop(at: f64) -> Self {
        Self::new(FaultKind::Drop { at, rejoin: None })
    }

    /// The same fault, for these clients alone.
    #[must_use]
    pub fn on(self, clients: impl IntoIterator<Item = u32>) -> Self {
        let clients = Some(clients.into_iter().map(ClientId).collect());
        Self { clients, ..self }
    }

    /// The same fault, in the rounds `from` to `to` alone.
    #[must_use]
    pub fn in_rounds(self, from: u32, to: u32) -> Self {
        let rounds = Some(vec![RoundRange { from, to }]);
        Self { rounds, ..self }
    }

    /// The same fault, striking with this probability.
    #[must_use]
    pub fn with_probability(self, probability: f64) -> Self {
        Self {
            probability,
            ..self
        }
    }
}

impl FaultKind {
    /// The kind without its numbers.
    #[must_use]
    pub fn name(&self) -> FaultName {
        match self {
            Self::Straggle { .. } => FaultName::Straggle,
            Self::Drop { .. } => FaultName::Drop,
            Self::Crash { .. } => FaultName::Crash,
            Self::LaneFailure { .. } => FaultName::LaneFailure,
            Self::SlowLink { .. } => FaultName::SlowLink,
            Self::LostUpdate => FaultName::LostUpdate,
            Self::DuplicateUpdate { .. } => FaultName::DuplicateUpdate,
            Self::LateUpdate { .. } => FaultName::LateUpdate,
            Self::CorruptUpdate { .. } => FaultName::CorruptUpdate,
            Self::ServerCrash { .. } => FaultName::ServerCrash,
        }
    }
}

impl FaultName {
    /// Every name, for counters that show each of them.
    pub const ALL: [Self; 10] = [
        Self::Straggle,
        Self::Drop,
        Self::Crash,
        Self::LaneFailure,
        Self::SlowLink,
        Self::LostUpdate,
        Self::DuplicateUpdate,
        Self::LateUpdate,
        Self::CorruptUpdate,
        Self::ServerCrash,
    ];

    /// The name as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Straggle => "straggle",
            Self::Drop => "drop",
            Self::Crash => "crash",
            Self::LaneFailure => "lane_failure",
            Self::SlowLink => "slow_link",
            Self::LostUpdate => "lost_update",
            Self::DuplicateUpdate => "duplicate_update",
            Self::LateUpdate => "late_update",
            Self::CorruptUpdate => "corrupt_update",
            Self::ServerCrash => "server_crash",
        }
    }
}
