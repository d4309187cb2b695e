//! Names of tensors in `adapter_model.safetensors`, as all versions of PEFT write them.
//!
//! PEFT wraps modules, and its wrappers show in some names: `base_layer` for the layer beside an
//! adapter, `modules_to_save` for a module's trained copy and `original_module` for the one that it
//! stands for, each of the first two with or without the adapter's name after it.

use std::collections::BTreeMap;

use crate::adapter::peft::PREFIX;
use crate::base::tensors::{HostTensor, TensorMap};

/// Names that modules have within a model's; what else stands after a wrapper is the name of an
/// adapter.
const PARTS: [&str; 82] = [
    "LayerNorm",
    "Wi",
    "Wo",
    "Wqkv",
    "attention",
    "attn",
    "attn_norm",
    "bert",
    "bias",
    "c_attn",
    "c_fc",
    "c_proj",
    "classifier",
    "conv",
    "dense",
    "down_proj",
    "embed_proj",
    "embed_tokens",
    "embeddings",
    "embeddings_project",
    "encoder",
    "ffn",
    "final_norm",
    "gate_proj",
    "h",
    "head",
    "in_proj",
    "input_layernorm",
    "intermediate",
    "k_lin",
    "k_norm",
    "k_proj",
    "key",
    "key_proj",
    "layer",
    "layers",
    "lin1",
    "lin2",
    "ln_1",
    "ln_2",
    "ln_f",
    "mlp",
    "mlp_norm",
    "norm",
    "o_proj",
    "out_lin",
    "out_proj",
    "output",
    "output_layer_norm",
    "pooler",
    "pos_key_proj",
    "pos_proj",
    "pos_q_proj",
    "pos_query_proj",
    "position_embeddings",
    "post_attention_layernorm",
    "post_feedforward_layernorm",
    "pre_classifier",
    "pre_feedforward_layernorm",
    "q_bias",
    "q_lin",
    "q_norm",
    "q_proj",
    "query",
    "query_proj",
    "rel_embeddings",
    "sa_layer_norm",
    "self",
    "self_attn",
    "tok_embeddings",
    "token_type_embeddings",
    "transformer",
    "up_proj",
    "v_bias",
    "v_lin",
    "v_proj",
    "value",
    "value_proj",
    "weight",
    "word_embeddings",
    "wpe",
    "wte",
];

/// Where a tensor's name was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum NameOrigin {
    /// The copy within a wrapper, which PEFT reads only if it stands for nothing else.
    Wrapped,
    /// The tensor's own name.
    Plain,
}

/// The tensors under the names that the model has for them. What a trained copy replaced is left
/// out.
///
/// # Errors
/// A name that is not PEFT's, or two tensors that differ and mean the same.
pub fn unwrapped(saved: TensorMap) -> Result<TensorMap, String> {
    let mut found: BTreeMap<String, (NameOrigin, HostTensor)> = BTreeMap::new();
    for (name, tensor) in saved.0 {
        let inner = name
            .strip_prefix(PREFIX)
            .ok_or_else(|| format!("tensor {name} does not begin with {PREFIX}"))?;
        let Some((module_name, source)) = parse(inner) else {
            continue;
        };
        match found.get(&module_name) {
            Some((known, _)) if *known > source => continue,
            Some((known, same)) if *known == source && *same != tensor => {
                return Err(format!(
                    "two tensors are there for {module_name}, and differ; the second is {name}"
                ));
            }
            _ => found.insert(module_name, (source, tensor)),
        };
    }
    let tensors = found.into_iter();
    Ok(tensors.map(|(name, (_, tensor))| (name, tensor)).collect())
}

/// The name as the model has it, of one as PEFT saved it without the prefix; `None` for what a
/// trained copy replaced.
#[must_use]
pub fn module_name(peft: &str) -> Option<String> {
    parse(peft).map(|(name, _)| name)
}

/// A name without wrappers; `None` for what a trained copy replaced.
fn parse(name: &str) -> Option<(String, NameOrigin)> {
    let mut parts = name.split('.').peekable();
    let mut kept = Vec::new();
    let mut source = NameOrigin::Plain;
    while let Some(part) = parts.next() {
        match part {
            "original_module" => return None,
            "base_layer" => continue,
            "modules_to_save" => source = NameOrigin::Wrapped,
            _ => kept.push(part),
        }
        if part == "modules_to_save" {
            parts.next_if(|next| !is_part(next));
        } else if part.starts_with("lora_") || part.starts_with("vera_") {
            parts.next_if(|next| !["weight", "bias"].contains(next));
        }
    }
    Some((kept.join("."), source))
}

