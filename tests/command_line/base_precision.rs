//! Runs over a base in fewer bits than float32.

use std::fs;
use std::path::Path;

use regatta::base::tensors::TensorMap;
use regatta::model::base_form::BaseForm;
use regatta::model::objective::Objective;
use regatta::model::quantised::precision::BasePrecision;
use regatta::model::source::checkpoint::Checkpoint;

use crate::workplace::Workplace;

/// Layers of every kind, so that the base's own values count.
const RUN: &str = "run --task rte --model models/tiny --num_clients 3 --local_epochs 2 \
                   --batch_size 4 --lr 1e-2 --metrics off --web off --quiet";

fn digests(place: &Workplace, folder: &str) -> Vec<String> {
    let rounds = place.rounds(folder).into_iter();
    rounds.map(|round| round.state_digest.0).collect()
}

/// Writes the model with the values that a precision gives its weights.
fn write_values(place: &Workplace, precision: BasePrecision, folder: &str) {
    let tiny = place.path().join("models/tiny");
    let form = BaseForm::new(precision, &|_| false);
    let objective = Objective::classes(2);
    let mut checkpoint = Checkpoint::read_as(&tiny, &objective, 42, &form).unwrap();
    checkpoint.dequantise().unwrap();
    let mut all = checkpoint.base;
    all.0.extend(checkpoint.head.0);
    let folder = place.path().join(folder);
    fs::create_dir_all(&folder).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(tiny.join(name), folder.join(name)).unwrap();
    }
    all.write(&folder.join("model.safetensors")).unwrap();
}

#[test]
fn a_run_is_exact_and_comes_to_what_one_over_the_codes_values_in_float32_comes_to() {
    let place = Workplace::new();
    place.accepts(&format!("{RUN} --rounds 2 --agg_type fedex --out plain"));
    for (name, precision) in [
        ("bfloat16", BasePrecision::Bfloat16),
        ("int8", BasePrecision::Int8),
        ("nf4", BasePrecision::Nf4),
    ] {
        let run = format!("{RUN} --rounds 2 --agg_type fedex --base_precision {name}");
        place.accepts(&format!("{run} --out {name} --lanes 2"));
        let model = format!("models/{name}");
        write_values(&place, precision, &model);
        let wide = RUN.replace("models/tiny", &model);
        place.accepts(&format!(
            "{wide} --rounds 2 --agg_type fedex --out {name}-values"
        ));
        let pairs = place.rounds(name).into_iter();
        for (own, wide) in pairs.zip(place.rounds(&format!("{name}-values"))) {
            let (error, as_wide) = (own.exactness_error.unwrap(), wide.exactness_error.unwrap());
            assert!(
                error < 1e-6 && error < 10.0 * as_wide + 1e-9,
                "{name}: {error}"
            );
            let (own, wide) = (own.eval.unwrap()["loss"], wide.eval.unwrap()["loss"]);
            assert!((own / wide - 1.0).abs() < 1e-4, "{name}: {own} and {wide}");
        }
        assert_ne!(digests(&place, name), digests(&place, "plain"), "{name}");
    }
}

#[test]
fn a_run_replays_and_resumes_to_the_same_bits_whatever_the_lanes() {
    let place = Workplace::new();
    for (name, method) in [
        ("nf4", "fedex"),
        ("int8", "fedex_vera"),
        ("bfloat16", "sorf_vera_exact"),
    ] {
        let run = format!("{RUN} --rounds 2 --agg_type {method} --base_precision {name}");
        place.accepts(&format!("{run} --lanes 2 --out {name}"));
        let said = place.accepts(&format!("replay {name} --check --lanes 1"));
        assert!(said.contains("are the same, bit for bit"), "{said}");
        let expected = digests(&place, name);
        let said = place.accepts(&format!("resume {name} --lanes 1"));
        assert!(said.contains("resuming after round 1"), "{said}");
        assert_eq!(digests(&place, name), expected, "{name}");
        let scenario = place.read(&format!("{name}/scenario.toml"));
        assert!(
            scenario.contains(&format!("base_precision = \"{name}\"")),
            "{scenario}"
        );
        let changed = scenario.replace(&format!("\"{name}\""), "\"float32\"");
        place.write(&format!("{name}/scenario.toml"), &changed);
        let output = place.regatta(&format!("resume {name} --lanes 1"));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && error.contains("base_precision"),
            "{error}"
        );
    }
    place.accepts(&format!("{RUN} --rounds 1 --out plain"));
    let scenario = place.read("plain/scenario.toml");
    assert!(!scenario.contains("base_precision"), "{scenario}");
}

#[test]
fn every_method_runs_over_a_base_of_four_bits() {
    let place = Workplace::new();
    for (i, (method, loses)) in [
        ("fedit", true),
        ("ffa", false),
        ("ffa --adapter vera", false),
        ("fedex_vera", false),
        ("sorf_vera", true),
        ("sorf_vera_exact", false),
        ("fedsvd", false),
        ("flora --ranks 2,4,8", false),
        ("rolora", false),
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("--rounds 2 --base_precision nf4 --agg_type {method}");
        place.accepts(&format!("{RUN} {line} --out run{i}"));
        for round in place.rounds(&format!("run{i}")) {
            let error = round.exactness_error.unwrap();
            assert_eq!(error > 1e-5, loses, "{method}: {error}");
        }
    }
}

