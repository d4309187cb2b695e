//! Decoders' snapshots that do not hold what they should.

use std::fs;

use tempfile::TempDir;

use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::config;
use crate::model::objective::Objective;
use crate::model::source::checkpoint::Checkpoint;

/// A snapshot of a Llama of one layer that has an output layer, with its tensors changed.
fn llama(change: impl FnOnce(&mut TensorMap)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let keys = r#"{"model_type": "llama", "vocab_size": 9, "hidden_size": 8, "head_dim": 4,
        "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 1,
        "intermediate_size": 12, "max_position_embeddings": 16}"#;
    let path = folder.path().join("config.json");
    fs::write(&path, keys).unwrap();
    let architecture = config::read(&path).unwrap();
    let checkpoint = Checkpoint::random(architecture, &Objective::NextToken, 1).unwrap();
    let mut tensors = checkpoint.base;
    change(&mut tensors);
    tensors
        .write(&folder.path().join("model.safetensors"))
        .unwrap();
    folder
}

#[track_caller]
fn refused(change: impl FnOnce(&mut TensorMap), expected: &[&str]) {
    let folder = llama(change);
    let error = Checkpoint::read(folder.path(), &Objective::NextToken, 1).unwrap_err();
    let error = error.to_string();
    for part in ["model.safetensors: "].iter().chain(expected) {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_whole_snapshot_is_read_whether_its_names_have_the_models_prefix_or_not() {
    let without = |tensors: &mut TensorMap| {
        let all = std::mem::take(&mut tensors.0).into_iter();
        let rename = |(name, tensor): (String, HostTensor)| {
            let inner = name.strip_prefix("model.").unwrap_or(&name);
            (inner.to_owned(), tensor)
        };
        tensors.0 = all.map(rename).collect();
    };
    let read = |folder: TempDir| Checkpoint::read(folder.path(), &Objective::NextToken, 1);
    let (one, other) = (read(llama(|_| {})).unwrap(), read(llama(without)).unwrap());
    assert_eq!(one.base, other.base);
    assert!(one.fresh.is_empty());
}

#[test]
fn an_output_that_is_missing_is_said_to_be_shared_by_a_key_where_it_is() {
    let take = |tensors: &mut TensorMap| {
        tensors.0.remove("lm_head.weight");
    };
    refused(
        take,
        &[
            "there is no tensor lm_head.weight; ",
            "\"tie_word_embeddings\": true",
        ],
    );
}

#[test]
fn what_is_missing_misshapen_or_behind_a_wrapper_is_named() {
    refused(
        |tensors| tensors.0.retain(|name, _| !name.contains("mlp.")),
        &[
            "there is no tensor model.layers.0.mlp.gate_proj.weight, ",
            "and 1 more",
        ],
    );
    refused(
        |tensors| tensors.insert("model.norm.weight", HostTensor::full(&[9], 1.0)),
        &["model.norm.weight of shape [9] where it says [8]"],
    );
    let wrap = |tensors: &mut TensorMap| {
        let all = std::mem::take(&mut tensors.0).into_iter();
        let wrap = |(name, tensor)| (format!("base_model.model.{name}"), tensor);
        tensors.0 = all.map(wrap).collect();
    };
    refused(wrap, &["named behind \"base_model.model.\""]);
}
