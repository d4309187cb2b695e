//! Event files as TensorBoard itself reads them, where Python has it.

use std::process::Command;

use serde_json::Value;

use crate::workplace::Workplace;

const READER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/command_line/read_events.py"
);

#[test]
fn tensorboard_reads_a_resumed_run_as_one_that_went_through() {
    let place = Workplace::new();
    let run = "run --task rte --model models/tiny --num_clients 2 --local_epochs 1 --batch_size 4 \
               --metrics off --quiet --tensorboard --keep_checkpoints 9 --rounds 4 --out run";
    place.accepts(run);
    // As if it had been killed after the second round was saved.
    let third = "run/checkpoints/round-00000003.checkpoint";
    std::fs::remove_file(place.path().join(third)).unwrap();
    let said = place.accepts("resume run");
    assert!(said.contains("resuming after round 2"), "{said}");
    let python = std::env::var("REGATTA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let installed = Command::new(&python)
        .args(["-c", "import tensorboard"])
        .output();
    if !installed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {python} has no tensorboard");
        return;
    }
    let output = Command::new(&python)
        .arg(READER)
        .arg(place.path().join("run/tensorboard"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let read: Value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let steps = |tag: &str| -> Vec<u64> {
        let points = read[tag]
            .as_array()
            .unwrap_or_else(|| panic!("{tag}: {read}"));
        points
            .iter()
            .map(|point| point[0].as_u64().unwrap())
            .collect()
    };
    for tag in [
        "train_loss/mean",
        "train_loss/client-1",
        "eval/accuracy",
        "virtual_seconds",
    ] {
        assert_eq!(steps(tag), [1, 2, 3, 4], "{tag}");
    }
    let rounds = place.read("run/rounds.jsonl");
    let last: Value = serde_json::from_str(rounds.lines().last().unwrap()).unwrap();
    let loss = read["train_loss/mean"][3][1].as_f64().unwrap();
    assert!((loss - last["train_loss"].as_f64().unwrap()).abs() < 1e-6);
}
