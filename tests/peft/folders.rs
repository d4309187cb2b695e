//! Adapters in all the forms in which versions of PEFT write them.

use std::fs;
use std::path::Path;

use regatta::adapter::peft::import::PeftFolder;
use regatta::base::tensors::{HostTensor, TensorMap};
use regatta::model::config;
use serde_json::{Map, Value, json};

use crate::support::{Place, go_on};

/// A run whose adapter is written again in other forms.
pub struct Rewritten {
    pub place: Place,
    config: Map<String, Value>,
    tensors: TensorMap,
}

impl Rewritten {
    pub fn of(family: &str, flags: &str) -> Self {
        let place = Place::new(family);
        place.train(flags);
        Self::of_run(place)
    }

    fn of_run(place: Place) -> Self {
        let text = fs::read_to_string(place.path("run/adapter/adapter_config.json")).unwrap();
        let tensors = TensorMap::read(&place.path("run/adapter/adapter_model.safetensors"));
        Self {
            place,
            config: serde_json::from_str(&text).unwrap(),
            tensors: tensors.unwrap(),
        }
    }

    /// Writes the adapter with other keys and tensors into `changed`.
    pub fn write(&self, keys: &Value, change: impl FnOnce(&mut TensorMap)) {
        let folder = self.place.path("changed");
        fs::create_dir_all(&folder).unwrap();
        let mut config = self.config.clone();
        config.extend(keys.as_object().unwrap().clone());
        let text = Value::Object(config).to_string();
        fs::write(folder.join("adapter_config.json"), text).unwrap();
        let mut tensors = self.tensors.clone();
        change(&mut tensors);
        tensors
            .write(&folder.join("adapter_model.safetensors"))
            .unwrap();
    }

    /// Asserts that a model with the adapter written last has the loss that the run ended with.
    fn assert_same(&self, what: &str) {
        let changed = self.place.path("changed");
        let after = self.place.predict(|| self.place.adapted(&changed)).loss;
        let before = self.place.reported_loss("run");
        assert!((before - after).abs() < 2e-6, "{what}: {before} {after}");
    }

    /// Asserts the same of a run that starts from it.
    pub fn assert_goes_on(&self, flags: &str, what: &str) {
        let again = self.place.path("again");
        if again.exists() {
            fs::remove_dir_all(&again).unwrap();
        }
        self.place.accepts(&go_on(&self.place, "changed", flags));
        let (before, after) = (
            self.place.reported_loss("run"),
            self.place.reported_loss("again"),
        );
        assert!((before - after).abs() < 2e-6, "{what}: {before} {after}");
    }

    /// What the adapter written last is refused with.
    pub fn refused(&self) -> String {
        self.place.refuses(&go_on(&self.place, "changed", ""))
    }
}

/// Renames what `from` is found in.
fn rename(tensors: &mut TensorMap, from: &str, to: &str) {
    let all = std::mem::take(&mut tensors.0).into_iter();
    tensors.0 = all.map(|(name, t)| (name.replace(from, to), t)).collect();
}

#[test]
fn wrappers_are_unwrapped_with_and_without_an_adapters_name() {
    let rewritten = Rewritten::of("roberta", "--agg_type fedit --bias all");
    let junk = |tensors: &mut TensorMap, name: &str| {
        let bias = tensors.get("base_model.model.classifier.dense.bias");
        let junk = HostTensor::full(bias.unwrap().shape(), 9.0);
        tensors.insert(
            format!("base_model.model.classifier.{name}.dense.bias"),
            junk,
        );
    };
    for wrapper in [
        "modules_to_save",
        "modules_to_save.default",
        "modules_to_save.mine",
    ] {
        rewritten.write(&json!({}), |tensors| {
            junk(tensors, "original_module");
            junk(tensors, wrapper);
        });
        rewritten.assert_goes_on("", &format!("{wrapper} beside the name"));
        rewritten.write(&json!({}), |tensors| {
            rename(tensors, ".classifier.", &format!(".classifier.{wrapper}."));
            let bias = "base_model.model.classifier.original_module.dense.bias";
            let shape = [32];
            tensors.insert(bias, HostTensor::full(&shape, 9.0));
        });
        rewritten.assert_goes_on("", &format!("{wrapper} alone"));
    }
    rewritten.write(&json!({}), |tensors| rename(tensors, ".base_layer.", "."));
    rewritten.assert_goes_on("", "without base_layer");
    rewritten.write(&json!({}), |tensors| {
        rename(tensors, "lora_A.weight", "lora_A.mine.weight");
    });
    rewritten.assert_goes_on("", "with the adapter's name");
}

