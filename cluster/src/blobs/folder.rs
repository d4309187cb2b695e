//! Blobs in a folder that all machines share: one file per digest, written under another name and
//! then renamed, so that a file is whole.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use regatta_actors::ids::Digest;
use regatta_actors::lanes::broker::BrokerError;

/// Blobs in a folder.
#[derive(Debug, Clone)]
pub(crate) struct FolderBlobs {
    folder: PathBuf,
}

impl FolderBlobs {
    /// Blobs of a run, in a folder of its own.
    pub(crate) fn new(shared: &Path, run: &str) -> Self {
        let folder = shared.join(run);
        Self { folder }
    }

    pub(crate) async fn prepare(&self) -> Result<bool, BrokerError> {
        let folder = self.folder.clone();
        self.work(move || {
            let was_missing = !folder.is_dir();
            std::fs::create_dir_all(folder)?;
            Ok(was_missing)
        })
        .await
    }

    pub(crate) async fn put(&self, digest: &Digest, blob: Bytes) -> Result<(), BrokerError> {
        let folder = self.folder.clone();
        let path = folder.join(&digest.0);
        self.work(move || {
            if path.exists() {
                return Ok(());
            }
            let mut file = tempfile::Builder::new().prefix(".").tempfile_in(folder)?;
            file.write_all(&blob)?;
            file.persist(path)?;
            Ok(())
        })
        .await
    }

    pub(crate) async fn get(
        &self,
        digest: &Digest,
        most: u64,
    ) -> Result<Option<Bytes>, BrokerError> {
        let folder = self.folder.clone();
        let path = folder.join(&digest.0);
        let found = self.work(move || match read(&path, most) {
            Ok(found) => Ok(Some(found)),
            // None in a folder that is there is another thing than no folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => Ok(None),
            Err(error) => Err(error),
        });
        match found.await? {
            Some(Err(bytes)) => Err(BrokerError::too_large(digest, bytes, most)),
            Some(Ok(blob)) => Ok(Some(blob)),
            None => Ok(None),
        }
    }

    pub(crate) async fn forget(&self, digest: &Digest) -> Result<(), BrokerError> {
        let path = self.folder.join(&digest.0);
        self.work(move || if_there(std::fs::remove_file(path)))
            .await
    }

    pub(crate) async fn remove(&self) -> Result<(), BrokerError> {
        let folder = self.folder.clone();
        self.work(move || if_there(std::fs::remove_dir_all(folder)))
            .await
    }

    /// Does something with files where it keeps no messages from being read.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|error| BrokerError::Away(error.to_string()))?;
        done.map_err(|error| self.error(&error))
    }

    fn error(&self, error: &io::Error) -> BrokerError {
        let text = format!("the folder of blobs {}: {error}", self.folder.display());
        match error.kind() {
            io::ErrorKind::NotFound => BrokerError::Missing(text),
            io::ErrorKind::PermissionDenied | io::ErrorKind::StorageFull => {
                BrokerError::Refused(text)
            }
            // A network's file system recovers from many others.
            _ => BrokerError::Away(text),
        }
    }
}

/// A file's content; only its length if that is more than `most` bytes.
fn read(path: &Path, most: u64) -> io::Result<Result<Bytes, u64>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > most {
        return Ok(Err(bytes));
    }
    let mut blob = Vec::new();
    // No more than that, should it grow.
    file.take(most).read_to_end(&mut blob)?;
    Ok(Ok(blob.into()))
}

fn if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
