//! Adapters that Python's PEFT saved, and the losses that it gives with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Place, go_on};

/// The loss on RTE's validation split of a model with an adapter as it was read.
fn loss(cases: &Path, model: &str, adapter: &Path, flags: &str) -> f64 {
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    let common = cases.join("common");
    let output = Command::new(env!("CARGO_BIN_EXE_regatta"))
        .args([
            "run",
            "--task",
            "rte",
            "--agg_type",
            "normal",
            "--rounds",
            "1",
            "--lr",
            "1e-12",
        ])
        .args([
            "--local_epochs",
            "1",
            "--num_clients",
            "2",
            "--max_seq_length",
            "64",
            "--cpu",
        ])
        .args(["--metrics", "off", "--web", "off", "--quiet"])
        .arg("--data")
        .arg(common.join("data"))
        .arg("--model")
        .arg(common.join(model))
        .arg("--init_adapter")
        .arg(adapter)
        .arg("--out")
        .arg(&run)
        .args(flags.split_whitespace())
        .env("XDG_CACHE_HOME", out.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", adapter.display());
    let summary = std::fs::read_to_string(run.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    summary["eval"]["loss"].as_f64().unwrap()
}

/// The folder of cases, where it lies beside the project.
fn cases() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases");
    folder.is_dir().then_some(folder)
}

#[test]
fn adapters_of_the_cases_have_the_loss_that_peft_gives() {
    let Some(cases) = cases() else {
        eprintln!("skipped: there is no ../shared/cases");
        return;
    };
    for (adapter, model, expected) in [
        ("peft-bias-all/peft012-roberta", "roberta", 1.131038),
        ("peft-bias-all/peft021-bert", "bert", 0.778437),
        ("peft-all-linear/adapter", "roberta", 1.175945),
        ("peft-regex-targets/adapter", "roberta", 1.351640),
    ] {
        let got = loss(&cases, model, &cases.join(adapter), "");
        assert!((got - expected).abs() < 2e-6, "{adapter}: {got} {expected}");
    }
}

/// Adapters that PEFT 0.5.0, 0.12.0 and 0.21.2 saved on the small models of `tiny.rs`, with r = 1,
/// and the losses that the same versions give with them under transformers 4.46.2.
const FIXTURES: [(&str, &str, f64); 8] = [
    ("peft-0.5-bias-all", "roberta", 0.951629),
    ("peft-0.5-one-layer", "roberta", 0.728681),
    ("peft-0.12-bias-all", "roberta", 1.139521),
    ("peft-0.12-rank-pattern", "roberta", 0.836802),
    ("peft-0.12-layernorm-saved", "bert", 0.644797),
    ("peft-0.21-bias-all", "bert", 0.794656),
    ("peft-0.21-all-linear", "roberta", 0.811328),
    ("peft-0.21-rank-pattern", "roberta", 1.010985),
];

#[test]
fn adapters_of_three_versions_of_peft_have_the_loss_that_it_gives() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peft/fixtures");
    for (name, family, expected) in FIXTURES {
        let place = Place::new(family);
        let adapter = fixtures.join(name).display().to_string();
        place.accepts(&go_on(&place, &adapter, "--agg_type fedit"));
        let got = place.reported_loss("again");
        assert!((got - expected).abs() < 2e-6, "{name}: {got} {expected}");
    }
}
