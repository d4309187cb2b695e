//! A repository's folder in the cache that the hub's own library has, too:
//!
//! ```text
//! models--OWNER--NAME/blobs/ETAG                   the content of files
//! models--OWNER--NAME/snapshots/COMMIT/FILE        links to it
//! models--OWNER--NAME/refs/main                    the commit that the branch is at
//! models--OWNER--NAME/.no_exist/COMMIT/FILE        empty: the commit has no such file
//! .locks/models--OWNER--NAME/ETAG.lock             held by the process fetching that content
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use crate::base::hub::client::Kind;
use crate::base::hub::names::{Commit, ETag, FileName};

const ABSENT: &str = ".no_exist";

/// One repository's part of a cache.
#[derive(Debug)]
pub(crate) struct RepositoryCache {
    cache: PathBuf,
    folder: String,
}

impl RepositoryCache {
    /// The part of a repository, whose name is one (`names::is_repository`).
    pub fn new(cache: &Path, kind: Kind, name: &str) -> Self {
        Self {
            cache: cache.to_owned(),
            folder: format!("{}--{}", kind.plural(), name.replace('/', "--")),
        }
    }

    fn root(&self) -> PathBuf {
        self.cache.join(&self.folder)
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.root().join("snapshots").join(commit.as_str())
    }

    /// The folder of the commit that a branch is at, as far as it is known here.
    pub fn snapshot_of(&self, branch: &str) -> Option<PathBuf> {
        let text = fs::read_to_string(self.root().join("refs").join(branch)).ok()?;
        Some(self.snapshot(&Commit::parse(text.trim())?))
    }

    /// Whether it is known that a commit, whose folder this is, has a file or has it not.
    pub fn knows(&self, snapshot: &Path, file: &str) -> bool {
        let commit = snapshot.file_name().unwrap_or_default();
        let absent = self.root().join(ABSENT).join(commit).join(file);
        snapshot.join(file).exists() || absent.exists()
    }

    /// Notes that a commit has no such file.
    pub fn note_absent(&self, commit: &Commit, file: &str) -> io::Result<()> {
        let folder = self.folder(&Path::new(ABSENT).join(commit.as_str()))?;
        fs::write(folder.join(file), "")
    }

    /// Notes the commit that a branch is at.
    pub fn set_branch(&self, branch: &str, commit: &Commit) -> io::Result<()> {
        let path = self.folder(Path::new("refs"))?.join(branch);
        replace(&path, |new| fs::write(new, commit.as_str()))
    }

    /// The location of the content with a tag, once it is complete.
    pub fn blob(&self, etag: &ETag) -> io::Result<PathBuf> {
        Ok(self.folder(Path::new("blobs"))?.join(etag.as_str()))
    }

    /// The location of that content until it is complete.
    pub fn partial(&self, etag: &ETag) -> io::Result<PathBuf> {
        let name = format!("{}.incomplete", etag.as_str());
        Ok(self.folder(Path::new("blobs"))?.join(name))
    }

    /// Makes content appear as a file of a commit.
    pub fn link(&self, commit: &Commit, file: &FileName, etag: &ETag) -> io::Result<()> {
        let path = Path::new("snapshots").join(commit.as_str());
        let path = path.join(file.as_path());
        let parent = path.parent().unwrap_or(Path::new(""));
        let up: PathBuf = parent.components().map(|_| Component::ParentDir).collect();
        let target = up.join("blobs").join(etag.as_str());
        let pointer = self
            .folder(parent)?
            .join(path.file_name().unwrap_or_default());
        let blob = self.blob(etag)?;
        replace(&pointer, |new| {
            // Not every file system has links.
            std::os::unix::fs::symlink(&target, new).or_else(|_| fs::copy(&blob, new).map(|_| ()))
        })
    }

    /// Waits until no other process fetches the content with a tag, and keeps others from it until
    /// the file is dropped. File systems without locks do without.
    pub fn lock(&self, etag: &ETag) -> io::Result<File> {
        let locks = Path::new(".locks").join(&self.folder);
        let path = inside(&self.cache, &locks)?.join(format!("{}.lock", etag.as_str()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let path = path.display();
                tracing::warn!("another process fetches the same file; waiting for {path}");
                file.lock()?;
            }
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(error);
            }
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        Ok(file)
    }

