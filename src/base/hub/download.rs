//! One file from the hub into the cache: complete and with the right digest, or not at all.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::base::hub::cache::RepositoryCache;
use crate::base::hub::client::{Content, HubClient, Kind};
use crate::base::hub::error::FetchError;
use crate::base::hub::names::{Commit, FileName};
use crate::base::hub::partial::{Partial, cannot, is_whole};

/// How often a download that failed is taken up again.
const RETRIES: u32 = 3;

/// The rest before the first retry; each further one is twice as long.
const FIRST_REST: Duration = Duration::from_millis(100);

/// Files of one commit, and where they go.
pub(crate) struct Download<'a> {
    pub client: &'a HubClient,
    pub cache: &'a RepositoryCache,
    pub kind: Kind,
    pub name: &'a str,
    pub commit: &'a Commit,
    /// Whether to draw how far it is.
    pub has_bar: bool,
}

impl Download<'_> {
    /// Fetches a file, resumes what breaks off, and fetches again what comes out wrong.
    pub fn fetch(&self, file: &FileName) -> Result<(), FetchError> {
        let mut attempt = 0;
        loop {
            match self.attempt(file) {
                Err(FetchError::Passing(why) | FetchError::Misfit(why)) if attempt < RETRIES => {
                    tracing::info!("{}: {why}; trying again", file.as_str());
                    std::thread::sleep(FIRST_REST * 2_u32.pow(attempt));
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    fn attempt(&self, file: &FileName) -> Result<(), FetchError> {
        let content = self.ask(file, 0)?;
        let etag = content.etag.clone();
        // Held until the end.
        let _lock = self
            .cache
            .lock(&etag)
            .map_err(cannot("lock", "the cache"))?;
        let blob = self.cache.blob(&etag).map_err(cannot("use", "the cache"))?;
        if !is_whole(&blob, content.length, &etag) {
            self.complete(file, content, &blob)?;
        }
        self.cache
            .link(self.commit, file, &etag)
            .map_err(cannot("write into", "the cache"))
    }

    fn ask(&self, file: &FileName, from: u64) -> Result<Content, FetchError> {
        self.client
            .content(self.kind, self.name, self.commit, file, from)
    }

    /// Brings the rest of a file, checks the whole and puts it in its place.
    fn complete(&self, file: &FileName, content: Content, blob: &Path) -> Result<(), FetchError> {
        let (etag, length) = (content.etag.clone(), content.length);
        let path = self
            .cache
            .partial(&etag)
            .map_err(cannot("use", "the cache"))?;
        let mut partial = Partial::open(path, length)?;
        let content = if partial.length == 0 {
            content
        } else {
            drop(content);
            let rest = self.ask(file, partial.length);
            rest.inspect_err(|failure| {
                if matches!(failure, FetchError::Misfit(_)) {
                    partial.discard();
                }
            })?
        };
        if content.etag != etag || content.length != length {
            partial.discard();
            return Err(FetchError::Misfit(
                "it changed during the download".to_owned(),
            ));
        }
        partial.start_at(content.start)?;
        let bar = self.bar(file, length);
        partial.receive(content.bytes, &bar)?;
        bar.finish_and_clear();
        partial.check(&etag)?;
        partial.put(blob)
    }

    fn bar(&self, file: &FileName, length: u64) -> ProgressBar {
        if !self.has_bar {
            return ProgressBar::hidden();
        }
        let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        let style = ProgressStyle::with_template(style);
        ProgressBar::new(length)
            .with_message(file.as_str().to_owned())
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}
