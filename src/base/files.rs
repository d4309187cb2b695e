//! Files that are whole or not there: written next to their place, synced, renamed into it. And
//! the locations of the program's own files.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::base::file_error::FileError;

/// What the temporary files of [`write_atomically`] are called; six letters or digits follow.
pub const PARTIAL: &str = ".regatta-";
/// Their suffix in versions before 0.2.
pub const OLD_PARTIAL: &str = ".tmp";

/// All bytes of a file.
///
/// # Errors
/// [`FileError`], naming the file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(FileError::read(path))
}

/// All of a text file.
///
/// # Errors
/// [`FileError`], naming the file; also if it is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(FileError::read(path))
}

/// A file to read from.
///
/// # Errors
/// [`FileError`], naming the file.
pub fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(FileError::read(path))
}

/// Makes a folder, and those around it, where there is none yet.
///
/// # Errors
/// [`FileError`], naming the folder.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::make(path))
}

/// Writes a file atomically: a reader, or a machine that comes back from a power cut, finds the
/// old content or the new, never a part.
///
/// # Errors
/// [`FileError`], naming the file; the temporary file is then gone and the old content stays.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes).map_err(FileError::write(path))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Temporary files are private by default; a result is readable as the umask allows.
    let mut file = tempfile::Builder::new()
        .prefix(PARTIAL)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    // Marks it as not a leftover. Without locks, leftovers are not looked for.
    let _ = file.as_file().try_lock();
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    File::open(folder)?.sync_all()
}

/// Where this program caches what it can make again, by the XDG Base Directory Specification;
/// `None` for a user without a home.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    user_folder("XDG_CACHE_HOME", ".cache")
}

/// Where this program remembers what it found out, by the same specification.
#[must_use]
pub fn state_folder() -> Option<PathBuf> {
    user_folder("XDG_STATE_HOME", ".local/state")
}

fn user_folder(variable: &str, in_home: &str) -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let folder = set(variable).or_else(|| Some(set("HOME")?.join(in_home)))?;
    Some(folder.join("regatta"))
}
