//! The condition that ends a round, and the treatment of late updates and of too few.

use serde::{Deserialize, Serialize};

use crate::plan::errors::PlanErrors;
use crate::plan::sampling::Sampling;

/// The condition that ends a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum RoundPolicy {
    /// When every selected client has sent an update or is known to be gone.
    #[default]
    Sync,
    /// After this many seconds at the latest.
    Deadline {
        /// From the broadcast.
        seconds: f64,
        /// The treatment of the other clients' updates.
        #[serde(default)]
        late: Late,
    },
    /// When the first N updates have arrived.
    Quorum {
        /// The number of updates.
        updates: u32,
        /// The treatment of the other clients' updates.
        #[serde(default)]
        late: Late,
    },
    /// Selects more clients than [`Sampling`] says, and is over when as many updates as it says
    /// are in (Bonawitz et al., 2019).
    OverSelect {
        /// The factor by which to over-select; 1.3 selects 13 clients for 10 updates.
        factor: f64,
        /// The treatment of the other clients' updates.
        #[serde(default)]
        late: Late,
    },
    /// Asynchronous (FedBuff, Nguyen et al., 2022): the server aggregates whenever N updates have
    /// arrived, whatever state they started from, while clients continue. A round is one such step.
    /// [`Sampling`] says how many clients train at any time.
    Buffered {
        /// Updates per aggregation.
        updates: u32,
        /// The weight of stale updates.
        #[serde(default)]
        staleness: Staleness,
    },
}

/// The treatment of an update that arrives after its round closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Late {
    /// The client is cancelled when the round closes.
    #[default]
    #[serde(rename = "refuse", alias = "cancel")]
    Cancel,
    /// The client continues and is busy until its update arrives, which is counted and dropped.
    #[serde(rename = "stale", alias = "discard")]
    Discard,
    /// The client continues, and its update takes part in the round in which it arrives.
    Carry(Staleness),
}

/// What an update weighs by its staleness τ, the rounds since the state that it started from:
/// `(1 + τ)^(-exponent)` (Xie et al., 2019; FedBuff takes ½).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Staleness {
    /// 0: staleness does not matter.
    pub exponent: f64,
    /// Updates staler than this are dropped; `None`: none are.
    pub max: Option<u32>,
}

/// The policy for rounds with too few updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinUpdates {
    /// Updates that a round needs.
    pub minimum: u32,
    /// The action if there are fewer.
    pub then: OnTooFew,
}

/// See [`MinUpdates::then`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnTooFew {
    /// Select clients again, keeping the updates that arrived, up to N times; then the run stops.
    Retry {
        /// The number of attempts.
        attempts: u32,
    },
    /// Aggregate nothing and continue with the next round.
    Skip,
    /// The run stops with an error.
    Stop,
}

impl Default for Staleness {
    /// As in FedBuff.
    fn default() -> Self {
        Self {
            exponent: 0.5,
            max: None,
        }
    }
}

impl Staleness {
    /// The weight of an update; `None`: it is too stale.
    #[must_use]
    pub fn weight(&self, staleness: u32) -> Option<f64> {
        let fresh_enough = self.max.is_none_or(|max| staleness <= max);
        fresh_enough.then(|| (1.0 + f64::from(staleness)).powf(-self.exponent))
    }

    fn check(&self, path: &str, errors: &mut PlanErrors) {
        errors.not_negative(self.exponent, path, "exponent");
    }
}

impl Default for MinUpdates {
    /// One update is enough; without any, the round is skipped.
    fn default() -> Self {
        Self {
            minimum: 1,
            then: OnTooFew::Skip,
        }
    }
}

impl MinUpdates {
    /// Adds what is wrong with it to `errors`, in a run whose rounds get `most` updates
    /// ([`RoundPolicy::most_updates`]). `path` is its place in the plan.
    pub fn check(&self, path: &str, most: usize, errors: &mut PlanErrors) {
        check_updates(self.minimum, most, path, "minimum", errors);
        if let OnTooFew::Retry { attempts } = self.then {
            errors.at_least_one(attempts, path, "then.retry.attempts");
        }
    }
}

/// A round must be able to get the number of updates that it waits for.
fn check_updates(updates: u32, most: usize, path: &str, field: &str, errors: &mut PlanErrors) {
    let message = format!(
        "must be from 1 to {most}: a round gets at most one update from each client that it selects"
    );
    let ok = (1..=most).contains(&(updates as usize));
    errors.require(ok, path, field, &message);
}

impl RoundPolicy {
    /// Whether clients continue when a round closes, and start again during one.
    #[must_use]
    pub fn is_buffered(&self) -> bool {
        matches!(self, Self::Buffered { .. })
    }

    /// The treatment of late updates.
    #[must_use]
    pub fn late(&self) -> Late {
        match *self {
            Self::Sync => Late::Cancel,
            Self::Deadline { late, .. }
            | Self::Quorum { late, .. }
            | Self::OverSelect { late, .. } => late,
            Self::Buffered { staleness, .. } => Late::Carry(staleness),
        }
    }

    /// The most updates that a round can get from a fleet of this size, at least 1.
    #[must_use]
    pub fn most_updates(&self, sampling: &Sampling, fleet: usize) -> usize {
        match self {
            // A client that has sent an update is followed by another one.
            Self::Buffered { .. } => fleet,
            _ => sampling.wanted(fleet).min(fleet),
        }
        // What is wrong with the fleet or the sampling is not reported a second time.
        .max(1)
    }

    /// Adds what is wrong with it to `errors`, in a run whose rounds get `most` updates
    /// ([`RoundPolicy::most_updates`]). `path` is the policy's place in the plan.
    pub fn check(&self, path: &str, most: usize, errors: &mut PlanErrors) {
        match *self {
            Self::Sync => {}
            Self::Deadline { seconds, .. } => errors.positive(seconds, path, "seconds"),
            Self::Quorum { updates, .. } | Self::Buffered { updates, .. } => {
                check_updates(updates, most, path, "updates", errors);
            }
            Self::OverSelect { factor, .. } => {
                let ok = factor.is_finite() && factor >= 1.0;
                errors.require(ok, path, "factor", "must be finite and at least 1");
            }
        }
        if let Late::Carry(staleness) = self.late() {
            let field = if self.is_buffered() {
                "staleness"
            } else {
                "late.carry"
            };
            staleness.check(&format!("{path}.{field}"), errors);
        }
    }
}
