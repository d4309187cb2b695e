//! Snapshots that do not hold what they should.

mod decoders;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::encoder::bert::BERT;
use crate::model::encoder::config::{EncoderConfig, FAMILIES};
use crate::model::encoder::family::Family;
use crate::model::encoder::roberta::ROBERTA;
use crate::model::objective::Objective;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::source::known::known_encoder;

fn tiny(family: Family) -> EncoderConfig {
    let mut config = known_encoder("roberta-base").unwrap();
    config.family = family;
    config.embedding_size = family.default_embedding.map(|_| 3);
    (config.vocab_size, config.max_position_embeddings) = (9, 12);
    (config.hidden_size, config.intermediate_size) = (4, 6);
    (config.num_hidden_layers, config.num_attention_heads) = (2, 2);
    config
}

fn tensors(config: &EncoderConfig) -> TensorMap {
    let checkpoint =
        Checkpoint::random(Arc::new(config.clone()), &Objective::classes(2), 1).unwrap();
    let mut tensors = checkpoint.base;
    tensors.0.extend(checkpoint.head.0);
    tensors
}

/// A snapshot of a model with its tensors changed.
fn snapshot(family: Family, change: impl FnOnce(&mut TensorMap)) -> TempDir {
    let config = tiny(family);
    let mut tensors = tensors(&config);
    change(&mut tensors);
    let folder = tempfile::tempdir().unwrap();
    let json = serde_json::to_string(&config).unwrap();
    fs::write(folder.path().join("config.json"), json).unwrap();
    tensors
        .write(&folder.path().join("model.safetensors"))
        .unwrap();
    folder
}

fn refusal(folder: &Path) -> String {
    let error = Checkpoint::read(folder, &Objective::classes(2), 1)
        .unwrap_err()
        .to_string();
    let place = folder.join("model.safetensors").display().to_string();
    assert!(error.starts_with(&place), "{error} does not name the file");
    error[place.len()..].to_owned()
}

fn renamed(tensors: &mut TensorMap, rename: impl Fn(String) -> String) {
    let all = std::mem::take(&mut tensors.0);
    tensors.0 = all.into_iter().map(|(n, t)| (rename(n), t)).collect();
}

#[test]
fn whole_checkpoints_are_read_with_and_without_the_prefix_and_with_old_names() {
    for family in FAMILIES {
        let whole =
            Checkpoint::read(snapshot(family, |_| {}).path(), &Objective::classes(2), 1).unwrap();
        assert!(whole.fresh.is_empty());
        let prefix = format!("{}.", family.prefix);
        let bare = snapshot(family, |tensors| {
            renamed(tensors, |name| name.replace(&prefix, ""));
        });
        assert_eq!(
            Checkpoint::read(bare.path(), &Objective::classes(2), 1)
                .unwrap()
                .base,
            whole.base
        );
        let old = snapshot(family, |tensors| {
            renamed(tensors, |name| {
                name.replace("LayerNorm.weight", "LayerNorm.gamma")
            });
        });
        assert_eq!(
            Checkpoint::read(old.path(), &Objective::classes(2), 1)
                .unwrap()
                .base,
            whole.base
        );
    }
}

#[test]
fn a_missing_layer_is_named_with_how_many_tensors_more() {
    let folder = snapshot(BERT, |tensors| {
        tensors.0.retain(|name, _| !name.contains("layer.1."));
    });
    let error = refusal(folder.path());
    let first = "there is no tensor bert.encoder.layer.1.attention.self.query.weight, ";
    assert!(
        error.contains(first) && error.contains("and 14 more"),
        "{error}"
    );
}

#[test]
fn berts_pooler_may_be_missing_and_no_other() {
    let folder = snapshot(BERT, |tensors| {
        tensors.0.retain(|name, _| !name.contains("pooler"));
    });
    assert_eq!(
        Checkpoint::read(folder.path(), &Objective::classes(2), 1)
            .unwrap()
            .fresh
            .len(),
        2
    );
    let folder = snapshot(BERT, |tensors| {
        let wide = HostTensor::full(&[4, 5], 0.0);
        tensors.insert("bert.pooler.dense.weight", wide);
    });
    let error = refusal(folder.path());
    assert!(
        error.contains("pooler.dense.weight of shape [4, 5]"),
        "{error}"
    );
}

#[test]
fn a_wrappers_prefix_is_named_with_how_to_take_it_away() {
    for prefix in ["module.", "_orig_mod.", "model.encoder."] {
        for bare in [false, true] {
            let folder = snapshot(ROBERTA, |tensors| {
                renamed(tensors, |name| {
                    let name = if bare {
                        name.replace("roberta.", "")
                    } else {
                        name
                    };
                    format!("{prefix}{name}")
                });
            });
            let error = refusal(folder.path());
            let remedy = format!("removeprefix(\"{prefix}\")");
            assert!(error.contains(&remedy), "{error}");
        }
    }
}

