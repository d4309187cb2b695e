//! Models and data sets from the Hugging Face hub, kept in its usual cache.
//!
//! What is complete in the cache is used without asking the hub. Otherwise the files of one commit
//! are fetched, and the cache's `main` moves to that commit only when it has them all.

use std::io::IsTerminal;
use std::path::PathBuf;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use super::error::GlueError;
use super::source;
use super::task::Task;

/// The data set with all nine tasks, in Parquet.
const GLUE: &str = "nyu-mll/glue";

/// The branch that is meant when none is named.
const MAIN: &str = "main";

/// The files that make a model.
const MODEL_FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// Times that a broken download is taken up again.
const RETRIES: usize = 3;

/// Fetches a model by the environment's settings; see [`Hub::model`].
///
/// # Errors
/// As [`Hub::model`].
pub fn fetch_model(name: &str) -> Result<PathBuf, GlueError> {
    Hub::from_env()?.model(name)
}

/// Fetches a task's data by the environment's settings; see [`Hub::dataset`].
///
/// # Errors
/// As [`Hub::dataset`].
pub fn fetch_dataset(task: Task) -> Result<PathBuf, GlueError> {
    Hub::from_env()?.dataset(task)
}

/// How the hub is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    /// The folder with `models--…` and `datasets--…`.
    pub cache: PathBuf,
    /// The hub's address, if it is not the usual one.
    pub endpoint: Option<String>,
    /// What gated repositories ask for.
    pub token: Option<String>,
    /// Use the cache alone.
    pub offline: bool,
}

