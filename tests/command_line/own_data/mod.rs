//! Tasks on files of the user's own: whole runs on each kind and format.

mod labels;
mod texts;

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::workplace::Workplace;

/// What the runs here have.
const RUN: &str = "--model models/tiny --num_clients 2 --rounds 2 --local_epochs 1 --batch_size 8 \
                   --metrics off --web off --quiet";

/// Reviews with a label of three, some of them in quotation marks and over two lines.
fn reviews(rows: usize) -> String {
    let row = |at: usize| {
        let (text, stars) = match at % 3 {
            0 => (format!("\"a boat, {at}\nthat leaks\""), 1),
            1 => (format!("a boat {at} floats"), 3),
            _ => (format!("été the boat {at}"), 5),
        };
        format!("r-{at},{text},{stars},shop {}\n", at % 2)
    };
    let rows: String = (0..rows).map(row).collect();
    format!("id,review,stars,shop\n{rows}")
}

fn digests(place: &Workplace, folder: &str) -> Vec<String> {
    let rounds = place.rounds(folder).into_iter();
    rounds.map(|round| round.state_digest.0).collect()
}

fn scores(place: &Workplace, folder: &str) -> BTreeMap<String, f64> {
    place.rounds(folder).pop().unwrap().eval.unwrap()
}

fn names(place: &Workplace, folder: &str) -> Vec<String> {
    scores(place, folder).into_keys().collect()
}

#[test]
fn a_csv_is_learnt_from_by_three_flags_and_the_run_stands_on_its_own() {
    let place = Workplace::new();
    place.write("mine.csv", &reviews(60));
    let line = format!("run --task mine.csv --text review --label stars {RUN}");
    let said = place.accepts(&format!("{line} --partition natural:shop --out run"));
    assert!(
        said.contains("10 % of the training examples are held out"),
        "{said}"
    );
    assert_eq!(names(&place, "run"), ["accuracy", "loss", "macro_f1"]);
    let clients = place.rounds("run")[0].clients.clone();
    let clients: Vec<_> = clients.into_iter().map(|client| client.name).collect();
    assert_eq!(clients, ["shop 0", "shop 1"]);
    let scenario = place.read("run/scenario.toml");
    for said in [
        "[task]",
        "train = \"mine.csv\"",
        "labels = [\"1\", \"3\", \"5\"]",
        "holdout = 0.1",
    ] {
        assert!(scenario.contains(said), "{said} in {scenario}");
    }
    // The recorded scenario gives the same run.
    place.accepts("run run/scenario.toml --out again");
    assert_eq!(digests(&place, "again"), digests(&place, "run"));
    let said = place.accepts("replay run --check");
    assert!(said.contains("are the same, bit for bit"), "{said}");
    let expected = digests(&place, "run");
    let said = place.accepts("resume run");
    assert!(said.contains("resuming after round 1"), "{said}");
    assert_eq!(digests(&place, "run"), expected);

    // Without the file there is no training, but all that is known of the run.
    fs::rename(
        place.path().join("mine.csv"),
        place.path().join("moved.csv"),
    )
    .unwrap();
    place.accepts("report run");
    let page = place.read("run/report.html");
    assert!(page.contains("macro F1") && page.contains("mine"), "{page}");
    let runs = place.accepts("runs . --format json");
    assert!(runs.contains("\"mine\""), "{runs}");
    place.accepts("compare run again");
    place.accepts("export run --merge --out merged");
    let config: Value = serde_json::from_str(&place.read("merged/config.json")).unwrap();
    assert_eq!(config["id2label"], json!({"0": "1", "1": "3", "2": "5"}));
    let errors = place.errors("resume run");
    assert!(errors[0].contains("mine.csv"), "{errors:?}");
    fs::create_dir(place.path().join("elsewhere")).unwrap();
    fs::rename(
        place.path().join("moved.csv"),
        place.path().join("elsewhere/mine.csv"),
    )
    .unwrap();
    let scenario = scenario.replace("[task]", "data = \"elsewhere\"\n\n[task]");
    place.write("moved.toml", &scenario);
    place.accepts("run moved.toml --out elsewhere-run");
    assert_eq!(digests(&place, "elsewhere-run"), expected);
}

#[test]
fn another_content_is_another_run() {
    let place = Workplace::new();
    place.write("mine.csv", &reviews(40));
    place.accepts(&format!(
        "run --task mine.csv --text review --label stars {RUN} --out run"
    ));
    place.write("mine.csv", &reviews(40).replace("floats", "sinks"));
    let output = place.regatta("resume run");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && errors.contains("data"),
        "{errors}"
    );
}

#[test]
fn the_same_examples_in_another_order_are_held_out_alike() {
    let place = Workplace::new();
    place.write("mine.csv", &reviews(60));
    let held_out = |file: &str| -> Value {
        let line = format!(
            "data --task {file} --text review --label stars --model models/tiny --format json"
        );
        let table: Value = serde_json::from_str(&place.accepts(&line)).unwrap();
        table["splits"][1].clone()
    };
    let expected = held_out("mine.csv");
    assert_eq!(expected["split"], "validation");
    let mut reader: Vec<String> = Vec::new();
    for at in (0..60).rev() {
        let text = match at % 3 {
            0 => format!("a boat, {at}\nthat leaks"),
            1 => format!("a boat {at} floats"),
            _ => format!("été the boat {at}"),
        };
        let stars = [1, 3, 5][at % 3];
        reader.push(json!({"stars": stars, "review": text}).to_string());
    }
    place.write("turned.jsonl", &reader.join("\n"));
    assert_eq!(held_out("turned.jsonl"), expected);
}

#[test]
fn a_sweep_and_a_comparison_take_a_scenario_with_own_data() {
    let place = Workplace::new();
    place.write("mine.csv", &reviews(30));
    let run = RUN.split_whitespace().collect::<Vec<_>>();
    let settings: String = run[..run.len() - 5]
        .chunks(2)
        .map(|pair| match pair[1].parse::<u32>() {
            Ok(number) => format!("{} = {number}\n", &pair[0][2..]),
            Err(_) => format!("{} = \"{}\"\n", &pair[0][2..], pair[1]),
        })
        .collect();
    let task = "[task]\ntrain = \"mine.csv\"\ntext = \"review\"\nlabel = \"stars\"\n";
    let settings = settings + "metrics = \"off\"\nweb = \"off\"\nquiet = true\n";
    place.write("own.toml", &format!("{settings}\n{task}"));
    place.write(
        "sweep.toml",
        "scenario = \"own.toml\"\n[grid]\nagg_type = [\"fedit\", \"fedex\"]\n",
    );
    let said = place.accepts("sweep sweep.toml");
    assert!(
        said.contains("fedit") && said.contains("accuracy"),
        "{said}"
    );
}
