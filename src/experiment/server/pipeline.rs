//! A round's updates become the next state, in stages.
//!
//! An update is checked as it comes; the state that an aggregation makes, before it becomes the
//! server's. Where that is not [sound](crate::aggregate::sound), updates are refused, the largest
//! first, and the rest is aggregated again, as if the others had never come.
//!
//! Whatever is to be done to updates before they are aggregated is one more stage of [`STAGES`].

use std::sync::Arc;

use regatta_actors::ids::ClientId;
use regatta_actors::workload::update::{Contribution, Measures, Refusal};
use tch::Device;

use crate::adapter::population::WeightedUpdates;
use crate::aggregate::check::check_update;
use crate::aggregate::measures::{ClientMove, client_drift, measures};
use crate::aggregate::methods::flora::widen;
use crate::aggregate::settings::Weighting;
use crate::aggregate::sound::{LIMIT, adapter_tensors, check_aggregate, check_state, update_norm};
use crate::aggregate::stale::{Mixture, UpdateWithBase, shares};
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Report, Round};
use crate::base::tensors::TensorMap;
use crate::experiment::payload::ClientUpdate;
use crate::experiment::server::room::with_room;
use crate::experiment::server::state::Server;
use crate::model::ModelError;

/// One step from a round's updates to the next state. It refuses updates or changes them; the
/// server itself stays as it is.
type Stage = fn(&Server, &mut RoundUpdates) -> Result<(), ModelError>;

/// All stages, in their order.
const STAGES: [Stage; 5] = [
    // Right tensors, finite, of the right shapes.
    check,
    // Of the server's rank.
    widen_ranks,
    // Not further from where they started than `max_update_norm`.
    limit_norms,
    // By their examples, if the plan says so.
    weigh,
    // Mixed with the states that they started from, aggregated by the method, and verified.
    aggregate,
];

/// The result of aggregating a round's updates.
#[derive(Debug, Default)]
pub(crate) struct Aggregated {
    /// How far the aggregate is from the ideal; `None` where nothing was aggregated.
    pub exactness_error: Option<f64>,
    /// What else was measured of it.
    pub measures: Measures,
    /// The updates that were not aggregated, in client order.
    pub refused: Vec<Refusal>,
}

/// A round's updates on their way through the stages.
struct RoundUpdates {
    round: u32,
    /// What may be aggregated, in client order.
    accepted: Vec<Candidate>,
    refused: Vec<Refusal>,
    /// What the last stage made of them; `None` where nothing was left.
    next: Option<NextState>,
}

/// The next state, and what is known of how it came about.
struct NextState {
    state: GlobalState,
    report: Report,
    measures: Measures,
}

/// An update that may be aggregated.
#[derive(Debug)]
struct Candidate {
    client: ClientId,
    examples: u64,
    update: UpdateWithBase,
}

impl RoundUpdates {
    /// Keeps the updates that a stage has no objection to, and refuses the others for its reasons.
    fn retain(&mut self, mut object: impl FnMut(&Candidate) -> Option<String>) {
        let refused = &mut self.refused;
        self.accepted.retain(|candidate| match object(candidate) {
            None => true,
            Some(reason) => {
                let client = candidate.client;
                refused.push(Refusal { client, reason });
                false
            }
        });
    }
}

impl Server {
    /// Aggregates what can be aggregated of a round's updates into the state.
    ///
    /// # Errors
    /// If the aggregation fails and no update is to blame; the state is then as it was.
    pub(crate) fn aggregate_round(
        &mut self,
        round: u32,
        updates: Vec<Contribution<ClientUpdate>>,
    ) -> Result<Aggregated, ModelError> {
        let candidate = |one: Contribution<ClientUpdate>| Candidate {
            client: one.client,
            examples: one.examples,
            update: UpdateWithBase {
                update: one.update.0,
                weight: one.weight,
                base_round: one.base_round,
            },
        };
        let mut updates = RoundUpdates {
            round,
            accepted: updates.into_iter().map(candidate).collect(),
            refused: Vec::new(),
            next: None,
        };
        for stage in STAGES {
            stage(self, &mut updates)?;
        }
        let mut aggregated = Aggregated {
            exactness_error: None,
            measures: Measures::new(),
            refused: updates.refused,
        };
        aggregated.refused.sort_by_key(|refusal| refusal.client);
        if let Some(next) = updates.next {
            self.state = next.state;
            self.history.push(round, next.report.residual_ranks);
            aggregated.exactness_error = Some(next.report.exactness_error);
            aggregated.measures = next.measures;
        }
        Ok(aggregated)
    }

