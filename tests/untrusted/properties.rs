//! Sound files are read; damaged ones are read or refused by name.

use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use proptest::{collection::vec, prelude::*};

use crate::damage::{Form, any_damage};
use crate::{readers, samples};

/// How often a kind of file is damaged.
const CASES: u32 = 256;

/// Has the sound files read, and each of them damaged in up to three ways; the same at each call.
#[track_caller]
fn never_panics(read: fn(&[u8]) -> bool, form: Form, sound: &[&[u8]]) {
    for (number, file) in sound.iter().enumerate() {
        assert!(read(file), "file {number} is sound and was refused");
        let config = ProptestConfig {
            cases: CASES / sound.len() as u32,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, random);
        let result = runner.run(&vec(any_damage(), 1..=3), |damages| {
            let damaged = damages
                .iter()
                .fold(file.to_vec(), |bytes, damage| damage.done_to(&bytes, form));
            read(&damaged);
            Ok(())
        });
        result.unwrap_or_else(|error| panic!("file {number}: {error}"));
    }
    read(b"");
}

#[test]
fn a_damaged_config_never_panics_and_is_named_in_its_error() {
    let sound: [&[u8]; 6] = [
        include_bytes!("../golden/model/roberta-2/config.json"),
        include_bytes!("../fixtures/glue/models/bert/config.json"),
        samples::GPT2_CONFIG.as_bytes(),
        samples::LLAMA_CONFIG.as_bytes(),
        samples::QWEN_CONFIG.as_bytes(),
        samples::GEMMA2_CONFIG.as_bytes(),
    ];
    never_panics(readers::config, Form::Json, &sound);
}

#[test]
fn damaged_weights_never_panic_and_are_named_in_their_error() {
    let sound = include_bytes!("../golden/model/roberta-2/model.safetensors");
    never_panics(readers::weights, Form::Safetensors, &[sound]);
}

#[test]
fn a_damaged_list_of_weights_never_panics_and_is_named_in_its_error() {
    let sound = samples::weight_map();
    never_panics(readers::weight_map, Form::Json, &[sound.as_bytes()]);
}

#[test]
fn a_damaged_gguf_file_never_panics_and_is_named_in_its_error() {
    let sound = include_bytes!("../fixtures/gguf/llama.gguf");
    never_panics(readers::gguf, Form::Bytes, &[sound]);
}

#[test]
fn a_damaged_adapter_config_never_panics_and_is_named_in_its_error() {
    let sound = include_bytes!("../golden/adapter/lora/peft/adapter_config.json");
    never_panics(readers::adapter_config, Form::Json, &[sound]);
}

#[test]
fn damaged_adapter_weights_never_panic_and_are_named_in_their_error() {
    let sound = include_bytes!("../golden/adapter/lora/peft/adapter_model.safetensors");
    never_panics(readers::adapter_weights, Form::Safetensors, &[sound]);
}

#[test]
fn a_damaged_tokenizer_never_panics_and_is_named_in_its_error() {
    let sound: [&[u8]; 5] = [
        include_bytes!("../fixtures/glue/models/bert/tokenizer.json"),
        include_bytes!("../fixtures/glue/models/roberta/tokenizer.json"),
        include_bytes!("../fixtures/tokenizers/bpe.json"),
        include_bytes!("../fixtures/tokenizers/unigram.json"),
        include_bytes!("../fixtures/older_run/model/tokenizer.json"),
    ];
    never_panics(readers::tokenizer, Form::Json, &sound);
}

#[test]
fn damaged_files_beside_a_tokenizer_never_panic_and_are_named_in_their_error() {
    type Reader = fn(&[u8]) -> bool;
    let cases: [(Reader, &str); 3] = [
        (readers::tokenizer_config, samples::TOKENIZER_CONFIG),
        (readers::special_tokens, samples::SPECIAL_TOKENS),
        (readers::added_tokens, samples::ADDED_TOKENS),
    ];
    for (read, sound) in cases {
        never_panics(read, Form::Json, &[sound.as_bytes()]);
    }
}

#[test]
fn damaged_tsv_never_panics_and_is_named_in_its_error() {
    let sound = include_bytes!("../fixtures/glue/tsv/RTE/train.tsv");
    never_panics(readers::tsv, Form::Bytes, &[sound]);
}

#[test]
fn damaged_csv_never_panics_and_is_named_in_its_error() {
    never_panics(readers::csv, Form::Bytes, &[samples::CSV.as_bytes()]);
}

#[test]
fn damaged_parquet_never_panics_and_is_named_in_its_error() {
    let sound: [&[u8]; 5] = [
        include_bytes!("../fixtures/glue/parquet/rte/train-00000-of-00001.parquet"),
        include_bytes!("../fixtures/glue/parquet-writers/zstd-v2.parquet"),
        include_bytes!("../fixtures/glue/parquet-writers/brotli-v1.parquet"),
        include_bytes!("../fixtures/glue/parquet-writers/delta-byte-array.parquet"),
        include_bytes!("../fixtures/glue/parquet-writers/label-decimal15.parquet"),
    ];
    never_panics(readers::parquet, Form::Bytes, &sound);
}

#[test]
fn a_damaged_scenario_never_panics_and_is_named_in_its_errors() {
    let sound: [&[u8]; 3] = [
        include_bytes!("../../scenarios/flaky_fleet.toml"),
        include_bytes!("../../scenarios/fedbuff.toml"),
        include_bytes!("../fixtures/older_run/run/scenario.toml"),
    ];
    never_panics(readers::scenario, Form::Toml, &sound);
}

/// Of what the damage has found, the part that is easily written by hand.
#[test]
fn numbers_that_a_scenario_cannot_have_are_refused() {
    let most = u64::MAX;
    for text in [
        "[clients.a]\nshare = 0.5\n[clients.b]\nshare = -0.25\n".to_owned(),
        "[clients.a]\nshare = 0.5\n[clients.b]\nshare = nan\n".to_owned(),
        format!("seed = {most}\n"),
        format!("limit_train = {most}\n"),
        format!("adapter = \"vera\"\nprojection_prng_key = {most}\n"),
    ] {
        let text = format!("task = \"rte\"\nnum_clients = 8\n{text}");
        assert!(!readers::scenario(text.as_bytes()), "{text}");
    }
    let sweep = format!("[grid]\nseed = [1, {most}]\n");
    assert!(!readers::sweep_file(sweep.as_bytes()));
}

#[test]
fn a_damaged_sweep_never_panics_and_is_named_in_its_errors() {
    never_panics(
        readers::sweep_file,
        Form::Toml,
        &[samples::SWEEP.as_bytes()],
    );
}

#[test]
fn a_damaged_ledger_never_panics_and_is_named_in_its_error() {
    let sound = include_bytes!("../fixtures/older_run/run/events.jsonl");
    never_panics(readers::ledger, Form::JsonLines, &[sound]);
}

#[test]
fn damaged_rounds_never_panic_and_are_named_in_their_error() {
    let sound = include_bytes!("../fixtures/older_run/run/rounds.jsonl");
    never_panics(readers::rounds, Form::JsonLines, &[sound]);
}

#[test]
fn a_damaged_summary_never_panics_and_is_named_in_its_error() {
    never_panics(readers::summary, Form::Json, &[samples::SUMMARY.as_bytes()]);
}

#[test]
fn a_damaged_checkpoint_never_panics_and_is_named_in_its_error() {
    never_panics(readers::checkpoint, Form::Bytes, &[&samples::checkpoint()]);
}
