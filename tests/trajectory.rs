//! Whole runs against rounds computed by transformers, peft and the formulas of aggregation.
//!
//! They need a model and data sets that the project does not ship; without them each says so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use regatta::tasks::registry;
use serde_json::Value;

/// The folder beside the project, where a developer may keep models, data and reference values.
fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared")
}

fn golden() -> PathBuf {
    std::env::var_os("REGATTA_GOLDEN").map_or_else(|| shared().join("golden"), PathBuf::from)
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Every case of every `trajectory-*` folder whose model is at hand.
fn cases() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(golden()) else {
        return Vec::new();
    };
    let folders = entries.map(|entry| entry.unwrap().path());
    let trajectories = folders.filter(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("trajectory-"))
    });
    let mut cases: Vec<PathBuf> = trajectories
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|case| case.join("run.json").is_file())
        .filter(|case| {
            let run = json(&case.join("run.json"));
            assert!(registry::find(run["task"].as_str().unwrap()).is_ok());
            model(&run).exists()
        })
        .collect();
    cases.sort();
    cases
}

/// A model lies among the reference values, is fetched by the set-up, or is one of the developer's.
fn model(run: &Value) -> PathBuf {
    let name = run["model"].as_str().unwrap();
    if !run["gguf_sha256"].is_null() {
        return Path::new(env!("CARGO_MANIFEST_DIR")).join("models/smollm2");
    }
    if name.starts_with("trajectory-") {
        return golden().join(name);
    }
    shared().join("models").join(name)
}

/// Runs a case by the program itself, with the settings that its `run.json` says.
fn rounds(case: &Path, run: &Value, out: &Path) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regatta"));
    command
        .arg("run")
        .arg("--model")
        .arg(model(run))
        .arg("--data")
        .arg(shared().join(run["data"].as_str().unwrap_or("glue")));
    command
        .arg("--init_adapter")
        .arg(case.join(run["init"].as_str().unwrap_or("init")))
        .arg("--out")
        .arg(out);
    command.args([
        "--quiet",
        "--metrics",
        "off",
        "--web",
        "off",
        "--precision",
        "float32",
        "--no_shuffle",
    ]);
    for key in [
        "task",
        "agg_type",
        "num_clients",
        "rounds",
        "local_epochs",
        "batch_size",
        "lr",
        "limit_train",
        "limit_eval",
        "partition",
        "warmup_ratio",
        "max_seq_length",
        "model_dropout",
        "lora_r",
        "lora_alpha",
        "target_modules",
        "label_smoothing",
        "weight_decay",
        "max_grad_norm",
    ] {
        let text = match &run[key] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(names) => {
                let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
                names.join(",")
            }
            other => other.to_string(),
        };
        command.arg(format!("--{key}")).arg(text);
    }
    if let Some(tokenizer) = run["tokenizer"].as_str() {
        let file = shared().join(tokenizer).join("tokenizer.json");
        command.arg("--tokenizer").arg(file);
    }
    if run["task"] == "e2e" {
        // The scores of texts are compared elsewhere.
        command.args([
            "--num_beams",
            "1",
            "--max_new_tokens",
            "1",
            "--limit_test",
            "1",
        ]);
    }
    // What the reference trains with: no dropout anywhere.
    let dropout = if run["agg_type"] == "ours_vera" {
        "--vera_dropout"
    } else {
        "--lora_dropout"
    };
    command.args([dropout, "0"]);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(out.join("rounds.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn assert_near(what: &str, got: &Value, want: &Value, tolerance: f64) {
    let (got, want) = (got.as_f64().unwrap(), want.as_f64().unwrap());
    assert!(
        (got - want).abs() <= tolerance,
        "{what}: {got}, expected {want}"
    );
}

/// How near a round's losses have to be. Which last bits a product has depends on the processor, and
/// AdamW at a rate of 1e-2 makes a difference in them some twenty times as large each round: 4e-6,
/// 7e-5 and 1.5e-3 where it was largest. So the first rounds tell more than the last.
fn tolerance(run: &Value, round: u64) -> f64 {
    if run["task"] == "e2e" {
        return if run["gguf_sha256"].is_null() {
            5e-4
        } else {
            3e-4
        };
    }
    match round {
        1 => 5e-5,
        2 => 5e-4,
        _ => 3e-3,
    }
}

#[test]
fn golden_trajectories_are_reproduced_round_by_round() {
    let cases = cases();
    if cases.is_empty() {
        eprintln!(
            "skipped: no trajectories with their model under {}",
            golden().display()
        );
    }
    for case in cases {
        let name = case.display();
        let (run, expected) = (
            json(&case.join("run.json")),
            json(&case.join("expected.json")),
        );
        let folder = tempfile::tempdir().unwrap();
        let rounds = rounds(&case, &run, &folder.path().join("run"));
        let expected = expected.as_array().unwrap();
        assert_eq!(rounds.len(), expected.len(), "{name}: rounds");
        for (got, want) in rounds.iter().zip(expected) {
            let tolerance = tolerance(&run, want["round"].as_u64().unwrap());
            let what = |what: &str| format!("{name}, round {}, {what}", want["round"]);
            for (i, loss) in want["client_loss"].as_array().unwrap().iter().enumerate() {
                let own = &got["clients"][i]["loss"];
                assert_near(&what(&format!("loss of client {i}")), own, loss, tolerance);
            }
            assert_near(
                &what("evaluation loss"),
                &got["eval"]["loss"],
                &want["eval_loss"],
                tolerance,
            );
            if !want["accuracy"].is_null() {
                // One example of 200 near the boundary may fall either way.
                let accuracy = &got["eval"]["accuracy"];
                assert_near(&what("accuracy"), accuracy, &want["accuracy"], 0.0051);
            }
            let error = &got["exactness_error"];
            if run["agg_type"] == "normal" {
                assert_near(&what("exactness"), error, &want["averaging_error"], 1e-4);
            } else {
                assert!(
                    error.as_f64().unwrap() < 1e-6,
                    "{}: {error}",
                    what("exactness")
                );
            }
        }
    }
}
