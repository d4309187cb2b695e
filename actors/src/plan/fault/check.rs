//! What is wrong with a fault.

use super::{Corruption, Fault, FaultKind, SLOWDOWNS, Slowdown};
use crate::plan::errors::PlanErrors;

impl Fault {
    /// Adds what is wrong with it to `errors`, in a run with a fleet of this size. `path`
    /// is the fault's place in the plan.
    pub fn check(&self, path: &str, fleet: usize, errors: &mut PlanErrors) {
        errors.fraction(self.probability, path, "probability");
        self.check_clients(path, fleet, errors);
        self.check_rounds(path, errors);
        self.kind.check(path, errors);
    }

    fn check_clients(&self, path: &str, fleet: usize, errors: &mut PlanErrors) {
        for (i, &client) in self.clients.iter().flatten().enumerate() {
            errors.client(client, fleet, &format!("{path}.clients[{i}]"));
        }
        let for_server = matches!(self.kind, FaultKind::ServerCrash { .. });
        let ok = !(for_server && self.clients.is_some());
        let message = "a server crash concerns no client; omit the clients";
        errors.require(ok, path, "clients", message);
    }

    fn check_rounds(&self, path: &str, errors: &mut PlanErrors) {
        for (i, range) in self.rounds.iter().flatten().enumerate() {
            let field = format!("rounds[{i}]");
            let message = "there is no round 0; rounds are numbered from 1";
            errors.require(range.from >= 1, path, &field, message);
            let ok = range.from <= range.to;
            errors.require(ok, path, &field, "must not end before its first round");
        }
    }
}

impl FaultKind {
    fn check(&self, path: &str, errors: &mut PlanErrors) {
        match *self {
            Self::Straggle { slowdown } => slowdown.check(path, errors),
            Self::Drop { at, .. } | Self::Crash { at } | Self::LaneFailure { at } => {
                errors.fraction(at, path, "at");
            }
            Self::SlowLink { factor } => errors.within(factor, SLOWDOWNS, path, "factor"),
            Self::DuplicateUpdate { delay } => errors.not_negative(delay, path, "delay"),
            Self::LateUpdate { seconds } => errors.not_negative(seconds, path, "seconds"),
            Self::ServerCrash { downtime } => errors.not_negative(downtime, path, "downtime"),
            Self::CorruptUpdate {
                corruption: Corruption::Noise { scale },
            } => errors.positive(scale, path, "corruption.scale"),
            Self::CorruptUpdate { .. } | Self::LostUpdate => {}
        }
    }
}

impl Slowdown {
    fn check(&self, path: &str, errors: &mut PlanErrors) {
        match *self {
            Self::Factor { factor } => errors.within(factor, SLOWDOWNS, path, "slowdown.factor"),
            Self::Uniform { low, high } => {
                errors.within(low, SLOWDOWNS, path, "slowdown.low");
                errors.within(high, SLOWDOWNS, path, "slowdown.high");
                let message = "the least factor must not be above the greatest";
                errors.require(low <= high, path, "slowdown.low", message);
            }
            Self::LogNormal { median, sigma } => {
                errors.within(median, SLOWDOWNS, path, "slowdown.median");
                errors.positive(sigma, path, "slowdown.sigma");
            }
            Self::Pareto { shape } => errors.positive(shape, path, "slowdown.shape"),
        }
    }
}
