//! Writing files so that a reader sees either the old one or the whole new one.

use std::fs::{self, Permissions};
use std::io::{BufWriter, Write};
use std::path::Path;

use super::error::GlueError;

/// Writes a file under a temporary name in its folder, syncs it, and renames it. Creates the
/// folder.
pub(super) fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), GlueError> {
    let attempt = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut builder = tempfile::Builder::new();
        if let Some(permissions) = shared_permissions() {
            builder.permissions(permissions);
        }
        let mut file = builder.tempfile_in(folder)?;
        let mut writer = BufWriter::new(file.as_file_mut());
        fill(&mut writer)?;
        writer.flush()?;
        drop(writer);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(GlueError::io("write", path))
}

/// What the umask leaves of read and write for all: the owner alone, a temporary file's default,
/// would keep a run's results from the rest of a group.
#[cfg(unix)]
fn shared_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn shared_permissions() -> Option<Permissions> {
    None
}
