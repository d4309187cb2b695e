//! Files that are not as they should be.

use std::fs;

use regatta::tasks::TaskData;
use regatta::tasks::glue::source::load;
use regatta::tasks::glue::task::GlueTask;

use crate::support::{copy_of, examples};

/// Loads RTE with its training file replaced.
fn rte_with(train: &[u8]) -> Result<TaskData, String> {
    let dir = copy_of("tsv/RTE", "RTE");
    fs::write(dir.path().join("RTE/train.tsv"), train).unwrap();
    load(GlueTask::Rte, dir.path()).map_err(|error| error.to_string())
}

const HEADER: &str = "index\tsentence1\tsentence2\tlabel\n";

#[track_caller]
fn assert_refused(train: &[u8], parts: &[&str]) {
    let refusal = rte_with(train).unwrap_err();
    for part in parts {
        assert!(refusal.contains(part), "`{part}` is not in: {refusal}");
    }
}

#[test]
fn a_label_outside_the_tasks_is_named_with_its_place() {
    let train = format!("{HEADER}0\ta\tb\tentailment\n\n1\tc\td\tmaybe\n");
    assert_refused(
        train.as_bytes(),
        &[
            "train.tsv:4",
            "column `label`",
            "`maybe`",
            "entailment or not_entailment",
        ],
    );
}

#[test]
fn a_short_line_is_named_with_the_columns() {
    let train = format!("{HEADER}0\ta\tb\n");
    assert_refused(
        train.as_bytes(),
        &["train.tsv:2: 3 fields", "at least 4", "sentence2, label"],
    );
}

#[test]
fn a_missing_column_is_named() {
    assert_refused(
        b"index\tsentence1\tlabel\n",
        &["no column `sentence2`", "index, sentence1"],
    );
}

#[test]
fn bytes_that_are_not_utf8_are_named_with_their_place() {
    let mut train = HEADER.as_bytes().to_vec();
    train.extend(b"0\tcaf\xe9\tb\tentailment\n");
    assert_refused(&train, &["train.tsv:2: byte 6"]);
}

#[test]
fn a_file_without_examples_is_refused() {
    assert_refused(b"", &["no examples"]);
    assert_refused(HEADER.as_bytes(), &["no examples"]);
}

#[test]
fn crlf_blank_lines_and_a_missing_last_newline_are_taken() {
    let train = format!("\u{feff}{HEADER}\n0\ta\tb\tentailment\n \n1\tc\td\tnot_entailment");
    let unix = rte_with(train.as_bytes()).unwrap();
    let windows = rte_with(train.replace('\n', "\r\n").as_bytes()).unwrap();
    assert_eq!(examples(&unix.train), examples(&windows.train));
    assert_eq!(unix.train.labels(), [0.0, 1.0]);
    assert_eq!(unix.train.example(1).text_b, Some("d"));
}

#[test]
fn a_score_beyond_five_or_no_number_is_refused() {
    for score in ["5.1", "-1", "nan", "high"] {
        let dir = copy_of("tsv/STS-B", "STS-B");
        let path = dir.path().join("STS-B/train.tsv");
        let text = fs::read_to_string(&path).unwrap().replace("4.200", score);
        fs::write(&path, text).unwrap();
        let refusal = load(GlueTask::Stsb, dir.path()).unwrap_err().to_string();
        assert!(
            refusal.contains("train.tsv:2") && refusal.contains("from 0 to 5"),
            "{refusal}"
        );
    }
}

#[test]
fn a_parquet_label_outside_the_tasks_is_named_with_its_row() {
    // STS-B has MRPC's columns, but scores for labels; the first is 4.2.
    let dir = copy_of("parquet/stsb", "mrpc");
    let refusal = load(GlueTask::Mrpc, dir.path()).unwrap_err().to_string();
    for part in [
        "train-00000-of-00001.parquet:1",
        "column `label`",
        "`4.2`",
        "0 or 1",
    ] {
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn a_missing_parquet_column_is_named() {
    let dir = copy_of("parquet/qnli", "rte");
    let refusal = load(GlueTask::Rte, dir.path()).unwrap_err().to_string();
    assert!(
        refusal.contains("no column `sentence1`; it has question, sentence"),
        "{refusal}"
    );
}

#[test]
fn a_damaged_parquet_file_never_panics() {
    let dir = copy_of("parquet/rte", "rte");
    let path = dir.path().join("rte/train-00000-of-00001.parquet");
    let good = fs::read(&path).unwrap();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 0x55;
        fs::write(&path, &bad).unwrap();
        drop(load(GlueTask::Rte, dir.path()));
    }
    for length in (0..good.len()).step_by(7) {
        fs::write(&path, &good[..length]).unwrap();
        assert!(load(GlueTask::Rte, dir.path()).is_err(), "cut at {length}");
    }
}
