//! Token ids and types equal those of transformers' `AutoTokenizer`, whatever lies beside
//! `tokenizer.json`. The right values are made by `tests/fixtures/tokenizers/make.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use regatta::data::encoded::EncodedSplit;
use regatta::data::error::DataError;
use regatta::data::limits::TokenizerLimits;
use regatta::data::schema::SplitName;
use regatta::data::split::{Example, Split};
use regatta::data::tokenize::TextEncoder;
use regatta::tasks::glue::task::GlueTask;
use serde::Deserialize;
use serde_json::{Map, Value, json};

type Texts = Vec<(String, Option<String>)>;

#[derive(Deserialize)]
struct Fixture {
    texts: BTreeMap<String, Texts>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    tokenizer: String,
    /// Keys of `tokenizer.json` that are replaced.
    changes: Map<String, Value>,
    files: BTreeMap<String, Value>,
    length: usize,
    texts: Vec<String>,
    expected: Vec<(String, String)>,
}

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tokenizers")
        .join(file)
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn fixtures() -> Fixture {
    read(&fixture("cases.json"))
}

/// A model's folder without its weights.
fn folder(tokenizer: &str, changes: &Value, files: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut json: Map<String, Value> = read(&fixture(&format!("{tokenizer}.json")));
    json.extend(changes.as_object().unwrap().clone());
    let write = |file: &str, value: &Value| {
        fs::write(dir.path().join(file), value.to_string()).unwrap();
    };
    write("tokenizer.json", &Value::Object(json));
    let mut config = json!({
        "model_type": "bert", "vocab_size": 1000, "max_position_embeddings": 64,
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 8, "pad_token_id": 1,
    });
    for (file, value) in files.as_object().unwrap() {
        if file == "config.json" {
            let further = value.as_object().unwrap().clone();
            config.as_object_mut().unwrap().extend(further);
        } else {
            write(file, value);
        }
    }
    write("config.json", &config);
    dir
}

/// The texts as a split of pairs or of single texts.
fn split(texts: &[(&str, Option<&str>)]) -> Split {
    let pairs = texts[0].1.is_some();
    let task = if pairs { GlueTask::Rte } else { GlueTask::Sst2 };
    let mut split = Split::new(task.is_pair(), SplitName::Train);
    for (id, (text_a, text_b)) in texts.iter().enumerate() {
        split.push(Example {
            id: id as u32,
            text_a,
            text_b: *text_b,
            label: Some(0.0),
        });
    }
    split
}

/// Ids and types as the fixtures write them: the types in runs, or nothing where all are 0.
fn written(encoded: &EncodedSplit, at: usize) -> (String, String) {
    let ids: Vec<String> = encoded.ids(at).iter().map(u32::to_string).collect();
    let types = encoded.type_ids(at);
    let runs = types.chunk_by(|a, b| a == b);
    let runs: Vec<String> = runs
        .map(|run| format!("{}x{}", run[0], run.len()))
        .collect();
    let runs = if types.iter().all(|it| *it == 0) {
        String::new()
    } else {
        runs.join(" ")
    };
    (ids.join(" "), runs)
}

fn check(what: &str, encoder: &TextEncoder, texts: &Texts, expected: &[(String, String)]) {
    assert_eq!(texts.len(), expected.len(), "{what}");
    for ((first, second), expected) in texts.iter().zip(expected) {
        let split = split(&[(first, second.as_deref())]);
        let got = written(&encoder.encode(&split).unwrap(), 0);
        assert_eq!(&got, expected, "{what}: {first:?}, {second:?}");
    }
}

#[test]
fn tokens_equal_transformers_whatever_lies_beside_the_tokenizer() {
    let fixtures = fixtures();
    for case in &fixtures.cases {
        let dir = folder(
            &case.tokenizer,
            &json!(case.changes),
            &serde_json::to_value(&case.files).unwrap(),
        );
        let what = format!("{}: {}", case.tokenizer, case.name);
        let encoder = TextEncoder::from_model_dir(dir.path(), case.length);
        let encoder = encoder.unwrap_or_else(|error| panic!("{what}: {error}"));
        let texts = case.texts.iter().flat_map(|name| &fixtures.texts[name]);
        check(&what, &encoder, &texts.cloned().collect(), &case.expected);
    }
}