#[test]
fn tensors_of_the_other_architecture_are_told_as_such() {
    let folder = snapshot(ROBERTA, |tensors| {
        renamed(tensors, |name| name.replace("roberta.", "bert."));
    });
    let error = refusal(folder.path());
    assert!(error.contains("those of a bert"), "{error}");
}

#[test]
fn tensors_of_something_else_are_counted_and_one_is_named() {
    let folder = snapshot(ROBERTA, |tensors| {
        *tensors = TensorMap::default();
        tensors.insert("wte.weight", HostTensor::full(&[2], 0.0));
    });
    let error = refusal(folder.path());
    assert!(
        error.contains("1 tensors, the first of them wte.weight"),
        "{error}"
    );
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let name = "roberta.embeddings.word_embeddings.weight";
    for shape in [vec![10, 4], vec![36], vec![9, 2, 2], vec![4, 9], vec![0]] {
        let folder = snapshot(ROBERTA, |tensors| {
            tensors.insert(name, HostTensor::full(&shape, 0.0));
        });
        let error = refusal(folder.path());
        let both = format!("{name} of shape {shape:?} where it says [9, 4]");
        assert!(error.contains(&both), "{error}");
    }
}

#[test]
fn values_that_are_not_finite_are_named_with_their_position() {
    let name = "bert.encoder.layer.1.output.dense.weight";
    for (value, said) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let folder = snapshot(BERT, |tensors| {
            tensors.0.get_mut(name).unwrap().values_mut()[6 + 5] = value;
        });
        let error = refusal(folder.path());
        let right = format!("tensor {name} has {said} at [1, 5]");
        assert!(error.contains(&right), "{error}");
    }
    // Also in the head and the pooler; not in what the model does not use.
    for name in ["classifier.bias", "bert.pooler.dense.bias"] {
        let folder = snapshot(BERT, |tensors| {
            tensors.0.get_mut(name).unwrap().values_mut()[1] = f32::NAN;
        });
        let error = refusal(folder.path());
        assert!(error.contains(&format!("{name} has NaN at [1]")), "{error}");
    }
    let folder = snapshot(BERT, |tensors| {
        tensors.insert("cls.predictions.bias", HostTensor::full(&[3], f32::NAN));
    });
    assert!(Checkpoint::read(folder.path(), &Objective::classes(2), 1).is_ok());
}

/// One tensor in place of the file's, with its kind and bytes.
fn with_kind(folder: &Path, name: &str, kind: Dtype, value: &[u8]) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut views: HashMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
    let shape = views[name].shape().to_vec();
    let data = value.repeat(shape.iter().product());
    views.insert(
        name.to_owned(),
        TensorView::new(kind, shape, &data).unwrap(),
    );
    let changed = safetensors::serialize(views, None).unwrap();
    fs::write(&path, changed).unwrap();
}

#[test]
fn weights_that_are_no_floats_are_named_with_their_kind() {
    let name = "roberta.encoder.layer.0.output.dense.weight";
    for (kind, bytes) in [
        (Dtype::I8, 1),
        (Dtype::I64, 8),
        (Dtype::BOOL, 1),
        (Dtype::F8_E4M3, 1),
    ] {
        let folder = snapshot(ROBERTA, |_| {});
        with_kind(folder.path(), name, kind, &vec![0; bytes]);
        let error = refusal(folder.path());
        assert!(
            error.contains(name) && error.contains(&format!("holds {kind:?}")),
            "{error}"
        );
    }
}

#[test]
fn a_double_beyond_float32_is_not_finite() {
    let name = "roberta.embeddings.LayerNorm.bias";
    let folder = snapshot(ROBERTA, |_| {});
    with_kind(folder.path(), name, Dtype::F64, &1e300_f64.to_le_bytes());
    let error = refusal(folder.path());
    assert!(error.contains(&format!("{name} has inf at [0]")), "{error}");
}

#[test]
fn damaged_files_are_refused_by_name_wherever_they_are_cut() {
    let folder = snapshot(BERT, |_| {});
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for end in [
        0,
        1,
        7,
        8,
        9,
        header - 1,
        header,
        header + 1,
        whole.len() - 1,
    ] {
        fs::write(&path, &whole[..end]).unwrap();
        refusal(folder.path());
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    let error = refusal(folder.path());
    assert!(error.contains("longer than its header says"), "{error}");
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(&path, huge).unwrap();
    refusal(folder.path());
    fs::write(
        &path,
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    )
    .unwrap();
    let error = refusal(folder.path());
    assert!(error.contains("git lfs pull"), "{error}");
}

#[test]
fn the_first_value_that_is_not_finite_is_found_in_a_long_tensor() {
    let mut tensor = HostTensor::full(&[3, 5000, 2], 1.0);
    assert_eq!(tensor.not_finite(), None);
    for at in [29_999, 20_001, 4096, 4095, 0] {
        tensor.values_mut()[at] = f32::NEG_INFINITY;
        let at = at as i64;
        let position = vec![at / 10_000, at / 2 % 5000, at % 2];
        assert_eq!(tensor.not_finite(), Some((position, f32::NEG_INFINITY)));
    }
}
