//! Adapters on decoders: trained, merged, and written as PEFT and transformers load them.

use std::fs;
use std::path::Path;

use regatta::adapter::peft::import::PeftFolder;
use regatta::base::tensors::TensorMap;
use regatta::model::objective::Objective;
use regatta::runs::export::trained::TrainedModel;
use serde_json::{Value, json};
use tch::Tensor;

use crate::support::relative_error;
use crate::text::{DECODERS, Desk};

/// Every kind of adapter.
pub const KINDS: [(&str, &str); 5] = [
    ("lora", "r = 3"),
    ("rslora", "r = 3\nrslora = true\nlora_alpha = 5.0"),
    ("vera", "adapter = \"vera\"\nr = 6"),
    (
        "rsvera",
        "adapter = \"vera\"\nr = 6\nrsvera = true\nlora_alpha = 7.0",
    ),
    ("sorf", "adapter = \"sorf_vera\"\nr = 4"),
];

/// Layers that are square and layers that are not, named in all three ways.
pub fn targets(decoder: &str) -> [&'static str; 3] {
    match decoder {
        "gpt2" => [
            r#"target_modules = ["c_attn", "attn.c_proj", "mlp.c_proj"]"#,
            r#"target_modules = "all-linear""#,
            r"target_modules = 'regex:.*\.(attn|mlp)\.c_proj'",
        ],
        _ => [
            "target_modules = \"q_proj,v_proj\"\nlayers_to_transform = [1]",
            r#"target_modules = "all-linear""#,
            r"target_modules = 'regex:.*\.(k|o|down)_proj'",
        ],
    }
}

fn values(logits: &Tensor) -> Vec<f32> {
    Vec::try_from(logits.flatten(0, -1)).unwrap()
}

fn assert_same(what: &str, got: &Tensor, want: &Tensor) {
    let error = relative_error(&values(got), &values(want));
    assert!(error < 1e-5, "{what}: {error:e}");
}

#[test]
fn adapters_of_all_kinds_are_exported_and_merged_into_models_with_the_same_logits() {
    for (decoder, _) in DECODERS {
        for ((kind, settings), targets) in KINDS
            .iter()
            .flat_map(|kind| targets(decoder).map(|targets| (kind, targets)))
        {
            let what = format!("{kind} on {decoder}, {targets}");
            let desk = Desk::new(decoder);
            let (trained, own) = desk.train(&format!("{settings}\n{targets}"));
            let before = desk.of_whole(&desk.path("model"));
            let moved = relative_error(&values(&own), &values(&before));
            assert!(moved > 1e-2, "{what}: training moved {moved:e}");
            trained.write_adapter(&desk.path("adapter")).unwrap();
            trained.write_merged(&desk.path("merged")).unwrap();
            let adapted = desk.with_adapter(&desk.path("adapter"));
            assert_same(&format!("{what}, adapter"), &adapted, &own);
            let merged = desk.of_whole(&desk.path("merged"));
            assert_same(&format!("{what}, merged"), &merged, &own);
        }
    }
}

fn read_json(desk: &Desk, file: &str) -> Value {
    serde_json::from_slice(&fs::read(desk.path(file)).unwrap()).unwrap()
}

#[test]
fn an_exported_adapter_says_what_peft_has_to_know_of_a_decoder() {
    for (decoder, settings, keys) in [
        (
            "gpt2",
            r#"target_modules = ["c_attn", "mlp.c_proj"]"#,
            json!({
                "task_type": "CAUSAL_LM", "fan_in_fan_out": true, "modules_to_save": null,
                "target_modules": ["c_attn", "mlp.c_proj"], "layers_to_transform": null,
            }),
        ),
        (
            "llama",
            "target_modules = [\"v_proj\"]\nlayers_to_transform = [1]\nlayers_pattern = \"layers\"",
            json!({
                "task_type": "CAUSAL_LM", "fan_in_fan_out": false, "target_modules": ["v_proj"],
                "layers_to_transform": [1], "layers_pattern": "layers",
            }),
        ),
        (
            "tied",
            r"target_modules = 'regex:.*1\..*(up|k)_proj'",
            json!({"target_modules": [
                "model.layers.1.mlp.up_proj", "model.layers.1.self_attn.k_proj",
            ]}),
        ),
        (
            "tied",
            "target_modules = \"all-linear\"\nlayers_to_transform = [0]",
            json!({"layers_to_transform": null, "target_modules": [
                "model.layers.0.mlp.down_proj", "model.layers.0.mlp.gate_proj",
                "model.layers.0.mlp.up_proj", "model.layers.0.self_attn.k_proj",
                "model.layers.0.self_attn.o_proj", "model.layers.0.self_attn.q_proj",
                "model.layers.0.self_attn.v_proj",
            ]}),
        ),
    ] {
        let desk = Desk::new(decoder);
        let (trained, _) = desk.train(&format!("r = 2\n{settings}"));
        trained.write_adapter(&desk.path("out")).unwrap();
        let config = read_json(&desk, "out/adapter_config.json");
        for (key, value) in keys.as_object().unwrap() {
            assert_eq!(&config[key], value, "{key} of {settings}");
        }
        let note = fs::read_to_string(desk.path("out/README.md")).unwrap();
        assert!(
            note.contains("AutoModelForCausalLM") && !note.contains("head"),
            "{note}"
        );
    }
}

