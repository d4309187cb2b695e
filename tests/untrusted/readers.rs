//! One function per kind of file that others may have written. It takes any bytes, has the library
//! read them as that kind of file, and asserts that an error names the file; a panic is its
//! caller's to notice. It gives whether the bytes were taken.
//!
//! The fuzz targets in `fuzz/` are made of this file too, so it needs no other file of the tests.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use regatta::adapter::peft::import::PeftFolder;
use regatta::base::machine::Host;
use regatta::base::tensors::TensorMap;
use regatta::base::tensors::weight_map::WeightMap;
use regatta::config::settings::Settings;
use regatta::data::error::DataError;
use regatta::data::schema::SplitName;
use regatta::data::split::{Example, Split};
use regatta::data::tokenize::TextEncoder;
use regatta::model;
use regatta::model::config as model_config;
use regatta::model::objective::Objective;
use regatta::model::source::gguf::file::GgufFile;
use regatta::runs::folder::RunFolder;
use regatta::runs::history::clients::RunStats;
use regatta::runs::sweep::file;
use regatta::tasks::glue::task::GlueTask;
use regatta::tasks::{ReadOptions, registry};
use regatta_actors::journal::checkpoint::CheckpointStore;
use regatta_actors::journal::ledger;
use regatta_actors::plan::FederationPlan;
use tempfile::TempDir;

/// Outputs of a head.
const LABELS: usize = 2;

/// A folder of its own with these files in it.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

/// Whether something was read; an error has to name one of the files that may be to blame.
#[track_caller]
fn taken<T, E: Display>(result: Result<T, E>, files: &[&str]) -> bool {
    let Err(error) = result else {
        return true;
    };
    let error = error.to_string();
    assert!(
        files.iter().any(|file| error.contains(file)),
        "none of {files:?} is named in: {error}"
    );
    false
}

/// `config.json`.
pub fn config(bytes: &[u8]) -> bool {
    let name = "config.json";
    let folder = folder(&[(name, bytes)]);
    let read = model_config::read(&folder.path().join(name));
    if let Ok(config) = &read {
        // What is counted before anything is built.
        let _ = (config.base_weights(), config.padding(), config.max_tokens());
    }
    taken(read, &[name])
}

/// `model.safetensors`: as tensors, and as those of a model.
pub fn weights(bytes: &[u8]) -> bool {
    let name = "model.safetensors";
    let config = include_bytes!("../golden/model/roberta-2/config.json");
    let folder = folder(&[("config.json", config), (name, bytes)]);
    taken(TensorMap::read(&folder.path().join(name)), &[name])
        & taken(
            model::source::checkpoint::Checkpoint::read(
                folder.path(),
                &Objective::classes(LABELS),
                1,
            ),
            &[name],
        )
}

/// The list of files that a model's weights are in: as it is, and with those files.
pub fn weight_map(bytes: &[u8]) -> bool {
    let name = "model.safetensors.index.json";
    let config = include_bytes!("../golden/model/roberta-2/config.json");
    let part = include_bytes!("../golden/model/roberta-2/model.safetensors");
    let folder = folder(&[
        ("config.json", config),
        ("part.safetensors", part),
        (name, bytes),
    ]);
    let objective = Objective::classes(LABELS);
    taken(WeightMap::read(&folder.path().join(name)), &[name])
        & taken(
            model::source::checkpoint::Checkpoint::read(folder.path(), &objective, 1),
            &[name],
        )
}

/// A GGUF file: all of its weights, as those of a model, and its tokenizer, which has to encode a
/// few texts.
pub fn gguf(bytes: &[u8]) -> bool {
    let name = "model.gguf";
    let folder = folder(&[(name, bytes)]);
    let file = match GgufFile::open(&folder.path().join(name)) {
        Ok(file) => file,
        Err(error) => return taken(Err::<(), _>(error), &[name]),
    };
    let read = file.parameters().try_for_each(|(parameter, _)| {
        let _ = file.read(parameter)?;
        file.chat_template().map(drop)
    });
    let encoder = TextEncoder::from_gguf(&file, 16);
    let encoded = encoder.and_then(|encoder| encoder.encode(&texts()));
    taken(read, &[name])
        & taken(
            model::source::checkpoint::Checkpoint::of_gguf(&file, &Objective::NextToken, 1),
            &[name],
        )
        & taken(encoded, &[name, "max_seq_length"])
}

