//! One process at a time writes into a run folder.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use regatta_actors::place::check_file;

/// The file that the lock is on; it has no content, and stays.
pub(super) const NAME: &str = "lock";

/// A run folder's lock, held for as long as this lives. The system takes it back when the process
/// ends, however it ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    path: PathBuf,
    file: File,
    /// Whether the file system has locks.
    exclusive: bool,
}

impl FolderLock {
    /// Takes the lock of a folder, which has to be there.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be written.
    pub fn take(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(|error| {
            let text = format!("cannot write {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Self {
                path,
                file,
                exclusive: true,
            }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!(
                    "another process is at work in {}; let it end, or stop it, first",
                    folder.display()
                ),
            )),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    "{} cannot be locked against a second process: {error}",
                    folder.display()
                );
                Ok(Self {
                    path,
                    file,
                    exclusive: false,
                })
            }
        }
    }

    /// Whether it keeps other processes out.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Checks that the folder still has this very lock. If not, it was deleted, moved or replaced,
    /// or somebody took the lock away: another process may be at work there.
    ///
    /// # Errors
    /// When it has not.
    pub fn check(&self) -> io::Result<()> {
        check_file(&self.path, &self.file).map_err(|error| {
            let path = self.path.display();
            let text = format!(
                "{path}: {error}; the run folder is no longer this run's, and nothing more is \
                 written there"
            );
            io::Error::new(error.kind(), text)
        })
    }
}