#[test]
fn a_merged_decoder_lies_as_its_base_with_all_that_is_beside_it() {
    for (decoder, class, tied) in [
        ("gpt2", "GPT2LMHeadModel", true),
        ("llama", "LlamaForCausalLM", false),
        ("tied", "LlamaForCausalLM", true),
        ("mistral", "MistralForCausalLM", false),
        ("qwen2", "Qwen2ForCausalLM", true),
        ("qwen3", "Qwen3ForCausalLM", true),
        ("gemma2", "Gemma2ForCausalLM", true),
    ] {
        let desk = Desk::new(decoder);
        let (trained, _) = desk.train("r = 2\ntarget_modules = \"all-linear\"");
        trained.write_merged(&desk.path("out")).unwrap();
        let read =
            |folder: &str| TensorMap::read(&desk.path(folder).join("model.safetensors")).unwrap();
        let shapes = |tensors: &TensorMap| -> Vec<(String, Vec<i64>)> {
            let tensors = tensors.iter();
            tensors
                .map(|(name, t)| (name.to_owned(), t.shape().to_vec()))
                .collect()
        };
        let merged = read("out");
        assert_eq!(shapes(&merged), shapes(&read("model")), "{decoder}");
        assert_eq!(merged.get("lm_head.weight").is_none(), tied, "{decoder}");
        let mut config = read_json(&desk, "model/config.json");
        config["architectures"] = json!([class]);
        config["torch_dtype"] = json!("float32");
        assert_eq!(read_json(&desk, "out/config.json"), config);
        for file in [
            "tokenizer.json",
            "generation_config.json",
            "chat_template.jinja",
        ] {
            assert!(desk.path("out").join(file).is_file(), "{file}");
        }
        let note = fs::read_to_string(desk.path("out/README.md")).unwrap();
        assert!(note.contains("AutoModelForCausalLM"), "{note}");
        // The fused attention of transformers leaves caps out.
        let eager = note.contains("(\".\", attn_implementation=\"eager\")");
        assert_eq!(eager, decoder == "gemma2", "{note}");
    }
}

#[test]
fn a_base_in_parts_is_merged_into_one_file() {
    let desk = Desk::new("llama");
    let file = desk.path("model/model.safetensors");
    let mut parts = [TensorMap::default(), TensorMap::default()];
    let mut listed = serde_json::Map::new();
    for (i, (name, tensor)) in TensorMap::read(&file).unwrap().0.into_iter().enumerate() {
        let part = format!("model-{}.safetensors", i % 2);
        listed.insert(name.clone(), json!(part));
        parts[i % 2].insert(&name, tensor);
    }
    for (i, part) in parts.iter().enumerate() {
        let part_file = file.with_file_name(format!("model-{i}.safetensors"));
        part.write(&part_file).unwrap();
    }
    let index = json!({"weight_map": listed}).to_string();
    fs::write(desk.path("model/model.safetensors.index.json"), index).unwrap();
    fs::remove_file(&file).unwrap();
    let (trained, own) = desk.train("r = 2\ntarget_modules = [\"gate_proj\"]");
    trained.write_merged(&desk.path("out")).unwrap();
    assert!(!desk.path("out/model.safetensors.index.json").exists());
    assert_same("in one file", &desk.of_whole(&desk.path("out")), &own);
}

#[test]
fn a_table_that_is_trained_in_full_is_the_output_too_where_the_two_are_one() {
    for (decoder, table) in [
        ("gpt2", "transformer.wte"),
        ("tied", "model.embed_tokens"),
        ("gemma2", "model.embed_tokens"),
        ("llama", "lm_head"),
    ] {
        let desk = Desk::new(decoder);
        let settings =
            format!("r = 2\ntarget_modules = \"all-linear\"\nmodules_to_save = [{table:?}]");
        let (trained, own) = desk.train(&settings);
        trained.write_adapter(&desk.path("adapter")).unwrap();
        trained.write_merged(&desk.path("merged")).unwrap();
        let config = read_json(&desk, "adapter/adapter_config.json");
        let expected = match decoder {
            "llama" => json!(["lm_head"]),
            _ => json!([table, "lm_head"]),
        };
        assert_eq!(config["modules_to_save"], expected);
        let tensors = PeftFolder::read(&desk.path("adapter")).unwrap().tensors;
        let same = tensors.get("lm_head.weight") == tensors.get(&format!("{table}.weight"));
        assert!(same, "{decoder}");
        assert_same(decoder, &desk.of_whole(&desk.path("merged")), &own);
    }
}

