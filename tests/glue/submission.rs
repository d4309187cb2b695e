use std::fs;

use regatta::data::schema::SplitName;
use regatta::tasks::glue::submission::{file_name, write_submission};
use regatta::tasks::glue::task::GlueTask;

fn written(task: GlueTask, split: SplitName, predictions: &[f32]) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let ids: Vec<u32> = (0..predictions.len() as u32).map(|id| id * 2).collect();
    let path = write_submission(
        task,
        split,
        &ids,
        predictions,
        &dir.path().join("predictions"),
    )
    .unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    (name, fs::read_to_string(path).unwrap())
}

#[test]
fn each_task_is_written_as_the_server_takes_it() {
    let of = |task, predictions: &[f32]| written(task, SplitName::Test, predictions).1;
    assert_eq!(
        of(GlueTask::Rte, &[1.0, 0.0]),
        "index\tprediction\n0\tnot_entailment\n2\tentailment\n"
    );
    assert_eq!(
        of(GlueTask::Wnli, &[1.0, 0.0]),
        "index\tprediction\n0\t1\n2\t0\n"
    );
    assert_eq!(of(GlueTask::Sst2, &[1.0]), "index\tprediction\n0\t1\n");
    assert_eq!(
        of(GlueTask::Stsb, &[2.0 / 3.0, -0.4, 5.01, -0.0]),
        "index\tprediction\n0\t0.667\n2\t0.000\n4\t5.000\n6\t0.000\n"
    );
    let mnli = written(GlueTask::Mnli, SplitName::TestMismatched, &[2.0]);
    assert_eq!(
        mnli,
        (
            "MNLI-mm.tsv".to_owned(),
            "index\tprediction\n0\tcontradiction\n".to_owned()
        )
    );
}

#[test]
fn the_files_are_named_as_the_server_knows_them() {
    let names: Vec<String> = GlueTask::ALL
        .iter()
        .map(|task| file_name(*task, task.test_splits()[0]))
        .collect();
    assert_eq!(
        names,
        [
            "CoLA.tsv",
            "SST-2.tsv",
            "MRPC.tsv",
            "STS-B.tsv",
            "QQP.tsv",
            "MNLI-m.tsv",
            "QNLI.tsv",
            "RTE.tsv",
            "WNLI.tsv",
        ]
    );
}

#[test]
fn a_prediction_that_is_no_label_is_refused_and_the_old_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    let write = |predictions: &[f32]| {
        write_submission(
            GlueTask::Rte,
            SplitName::Test,
            &[0, 1],
            predictions,
            dir.path(),
        )
    };
    let path = write(&[0.0, 1.0]).unwrap();
    let before = fs::read(&path).unwrap();
    let refusal = write(&[0.0, 2.0]).unwrap_err().to_string();
    assert!(
        refusal.contains("example 1 is 2, expected 0 or 1"),
        "{refusal}"
    );
    assert!(write(&[f32::NAN, 0.0]).is_err());
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
