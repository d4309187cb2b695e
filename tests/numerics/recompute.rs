//! Layers that are computed once more in the backward pass, against layers that are kept.

use rand::SeedableRng;
use regatta::adapter::settings::{AdapterKind, AdapterPlan};
use regatta::adapter::{Adapter, initial_state};
use regatta::base::torch::device::Autocast;
use regatta::model::base_form::BaseForm;
use regatta::model::config;
use regatta::model::dropout::Masks;
use regatta::model::inputs::Inputs;
use regatta::model::linear_layer::LinearLayer;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::Weights;
use regatta::train::replica::{Replica, RoundModel};
use regatta_actors::random::Stream;
use tch::{Device, Kind, Tensor};

/// Three layers of each family, with dropout.
pub const MODELS: [&str; 10] = [
    r#"{"model_type": "gpt2", "vocab_size": 40, "n_positions": 32, "n_embd": 32, "n_layer": 3,
        "n_head": 2, "initializer_range": 0.3}"#,
    r#"{"model_type": "llama", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "intermediate_size": 20, "initializer_range": 0.3, "attention_dropout": 0.1}"#,
    r#"{"model_type": "qwen3", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "intermediate_size": 20, "initializer_range": 0.3, "attention_dropout": 0.1,
        "use_sliding_window": true, "sliding_window": 3, "max_window_layers": 1}"#,
    r#"{"model_type": "gemma2", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "intermediate_size": 20, "initializer_range": 0.3, "attention_dropout": 0.1,
        "attn_logit_softcapping": 1.5, "final_logit_softcapping": 4.0, "sliding_window": 3}"#,
    r#"{"model_type": "bert", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 2, "intermediate_size": 20, "initializer_range": 0.3,
        "max_position_embeddings": 32}"#,
    r#"{"model_type": "distilbert", "vocab_size": 40, "dim": 32, "n_layers": 3, "n_heads": 2,
        "hidden_dim": 20, "initializer_range": 0.3, "max_position_embeddings": 32}"#,
    r#"{"model_type": "electra", "vocab_size": 40, "hidden_size": 32, "embedding_size": 12,
        "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 20,
        "initializer_range": 0.3, "max_position_embeddings": 32}"#,
    r#"{"model_type": "modernbert", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 2, "intermediate_size": 20, "initializer_range": 0.3,
        "max_position_embeddings": 32, "local_attention": 2, "pad_token_id": 1,
        "attention_dropout": 0.1, "mlp_dropout": 0.1, "embedding_dropout": 0.1}"#,
    r#"{"model_type": "deberta-v2", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 2, "intermediate_size": 20, "initializer_range": 0.3,
        "max_position_embeddings": 32, "relative_attention": true, "pos_att_type": "p2c|c2p",
        "share_att_key": true, "norm_rel_ebd": "layer_norm", "position_buckets": 4,
        "conv_kernel_size": 3}"#,
    r#"{"model_type": "deberta", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 2, "intermediate_size": 20, "initializer_range": 0.3,
        "max_position_embeddings": 32, "relative_attention": true, "pos_att_type": ["c2p"]}"#,
];

/// A model of these sizes, and what it is trained to give.
pub fn checkpoint(json: &str) -> (Checkpoint, Objective) {
    checkpoint_as(json, &BaseForm::float32())
}

/// A model of these sizes, held in a form, and what it is trained to give.
pub fn checkpoint_as(json: &str, form: &BaseForm<'_>) -> (Checkpoint, Objective) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    std::fs::write(&file, json).unwrap();
    let architecture = config::read(&file).unwrap();
    let objective = match architecture.check_objective(&Objective::NextToken) {
        Ok(()) => Objective::NextToken,
        Err(_) => Objective::classes(2),
    };
    (
        Checkpoint::random_as(architecture, &objective, 3, form).unwrap(),
        objective,
    )
}

/// An adapter with dropout whose changes are not zero.
fn adapter(kind: AdapterKind, layers: &[LinearLayer]) -> std::sync::Arc<dyn Adapter> {
    let plan = AdapterPlan {
        dropout: 0.1,
        init_weights: false,
        ..AdapterPlan::plain(kind, 4)
    };
    plan.build(layers).unwrap()
}

/// A model with an adapter on the default targets of the layers from `first` on, which also trains
/// the base's tensors of these names.
pub fn replica(json: &str, kind: AdapterKind, first: i64, trained: &[&str]) -> Replica {
    let (checkpoint, objective) = checkpoint(json);
    of_checkpoint(&checkpoint, &objective, kind, first, trained)
}