#[test]
fn the_fixtures_tell_the_difference() {
    // Each file beside a tokenizer.json gives other tokens than the tokenizer.json alone.
    let fixtures = fixtures();
    let mut same = Vec::new();
    for case in &fixtures.cases {
        let only = json!({"config.json": {"tokenizer_class": "PreTrainedTokenizer"}});
        let dir = folder(&case.tokenizer, &json!(case.changes), &only);
        let encoder = TextEncoder::from_model_dir(dir.path(), case.length).unwrap();
        let texts = case.texts.iter().flat_map(|name| &fixtures.texts[name]);
        let plain = texts.map(|(first, second)| {
            let split = split(&[(first, second.as_deref())]);
            written(&encoder.encode(&split).unwrap(), 0)
        });
        if plain.collect::<Vec<_>>() == case.expected {
            same.push(case.name.as_str());
        }
    }
    assert!(same.len() * 2 < fixtures.cases.len(), "{same:?}");
}

#[test]
fn real_tokenizers_give_the_tokens_that_transformers_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = fixtures();
    let texts: Texts = fixtures.texts.values().flatten().cloned().collect();
    let real: BTreeMap<String, Vec<(String, String)>> = read(&fixture("real.json"));
    for (model, expected) in real {
        let dir = root.join(&model);
        if !dir.join("tokenizer.json").exists() {
            eprintln!("skipped: no {model}");
            continue;
        }
        let encoder = if dir.join("config.json").exists() {
            TextEncoder::from_model_dir(&dir, 24)
        } else {
            let limits = TokenizerLimits {
                model: model.clone(),
                vocabulary: 60_000,
                token_types: None,
                positions: 512,
                pad_id: 0,
                end_tokens: Vec::new(),
                is_decoder: false,
                tokenizer_class: None,
            };
            TextEncoder::new(&dir.join("tokenizer.json"), &limits, 24)
        };
        let encoder = encoder.unwrap();
        check(&model, &encoder, &texts, &expected);
    }
}

#[test]
fn an_example_is_encoded_the_same_alone_and_among_others() {
    let dir = folder(
        "bpe",
        &json!({}),
        &json!({"config.json": {"model_type": "roberta"}}),
    );
    let encoder = TextEncoder::from_model_dir(dir.path(), 12).unwrap();
    let texts = [
        ("hello", Some("the dog")),
        ("", Some("")),
        ("a dog ", Some("fox fox fox fox")),
    ];
    let together = encoder.encode(&split(&texts)).unwrap();
    for (at, text) in texts.iter().enumerate() {
        let alone = encoder.encode(&split(&[*text])).unwrap();
        assert_eq!(written(&together, at), written(&alone, 0));
    }
}

fn limited(config: &Value, length: usize) -> Result<usize, DataError> {
    let dir = folder(
        "wordpiece",
        &json!({}),
        &json!({"tokenizer_config.json": config}),
    );
    let encoder = TextEncoder::from_model_dir(dir.path(), length)?;
    let long = "dog ".repeat(100);
    Ok(encoder
        .encode(&split(&[(&long, Some(&long))]))
        .unwrap()
        .ids(0)
        .len())
}

#[test]
fn the_tokenizers_own_maximum_limits_the_length() {
    let length = |config, length| limited(&config, length).unwrap();
    assert_eq!(length(json!({"model_max_length": 12}), 32), 12);
    assert_eq!(length(json!({"max_len": 12}), 32), 12);
    assert_eq!(
        length(json!({"model_max_length": 16.0, "max_len": 12}), 32),
        16
    );
    assert_eq!(length(json!({"model_max_length": 12}), 64), 12);
    assert_eq!(length(json!({"model_max_length": 512}), 32), 32);
    assert_eq!(length(json!({"model_max_length": 1e30}), 32), 32);
    assert_eq!(
        length(json!({"model_max_length": null, "max_len": 12}), 32),
        32
    );
    // The model's positions still count.
    let refusal = limited(&json!({"model_max_length": 128}), 65)
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("takes 5 to 64 tokens"), "{refusal}");
    for wrong in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!("512"),
        json!([512]),
        json!(4),
    ] {
        let refusal = limited(&json!({"model_max_length": wrong}), 32)
            .unwrap_err()
            .to_string();
        let named = refusal.contains("tokenizer_config.json: `model_max_length`: ");
        assert!(named, "{refusal}");
    }
}

