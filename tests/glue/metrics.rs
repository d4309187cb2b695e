use std::path::{Path, PathBuf};

use regatta::tasks::glue::task::GlueTask;
use regatta::tasks::metrics::classification::{
    accuracy, f1, matthews, pearson, predictions, spearman,
};
use regatta::tasks::{LabelTask, Task};
use serde::Deserialize;

/// The folder of reference values: `REGATTA_GOLDEN`, the one beside the project, or our copy.
fn golden() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("REGATTA_GOLDEN").map(PathBuf::from);
    let beside = root.join("../shared/golden");
    named.unwrap_or_else(|| {
        if beside.exists() {
            beside
        } else {
            root.join("tests/golden")
        }
    })
}

type Metric = fn(&[f32], &[f32]) -> f64;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    labels: Vec<f32>,
    predictions: Vec<f32>,
    accuracy: Option<f64>,
    f1: Option<f64>,
    matthews: Option<f64>,
    pearson: Option<f64>,
    spearman: Option<f64>,
}

#[test]
fn golden_metrics_within_a_millionth() {
    let text = std::fs::read(golden().join("metrics/expected.json")).unwrap();
    let cases: Cases = serde_json::from_slice(&text).unwrap();
    let mut compared = 0;
    for (number, case) in cases.cases.iter().enumerate() {
        let metrics: [(Option<f64>, Metric); 5] = [
            (case.accuracy, accuracy),
            (case.f1, f1),
            (case.matthews, matthews),
            (case.pearson, pearson),
            (case.spearman, spearman),
        ];
        for (expected, metric) in metrics {
            let Some(expected) = expected else { continue };
            let got = metric(&case.predictions, &case.labels);
            assert!(
                (got - expected).abs() < 1e-6,
                "case {number}: {got}, expected {expected}"
            );
            compared += 1;
        }
    }
    assert!(
        compared >= 10,
        "only {compared} values were there to compare"
    );
}

#[test]
fn undefined_metrics_are_what_scikit_learn_and_scipy_make_them() {
    let (ones, mixed) = ([1.0, 1.0, 1.0], [0.0, 1.0, 1.0]);
    assert_eq!(matthews(&ones, &mixed), 0.0);
    assert_eq!(f1(&[0.0; 3], &[0.0; 3]), 0.0);
    assert!(pearson(&[0.1; 3], &mixed).is_nan());
    assert!(spearman(&mixed, &ones).is_nan());
    assert!(spearman(&[f32::NAN, 1.0, 2.0], &mixed).is_nan());
    assert!(pearson(&[1.0], &[1.0]).is_nan());
    assert!(accuracy(&[], &[]).is_nan());
}

#[test]
fn a_tasks_scores_carry_their_names() {
    let values = [0.0, 1.0, 0.0, 1.0];
    for (task, names) in [
        (GlueTask::Cola, &["matthews"][..]),
        (GlueTask::Mrpc, &["accuracy", "f1"]),
        (GlueTask::Stsb, &["pearson", "spearman"]),
        (GlueTask::Mnli, &["accuracy"]),
    ] {
        let objective = task.objective();
        let outputs: Vec<f32> = match objective.outputs() as usize {
            1 => values.to_vec(),
            n => values
                .iter()
                .flat_map(|at| (0..n).map(move |i| f32::from(i as f32 == *at)))
                .collect(),
        };
        let scores = task.score(&outputs, &values);
        assert_eq!(scores.keys().collect::<Vec<_>>(), names, "{task}");
        assert!(
            scores.values().all(|score| (score - 1.0).abs() < 1e-12),
            "{scores:?}"
        );
        assert!(scores.contains_key((&task as &dyn Task).primary_metric().name));
    }
}

#[test]
fn the_greatest_logit_is_predicted_and_a_regression_is_taken_as_it_is() {
    assert_eq!(
        predictions(&GlueTask::Rte.objective(), &[0.1, 0.2, 3.0, -1.0, 1.0, 1.0]),
        [1.0, 0.0, 0.0]
    );
    assert_eq!(
        predictions(&GlueTask::Rte.objective(), &[f32::NAN, 0.0]),
        [1.0]
    );
    assert_eq!(
        predictions(&GlueTask::Stsb.objective(), &[3.7, -0.5]),
        [3.7, -0.5]
    );
}