/// The same of a model that is there.
pub fn of_checkpoint(
    checkpoint: &Checkpoint,
    objective: &Objective,
    kind: AdapterKind,
    first: i64,
    trained: &[&str],
) -> Replica {
    let base = Weights::frozen(&checkpoint.base, &checkpoint.quantised, Device::Cpu).unwrap();
    of_base(base, checkpoint, objective, kind, first, trained)
}

/// The same over frozen weights as they are given.
pub fn of_base(
    base: Weights,
    checkpoint: &Checkpoint,
    objective: &Objective,
    kind: AdapterKind,
    first: i64,
    trained: &[&str],
) -> Replica {
    let architecture = &*checkpoint.architecture;
    let ends = architecture.default_targets();
    let mut layers = architecture.linear_layers();
    layers
        .retain(|layer| layer.layer >= first && ends.iter().any(|end| layer.module.ends_with(end)));
    let adapter = adapter(kind, &layers);
    let mut own = initial_state(&*adapter, &layers, 5, 0);
    own.0.extend(checkpoint.head.0.clone());
    for name in trained {
        let tensor = checkpoint.base.get(name).unwrap();
        own.insert((*name).to_owned(), tensor.clone());
    }
    let shared = RoundModel::new(base, &own, &*adapter, &layers, Device::Cpu).unwrap();
    let own = shared.state.clone();
    Replica::new(&shared, architecture, objective, &layers, own, |_| true).unwrap()
}

/// The outputs and all gradients of two batches, one padded.
pub fn results(replica: &Replica, precision: Option<Kind>) -> Vec<(String, Tensor)> {
    let masks = Masks::new(Stream::seed_from_u64(9));
    let mut found = Vec::new();
    for (mask, name) in [
        ([1, 1, 1, 1, 1, 1], "whole"),
        ([1, 1, 1, 1, 0, 0], "padded"),
    ] {
        let inputs = Inputs::new(2, &[7, 3, 19, 22, 5, 31], &mask, &[0; 6], Device::Cpu).unwrap();
        let autocast = precision.map(|kind| Autocast::enter(Device::Cpu, kind).unwrap());
        let outputs = replica.model.outputs(&inputs, Some(&masks)).unwrap();
        drop(autocast);
        let count = Tensor::arange(outputs.numel() as i64, (Kind::Float, Device::Cpu));
        let weights = count.sin().view_as(&outputs);
        let loss = (&outputs * weights).sum(Kind::Float);
        replica.backward(&loss).unwrap();
        found.push((format!("outputs, {name}"), outputs.detach()));
    }
    let gradients = replica.gradients().unwrap().into_iter();
    found.extend(gradients.map(|(name, gradient)| (name.to_owned(), gradient)));
    found
}

fn check(name: &str, build: impl Fn() -> Replica, precision: Option<Kind>) {
    let kept = results(&build(), precision);
    let mut recomputed = build();
    recomputed.model.checkpoint_blocks();
    let found = results(&recomputed, precision);
    assert!(kept.len() > 3, "{name}: {kept:?}");
    assert_eq!(found.len(), kept.len(), "{name}");
    for ((tensor, found), (_, want)) in found.iter().zip(&kept) {
        let any = want.abs().max().double_value(&[]) > 0.0;
        assert!(any, "{name}: {tensor} is zero");
        assert_eq!(found, want, "{name}: {tensor}");
    }
}

#[test]
fn recomputed_layers_give_the_same_bits() {
    for json in MODELS {
        for kind in [AdapterKind::Lora, AdapterKind::Vera, AdapterKind::SorfVera] {
            for precision in [None, Some(Kind::BFloat16)] {
                let name = format!("{kind:?} in {precision:?} on {json}");
                check(&name, || replica(json, kind, 0, &[]), precision);
            }
        }
    }
}

#[test]
fn recomputed_layers_give_the_same_bits_where_the_first_are_not_trained_or_the_embeddings_are() {
    for (json, table) in MODELS.iter().zip([
        "transformer.wte.weight",
        "model.embed_tokens.weight",
        "model.embed_tokens.weight",
        "model.embed_tokens.weight",
        "bert.embeddings.word_embeddings.weight",
        "distilbert.embeddings.word_embeddings.weight",
        "electra.embeddings_project.weight",
        "model.embeddings.norm.weight",
        "deberta.embeddings.LayerNorm.bias",
        "deberta.embeddings.word_embeddings.weight",
    ]) {
        let lora = |first, trained: &[&str]| replica(json, AdapterKind::Lora, first, trained);
        check("two layers are not trained", || lora(2, &[]), None);
        check("embeddings are trained", || lora(1, &[table]), None);
    }
}
