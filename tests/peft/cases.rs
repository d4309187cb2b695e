//! Adapters that Python's PEFT saved, and the losses that it gives with them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The loss on RTE's validation split of a model with an adapter as it was read.
fn loss(cases: &Path, model: &str, adapter: &Path, flags: &str) -> f64 {
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    let common = cases.join("common");
    let output = Command::new(env!("CARGO_BIN_EXE_regatta"))
        .args(["run", "--task", "rte", "--agg_type", "normal", "--rounds", "1", "--lr", "1e-12"])
        .args(["--local_epochs", "1", "--num_clients", "2", "--max_seq_length", "64", "--cpu"])
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

#[test]
fn dump_tiny() {
    for family in ["roberta", "bert"] {
        crate::tiny::write_model(Path::new(&format!("/tmp/w-peft/tiny-{family}/model")), family);
        crate::tiny::write_rte(Path::new(&format!("/tmp/w-peft/tiny-{family}/data/RTE")));
    }
}
