//! One process at a time writes into a run folder.
//!
//! The lock is the kernel's (`flock`) on the file `lock`: it goes with its process, however that
//! ends, and a child that is given the open file holds it too. On NFS since version 3 the client
//! turns it into a lock of the server's, so other hosts see it; where a file system has none, a
//! warning says so. The text in the file names the holder for people and is not relied on.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use regatta_actors::journal::place::check_file;

use crate::base::file_error::FileError;
use crate::runs::folder::artifact::Artifact;

/// The file that the lock is on; it stays.
const NAME: &str = Artifact::Lock.name();

/// How often a lock is asked for that only those have who look whether it is taken.
const ATTEMPTS: u32 = 1000;

/// The approximate duration of such a look.
const LOOK: Duration = Duration::from_millis(1);

/// A run folder's lock, held for as long as this lives, or a process that it was handed to.
#[derive(Debug)]
pub(crate) struct FolderLock {
    path: PathBuf,
    file: File,
    /// Whether the file system has locks.
    exclusive: bool,
}

impl FolderLock {
    /// Takes the lock of a folder, which has to be there.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has it; or why the folder cannot be
    /// written.
    pub fn take(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        if let Some(file) = handed_down(&path) {
            return Ok(Self::held(path, file));
        }
        loop {
            let file = open(&path)?;
            match lock(&file) {
                // Whoever removed the file meanwhile may have let another process make a new one.
                Ok(()) if !is_at(&file, &path) => {}
                Ok(()) => return Ok(Self::held(path, file)),
                Err(TryLockError::WouldBlock) => return Err(taken(folder)),
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(
                        "{} cannot be locked against a second process: {error}",
                        folder.display()
                    );
                    return Ok(Self {
                        path,
                        file,
                        exclusive: false,
                    });
                }
            }
        }
    }

    /// The lock as the standard input of a child, which holds it from then on: [`Self::take`] finds
    /// it there.
    ///
    /// # Errors
    /// If no further file can be opened.
    pub fn hand_down(&self) -> io::Result<Stdio> {
        match self.exclusive {
            true => Ok(self.file.try_clone()?.into()),
            false => Ok(Stdio::null()),
        }
    }

    fn held(path: PathBuf, mut file: File) -> Self {
        // Naming the holder is not worth a failure.
        let _ = sign(&mut file);
        Self {
            path,
            file,
            exclusive: true,
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
    /// If it has not.
    pub fn check(&self) -> io::Result<()> {
        check_file(&self.path, &self.file).map_err(|error| {
            let path = self.path.display();
            let text = format!(
                "{path}: {error}; this run no longer owns the run folder and stops writing to it"
            );
            io::Error::new(error.kind(), text)
        })
    }
}

/// Whether a process holds a folder's lock.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn is_taken(folder: &Path) -> io::Result<bool> {
    match File::open(folder.join(NAME)) {
        Ok(file) => Ok(matches!(
            file.try_lock_shared(),
            Err(TryLockError::WouldBlock)
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Who holds a folder's lock, as far as it tells: ` (process 4242 on flagship)`, or nothing.
pub(crate) fn holder(folder: &Path) -> String {
    let read = || {
        let mut text = String::new();
        let file = File::open(folder.join(NAME)).ok()?;
        file.take(256).read_to_string(&mut text).ok()?;
        let (process, host) = text.lines().next()?.split_once(' ')?;
        let process: u32 = process.parse().ok()?;
        let plain = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic());
        plain.then(|| format!(" (process {process} on {host})"))
    };
    read().unwrap_or_default()
}

fn taken(folder: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::WouldBlock,
        format!(
            "another process is using {}{}; wait for it to end, or stop it",
            folder.display(),
            holder(folder)
        ),
    )
}

/// The lock that the process which started this one holds and gave it as its standard input.
fn handed_down(path: &Path) -> Option<File> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    // Locking once more succeeds only through the very file that the lock was taken through.
    (is_at(&file, path) && file.try_lock().is_ok()).then_some(file)
}

fn open(path: &Path) -> Result<File, FileError> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).read(true).write(true);
    file.open(path).map_err(FileError::write(path))
}

/// Takes the lock unless a process holds it; one that only looks at it for a moment is waited for.
fn lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..ATTEMPTS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if file.try_lock_shared().is_ok() => {
                file.unlock().map_err(TryLockError::Error)?;
                thread::sleep(LOOK);
            }
            settled => return settled,
        }
    }
    Err(TryLockError::WouldBlock)
}

/// Whether an open file is the one that has this name now.
fn is_at(file: &File, path: &Path) -> bool {
    check_file(path, file).is_ok()
}

fn sign(file: &mut File) -> io::Result<()> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let text = format!("{} {}\n", std::process::id(), host.trim());
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_keeps_a_second_one_away_and_says_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(folder.path()).unwrap();
        assert!(is_taken(folder.path()).unwrap());
        let error = FolderLock::take(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let holder = format!("(process {} on ", std::process::id());
        assert!(error.to_string().contains(&holder), "{error}");
        drop(lock);
        assert!(!is_taken(folder.path()).unwrap());
        FolderLock::take(folder.path()).unwrap();
    }

    #[test]
    fn one_who_only_looks_keeps_nobody_from_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        drop(FolderLock::take(folder.path()).unwrap());
        let look = File::open(folder.path().join(NAME)).unwrap();
        look.lock_shared().unwrap();
        thread::scope(|scope| {
            let taking = scope.spawn(|| FolderLock::take(folder.path()).map(drop));
            look.unlock().unwrap();
            taking.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_lock_that_was_removed_is_not_taken_for_the_one_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let old = open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let lock = FolderLock::take(folder.path()).unwrap();
        assert!(!is_at(&old, &path));
        assert!(is_at(&lock.file, &path));
    }

    #[test]
    fn what_others_wrote_into_the_lock_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "1", "x y\n", "1 \x1b[2J\n", "99999999999 host\n"] {
            fs::write(folder.path().join(NAME), text).unwrap();
            assert_eq!(holder(folder.path()), "", "{text:?}");
        }
        fs::write(folder.path().join(NAME), "12 flagship\nmore\n").unwrap();
        assert_eq!(holder(folder.path()), " (process 12 on flagship)");
    }
}
