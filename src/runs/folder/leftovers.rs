//! Files that were to be renamed into their place when their process was killed.

use std::fs::{self, DirEntry, File, TryLockError};
use std::path::Path;

use crate::base::files::{OLD_PARTIAL, PARTIAL};
use crate::runs::folder::artifact::Artifact;

/// Letters that a temporary file's name ends with.
const RANDOM_LETTERS: usize = 6;

/// Removes what killed processes left in a run folder; who calls this has its lock. A file that a
/// process is still writing (such as a report) is locked, and stays.
pub(crate) fn remove(folder: &Path) {
    let named = Artifact::FOLDERS.map(|inner| folder.join(inner.name()));
    let best = folder.join(Artifact::Best.name());
    let others = [folder.to_owned(), best.join(Artifact::Adapter.name())];
    for folder in named.into_iter().chain(others) {
        // What is not there has nothing left in it.
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten().filter(is_one) {
            let path = entry.path();
            if !is_held(&path)
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
        }
    }
}

/// Whether it is a temporary file of this program's, by its name.
pub(crate) fn is_one(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
    is_file && name.to_str().is_some_and(is_name)
}

fn is_name(name: &str) -> bool {
    let random = |rest: &str| {
        rest.len() == RANDOM_LETTERS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let of_checkpoint = |name: &str| {
        let round = name.strip_prefix("round-")?.strip_suffix(".partial")?;
        (round.len() >= 8 && round.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
    };
    [PARTIAL, OLD_PARTIAL]
        .iter()
        .any(|prefix| name.strip_prefix(prefix).is_some_and(random))
        || of_checkpoint(name).is_some()
        || name == "interventions.partial"
}

fn is_held(path: &Path) -> bool {
    let held = |file: File| matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    File::open(path).is_ok_and(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::files::write_atomically;

    #[test]
    fn only_names_that_this_program_gives_are_its_leftovers() {
        for name in [
            ".regatta-a1B2c3",
            ".tmpAbCd12",
            "round-00000012.partial",
            "interventions.partial",
        ] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            ".tmp",
            ".tmpAbCd123",
            ".tmpAbC.12",
            "tmpAbCd12",
            ".regatta-",
            "notes.partial",
            "round-1.partial",
            "round-00000012.checkpoint",
            "lock",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn leftovers_are_removed_and_everything_else_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("checkpoints")).unwrap();
        fs::create_dir(path(".tmpFolder")).unwrap();
        let gone = [".tmpAbCd12", "checkpoints/round-00000003.partial"];
        let kept = [
            "mine.tmp",
            ".regatta-folder/x",
            "checkpoints/round-00000003.checkpoint",
        ];
        fs::create_dir(path(".regatta-folder")).unwrap();
        for name in gone.iter().chain(&kept) {
            fs::write(path(name), "x").unwrap();
        }
        fs::write(path(".regatta-aaaaaa"), "x").unwrap();
        let writing = File::open(path(".regatta-aaaaaa")).unwrap();
        writing.lock().unwrap();
        remove(folder.path());
        assert!(path(".tmpFolder").exists() && path(".regatta-aaaaaa").exists());
        assert!(gone.iter().all(|name| !path(name).exists()));
        assert!(kept.iter().all(|name| path(name).exists()));
        drop(writing);
        remove(folder.path());
        assert!(!path(".regatta-aaaaaa").exists());
    }

    #[test]
    fn a_file_that_is_written_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        write_atomically(&folder.path().join("x"), b"1").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
