//! The server: slots for updates, and the folder that folds them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::learner::{Aggregation, BoxError, Contribution, Folder, Trained};
use crate::message::{Deposit, Receipt, RunId, Stamp, Take};

/// A folder with its slots.
pub(crate) struct Server<F: Folder> {
    pub folder: F,
    slots: HashMap<Stamp, Trained<F::Update>>,
}

impl<F: Folder> Server<F> {
    /// A server with empty slots.
    pub fn new(folder: F) -> Self {
        let slots = HashMap::new();
        Self { folder, slots }
    }

    /// Bytes to download for the current state, by the round whose state a client holds.
    pub fn quote(&self, holds: &BTreeSet<Option<u32>>) -> BTreeMap<Option<u32>, u64> {
        holds
            .iter()
            .map(|&round| (round, self.folder.download_bytes(round)))
            .collect()
    }

    /// Puts an update into its slot; gives the facts.
    pub fn deposit(&mut self, deposit: Deposit<F::Update>) -> Receipt {
        let Deposit {
            stamp,
            trained,
            digest,
            lane,
            seconds,
        } = deposit;
        let receipt = Receipt {
            loss: trained.loss,
            examples: trained.examples,
            steps: trained.steps,
            bytes_up: self.folder.upload_bytes(&trained.update),
            digest,
            lane,
            seconds,
        };
        self.slots.insert(stamp, trained);
        receipt
    }

    /// Empties a slot.
    pub fn discard(&mut self, stamp: Stamp) {
        self.slots.remove(&stamp);
    }

    /// Folds these slots, in this order, and empties them.
    pub fn aggregate(&mut self, round: u32, take: &[Take]) -> Result<Aggregation, BoxError> {
        let updates = take
            .iter()
            .map(|&Take { stamp, weight }| {
                let trained = self.slots.remove(&stamp);
                trained
                    .map(|trained| Contribution {
                        client: stamp.client,
                        base_round: stamp.round,
                        weight,
                        examples: trained.examples,
                        update: trained.update,
                    })
                    .ok_or_else(|| format!("there is no update of client {}", stamp.client))
            })
            .collect::<Result<_, _>>()?;
        self.folder.aggregate(round, updates)
    }
}

impl<F: Folder> Server<F>
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
    pub fn restore(folder: F, slots: &[u8], run: RunId) -> Result<Self, BoxError> {
        let slots: Vec<(Stamp, Trained<F::Update>)> = rmp_serde::from_slice(slots)?;
        let slots = slots.into_iter();
        let slots = slots.map(|(stamp, trained)| (Stamp { run, ..stamp }, trained));
        Ok(Self {
            folder,
            slots: slots.collect(),
        })
    }
}
