//! Models and sizes that would end a run before its first step are errors before there is a run.

use std::fs;
use std::sync::Arc;

use regatta::base::tensors::{HostTensor, TensorMap};
use regatta::model::encoder::bert::BERT;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::source::known::known_encoder;
use serde_json::{Value, json};

use crate::workplace::Workplace;

const TINY: &str = "--task rte --model models/tiny --metrics off --web off";

/// The only error of `check`, which is also that of `run`; neither leaves a folder.
pub fn refusal(place: &Workplace, flags: &str) -> String {
    let errors = place.errors(&format!("check {flags}"));
    assert_eq!(errors.len(), 1, "{errors:?}");
    let of_run = place.errors(&format!("run {flags} --out results"));
    assert_eq!(errors, of_run);
    assert!(!place.path().join("results").exists());
    errors[0].clone()
}

/// The workplace with its model's tensors changed.
fn with_tensors(change: impl FnOnce(&mut TensorMap)) -> Workplace {
    let place = Workplace::new();
    let path = place.path().join("models/tiny/model.safetensors");
    let mut tensors = TensorMap::read(&path).unwrap();
    change(&mut tensors);
    tensors.write(&path).unwrap();
    place
}

/// The workplace with a key of its model's `config.json` set.
fn with_key(key: &str, value: Value) -> Workplace {
    let place = Workplace::new();
    let mut config: Value = serde_json::from_str(&place.read("models/tiny/config.json")).unwrap();
    config[key] = value;
    place.write("models/tiny/config.json", &config.to_string());
    place
}

#[test]
fn a_checkpoint_that_is_not_whole_is_an_error_of_the_model() {
    let of_file = "error: --model=models/tiny: models/tiny/model.safetensors: ";
    let missing = |tensors: &mut TensorMap| tensors.0.retain(|name, _| !name.contains("layer.1."));
    let wrapped = |tensors: &mut TensorMap| {
        let all = std::mem::take(&mut tensors.0);
        let wrap = |(name, tensor)| (format!("module.{name}"), tensor);
        tensors.0 = all.into_iter().map(wrap).collect();
    };
    let misshapen = |tensors: &mut TensorMap| {
        let name = "roberta.embeddings.token_type_embeddings.weight";
        tensors.insert(name, HostTensor::full(&[2, 96], 0.0));
    };
    let not_finite = |tensors: &mut TensorMap| {
        let name = "roberta.encoder.layer.0.output.dense.weight";
        tensors.0.get_mut(name).unwrap().values_mut()[193] = f32::NAN;
    };
    type Change = fn(&mut TensorMap);
    let changes: [(Change, &str); 4] = [
        (missing, "there is no tensor roberta.encoder.layer.1."),
        (wrapped, "named behind \"module.\""),
        (misshapen, "of shape [2, 96] where it says [1, 96]"),
        (not_finite, "layer.0.output.dense.weight has NaN at [1, 1]"),
    ];
    for (change, said) in changes {
        let error = refusal(&with_tensors(change), TINY);
        assert!(
            error.starts_with(of_file) && error.contains(said),
            "{error}"
        );
    }
}

#[test]
fn a_model_is_checked_though_its_data_are_on_the_hub() {
    let place = with_tensors(|tensors| {
        tensors.0.clear();
        tensors.insert("x", HostTensor::full(&[1], 0.0));
    });
    if cfg!(feature = "hub") {
        let errors = place.errors(&format!("check {TINY} --data hub"));
        assert!(errors[0].contains("there is no tensor"), "{errors:?}");
    }
}

#[test]
fn a_config_json_that_cannot_be_used_is_an_error_of_the_model_by_key() {
    for (key, value) in [
        ("hidden_size", json!("96")),
        ("num_hidden_layers", json!(1_000_000_000_000_i64)),
        ("hidden_size", json!(4_611_686_018_427_387_904_i64)),
        ("hidden_act", json!("geglu")),
        ("position_embedding_type", json!("relative_key")),
        ("is_decoder", json!(true)),
        ("model_type", json!("t5")),
    ] {
        let error = refusal(&with_key(key, value), TINY);
        let start = format!("error: --model=models/tiny: models/tiny/config.json: {key} is ");
        assert!(error.starts_with(&start), "{error}");
    }
}

#[test]
fn a_decoder_is_refused_for_a_task_of_classes() {
    let error = refusal(&with_key("model_type", json!("gpt2")), TINY);
    assert!(error.contains("a GPT-2 gives the next token"), "{error}");
}

#[test]
fn a_longer_text_than_there_are_positions_is_an_error_of_its_length() {
    let error = refusal(&Workplace::new(), &format!("{TINY} --max_seq_length 129"));
    assert!(error.contains("to 128 tokens"), "{error}");
}

