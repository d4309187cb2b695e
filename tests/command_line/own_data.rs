//! Tasks on files of the user's own: whole runs on each kind and format.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use regatta_actors::protocol::round_record::RoundRecord;
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

pub fn rounds(place: &Workplace, folder: &str) -> Vec<RoundRecord> {
    let text = place.read(&format!("{folder}/rounds.jsonl"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn digests(place: &Workplace, folder: &str) -> Vec<String> {
    let rounds = rounds(place, folder).into_iter();
    rounds.map(|round| round.state_digest.0).collect()
}

fn scores(place: &Workplace, folder: &str) -> BTreeMap<String, f64> {
    rounds(place, folder).pop().unwrap().eval.unwrap()
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
    let clients = rounds(&place, "run")[0].clients.clone();
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
    // The scenario gives the same run, and so does any order of the rows' files.
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
fn predictions_have_the_users_ids_and_the_labels_as_the_files_spell_them() {
    let place = Workplace::new();
    place.write("train.csv", &reviews(30));
    place.write(
        "dev.tsv",
        "review\tstars\nfloats\t3\n\"a\tboat\"\t1\n"
            .replace("\"a\tboat\"", "a boat")
            .as_str(),
    );
    place.write(
        "more.jsonl",
        "{\"review\": \"leaks\", \"stars\": 1}\n{\"review\": \"sea\", \"stars\": \"5\"}\n",
    );
    place.write(
        "test.csv",
        "key,review,stars\n\"a,1\",the boat,\nb,leaks,5\n",
    );
    let text = "[task]\ntrain = \"train.csv\"\nvalidation = [\"dev.tsv\", \"more.jsonl\"]\n\
                test = \"test.csv\"\ntext = \"review\"\nlabel = \"stars\"\nlabels = [5, 3, 1]\n\
                label_names = [\"good\", \"fair\", \"bad\"]\nmetrics = [\"mcc\", \"balanced_accuracy\"]\n";
    place.write("own.toml", text);
    place.accepts(&format!("run own.toml {RUN} --out run"));
    assert_eq!(
        names(&place, "run"),
        ["balanced_accuracy", "loss", "matthews"]
    );
    let written = place.read("run/predictions/train-test.csv");
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines[0], "row,prediction,name,probability");
    let names = BTreeMap::from([("5", "good"), ("3", "fair"), ("1", "bad")]);
    for (at, line) in lines[1..].iter().enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(
            (cells[0], names[cells[1]]),
            (["1", "2"][at], cells[2]),
            "{line}"
        );
        assert!(
            (1.0 / 3.0..=1.0).contains(&cells[3].parse::<f64>().unwrap()),
            "{line}"
        );
    }
    place.write("ids.toml", &text.replace("text = ", "id = \"id\"\ntext = "));
    let errors = place.errors(&format!("run ids.toml {RUN}")).join("\n");
    assert!(
        errors.contains("dev.tsv: no column `id`; it has review, stars"),
        "{errors}"
    );
    let of_test = text.replace("text = ", "id = \"key\"\ntext = ");
    let of_test = of_test.replace("\"train.csv\"", "\"test.csv\"");
    let of_test = of_test
        .replace("test = \"test.csv\"\n", "")
        .replace("train = ", "test = ");
    let with_keys = reviews(30).replace("id,review", "key,review");
    place.write("keys.csv", &with_keys);
    let of_test = of_test.replace(
        "validation = [\"dev.tsv\", \"more.jsonl\"]",
        "train = \"keys.csv\"",
    );
    place.write("keys.toml", &of_test);
    place.accepts(&format!("run keys.toml {RUN} --holdout 0.3 --out keys"));
    let written = place.read("keys/predictions/keys-test.csv");
    assert!(
        written.contains("\n\"a,1\",") && written.contains("\nb,"),
        "{written}"
    );
}

#[test]
fn texts_have_any_number_of_labels_in_every_spelling() {
    let place = Workplace::new();
    let labels = |at: usize| -> Vec<&str> {
        let all = ["calm", "cold", "new"].into_iter().enumerate();
        all.filter(|(bit, _)| at >> bit & 1 == 1)
            .map(|(_, label)| label)
            .collect()
    };
    let rows = 0..48_usize;
    let csv: String = rows
        .clone()
        .map(|at| format!("a boat {at},{}\n", labels(at).join("|")))
        .collect();
    place.write("cells.csv", &format!("text,tags\n{csv}"));
    let flags: String = rows
        .clone()
        .map(|at| format!("a boat {at},{},{},{}\n", at & 1, at >> 1 & 1, at >> 2 & 1))
        .collect();
    place.write("flags.csv", &format!("text,calm,cold,new\n{flags}"));
    let lines: String = rows
        .map(|at| json!({"text": format!("a boat {at}"), "tags": labels(at)}).to_string() + "\n")
        .collect();
    place.write("lists.jsonl", &lines);
    let run = format!("{RUN} --kind multilabel --text text --partition dirichlet(1) --holdout 0.2");
    for (file, label) in [("cells.csv", "tags"), ("lists.jsonl", "tags")] {
        place.accepts(&format!(
            "run --task {file} --label {label} {run} --out {file}-run"
        ));
    }
    place.write(
        "flags.toml",
        "train = \"flags.csv\"\nname = \"cells\"\ntest = \"new.csv\"\n\
                               label = [\"calm\", \"cold\", \"new\"]\n",
    );
    place.write("new.csv", "text\nthe boat\na sea\n");
    place.accepts(&format!("run --task flags.toml {run} --out flags-run"));
    let expected = digests(&place, "cells.csv-run");
    assert_eq!(digests(&place, "lists.jsonl-run"), expected);
    assert_eq!(digests(&place, "flags-run"), expected);
    let found = scores(&place, "flags-run");
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["loss", "macro_f1", "micro_f1", "subset_accuracy"]);
    // Near ln 2 before anything is learnt: a mean over labels and examples.
    assert!((found["loss"] - 2_f64.ln()).abs() < 0.2, "{found:?}");
    let written = place.read("flags-run/predictions/cells-test.csv");
    assert!(written.starts_with("row,prediction\n1,"), "{written}");
    place.accepts("export flags-run --merge --out merged");
    let config: Value = serde_json::from_str(&place.read("merged/config.json")).unwrap();
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(config["id2label"]["2"], "new");
    let said = place.accepts("replay flags-run --check");
    assert!(said.contains("are the same, bit for bit"), "{said}");
    let table = place.accepts(
        &format!("data --task cells.csv --label tags {run} --show 1 --format json")
            .replace("--web off --quiet", "")
            .replace("--metrics off ", ""),
    );
    let table: Value = serde_json::from_str(&table).unwrap();
    let all = &table["splits"].as_array().unwrap();
    let count = |label: &str| {
        all.iter()
            .map(|split| split[label].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(["calm", "cold", "new"].map(count), [24, 24, 24]);
}

#[test]
fn scores_of_any_range_are_read_from_parquet_and_divided_by_ranges() {
    let place = Workplace::new();
    let path = place.path().join("prices.parquet");
    let texts: Vec<String> = (0..50).map(|at| format!("a boat {at}")).collect();
    let prices: Vec<f64> = (0..50).map(|at| f64::from(at * at) / 10.0).collect();
    write_parquet(&path, &texts, &prices);
    let run = format!("--task prices.parquet --text text --label price --kind score {RUN}");
    place.accepts(&format!(
        "run {run} --lr 1e-4 --partition classes(3) --out run"
    ));
    assert_eq!(
        names(&place, "run"),
        ["loss", "mae", "mse", "pearson", "spearman"]
    );
    let found = scores(&place, "run");
    assert!(
        (found["loss"] - found["mse"]).abs() < 1e-3 * found["mse"],
        "{found:?}"
    );
    let errors = place.errors(&format!("run {run} --label_smoothing 0.1"));
    assert!(errors[0].contains("labels are scores"), "{errors:?}");
}

fn write_parquet(path: &Path, texts: &[String], numbers: &[f64]) {
    let schema = "message schema { required binary text (UTF8); required double price; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = fs::File::create(path).unwrap();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let bytes: Vec<_> = texts
        .iter()
        .map(|text| ByteArray::from(text.as_str()))
        .collect();
    let typed = column.typed::<ByteArrayType>();
    typed.write_batch(&bytes, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let typed = column.typed::<DoubleType>();
    typed.write_batch(numbers, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
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
fn a_language_model_learns_answers_to_prompts_made_of_columns() {
    let place = crate::e2e::place();
    let line = |at: usize| {
        json!({
            "about": {"boat": format!("boat {at}")},
            "ask": "how old?",
            "said": format!("{} years", at % 4),
            "key": at,
        })
        .to_string()
    };
    let lines: Vec<String> = (0..24).map(line).collect();
    place.write("ask.jsonl", &lines.join("\n"));
    place.write(
        "test.json",
        &json!([{"about": {"boat": "x"}, "ask": "how big?", "key": "t-1"}]).to_string(),
    );
    place.write(
        "ask.toml",
        "[task]\ntrain = \"ask.jsonl\"\ntest = \"test.json\"\nid = \"key\"\nanswer = \"said\"\n\
         prompt = \"{about.boat}: {ask} ->\"\nmetrics = [\"rouge_l\"]\nholdout = 0.25\n",
    );
    let run = "--model random:gpt2.json --tokenizer bytes.json --target_modules c_attn,c_proj \
               --num_clients 2 --local_epochs 1 --rounds 2 --batch_size 4 --max_seq_length 128 \
               --max_new_tokens 4 --metrics off --web off --quiet";
    place.accepts(&format!(
        "run --task ask.toml {run} --generate_every 1 --out run"
    ));
    let found = scores(&place, "run");
    for name in ["perplexity", "base_perplexity", "rouge_l", "bleu", "loss"] {
        assert!(found[name].is_finite(), "{name}");
    }
    let written = place.read("run/predictions/ask-test.csv");
    assert!(written.starts_with("key,text\nt-1,"), "{written}");
    let texts: Value = serde_json::from_str(&place.read("run/generated/round-00002.json")).unwrap();
    let prompt = texts["texts"][0]["prompt"].as_str().unwrap();
    assert!(
        prompt.starts_with("boat ") && prompt.ends_with(": how old? ->"),
        "{prompt}"
    );
    let said = place.accepts("replay run --check");
    assert!(said.contains("are the same, bit for bit"), "{said}");
    let mut command = place.command("generate run --format json");
    let output = command
        .args(["--prompt", "boat 3: how old? ->"])
        .output()
        .unwrap();
    let texts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(texts[0]["prompt"], "boat 3: how old? ->");

    // By flags alone, of one column.
    let mut command = place.command(
        &format!("data --task ask.jsonl --answer said {run} --show 1 --format json")
            .replace("--max_new_tokens 4 ", ""),
    );
    let output = command
        .args(["--prompt", "{key} {ask}\n"])
        .output()
        .unwrap();
    let table: Value = serde_json::from_slice(&output.stdout).unwrap();
    let parts = table["examples"].as_array().unwrap();
    let tokens = parts[1]["tokens"].as_str().unwrap();
    assert!(
        tokens.ends_with("Ġ y e a r s <|endoftext|>") && !tokens.starts_with('Ġ'),
        "{tokens}"
    );
    let errors =
        place.errors(&format!("run --task ask.toml {run}").replace("_length 128", "_length 16"));
    assert!(errors[0].contains("cuts the whole answer"), "{errors:?}");
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

#[test]
fn instructions_in_files_of_the_users_own_are_learnt_by_a_template() {
    let place = crate::e2e::place();
    let line = |at: usize| {
        json!({"instruction": format!("Add {at} and 1."), "output": (at + 1).to_string()})
            .to_string()
    };
    let lines: Vec<String> = (0..12).map(line).collect();
    place.write("sums.jsonl", &lines.join("\n"));
    place.write(
        "more.json",
        &json!([{"instruction": "Add 40 and 1.", "output": "41"}]).to_string(),
    );
    let task = "[task]\nkind = \"instruct\"\ntrain = \"sums.jsonl\"\nvalidation = \"more.json\"\n";
    place.write("sums.toml", &format!("{task}template = \"alpaca\"\n"));
    let run = "--model random:gpt2.json --tokenizer bytes.json --target_modules c_attn \
               --num_clients 2 --local_epochs 1 --rounds 1 --batch_size 4 --max_seq_length 240 \
               --max_new_tokens 4 --metrics off --web off --quiet";
    place.accepts(&format!("run sums.toml {run} --out run"));
    assert!(scores(&place, "run")["perplexity"].is_finite());
    let scenario = place.read("run/scenario.toml");
    assert!(scenario.contains("template = \"alpaca\""), "{scenario}");
    let said = place.accepts("replay run --check");
    assert!(said.contains("are the same, bit for bit"), "{said}");
    place.accepts("report run");
    place.write("bad.toml", &format!("{task}label = \"output\"\n"));
    let errors = place.errors(&format!("run bad.toml {run}"));
    assert!(errors[0].contains("kind = \"instruct\""), "{errors:?}");
}
