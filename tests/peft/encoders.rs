//! Encoders as the hub has them, without a head for the task: trained, exported and loaded again.

use std::fs;
use std::path::{Path, PathBuf};

use regatta::base::tensors::{HostTensor, TensorMap};
use regatta::model::source::checkpoint::Checkpoint;

use crate::support::{Place, objective};

/// Runs that between them have every family, kind of adapter, and place that training leaves traces
/// in: the model's folder, and flags.
pub const ENCODER_RUNS: [(&str, &str); 8] = [
    (
        "distilbert",
        "--agg_type fedex --bias all --model_dropout 0.1",
    ),
    ("xlm-roberta", "--agg_type fedex_vera --r 6"),
    (
        "electra",
        "--agg_type fedex --target_modules query,embeddings_project --bias lora_only",
    ),
    (
        "modernbert",
        "--agg_type fedex --target_modules Wqkv,mlp.Wo --model_dropout 0.1 --modules_to_save mlp_norm",
    ),
    (
        "modernbert-mean",
        "--agg_type sorf_vera_exact --r 6 --target_modules Wi,attn.Wo",
    ),
    (
        "deberta-v3",
        "--agg_type fedex --target_modules query_proj,key_proj,output.dense --bias all \
         --model_dropout 0.1 --checkpoint_blocks",
    ),
    (
        "deberta-v2-conv",
        "--agg_type fedit --target_modules dense,pos_key_proj --modules_to_save rel_embeddings",
    ),
    ("deberta", "--agg_type fedex --bias all"),
];

/// What of a checkpoint is not the encoder.
const BESIDE: [&str; 4] = ["pooler.", "head.", "pre_classifier.", "classifier."];

/// A place whose model is that of a fixture as it was pretrained: with a head for another task, and
/// none for this one.
pub fn pretrained(name: &str) -> Place {
    let place = Place::new("bert");
    let (from, to) = (fixture(name), place.path("model"));
    for file in ["config.json", "tokenizer.json"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let mut tensors = TensorMap::read(&from.join("model.safetensors")).unwrap();
    let is_beside = |name: &str| BESIDE.iter().any(|it| name.starts_with(it));
    tensors.0.retain(|name, _| !is_beside(name));
    for name in ["cls.predictions.bias", "lm_predictions.lm_head.bias"] {
        tensors.insert(name, HostTensor::full(&[14], 0.5));
    }
    tensors.write(&to.join("model.safetensors")).unwrap();
    place
}

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders");
    fixtures.join(name)
}

#[test]
fn exported_adapters_and_merged_encoders_have_the_loss_that_the_run_reports() {
    for (name, flags) in ENCODER_RUNS {
        let place = pretrained(name);
        place.check_exports(name, flags);
    }
}

/// The prefix of an encoder's tensors may be missing, and a norm's may be the old ones.
#[test]
fn checkpoints_of_the_bare_encoder_are_the_same_model() {
    for name in ["distilbert", "electra", "modernbert", "deberta-v3"] {
        let place = pretrained(name);
        let file = place.path("model/model.safetensors");
        let read = || Checkpoint::read(&place.path("model"), &objective(), 1).unwrap();
        let before = read();
        let tensors = TensorMap::read(&file).unwrap();
        let bare = |name: String| match name.split_once('.') {
            Some((_, rest)) => rest
                .replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta"),
            None => name,
        };
        let tensors = tensors.0.into_iter();
        let tensors: TensorMap = tensors.map(|(name, it)| (bare(name), it)).collect();
        tensors.write(&file).unwrap();
        let after = read();
        assert_eq!(before.base, after.base, "{name}");
        assert_eq!(before.fresh, after.fresh, "{name}");
    }
}

#[test]
fn an_encoder_is_trained_from_drawn_weights_and_what_it_lacks_is_said() {
    let place = pretrained("deberta-v3");
    let random = "run --data data --task rte --num_clients 2 --local_epochs 1 --batch_size 4 \
                  --max_seq_length 30 --cpu --quiet --metrics off --rounds 1 --tokenizer \
                  model/tokenizer.json --model random:model/config.json --out drawn";
    place.accepts(random);
    assert!(place.reported_loss("drawn").is_finite());
    let said = place.refuses(&format!("{} --target_modules query", place.run()));
    assert!(
        said.contains("called query; there are query_proj, key_proj, value_proj"),
        "{said}"
    );
    let config = place.path("model/config.json");
    let text = fs::read_to_string(&config).unwrap();
    for (from, to, wrong) in [
        ("\"p2c\"", "\"p2p\"", "pos_att_type is [\"p2p\""),
        (
            "layer_norm\"",
            "batch_norm\"",
            "norm_rel_ebd is \"batch_norm\"",
        ),
        (
            "\"share_att_key\"",
            "\"talking_head\"",
            "talking_head is true",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&config, text.replacen(from, to, 1)).unwrap();
        let said = place.refuses(place.run());
        assert!(said.contains(wrong), "{said}");
    }
}
