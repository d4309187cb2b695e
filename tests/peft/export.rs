use regatta::adapter::lora;
use regatta::adapter::peft::import::PeftFolder;
use regatta::adapter::population::{LayerGroup, WeightedUpdates};
use regatta::adapter::settings::AdapterKind;
use regatta::model::architecture::Architecture;
use regatta::model::config;
use regatta::runs::export::trained::TrainedModel;
use tch::{Device, Kind, Tensor};

use crate::support::{Place, RUNS, adapter_of, objective, relative_error, whole};

#[test]
fn exported_adapters_and_merged_models_have_the_loss_that_the_run_reports() {
    for (name, family, flags) in RUNS {
        let place = Place::new(family);
        place.check_exports(name, flags);
    }
}

#[test]
fn training_is_visible_in_what_is_compared() {
    let place = Place::new("bert");
    place.train("--agg_type fedex --bias all");
    place.accepts("export run");
    let folder = place.path("run/peft");
    let whole = PeftFolder::read(&folder).unwrap();
    let with = place.predict(|| place.adapted(&folder));
    for part in [
        "base_delta",
        "lora_B",
        "output.dense.bias",
        "pooler",
        "classifier",
    ] {
        let mut without = whole.clone();
        let zero = |tensor: &mut regatta::base::tensors::HostTensor| tensor.values_mut().fill(0.0);
        if part == "base_delta" {
            without.base_delta.0.values_mut().for_each(zero);
        }
        let named = without.tensors.0.iter_mut();
        named
            .filter(|(name, _)| name.contains(part))
            .for_each(|(_, tensor)| zero(tensor));
        let checkpoint = regatta::model::source::checkpoint::Checkpoint::read(
            &place.path("model"),
            &objective(),
            999,
        )
        .unwrap();
        let logits = place.predict(|| crate::support::adapted(&checkpoint, &without, &objective()));
        let change = relative_error(&logits.logits, &with.logits);
        assert!(change > 1e-4, "without {part}: {change:e}");
    }
}

/// ΔW of every adapted layer, (d_out, d_in), in the order of the forward pass.
fn updates(peft: &PeftFolder, model: &dyn Architecture) -> Vec<Tensor> {
    let (layers, adapter) = adapter_of(peft, model);
    let tensors = &peft.tensors;
    let own = WeightedUpdates::of_one(tensors, &tensors, Device::Cpu);
    let of_layer = |layer| {
        let group = LayerGroup::of(&[layer]).remove(0);
        let factors = adapter.factors(&group, &own).unwrap();
        factors.product().unwrap().get(0)
    };
    layers.into_iter().map(of_layer).collect()
}

fn assert_same_updates(left: &[Tensor], right: &[Tensor]) {
    assert!(!left.is_empty());
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        let norm = |x: Tensor| (&x * &x).sum(Kind::Double).sqrt().double_value(&[]);
        let (gap, size) = (norm(left - right), norm(right.shallow_clone()));
        assert!(gap < 1e-6 * size && size > 0.0, "{gap:e} of {size:e}");
    }
}

#[test]
fn sorf_vera_is_exported_as_a_lora_of_the_same_update() {
    let place = Place::new("roberta");
    place.train("--agg_type sorf_vera --r 6 --target_modules value,intermediate.dense");
    place.accepts("export run");
    let (run, exported) = (place.path("run/adapter"), place.path("run/peft"));
    let (run, exported) = [run, exported]
        .map(|f| PeftFolder::read(&f).unwrap())
        .into();
    assert_eq!(run.config.peft_type, AdapterKind::SorfVera);
    assert_eq!(exported.config.peft_type, AdapterKind::Lora);
    assert_eq!(exported.config.lora_alpha, Some(6.0));
    let factor = format!("roberta.encoder.layer.1.intermediate.dense.{}", lora::B);
    assert_eq!(exported.tensors.get(&factor).unwrap().shape(), [48, 6]);
    assert!(
        exported
            .tensors
            .iter()
            .all(|(name, _)| !name.contains("sorf"))
    );
    let model = config::read(&place.path("model/config.json")).unwrap();
    assert_same_updates(&updates(&exported, &*model), &updates(&run, &*model));
}

