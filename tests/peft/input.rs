//! Folders that are refused, and what they are told.

use std::fs;

use regatta::adapter::peft::import::PeftFolder;
use regatta::base::tensors::{HostTensor, TensorMap};
use regatta::model::config;
use serde_json::{Value, json};

use crate::folders::Rewritten;
use crate::support::{Place, go_on};

/// What the folder `changed` is refused with on the model.
fn refusal(place: &Place) -> String {
    let model = config::read(&place.path("model/config.json")).unwrap();
    let read = PeftFolder::read(&place.path("changed"));
    read.and_then(|folder| folder.fit(&*model))
        .unwrap_err()
        .to_string()
}

/// Asserts that an adapter with these keys is refused by the file's name and by what is wrong.
fn assert_refused(rewritten: &Rewritten, keys: &Value, wrong: &str) {
    rewritten.write(keys, |_| {});
    let error = refusal(&rewritten.place);
    let file = "changed/adapter_config.json: ";
    assert!(
        error.contains(file) && error.contains(wrong),
        "{keys}: {error}"
    );
}

#[test]
fn a_refusal_names_the_flag_and_the_file_once() {
    let rewritten = Rewritten::of("roberta", "--agg_type fedit");
    for keys in [
        json!({"use_dora": true}),
        json!({"target_modules": ["gate"]}),
    ] {
        rewritten.write(&keys, |_| {});
        let errors = rewritten.refused();
        let place = "error: --init_adapter=changed: changed/adapter_config.json: ";
        assert!(errors.contains(place), "{errors}");
        assert_eq!(errors.matches("error:").count(), 1, "{errors}");
    }
}

#[test]
fn what_regatta_does_not_have_is_refused_by_its_key_and_file() {
    let rewritten = Rewritten::of("roberta", "--agg_type fedit");
    for (key, value) in [
        ("use_dora", json!(true)),
        ("lora_bias", json!(true)),
        ("layer_replication", json!([[0, 2], [1, 2]])),
        ("megatron_config", json!({"tensor_model_parallel_size": 2})),
        ("trainable_token_indices", json!([3])),
        ("target_parameters", json!(["experts.gate_up_proj"])),
        ("arrow_config", json!({"top_k": 3})),
        ("alora_invocation_tokens", json!([7])),
        ("use_qalora", json!(true)),
        ("what_2031_brings", json!("x")),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("init_lora_weights", json!("olora")),
        ("init_lora_weights", json!("loftq")),
        ("init_lora_weights", json!("corda")),
        ("bias", json!("some")),
        ("task_type", json!("TOKEN_CLS")),
        ("peft_type", json!("ADALORA")),
        ("peft_type", json!("IA3")),
        ("r", json!(0)),
        ("r", json!(-4)),
        ("r", json!(4_294_967_296_i64)),
        ("lora_alpha", json!(0)),
        ("lora_alpha", json!(1e300)),
        ("rank_pattern", json!({"query": 0})),
        ("rank_pattern", json!({"(": 4})),
        ("alpha_pattern", json!({"query": -1})),
        ("target_modules", json!("query")),
        ("target_modules", json!(["gate"])),
        ("target_modules", json!("(?P<x")),
        ("exclude_modules", json!(["query", "value"])),
        ("layers_pattern", json!("(")),
    ] {
        let mut keys = json!({key: value});
        if key == "layers_pattern" {
            keys["layers_to_transform"] = json!([0]);
        }
        assert_refused(&rewritten, &keys, key);
    }
    let expression = json!({"target_modules": ".*query", "layers_to_transform": [0]});
    assert_refused(&rewritten, &expression, "layers_to_transform");
}

#[test]
fn a_rank_that_the_tensors_contradict_is_refused_before_memory_is_asked_for() {
    for (kind, tensor) in [("", "lora_A"), ("--vera", "vera_lambda_d")] {
        let rewritten = Rewritten::of("roberta", &format!("{kind} --agg_type fedit --r 4"));
        for r in [3_u32, u32::MAX, 300_000_000] {
            rewritten.write(&json!({"r": r}), |_| {});
            let error = refusal(&rewritten.place);
            assert!(
                error.contains("changed/adapter_model.safetensors"),
                "{error}"
            );
        }
        let line = go_on(&rewritten.place, "changed", kind);
        for line in [line.clone(), line.replacen("run", "check", 1)] {
            let errors = rewritten.place.refuses(&line.replace("--out again", ""));
            assert!(
                errors.contains("r is 300000000") && errors.contains(tensor),
                "{errors}"
            );
        }
    }
    let rewritten = Rewritten::of("roberta", "--agg_type fedit --r 4");
    assert_refused(
        &rewritten,
        &json!({"rank_pattern": {"query": 2_000_000_000}}),
        "rank_pattern",
    );
}

#[test]
fn a_manipulated_rank_in_a_runs_own_folder_does_not_end_its_export() {
    let rewritten = Rewritten::of("roberta", "--vera --agg_type fedit");
    rewritten.write(&json!({"r": 4_000_000_000_u32}), |_| {});
    let place = &rewritten.place;
    fs::copy(
        place.path("changed/adapter_config.json"),
        place.path("run/adapter/adapter_config.json"),
    )
    .unwrap();
    let output = place.regatta("export run --merge --out whole");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("r is 4000000000"), "{errors}");
}