impl Hub {
    /// Settings as the hub's own library takes them: `HF_HUB_CACHE` or `HF_HOME`, `HF_ENDPOINT`,
    /// `HF_TOKEN` or the token file of `HF_HOME`, and `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// When no variable names a cache and there is no home folder.
    pub fn from_env() -> Result<Self, GlueError> {
        Self::from_variables(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
        user: Option<PathBuf>,
    ) -> Result<Self, GlueError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = set("HF_HOME").map(PathBuf::from).or_else(|| {
            let caches = set("XDG_CACHE_HOME").map(PathBuf::from);
            Some(
                caches
                    .or_else(|| Some(user?.join(".cache")))?
                    .join("huggingface"),
            )
        });
        let cache = set("HF_HUB_CACHE").map(PathBuf::from);
        let cache = cache.or_else(|| Some(home.as_ref()?.join("hub")));
        let token_file = home.map(|home| home.join("token"));
        let stored = || Some(std::fs::read_to_string(token_file?).ok()?.trim().to_owned());
        Ok(Self {
            cache: cache.ok_or_else(|| GlueError::Hub {
                repo: "anything".to_owned(),
                message: "there is no home folder for its cache; set HF_HOME".to_owned(),
            })?,
            endpoint: set("HF_ENDPOINT").map(|url| url.trim_end_matches('/').to_owned()),
            token: set("HF_TOKEN")
                .or_else(stored)
                .filter(|token| !token.is_empty()),
            offline: set("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)),
        })
    }

    /// The folder of a model with `config.json`, `tokenizer.json` and `model.safetensors`.
    ///
    /// # Errors
    /// When the hub does not have them or cannot be reached, or offline when the cache lacks one.
    pub fn model(&self, name: &str) -> Result<PathBuf, GlueError> {
        let repo = Repo::model(name.to_owned());
        if let Some(snapshot) = self.snapshot(&repo)
            && MODEL_FILES.iter().all(|file| snapshot.join(file).exists())
        {
            return Ok(snapshot);
        }
        self.fetch(name, repo, |available| {
            let missing = MODEL_FILES
                .iter()
                .find(|file| !available.iter().any(|it| it == *file));
            match missing {
                Some(file) => Err(format!("it has no {file}; it has {}", available.join(", "))),
                None => Ok(MODEL_FILES.map(str::to_owned).to_vec()),
            }
        })
    }

    /// The folder of a task's Parquet files.
    ///
    /// # Errors
    /// As [`Hub::model`].
    pub fn dataset(&self, task: Task) -> Result<PathBuf, GlueError> {
        let repo = Repo::dataset(GLUE.to_owned());
        let cached = self
            .snapshot(&repo)
            .map(|snapshot| snapshot.join(task.name()));
        if let Some(folder) = cached.filter(|folder| source::is_complete(task, folder)) {
            return Ok(folder);
        }
        let prefix = format!("{}/", task.name());
        let snapshot = self.fetch(GLUE, repo, |available| {
            let is_wanted =
                |file: &&String| file.starts_with(&prefix) && file.ends_with(".parquet");
            let wanted: Vec<String> = available.iter().filter(is_wanted).cloned().collect();
            if wanted.is_empty() {
                Err(format!("it has no {prefix}*.parquet"))
            } else {
                Ok(wanted)
            }
        })?;
        Ok(snapshot.join(task.name()))
    }

    /// The cache's folder of the commit that `main` is at.
    fn snapshot(&self, repo: &Repo) -> Option<PathBuf> {
        let root = self.cache.join(repo.folder_name());
        let commit = std::fs::read_to_string(root.join("refs").join(MAIN)).ok()?;
        Some(root.join("snapshots").join(commit.trim()))
    }

    /// Fetches the files that `choose` takes of a repository's, all of one commit.
    fn fetch(
        &self,
        name: &str,
        repo: Repo,
        choose: impl FnOnce(&[String]) -> Result<Vec<String>, String>,
    ) -> Result<PathBuf, GlueError> {
        let failed = |message: String| GlueError::Hub {
            repo: name.to_owned(),
            message,
        };
        if self.offline {
            let cache = self.cache.display();
            return Err(failed(format!(
                "HF_HUB_OFFLINE is set and {cache} does not hold all of it; fetch it once online, \
                 or name a local folder"
            )));
        }
        let describe = |error: ApiError| failed(explain(&error));
        let api = self.api().map_err(describe)?;
        let info = api.repo(repo.clone()).info().map_err(describe)?;
        let available: Vec<String> = info.siblings.into_iter().map(|it| it.rfilename).collect();
        let wanted = choose(&available).map_err(failed)?;

        let kind = if name == GLUE {
            RepoType::Dataset
        } else {
            RepoType::Model
        };
        let pinned = api.repo(Repo::with_revision(name.to_owned(), kind, info.sha.clone()));
        let cache = Cache::new(self.cache.clone()).repo(repo);
        let snapshot = cache.pointer_path(&info.sha);
        for file in wanted.iter().filter(|file| !snapshot.join(file).exists()) {
            pinned
                .download(file)
                .map_err(|error| failed(format!("{file}: {}", explain(&error))))?;
        }
        cache
            .create_ref(&info.sha)
            .map_err(GlueError::io("write", &self.cache))?;
        Ok(snapshot)
    }

    fn api(&self) -> Result<Api, ApiError> {
        let mut builder = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_token(self.token.clone())
            .with_retries(RETRIES)
            .with_progress(std::io::stderr().is_terminal());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        builder.build()
    }
}

/// As the hub's own library reads a switch.
fn is_true(value: &str) -> bool {
    ["1", "true", "yes", "on"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

/// What the hub's answer means for the user.
fn explain(error: &ApiError) -> String {
    let text = error.to_string();
    let advice = if text.contains("401") || text.contains("403") {
        "; is the name right, and HF_TOKEN set if the repository is private?"
    } else if text.contains("404") {
        "; is the name right?"
    } else {
        ""
    };
    format!("{text}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Hub {
        let variable = |name: &str| {
            let found = variables.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Hub::from_variables(variable, Some(PathBuf::from("/home/me"))).unwrap()
    }

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let cache = |variables: &[(&str, &str)]| hub(variables).cache;
        assert_eq!(cache(&[]), PathBuf::from("/home/me/.cache/huggingface/hub"));
        assert_eq!(
            cache(&[("XDG_CACHE_HOME", "/c")]),
            PathBuf::from("/c/huggingface/hub")
        );
        assert_eq!(
            cache(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/c")]),
            PathBuf::from("/h/hub")
        );
        assert_eq!(
            cache(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/x")]),
            PathBuf::from("/x")
        );
    }

    #[test]
    fn address_token_and_offline_mode_come_from_the_environment() {
        let plain = hub(&[("HF_ENDPOINT", ""), ("HF_HUB_OFFLINE", "0")]);
        assert_eq!(
            (plain.endpoint, plain.token, plain.offline),
            (None, None, false)
        );
        let set = hub(&[
            ("HF_ENDPOINT", "http://a/"),
            ("HF_TOKEN", "t"),
            ("HF_HUB_OFFLINE", "1"),
        ]);
        assert_eq!(set.endpoint.as_deref(), Some("http://a"));
        assert_eq!((set.token.as_deref(), set.offline), (Some("t"), true));
    }

    #[test]
    fn the_token_may_lie_in_a_file_beside_the_cache() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "stored\n").unwrap();
        let home = home.path().to_str().unwrap();
        let token = |variables: &[(&str, &str)]| hub(variables).token;
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("stored"));
        assert_eq!(
            token(&[("HF_HOME", home), ("HF_TOKEN", "t")]).as_deref(),
            Some("t")
        );
    }

    #[test]
    fn without_any_folder_for_the_cache_there_is_an_error() {
        assert!(Hub::from_variables(|_| None, None).is_err());
    }
}
