//! Files of the user's own that cannot be learnt from, and tables that do not describe a task: one
//! clear error each before anything is trained.

use crate::workplace::Workplace;

const RUN: &str = "run --model models/tiny --num_clients 2 --rounds 1 --metrics off --web off";

const GOOD: &str = "id,text,label\na,one boat,x\nb,two boats,y\nc,three boats,x\nd,four boats,y\n\
                    e,five boats,x\nf,six boats,y\n";

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("good.csv", GOOD);
    place.write("dev.csv", "id,text,label\ng,a sea,x\nh,the sea,y\n");
    place
}

/// A table on these files with other keys after it.
fn table(train: &str, more: &str) -> String {
    format!(
        "[task]\ntrain = \"{train}\"\nvalidation = \"dev.csv\"\ntext = \"text\"\nlabel = \"label\"\n{more}"
    )
}

#[track_caller]
fn refused(place: &Workplace, scenario: &str, reasons: &[&str]) {
    place.write("own.toml", scenario);
    let errors = place.errors(&format!("{RUN} --out run").replacen("run", "run own.toml", 1));
    assert_eq!(errors.len(), 1, "{scenario}: {errors:#?}");
    for reason in reasons {
        assert!(errors[0].contains(reason), "{scenario}: {errors:?}");
    }
    assert!(!place.path().join("run").exists(), "{scenario}");
}

#[test]
fn files_that_cannot_be_learnt_from_are_refused_with_file_and_line() {
    let place = place();
    for (content, reasons) in [
        (
            "id,txt,label\na,b,x\n",
            &["bad.csv: no column `text`; it has id, txt, label"][..],
        ),
        (
            "text,labels\nb,x\n",
            &["bad.csv: no column `label`; it has text, labels"],
        ),
        (
            "text,label\na,x\nb,z\n",
            &["bad.csv:3: column `label` holds `z`, expected one of the labels x, y"],
        ),
        (
            "text,label\na,x\nb,\n",
            &["bad.csv:3: column `label`", "expected one of the labels"],
        ),
        (
            "text,label\na,x\n ,y\n",
            &["bad.csv:3: column `text`", "expected text"],
        ),
        ("text,label\na,x\n\"b,y\n", &["bad.csv:3", "not closed"]),
        (
            "text,label\na,x\n\"b,y\nc,x\n\"d\",y\n",
            &["bad.csv:3: text follows", "in line 5"],
        ),
        ("text,label\na,x\nb,y,z\n", &["bad.csv:3", "3 fields"]),
        ("text,label\n", &["bad.csv: no examples"]),
        ("text,label\na,x\nb,x\n", &["train split", "one label only"]),
        ("", &["bad.csv", "no column `text`"]),
    ] {
        place.write("bad.csv", content);
        refused(
            &place,
            &table("bad.csv", "labels = [\"x\", \"y\"]"),
            reasons,
        );
    }
    for (content, reasons) in [
        (
            "{\"text\": \"a\", \"label\": \"x\"}\n{\"txt\": \"b\", \"label\": \"y\"}\n",
            &["bad.jsonl:2: no key `text`; it has", "txt"][..],
        ),
        (
            "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": 5, \"label\": \"y\"}\n",
            &["bad.jsonl:2: column `text` holds `5`, expected text"],
        ),
        (
            "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": null, \"label\": \"y\"}\n",
            &["bad.jsonl:2: column `text` holds `null`"],
        ),
        (
            "{\"text\": \"a\", \"label\": [\"x\"]}\n",
            &["bad.jsonl:1: column `label` holds `[x]`"],
        ),
        ("{\"text\": \"a\"\n", &["bad.jsonl:1"]),
    ] {
        place.write("bad.jsonl", content);
        refused(
            &place,
            &table("bad.jsonl", "labels = [\"x\", \"y\"]"),
            reasons,
        );
    }
}

#[test]
fn a_file_of_another_format_is_one_error_whatever_else_is_given() {
    let place = place();
    place.write("good.csv.gz", GOOD);
    let line = format!("{RUN} --task good.csv.gz --text text --label label --out run");
    let errors = place.errors(&line);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("ends with .csv"), "{errors:?}");
}