#[test]
fn a_merged_model_says_what_it_classifies() {
    let place = Place::new("bert");
    place.train("--agg_type fedex");
    place.accepts("export run --merge --format peft");
    let text = std::fs::read_to_string(place.path("run/merged/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["architectures"][0], "BertForSequenceClassification");
    assert_eq!(config["problem_type"], "single_label_classification");
    assert_eq!(config["id2label"]["1"], "not_entailment");
    assert_eq!(config["label2id"]["entailment"], 0);
    assert_eq!(config["torch_dtype"], "float32");
    assert_eq!(config["hidden_size"], 32);
    let tokenizer = |folder| std::fs::read(place.path(folder).join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer("run/merged"), tokenizer("model"));
}

#[test]
fn a_target_that_peft_would_find_outside_the_encoder_is_spelled_out() {
    let place = Place::new("roberta");
    place.train("--agg_type fedit --target_modules dense --layers_to_transform 1");
    let folder = PeftFolder::read(&place.path("run/adapter")).unwrap();
    let targets = folder.config.target_modules.unwrap();
    let mut modules = targets.to_vec();
    modules.sort();
    let layer = "roberta.encoder.layer.1";
    let expected = [
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ];
    assert_eq!(modules, expected.map(|module| format!("{layer}.{module}")));
    assert_eq!(folder.config.layers_to_transform, None);
}

#[test]
fn all_linear_layers_are_spelled_out_without_a_pooler_that_is_drawn() {
    let place = Place::new("bert");
    place.train("--agg_type fedex --target_modules all-linear");
    let scenario = std::fs::read_to_string(place.path("run/scenario.toml")).unwrap();
    assert!(
        scenario.contains("target_modules = \"all-linear\""),
        "{scenario}"
    );
    let folder = PeftFolder::read(&place.path("run/adapter")).unwrap();
    let modules = folder.config.target_modules.unwrap().to_vec();
    assert_eq!(modules.len(), 12);
    assert!(
        modules
            .iter()
            .all(|module| module.starts_with("bert.encoder.layer.")),
        "{modules:?}"
    );
    place.accepts("export run --merge --out whole");
    let merged = place.predict(|| whole(&place.path("whole"))).loss;
    let reported = place.reported_loss("run");
    assert!(
        (merged - reported).abs() < 1e-5 * reported,
        "{merged} {reported}"
    );
}

#[test]
fn a_trained_bias_of_an_adapted_layer_lies_in_the_layer_that_peft_wraps() {
    let place = Place::new("roberta");
    place.train("--agg_type fedit --bias all --layers_to_transform 1");
    let file = place.path("run/adapter/adapter_model.safetensors");
    let saved = regatta::base::tensors::TensorMap::read(&file).unwrap();
    let layer = |n: u32| format!("base_model.model.roberta.encoder.layer.{n}.attention.self");
    for name in [
        format!("{}.query.base_layer.bias", layer(1)),
        format!("{}.key.bias", layer(1)),
        format!("{}.query.bias", layer(0)),
    ] {
        assert!(saved.get(&name).is_some(), "no {name}");
    }
}

#[test]
fn the_best_model_is_exported_where_an_earlier_round_made_it() {
    let place = Place::new("roberta");
    place.train("--agg_type fedit");
    let last = TrainedModel::of_run(&place.path("run"), false).unwrap();
    let best = TrainedModel::of_run(&place.path("run"), true).unwrap();
    assert_eq!(
        best.folder.path.ends_with("best/adapter"),
        place.path("run/best").is_dir()
    );
    // A run with its own best model, whichever round was best in this one.
    let elsewhere = place.path("run/best/adapter");
    std::fs::create_dir_all(&elsewhere).unwrap();
    let mut other = last.folder.clone();
    other
        .tensors
        .0
        .values_mut()
        .for_each(|t| t.values_mut().fill(0.5));
    regatta::adapter::peft::export::AdapterFiles::from(other)
        .write(&elsewhere)
        .unwrap();
    place.accepts("export run --best --out chosen");
    let chosen = PeftFolder::read(&place.path("chosen")).unwrap();
    assert!(
        chosen
            .tensors
            .iter()
            .all(|(_, t)| t.values().iter().all(|v| *v == 0.5))
    );
}

#[test]
fn a_delta_lies_beside_the_adapter_with_a_note_of_how_to_apply_it() {
    let place = Place::new("roberta");
    place.train("--agg_type fedex");
    let said = place.accepts("export run --out out");
    assert!(said.contains("--merge"), "{said}");
    let note = std::fs::read_to_string(place.path("out/README.md")).unwrap();
    assert!(
        note.contains("model.get_parameter(name).data += delta"),
        "{note}"
    );
    for paper in ["LoRA: Hu et al., ", "FedEx-LoRA: Singhal et al., "] {
        assert!(note.contains(paper), "{note}");
    }
    let delta = |path| std::fs::read(place.path(path)).unwrap();
    assert_eq!(
        delta("out/base_delta.safetensors"),
        delta("run/base_delta.safetensors")
    );
}

#[test]
fn an_adapter_that_changes_no_base_weight_comes_without_a_delta() {
    let place = Place::new("roberta");
    place.train("--agg_type fedit");
    place.accepts("export run --out out");
    assert!(!place.path("out/base_delta.safetensors").exists());
    let note = std::fs::read_to_string(place.path("out/README.md")).unwrap();
    assert!(!note.contains("delta"), "{note}");
}