fn is_part(part: &str) -> bool {
    PARTS.contains(&part) || part.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::config::keys::object_of;
    use crate::model::config::{self, KNOWN};
    use crate::model::objective::Objective;

    /// Of every family, with the modules that only some of its models have.
    #[test]
    fn all_names_within_models_are_known() {
        let keys = object_of(json!({
            "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 24, "embedding_size": 8,
            "type_vocab_size": 2, "relative_attention": true, "pos_att_type": "c2p|p2c",
            "norm_rel_ebd": "layer_norm", "conv_kernel_size": 3
        }));
        for known in &KNOWN {
            let mut keys = keys.clone();
            keys.insert("model_type".to_owned(), known.name.into());
            let model = config::of_keys(&keys, "config.json".as_ref()).unwrap();
            let mut tensors = model.base_tensors();
            tensors.extend(model.head_tensors(&Objective::classes(2)));
            for tensor in tensors {
                let mut within = tensor.name.split('.').skip(1);
                assert_eq!(within.find(|part| !is_part(part)), None, "{}", tensor.name);
            }
        }
    }

    #[test]
    fn names_of_all_versions_lead_to_the_models() {
        for (saved, expected) in [
            ("a.query.lora_A.weight", "a.query.lora_A.weight"),
            ("a.query.lora_A.default.weight", "a.query.lora_A.weight"),
            ("a.query.lora_B.mine.weight", "a.query.lora_B.weight"),
            ("a.q_proj.lora_B.norm.weight", "a.q_proj.lora_B.weight"),
            ("a.query.vera_lambda_b", "a.query.vera_lambda_b"),
            ("a.query.vera_lambda_d.default", "a.query.vera_lambda_d"),
            ("a.query.base_layer.bias", "a.query.bias"),
            ("a.query.bias", "a.query.bias"),
            (
                "classifier.modules_to_save.default.dense.bias",
                "classifier.dense.bias",
            ),
            (
                "classifier.modules_to_save.mine.weight",
                "classifier.weight",
            ),
            (
                "classifier.modules_to_save.out_proj.weight",
                "classifier.out_proj.weight",
            ),
            ("classifier.modules_to_save.weight", "classifier.weight"),
            ("lm_head.modules_to_save.mine.weight", "lm_head.weight"),
            (
                "transformer.h.0.mlp.modules_to_save.c_fc.weight",
                "transformer.h.0.mlp.c_fc.weight",
            ),
            (
                "bert.encoder.layer.modules_to_save.1.output.dense.bias",
                "bert.encoder.layer.1.output.dense.bias",
            ),
        ] {
            let (name, _) = parse(saved).unwrap();
            assert_eq!(name, expected, "{saved}");
        }
        assert_eq!(parse("classifier.original_module.dense.bias"), None);
    }

    fn read(tensors: &[(&str, f32)]) -> Result<TensorMap, String> {
        let tensors = tensors.iter();
        let tensors = tensors
            .map(|(name, value)| (format!("{PREFIX}{name}"), HostTensor::full(&[1], *value)));
        unwrapped(tensors.collect())
    }

    #[test]
    fn a_tensors_own_name_goes_before_the_copy_in_the_wrapper() {
        let bias = |tensors: &[(&str, f32)]| {
            let read = read(tensors).unwrap();
            assert_eq!(read.0.len(), 1);
            read.get("classifier.bias").unwrap().values()[0]
        };
        let (plain, copy) = (
            ("classifier.bias", 1.0),
            ("classifier.modules_to_save.bias", 2.0),
        );
        let original = ("classifier.original_module.bias", 3.0);
        assert_eq!(bias(&[plain, copy, original]), 1.0);
        assert_eq!(bias(&[copy, original]), 2.0);
    }

    #[test]
    fn tensors_that_contradict_each_other_are_refused() {
        let pair = |other| read(&[("q.bias", 1.0), ("q.base_layer.bias", other)]);
        assert_eq!(pair(1.0).unwrap().0.len(), 1);
        assert!(pair(2.0).unwrap_err().contains("differ"));
        let copies = read(&[
            ("classifier.modules_to_save.a.bias", 1.0),
            ("classifier.modules_to_save.b.bias", 2.0),
        ]);
        assert!(copies.unwrap_err().contains("classifier.bias"));
    }
}
