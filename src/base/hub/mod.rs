//! Models and data sets from the Hugging Face hub, kept in its usual cache.
//!
//! What is complete in the cache is used without asking the hub. Otherwise the files of one commit
//! are fetched, and the cache's `main` moves to that commit only when it has them all. A file is
//! there when its length and digest are what the hub says, and no name that a server gives leads
//! out of the cache.

pub(crate) mod address;
pub(crate) mod answer;
pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod download;
pub(crate) mod environment;
pub(crate) mod error;
pub(crate) mod expansion;
pub(crate) mod model_files;
pub(crate) mod names;
pub(crate) mod partial;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use crate::base::file_error::FileError;
use crate::base::hub::cache::RepositoryCache;
use crate::base::hub::client::{HubClient, Kind};
use crate::base::hub::download::Download;
use crate::base::hub::error::FetchError;
use crate::base::hub::model_files::TOKENIZER_FILES;
use crate::base::hub::names::{Commit, FileName, is_repository, shown};
use crate::base::hub_error::HubError;

/// The branch that is meant when none is named.
const MAIN: &str = "main";

/// Fetches a model by the environment's settings; see [`Hub::model`].
///
/// # Errors
/// As [`Hub::model`].
pub fn fetch_model(name: &str) -> Result<PathBuf, HubError> {
    Hub::from_env()?.model(name)
}

/// The connection to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// The folder with `models--…` and `datasets--…`.
    pub cache: PathBuf,
    /// The hub's address, if it is not the usual one.
    pub endpoint: Option<String>,
    /// The token for gated repositories.
    pub token: Option<String>,
    /// Use the cache alone.
    pub offline: bool,
}

impl Hub {
    /// The folder of a model with `config.json`, `tokenizer.json` and the weights, whole or in parts,
    /// and with what else decides on its tokens, where it has that.
    ///
    /// # Errors
    /// If the name is not a repository on the hub, the hub does not have the files or cannot be
    /// reached, or sends something else than it says; offline when the cache lacks one.
    pub fn model(&self, name: &str) -> Result<PathBuf, HubError> {
        if !is_repository(name) {
            let wrong = "no such folder, and not a repository name on the hub such as \
                         FacebookAI/roberta-base";
            return Err(failed(name)(wrong.to_owned()));
        }
        let cache = RepositoryCache::new(&self.cache, Kind::Model, name);
        let cached = cache.snapshot_of(MAIN);
        let cached = cached.filter(|it| model_files::is_complete(it));
        if let Some(snapshot) = &cached
            && (self.offline || TOKENIZER_FILES.iter().all(|it| cache.knows(snapshot, it)))
        {
            return Ok(snapshot.clone());
        }
        let fetched = self.fetch(Kind::Model, name, &cache, model_files::choose);
        match (fetched, cached) {
            (Ok((snapshot, commit)), _) => {
                for file in TOKENIZER_FILES {
                    if !snapshot.join(file).exists() {
                        let noted = cache.note_absent(&commit, file);
                        noted.map_err(FileError::write(&self.cache))?;
                    }
                }
                Ok(snapshot)
            }
            // An earlier version fetched three files, and the hub is now unreachable.
            (Err(error), Some(snapshot)) => {
                tracing::warn!(
                    "{error}; using the cached copy, which may lack some of {}",
                    TOKENIZER_FILES.join(", ")
                );
                Ok(snapshot)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// One folder of a data set's Parquet files: from the cache if `is_complete` says that it has
    /// them all.
    ///
    /// # Errors
    /// As [`Hub::model`].
    pub fn dataset(
        &self,
        name: &str,
        folder: &str,
        is_complete: impl Fn(&Path) -> bool,
    ) -> Result<PathBuf, HubError> {
        let cache = RepositoryCache::new(&self.cache, Kind::Dataset, name);
        let cached = cache.snapshot_of(MAIN).map(|it| it.join(folder));
        if let Some(cached) = cached.filter(|cached| is_complete(cached)) {
            return Ok(cached);
        }
        let prefix = format!("{folder}/");
        let (snapshot, _) = self.fetch(Kind::Dataset, name, &cache, |available, _| {
            let is_wanted =
                |file: &&String| file.starts_with(&prefix) && file.ends_with(".parquet");
            let wanted: Vec<String> = available.iter().filter(is_wanted).cloned().collect();
            if wanted.is_empty() {
                Err(format!("it has no {prefix}*.parquet"))
            } else {
                Ok(wanted)
            }
        })?;
        Ok(snapshot.join(folder))
    }

    /// Fetches the files that `choose` takes of a repository's, all of one commit; gives their
    /// folder and the commit. It chooses once more among those of the repository when the chosen
    /// ones are in that folder, since one of them may name others.
    fn fetch(
        &self,
        kind: Kind,
        name: &str,
        cache: &RepositoryCache,
        choose: impl Fn(&[String], &Path) -> Result<Vec<String>, String>,
    ) -> Result<(PathBuf, Commit), HubError> {
        let failed = failed(name);
        if self.offline {
            let cache = self.cache.display();
            return Err(failed(format!(
                "HF_HUB_OFFLINE is set and {cache} is incomplete; fetch it once online, or name a \
                 local folder"
            )));
        }
        let explain = |failure: FetchError| failed(failure.message());
        let client = HubClient::new(self.endpoint.as_deref(), self.token.as_deref());
        let client = client.map_err(explain)?;
        let listing = client.listing(kind, name, MAIN).map_err(explain)?;
        // All names before the first file: nothing is had from a hub that tries to lead astray.
        let named = |file: &String| {
            FileName::parse(file)
                .ok_or_else(|| failed(format!("a file's name leads elsewhere: {}", shown(file))))
        };
        let download = Download {
            client: &client,
            cache,
            kind,
            name,
            commit: &listing.commit,
            has_bar: std::io::stderr().is_terminal(),
        };
        let snapshot = cache.snapshot(&listing.commit);
        loop {
            let wanted = choose(&listing.files, &snapshot).map_err(&failed)?;
            let mut missing: Vec<FileName> = wanted.iter().map(named).collect::<Result<_, _>>()?;
            missing.retain(|file| !snapshot.join(file.as_path()).exists());
            if missing.is_empty() {
                break;
            }
            for file in &missing {
                download.fetch(file).map_err(|failure| {
                    let message = failure.message();
                    failed(format!("{}: {message}", file.as_str()))
                })?;
            }
        }
        cache
            .set_branch(MAIN, &listing.commit)
            .map_err(FileError::write(&self.cache))?;
        Ok((snapshot, listing.commit))
    }
}

fn failed(repo: &str) -> impl Fn(String) -> HubError {
    move |message| HubError::Fetch {
        repo: repo.to_owned(),
        message,
    }
}
