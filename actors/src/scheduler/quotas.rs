//! How many clients a round selects and how many updates it takes, as the plan has it.

use crate::plan::FederationPlan;
use crate::plan::policy::RoundPolicy;

/// Clients to select at the beginning of an attempt.
pub(super) fn clients(plan: &FederationPlan) -> usize {
    let sampled = plan.sampling.wanted(plan.clients.len());
    match plan.policy {
        RoundPolicy::OverSelect { factor, .. } => (sampled as f64 * factor).ceil() as usize,
        _ => sampled,
    }
}

/// Updates that close a round before all of them are in.
pub(super) fn target(plan: &FederationPlan) -> usize {
    match plan.policy {
        RoundPolicy::Quorum { updates, .. } | RoundPolicy::Buffered { updates, .. } => {
            updates as usize
        }
        RoundPolicy::OverSelect { .. } => plan.sampling.wanted(plan.clients.len()),
        _ => usize::MAX,
    }
}

/// Updates without which a round has too few.
pub(super) fn needed(plan: &FederationPlan) -> usize {
    let minimum = plan.too_few.minimum;
    let needed = match plan.policy {
        RoundPolicy::Quorum { updates, .. } | RoundPolicy::Buffered { updates, .. } => {
            minimum.max(updates)
        }
        _ => minimum,
    };
    needed as usize
}
