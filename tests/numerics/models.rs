use std::fs;
use std::path::Path;

use regatta::base::tensors::TensorMap;
use regatta::model::architecture::Model;
use regatta::model::config;
use regatta::model::config::encoder::architecture::classifier;
use regatta::model::encoder::config::EncoderConfig;
use regatta::model::inputs::Inputs;
use regatta::model::loss::Labels;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::{View, Weights};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor, no_grad};
use tempfile::TempDir;

use crate::support::{Expected, assert_close, cases};

/// Everything of a snapshot, head included, as one set of weights.
pub fn all_weights(checkpoint: &Checkpoint) -> Weights {
    let mut all = checkpoint.base.clone();
    all.0.extend(checkpoint.head.clone().0);
    Weights::from_map(&all, Device::Cpu).unwrap()
}

pub fn golden_inputs(expected: &Expected) -> Inputs {
    let rows = expected.get("input_ids").size()[0];
    let ids = expected.integers("input_ids");
    let types = match expected.find("token_type_ids") {
        Some(_) => expected.integers("token_type_ids"),
        None => vec![0; ids.len()],
    };
    let mask = expected.integers("attention_mask");
    Inputs::new(rows, &ids, &mask, &types, Device::Cpu).unwrap()
}

/// Compares what the model in a folder computes with what transformers does.
fn assert_as_transformers(name: &str, folder: &Path, expected: &Expected) {
    let labels = expected.get("logits").size()[1];
    let objective = Objective::classes(labels as usize);
    let checkpoint = Checkpoint::read(folder, &objective, 0).unwrap();
    assert_eq!(
        checkpoint.fresh,
        Vec::<String>::new(),
        "{name} has its own head"
    );
    let weights = all_weights(&checkpoint);
    let config = EncoderConfig::read(&folder.join("config.json")).unwrap();
    let model = classifier(&config, &View::new(&weights), labels).unwrap();
    let inputs = golden_inputs(expected);
    let (hidden, logits, of_first_token) = no_grad(|| {
        let hidden = model.hidden(&inputs, None).unwrap();
        let logits = model.head(&hidden, &inputs, None).unwrap();
        (hidden, logits, model.outputs(&inputs, None).unwrap())
    });
    let close = |what: &str, got: &Tensor, key: &str| {
        assert_close(&format!("{name} {what}"), got, expected.get(key), 1e-5);
    };
    close("hidden", &hidden, "last_hidden");
    close("logits of all tokens", &logits, "logits");
    close("logits of the first", &of_first_token, "logits");
    let labels = Labels::Rows(expected.get("labels").to_kind(Kind::Float));
    let loss = model.loss(&logits, &labels, 0.0).unwrap();
    close("loss", &loss.mean.view([1]), "loss");
}

#[test]
fn golden_models_give_the_hidden_states_logits_and_losses_of_transformers() {
    for case in cases("model") {
        let expected = Expected::read(&case.join("expected.safetensors"));
        assert_as_transformers(&case.display().to_string(), &case, &expected);
    }
}

/// The model with a `config.json` that leaves out the architecture's type and all that has its
/// default, as `save_pretrained` of later versions writes it.
fn with_defaults_left_out(case: &Path) -> TempDir {
    let text = fs::read(case.join("config.json")).unwrap();
    let mut config: Map<String, Value> = serde_json::from_slice(&text).unwrap();
    let pad = if config["model_type"] == "roberta" {
        1
    } else {
        0
    };
    config.remove("model_type").unwrap();
    let defaults = json!({
        "hidden_act": "gelu", "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "initializer_range": 0.02, "pad_token_id": pad, "position_embedding_type": "absolute",
        "classifier_dropout": null, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    });
    let defaults = defaults.as_object().unwrap();
    config.retain(|key, value| defaults.get(key) != Some(value));
    assert!(!config.contains_key("pad_token_id"));
    let folder = tempfile::tempdir().unwrap();
    let text = serde_json::to_string(&config).unwrap();
    fs::write(folder.path().join("config.json"), text).unwrap();
    let (weights, file) = (case.join("model.safetensors"), "model.safetensors");
    fs::copy(weights, folder.path().join(file)).unwrap();
    folder
}

#[test]
fn a_config_without_the_keys_that_have_their_defaults_is_the_same_model() {
    for case in cases("model") {
        let expected = Expected::read(&case.join("expected.safetensors"));
        let short = with_defaults_left_out(&case);
        assert_as_transformers(&case.display().to_string(), short.path(), &expected);
    }
}