#[test]
fn labels_that_are_not_named_are_not_guessed_where_that_is_ambiguous() {
    let place = place();
    let numbers: String = (0..30).map(|at| format!("boat {at},{at}\n")).collect();
    for (content, reasons) in [
        (
            "text,label\na,5\nb,4\nc,5.0\n",
            &["bad.csv", "`5` (", "`5.0` (", "the same number"][..],
        ),
        (
            "text,label\na,4.5\nb,3.25\nc,1\n",
            &["are they scores?", "kind = \"score\""],
        ),
        (
            &format!("text,label\n{numbers}"),
            &["30 different labels", "`label`"],
        ),
        ("text,label\na,x\nb,x\n", &["one label only, `x`"]),
        (
            "text,label\na,x\nb,y\nc,X\n",
            &["`X` (bad.csv:4)", "`x` (bad.csv:2)", "in case only"],
        ),
        (
            "text,label\na,x\nb,\n",
            &["bad.csv:3: column `label` holds ``, expected a label"],
        ),
    ] {
        place.write("bad.csv", content);
        refused(&place, &table("bad.csv", ""), reasons);
    }
    place.write("bad.csv", "text,label\na,5\nb,4\nc,5.0\n");
    let named = table("bad.csv", "labels = [4, 5]");
    refused(
        &place,
        &named,
        &["bad.csv:4", "`5` is the same number, spell it alike"],
    );
}

#[test]
fn scores_and_lists_of_labels_are_checked() {
    let place = place();
    for score in ["nan", "inf", "1e99", "4,5", "high", ""] {
        place.write("bad.csv", &format!("text,label\na,1\nb,\"{score}\"\n"));
        let reasons = ["bad.csv:3: column `label`", "a finite number"];
        refused(&place, &table("bad.csv", "kind = \"score\""), &reasons);
    }
    place.write("bad.csv", "text,label\na,1\nb,1e16\n");
    let reasons = ["bad.csv:3: column `label` holds `1e16`", "1e15"];
    refused(&place, &table("bad.csv", "kind = \"score\""), &reasons);
    place.write("bad.csv", "text,label\na,\nb,\n");
    let reasons = ["has no label in column `label`"];
    refused(&place, &table("bad.csv", "kind = \"multilabel\""), &reasons);
    for (cell, reasons) in [
        ("x|z", ["`z` is none of them", "x, y"]),
        ("x|x", ["`x` is there twice", "once"]),
        ("x||y", ["a list of labels", "`|` between"]),
    ] {
        place.write("bad.csv", &format!("text,label\na,x\nb,{cell}\n"));
        let more = "kind = \"multilabel\"\nlabels = [\"x\", \"y\"]";
        refused(&place, &table("bad.csv", more), &reasons);
    }
    place.write("bad.csv", "text,x,y\na,1,0\nb,1,2\n");
    let columns = table("bad.csv", "").replace("\"label\"", "[\"x\", \"y\"]");
    refused(&place, &columns, &["several columns", "multilabel"]);
    let columns = format!("{columns}kind = \"multilabel\"\n");
    refused(
        &place,
        &columns,
        &["bad.csv:3: column `y` holds `2`, expected 0 or 1"],
    );
}

#[test]
fn examples_and_files_are_kept_apart() {
    let place = place();
    place.write("more.csv", "id,text,label\nx,a,x\nb,b,y\n");
    let two = table("good.csv", "id = \"id\"");
    let two = two.replace("\"good.csv\"", "[\"good.csv\", \"more.csv\"]");
    refused(
        &place,
        &two,
        &["more.csv:3: the id `b` is that of good.csv:3 too"],
    );
    refused(
        &place,
        &table("dev.csv", ""),
        &["dev.csv, which is a file of the train split too"],
    );
    let twice = table("good.csv", "").replace("\"good.csv\"", "[\"good.csv\", \"./good.csv\"]");
    refused(&place, &twice, &["good.csv twice"]);
    let none = table("good.csv", "holdout = 0.0001").replace("validation = \"dev.csv\"\n", "");
    refused(
        &place,
        &none,
        &["6 examples", "holdout = 0.0001 holds out none"],
    );
}

