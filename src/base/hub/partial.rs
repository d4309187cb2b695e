//! Content on its way into the cache, and whether it is the right one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use ring::digest::{self, Context};

use crate::base::hub::error::FetchError;
use crate::base::hub::names::{Algorithm, ETag};

/// Bytes that are read at a time.
const BLOCK: usize = 1 << 16;

/// A file that is not complete yet.
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    /// Bytes that are there.
    pub length: u64,
    /// Bytes of the whole.
    whole: u64,
}

impl Partial {
    /// Opens what is there of a file. What cannot be its beginning is thrown away: a link, a
    /// folder, and what is as long as the whole or longer, for the whole would not lie here.
    pub fn open(path: PathBuf, whole: u64) -> Result<Self, FetchError> {
        if let Ok(found) = fs::symlink_metadata(&path)
            && (!found.is_file() || found.len() >= whole)
        {
            remove(&path);
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(cannot("write", &path.display().to_string()))?;
        let length = file.seek(SeekFrom::End(0));
        let length = length.map_err(cannot("read", &path.display().to_string()))?;
        Ok(Self {
            path,
            file,
            length,
            whole,
        })
    }

    /// Throws it away.
    pub fn discard(&self) {
        remove(&self.path);
    }

    /// Makes ready for bytes from a position on: the end of what is there, or the beginning if the
    /// server does not send parts.
    pub fn start_at(&mut self, start: u64) -> Result<(), FetchError> {
        if start == self.length {
            return Ok(());
        }
        if start != 0 {
            self.discard();
            return Err(FetchError::Misfit(format!(
                "bytes from {} were requested, but bytes from {start} were sent",
                self.length
            )));
        }
        self.length = 0;
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| self.unwritable(error))
    }

