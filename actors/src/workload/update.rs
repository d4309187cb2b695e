//! Data that travels between server and clients, and the result of an aggregation.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::ids::{ClientId, Digest};

/// Any error of a workload, with its context.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Data that can travel between server and clients: plain, with a size and a digest.
pub trait Payload: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Identifies the content bit for bit; goes into the ledger. By default, it is the
    /// digest of the content as MessagePack.
    fn digest(&self) -> Digest {
        // What cannot be written has the digest of nothing, and fails where it is sent or saved.
        Digest::of(&rmp_serde::to_vec(self).unwrap_or_default())
    }

    /// The content in pieces, to be sent to another host. A piece that is the same as one that was
    /// sent before is not sent again, so what often stays the same should be a piece of its own. By
    /// default, it is one piece of MessagePack.
    ///
    /// # Errors
    /// If it cannot be written.
    fn to_pieces(&self) -> Result<Vec<Bytes>, BoxError> {
        Ok(vec![rmp_serde::to_vec(self)?.into()])
    }

    /// The content from its pieces.
    ///
    /// # Errors
    /// If they are not what [`Payload::to_pieces`] gives.
    fn from_pieces(pieces: &[Bytes]) -> Result<Self, BoxError> {
        let [piece] = pieces else {
            return Err(format!("{} pieces, where one makes the whole", pieces.len()).into());
        };
        Ok(rmp_serde::from_slice(piece)?)
    }
}

/// One update that takes part in an aggregation.
#[derive(Debug)]
pub struct Contribution<U> {
    /// The client that sent it.
    pub client: ClientId,
    /// The round whose global state it was trained from (equal to the current round unless
    /// aggregation is asynchronous).
    pub base_round: u32,
    /// What it weighs before normalisation (for example a staleness discount); the aggregator
    /// multiplies by examples where that is its rule and normalises over those that it accepts.
    pub weight: f64,
    /// Examples it was trained on.
    pub examples: u64,
    /// The update.
    pub update: U,
}

/// An update that the server would not aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The client that sent it.
    pub client: ClientId,
    /// The reason for the refusal.
    pub reason: String,
}

/// The result of an aggregation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregation {
    /// ‖effective − ideal‖_F / ‖ideal update‖_F over all adapted layers; `None` when the workload
    /// has no such notion or nothing was aggregated.
    pub exactness_error: Option<f64>,
    /// What else the workload measured of it.
    #[serde(default, skip_serializing_if = "Measures::is_empty")]
    pub measures: Measures,
    /// Digest of the global state after it.
    pub state_digest: Digest,
    /// Updates refused, by client.
    pub refused: Vec<Refusal>,
}

impl Aggregation {
    /// An aggregation that refused nothing and whose exactness is not measured.
    pub fn of(state: &impl Payload) -> Self {
        Self {
            exactness_error: None,
            measures: Measures::new(),
            state_digest: state.digest(),
            refused: Vec::new(),
        }
    }
}

/// The result of [`ServerAggregator::aggregate`](super::ServerAggregator::aggregate).
pub type AggregateResult = Result<Aggregation, BoxError>;

/// Names and values of the scores of one evaluation (`loss`, `accuracy`, …).
pub type Scores = BTreeMap<String, f64>;

/// Names and values of what is measured of an aggregation. They are the same whatever the number of
/// lanes and threads, for the ledger has them; those that are not finite are left out there.
pub type Measures = BTreeMap<String, f64>;