#[test]
fn layers_of_decoders_are_found_in_all_the_words_that_peft_has_for_them() {
    for (decoder, keys, count) in [
        ("gpt2", json!({"target_modules": null}), 2),
        ("gpt2", json!({"target_modules": "all-linear"}), 8),
        ("gpt2", json!({"target_modules": ["c_attn", "c_proj"]}), 6),
        ("gpt2", json!({"target_modules": r".*h\.1\..*c_fc"}), 1),
        (
            "gpt2",
            json!({"target_modules": ["c_fc"], "layers_to_transform": [1], "layers_pattern": "h"}),
            1,
        ),
        (
            "tied",
            json!({"layers_to_transform": 0, "layers_pattern": ["layers"]}),
            2,
        ),
        ("llama", json!({"target_modules": null}), 4),
        ("mistral", json!({"target_modules": null}), 4),
        ("qwen3", json!({"target_modules": "all-linear"}), 14),
        (
            "gemma2",
            json!({"target_modules": ["q_proj", "down_proj"]}),
            4,
        ),
        (
            "llama",
            json!({"target_modules": "all-linear", "modules_to_save": ["lm_head"]}),
            14,
        ),
        (
            "llama",
            json!({"target_modules": r"model\.layers\.\d+\.mlp\.(gate|up)_proj"}),
            4,
        ),
    ] {
        let desk = Desk::new(decoder);
        let mut config = json!({"peft_type": "VERA", "r": 2, "task_type": "CAUSAL_LM"});
        let own = keys.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(own);
        fs::create_dir(desk.path("peft")).unwrap();
        fs::write(desk.path("peft/adapter_config.json"), config.to_string()).unwrap();
        let tensors = desk.path("peft/adapter_model.safetensors");
        TensorMap::default().write(&tensors).unwrap();
        let folder = PeftFolder::read(&desk.path("peft")).unwrap();
        folder.check_objective(&Objective::NextToken).unwrap();
        let error = folder.check_objective(&Objective::classes(2)).unwrap_err();
        assert!(error.to_string().contains("CAUSAL_LM"), "{error}");
        let fit = folder.fit(&*desk.model()).unwrap();
        assert_eq!(fit.layers.len(), count, "{keys}");
    }
}

/// Adapters that PEFT 0.12.0 saved on the small decoders, and the decoders. With each are the
/// logits that it gives under transformers 4.46.2.
pub const FIXTURES: [(&str, &str); 6] = [
    ("peft-0.12-gpt2-all-linear", "gpt2"),
    ("peft-0.12-gpt2-regex-bias-all", "gpt2"),
    ("peft-0.12-gpt2-vera", "gpt2"),
    ("peft-0.12-gpt2-tables-saved", "gpt2"),
    ("peft-0.12-gpt2-output-saved", "gpt2"),
    ("peft-0.12-llama-tables-saved", "llama"),
];

/// A decoder with the adapter of a fixture as if a run had trained it, and PEFT's logits.
pub fn fixture(name: &str, decoder: &str) -> (Desk, TrainedModel, Tensor) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peft/fixtures");
    let folder = folder.join(name);
    let desk = Desk::new(decoder);
    let (mut trained, _) = desk.train("r = 1\ntarget_modules = \"all-linear\"");
    trained.folder = PeftFolder::read(&folder).unwrap();
    let expected = Tensor::read_safetensors(folder.join("expected.safetensors")).unwrap();
    (desk, trained, expected[0].1.shallow_clone())
}

#[test]
fn adapters_that_peft_saved_on_decoders_have_its_logits_read_and_merged() {
    for (name, decoder) in FIXTURES {
        let (desk, trained, expected) = fixture(name, decoder);
        let adapted = desk.with_adapter(&trained.folder.path);
        assert_same(name, &adapted, &expected);
        trained.write_merged(&desk.path("merged")).unwrap();
        let merged = desk.of_whole(&desk.path("merged"));
        assert_same(&format!("{name}, merged"), &merged, &expected);
        let untied = read_json(&desk, "merged/config.json").get("tie_word_embeddings")
            == Some(&json!(false));
        assert_eq!(untied, name.ends_with("output-saved"), "{name}");
    }
}
