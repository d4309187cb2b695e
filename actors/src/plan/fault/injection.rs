//! The faults that strike a client in a round, drawn from separate streams.

use std::sync::Arc;

use rand::RngExt;
use rand::distr::Distribution;
use rand_distr::{LogNormal, Pareto};
use serde::{Deserialize, Serialize};

use super::{Corruption, Fault, FaultKind, FaultName, Slowdown};
use crate::ids::ClientId;
use crate::random::{Stream, StreamKey};

/// The point at which a job ends early.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interruption {
    /// After this fraction of its steps.
    pub at: f64,
    /// The kind of interruption.
    pub kind: InterruptionKind,
}

/// The ways in which a job ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterruptionKind {
    /// The client leaves; it is back in this round, or in the next one.
    Leave {
        /// See [`FaultKind::Drop`].
        rejoin: Option<u32>,
    },
    /// The client's actor panics.
    Crash,
    /// The lane fails under it.
    LaneFailure,
}

/// The faults of one client in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InjectedFaults {
    /// Multiplies the time that training takes.
    pub slowdown: f64,
    /// Multiplies the time that messages take.
    pub link: f64,
    /// Seconds added to the update's way.
    pub late: f64,
    /// Whether the update never arrives.
    pub lost: bool,
    /// The update arrives again this many seconds later.
    pub duplicate: Option<f64>,
    pub corruption: Option<Corruption>,
    #[serde(alias = "cut")]
    pub interruption: Option<Interruption>,
    /// The faults that struck, in the plan's order.
    pub names: Vec<FaultName>,
}

impl Default for InjectedFaults {
    /// Nothing goes wrong.
    fn default() -> Self {
        Self {
            slowdown: 1.0,
            link: 1.0,
            late: 0.0,
            lost: false,
            duplicate: None,
            corruption: None,
            interruption: None,
            names: Vec::new(),
        }
    }
}

impl InjectedFaults {
    fn add(&mut self, kind: FaultKind, stream: &mut Stream) {
        self.names.push(kind.name());
        match kind {
            FaultKind::Straggle { slowdown } => self.slowdown *= slowdown.draw(stream),
            FaultKind::Drop { at, rejoin } => {
                self.interrupt(at, InterruptionKind::Leave { rejoin })
            }
            FaultKind::Crash { at } => self.interrupt(at, InterruptionKind::Crash),
            FaultKind::LaneFailure { at } => self.interrupt(at, InterruptionKind::LaneFailure),
            FaultKind::SlowLink { factor } => self.link *= factor,
            FaultKind::LostUpdate => self.lost = true,
            FaultKind::DuplicateUpdate { delay } => self.duplicate = Some(delay),
            FaultKind::LateUpdate { seconds } => self.late += seconds,
            FaultKind::CorruptUpdate { corruption } => self.corruption = Some(corruption),
            FaultKind::ServerCrash { .. } => {}
        }
    }

    /// Whether the client starts its work at all.
    pub fn lets_begin(&self) -> bool {
        let leaves = |interruption: Interruption| {
            interruption.at <= 0.0 && matches!(interruption.kind, InterruptionKind::Leave { .. })
        };
        !self.interruption.is_some_and(leaves)
    }

    /// Ends the work at `at`, unless it ends before.
    pub fn interrupt(&mut self, at: f64, kind: InterruptionKind) {
        if self
            .interruption
            .is_none_or(|interruption| at < interruption.at)
        {
            self.interruption = Some(Interruption { at, kind });
        }
    }
}

impl Slowdown {
    fn draw(self, stream: &mut Stream) -> f64 {
        // The parameters were checked, so the distributions can be built.
        match self {
            Self::Factor { factor } => factor,
            Self::Uniform { low, high } => low + (high - low) * stream.random::<f64>(),
            Self::LogNormal { median, sigma } => {
                LogNormal::new(median.ln(), sigma).map_or(median, |d| d.sample(stream))
            }
            Self::Pareto { shape } => Pareto::new(1.0, shape).map_or(1.0, |d| d.sample(stream)),
        }
    }
}

/// A plan's faults, ready to be drawn.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    /// With the purpose that keys its streams.
    faults: Vec<(Arc<str>, Fault)>,
}

impl Faults {
    pub fn new(seed: u64, faults: &[Fault]) -> Self {
        let purpose = |i: usize, fault: &Fault| format!("fault {i} {}", fault.kind.name().as_str());
        let faults = faults.iter().enumerate();
        let faults = faults.map(|(i, fault)| (purpose(i, fault).into(), fault.clone()));
        Self {
            seed,
            faults: faults.collect(),
        }
    }

    /// The faults of a client selected in this round.
    pub fn inject(&self, client: ClientId, name: &str, round: u32, attempt: u32) -> InjectedFaults {
        let mut injected = InjectedFaults::default();
        for (purpose, fault) in &self.faults {
            if matches!(fault.kind, FaultKind::ServerCrash { .. }) || !fault.concerns(client, round)
            {
                continue;
            }
            let mut stream = self.stream(purpose, name, round, attempt);
            if fault.injected(&mut stream) {
                injected.add(fault.kind, &mut stream);
            }
        }
        injected
    }

    /// Seconds for which the server is down at the end of this round, if it crashes then.
    pub fn server_downtime(&self, round: u32) -> Option<f64> {
        self.faults.iter().find_map(|(purpose, fault)| {
            let FaultKind::ServerCrash { downtime } = fault.kind else {
                return None;
            };
            let mut stream = self.stream(purpose, "", round, 0);
            (fault.concerns_round(round) && fault.injected(&mut stream)).then_some(downtime)
        })
    }

    fn stream(&self, purpose: &str, name: &str, round: u32, attempt: u32) -> Stream {
        let seed = self.seed;
        let key = StreamKey {
            seed,
            purpose,
            name,
            round,
            attempt,
        };
        key.stream()
    }
}

impl Fault {
    fn concerns(&self, client: ClientId, round: u32) -> bool {
        self.concerns_round(round)
            && self
                .clients
                .as_ref()
                .is_none_or(|all| all.contains(&client))
    }

    fn concerns_round(&self, round: u32) -> bool {
        let holds = |range: &super::RoundRange| (range.from..=range.to).contains(&round);
        self.rounds.as_ref().is_none_or(|all| all.iter().any(holds))
    }

    fn injected(&self, stream: &mut Stream) -> bool {
        // Drawn in any case, so that what is drawn next does not depend on the probability.
        stream.random::<f64>() < self.probability
    }
}
