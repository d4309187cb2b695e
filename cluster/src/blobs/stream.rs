//! Blobs in a stream of the broker's, cut into messages.
//!
//! A part's subject has the blob's digest, the length of its parts and its number, so that a part has
//! one content for ever: of an upload that was interrupted the next one uses what is there. A blob
//! is there once the message is that says how long it is, which comes last.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use regatta_actors::ids::Digest;
use regatta_actors::lanes::broker::BrokerError;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::jetstream::JetStream;
use crate::names::Names;

/// The length of a part in bytes, if the server takes such messages.
const PART: usize = 1 << 20;
/// What a message's subject and headers may take of the server's limit.
const ENVELOPE: usize = 1 << 10;
/// Parts of one blob on their way at once.
const AT_ONCE: usize = 4;
/// How much longer than other requests a part may take.
const LONGER: u32 = 4;

/// Blobs in a stream.
#[derive(Debug)]
pub(crate) struct StreamBlobs {
    streams: JetStream,
    names: Names,
}

/// How a blob is cut.
#[derive(Debug, Serialize, Deserialize)]
struct Cut {
    /// The blob's length in bytes.
    bytes: usize,
    /// The length of its parts in bytes; the last may be shorter.
    part: usize,
}

impl StreamBlobs {
    /// Blobs of a run.
    pub(crate) fn new(streams: &JetStream, names: &Names) -> Self {
        let time: Duration = streams.time() * LONGER;
        Self {
            streams: streams.within(time),
            names: names.clone(),
        }
    }

    pub(crate) async fn prepare(&self) -> Result<bool, BrokerError> {
        let (name, subjects) = (self.names.blobs(), self.names.all_blobs());
        let directly = json!({ "allow_direct": true });
        let made = self
            .streams
            .make_stream_of_firsts(&name, &subjects, directly);
        made.await
    }

    pub(crate) async fn put(&self, digest: &Digest, blob: Bytes) -> Result<(), BrokerError> {
        if self.cut(digest).await?.is_some() {
            return Ok(());
        }
        let limit = self.streams.connection().max_payload();
        let part = PART.min(limit.saturating_sub(ENVELOPE)).max(1);
        let cut = Cut {
            bytes: blob.len(),
            part,
        };
        let parts = (0..cut.bytes.div_ceil(part)).map(|index| {
            let from = index * part;
            let content = blob.slice(from..cut.bytes.min(from + part));
            self.store(self.part(digest, &cut, index), content)
        });
        let sending = stream::iter(parts).buffer_unordered(AT_ONCE);
        sending.try_collect::<()>().await?;
        let last = serde_json::to_vec(&cut).map_err(|e| BrokerError::Refused(e.to_string()))?;
        self.store(self.whole(digest), last.into()).await
    }

    /// A part that is there already is the same.
    async fn store(&self, subject: String, content: Bytes) -> Result<(), BrokerError> {
        let stream = self.names.blobs();
        let stored = self.streams.store(&stream, &subject, content, None);
        stored.await.map(drop)
    }

    pub(crate) async fn get(
        &self,
        digest: &Digest,
        most: u64,
    ) -> Result<Option<Bytes>, BrokerError> {
        let Some(cut) = self.cut(digest).await? else {
            return Ok(None);
        };
        if cut.bytes as u64 > most {
            return Err(BrokerError::too_large(digest, cut.bytes as u64, most));
        }
        let stream = self.names.blobs();
        let parts = (0..cut.bytes.div_ceil(cut.part.max(1))).map(|index| {
            let subject = self.part(digest, &cut, index);
            let stream = &stream;
            async move { self.streams.last(stream, &subject).await }
        });
        let mut parts = stream::iter(parts).buffered(AT_ONCE);
        let mut blob = BytesMut::new();
        while let Some(part) = parts.try_next().await? {
            let Some(part) = part else {
                return Ok(None);
            };
            blob.extend_from_slice(&part.content);
            if blob.len() > cut.bytes {
                return Ok(None);
            }
        }
        Ok((blob.len() == cut.bytes).then(|| blob.freeze()))
    }

    pub(crate) async fn forget(&self, digest: &Digest) -> Result<(), BrokerError> {
        let all = format!("{}.>", self.names.blob(digest));
        self.streams.purge(&self.names.blobs(), &all).await
    }

    pub(crate) async fn remove(&self) -> Result<(), BrokerError> {
        self.streams.delete_stream(&self.names.blobs()).await
    }

    async fn cut(&self, digest: &Digest) -> Result<Option<Cut>, BrokerError> {
        let subject = self.whole(digest);
        let held = self.streams.last(&self.names.blobs(), &subject).await?;
        // One that cannot be read is as good as none: the blob is put again.
        Ok(held.and_then(|held| serde_json::from_slice(&held.content).ok()))
    }

    fn whole(&self, digest: &Digest) -> String {
        format!("{}.whole", self.names.blob(digest))
    }

    fn part(&self, digest: &Digest, cut: &Cut, index: usize) -> String {
        format!("{}.{}.{index}", self.names.blob(digest), cut.part)
    }
}
