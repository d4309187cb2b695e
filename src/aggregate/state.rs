//! The global state and its digest.

use regatta_actors::ids::Digest;

use crate::base::tensors::TensorMap;

/// What the server holds: everything that differs from the pretrained model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GlobalState {
    /// The adapter's tensors, the head, and whatever else clients train, by full name.
    pub trained: TensorMap,
    /// What aggregation added to frozen weights, by the weights' names.
    pub base_delta: TensorMap,
}

impl GlobalState {
    /// BLAKE3 over name, shape and float32 bytes of every tensor, in name order.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        self.trained.hash_into(&mut hasher);
        self.base_delta.hash_into(&mut hasher);
        Digest(hasher.finalize().to_hex().to_string())
    }
}
