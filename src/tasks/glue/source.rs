//! From a folder to a task's splits, whichever layout the folder has.

use std::path::{Path, PathBuf};

use crate::data::error::DataError;
use crate::data::formats::{parquet, tsv};
use crate::data::request::SplitRequest;
use crate::data::schema::SplitName;
use crate::data::split::Split;
use crate::tasks::glue::task::GlueTask;
use crate::tasks::{ReadOptions, TaskData};

/// Reads a task from a folder in GLUE's TSV layout or the hub's Parquet layout.
///
/// # Errors
/// If files are missing, or one holds what the task does not allow; see [`DataError`].
pub fn load(task: GlueTask, dir: &Path) -> Result<TaskData, DataError> {
    load_with(task, dir, &ReadOptions::default())
}

/// As [`load`], with limits and further columns.
///
/// # Errors
/// As [`load`]; and when the training split lacks a column asked for.
pub fn load_with(task: GlueTask, dir: &Path, options: &ReadOptions) -> Result<TaskData, DataError> {
    let source = locate(task, dir)?;
    let read = |name: SplitName, limit| {
        let request = SplitRequest {
            schema: task.spec(),
            name,
            limit,
            columns: &options.columns,
        };
        source.read(&request)
    };
    let train = read(SplitName::Train, options.limit_train)?;
    let validation = task
        .validation_splits()
        .iter()
        .map(|name| read(*name, options.limit_eval));
    let test = task.test_splits().iter().filter(|name| source.has(**name));
    Ok(TaskData {
        train,
        validation: validation.collect::<Result<_, _>>()?,
        test: test
            .map(|name| read(*name, options.limit_test))
            .collect::<Result<_, _>>()?,
        folder: source.folder,
    })
}

/// A folder with a task's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFolder {
    /// The folder that holds the files themselves.
    pub folder: PathBuf,
    /// Their layout.
    pub layout: Layout,
}

/// The two ways in which GLUE is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// GLUE's own: `train.tsv`, `dev.tsv`, `test.tsv`.
    Tsv,
    /// The hub's: `train-00000-of-00001.parquet`, …
    Parquet,
}

impl TaskFolder {
    fn at(folder: &Path) -> Option<Self> {
        let layout = if folder.join(SplitName::Train.tsv_name()).is_file() {
            Layout::Tsv
        } else if !parquet::shards::shards(folder, SplitName::Train).is_empty() {
            Layout::Parquet
        } else {
            return None;
        };
        Some(Self {
            folder: folder.to_owned(),
            layout,
        })
    }

    fn has(&self, name: SplitName) -> bool {
        match self.layout {
            Layout::Tsv => self.folder.join(name.tsv_name()).is_file(),
            Layout::Parquet => !parquet::shards::shards(&self.folder, name).is_empty(),
        }
    }

    /// Refuses a split that is there as TSV and as Parquet: which of them is meant?
    fn check_one_layout(&self, split: SplitName) -> Result<(), DataError> {
        let tsv = self.folder.join(split.tsv_name());
        let mut found = parquet::shards::shards(&self.folder, split);
        if found.is_empty() || !tsv.is_file() {
            return Ok(());
        }
        found.insert(0, tsv);
        let split = split.hub_name();
        Err(DataError::SeveralSets { split, found })
    }

    fn read(&self, request: &SplitRequest<'_>) -> Result<Split, DataError> {
        self.check_one_layout(request.name)?;
        match self.layout {
            Layout::Tsv => tsv::read(&self.folder.join(request.name.tsv_name()), request),
            Layout::Parquet => parquet::read(&self.folder, request),
        }
    }
}

/// Finds a task's files: in `dir/SST-2` or `dir/sst2`, in `dir` itself unless it bears another
/// task's name, or in the only folder of `dir` whose name begins with the task's (`sst2-parquet`).
///
/// # Errors
/// [`DataError::Missing`] with all that was looked for, or [`DataError::Ambiguous`], also when both
/// `dir/SST-2` and `dir/sst2` hold the task.
pub fn locate(task: GlueTask, dir: &Path) -> Result<TaskFolder, DataError> {
    let ambiguous = |found: Vec<TaskFolder>| DataError::Ambiguous {
        task: task.name(),
        dir: dir.to_owned(),
        found: found.into_iter().map(|source| source.folder).collect(),
    };
    let mut exact = vec![dir.join(task.glue_name()), dir.join(task.name())];
    let mut own: Vec<TaskFolder> = exact.iter().filter_map(|it| TaskFolder::at(it)).collect();
    // Where names do not tell cases apart, or one folder is a link to the other, it is one.
    own.dedup_by_key(|source| std::fs::canonicalize(&source.folder).ok());
    if own.len() > 1 {
        return Err(ambiguous(own));
    }
    if folder_task(dir).is_none_or(|named| named == task) {
        exact.push(dir.to_owned());
        own.extend(TaskFolder::at(dir));
    }
    if !own.is_empty() {
        return Ok(own.remove(0));
    }
    let mut similar = similar_folders(task, dir);
    match similar.len() {
        1 => Ok(similar.remove(0)),
        0 => Err(DataError::Missing {
            task: task.name(),
            dir: dir.to_owned(),
            looked_for: exact
                .iter()
                .flat_map(|folder| train_files(folder))
                .collect(),
        }),
        _ => Err(ambiguous(similar)),
    }
}

/// Whether a folder holds every split of a task, each with all of its files.
#[cfg(feature = "hub")]
pub(crate) fn is_complete(task: GlueTask, folder: &Path) -> bool {
    let held_out = task.validation_splits().iter().chain(task.test_splits());
    let is_there = |source: &TaskFolder, split: SplitName| match source.layout {
        Layout::Tsv => source.has(split),
        Layout::Parquet => parquet::is_complete(folder, task.spec(), split),
    };
    TaskFolder::at(folder).is_some_and(|source| {
        is_there(&source, SplitName::Train) && held_out.clone().all(|it| is_there(&source, *it))
    })
}

fn folder_task(dir: &Path) -> Option<GlueTask> {
    dir.file_name()?.to_str()?.parse().ok()
}

fn train_files(folder: &Path) -> [PathBuf; 2] {
    [folder.join("train.tsv"), folder.join("train-*.parquet")]
}

/// Folders named like the task, with something after it: `rte-parquet`, `RTE_small`.
fn similar_folders(task: GlueTask, dir: &Path) -> Vec<TaskFolder> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| is_similar(task, &name.to_string_lossy()))
        })
        .collect();
    folders.sort();
    folders
        .iter()
        .filter_map(|folder| TaskFolder::at(folder))
        .collect()
}

fn is_similar(task: GlueTask, folder: &str) -> bool {
    let folder = folder.to_ascii_lowercase();
    [
        task.name().to_owned(),
        task.glue_name().to_ascii_lowercase(),
    ]
    .iter()
    .any(|name| {
        folder
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
    })
}