/// A BERT of one token type, with a tokenizer that gives the second text type 1.
fn bert_of_one_type() -> Workplace {
    let place = Workplace::new();
    let mut config = known_encoder("bert-base").unwrap();
    assert_eq!(config.family, BERT);
    (config.vocab_size, config.max_position_embeddings) = (6, 130);
    (config.hidden_size, config.intermediate_size) = (16, 32);
    (config.num_hidden_layers, config.num_attention_heads) = (1, 2);
    config.type_vocab_size = 1;
    let folder = place.path().join("models/one");
    fs::create_dir(&folder).unwrap();
    place.write(
        "models/one/config.json",
        &serde_json::to_string(&config).unwrap(),
    );
    let checkpoint = Checkpoint::random(Arc::new(config), &Objective::classes(2), 1).unwrap();
    checkpoint
        .base
        .write(&folder.join("model.safetensors"))
        .unwrap();
    let mut tokenizer: Value =
        serde_json::from_str(&place.read("models/tiny/tokenizer.json")).unwrap();
    tokenizer["post_processor"] =
        json!({ "type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0] });
    place.write("models/one/tokenizer.json", &tokenizer.to_string());
    place
}

#[test]
fn token_types_beyond_the_models_table_are_an_error_that_names_the_tokenizer() {
    let place = bert_of_one_type();
    let error = refusal(
        &place,
        "--task rte --model models/one --metrics off --web off",
    );
    let start =
        "error: --model=models/one: models/one/tokenizer.json: it produces tokens of type 1";
    assert!(
        error.starts_with(start) && error.contains("type_vocab_size"),
        "{error}"
    );
    let drawn = "--task rte --model random:models/one/config.json --metrics off --web off \
                 --tokenizer models/one/tokenizer.json";
    let error = refusal(&place, drawn);
    assert!(error.starts_with("error: --tokenizer="), "{error}");
}

#[test]
fn a_token_that_the_post_processor_adds_beyond_the_vocabulary_is_an_error() {
    let place = Workplace::new();
    let path = "models/tiny/tokenizer.json";
    let mut tokenizer: Value = serde_json::from_str(&place.read(path)).unwrap();
    tokenizer["post_processor"] =
        json!({ "type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 500] });
    place.write(path, &tokenizer.to_string());
    let error = refusal(&place, TINY);
    assert!(error.contains("has the token 500"), "{error}");
}

#[test]
fn numbers_that_no_memory_could_hold_are_errors_of_their_flags() {
    let place = Workplace::new();
    let flags = [
        "--r=1000000000",
        "--threads_per_lane=100000",
        "--lanes=4294967295",
        "--batch_size=4294967295",
        "--eval_batch_size=4294967295",
        "--local_epochs=4294967295",
        "--rounds=4294967295",
        "--max_seq_length=4294967295",
        "--num_clients=4294967295",
    ];
    let errors = place.errors(&format!("check {TINY} {}", flags.join(" ")));
    for flag in flags {
        let start = format!("error: {flag}: out of range; give a number from 1 to ");
        let said = errors.iter().any(|error| error.starts_with(&start));
        assert!(said, "{flag}: {errors:#?}");
    }
    let errors = place.errors(&format!(
        "check {TINY} --agg_type flora --ranks 2,4000000000"
    ));
    assert!(
        errors[0].contains("ranks") && errors[0].contains("65536"),
        "{errors:?}"
    );
    let lanes = format!("check {TINY} --num_clients 12 --lanes 12 --threads_per_lane");
    let errors = place.errors(&format!("{lanes} 1000"));
    assert!(
        errors[0].contains("12 lanes have 12000 threads together"),
        "{errors:?}"
    );
    place.accepts(&format!("{lanes} 100"));
}

#[test]
fn a_scenarios_numbers_have_the_same_bounds_with_their_lines() {
    let place = Workplace::new();
    place.write(
        "s.toml",
        "task = \"rte\"\nmodel = \"models/tiny\"\nr = 4000000000\nnum_clients = 3000000000\n",
    );
    let errors = place.errors("check s.toml");
    assert!(
        errors[0].starts_with("error: s.toml:3:5: r = 4000000000: out of range"),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("error: s.toml:4:15: num_clients = 3000000000: out of range"));
}

#[cfg(target_os = "linux")]
#[test]
fn an_adapter_that_the_memory_cannot_hold_is_an_error_of_its_rank() {
    let place = Workplace::new();
    let check =
        format!("check {TINY} --r 65536 --target_modules query,key,value,dense --num_clients 1");
    let mut limited = std::process::Command::new("sh");
    limited
        .current_dir(place.path())
        .args(["-c", "ulimit -v 3000000; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_regatta"))
        .args(check.split_whitespace());
    let output = limited.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("--r=65536: this needs at least 3.5 GB of memory"),
        "{text}"
    );
}
