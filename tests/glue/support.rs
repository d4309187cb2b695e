//! What the tests of GLUE share.

use std::fs;
use std::path::{Path, PathBuf};

use regatta::data::split::{Example, Split};
use regatta::tasks::TaskData;
use regatta::tasks::glue::source::load;
use regatta::tasks::glue::task::GlueTask;

/// A path in the fixtures.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/glue")
        .join(path)
}

/// A task of the fixtures, from their TSV files.
pub fn tiny(task: GlueTask) -> TaskData {
    load(task, &fixture("tsv")).unwrap()
}

/// All examples of a split.
pub fn examples(split: &Split) -> Vec<Example<'_>> {
    split.iter().collect()
}

/// A temporary copy of a fixture folder, under another name if need be.
pub fn copy_of(folder: &str, name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join(name);
    fs::create_dir(&target).unwrap();
    for entry in fs::read_dir(fixture(folder)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, target.join(path.file_name().unwrap())).unwrap();
    }
    dir
}
