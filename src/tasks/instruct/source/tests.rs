use super::*;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn read(folder: &tempfile::TempDir, options: &ReadOptions) -> Result<TaskData, String> {
    let files = InstructFiles::find(folder.path());
    let read = files.and_then(|files| files.read(folder.path(), options));
    read.map_err(|error| error.to_string())
}

fn line(number: usize) -> String {
    let kind = number % 3;
    format!("{{\"question\": \"{number}?\", \"answer\": \"{number}\", \"kind\": {kind}}}\n")
}

fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(line).collect()
}

#[test]
fn splits_are_found_by_the_names_of_their_files() {
    let (train, dev) = (lines(0..5), format!("[{}]", line(7)));
    let test = "{\"question\": \"9?\"}";
    let folder = folder(&[
        ("train.jsonl", &train),
        ("dev.json", &dev),
        ("test.ndjson", test),
    ]);
    let options = ReadOptions {
        limit_train: Some(3),
        ..ReadOptions::default()
    };
    let data = read(&folder, &options).unwrap();
    assert_eq!((data.train.len(), data.validation[0].len()), (3, 1));
    let last = data.train.place(2).unwrap();
    assert!(last.path.ends_with("train.jsonl") && last.line == 3);
    let unanswered = data.test[0].example(0);
    assert_eq!(unanswered.text_b, Some(""));
}

#[test]
fn a_share_is_held_out_that_depends_on_the_prompts_alone() {
    let folder = folder(&[("mine.jsonl", &(lines(0..200) + &lines(0..200)))]);
    let data = read(&folder, &ReadOptions::default()).unwrap();
    let texts =
        |split: &Split| -> Vec<String> { split.iter().map(|it| it.text_a.to_owned()).collect() };
    let (train, held) = (texts(&data.train), texts(&data.validation[0]));
    assert_eq!(train.len() + held.len(), 400);
    assert!((20..60).contains(&held.len()), "{}", held.len());
    assert!(!train.iter().any(|text| held.contains(text)));
    let limited = ReadOptions {
        limit_train: Some(5),
        limit_eval: Some(2),
        ..ReadOptions::default()
    };
    let few = read(&folder, &limited).unwrap();
    assert_eq!(texts(&few.train), train[..5]);
    assert_eq!(texts(&few.validation[0]), held[..2]);
}

#[test]
fn two_prompts_are_enough_to_hold_one_out_and_one_is_not() {
    for numbers in 2..6 {
        let folder = folder(&[("a.json", &lines(0..numbers))]);
        let data = read(&folder, &ReadOptions::default()).unwrap();
        assert!(!data.train.is_empty() && !data.validation[0].is_empty());
    }
    let error = read(
        &folder(&[("a.json", &line(1).repeat(3))]),
        &ReadOptions::default(),
    );
    assert!(error.unwrap_err().contains("none to hold out"));
}

#[test]
fn examples_without_anything_to_answer_are_left_out_and_a_test_split_keeps_them() {
    let empty = "{\"instruction\": \"a\", \"output\": \" \"}\n";
    let folder = folder(&[
        ("train.jsonl", &(empty.to_owned() + &lines(0..3) + empty)),
        ("val.jsonl", &(lines(3..4) + empty)),
        ("test.jsonl", empty),
    ]);
    let data = read(&folder, &ReadOptions::default()).unwrap();
    assert_eq!((data.train.len(), data.validation[0].len()), (3, 1));
    assert_eq!(data.test[0].example(0).text_b, Some(""));
    std::fs::write(folder.path().join("train.jsonl"), empty).unwrap();
    let error = read(&folder, &ReadOptions::default()).unwrap_err();
    assert!(error.contains("no examples"), "{error}");
}

#[test]
fn columns_are_values_of_the_records() {
    let folder = folder(&[("train.jsonl", &lines(0..4)), ("val.jsonl", &line(9))]);
    let of = |column: &str| ReadOptions {
        columns: vec![column.to_owned()],
        ..ReadOptions::default()
    };
    let data = read(&folder, &of("kind")).unwrap();
    let column = data.train.column("kind").unwrap();
    assert_eq!(
        (column.values(), column.codes()),
        (&["0", "1", "2"].map(str::to_owned)[..], &[0, 1, 2, 0][..])
    );
    let error = read(&folder, &of("category")).unwrap_err();
    assert!(
        error.contains("no column `category`; it has answer, kind, question"),
        "{error}"
    );
    let more = lines(0..4) + "{\"question\": \"a\", \"answer\": \"b\"}\n";
    std::fs::write(folder.path().join("train.jsonl"), more).unwrap();
    let error = read(&folder, &of("kind")).unwrap_err();
    assert!(error.contains("train.jsonl:5: no key `kind`"), "{error}");
}

#[test]
fn files_that_are_missing_or_could_be_meant_are_named() {
    let two = [("a.jsonl", "{}"), ("b.jsonl", "{}")];
    for (files, reason) in [
        (&[][..], "train.jsonl"),
        (&two[..], "several files or folders"),
        (
            &[("train.json", "[]"), ("train.jsonl", "")][..],
            "more than one set",
        ),
        (
            &[("train.json", "[]"), ("val.json", "[]")][..],
            "no examples",
        ),
    ] {
        let error = read(&folder(files), &ReadOptions::default()).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}