const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_TENSORS: &str = "adapter_model.safetensors";

/// An adapter in the files of PEFT, and what it means for a model.
fn adapter(config: &[u8], tensors: &[u8]) -> bool {
    let base = include_bytes!("../golden/adapter/lora/base/config.json");
    let folder = folder(&[
        ("config.json", base),
        (ADAPTER_CONFIG, config),
        (ADAPTER_TENSORS, tensors),
    ]);
    let model = model_config::read(&folder.path().join("config.json")).unwrap();
    let read = PeftFolder::read(folder.path());
    taken(
        read.and_then(|adapter| adapter.fit(&*model)),
        &[ADAPTER_CONFIG, ADAPTER_TENSORS],
    )
}

/// `adapter_config.json`, beside sound tensors.
pub fn adapter_config(bytes: &[u8]) -> bool {
    let tensors = include_bytes!("../golden/adapter/lora/peft/adapter_model.safetensors");
    adapter(bytes, tensors)
}

/// `adapter_model.safetensors`, beside a sound description.
pub fn adapter_weights(bytes: &[u8]) -> bool {
    let config = include_bytes!("../golden/adapter/lora/peft/adapter_config.json");
    adapter(config, bytes)
}

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const ADDED_TOKENS: &str = "added_tokens.json";

/// A model's tokenizer, of whose files one is `bytes`; it also has to encode a few texts.
fn encodes(file: &str, bytes: &[u8]) -> bool {
    let config = br#"{"model_type": "bert", "vocab_size": 1000, "max_position_embeddings": 64}"#;
    let tokenizer = include_bytes!("../fixtures/glue/models/bert/tokenizer.json");
    let folder = folder(&[
        ("config.json", config),
        (TOKENIZER, tokenizer),
        (file, bytes),
    ]);
    let encoder = TextEncoder::from_model_dir(folder.path(), 16);
    let encoded = encoder.and_then(|encoder| encoder.encode(&texts()));
    taken(
        encoded,
        &[TOKENIZER, TOKENIZER_CONFIG, SPECIAL_TOKENS, ADDED_TOKENS],
    )
}

/// A few pairs, also of what texts seldom hold.
fn texts() -> Split {
    let mut split = Split::new(true, SplitName::Train);
    let pairs = [
        ("A boat sails.", "The boat moves."),
        ("", ""),
        ("[MASK] été\u{301} 船 \u{0} \u{fffd}", "  a\u{a0}b  "),
        (&"row ".repeat(40), "[SEP][CLS]</s>"),
    ];
    for (id, (text_a, text_b)) in pairs.into_iter().enumerate() {
        split.push(Example {
            id: id as u32,
            text_a,
            text_b: Some(text_b),
            label: Some(0.0),
        });
    }
    split
}

/// `tokenizer.json`.
pub fn tokenizer(bytes: &[u8]) -> bool {
    encodes(TOKENIZER, bytes)
}

/// `tokenizer_config.json`.
pub fn tokenizer_config(bytes: &[u8]) -> bool {
    encodes(TOKENIZER_CONFIG, bytes)
}

/// `special_tokens_map.json`.
pub fn special_tokens(bytes: &[u8]) -> bool {
    encodes(SPECIAL_TOKENS, bytes)
}

/// `added_tokens.json`.
pub fn added_tokens(bytes: &[u8]) -> bool {
    encodes(ADDED_TOKENS, bytes)
}

/// Loads RTE from a folder.
fn loads(folder: &Path, name: &str) -> bool {
    let loaded: Result<_, DataError> = regatta::tasks::glue::source::load(GlueTask::Rte, folder);
    taken(loaded, &[name])
}

