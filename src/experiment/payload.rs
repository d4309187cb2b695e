//! The data that travels between server and clients.

use std::sync::Arc;

use regatta_actors::ids::Digest;
use regatta_actors::workload::update::Payload;
use serde::{Deserialize, Serialize};

use crate::aggregate::state::GlobalState;
use crate::base::tensors::TensorMap;

/// The server's state as clients get it: what differs from the pretrained model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// Number of rounds whose updates it contains.
    pub rounds: u32,
    /// Adapter, head and whatever else is trained.
    pub trained: Arc<TensorMap>,
    /// The change that aggregation made to frozen weights.
    pub base_delta: Arc<TensorMap>,
    digest: Digest,
}

impl Snapshot {
    /// A copy of the state after N rounds.
    #[must_use]
    pub fn of(state: &GlobalState, rounds: u32) -> Self {
        Self {
            rounds,
            trained: Arc::new(state.trained.clone()),
            base_delta: Arc::new(state.base_delta.clone()),
            digest: state.digest(),
        }
    }
}

impl Payload for Snapshot {
    fn digest(&self) -> Digest {
        self.digest.clone()
    }
}

/// The tensors that a client trained.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientUpdate(pub TensorMap);

impl Payload for ClientUpdate {
    fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        self.0.hash_into(&mut hasher);
        Digest(hasher.finalize().to_hex().to_string())
    }
}
