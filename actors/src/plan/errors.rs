//! The problems of a plan, each with the path of its field.

use std::fmt;
use std::ops::RangeInclusive;

use crate::ids::ClientId;

/// One thing that is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError {
    /// The field, as in `faults[2].probability`; a file's reader can find its line with it.
    pub path: String,
    /// The problem and the expected value.
    pub message: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Everything that is wrong with a plan. The plan's parts add to it as they are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("the plan cannot be run: {}", join(.0))]
pub struct PlanErrors(pub Vec<PlanError>);

fn join(errors: &[PlanError]) -> String {
    let sentences: Vec<_> = errors.iter().map(ToString::to_string).collect();
    sentences.join("; ")
}

impl PlanErrors {
    /// Nothing, or everything that was added.
    ///
    /// # Errors
    /// If anything was.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }

    /// The fleet must have the client that `path` names.
    pub fn client(&mut self, client: ClientId, fleet: usize, path: &str) {
        if client.0 as usize >= fleet {
            let last = fleet.saturating_sub(1);
            let message = format!("there is no client {client}; clients are numbered 0 to {last}");
            self.add(path, message);
        }
    }

    /// Adds a problem of the field at `path`.
    pub(crate) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(PlanError {
            path: path.into(),
            message: message.into(),
        });
    }

    /// Adds a problem of `path.field` unless it is `ok`.
    pub(crate) fn require(&mut self, ok: bool, path: &str, field: &str, message: &str) {
        if !ok {
            self.add(join_path(path, field), message);
        }
    }

    /// `path.field` must be greater than 0.
    pub(crate) fn positive(&mut self, value: f64, path: &str, field: &str) {
        let ok = value.is_finite() && value > 0.0;
        self.require(ok, path, field, "must be finite and above 0");
    }

    /// `path.field` must be at least 0.
    pub(crate) fn not_negative(&mut self, value: f64, path: &str, field: &str) {
        let ok = value.is_finite() && value >= 0.0;
        self.require(ok, path, field, "must be finite and at least 0");
    }

    /// `path.field` must lie between 0 and 1.
    pub(crate) fn fraction(&mut self, value: f64, path: &str, field: &str) {
        self.within(value, 0.0..=1.0, path, field);
    }

    /// `path.field` must lie in a range.
    pub(crate) fn within(
        &mut self,
        value: f64,
        range: RangeInclusive<f64>,
        path: &str,
        field: &str,
    ) {
        if !range.contains(&value) {
            let (least, most) = range.into_inner();
            let message = format!("must be from {least} to {most}");
            self.add(join_path(path, field), message);
        }
    }

    /// `path.field` must be at least 1.
    pub(crate) fn at_least_one(&mut self, value: u32, path: &str, field: &str) {
        self.require(value > 0, path, field, "must be at least 1");
    }
}

fn join_path(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::fault::{Corruption, Fault, FaultKind};
    use crate::plan::policy::{Late, RoundPolicy};
    use crate::plan::{ClientPlan, FederationPlan};

    #[test]
    fn everything_that_is_wrong_with_a_plan_is_named_by_its_path() {
        let mut client = ClientPlan::new("a", 1);
        client.profile.speed = 0.0;
        let mut plan = FederationPlan::new("demo", 0, vec![client.clone(), client]);
        plan.clients[1].profile.speed = 1.0;
        plan.rounds = 0;
        plan.policy = RoundPolicy::Quorum {
            updates: 3,
            late: Late::Cancel,
        };
        let corruption = Corruption::Noise { scale: f64::NAN };
        plan.faults = vec![
            Fault::drop(1.5).on([0, 2]),
            Fault::new(FaultKind::CorruptUpdate { corruption }),
        ];
        let errors = plan.check().unwrap_err();
        let errors: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "rounds: must be at least 1",
                "clients[0].profile.speed: must be finite and above 0",
                "clients[1].name: another client is named \"a\" too",
                "faults[0].clients[1]: there is no client 2; clients are numbered 0 to 1",
                "faults[0].at: must be from 0 to 1",
                "faults[1].corruption.scale: must be finite and above 0",
                "policy.updates: must be from 1 to 2: a round gets at most one update from each \
                 client that it selects",
            ]
        );
    }
}