#[test]
fn an_export_has_the_residual_beside_the_adapter_and_the_merged_model_is_in_float32() {
    let place = Workplace::new();
    let line = "--rounds 1 --agg_type fedex --base_precision nf4 --out run";
    place.accepts(&format!("{RUN} {line}"));
    place.accepts("export run --out adapter");
    let note = place.read("adapter/README.md");
    assert!(
        note.contains("was held in nf4") && note.contains("`base_delta.safetensors`"),
        "{note}"
    );
    place.accepts("export run --merge --out merged");
    let note = place.read("merged/README.md");
    assert!(
        note.contains("held in nf4") && note.contains("float32"),
        "{note}"
    );
    write_values(&place, BasePrecision::Nf4, "values");
    let read = |name: &str| TensorMap::read(&place.path().join(name)).unwrap();
    let (merged, values) = (
        read("merged/model.safetensors"),
        read("values/model.safetensors"),
    );
    let delta = read("run/base_delta.safetensors");
    assert!(!delta.is_empty());
    let mut same = 0;
    for (name, tensor) in values
        .iter()
        .filter(|(name, _)| !name.starts_with("classifier"))
    {
        let merged = merged.get(name).unwrap();
        let adapted = delta.get(name).is_some();
        assert_eq!(merged == tensor, !adapted, "{name}");
        same += usize::from(!adapted);
    }
    assert!(same > 5);
    // The export can be run as it is.
    fs::rename(
        place.path().join("merged"),
        place.path().join("models/merged"),
    )
    .unwrap();
    let again = RUN.replace("models/tiny", "models/merged");
    place.accepts(&format!("{again} --rounds 1 --out again"));
}

#[test]
fn a_weight_that_is_trained_in_full_stays_in_float32() {
    let place = Workplace::new();
    let module = "layer.0.intermediate.dense";
    let line =
        format!("--rounds 1 --base_precision nf4 --bias all --modules_to_save {module} --out run");
    place.accepts(&format!("{RUN} {line}"));
    let trained = TensorMap::read(&place.path().join("run/adapter/adapter_model.safetensors"));
    let trained = trained.unwrap();
    let base = TensorMap::read(&place.path().join("models/tiny/model.safetensors")).unwrap();
    let named = |map: &TensorMap| {
        let mut found = map
            .iter()
            .filter(|(name, _)| name.ends_with(&format!("{module}.weight")));
        found.next().unwrap().1.clone()
    };
    let (before, after) = (named(&base), named(&trained));
    let moved = before
        .values()
        .iter()
        .zip(after.values())
        .map(|(a, b)| (a - b).abs());
    let most = moved.fold(0.0_f32, f32::max);
    // A few steps of AdamW, where four bits would be off by a tenth of the largest weight.
    assert!(most > 0.0 && most < 0.5, "{most}");
    // A run may start from its folder, in the same precision.
    let line = "--rounds 1 --base_precision nf4 --init_adapter run/adapter --out again";
    place.accepts(&format!("{RUN} {line}"));
}

#[test]
fn what_cannot_be_held_is_refused_before_anything_is_trained() {
    let place = Workplace::new();
    let check = "check --task rte --model models/tiny";
    let refused = place.regatta(&format!("{check} --base_precision fp4"));
    assert_eq!(refused.status.code(), Some(2));
    let all = String::from_utf8(refused.stderr).unwrap();
    for name in ["fp4", "float32", "bfloat16", "int8", "nf4"] {
        assert!(all.contains(name), "{all}");
    }
    for (value, precision, wrong) in [
        (
            f32::NAN,
            "nf4",
            "NaN at [1, 0]; every weight must be finite",
        ),
        (
            f32::INFINITY,
            "int8",
            "inf at [1, 0]; every weight must be finite",
        ),
        (f32::MAX, "bfloat16", "too large for bfloat16"),
    ] {
        set(&place.path().join("models/tiny"), value);
        let errors = place.errors(&format!("{check} --base_precision {precision}"));
        assert!(errors[0].contains(wrong), "{errors:?}");
        assert!(
            errors[0].contains("layer.0.attention.self.query.weight"),
            "{errors:?}"
        );
    }
}

/// Gives a weight of the model a value.
fn set(folder: &Path, value: f32) {
    let file = folder.join("model.safetensors");
    let mut tensors = TensorMap::read(&file).unwrap();
    let mut named = tensors.0.iter_mut();
    let (_, weight) = named
        .find(|(name, _)| name.ends_with("layer.0.attention.self.query.weight"))
        .unwrap();
    let width = weight.shape()[1] as usize;
    weight.values_mut()[width] = value;
    tensors.write(&file).unwrap();
}