    fn folder(&self, path: &Path) -> io::Result<PathBuf> {
        inside(&self.root(), path)
    }
}

/// Makes a folder below another, and each on the way. A link that leads out of the other is
/// refused: what is written here stays here. The other itself may well be a link of its owner's.
fn inside(root: &Path, path: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(root)?;
    let root = fs::canonicalize(root)?;
    let mut folder = root.clone();
    for part in path.components() {
        folder.push(part);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !fs::canonicalize(&folder)?.starts_with(&root) {
            return Err(io::Error::other(format!(
                "{} leads out of {}; remove it",
                folder.display(),
                root.display()
            )));
        }
    }
    Ok(folder)
}

/// Makes a file next to another and replaces it, whatever it is.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let suffix = format!(".{}.tmp", std::process::id());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let done = make(&new).and_then(|()| fs::rename(&new, path));
    if done.is_err() {
        // The first error is the one to tell of.
        let _ = fs::remove_file(&new);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn parts() -> (Commit, FileName, ETag) {
        (
            Commit::parse(COMMIT).unwrap(),
            FileName::parse("rte/x.parquet").unwrap(),
            ETag::parse("tag").unwrap(),
        )
    }

    #[test]
    fn a_linked_file_has_the_blobs_content() {
        let dir = tempfile::tempdir().unwrap();
        let cache = RepositoryCache::new(dir.path(), Kind::Dataset, "crew/data");
        let (commit, file, etag) = parts();
        fs::write(cache.blob(&etag).unwrap(), "content").unwrap();
        let pointer = cache.snapshot(&commit).join(file.as_path());
        // Twice, and over a link that leads nowhere.
        for _ in 0..2 {
            cache.link(&commit, &file, &etag).unwrap();
            assert_eq!(fs::read_to_string(&pointer).unwrap(), "content");
        }
        fs::remove_file(&pointer).unwrap();
        std::os::unix::fs::symlink("/nowhere", &pointer).unwrap();
        cache.link(&commit, &file, &etag).unwrap();
        assert_eq!(
            fs::read_link(&pointer).unwrap(),
            Path::new("../../../blobs/tag")
        );
        assert_eq!(fs::read_dir(pointer.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_branch_is_where_it_was_set_and_nowhere_by_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let cache = RepositoryCache::new(dir.path(), Kind::Model, "tiny");
        assert_eq!(cache.snapshot_of("main"), None);
        let (commit, ..) = parts();
        cache.set_branch("main", &commit).unwrap();
        assert_eq!(cache.snapshot_of("main"), Some(cache.snapshot(&commit)));
        let main = dir.path().join("models--tiny/refs/main");
        fs::write(main, "../../../..").unwrap();
        assert_eq!(cache.snapshot_of("main"), None);
    }

    #[test]
    fn nothing_is_written_through_a_link_out_of_the_cache() {
        for name in ["blobs", "snapshots", "refs"] {
            let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let cache = RepositoryCache::new(dir.path(), Kind::Model, "tiny");
            let root = dir.path().join("models--tiny");
            fs::create_dir_all(&root).unwrap();
            std::os::unix::fs::symlink(outside.path(), root.join(name)).unwrap();
            let (commit, file, etag) = parts();
            let refusal = match name {
                "blobs" => cache.blob(&etag).unwrap_err(),
                "snapshots" => cache.link(&commit, &file, &etag).unwrap_err(),
                _ => cache.set_branch("main", &commit).unwrap_err(),
            };
            assert!(refusal.to_string().contains("leads out of"), "{refusal}");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn the_folder_of_a_repository_may_lie_on_another_disk() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(disk.path(), dir.path().join("models--tiny")).unwrap();
        let cache = RepositoryCache::new(dir.path(), Kind::Model, "tiny");
        cache.set_branch("main", &parts().0).unwrap();
        assert!(disk.path().join("refs/main").is_file());
    }
}