    /// Appends what is sent, and never more than was announced. What came before the connection
    /// broke off stays for the next try.
    pub fn receive(&mut self, mut bytes: impl Read, bar: &ProgressBar) -> Result<(), FetchError> {
        let mut block = vec![0; BLOCK];
        loop {
            bar.set_position(self.length);
            let read = match bytes.read(&mut block) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broke_off(&error.to_string())),
            };
            if self.length + read as u64 > self.whole {
                self.discard();
                return Err(FetchError::Final(format!(
                    "it should have {} bytes, but more were sent",
                    self.whole
                )));
            }
            let written = self.file.write_all(&block[..read]);
            written.map_err(|error| self.unwritable(error))?;
            self.length += read as u64;
        }
        if self.length < self.whole {
            return Err(self.broke_off("the connection ended"));
        }
        Ok(())
    }

    fn broke_off(&self, why: &str) -> FetchError {
        let (length, whole) = (self.length, self.whole);
        FetchError::Passing(format!(
            "it broke off after {length} of {whole} bytes: {why}"
        ))
    }

    /// A disk that is full does not keep half a file, either.
    fn unwritable(&self, error: io::Error) -> FetchError {
        self.discard();
        cannot("write", &self.path.display().to_string())(error)
    }

    /// Compares with the digest that the tag is, if it is one.
    pub fn check(&self, etag: &ETag) -> Result<(), FetchError> {
        let found = digest_of(&self.path, etag);
        let found = found.map_err(cannot("read", &self.path.display().to_string()))?;
        match found {
            Some(found) if !found.eq_ignore_ascii_case(etag.as_str()) => {
                self.discard();
                Err(FetchError::Misfit(format!(
                    "its digest is {found}, but should be {}",
                    etag.as_str()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Moves it to where the complete file is looked for.
    pub fn put(self, blob: &Path) -> Result<(), FetchError> {
        let put = self.file.sync_all();
        let put = put.and_then(|()| fs::rename(&self.path, blob));
        put.map_err(|error| self.unwritable(error))
    }
}

/// Whether a blob is there with the right content. What is not, is removed.
pub(crate) fn is_whole(blob: &Path, length: u64, etag: &ETag) -> bool {
    let Ok(found) = fs::symlink_metadata(blob) else {
        return false;
    };
    let has_digest = || match digest_of(blob, etag) {
        Ok(digest) => digest.is_none_or(|it| it.eq_ignore_ascii_case(etag.as_str())),
        Err(_) => false,
    };
    let is_whole = found.is_file() && found.len() == length && has_digest();
    if !is_whole {
        remove(blob);
    }
    is_whole
}

/// The file's digest by the algorithm of a tag, in hexadecimal digits; `None` for a tag that is no
/// digest.
fn digest_of(path: &Path, etag: &ETag) -> io::Result<Option<String>> {
    let Some(algorithm) = etag.algorithm() else {
        return Ok(None);
    };
    let mut file = File::open(path)?;
    let mut context = match algorithm {
        Algorithm::Sha256 => Context::new(&digest::SHA256),
        Algorithm::GitBlob => {
            let mut context = Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
            context.update(format!("blob {}\0", file.metadata()?.len()).as_bytes());
            context
        }
    };
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block) {
            Ok(0) => break,
            Ok(read) => context.update(&block[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let digest = context.finish();
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    Ok(Some(digits.collect()))
}

/// Removes what is in the way, as far as that can be done: what follows fails if it cannot.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Wraps what the system says with what was being done.
pub(crate) fn cannot(action: &str, what: &str) -> impl FnOnce(io::Error) -> FetchError {
    move |error| FetchError::Final(format!("cannot {action} {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(path: &Path, whole: u64) -> Partial {
        Partial::open(path.to_owned(), whole).unwrap()
    }

    fn tag(text: &str) -> ETag {
        ETag::parse(text).unwrap()
    }

    #[test]
    fn a_digest_is_that_of_the_tags_algorithm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "hello\n").unwrap();
        let digest = |tag: &ETag| digest_of(&path, tag).unwrap();
        // As `git hash-object` and `sha256sum` have them.
        let blob = tag("ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(digest(&blob).as_deref(), Some(blob.as_str()));
        let sha256 = tag("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        assert_eq!(digest(&sha256).as_deref(), Some(sha256.as_str()));
        assert_eq!(digest(&tag("5f3c-61a")), None);
    }

    #[test]
    fn a_partial_file_that_is_no_beginning_is_thrown_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "12345").unwrap();
        assert_eq!(partial(&path, 9).length, 5);
        assert_eq!(partial(&path, 4).length, 0);
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);

        let outside = dir.path().join("outside");
        fs::write(&outside, "12345").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&outside, &path).unwrap();
        let mut partial = partial(&path, 9);
        partial
            .receive(&b"123456789"[..], &ProgressBar::hidden())
            .unwrap();
        assert_eq!(fs::read(&outside).unwrap(), b"12345");
        assert_eq!(fs::read(&path).unwrap(), b"123456789");
    }

    #[test]
    fn what_breaks_off_stays_and_what_is_too_long_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let bar = ProgressBar::hidden();
        let failure = partial(&path, 9).receive(&b"1234"[..], &bar).unwrap_err();
        assert!(matches!(failure, FetchError::Passing(_)), "{failure:?}");
        let mut rest = partial(&path, 9);
        rest.start_at(4).unwrap();
        rest.receive(&b"56789"[..], &bar).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"123456789");

        fs::remove_file(&path).unwrap();
        let failure = partial(&path, 3).receive(&b"1234"[..], &bar).unwrap_err();
        assert!(matches!(failure, FetchError::Final(_)), "{failure:?}");
        assert!(!path.exists());
    }

    #[test]
    fn a_disk_that_takes_no_more_keeps_no_half_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut partial = partial(&path, 9);
        // A handle that cannot be written by, as good as a disk that is full.
        partial.file = File::open(&path).unwrap();
        let failure = partial
            .receive(&b"1234"[..], &ProgressBar::hidden())
            .unwrap_err();
        assert!(matches!(&failure, FetchError::Final(why) if why.contains("cannot write")));
        assert!(!path.exists());
    }

    #[test]
    fn a_blob_that_is_not_the_whole_is_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let blob = tag("ce013625030ba8dba906f756967f9e9ca394464a");
        for (content, is_good) in [("hello\n", true), ("hallo\n", false), ("hello", false)] {
            fs::write(&path, content).unwrap();
            assert_eq!(is_whole(&path, 6, &blob), is_good, "{content}");
            assert_eq!(path.exists(), is_good);
        }
        assert!(!is_whole(&path, 6, &blob));
    }
}