#[test]
fn a_checkpoint_without_a_head_gets_one_drawn_from_the_seed_alone() {
    let case = cases("model").remove(0);
    let stripped = tempfile::tempdir().unwrap();
    std::fs::copy(
        case.join("config.json"),
        stripped.path().join("config.json"),
    )
    .unwrap();
    let mut tensors = TensorMap::read(&case.join("model.safetensors")).unwrap();
    tensors.0.retain(|name, _| !name.starts_with("classifier"));
    tensors
        .write(&stripped.path().join("model.safetensors"))
        .unwrap();
    let read = |seed| Checkpoint::read(stripped.path(), &Objective::classes(3), seed).unwrap();
    let (one, again, other) = (read(1), read(1), read(2));
    assert!(!one.fresh.is_empty());
    assert_eq!(one.head, again.head);
    assert_ne!(one.head, other.head);
    let weight = one
        .head
        .iter()
        .find(|(name, _)| name.ends_with("weight"))
        .unwrap()
        .1;
    let spread = weight
        .values()
        .iter()
        .map(|x| f64::from(x * x))
        .sum::<f64>();
    let spread = (spread / weight.values().len() as f64).sqrt();
    let config = EncoderConfig::read(&case.join("config.json")).unwrap();
    assert!(
        (spread / config.initializer_range - 1.0).abs() < 0.2,
        "spread {spread}"
    );
}

#[test]
fn half_precision_checkpoints_load_as_float32() {
    let folder = tempfile::tempdir().unwrap();
    let exact = [0.5_f32, -1.25, 3.0];
    let halves: Vec<u8> = exact
        .iter()
        .flat_map(|x| half::bf16::from_f32(*x).to_le_bytes())
        .collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, vec![3], &halves);
    let path = folder.path().join("x.safetensors");
    std::fs::write(
        &path,
        safetensors::serialize([("x", view.unwrap())], None).unwrap(),
    )
    .unwrap();
    assert_eq!(
        TensorMap::read(&path).unwrap().get("x").unwrap().values(),
        exact
    );
}

#[test]
fn a_misshapen_tensor_is_named_with_both_shapes() {
    let case = cases("model").remove(0);
    let checkpoint = Checkpoint::read(&case, &Objective::classes(2), 0).unwrap();
    let weights = all_weights(&checkpoint);
    let config = EncoderConfig::read(&case.join("config.json")).unwrap();
    let wrong = EncoderConfig {
        vocab_size: 7,
        ..config
    };
    let error = classifier(&wrong, &View::new(&weights), 2)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("word_embeddings.weight") && error.contains("[7, "),
        "{error}"
    );
}

#[test]
fn token_types_count_in_a_roberta_that_knows_several() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let types_matter = |known: i64| {
        let json = format!(
            r#"{{"model_type": "roberta", "vocab_size": 20, "hidden_size": 8,
                "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
                "hidden_act": "gelu", "max_position_embeddings": 12, "type_vocab_size": {known},
                "layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.0, "pad_token_id": 1,
                "attention_probs_dropout_prob": 0.0}}"#
        );
        std::fs::write(&file, json).unwrap();
        let architecture = config::read(&file).unwrap();
        let objective = Objective::classes(2);
        let checkpoint = Checkpoint::random(architecture, &objective, 1).unwrap();
        let weights = all_weights(&checkpoint);
        let model = checkpoint
            .architecture
            .build(&View::new(&weights), &objective)
            .unwrap();
        let logits = |types: &[i64]| {
            let inputs = Inputs::new(1, &[0, 5, 6, 2], &[1; 4], types, Device::Cpu).unwrap();
            no_grad(|| model.outputs(&inputs, None).unwrap())
        };
        !logits(&[0, 0, 1, 1]).equal(&logits(&[0; 4]))
    };
    assert!(types_matter(2));
    assert!(!types_matter(1));
}

/// transformers' loss for `multi_label_classification` is torch's `BCEWithLogitsLoss`; here it is
/// written out in float64.
#[test]
fn the_loss_of_several_labels_is_a_mean_over_rows_and_labels_with_its_gradient() {
    let case = &cases("model")[0];
    let checkpoint = Checkpoint::read(case, &Objective::classes(2), 0).unwrap();
    let objective = Objective::Multilabel(vec!["a".into(), "b".into(), "c".into()]);
    let drawn = Checkpoint::random(checkpoint.architecture, &objective, 1).unwrap();
    let weights = all_weights(&drawn);
    let model = drawn
        .architecture
        .build(&View::new(&weights), &objective)
        .unwrap();
    let logits = [2.5_f32, -0.5, 40.0, -40.0, 0.0, 1.5];
    let sets = [1.0_f32, 1.0, 0.0, 0.0, 1.0, 0.0];
    let outputs = Tensor::from_slice(&logits)
        .view([2, 3])
        .set_requires_grad(true);
    let labels = Labels::sets(&sets, 3, Device::Cpu).unwrap();
    let loss = model.loss(&outputs, &labels, 0.0).unwrap();
    let pairs = || {
        let pairs = logits.iter().zip(&sets);
        pairs.map(|(logit, label)| (f64::from(*logit), f64::from(*label)))
    };
    let terms = pairs().map(|(x, y)| x.max(0.0) - x * y + (-x.abs()).exp().ln_1p());
    let expected = terms.sum::<f64>() / 6.0;
    let got = loss.mean.double_value(&[]);
    assert!((got - expected).abs() < 1e-6, "{got}, expected {expected}");
    loss.graph.backward();
    let gradient: Vec<f64> = pairs()
        .map(|(x, y)| (1.0 / (1.0 + (-x).exp()) - y) / 6.0)
        .collect();
    let expected = Tensor::from_slice(&gradient).view([2, 3]);
    assert_close("gradient", &outputs.grad(), &expected, 1e-6);
}
