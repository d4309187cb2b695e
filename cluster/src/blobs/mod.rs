//! Blobs by their digests, in the broker or in a folder that all machines share.

mod folder;
mod stream;

use bytes::Bytes;
use regatta_actors::ids::Digest;
use regatta_actors::lanes::broker::BrokerError;

pub(crate) use folder::FolderBlobs;
pub(crate) use stream::StreamBlobs;

/// Where a run's blobs are.
#[derive(Debug)]
pub(crate) enum Blobs {
    /// In a stream of the broker's.
    Stream(StreamBlobs),
    /// In a folder, which spares the broker when they are large and many.
    Folder(FolderBlobs),
}

impl Blobs {
    /// Makes their place. Says whether it was missing.
    pub(crate) async fn prepare(&self) -> Result<bool, BrokerError> {
        match self {
            Self::Stream(blobs) => blobs.prepare().await,
            Self::Folder(blobs) => blobs.prepare().await,
        }
    }

    /// Stores a blob, unless it is there.
    pub(crate) async fn put(&self, digest: &Digest, blob: Bytes) -> Result<(), BrokerError> {
        check(digest)?;
        match self {
            Self::Stream(blobs) => blobs.put(digest, blob).await,
            Self::Folder(blobs) => blobs.put(digest, blob).await,
        }
    }

    /// The blob with this digest, unless there is none or only a part of it. One of more than `most`
    /// bytes is refused.
    pub(crate) async fn get(
        &self,
        digest: &Digest,
        most: u64,
    ) -> Result<Option<Bytes>, BrokerError> {
        check(digest)?;
        match self {
            Self::Stream(blobs) => blobs.get(digest, most).await,
            Self::Folder(blobs) => blobs.get(digest, most).await,
        }
    }

    /// Forgets a blob.
    pub(crate) async fn forget(&self, digest: &Digest) -> Result<(), BrokerError> {
        check(digest)?;
        match self {
            Self::Stream(blobs) => blobs.forget(digest).await,
            Self::Folder(blobs) => blobs.forget(digest).await,
        }
    }

    /// Forgets all of the run's blobs.
    pub(crate) async fn remove(&self) -> Result<(), BrokerError> {
        match self {
            Self::Stream(blobs) => blobs.remove().await,
            Self::Folder(blobs) => blobs.remove().await,
        }
    }
}

/// A digest comes from other machines, and becomes a part of subjects and paths.
fn check(digest: &Digest) -> Result<(), BrokerError> {
    let text = &digest.0;
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(())
    } else {
        Err(BrokerError::Refused(format!("{text:?} is not a digest")))
    }
}
