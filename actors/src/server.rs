//! The server: slots for updates, and the folder that folds them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::learner::{
    Aggregation, BoxError, ClientId, Contribution, Refusal, ServerAggregator, Trained,
};
use crate::message::{JobId, RunId, SelectedUpdate, SubmitUpdate, UpdateInfo};
use crate::plan::FederationPlan;

/// A folder with its slots.
pub(crate) struct Server<F: ServerAggregator> {
    pub folder: F,
    plan: Arc<FederationPlan>,
    slots: HashMap<JobId, Trained<F::Update>>,
}

impl<F: ServerAggregator> Server<F> {
    /// A server with empty slots, for the clients of a plan.
    pub fn new(folder: F, plan: Arc<FederationPlan>) -> Self {
        let slots = HashMap::new();
        Self {
            folder,
            plan,
            slots,
        }
    }

    /// Bytes to download for the current state, by the round whose state a client holds.
    pub fn quote(&self, holds: &BTreeSet<Option<u32>>) -> BTreeMap<Option<u32>, u64> {
        holds
            .iter()
            .map(|&round| (round, self.folder.download_bytes(round)))
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
    fn misstatement(&self, client: ClientId, work: &Trained<F::Update>) -> Option<String> {
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

    /// Puts an update into its slot; gives the facts, with numbers that no sum can overflow on.
    pub fn deposit(&mut self, deposit: SubmitUpdate<F::Update>) -> UpdateInfo {
        let SubmitUpdate {
            stamp,
            trained,
            digest,
            lane,
            seconds,
        } = deposit;
        let most = self.most_examples(stamp.client);
        let receipt = UpdateInfo {
            loss: believable(trained.loss),
            examples: trained.examples.min(most),
            steps: trained.steps.min(most),
            bytes_up: self.folder.upload_bytes(&trained.update),
            digest,
            lane,
            seconds,
        };
        self.slots.insert(stamp, trained);
        receipt
    }

    /// Empties a slot.
    pub fn discard(&mut self, stamp: JobId) {
        self.slots.remove(&stamp);
    }

    /// Folds these slots, in this order, and empties them. What a client misstates is refused
    /// before the folder sees it.
    pub fn aggregate(
        &mut self,
        round: u32,
        take: &[SelectedUpdate],
    ) -> Result<Aggregation, BoxError> {
        let (mut updates, mut misstated) = (Vec::new(), Vec::new());
        for &SelectedUpdate { stamp, weight } in take {
            let client = stamp.client;
            let trained = self.slots.remove(&stamp);
            let trained =
                trained.ok_or_else(|| format!("there is no update of client {client}"))?;
            match self.misstatement(client, &trained) {
                Some(reason) => misstated.push(Refusal { client, reason }),
                None => updates.push(Contribution {
                    client,
                    base_round: stamp.round,
                    weight,
                    examples: trained.examples,
                    update: trained.update,
                }),
            }
        }
        let mut aggregation = self.folder.aggregate(round, updates)?;
        aggregation.refused.extend(misstated);
        aggregation.refused.sort_by_key(|refusal| refusal.client);
        Ok(aggregation)
    }
}

/// A loss as it is reckoned with: what float32 cannot hold is none, and no sum overflows on it.
fn believable(loss: f64) -> f64 {
    if loss.abs() <= f64::from(f32::MAX) {
        loss
    } else {
        f64::NAN
    }
}

impl<F: ServerAggregator> Server<F>
where
    F::Update: Serialize + DeserializeOwned,
{
    /// The slots and what lies in them, as bytes.
    pub fn slots(&self) -> Result<Vec<u8>, BoxError> {
        let mut slots: Vec<_> = self.slots.iter().collect();
        slots.sort_unstable_by_key(|(stamp, _)| **stamp);
        Ok(rmp_serde::to_vec_named(&slots)?)
    }

    /// A server with slots as [`Server::slots`] gave them, stamped with `run`.
    pub fn restore(
        folder: F,
        plan: Arc<FederationPlan>,
        slots: &[u8],
        run: RunId,
    ) -> Result<Self, BoxError> {
        let slots: Vec<(JobId, Trained<F::Update>)> = rmp_serde::from_slice(slots)?;
        let slots = slots.into_iter();
        let slots = slots.map(|(stamp, trained)| (JobId { run, ..stamp }, trained));
        Ok(Self {
            folder,
            plan,
            slots: slots.collect(),
        })
    }
}
