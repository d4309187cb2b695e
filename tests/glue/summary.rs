use regatta::base::table::{Format, render};
use regatta::data::tokenize::TextEncoder;
use regatta::tasks::glue::task::GlueTask;
use regatta::tasks::label_groups::LabelGroups;
use regatta::tasks::summary::{DataSummary, LabelCounts, Lengths, SplitSummary, shards};

use crate::support::{fixture, tiny};

#[test]
fn labels_are_counted_by_name_and_scores_by_their_rounded_value() {
    let count = |task: GlueTask, labels: &[f32]| {
        let groups = LabelGroups::of(&task, &tiny(task).train);
        LabelCounts::of(&groups, labels.iter().map(std::slice::from_ref))
    };
    let rte = count(GlueTask::Rte, &[0.0, 1.0, 1.0, f32::NAN]);
    assert_eq!(
        rte.known,
        [
            ("entailment".to_owned(), 1),
            ("not_entailment".to_owned(), 2)
        ]
    );
    assert_eq!(rte.secret, 1);
    let stsb = count(GlueTask::Stsb, &[0.4, 4.6, 5.0]);
    let counts: Vec<usize> = stsb.known.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [1, 0, 0, 0, 0, 2]);
}

#[test]
fn lengths_are_those_of_the_encoded_examples() {
    let encoder = TextEncoder::from_model_dir(&fixture("models/roberta"), 12).unwrap();
    let split = encoder.encode(&tiny(GlueTask::Mrpc).train).unwrap();
    let mut lengths: Vec<usize> = (0..4).map(|at| split.ids(at).len()).collect();
    lengths.sort_unstable();
    let got = Lengths::of(&split).unwrap();
    assert_eq!(
        (got.least, got.median, got.p99, got.most),
        (lengths[0], lengths[1], lengths[3], lengths[3])
    );
    assert!((got.mean - lengths.iter().sum::<usize>() as f64 / 4.0).abs() < 1e-12);
}

#[test]
fn the_tables_show_every_split_and_every_client() {
    let task = GlueTask::Cola;
    let data = tiny(task);
    let groups = LabelGroups::of(&task, &data.train);
    let splits = [&data.train, &data.validation[0], &data.test[0]];
    let summary = DataSummary {
        task: task.name().to_owned(),
        splits: splits
            .map(|split| SplitSummary::of(&groups, split, None))
            .to_vec(),
        clients: shards(&groups, &data.train, &[vec![0, 1], vec![2], vec![3]]),
    };
    let table = render(&[&summary.splits_table()], Format::Md).unwrap();
    for word in ["train", "validation", "test", "unacceptable", "–"] {
        assert!(table.contains(word), "{table}");
    }
    assert_eq!(summary.clients[1].labels.known[1].1, 1);
    assert_eq!(summary.clients_table().rows().len(), 3);
}