#[test]
fn targets_mean_the_same_in_all_the_words_that_peft_has_for_them() {
    let query_value = [
        json!({"target_modules": r".*\.attention\.self\.(query|value)"}),
        json!({"target_modules": null}),
        json!({"target_modules": ["query", "value", "q_proj", "classifier.out_proj"]}),
        json!({"layers_to_transform": []}),
        json!({"layers_to_transform": [0, 1, 7]}),
        json!({"layers_to_transform": [0, 1], "layers_pattern": "encoder.layer"}),
        json!({"layers_to_transform": [0, 1], "layers_pattern": ["h", "layer"]}),
        json!({"layers_to_transform": [0, 1], "layers_pattern": []}),
        json!({"target_modules": "all-linear", "exclude_modules": r".*(dense|key)"}),
        json!({"target_modules": ["query", "key", "value"], "exclude_modules": ["key"]}),
    ];
    let rewritten = Rewritten::of("roberta", "--agg_type fedit");
    for keys in query_value {
        rewritten.write(&keys, |_| {});
        rewritten.assert_same(&keys.to_string());
    }
    rewritten.write(&json!({"target_modules": r".*\.(query|value)"}), |_| {});
    rewritten.assert_goes_on("--target_modules value,query", "a flag that says the same");
    let rewritten = Rewritten::of(
        "roberta",
        "--agg_type fedit --target_modules query,key,value,dense",
    );
    let modules: Vec<String> = rewritten.config["target_modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap().to_owned())
        .chain([
            "classifier.dense".to_owned(),
            "classifier.out_proj".to_owned(),
        ])
        .collect();
    for keys in [
        json!({"target_modules": modules}),
        json!({"target_modules": "ALL-LINEAR"}),
        json!({"target_modules": ["dense", "query", "key", "value"]}),
    ] {
        rewritten.write(&keys, |_| {});
        rewritten.assert_same(&keys.to_string());
    }
}

#[test]
fn keys_without_effect_are_passed_over() {
    let rewritten = Rewritten::of("bert", "--vera --agg_type fedit");
    let keys = json!({
        "peft_version": "0.21.2", "fan_in_fan_out": true, "init_weights": false,
        "auto_mapping": {"base_model_class": "X"}, "revision": "main", "task_type": null,
        "modules_to_save": ["classifier", "score", "gate"], "megatron_core": "megatron.core",
    });
    rewritten.write(&keys, |_| {});
    rewritten.assert_goes_on("--vera", "VeRA");
}

#[test]
fn parts_of_the_head_may_be_all_that_was_saved() {
    let place = Place::new("roberta");
    place.accepts(&format!(
        "{} --rounds 1 --lr 1e-12 --agg_type fedit --out run",
        place.run()
    ));
    let rewritten = Rewritten::of_run(place);
    for saved in [json!(["classifier.dense"]), json!(null), json!(["score"])] {
        let keys = json!({"modules_to_save": saved, "task_type": null});
        rewritten.write(&keys, |tensors| {
            tensors
                .0
                .retain(|name, _| !name.contains("classifier.out_proj"));
        });
        rewritten.assert_goes_on("", &keys.to_string());
    }
}

#[test]
fn modules_saved_in_full_are_named_as_pefts_endings_or_by_parts_of_their_path() {
    let flags = "--agg_type fedit --modules_to_save layer.1.output.LayerNorm";
    let rewritten = Rewritten::of("roberta", flags);
    for name in ["1.output.LayerNorm", "ayer.1.output.LayerNorm", "LayerNorm"] {
        rewritten.write(&json!({"modules_to_save": ["classifier", name]}), |_| {});
        rewritten.assert_goes_on("", name);
        let again = PeftFolder::read(&rewritten.place.path("again/adapter")).unwrap();
        let norm = |layer| format!("roberta.encoder.layer.{layer}.output.LayerNorm.weight");
        assert!(again.tensors.get(&norm(1)).is_some(), "{name}");
        assert!(again.tensors.get(&norm(0)).is_none(), "{name}");
    }
}

/// Pads A and B of a module to a rank with zeros, and divides B so that a scaling that is greater
/// by `factor` leaves the product alone.
fn widen(tensors: &mut TensorMap, module: &str, rank: usize, factor: f32) {
    let name = |part: &str| format!("base_model.model.roberta.{module}.lora_{part}.weight");
    let (a, b) = (name("A"), name("B"));
    let old = tensors.get(&a).unwrap().clone();
    let width = old.shape()[1] as usize;
    let mut values = old.values().to_vec();
    values.resize(rank * width, 0.0);
    tensors.insert(
        a,
        HostTensor::new(vec![rank as i64, width as i64], values).unwrap(),
    );
    let old = tensors.get(&b).unwrap().clone();
    let (height, r) = (old.shape()[0], old.shape()[1] as usize);
    let mut values = Vec::new();
    for row in old.values().chunks(r) {
        values.extend(row.iter().map(|value| value / factor));
        values.resize(values.len() + rank - r, 0.0);
    }
    tensors.insert(
        b,
        HostTensor::new(vec![height, rank as i64], values).unwrap(),
    );
}

/// A LoRA with layers of another rank, of another α, and of both.
pub fn of_several_ranks() -> Rewritten {
    // α/r is 8/4 and 16/8 where both differ, 24/8 and 20/4 where one does.
    let rewritten = Rewritten::of("roberta", "--agg_type fedit --r 4 --lora_alpha 8");
    let module = |layer: u32, name: &str| format!("encoder.layer.{layer}.attention.self.{name}");
    let keys = json!({
        "rank_pattern": {r"layer\.0\.attention\.self\.query": 8, "1.attention.self.value": 8},
        "alpha_pattern": {
            r"layer\.0\.attention\.self\.query": 16, "1.attention.self.value": 24,
            "layer.1.attention.self.query": 20,
        },
    });
    let change = |tensors: &mut TensorMap| {
        widen(tensors, &module(0, "query"), 8, 1.0);
        widen(tensors, &module(1, "value"), 8, 1.5);
        widen(tensors, &module(1, "query"), 4, 2.5);
    };
    rewritten.write(&keys, change);
    rewritten
}

#[test]
fn layers_of_other_ranks_and_alphas_are_trained_merged_and_exported_as_such() {
    let rewritten = of_several_ranks();
    rewritten.assert_goes_on("", "ranks and alphas");
    let place = &rewritten.place;
    for (method, flags) in [
        ("normal", ""),
        ("ours", "--bias lora_only"),
        ("fedsvd", ""),
        ("flora", ""),
    ] {
        let (run, out, whole) = (
            format!("of-{method}"),
            format!("out-{method}"),
            format!("whole-{method}"),
        );
        place.accepts(&format!(
            "{} --rounds 2 --lr 0.02 --init_adapter changed --agg_type {method} --out {run} \
             {flags}",
            place.run()
        ));
        place.accepts(&format!("export {run} --out {out}"));
        place.accepts(&format!("export {run} --merge --out {whole}"));
        let reported = place.reported_loss(&run);
        let adapted = place.predict(|| place.adapted(&place.path(&out))).loss;
        let merged = place
            .predict(|| crate::support::whole(&place.path(&whole)))
            .loss;
        for loss in [adapted, merged] {
            assert!(
                (loss - reported).abs() < 1e-5 * reported,
                "{method}: {loss} {reported}"
            );
        }
        assert_ranks(&place.path(&out), &place.path("model/config.json"));
    }
    let ranks = place.refuses(&go_on(place, "changed", "--agg_type flora --ranks 2,4"));
    assert!(ranks.contains("ranks"), "{ranks}");
}

/// Asserts the ranks and alphas of an exported folder.
fn assert_ranks(folder: &Path, config: &Path) {
    let model = config::read(config).unwrap();
    let fit = PeftFolder::read(folder).unwrap().fit(&*model).unwrap();
    assert_eq!((fit.common.r, fit.common.alpha), (4, 8.0));
    let own = fit.own.iter();
    let own: Vec<_> = own
        .map(|(module, own)| {
            (
                module.replace("roberta.encoder.layer.", ""),
                own.r,
                own.alpha,
            )
        })
        .collect();
    let expected = [
        ("0.attention.self.query", 8, 16.0),
        ("1.attention.self.query", 4, 20.0),
        ("1.attention.self.value", 8, 24.0),
    ];
    assert_eq!(
        own,
        expected.map(|(name, r, alpha)| (name.to_owned(), r, alpha))
    );
}

#[test]
fn patterns_that_all_layers_share_give_one_rank() {
    let rewritten = Rewritten::of("roberta", "--agg_type fedit --r 4 --lora_alpha 8");
    let keys = json!({
        "r": 16, "lora_alpha": 1,
        "rank_pattern": {"query": 4, "value": 4}, "alpha_pattern": {"query": 8, "value": 8},
    });
    rewritten.write(&keys, |_| {});
    rewritten.assert_goes_on("", "one rank");
    let scenario = fs::read_to_string(rewritten.place.path("again/scenario.toml")).unwrap();
    assert!(
        scenario.contains("r = 4") && scenario.contains("lora_alpha = 8"),
        "{scenario}"
    );
}

#[test]
fn an_adapter_on_berts_pooler_is_trained_and_exported() {
    let rewritten = Rewritten::of("bert", "--agg_type fedit --r 2");
    let place = &rewritten.place;
    // The tiny BERT comes without a pooler, on which an adapter would mean nothing.
    let keys = json!({
        "target_modules": ["query", "value", "pooler.dense"],
        "modules_to_save": ["classifier", "score"],
    });
    let pooler = |tensors: &mut TensorMap| {
        for (part, shape) in [("A", [2, 32]), ("B", [32, 2])] {
            let name = format!("base_model.model.bert.pooler.dense.lora_{part}.weight");
            let mut tensor = HostTensor::full(&shape, 0.0);
            let values = tensor.values_mut().iter_mut().enumerate();
            values.for_each(|(i, value)| *value = (i as f32).sin() * 0.2);
            tensors.insert(name, tensor);
        }
        tensors.0.retain(|name, _| {
            !name.contains("pooler.dense.weight") && !name.contains("pooler.dense.bias")
        });
    };
    rewritten.write(&keys, pooler);
    let errors = place.refuses(&go_on(place, "changed", ""));
    assert!(errors.contains("bert.pooler.dense"), "{errors}");
    place.accepts("export run --merge --out model-with-pooler");
    let run = place
        .run()
        .replace("--model model", "--model model-with-pooler");
    place.accepts(&format!(
        "{run} --rounds 1 --lr 0.02 --agg_type fedex --init_adapter changed --out run2"
    ));
    place.accepts("export run2 --merge --out whole");
    place.accepts("export run2 --out out");
    let whole = place
        .predict(|| crate::support::whole(&place.path("whole")))
        .loss;
    let reported = place.reported_loss("run2");
    assert!(
        (whole - reported).abs() < 1e-5 * reported,
        "{whole} {reported}"
    );
    let out = PeftFolder::read(&place.path("out")).unwrap();
    let name = "bert.pooler.dense.lora_B.weight";
    let changed = PeftFolder::read(&place.path("changed")).unwrap();
    assert!(out.tensors.get(name).is_some() && out.tensors.get(name) != changed.tensors.get(name));
}
