//! Whether a path still names what it did: what is open may be deleted, moved or replaced.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Checks that `path` names the file, or the folder, that is open as `file`.
///
/// # Errors
/// If it names another one or nothing, in words that fit after the path.
pub fn check_file(path: &Path, file: &File) -> io::Result<()> {
    let gone = |what: &str| io::Error::other(format!("it was {what} during the run"));
    let open = file.metadata()?;
    match path.metadata() {
        Ok(now) if (now.dev(), now.ino()) == (open.dev(), open.ino()) => Ok(()),
        Ok(_) => Err(gone("replaced by another one")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(gone("deleted or moved")),
        Err(error) => Err(error),
    }
}

/// A folder for a run's files. It is made when the first one is written, in a folder that has to
/// stay where it is.
#[derive(Debug)]
pub(crate) struct Place {
    folder: PathBuf,
    /// The folder around it, from when that is there.
    around: OnceLock<File>,
}

impl Place {
    /// A folder that is there, or is to be.
    pub fn new(folder: PathBuf) -> Self {
        let around = File::open(parent(&folder));
        Self {
            around: around.map_or_else(|_| OnceLock::new(), OnceLock::from),
            folder,
        }
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// If it cannot be made, or what it is to be in was moved, deleted or replaced.
    pub fn make(&self) -> io::Result<()> {
        let around = parent(&self.folder);
        if let Some(file) = self.around.get() {
            check_file(around, file).map_err(|error| {
                let around = around.display();
                io::Error::new(error.kind(), format!("its folder is in {around}: {error}"))
            })?;
        }
        fs::create_dir_all(&self.folder)?;
        let file = File::open(around)?;
        self.around.get_or_init(|| file);
        Ok(())
    }

    /// Makes what was renamed in the folder last.
    ///
    /// # Errors
    /// If the system says so.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

/// The parent folder of a path.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_moved_deleted_or_replaced_is_noticed_and_nothing_is_made_there() {
        let temporary = tempfile::tempdir().unwrap();
        let (run, moved) = (temporary.path().join("run"), temporary.path().join("moved"));
        fs::create_dir(&run).unwrap();
        let place = Place::new(run.join("checkpoints"));
        place.make().unwrap();
        fs::rename(&run, &moved).unwrap();
        let error = place.make().unwrap_err().to_string();
        assert!(
            error.contains("deleted or moved") && !run.exists(),
            "{error}"
        );
        fs::create_dir(&run).unwrap();
        let error = place.make().unwrap_err().to_string();
        assert!(error.contains("replaced"), "{error}");
        assert!(!run.join("checkpoints").exists());
        fs::remove_dir(&run).unwrap();
        fs::rename(&moved, &run).unwrap();
        place.make().unwrap();
    }
}
