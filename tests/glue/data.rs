use std::fs;
use std::path::Path;

use regatta::data::error::DataError;
use regatta::data::schema::SplitName;
use regatta::data::split::Split;
use regatta::tasks::glue::source::{Layout, load, load_with, locate};
use regatta::tasks::glue::task::GlueTask;
use regatta::tasks::{ReadOptions, TaskData};

use crate::support::{copy_of, examples, fixture, tiny};

#[test]
fn every_task_reads_the_same_from_tsv_and_from_parquet() {
    for task in GlueTask::ALL {
        let (tsv, hub) = (tiny(task), load(task, &fixture("parquet")).unwrap());
        assert_eq!(examples(&tsv.train), examples(&hub.train), "{task}");
        assert_eq!(tsv.train.len(), 4, "{task}");
        let others = |data: &TaskData| -> Vec<(SplitName, String)> {
            let splits = data.validation.iter().chain(&data.test);
            splits
                .map(|split| (split.name(), format!("{:?}", examples(split))))
                .collect()
        };
        assert_eq!(others(&tsv), others(&hub), "{task}");
        assert!(tsv.train.is_labelled() && tsv.validation.iter().all(|it| it.is_labelled()));
        assert!(
            tsv.test
                .iter()
                .flat_map(|it| it.iter())
                .all(|it| it.label.is_none()),
            "{task}"
        );
    }
}

#[test]
fn labels_have_the_numbers_of_the_hub() {
    let labels = |task| tiny(task).train.labels().to_vec();
    assert_eq!(labels(GlueTask::Cola), [1.0, 0.0, 1.0, 0.0]);
    assert_eq!(labels(GlueTask::Rte), [0.0, 1.0, 0.0, 1.0]);
    assert_eq!(labels(GlueTask::Mnli), [0.0, 1.0, 2.0, 0.0]);
    assert_eq!(labels(GlueTask::Stsb), [4.2, 0.0, 1.75, 5.0]);
}

#[test]
fn quotation_marks_and_trailing_blanks_are_kept() {
    let data = tiny(GlueTask::Sst2);
    assert_eq!(
        data.train.example(1).text_a,
        "The crew \"rowed\" against the tide"
    );
    assert_eq!(data.train.example(3).text_a, "A boat that leaks slowly ");
}

#[test]
fn mnli_has_two_validation_and_two_test_splits() {
    let data = tiny(GlueTask::Mnli);
    let names: Vec<SplitName> = data
        .validation
        .iter()
        .chain(&data.test)
        .map(Split::name)
        .collect();
    assert_eq!(
        names,
        [
            SplitName::ValidationMatched,
            SplitName::ValidationMismatched,
            SplitName::TestMatched,
            SplitName::TestMismatched,
        ]
    );
    assert_ne!(data.validation[0].example(0), data.validation[1].example(0));
}

#[test]
fn qqp_lines_that_are_known_to_be_broken_are_counted() {
    let data = tiny(GlueTask::Qqp);
    assert_eq!((data.train.len(), data.train.skipped()), (4, 1));
}

#[test]
fn further_columns_are_kept_when_asked_for() {
    let with = |task, column: &str| {
        let options = ReadOptions {
            columns: vec![column.to_owned()],
            ..ReadOptions::default()
        };
        load_with(task, &fixture("tsv"), &options)
    };
    let data = with(GlueTask::Sst2, "domain").unwrap();
    let domain = data.train.column("domain").unwrap();
    assert_eq!(domain.values(), ["sea", "lake", "river"]);
    assert_eq!(domain.codes(), [0, 1, 0, 2]);
    assert!(tiny(GlueTask::Sst2).train.column("domain").is_none());
    assert_eq!(
        with(GlueTask::Cola, "source")
            .unwrap()
            .train
            .column("source")
            .unwrap()
            .values(),
        ["gj04"]
    );

    let refusal = with(GlueTask::Sst2, "genre").unwrap_err().to_string();
    assert!(
        refusal.ends_with("train.tsv: no column `genre`; it has sentence, label, domain"),
        "{refusal}"
    );
}

#[test]
fn limits_take_the_first_examples() {
    let options = ReadOptions {
        limit_train: Some(3),
        limit_eval: Some(1),
        limit_test: Some(0),
        ..ReadOptions::default()
    };
    for folder in ["tsv", "parquet"] {
        let data = load_with(GlueTask::Qnli, &fixture(folder), &options).unwrap();
        let sizes = [&data.train, &data.validation[0], &data.test[0]].map(Split::len);
        assert_eq!(sizes, [3, 1, 0]);
        assert_eq!(
            examples(&data.train),
            examples(&tiny(GlueTask::Qnli).train)[..3]
        );
    }
}

#[test]
fn a_tasks_own_folder_will_do_and_so_will_the_only_similar_one() {
    let hub = locate(GlueTask::Rte, &fixture("parquet/rte")).unwrap();
    assert_eq!(
        (hub.layout, hub.folder),
        (Layout::Parquet, fixture("parquet/rte"))
    );

    let dir = copy_of("parquet/rte", "rte-parquet");
    let similar = dir.path().join("rte-parquet");
    assert_eq!(locate(GlueTask::Rte, dir.path()).unwrap().folder, similar);
    assert_eq!(locate(GlueTask::Rte, &similar).unwrap().folder, similar);

    copy_into(&similar, &dir.path().join("RTE_old"));
    let refusal = locate(GlueTask::Rte, dir.path()).unwrap_err();
    assert!(
        matches!(&refusal, DataError::Ambiguous { found, .. } if found.len() == 2),
        "{refusal}"
    );

    copy_into(&fixture("tsv/RTE"), &dir.path().join("RTE"));
    assert_eq!(
        locate(GlueTask::Rte, dir.path()).unwrap().layout,
        Layout::Tsv
    );
}

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn another_tasks_folder_is_not_taken_for_this_one() {
    let refusal = load(GlueTask::Wnli, &fixture("tsv/RTE")).unwrap_err();
    assert!(matches!(refusal, DataError::Missing { .. }), "{refusal}");
}

#[test]
fn without_data_all_that_was_looked_for_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = load(GlueTask::Sst2, dir.path()).unwrap_err().to_string();
    for file in ["SST-2/train.tsv", "sst2/train-*.parquet", "no sst2 data in"] {
        assert!(refusal.contains(file), "{refusal}");
    }
}

#[test]
fn the_test_split_may_be_missing_but_not_the_validation_split() {
    for (folder, test, validation) in [
        ("tsv/RTE", "test.tsv", "dev.tsv"),
        (
            "parquet/rte",
            "test-00000-of-00001.parquet",
            "validation-00000-of-00001.parquet",
        ),
    ] {
        let dir = copy_of(folder, "RTE");
        fs::remove_file(dir.path().join("RTE").join(test)).unwrap();
        assert!(load(GlueTask::Rte, dir.path()).unwrap().test.is_empty());
        fs::remove_file(dir.path().join("RTE").join(validation)).unwrap();
        let refusal = load(GlueTask::Rte, dir.path()).unwrap_err().to_string();
        assert!(
            refusal.contains("dev.tsv") || refusal.contains("validation-*.parquet"),
            "{refusal}"
        );
    }
}

#[test]
fn a_missing_shard_is_an_error_and_not_a_smaller_split() {
    let dir = copy_of("parquet/qnli", "qnli");
    fs::remove_file(dir.path().join("qnli/train-00001-of-00002.parquet")).unwrap();
    let refusal = load(GlueTask::Qnli, dir.path()).unwrap_err().to_string();
    assert!(
        refusal.contains("train-00001-of-00002.parquet"),
        "{refusal}"
    );
}
