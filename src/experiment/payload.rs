//! The data that travels between server and clients.

use std::sync::Arc;

use bytes::Bytes;
use regatta_actors::ids::Digest;
use regatta_actors::workload::update::{BoxError, Payload};
use serde::{Deserialize, Serialize};

use crate::aggregate::state::GlobalState;
use crate::base::tensors::{HostTensor, TensorMap};

/// Bytes from which a tensor is sent on its own.
const LARGE: u64 = 1 << 20;

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

    /// Large tensors are pieces of their own: most aggregations leave many of them as they were.
    fn to_pieces(&self) -> Result<Vec<Bytes>, BoxError> {
        let (trained, large) = split(&self.trained);
        let (base_delta, large_deltas) = split(&self.base_delta);
        let rest = Self {
            rounds: self.rounds,
            trained: Arc::new(trained),
            base_delta: Arc::new(base_delta),
            digest: self.digest.clone(),
        };
        let mut pieces: Vec<Bytes> = vec![rmp_serde::to_vec(&(rest, large.len()))?.into()];
        for tensor in large.iter().chain(&large_deltas) {
            pieces.push(tensor.encode()?.into());
        }
        Ok(pieces)
    }

    fn from_pieces(pieces: &[Bytes]) -> Result<Self, BoxError> {
        let (rest, large) = pieces.split_first().ok_or("a state without pieces")?;
        let (rest, count): (Self, usize) = rmp_serde::from_slice(rest)?;
        let (trained, base_delta) = large
            .split_at_checked(count)
            .ok_or("a state that lacks pieces")?;
        Ok(Self {
            trained: joined(rest.trained, trained)?,
            base_delta: joined(rest.base_delta, base_delta)?,
            ..rest
        })
    }
}

/// The small tensors, and each large one.
fn split(tensors: &TensorMap) -> (TensorMap, Vec<TensorMap>) {
    let of = |(name, tensor): (&str, &HostTensor)| (name.to_owned(), tensor.clone());
    let is_large = |(_, tensor): &(&str, &HostTensor)| tensor.bytes() >= LARGE;
    let small = tensors.iter().filter(|entry| !is_large(entry)).map(of);
    let large = tensors.iter().filter(is_large);
    let large = large.map(|entry| [of(entry)].into_iter().collect());
    (small.collect(), large.collect())
}

fn joined(small: Arc<TensorMap>, large: &[Bytes]) -> Result<Arc<TensorMap>, BoxError> {
    let mut all = Arc::unwrap_or_clone(small);
    for piece in large {
        all.0.extend(TensorMap::decode(piece)?.0);
    }
    Ok(Arc::new(all))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_the_same_from_its_pieces_and_an_unchanged_tensor_is_the_same_piece() {
        let tensors = |value: f32| -> TensorMap {
            let large = HostTensor::full(&[600, 500], 0.5);
            let small = HostTensor::full(&[2, 3], value);
            [("large".to_owned(), large), ("small".to_owned(), small)]
                .into_iter()
                .collect()
        };
        let state = |value| {
            let state = GlobalState {
                trained: tensors(value),
                base_delta: tensors(value),
            };
            Snapshot::of(&state, 3)
        };
        let (first, second) = (state(1.0), state(2.0));
        let pieces = first.to_pieces().unwrap();
        assert_eq!(pieces.len(), 3);
        let back = Snapshot::from_pieces(&pieces).unwrap();
        assert_eq!(back.rounds, first.rounds);
        assert_eq!(back.digest(), first.digest());
        assert_eq!(back.trained.0, first.trained.0);
        assert_eq!(back.base_delta.0, first.base_delta.0);
        let others = second.to_pieces().unwrap();
        assert_ne!(others[0], pieces[0]);
        assert_eq!(others[1..], pieces[1..]);
        assert!(Snapshot::from_pieces(&pieces[..1]).is_err());
        assert!(Snapshot::from_pieces(&[]).is_err());
    }
}
