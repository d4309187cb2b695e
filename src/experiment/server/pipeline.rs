//! A round's updates become the next state: which of them are aggregated, and how.
//!
//! An update is checked as it comes; the state that an aggregation makes, before it becomes the
//! server's. Where that is not [sound](crate::aggregate::sound), updates are refused, the largest
//! first, and the rest is aggregated again, as if the others had never come.

use std::sync::Arc;

use regatta_actors::ids::ClientId;
use regatta_actors::workload::update::{Contribution, Refusal};

use crate::adapter::population::WeightedUpdates;
use crate::aggregate::check::check_update;
use crate::aggregate::methods::flora::widen;
use crate::aggregate::settings::Weighting;
use crate::aggregate::sound::{LIMIT, check_aggregate, check_state, update_norm};
use crate::aggregate::stale::{Mixture, UpdateWithBase, shares};
use crate::aggregate::state::GlobalState;
use crate::aggregate::{Report, Round};
use crate::base::tensors::TensorMap;
use crate::experiment::payload::ClientUpdate;
use crate::experiment::server::state::Server;
use crate::model::ModelError;

/// Updates that may be aggregated, in client order, and whose they are.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    clients: Vec<ClientId>,
    updates: Vec<UpdateWithBase>,
}

/// The result of aggregating a round's updates.
#[derive(Debug, Default)]
pub(crate) struct Aggregated {
    /// How far the aggregate is from the ideal; `None` where nothing was aggregated.
    pub exactness_error: Option<f64>,
    /// The updates that were not aggregated, in client order.
    pub refused: Vec<Refusal>,
}

/// The reason that an aggregation gave no usable state.
enum Failed {
    /// The state that it made is not sound, and why.
    Unsound(String),
    /// It could not be carried out.
    Error(ModelError),
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
        let (mut accepted, mut refused) = self.accept(updates);
        let mut exactness_error = None;
        while !accepted.updates.is_empty() {
            let shares = match shares(&accepted.updates) {
                Ok(shares) => shares,
                Err(reason) => {
                    let refuse = |client| Refusal {
                        client,
                        reason: reason.clone(),
                    };
                    refused.extend(accepted.clients.into_iter().map(refuse));
                    break;
                }
            };
            match self.attempt(round, &accepted.updates, shares) {
                Ok((state, report)) => {
                    self.state = state;
                    self.history.push(round, report.residual_ranks);
                    exactness_error = Some(report.exactness_error);
                    break;
                }
                Err(failed) => refused.extend(self.leave_out(&mut accepted, failed)?),
            }
        }
        refused.sort_by_key(|refusal| refusal.client);
        Ok(Aggregated {
            exactness_error,
            refused,
        })
    }

    /// Sorts updates into those that may be aggregated, with what they weigh, and refusals.
    fn accept(&self, updates: Vec<Contribution<ClientUpdate>>) -> (Accepted, Vec<Refusal>) {
        let (mut accepted, mut refused) = (Accepted::default(), Vec::new());
        for update in updates {
            let client = update.client;
            match self.acceptable(update) {
                Ok(update) => {
                    accepted.clients.push(client);
                    accepted.updates.push(update);
                }
                Err(reason) => refused.push(Refusal { client, reason }),
            }
        }
        (accepted, refused)
    }

    /// An update as it is aggregated, or what is wrong with it.
    fn acceptable(&self, update: Contribution<ClientUpdate>) -> Result<UpdateWithBase, String> {
        let client = update.client.0 as usize;
        let expected = self.experiment.trained_by(client, update.base_round);
        check_update(&update.update.0, &expected)?;
        let aggregation = &self.experiment.plan.aggregation;
        let examples = match aggregation.weighting {
            Weighting::Uniform => 1.0,
            Weighting::Examples => update.examples as f64,
        };
        let update = UpdateWithBase {
            update: self.widened(client, update.update.0),
            weight: update.weight * examples,
            base_round: update.base_round,
        };
        if let Some(most) = aggregation.max_update_norm {
            let norm = self.norm(&update);
            // A norm that is not a number is above it as well.
            if norm.is_nan() || norm > most {
                return Err(format!(
                    "its norm is {norm:.6e}, above max_update_norm = {most}"
                ));
            }
        }
        Ok(update)
    }

    /// How far an update goes from where it started.
    fn norm(&self, update: &UpdateWithBase) -> f64 {
        let start = self.start_of(update.base_round);
        let start = start.unwrap_or_else(|| Arc::clone(&self.snapshot.trained));
        let (adapter, groups) = (&*self.experiment.adapter, &self.experiment.groups);
        let device = self.compute.device;
        update_norm(adapter, groups, &start, &update.update, device)
    }

    /// Takes those out that a failed aggregation is put down to: the updates that alone would make
    /// no sound state, else the largest.
    fn leave_out(
        &self,
        accepted: &mut Accepted,
        failed: Failed,
    ) -> Result<Vec<Refusal>, ModelError> {
        let norms: Vec<f64> = accepted.updates.iter().map(|one| self.norm(one)).collect();
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
        let (mut kept, mut refused) = (Accepted::default(), Vec::new());
        let Accepted { clients, updates } = std::mem::take(accepted);
        for (at, (client, update)) in clients.into_iter().zip(updates).enumerate() {
            if out(at) {
                let norm = norms[at];
                let reason = format!("its norm is {norm:.6e}; {reason}");
                refused.push(Refusal { client, reason });
            } else {
                kept.clients.push(client);
                kept.updates.push(update);
            }
        }
        *accepted = kept;
        Ok(refused)
    }

    /// The trained tensors that a round's clients started from.
    fn start_of(&self, round: u32) -> Option<Arc<TensorMap>> {
        let (_, start) = self.starts.range(..=round).next_back()?;
        Some(Arc::clone(start))
    }

    /// An update of a lower rank as one of the server's.
    fn widened(&self, client: usize, update: TensorMap) -> TensorMap {
        match self.experiment.client_adapters.get(client) {
            Some(_) => {
                let plan = &self.experiment.plan.adapter;
                let ratio = plan.scaling(plan.ranks[client]) / plan.scaling(plan.r);
                widen(update, &self.state.trained, ratio as f32)
            }
            None => update,
        }
    }

    /// Aggregates updates, and checks the result. The state itself stays as it is.
    fn attempt(
        &self,
        round: u32,
        updates: &[UpdateWithBase],
        shares: Vec<f64>,
    ) -> Result<(GlobalState, Report), Failed> {
        let mixture = Mixture::of(updates, shares, round, |round| self.start_of(round));
        let experiment = &self.experiment;
        let plan = &experiment.plan;
        let borrowed: Vec<&TensorMap> = mixture.tensors.iter().map(|one| &**one).collect();
        let residual_scale = match plan.aggregation.vera_scale {
            true => plan.training.lr / plan.adapter.scaling(plan.adapter.r),
            false => 1.0,
        };
        let context = Round {
            round,
            adapter: &*experiment.adapter,
            groups: &experiment.groups,
            updates: WeightedUpdates {
                state: &self.snapshot.trained,
                updates: &borrowed,
                weights: &mixture.weights,
                device: self.compute.device,
            },
            residual_scale,
            seed: plan.seed,
        };
        let mut state = self.state.clone();
        let report = experiment.method.aggregate(&context, &mut state);
        let report = report.map_err(Failed::Error)?;
        check_aggregate(&state, &report).map_err(Failed::Unsound)?;
        Ok((state, report))
    }
}
