//! The updates that have arrived, and the aggregator that takes them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::ids::{ClientId, JobId, RunId};
use crate::plan::FederationPlan;
use crate::protocol::command::SelectedUpdate;
use crate::protocol::job::UpdateInfo;
use crate::runtime::messages::SubmitUpdate;
use crate::workload::job::Trained;
use crate::workload::update::{Aggregation, BoxError, Contribution, Refusal};
use crate::workload::{ServerAggregator, Workload};

/// An aggregator, and the updates that wait for it by their jobs.
pub(crate) struct UpdateBuffer<W: Workload, A: ServerAggregator<W>> {
    pub aggregator: A,
    plan: Arc<FederationPlan>,
    updates: HashMap<JobId, Trained<W::Update>>,
}

impl<W: Workload, A: ServerAggregator<W>> UpdateBuffer<W, A> {
    /// A buffer without updates, for the clients of a plan.
    pub fn new(aggregator: A, plan: Arc<FederationPlan>) -> Self {
        let updates = HashMap::new();
        Self {
            aggregator,
            plan,
            updates,
        }
    }

    /// Bytes to download for the current state, by the round whose state a client holds.
    pub fn quote(&self, held_versions: &BTreeSet<Option<u32>>) -> BTreeMap<Option<u32>, u64> {
        held_versions
            .iter()
            .map(|&round| (round, self.aggregator.download_bytes(round)))
            .collect()
    }

    /// Examples that a client can see in a round: its shard, once an epoch.
    fn most_examples(&self, client: ClientId) -> u64 {
        let plan = self.plan.clients.get(client.0 as usize);
        plan.map_or(1, |plan| plan.examples.saturating_mul(plan.epochs.into()))
            .max(1)
    }

    /// What is wrong with what a client says of its work, if anything is. Examples may decide
    /// what its update weighs, so it cannot have seen more than it has.
    fn misstatement(&self, client: ClientId, work: &Trained<W::Update>) -> Option<String> {
        let (examples, steps, most) = (work.examples, work.steps, self.most_examples(client));
        if !(1..=most).contains(&examples) {
            return Some(format!(
                "it claims {examples} examples, and its shard gives from 1 to {most} in a round"
            ));
        }
        (!(1..=examples).contains(&steps)).then(|| {
            format!("it claims {steps} steps on {examples} examples; each step takes at least one")
        })
    }

    /// Accepts an update; returns its facts, with numbers on which no sum can overflow.
    pub fn submit(&mut self, submitted: SubmitUpdate<W::Update>) -> UpdateInfo {
        let SubmitUpdate {
            id,
            trained,
            digest,
            lane,
            seconds,
        } = submitted;
        let most = self.most_examples(id.client);
        let info = UpdateInfo {
            loss: believable(trained.loss),
            examples: trained.examples.min(most),
            steps: trained.steps.min(most),
            bytes_up: self.aggregator.upload_bytes(&trained.update),
            digest,
            lane,
            seconds,
        };
        self.updates.insert(id, trained);
        info
    }

    /// Drops an update.
    pub fn discard(&mut self, id: JobId) {
        self.updates.remove(&id);
    }

    /// Aggregates these updates, in this order. What a client misstates is refused before the
    /// aggregator sees it.
    pub fn aggregate(
        &mut self,
        round: u32,
        selected: &[SelectedUpdate],
    ) -> Result<Aggregation, BoxError> {
        let (mut updates, mut misstated) = (Vec::new(), Vec::new());
        for &SelectedUpdate { id, weight } in selected {
            let client = id.client;
            let trained = self.updates.remove(&id);
            let trained =
                trained.ok_or_else(|| format!("there is no update of client {client}"))?;
            match self.misstatement(client, &trained) {
                Some(reason) => misstated.push(Refusal { client, reason }),
                None => updates.push(Contribution {
                    client,
                    base_round: id.round,
                    weight,
                    examples: trained.examples,
                    update: trained.update,
                }),
            }
        }
        let mut aggregation = self.aggregator.aggregate(round, updates)?;
        aggregation.refused.extend(misstated);
        aggregation.refused.sort_by_key(|refusal| refusal.client);
        Ok(aggregation)
    }
}

/// A loss as used in computations: a value that float32 cannot hold counts as none, so that no sum
/// overflows.
fn believable(loss: f64) -> f64 {
    if loss.abs() <= f64::from(f32::MAX) {
        loss
    } else {
        f64::NAN
    }
}

impl<W: Workload, A: ServerAggregator<W>> UpdateBuffer<W, A> {
    /// The updates that wait, as bytes.
    pub fn updates(&self) -> Result<Vec<u8>, BoxError> {
        let mut updates: Vec<_> = self.updates.iter().collect();
        updates.sort_unstable_by_key(|(id, _)| **id);
        Ok(rmp_serde::to_vec_named(&updates)?)
    }

    /// A buffer with updates as [`UpdateBuffer::updates`] gave them, as jobs of `run`.
    pub fn restore(
        aggregator: A,
        plan: Arc<FederationPlan>,
        updates: &[u8],
        run: RunId,
    ) -> Result<Self, BoxError> {
        let updates: Vec<(JobId, Trained<W::Update>)> = rmp_serde::from_slice(updates)?;
        let updates = updates.into_iter();
        let updates = updates.map(|(id, trained)| (JobId { run, ..id }, trained));
        Ok(Self {
            aggregator,
            plan,
            updates: updates.collect(),
        })
    }
}