#[test]
fn tables_that_do_not_describe_a_task_are_refused_with_their_line() {
    let place = place();
    place.write("list.xlsx", "");
    std::fs::create_dir(place.path().join("folder.csv")).unwrap();
    for (more, reasons) in [
        (
            "lable = \"x\"",
            &["own.toml:6:1: unknown key `task.lable`; did you mean `label`?"][..],
        ),
        (
            "kind = \"clases\"",
            &["own.toml:6:", "did you mean `classes`?"],
        ),
        (
            "labels = [\"x\", \"x\"]",
            &["own.toml:6:", "`x` is there twice"],
        ),
        ("labels = [\"x\"]", &["own.toml:6:", "two labels or more"]),
        (
            "label_names = [\"a\"]",
            &["own.toml:6:", "1 names for 2 labels"],
        ),
        (
            "metrics = [\"acuracy\"]",
            &["own.toml:6:", "unknown metric `acuracy`", "macro_f1"],
        ),
        (
            "metrics = [\"pearson\"]",
            &["unknown metric `pearson`", "accuracy"],
        ),
        (
            "holdout = 0.1",
            &["own.toml:6:", "files for validation too"],
        ),
        ("prompt = \"{text}\"", &["kind = \"next_token\"", "text"]),
        ("separator = \"|\"", &["own.toml:6:", "multilabel"]),
        ("name = \"rte\"", &["own.toml:6:", "known task"]),
        ("name = \"a/b\"", &["own.toml:6:", "letters"]),
        (
            "test = \"list.xlsx\"",
            &["own.toml:6:", "list.xlsx", ".parquet"],
        ),
        ("test = \"none.csv\"", &["none.csv", "paths are taken from"]),
        (
            "test = \"good.csv\"\nid = \"prediction\"",
            &["own.toml:7:", "a column `prediction` of their own"],
        ),
        ("test = []", &["own.toml:6:", "names no file"]),
    ] {
        place.write("own.toml", &table("good.csv", more));
        let errors = place
            .errors(&format!("{RUN} --out run").replacen("run", "run own.toml", 1))
            .join("\n");
        for reason in reasons {
            assert!(errors.contains(reason), "{more}: {errors}");
        }
    }
    for (scenario, line, reason) in [
        (
            table("good.csv", ""),
            "--task rte",
            "has a table [task] too",
        ),
        (
            "task = \"rte\"\n".to_owned(),
            "--text review",
            "has no meaning with rte",
        ),
        ("task = \"none.toml\"\n".to_owned(), "", "none.toml"),
        (
            "task = \"folder.csv\"\n".to_owned(),
            "--text text --label label",
            "folder.csv: is not a file",
        ),
        (
            "task = \"good.csv\"\n".to_owned(),
            "--label label",
            "lacks `text`",
        ),
        (
            "task = \"good.csv\"\n".to_owned(),
            "--text text",
            "lacks `label`",
        ),
        (
            "task = \"good.csv\"\n".to_owned(),
            "--text text --label label --partition natural:shop",
            "no column `shop`; it has id, text, label",
        ),
        (
            "task = \"good.csv\"\n".to_owned(),
            "--text text --label label --partition classes(3)",
            "has 2 classes",
        ),
        ("task = \"good\"\n".to_owned(), "", "unknown task `good`"),
        (
            table("good.csv", ""),
            "--data hub",
            "no data set of the hub",
        ),
        (
            "[task]\ntext = \"text\"\nlabel = \"label\"\n".to_owned(),
            "",
            "lacks `train`",
        ),
        (
            "[task]\ntrain = \"good.csv\"\nanswer = \"label\"\n".to_owned(),
            "",
            "lacks `prompt`",
        ),
        (
            "[task]\ntrain = \"good.csv\"\nanswer = \"label\"\nprompt = \"why?\"\n".to_owned(),
            "",
            "names no column",
        ),
        (
            "[task]\ntrain = \"good.csv\"\nanswer = \"label\"\nprompt = \"{text\"\n".to_owned(),
            "",
            "a brace is not closed",
        ),
    ] {
        place.write("own.toml", &scenario);
        let errors = place
            .errors(&format!("{RUN} --out run {line}").replacen("run", "run own.toml", 1))
            .join("\n");
        assert!(errors.contains(reason), "{scenario}{line}: {errors}");
    }
}
