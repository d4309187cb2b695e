//! A round's updates become the next state: those that can be folded, and the fold.

use std::sync::Arc;

use regatta_actors::learner::{Contribution, Refusal};

use super::payload::ClientUpdate;
use super::server::Server;
use crate::adapter::Population;
use crate::aggregate::Round;
use crate::aggregate::check::check_update;
use crate::aggregate::flora::widen;
use crate::aggregate::stale::{Mixture, StartedUpdate};
use crate::config::Weighting;
use crate::model::ModelError;
use crate::tensors::TensorMap;

impl Server {
    /// Sorts updates into those that can be folded, with their weights, and refusals.
    pub(super) fn accept(
        &self,
        updates: Vec<Contribution<ClientUpdate>>,
    ) -> (Vec<StartedUpdate>, Vec<Refusal>) {
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for update in updates {
            let client = update.client.0 as usize;
            let expected = self.experiment.trained_by(client, update.base_round);
            if let Err(reason) = check_update(&update.update.0, &expected) {
                let client = update.client;
                refused.push(Refusal { client, reason });
                continue;
            }
            let examples = match self.experiment.plan.aggregation.weighting {
                Weighting::Uniform => 1.0,
                Weighting::Examples => update.examples as f64,
            };
            accepted.push(StartedUpdate {
                update: self.widened(client, update.update.0),
                weight: update.weight * examples,
                base_round: update.base_round,
            });
        }
        let total: f64 = accepted.iter().map(|update| update.weight).sum();
        accepted
            .iter_mut()
            .for_each(|update| update.weight /= total);
        (accepted, refused)
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

    pub(super) fn fold(&mut self, round: u32, updates: Vec<StartedUpdate>) -> Result<f64, ModelError> {
        let mixture = Mixture::of(updates, round, |round| self.start_of(round));
        let experiment = Arc::clone(&self.experiment);
        let plan = &experiment.plan;
        let started_from = Arc::clone(&self.snapshot);
        let borrowed: Vec<&TensorMap> = mixture.tensors.iter().collect();
        let fold_scale = match plan.aggregation.vera_scale {
            true => plan.training.lr / plan.adapter.scaling(plan.adapter.r),
            false => 1.0,
        };
        let context = Round {
            round,
            adapter: &*experiment.adapter,
            groups: &experiment.groups,
            updates: Population {
                state: &started_from.trained,
                updates: &borrowed,
                weights: &mixture.weights,
                device: self.compute.device,
            },
            fold_scale,
            seed: plan.seed,
        };
        // Worked on a copy: an error must leave the state as it was.
        let mut state = self.state.clone();
        let report = experiment.method.aggregate(&context, &mut state)?;
        self.state = state;
        self.history.push(round, report.residual_ranks);
        Ok(report.exactness_error)
    }
}