#[test]
fn patterns_that_versions_of_peft_read_differently_are_refused() {
    let rewritten = Rewritten::of("roberta", "--agg_type fedit --r 4");
    let keys = json!({"rank_pattern": {"query": 4}, "alpha_pattern": {"self.query": 3}});
    assert_refused(&rewritten, &keys, "alpha_pattern");
    let mut new = keys;
    new["peft_version"] = json!("0.21.2");
    rewritten.write(&new, |_| {});
    rewritten
        .place
        .accepts(&go_on(&rewritten.place, "changed", ""));
}

#[test]
fn tensors_that_have_no_place_are_refused_with_their_file() {
    let rewritten = Rewritten::of("roberta", "--agg_type fedit");
    let layer = "base_model.model.roberta.encoder.layer.0";
    for (name, wrong) in [
        (
            format!("{layer}.attention.self.key.lora_A.weight"),
            "target_modules",
        ),
        (
            format!("{layer}.attention.self.query.lora_magnitude_vector"),
            "lora_magnitude_vector",
        ),
        (
            "base_model.model.roberta.embeddings.word_embeddings.lora_embedding_A".to_owned(),
            "lora_embedding_A",
        ),
        (
            "base_model.model.classifier.dense.lora_A.weight".to_owned(),
            "classification head",
        ),
        (
            format!("{layer}.attention.self.query.lora_B.bias"),
            "lora_B.bias",
        ),
        ("model.some.weight".to_owned(), "does not begin with"),
    ] {
        rewritten.write(&json!({}), |tensors| {
            tensors.insert(&name, HostTensor::full(&[4, 32], 0.5));
        });
        let error = refusal(&rewritten.place);
        let file = error.contains("changed/adapter_model.safetensors: ");
        assert!(file && error.contains(wrong), "{name}: {error}");
    }
}

#[test]
fn a_tensor_beside_the_adapter_that_nobody_trained_must_be_the_models() {
    let rewritten = Rewritten::of("roberta", "--agg_type fedit");
    let place = &rewritten.place;
    let model = TensorMap::read(&place.path("model/model.safetensors")).unwrap();
    let name = "embeddings.word_embeddings.weight";
    let add = |change: f32| {
        rewritten.write(&json!({}), |tensors| {
            let mut table = model.get(name).unwrap().clone();
            table.values_mut()[0] += change;
            tensors.insert(format!("base_model.model.roberta.{name}"), table);
        });
    };
    add(0.0);
    rewritten.assert_goes_on("", "embeddings as they are");
    add(0.5);
    let errors = rewritten.refused();
    let file = errors.contains("changed/adapter_model.safetensors: ");
    assert!(file && errors.contains("modules_to_save"), "{errors}");
}

#[test]
fn pickles_are_refused_with_the_line_that_converts_them() {
    let rewritten = Rewritten::of("roberta", "--agg_type fedit");
    rewritten.write(&json!({}), |_| {});
    let place = &rewritten.place;
    let file = |name: &str| place.path(name);
    fs::rename(
        file("changed/adapter_model.safetensors"),
        file("changed/adapter_model.bin"),
    )
    .unwrap();
    let errors = rewritten.refused();
    let line = "torch.load('adapter_model.bin', map_location='cpu', weights_only=True)";
    assert!(
        errors.contains("python3 -c ") && errors.contains(line),
        "{errors}"
    );
    assert!(
        errors.contains("'adapter_model.safetensors', {'format': 'pt'})\""),
        "{errors}"
    );
    fs::remove_file(file("changed/adapter_model.bin")).unwrap();
    assert!(
        rewritten
            .refused()
            .contains("changed/adapter_model.safetensors")
    );
    let place = Place::new("bert");
    fs::rename(
        place.path("model/model.safetensors"),
        place.path("model/pytorch_model.bin"),
    )
    .unwrap();
    let errors = place.refuses(place.run());
    assert!(
        errors.contains("torch.load('pytorch_model.bin'"),
        "{errors}"
    );
}

#[test]
fn a_configuration_that_is_no_json_or_of_other_types_is_refused_with_its_line() {
    let rewritten = Rewritten::of("roberta", "--agg_type fedit");
    rewritten.write(&json!({}), |_| {});
    let path = rewritten.place.path("changed/adapter_config.json");
    for text in [
        "",
        "{",
        "[]",
        "null",
        "{\"peft_type\": \"LORA\"}",
        "\u{feff}{}",
        "{\"peft_type\": \"LORA\", \"r\": \"four\"}",
        "{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [1]}",
        "{\"peft_type\": \"LORA\", \"r\": 4, \"layers_to_transform\": \"x\"}",
        "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": NaN}",
    ] {
        fs::write(&path, text).unwrap();
        let error = refusal(&rewritten.place);
        assert!(
            error.contains("changed/adapter_config.json: "),
            "{text}: {error}"
        );
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(refusal(&rewritten.place).contains("changed/adapter_config.json: "));
}
