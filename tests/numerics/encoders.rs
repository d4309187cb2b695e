//! Encoders of all families against transformers and PEFT: `tests/fixtures/encoders/make.py` makes
//! the values.

use std::path::{Path, PathBuf};

use regatta::adapter::initial_state;
use regatta::adapter::settings::{AdapterKind, AdapterPlan};
use regatta::base::tensors::{HostTensor, TensorMap};
use regatta::model::architecture::Model;
use regatta::model::config;
use regatta::model::config::encoder::architecture::classifier;
use regatta::model::encoder::config::EncoderConfig;
use regatta::model::encoder::deberta::DebertaConfig;
use regatta::model::encoder::distilbert::DistilBertConfig;
use regatta::model::encoder::modernbert::ModernBertConfig;
use regatta::model::heads::classifier::Classifier;
use regatta::model::loss::Labels;
use regatta::model::objective::Objective;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::weights::{View, Weights};
use regatta::train::replica::{Replica, RoundModel};
use tch::{Device, Kind, no_grad};

use crate::adapters::{check_training, golden_adapted};
use crate::models::{all_weights, golden_inputs};
use crate::support::{Expected, assert_close};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders")
}

/// The folders of the models.
pub fn encoders() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(fixtures()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = paths.filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(folders.len() > 5);
    folders
}

/// Scores where there is one output, as transformers has it.
fn objective(expected: &Expected) -> Objective {
    match expected.get("logits").size()[1] {
        1 => Objective::Score,
        outputs => Objective::classes(outputs as usize),
    }
}

fn labels(expected: &Expected) -> Labels {
    Labels::Rows(expected.get("labels").to_kind(Kind::Float))
}

fn model(folder: &Path, objective: &Objective) -> Classifier {
    let checkpoint = Checkpoint::read(folder, objective, 0).unwrap();
    let fresh = &checkpoint.fresh;
    assert!(fresh.is_empty(), "{}: {fresh:?}", folder.display());
    let (weights, file) = (all_weights(&checkpoint), folder.join("config.json"));
    let (root, outputs) = (View::new(&weights), objective.outputs());
    match checkpoint.architecture.name() {
        "distilbert" => classifier(&DistilBertConfig::read(&file).unwrap(), &root, outputs),
        "modernbert" => classifier(&ModernBertConfig::read(&file).unwrap(), &root, outputs),
        "deberta" | "deberta-v2" => {
            classifier(&DebertaConfig::read(&file).unwrap(), &root, outputs)
        }
        _ => classifier(&EncoderConfig::read(&file).unwrap(), &root, outputs),
    }
    .unwrap()
}

#[test]
fn encoders_give_the_hidden_states_logits_and_losses_of_transformers() {
    for folder in encoders() {
        let name = folder.display();
        let expected = Expected::read(&folder.join("expected.safetensors"));
        let model = model(&folder, &objective(&expected));
        let inputs = golden_inputs(&expected);
        let (hidden, logits, in_short) = no_grad(|| {
            let hidden = model.hidden(&inputs, None).unwrap();
            let logits = model.head(&hidden, &inputs, None).unwrap();
            (hidden, logits, model.outputs(&inputs, None).unwrap())
        });
        let hidden = hidden * expected.get("attention_mask").unsqueeze(-1);
        let loss = model.loss(&logits, &labels(&expected), 0.0).unwrap();
        for (what, got, key) in [
            ("hidden states", &hidden, "last_hidden"),
            ("logits of all tokens", &logits, "logits"),
            ("logits of what the head reads", &in_short, "logits"),
            ("loss", &loss.mean.view([1]), "loss"),
        ] {
            assert_close(&format!("{name}: {what}"), got, expected.get(key), 1e-5);
        }
    }
}

#[test]
fn encoders_with_adapters_give_the_gradients_and_steps_of_peft() {
    for folder in encoders() {
        let expected = Expected::read(&folder.join("trained.safetensors"));
        let objective = objective(&expected);
        let replica = golden_adapted(&folder, &folder, &objective);
        let (inputs, labels) = (golden_inputs(&expected), labels(&expected));
        let name = folder.display().to_string();
        check_training(&name, &replica, &expected, &inputs, &labels, 1e-3);
    }
}

/// What stands in `config.json` is what a model is known by; written out, it is the same model.
#[test]
fn a_configuration_that_is_written_is_read_as_the_same() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("config.json");
    for folder in encoders() {
        let read = config::read(&folder.join("config.json")).unwrap();
        let text = serde_json::Value::from(read.to_json()).to_string();
        std::fs::write(&file, text).unwrap();
        let again = config::read(&file).unwrap();
        assert_eq!(format!("{read:?}"), format!("{again:?}"));
        assert_eq!(read.fingerprint(), again.fingerprint());
    }
}

/// DeBERTa's layers for queries and keys are computed twice in a pass: of content and of positions.
/// A gradient that is written by hand must have both.
#[test]
fn the_gradient_of_sorf_vera_is_whole_where_a_layer_is_computed_twice() {
    let folder = fixtures().join("deberta-v3");
    let expected = Expected::read(&folder.join("expected.safetensors"));
    let (objective, inputs) = (objective(&expected), golden_inputs(&expected));
    let checkpoint = Checkpoint::read(&folder, &objective, 0).unwrap();
    let architecture = &*checkpoint.architecture;
    let mut layers = architecture.linear_layers();
    layers.retain(|layer| layer.module.ends_with("query_proj"));
    let plan = AdapterPlan {
        init_weights: false,
        ..AdapterPlan::plain(AdapterKind::SorfVera, 4)
    };
    let adapter = plan.build(&layers).unwrap();
    let base = Weights::from_map(&checkpoint.base, Device::Cpu).unwrap();
    let replica = |own: &TensorMap| {
        let mut own = own.clone();
        own.0.extend(checkpoint.head.0.clone());
        let shared = RoundModel::new(base.clone(), &own, &*adapter, &layers, Device::Cpu).unwrap();
        let own = shared.state.clone();
        Replica::new(&shared, architecture, &objective, &layers, own, |_| true).unwrap()
    };
    let loss = |replica: &Replica| {
        let outputs = replica.model.outputs(&inputs, None).unwrap();
        replica
            .model
            .loss(&outputs, &labels(&expected), 0.0)
            .unwrap()
    };
    let own = initial_state(&*adapter, &layers, 5, 0);
    let at = replica(&own);
    at.backward(&loss(&at).graph).unwrap();
    let gradients = at.gradients().unwrap();
    let step = 1e-2;
    let mut checked = 0;
    for (name, gradient) in gradients.iter().filter(|(name, _)| own.get(name).is_some()) {
        let moved = |by: f64| {
            let mut own = own.clone();
            let tensor = own.get(name).unwrap().to_tensor(Device::Cpu).unwrap();
            let moved = &tensor + gradient / gradient.norm() * by;
            own.insert(*name, HostTensor::from_tensor(&moved).unwrap());
            loss(&replica(&own)).mean.double_value(&[])
        };
        let norm = gradient.norm().double_value(&[]);
        let found = (moved(step) - moved(-step)) / (2.0 * step);
        if norm > 1e-3 {
            assert!((found / norm - 1.0).abs() < 0.02, "{name}: {found} {norm}");
            checked += 1;
        }
    }
    assert!(checked > 1, "{gradients:?}");
}