    /// How far an update goes from where it started.
    fn norm(&self, update: &UpdateWithBase) -> f64 {
        let start = self.known_start_of(update.base_round);
        let (adapter, groups) = (&*self.experiment.adapter, &self.experiment.groups);
        let norm = |device| update_norm(adapter, groups, &start, &update.update, device);
        match (norm(self.compute.device), self.compute.device) {
            // Which a GPU without room for it gives too.
            (norm_there, Device::Cuda(_)) if norm_there.is_infinite() => norm(Device::Cpu),
            (norm_there, _) => norm_there,
        }
    }

    /// The trained tensors that a round's clients started from.
    fn start_of(&self, round: u32) -> Option<Arc<TensorMap>> {
        let (_, start) = self.starts.range(..=round).next_back()?;
        Some(Arc::clone(start))
    }

    /// The same; the latest, where that round's are not known any more.
    fn known_start_of(&self, round: u32) -> Arc<TensorMap> {
        let start = self.start_of(round);
        start.unwrap_or_else(|| Arc::clone(&self.snapshot.trained))
    }
}

fn check(server: &Server, updates: &mut RoundUpdates) -> Result<(), ModelError> {
    updates.retain(|one| {
        let client = one.client.0 as usize;
        let expected = server.experiment.trained_by(client, one.update.base_round);
        check_update(&one.update.update, &expected).err()
    });
    Ok(())
}

fn widen_ranks(server: &Server, updates: &mut RoundUpdates) -> Result<(), ModelError> {
    let plan = &server.experiment.plan.adapter;
    for one in &mut updates.accepted {
        let client = one.client.0 as usize;
        if server.experiment.client_adapters.get(client).is_some() {
            let ratio = plan.scaling(plan.ranks[client]) / plan.scaling(plan.r);
            let update = std::mem::take(&mut one.update.update);
            one.update.update = widen(update, &server.state.trained, ratio as f32);
        }
    }
    Ok(())
}

fn limit_norms(server: &Server, updates: &mut RoundUpdates) -> Result<(), ModelError> {
    let Some(most) = server.experiment.plan.aggregation.max_update_norm else {
        return Ok(());
    };
    updates.retain(|one| {
        let norm = server.norm(&one.update);
        // A norm that is not a number is above it as well.
        let above = norm.is_nan() || norm > most;
        above.then(|| format!("its norm is {norm:.6e}, above max_update_norm = {most}"))
    });
    Ok(())
}

fn weigh(server: &Server, updates: &mut RoundUpdates) -> Result<(), ModelError> {
    if server.experiment.plan.aggregation.weighting == Weighting::Examples {
        for one in &mut updates.accepted {
            one.update.weight *= one.examples as f64;
        }
    }
    Ok(())
}

fn aggregate(server: &Server, updates: &mut RoundUpdates) -> Result<(), ModelError> {
    while !updates.accepted.is_empty() {
        let shares = match shares(updates.accepted.iter().map(|one| &one.update)) {
            Ok(shares) => shares,
            Err(reason) => {
                updates.retain(|_| Some(reason.clone()));
                break;
            }
        };
        match server.attempt(updates, &shares) {
            Ok(next) => {
                updates.next = Some(next);
                break;
            }
            Err(failed) => server.leave_out(updates, failed)?,
        }
    }
    Ok(())
}

/// The reason that an aggregation gave no usable state.
enum Failed {
    /// The state that it made is not sound, and why.
    Unsound(String),
    /// It could not be carried out.
    Error(ModelError),
}

