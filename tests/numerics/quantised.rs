//! Models over a base in fewer bits, against the same models over the codes' values in float32.

use regatta::adapter::settings::AdapterKind;
use regatta::model::base_form::BaseForm;
use regatta::model::objective::Objective;
use regatta::model::quantised::precision::BasePrecision;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::train::replica::Replica;
use tch::Kind;

use crate::recompute::{MODELS, checkpoint_as, of_checkpoint, results};
use crate::support::assert_close;

const NARROW: [BasePrecision; 3] = [
    BasePrecision::Bfloat16,
    BasePrecision::Int8,
    BasePrecision::Nf4,
];

/// A model in a precision, and one in float32 of the same values.
fn both(json: &str, precision: BasePrecision) -> [Checkpoint; 2] {
    let form = BaseForm::new(precision, &|_| false);
    let (held, _) = checkpoint_as(json, &form);
    let mut wide = held.clone();
    wide.dequantise().unwrap();
    assert!(wide.quantised.is_empty());
    [held, wide]
}

fn replica(checkpoint: &Checkpoint, kind: AdapterKind) -> Replica {
    let next_token = Objective::NextToken;
    let objective = match checkpoint.architecture.check_objective(&next_token) {
        Ok(()) => next_token,
        Err(_) => Objective::classes(2),
    };
    of_checkpoint(checkpoint, &objective, kind, 0, &[])
}

#[test]
fn outputs_and_gradients_are_those_of_the_codes_values() {
    for json in MODELS {
        for base in NARROW {
            for kind in [AdapterKind::Lora, AdapterKind::Vera, AdapterKind::SorfVera] {
                for precision in [None, Some(Kind::BFloat16)] {
                    let name = format!("{base:?} {kind:?} in {precision:?} on {json}");
                    let [held, wide] = both(json, base).map(|it| replica(&it, kind));
                    let (found, want) = (results(&held, precision), results(&wide, precision));
                    assert_eq!(found.len(), want.len(), "{name}");
                    for ((tensor, found), (_, want)) in found.iter().zip(&want) {
                        let tolerance = if precision.is_some() { 0.02 } else { 1e-5 };
                        assert_close(&format!("{name}: {tensor}"), found, want, tolerance);
                    }
                }
            }
        }
    }
}

#[test]
fn only_the_weights_within_the_transformers_layers_are_held_in_fewer_bits() {
    for (json_type, count, outside) in [
        ("gpt2", 3 * 4, "transformer.wte.weight"),
        ("llama", 3 * 7, "model.embed_tokens.weight"),
        ("bert", 3 * 6, "bert.pooler.dense.weight"),
    ] {
        let is_it = |json: &&str| json.contains(&format!("\"model_type\": \"{json_type}\""));
        let json = MODELS.into_iter().find(is_it).unwrap();
        let [held, wide] = both(json, BasePrecision::Nf4);
        assert_eq!(held.quantised.len(), count, "{json}");
        assert!(held.base.get(outside).is_some(), "{json}");
        let all = held.base.iter().count() + count;
        assert_eq!(wide.base.iter().count(), all, "{json}");
        let form = BaseForm::new(BasePrecision::Nf4, &|_| false);
        let bytes = form.bytes(&*held.architecture);
        assert_eq!(held.base_bytes(), bytes, "{json}");
        let trained = |name: &str| name.contains(".1.");
        let form = BaseForm::new(BasePrecision::Nf4, &trained);
        let (held, _) = checkpoint_as(json, &form);
        assert_eq!(held.quantised.len(), count / 3 * 2, "{json}");
    }
}
