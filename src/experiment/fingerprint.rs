//! What determines a run's results besides the actors' plan: settings, and the content of files.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::machine::device::DeviceSpec;
use crate::config;
use crate::experiment::prepared::Experiment;
use crate::model::config::ModelConfig;

/// Settings by key, and digests of what the files hold by the setting that names them.
pub(crate) fn of(experiment: &Experiment) -> BTreeMap<String, String> {
    let plan = &experiment.plan;
    let mut fingerprint = config::fingerprint::of(plan);
    fingerprint.insert("data".into(), data(experiment));
    fingerprint.insert("model".into(), model(experiment));
    if plan.model.init_adapter.is_some() {
        let digest = experiment.initial.digest().0;
        fingerprint.insert("init_adapter".into(), digest);
    }
    fingerprint.insert("devices".into(), devices(experiment));
    fingerprint
}

/// The splits that are trained and scored on; predictions change no state.
fn data(experiment: &Experiment) -> String {
    let mut hasher = blake3::Hasher::new();
    for split in [&experiment.train]
        .into_iter()
        .chain(&experiment.validation)
    {
        split.hash_into(&mut hasher);
    }
    hasher.finalize().to_hex().to_string()
}

fn model(experiment: &Experiment) -> String {
    let checkpoint = &experiment.checkpoint;
    let mut hasher = blake3::Hasher::new();
    hasher.update(describe(&checkpoint.config).as_bytes());
    checkpoint.base.hash_into(&mut hasher);
    checkpoint.head.hash_into(&mut hasher);
    hasher.finalize().to_hex().to_string()
}

/// A configuration in the form that fingerprints have had from the first, whatever becomes of the
/// struct: a run that was begun with an earlier version is resumed by it.
fn describe(config: &ModelConfig) -> String {
    let ModelConfig {
        family,
        vocab_size,
        hidden_size,
        num_hidden_layers,
        num_attention_heads,
        intermediate_size,
        hidden_act,
        max_position_embeddings,
        type_vocab_size,
        layer_norm_eps,
        hidden_dropout_prob,
        attention_probs_dropout_prob,
        classifier_dropout,
        initializer_range,
        pad_token_id: _,
        position_embedding_type,
        // Tokens are a part of the data.
        tokenizer_class: _,
    } = config;
    let pad_token_id = config.padding();
    format!(
        "ModelConfig {{ family: {family:?}, vocab_size: {vocab_size}, hidden_size: {hidden_size}, \
         num_hidden_layers: {num_hidden_layers}, num_attention_heads: {num_attention_heads}, \
         intermediate_size: {intermediate_size}, hidden_act: {hidden_act:?}, \
         max_position_embeddings: {max_position_embeddings}, type_vocab_size: {type_vocab_size}, \
         layer_norm_eps: {layer_norm_eps:?}, hidden_dropout_prob: {hidden_dropout_prob:?}, \
         attention_probs_dropout_prob: {attention_probs_dropout_prob:?}, \
         classifier_dropout: {classifier_dropout:?}, initializer_range: {initializer_range:?}, \
         pad_token_id: {pad_token_id}, position_embedding_type: {position_embedding_type:?} }}"
    )
}

/// The kinds of devices: a processor and a GPU round differently, two GPUs of a kind do not.
fn devices(experiment: &Experiment) -> String {
    let devices = &experiment.plan.devices;
    let kind = |device: DeviceSpec| match device {
        DeviceSpec::Cpu => "cpu",
        DeviceSpec::Cuda(_) => "cuda",
    };
    let lanes: BTreeSet<_> = devices.lanes.iter().map(|lane| kind(lane.device)).collect();
    let lanes = lanes.into_iter().collect::<Vec<_>>().join(" and ");
    format!("server {}, lanes {lanes}", kind(devices.server))
}