/// What is said of a folder with these files.
fn refusal(files: &Value) -> String {
    let dir = folder("wordpiece", &json!({}), files);
    TextEncoder::from_model_dir(dir.path(), 32)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_wrong_value_is_refused_with_its_file_and_key() {
    let config = "tokenizer_config.json";
    for (file, key, value) in [
        (config, "do_lower_case", json!("yes")),
        (config, "do_lower_case", json!(null)),
        (config, "strip_accents", json!(1)),
        (config, "tokenize_chinese_chars", json!([])),
        (config, "split_special_tokens", json!("no")),
        (config, "truncation_side", json!("Left")),
        (config, "padding_side", json!(null)),
        (config, "tokenizer_class", json!(["BertTokenizer"])),
        (config, "model_input_names", json!("input_ids")),
        (config, "mask_token", json!(4)),
        (config, "mask_token", json!({"content": "[MASK]"})),
        (
            config,
            "mask_token",
            json!({"__type": "AddedToken", "lstrip": true}),
        ),
        (
            config,
            "mask_token",
            json!({"__type": "AddedToken", "content": "x", "lstrip": 1}),
        ),
        (config, "additional_special_tokens", json!("<new>")),
        (config, "additional_special_tokens", json!(["<new>", null])),
        (config, "added_tokens_decoder", json!([])),
        (config, "added_tokens_decoder", json!({"4": "[MASK]"})),
        (
            config,
            "added_tokens_decoder",
            json!({"x": {"content": "[MASK]"}}),
        ),
        ("special_tokens_map.json", "pad_token", json!([])),
        (
            "special_tokens_map.json",
            "pad_token",
            json!({"lstrip": true}),
        ),
        ("added_tokens.json", "<new>", json!("900")),
        ("added_tokens.json", "<new>", json!(-1)),
        ("added_tokens.json", "<new>", json!(1.5)),
    ] {
        let refusal = refusal(&json!({file: {key: value}}));
        assert!(
            refusal.contains(&format!("{file}: `{key}`: ")),
            "{value}: {refusal}"
        );
    }
}

#[test]
fn a_broken_file_is_refused_by_its_name() {
    for file in [
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ] {
        for bytes in [&b"{\"a\": "[..], b"", b"[]", b"\xff\xfe{}", b"{\"a\": NaN}"] {
            let dir = folder("bpe", &json!({}), &json!({}));
            fs::write(dir.path().join(file), bytes).unwrap();
            let refusal = TextEncoder::from_model_dir(dir.path(), 32)
                .unwrap_err()
                .to_string();
            assert!(
                refusal.contains(&format!("{file}: not a JSON object")),
                "{refusal}"
            );
        }
    }
}

/// As `LlamaTokenizerFast.update_post_processor` makes it, whatever tokenizer.json says.
#[test]
fn llamas_class_puts_the_start_token_before_a_text_and_the_end_token_behind_it_if_told_to() {
    let ids = |config: Value| {
        let files = json!({"tokenizer_config.json": config});
        let dir = folder("wordpiece", &json!({}), &files);
        let encoder = TextEncoder::from_model_dir(dir.path(), 32).unwrap();
        written(&encoder.encode(&split(&[("hello", None)])).unwrap(), 0).0
    };
    let config = |more: Value| {
        let mut config = json!({"tokenizer_class": "LlamaTokenizer", "bos_token": "[CLS]",
            "eos_token": "[SEP]", "unk_token": "[UNK]"});
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        config
    };
    let text = ids(config(json!({"add_bos_token": false})));
    assert_eq!(ids(config(json!({}))), format!("2 {text}"));
    assert_eq!(
        ids(config(json!({"add_eos_token": true}))),
        format!("2 {text} 3")
    );
    let refusal = refusal(&json!({"tokenizer_config.json": config(json!({"bos_token": null}))}));
    assert!(
        refusal.contains("add_bos_token asks for a bos_token"),
        "{refusal}"
    );
}

#[test]
fn what_would_give_other_tokens_and_is_not_done_is_refused_by_its_key() {
    for (key, value) in [
        ("tokenizer_class", json!("XLNetTokenizerFast")),
        ("tokenizer_class", json!("BertJapaneseTokenizer")),
        ("from_slow", json!(true)),
        ("tokenizer_file", json!("/elsewhere/tokenizer.json")),
        (
            "fast_tokenizer_files",
            json!(["tokenizer.json", "tokenizer.4.20.0.json"]),
        ),
        ("padding_side", json!("left")),
        ("model_input_names", json!(["input_ids", "token_type_ids"])),
    ] {
        let refusal = refusal(&json!({"tokenizer_config.json": {key: value}}));
        let named = refusal.contains(&format!("tokenizer_config.json: `{key}`: "));
        assert!(named, "{value}: {refusal}");
    }
    let refusal = refusal(&json!({"config.json": {"tokenizer_class": "TapasTokenizer"}}));
    assert!(
        refusal.contains("config.json: `tokenizer_class`: TapasTokenizer"),
        "{refusal}"
    );
    // What makes no difference is not refused.
    let harmless = json!({"tokenizer_config.json": {
        "from_slow": false, "tokenizer_file": null, "fast_tokenizer_files": ["tokenizer.json"],
        "padding_side": "right", "add_bos_token": true, "chat_template": "x",
        "clean_up_tokenization_spaces": true, "never_split": null,
    }});
    let dir = folder("wordpiece", &json!({}), &harmless);
    assert!(TextEncoder::from_model_dir(dir.path(), 32).is_ok());
}

#[test]
fn a_token_that_the_model_does_not_embed_is_refused_where_a_text_holds_it() {
    let tokens = read::<Value>(&fixture("wordpiece.json"));
    let vocabulary = tokens["model"]["vocab"].as_object().unwrap().len();
    let files = json!({
        "config.json": {"vocab_size": vocabulary},
        "tokenizer_config.json": {"additional_special_tokens": ["<new>"]},
    });
    let dir = folder("wordpiece", &json!({}), &files);
    let encoder = TextEncoder::from_model_dir(dir.path(), 32).unwrap();
    assert!(encoder.encode(&split(&[("hello", Some("dog"))])).is_ok());
    let texts = [("hello", Some("dog")), ("a dog", Some("a <new> dog"))];
    let refusal = encoder.encode(&split(&texts)).unwrap_err().to_string();
    for part in [
        "example 2 of the train split",
        "\"<new>\"",
        &format!("token {vocabulary}"),
    ] {
        assert!(refusal.contains(part), "{refusal}");
    }
    // Nor is it taken from a cache that a larger model filled.
    let cache = tempfile::tempdir().unwrap();
    let larger = json!({"config.json": {"vocab_size": vocabulary + 1},
        "tokenizer_config.json": files["tokenizer_config.json"]});
    let larger = folder("wordpiece", &json!({}), &larger);
    let larger = TextEncoder::from_model_dir(larger.path(), 32).unwrap();
    assert!(larger.encode_cached(&split(&texts), cache.path()).is_ok());
    assert!(encoder.encode_cached(&split(&texts), cache.path()).is_err());
}

#[test]
fn a_model_with_token_types_does_not_take_the_tokens_of_one_without_from_the_cache() {
    let dir = folder("wordpiece", &json!({}), &json!({}));
    let cache = tempfile::tempdir().unwrap();
    let texts = split(&[("hello", Some("dog"))]);
    let types = |token_types: Option<usize>| {
        let limits = TokenizerLimits {
            model: "tiny".into(),
            vocabulary: 60_000,
            token_types,
            positions: 64,
            pad_id: 0,
            end_tokens: Vec::new(),
            is_decoder: false,
            tokenizer_class: None,
        };
        let encoder = TextEncoder::new(&dir.path().join("tokenizer.json"), &limits, 32).unwrap();
        let encoded = encoder.encode_cached(&texts, cache.path()).unwrap();
        encoded.type_ids(0).to_vec()
    };
    assert!(types(None).iter().all(|kind| *kind == 0));
    assert!(types(Some(2)).contains(&1));
}

#[test]
fn each_file_beside_the_tokenizer_has_a_part_in_the_cache_key() {
    let cache = tempfile::tempdir().unwrap();
    let entries = || fs::read_dir(cache.path()).unwrap().count();
    let texts = split(&[("Hello <new>", Some("dog"))]);
    for (count, files) in [
        (1, json!({})),
        (
            2,
            json!({"tokenizer_config.json": {"do_lower_case": false}}),
        ),
        (
            3,
            json!({"special_tokens_map.json": {"mask_token": "<new>"}}),
        ),
        (4, json!({"added_tokens.json": {"<new>": 900}})),
        (
            5,
            json!({"config.json": {"tokenizer_class": "PreTrainedTokenizer"}}),
        ),
        (5, json!({})),
    ] {
        let dir = folder("wordpiece", &json!({}), &files);
        let encoder = TextEncoder::from_model_dir(dir.path(), 32).unwrap();
        let cached = encoder.encode_cached(&texts, cache.path()).unwrap();
        assert_eq!(cached, encoder.encode(&texts).unwrap());
        assert_eq!(entries(), count, "{files}");
    }
}