impl Server {
    /// Aggregates updates, and checks the result.
    fn attempt(&self, updates: &RoundUpdates, shares: &[f64]) -> Result<NextState, Failed> {
        let made = with_room("aggregating", self.compute.device, |device| {
            self.next_state(updates, shares, device)
        });
        let (state, report) = made.map_err(Failed::Error)?;
        check_aggregate(&state, &report).map_err(Failed::Unsound)?;
        let drift = self.drift(&updates.accepted, shares);
        Ok(NextState {
            measures: measures(&report, &state, drift),
            state,
            report,
        })
    }

    /// What the method makes of updates, computed on a device.
    fn next_state(
        &self,
        updates: &RoundUpdates,
        shares: &[f64],
        device: Device,
    ) -> Result<(GlobalState, Report), ModelError> {
        let accepted = updates.accepted.iter().map(|one| &one.update);
        let mixture = Mixture::of(accepted, shares.to_vec(), updates.round, |round| {
            self.start_of(round)
        });
        let experiment = &self.experiment;
        let plan = &experiment.plan;
        let borrowed: Vec<&TensorMap> = mixture.tensors.iter().map(|one| &**one).collect();
        let residual_scale = match plan.aggregation.vera_scale {
            true => plan.training.lr / plan.adapter.scaling(plan.adapter.r),
            false => plan.aggregation.residual_scale,
        };
        let round = Round {
            round: updates.round,
            adapter: &*experiment.adapter,
            groups: &experiment.groups,
            updates: WeightedUpdates {
                state: &self.snapshot.trained,
                updates: &borrowed,
                weights: &mixture.weights,
                device,
            },
            residual_scale,
            seed: plan.seed,
        };
        let mut state = self.state.clone();
        let report = experiment.method.aggregate(&round, &mut state)?;
        Ok((state, report))
    }

    /// How far the clients' adapters are from each other. Adapters of different ranks have no mean.
    fn drift(&self, accepted: &[Candidate], shares: &[f64]) -> Option<f64> {
        let experiment = &self.experiment;
        if !experiment.client_adapters.is_empty() {
            return None;
        }
        let starts = accepted.iter().map(|one| &one.update);
        let starts: Vec<_> = starts
            .map(|update| self.known_start_of(update.base_round))
            .collect();
        let of_each = accepted.iter().zip(&starts).zip(shares);
        let moves: Vec<_> = of_each
            .map(|((one, start), weight)| ClientMove {
                start,
                update: &one.update.update,
                weight: *weight,
            })
            .collect();
        let names = adapter_tensors(&*experiment.adapter, &experiment.groups);
        client_drift(&names, &moves)
    }

    /// Refuses those that a failed aggregation is put down to: the updates that alone would make
    /// no sound state, else the largest.
    fn leave_out(&self, updates: &mut RoundUpdates, failed: Failed) -> Result<(), ModelError> {
        let norms = updates.accepted.iter().map(|one| self.norm(&one.update));
        let norms: Vec<f64> = norms.collect();
        let hopeless = |norm: f64| norm >= f64::from(LIMIT);
        let reason = match failed {
            Failed::Unsound(reason) => {
                check_state(&self.state).map_err(|was| {
                    ModelError::Refused(format!("the state was not sound before it: {was}"))
                })?;
                format!("with it {reason}")
            }
            Failed::Error(error) if norms.iter().any(|norm| hopeless(*norm)) => {
                format!("the aggregation fails with it ({error})")
            }
            Failed::Error(error) => return Err(error),
        };
        let largest = norms.iter().copied().fold(0.0, f64::max);
        let first = norms.iter().position(|norm| *norm == largest);
        let out = |at: usize| hopeless(norms[at]) || (largest < LIMIT.into() && Some(at) == first);
        let mut at = 0..norms.len();
        updates.retain(|_| {
            let at = at.next().filter(|at| out(*at))?;
            Some(format!("its norm is {:.6e}; {reason}", norms[at]))
        });
        Ok(())
    }
}
