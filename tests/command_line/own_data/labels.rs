//! Tasks with labels: classes, any number of labels, and scores.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use crate::own_data::{RUN, digests, names, reviews, scores};
use crate::workplace::Workplace;

#[test]
fn predictions_have_the_users_ids_and_the_labels_as_the_files_spell_them() {
    let place = Workplace::new();
    place.write("train.csv", &reviews(30));
    place.write("dev.tsv", "review\tstars\nfloats\t3\na boat\t1\n");
    place.write(
        "more.jsonl",
        "{\"review\": \"leaks\", \"stars\": 1}\n{\"review\": \"sea\", \"stars\": \"5\"}\n",
    );
    place.write(
        "test.csv",
        "key,review,stars\n\"a,1\",the boat,\nb,leaks,5\n",
    );
    let columns = "text = \"review\"\nlabel = \"stars\"\nlabels = [5, 3, 1]\n\
                   label_names = [\"good\", \"fair\", \"bad\"]\n\
                   metrics = [\"mcc\", \"balanced_accuracy\"]\n";
    let table = format!(
        "[task]\ntrain = \"train.csv\"\nvalidation = [\"dev.tsv\", \"more.jsonl\"]\n\
         test = \"test.csv\"\n{columns}"
    );
    place.write("own.toml", &table);
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
    place.accepts(&format!("run own.toml {RUN} --predict false --out without"));
    assert!(!place.path().join("without/predictions").exists());
    place.write("ids.toml", &format!("{table}id = \"id\"\n"));
    let errors = place.errors(&format!("run ids.toml {RUN}")).join("\n");
    assert!(
        errors.contains("dev.tsv: no column `id`; it has review, stars"),
        "{errors}"
    );
    let with_keys = reviews(30).replace("id,review", "key,review");
    place.write("keys.csv", &with_keys);
    place.write(
        "keys.toml",
        &format!("[task]\ntrain = \"keys.csv\"\ntest = \"test.csv\"\nid = \"key\"\n{columns}"),
    );
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
    assert!(
        written.starts_with("row,prediction,probabilities\n1,"),
        "{written}"
    );
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