/// The training split in GLUE's layout.
pub fn tsv(bytes: &[u8]) -> bool {
    let dev = include_bytes!("../fixtures/glue/tsv/RTE/dev.tsv");
    let folder = folder(&[("RTE/train.tsv", bytes), ("RTE/dev.tsv", dev)]);
    loads(folder.path(), "train.tsv")
}

/// The training split of E2E NLG.
pub fn csv(bytes: &[u8]) -> bool {
    let dev = b"mr,ref\nname[A],A.\n";
    let folder = folder(&[("trainset.csv", bytes), ("devset.csv", dev)]);
    let task = registry::find("e2e").unwrap();
    let loaded = task.read(folder.path(), &ReadOptions::default());
    taken(loaded, &["trainset.csv"])
}

/// The training split in the hub's layout.
pub fn parquet(bytes: &[u8]) -> bool {
    let name = "train-00000-of-00001.parquet";
    let validation =
        include_bytes!("../fixtures/glue/parquet/rte/validation-00000-of-00001.parquet");
    let folder = folder(&[
        (&format!("rte/{name}"), bytes),
        ("rte/validation-00000-of-00001.parquet", validation),
    ]);
    loads(folder.path(), name)
}

/// A scenario.
pub fn scenario(bytes: &[u8]) -> bool {
    let name = "untrusted.toml";
    let folder = folder(&[(name, bytes)]);
    let machine = Host::cpu(2);
    let path = folder.path().join(name);
    let problems = match regatta::config::load(Some(&path), &Settings::default(), &machine) {
        Ok(plan) => {
            // As it is recorded in the run's folder.
            let _ = plan.to_toml();
            return true;
        }
        Err(problems) => problems,
    };
    for problem in problems.sorted() {
        let problem = problem.to_string();
        // A setting that is nowhere has no place in the file that could be named.
        assert!(
            problem.contains(name) || problem.contains("(not given)"),
            "{name} is not named in: {problem}"
        );
    }
    false
}

/// A sweep file.
pub fn sweep_file(bytes: &[u8]) -> bool {
    let name = "untrusted-sweep.toml";
    let folder = folder(&[(name, bytes)]);
    taken(file::read(&folder.path().join(name)), &[name])
}

/// A ledger, as entries and as what became of each client.
pub fn ledger(bytes: &[u8]) -> bool {
    let name = "events.jsonl";
    let folder = folder(&[(name, bytes)]);
    let path = folder.path().join(name);
    let entries = ledger::read(&path);
    let entries = entries.and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    taken(entries, &[name]) & taken(RunStats::read(&path), &[name])
}

/// `rounds.jsonl`.
pub fn rounds(bytes: &[u8]) -> bool {
    let name = "rounds.jsonl";
    let folder = folder(&[(name, bytes)]);
    taken(RunFolder::at(folder.path()).read_rounds(), &[name])
}

/// `summary.json`.
pub fn summary(bytes: &[u8]) -> bool {
    let name = "summary.json";
    let folder = folder(&[(name, bytes)]);
    taken(RunFolder::at(folder.path()).read_summary(), &[name])
}

/// The plan whose checkpoints are read.
fn plan() -> FederationPlan {
    FederationPlan::new("untrusted", 1, Vec::new())
}

/// What checkpoints of that plan are marked with.
pub fn plan_digest() -> String {
    CheckpointStore::new("checkpoints", &plan())
        .plan()
        .0
        .clone()
}

/// A checkpoint: the bytes as they are, and behind a first line that vouches for them, without
/// which nothing of them would be looked at.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let head = format!("regatta checkpoint 1 {}\n", blake3::hash(bytes).to_hex());
    let vouched = [head.as_bytes(), bytes].concat();
    let read = |bytes: &[u8]| {
        let name = "round-00000001.checkpoint";
        let folder = folder(&[(name, bytes)]);
        taken(
            CheckpointStore::new(folder.path(), &plan()).latest(),
            &[name],
        )
    };
    read(bytes) | read(&vouched)
}
