//! A language model from a GGUF file.

use std::fs;
use std::path::{Path, PathBuf};

use regatta::adapter::peft::import::PeftFolder;
use regatta::data::schema::SplitName;
use regatta::data::split::{Example, Split};
use regatta::data::tokenize::TextEncoder;
use regatta::model::source::files::ModelFiles;
use regatta::model::source::gguf::file::GgufFile;
use serde::Deserialize;

use crate::support::golden;

fn fixture() -> GgufFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/llama.gguf");
    GgufFile::open(&path).unwrap()
}

/// The token ids of texts.
fn ids(encoder: &TextEncoder, texts: &[&str]) -> Vec<Vec<u32>> {
    let mut split = Split::new(false, SplitName::Train);
    for (id, text) in texts.iter().enumerate() {
        split.push(Example {
            id: id as u32,
            text_a: text,
            text_b: None,
            label: None,
        });
    }
    let encoded = encoder.encode(&split).unwrap();
    (0..texts.len())
        .map(|row| encoded.ids(row).to_vec())
        .collect()
}

#[test]
fn texts_are_encoded_by_the_files_own_tokenizer_within_the_models_positions() {
    let file = fixture();
    let encoder = TextEncoder::from_gguf(&file, 16).unwrap();
    assert_eq!(ids(&encoder, &["abba<|end|>"]), [[3, 2, 1, 0]]);
    assert_eq!(encoder.pad_id(), 0);
    let short = TextEncoder::from_gguf(&file, 2).unwrap();
    assert_eq!(ids(&short, &["abba"]), [[3, 2]]);
    let error = TextEncoder::from_gguf(&file, 17).unwrap_err().to_string();
    assert!(error.contains("it takes 2 to 16 tokens"), "{error}");
}

/// A row of the reference's tokens.
#[derive(Debug, Deserialize)]
struct Row {
    ids: Vec<u32>,
    /// Tokens before the first that is learnt.
    prompt: usize,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    train: Vec<Row>,
    eval: Vec<Row>,
}

/// SmolLM2, the reference values of a run with it, and the data of that run.
fn smollm2() -> Option<(ModelFiles, PathBuf, PathBuf)> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/smollm2");
    let (reference, data) = (golden().join("trajectory-smollm2"), golden().join("../e2e"));
    if !model.is_dir() || !reference.is_dir() || !data.is_dir() {
        eprintln!(
            "skipped: needs models/smollm2 (`make setup MODEL=smollm2`) and reference values"
        );
        return None;
    }
    Some((ModelFiles::at(&model).unwrap(), reference, data))
}

/// The first rows of a table of two columns.
fn rows(table: &Path, count: usize) -> Vec<(String, String)> {
    let rows = csv::Reader::from_path(table).unwrap().into_deserialize();
    rows.take(count).map(Result::unwrap).collect()
}

#[test]
fn smollm2_gives_the_reference_runs_tokens() {
    let Some((ModelFiles::Gguf(file), reference, data)) = smollm2() else {
        return;
    };
    let encoder = TextEncoder::from_gguf(&file, 8192).unwrap();
    let architecture = file.architecture().unwrap();
    assert_eq!(architecture.end_tokens(), [2]);
    let tokens = fs::read(reference.join("tokens.json")).unwrap();
    let tokens: Tokens = serde_json::from_slice(&tokens).unwrap();
    for (table, expected) in [("trainset.csv", tokens.train), ("devset.csv", tokens.eval)] {
        let rows = rows(&data.join(table), expected.len());
        for ((meaning, text), row) in rows.iter().zip(&expected) {
            let encoded = ids(&encoder, &[&format!("{meaning} ->"), &format!(" {text}")]);
            assert_eq!(encoded[0].len(), row.prompt, "{meaning}");
            assert_eq!([&encoded[0][..], &encoded[1], &[2]].concat(), row.ids);
        }
    }
}

#[test]
fn the_reference_runs_adapter_fits_smollm2() {
    let Some((model, reference, _)) = smollm2() else {
        return;
    };
    let adapter = PeftFolder::read(&reference.join("init")).unwrap();
    let fit = adapter.fit(&*model.architecture().unwrap()).unwrap();
    let modules: Vec<_> = fit
        .layers
        .iter()
        .map(|layer| layer.module.as_str())
        .collect();
    assert_eq!(modules.len(), 2 * 30);
    assert_eq!(modules[1], "model.layers.0.self_attn.v_proj");
}
