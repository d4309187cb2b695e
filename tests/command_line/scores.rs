//! Scores that are not numbers: written so that everybody reads them, shown as what they are, and
//! never the best.

use std::fs;

use serde_json::Value;

use crate::workplace::Workplace;

const RUN: &str = "run --task stsb --model models/tiny --num_clients 2 --local_epochs 1 \
                   --batch_size 4 --rounds 2 --metrics off --web off --quiet --tensorboard";

/// A workplace with a regression, whose correlations are not numbers on a single example.
fn place() -> Workplace {
    let place = Workplace::new();
    let folder = place.path().join("data/glue/STS-B");
    fs::create_dir_all(&folder).unwrap();
    for split in ["train", "dev"] {
        let mut text = "index\tgenre\tsentence1\tsentence2\tscore\n".to_owned();
        for index in 0..12 {
            let score = f64::from(index) / 4.0;
            text += &format!("{index}\tmain\ta boat\ta boat {index}\t{score}\n");
        }
        fs::write(folder.join(split).with_extension("tsv"), text).unwrap();
    }
    place
}

/// JSON as strict readers take it.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_run_whose_score_is_no_number_is_read_by_every_command_that_wrote_it() {
    let place = place();
    let said = place.accepts(&format!("{RUN} --limit_eval 1 --out runs/one"));
    assert!(
        said.contains("pearson NaN") && !said.contains("inf"),
        "{said}"
    );
    place.accepts(&format!("{RUN} --limit_eval 1 --seed 2 --out runs/two"));

    let summary = json(&place.read("runs/one/summary.json"));
    assert!(summary["eval"]["pearson"].is_null());
    assert!(summary["eval"]["loss"].is_number());
    let best = summary["best"].as_object().unwrap();
    assert!(best.contains_key("loss") && !best.contains_key("pearson"));
    assert!(!place.path().join("runs/one/best").exists());

    let said = place.accepts("report runs/one --format json");
    assert!(json(&said)["rounds"][0]["eval_pearson"].is_null());
    place.accepts("report runs/one");
    let page = place.read("runs/one/report.html");
    assert!(page.contains("<dt>best pearson</dt><dd>NaN</dd>"));

    let said = place.accepts("runs runs");
    assert!(said.contains("pearson NaN"), "{said}");
    let said = place.accepts("runs runs --format csv");
    assert_eq!(said.matches(",complete,NaN,").count(), 2, "{said}");
    assert!(json(&place.accepts("runs runs --format json"))[0]["best"].is_null());

    let said = place.accepts("compare runs/one runs/two --out compare.html --figures plots");
    assert!(said.contains("NaN") && !said.contains("inf"), "{said}");
    let said = json(&place.accepts("compare runs/one runs/two --format json"));
    assert!(said["groups"][0]["best"].is_null() && said["groups"][0]["final"].is_null());
    place.accepts("compare runs/one runs/two --target pearson=0.5");
    place.accepts("replay runs/one --check");
    place.accepts("resume runs/one");
}

#[test]
fn a_score_that_is_sometimes_a_number_has_the_best_of_those() {
    let place = place();
    place.accepts(&format!("{RUN} --out runs/one"));
    // As a run leaves it whose predictions were all alike in the first round and in the last.
    let text = place.read("runs/one/rounds.jsonl");
    let mut lines: Vec<Value> = text.lines().map(json).collect();
    lines.push(lines[1].clone());
    for (number, pearson) in [(0, Value::Null), (1, 0.25.into()), (2, Value::Null)] {
        lines[number]["round"] = (number + 1).into();
        lines[number]["eval"]["pearson"] = pearson;
    }
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    place.write("runs/one/rounds.jsonl", &format!("{}\n", lines.join("\n")));
    place.accepts("report runs/one");
    let page = place.read("runs/one/report.html");
    assert!(page.contains("<dt>best pearson</dt><dd>0.2500 (round 2)</dd>"));
    let said = place.accepts("runs runs");
    assert!(said.contains("pearson 0.2500 (round 2)"), "{said}");
    let said = json(&place.accepts("compare runs/one runs/one --format json"));
    assert_eq!(said["runs"][0]["best"], 0.25);
    assert_eq!(said["runs"][0]["best_round"], 2);
    assert!(said["runs"][0]["final"].is_null());
}

#[test]
fn a_sweep_with_a_rate_that_diverges_compares_the_others_and_says_so_each_time() {
    for ledger in [true, false] {
        let place = place();
        place.write(
            "s.toml",
            &format!(
                "[settings]\ntask = \"stsb\"\nmodel = \"models/tiny\"\nnum_clients = 2\n\
                 local_epochs = 1\nbatch_size = 4\nrounds = 2\nmetrics = \"off\"\nweb = \"off\"\n\
                 quiet = true\nledger = {ledger}\n[grid]\nlr = [1e-3, 1e30]\n"
            ),
        );
        for _ in 0..2 {
            let output = place.regatta("sweep s.toml");
            let errors = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{errors}");
            assert!(errors.contains("1 of 2 runs are complete"), "{errors}");
            assert!(errors.contains("nothing was aggregated"), "{errors}");
            assert!(
                place
                    .read("runs/s/compare.html")
                    .contains("1 run in 1 group")
            );
        }
    }
}

#[test]
fn what_an_earlier_version_wrote_of_such_a_run_is_read() {
    let place = place();
    place.accepts(&format!("{RUN} --limit_eval 1 --out runs/one"));
    let mut summary = json(&place.read("runs/one/summary.json"));
    summary["best"]["pearson"] = serde_json::json!({"value": null, "round": 1});
    summary["train_loss"] = Value::Null;
    summary.as_object_mut().unwrap().remove("rounds_refused");
    place.write("runs/one/summary.json", &summary.to_string());
    place.accepts("report runs/one");
    place.accepts("runs runs");
}
