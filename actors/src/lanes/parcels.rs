//! Payloads as blobs: packed by one side, unpacked by the other, each piece sent once.

use std::collections::HashMap;

use bytes::Bytes;

use crate::ids::Digest;
use crate::lanes::broker::{Broker, BrokerError};
use crate::lanes::wire::{self, Manifest};
use crate::workload::update::{BoxError, Payload};

/// Pieces smaller than this are not worth keeping.
const LARGE: usize = 1 << 20;
/// Bytes that the list of a payload's pieces has at most: some 200,000 of them.
const LONGEST_LIST: u64 = 1 << 24;

/// A payload in pieces, under the digest of the list of them.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub name: Digest,
    /// The list, then the pieces.
    blobs: Vec<(Digest, Bytes)>,
}

impl Parcel {
    /// Packs a payload.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn pack(payload: &impl Payload) -> Result<Self, BoxError> {
        Ok(Self::of(payload.to_pieces()?))
    }

    /// Packs a payload's pieces.
    pub fn of(pieces: Vec<Bytes>) -> Self {
        let pieces = pieces.into_iter();
        let pieces = pieces.map(|piece| (Digest::of(&piece), piece));
        let mut blobs: Vec<_> = pieces.collect();
        let digests = blobs.iter().map(|(digest, _)| digest.clone());
        let list = wire::encode(&Manifest(digests.collect()));
        let name = Digest::of(&list);
        blobs.insert(0, (name.clone(), list));
        Self { name, blobs }
    }

    /// The digests of all blobs, the list's first.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.blobs.iter().map(|(digest, _)| digest)
    }

    /// The size of all blobs in bytes.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|(_, blob)| blob.len() as u64).sum()
    }

    /// Stores the blobs for which `is_new`, the list last: who finds it finds all.
    ///
    /// # Errors
    /// The broker's.
    pub async fn store(
        &self,
        broker: &impl Broker,
        is_new: impl Fn(&Digest) -> bool,
    ) -> Result<(), BrokerError> {
        for (digest, blob) in self.blobs.iter().rev() {
            if is_new(digest) {
                broker.put(digest, blob.clone()).await?;
            }
        }
        Ok(())
    }

    /// Stores the blobs that are missing or damaged. Those that are whole stay: another host may be
    /// reading them.
    ///
    /// # Errors
    /// The broker's.
    pub async fn repair(&self, broker: &impl Broker) -> Result<(), BrokerError> {
        for (digest, blob) in self.blobs.iter().rev() {
            let is_whole = match broker.get(digest, blob.len() as u64).await {
                Ok(kept) => kept.as_ref() == Some(blob),
                // It is longer than it should be.
                Err(BrokerError::Refused(_)) => false,
                Err(error) => return Err(error),
            };
            if !is_whole {
                broker.forget(digest).await?;
                broker.put(digest, blob.clone()).await?;
            }
        }
        Ok(())
    }
}

/// Why a payload could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// It is not there, not whole, or not what its name says.
    #[error("{0}")]
    Damaged(String),
}

/// Fetches payloads, and keeps the large pieces of the last.
#[derive(Debug, Default)]
pub(crate) struct PieceCache {
    large: HashMap<Digest, Bytes>,
    /// Bytes that were fetched so far.
    pub fetched: u64,
}

impl PieceCache {
    /// Fetches the payload of this name, of `most` bytes at most.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch<P: Payload>(
        &mut self,
        broker: &impl Broker,
        name: &Digest,
        most: u64,
    ) -> Result<P, FetchError> {
        let list = self.fetch_blob(broker, name, most).await?;
        let Manifest(digests) = wire::decode(&list).map_err(FetchError::Damaged)?;
        let mut pieces = Vec::with_capacity(digests.len().min(1 << 12));
        let mut room = most.saturating_sub(list.len() as u64);
        for digest in &digests {
            let piece = match self.large.get(digest) {
                Some(piece) => piece.clone(),
                None => self.fetch_blob(broker, digest, room).await?,
            };
            room = room.saturating_sub(piece.len() as u64);
            pieces.push(piece);
        }
        let payload = P::from_pieces(&pieces).map_err(|e| FetchError::Damaged(e.to_string()))?;
        let named = digests.into_iter().zip(pieces);
        self.large = named.filter(|(_, piece)| piece.len() >= LARGE).collect();
        Ok(payload)
    }

    async fn fetch_blob(
        &mut self,
        broker: &impl Broker,
        digest: &Digest,
        most: u64,
    ) -> Result<Bytes, FetchError> {
        let blob = fetch_blob(broker, digest, most).await?;
        self.fetched += blob.len() as u64;
        Ok(blob)
    }
}

/// Has the broker forget all blobs of the payload of this name; of one whose list is damaged the list
/// alone, so that another may be stored.
///
/// # Errors
/// See [`FetchError`]; what is not forgotten stays until the run is over.
pub(crate) async fn forget(broker: &impl Broker, name: &Digest) -> Result<(), FetchError> {
    let list = fetch_blob(broker, name, LONGEST_LIST).await;
    let listed = list.and_then(|list| wire::decode(&list).map_err(FetchError::Damaged));
    if let Ok(Manifest(digests)) = &listed {
        for blob in digests {
            broker.forget(blob).await?;
        }
    }
    broker.forget(name).await?;
    listed.map(drop)
}

/// A blob that is what its name says.
async fn fetch_blob(broker: &impl Broker, digest: &Digest, most: u64) -> Result<Bytes, FetchError> {
    let blob = broker.get(digest, most).await?;
    let blob = blob.ok_or_else(|| FetchError::Damaged(format!("blob {} is gone", digest.0)))?;
    let found = Digest::of(&blob);
    if found != *digest {
        let wrong = format!("blob {} has the content of {}", digest.0, found.0);
        return Err(FetchError::Damaged(wrong));
    }
    Ok(blob)
}
