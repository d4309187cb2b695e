//! The server's whole state as bytes, for checkpoints.
//!
//! The length of the notes (8 bytes, little endian), the notes as JSON, and all tensors as
//! safetensors, each under a prefix that says what it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use regatta_actors::workload::update::BoxError;
use serde::{Deserialize, Serialize};

use crate::aggregate::sound::check_state;
use crate::aggregate::state::GlobalState;
use crate::aggregate::traffic::ResidualHistory;
use crate::base::tensors::{HostTensor, TensorMap};
use crate::experiment::payload::Snapshot;
use crate::experiment::server::state::{BestState, Server};

/// The notes beside the tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Notes {
    rounds: u32,
    history: ResidualHistory,
    best: Option<(u32, f64, u32)>,
    /// First rounds of the states that clients started from, all but the last.
    starts: Vec<u32>,
    /// That of the last, which is the state itself.
    last_start: u32,
}

/// The state as bytes, for the run's folder. One that is not sound is not saved: a checkpoint of it
/// would take the place of one that is.
pub(crate) fn encode(server: &Server) -> Result<Vec<u8>, BoxError> {
    server.folder.check()?;
    check_state(&server.state)?;
    let mut tensors = TensorMap::default();
    let mut add = |prefix: &str, map: &TensorMap| {
        for (name, tensor) in map.iter() {
            tensors.insert(format!("{prefix}/{name}"), tensor.clone());
        }
    };
    add("trained", &server.state.trained);
    add("base_delta", &server.state.base_delta);
    if let Some(best) = &server.best {
        add("best_trained", &best.state.trained);
        add("best_base_delta", &best.state.base_delta);
    }
    let last_start = server.starts.keys().next_back().copied().unwrap_or(1);
    let earlier = server.starts.range(..last_start);
    let starts = earlier.map(|(first, start)| {
        add(&start_prefix(*first), start);
        *first
    });
    let notes = Notes {
        starts: starts.collect(),
        last_start,
        rounds: server.snapshot.rounds,
        history: server.history.clone(),
        best: server
            .best
            .as_ref()
            .map(|best| (best.round, best.score, best.state.rounds)),
    };
    let notes = serde_json::to_vec(&notes)?;
    let mut bytes = (notes.len() as u64).to_le_bytes().to_vec();
    bytes.extend(notes);
    bytes.extend(tensors.encode()?);
    Ok(bytes)
}

/// Gives a server the state that [`encode`] wrote.
pub(crate) fn restore(server: &mut Server, bytes: &[u8]) -> Result<(), BoxError> {
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or("a checkpoint cut short")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let (notes, tensors) = rest
        .split_at_checked(length)
        .ok_or("a checkpoint cut short in its notes")?;
    let notes: Notes = serde_json::from_slice(notes)?;
    let tensors = TensorMap::decode(tensors)?;
    let state = GlobalState {
        trained: part(&tensors, "trained"),
        base_delta: part(&tensors, "base_delta"),
    };
    if shapes(&state.trained) != shapes(&server.experiment.initial.trained) {
        return Err("the checkpoint is of another model or adapter".into());
    }
    check_state(&state)
        .map_err(|reason| format!("the checkpoint's state is not sound: {reason}"))?;
    server.best = notes.best.map(|(round, score, rounds)| {
        let state = GlobalState {
            trained: part(&tensors, "best_trained"),
            base_delta: part(&tensors, "best_base_delta"),
        };
        let state = Arc::new(Snapshot::of(&state, rounds));
        BestState {
            round,
            score,
            state,
        }
    });
    server.snapshot = Arc::new(Snapshot::of(&state, notes.rounds));
    let earlier = notes.starts.into_iter();
    let start = |first: u32| (first, Arc::new(part(&tensors, &start_prefix(first))));
    server.starts = earlier.map(start).collect::<BTreeMap<_, _>>();
    let last = Arc::clone(&server.snapshot.trained);
    server.starts.insert(notes.last_start, last);
    server.state = state;
    server.history = notes.history;
    Ok(())
}

fn start_prefix(first: u32) -> String {
    format!("start_{first}")
}

/// The tensors under a prefix.
fn part(tensors: &TensorMap, prefix: &str) -> TensorMap {
    let inner = |(name, tensor): (&str, &HostTensor)| {
        let name = name.strip_prefix(prefix)?.strip_prefix('/')?;
        Some((name.to_owned(), tensor.clone()))
    };
    tensors.iter().filter_map(inner).collect()
}

fn shapes(map: &TensorMap) -> Vec<(&str, &[i64])> {
    map.iter()
        .map(|(name, tensor)| (name, tensor.shape()))
        .collect()
}
