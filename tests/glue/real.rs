//! GLUE's published files, where they lie beside the project (or where `REGATTA_DATA` says).

use std::path::{Path, PathBuf};

use regatta::data::split::Split;
use regatta::tasks::glue::source::load;
use regatta::tasks::glue::task::GlueTask;

use crate::support::examples;

fn real() -> Option<PathBuf> {
    let named = std::env::var_os("REGATTA_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/glue");
    let dir = named.unwrap_or(beside);
    if dir.join("SST-2/train.tsv").exists() {
        return Some(dir);
    }
    eprintln!("skipped: no published GLUE files in {}", dir.display());
    None
}

#[test]
fn published_splits_have_their_published_sizes() {
    let Some(dir) = real() else { return };
    for (task, train, validation, test) in [
        (GlueTask::Cola, 8551, 1043, 1063),
        (GlueTask::Sst2, 67349, 872, 1821),
        (GlueTask::Mrpc, 3668, 408, 1725),
        (GlueTask::Stsb, 5749, 1500, 1379),
        (GlueTask::Rte, 2490, 277, 3000),
        (GlueTask::Wnli, 635, 71, 146),
    ] {
        let data = load(task, &dir).unwrap();
        let sizes = [&data.train, &data.validation[0], &data.test[0]].map(Split::len);
        assert_eq!(sizes, [train, validation, test], "{task}");
        assert!(
            data.test[0]
                .iter()
                .zip(0..)
                .all(|(example, id)| example.id == id),
            "{task}"
        );
    }
}

#[test]
fn published_rte_reads_the_same_from_tsv_and_from_parquet() {
    let Some(dir) = real() else { return };
    let (tsv, hub) = (
        load(GlueTask::Rte, &dir).unwrap(),
        load(GlueTask::Rte, &dir.join("rte-parquet")).unwrap(),
    );
    assert_eq!(examples(&tsv.train), examples(&hub.train));
    assert_eq!(examples(&tsv.validation[0]), examples(&hub.validation[0]));
    assert_eq!(examples(&tsv.test[0]), examples(&hub.test[0]));
}
