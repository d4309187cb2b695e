//! Layers of one input whose weights lie one below the other, against the same layers apart.

use regatta::adapter::settings::AdapterKind;
use regatta::base::tensors::HostTensor;
use regatta::model::source::checkpoint::Checkpoint;
use regatta::model::stacked_tensors::StackedTensors;
use regatta::model::weights::{View, Weights};
use tch::{Device, Kind, Tensor};

use crate::recompute::{MODELS, checkpoint, of_base, results};

/// The checkpoint with biases that are not zero.
fn with_biases(mut checkpoint: Checkpoint) -> Checkpoint {
    let names: Vec<String> = checkpoint
        .base
        .iter()
        .map(|(name, _)| name.to_owned())
        .collect();
    for name in names.iter().filter(|name| name.ends_with(".bias")) {
        let bias = checkpoint
            .base
            .get(name)
            .unwrap()
            .to_tensor(Device::Cpu)
            .unwrap();
        let places = Tensor::arange(bias.numel() as i64, (Kind::Float, Device::Cpu));
        let bias = (places + names.len() as f64).sin() * 0.3;
        checkpoint
            .base
            .insert(name.clone(), HostTensor::from_tensor(&bias).unwrap());
    }
    checkpoint
}

fn frozen(checkpoint: &Checkpoint) -> Weights {
    Weights::frozen(&checkpoint.base, &checkpoint.quantised, Device::Cpu).unwrap()
}

/// The weights with queries', keys' and values' stacked, if the model has them apart.
fn stacked(checkpoint: &Checkpoint) -> Option<Weights> {
    let architecture = &*checkpoint.architecture;
    let ends = architecture.query_key_value()?;
    let layers = architecture.linear_layers();
    let mut base = frozen(checkpoint);
    base.stack(&StackedTensors::of_layers(&layers, &ends))
        .unwrap();
    let named = |end: &&str| {
        layers
            .iter()
            .find(|layer| layer.module.ends_with(end))
            .unwrap()
    };
    let modules = ends.each_ref().map(|end| named(end).module.as_str());
    let rows: i64 = ends.iter().map(|end| named(end).d_out).sum();
    let whole = View::new(&base)
        .stacked(&modules, "weight")
        .unwrap()
        .unwrap();
    assert_eq!(whole.size(), [rows, named(&ends[0]).d_in]);
    Some(base)
}

fn assert_near(found: &[(String, Tensor)], expected: &[(String, Tensor)], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for ((name, found), (other, expected)) in found.iter().zip(expected) {
        assert_eq!(name, other);
        let miss = (found - expected).abs().max().double_value(&[]);
        let largest = expected.abs().max().double_value(&[]);
        assert!(
            miss <= tolerance * largest,
            "{name} misses by {miss:e} of {largest}"
        );
    }
}

#[test]
fn stacked_layers_and_their_gradients_are_those_of_the_layers_apart() {
    let mut compared = 0;
    for json in MODELS {
        let (checkpoint, objective) = checkpoint(json);
        let checkpoint = with_biases(checkpoint);
        let Some(base) = stacked(&checkpoint) else {
            continue;
        };
        compared += 1;
        let table = checkpoint.architecture.base_tensors()[0].name.clone();
        // Two of three layers with an adapter; and none but in the last transformer layer, whose gradient
        // goes on to the table of tokens.
        for (kind, first, trained) in [
            (AdapterKind::Lora, 0, vec![]),
            (AdapterKind::Vera, 2, vec![table.as_str()]),
        ] {
            for (precision, tolerance) in [(None, 2e-5), (Some(Kind::BFloat16), 0.1)] {
                let results = |base| {
                    let replica = of_base(base, &checkpoint, &objective, kind, first, &trained);
                    results(&replica, precision)
                };
                let (found, apart) = (results(base.clone()), results(frozen(&checkpoint)));
                assert_near(&found, &apart, tolerance);
            }
        }
    }
    assert_eq!(compared, 7);
}

#[test]
fn layers_of_one_input_in_bfloat16_have_the_masks_of_the_layers_apart() {
    for json in MODELS {
        let (checkpoint, objective) = checkpoint(json);
        let checkpoint = with_biases(checkpoint);
        if checkpoint.architecture.query_key_value().is_none() {
            continue;
        }
        let mut packed = frozen(&checkpoint);
        packed
            .pack(&checkpoint.architecture.linear_layers())
            .unwrap();
        let results = |base, precision| {
            let kind = AdapterKind::Lora;
            results(
                &of_base(base, &checkpoint, &objective, kind, 0, &[]),
                precision,
            )
        };
        // With another layer's mask, the gradients of a layer's factors would miss by a third.
        let found = results(packed, Some(Kind::BFloat16));
        assert_near(&found, &results(frozen(&checkpoint), None), 0.1);
    }
}

#[test]
fn a_weight_or_bias_that_is_trained_is_not_read_from_the_stack() {
    let (checkpoint, objective) = checkpoint(MODELS[4]);
    let base = stacked(&checkpoint).unwrap();
    let layer = "bert.encoder.layer.1.attention.self";
    for name in [format!("{layer}.key.weight"), format!("{layer}.value.bias")] {
        let results = |base| {
            let kind = AdapterKind::Lora;
            results(
                &of_base(base, &checkpoint, &objective, kind, 0, &[&name]),
                None,
            )
        };
        let found = results(base.clone());
        let gradient = found.iter().find(|(of, _)| *of == name).unwrap();
        assert!(gradient.1.abs().max().double_value(&[]) > 0.0);
        assert_near(&found, &results(frozen(&checkpoint)), 2e-5);
    }
}

#[test]
fn a_weight_that_takes_the_place_of_another_is_what_layers_read_until_it_is_stacked_too() {
    let (checkpoint, _) = checkpoint(MODELS[4]);
    let stacks = {
        let architecture = &*checkpoint.architecture;
        let ends = architecture.query_key_value().unwrap();
        StackedTensors::of_layers(&architecture.linear_layers(), &ends)
    };
    let mut base = stacked(&checkpoint).unwrap();
    let before = base.clone();
    let layer = "bert.encoder.layer.1.attention.self";
    let modules = ["query", "key", "value"].map(|name| format!("{layer}.{name}"));
    let modules = modules.each_ref().map(String::as_str);
    let whole = |base: &Weights| View::new(base).stacked(&modules, "weight").unwrap();
    let name = format!("{layer}.key.weight");
    let changed = base.get(&name).unwrap() + 1.0;
    base.tensors.insert(name.clone(), changed.shallow_clone());
    assert!(whole(&base).is_none());
    base.stack(&stacks).unwrap();
    let again = whole(&base).unwrap();
    assert_eq!(again.narrow(0, 32, 32), changed);
    assert_eq!(
        base.get(&name).unwrap().data_ptr(),
        again.narrow(0, 32, 32).data_ptr()
    );
    // What was stacked before is as it was, and what did not change is not stacked anew.
    assert_eq!(whole(&before).unwrap().narrow(0, 32, 32) + 1.0, changed);
    let other = "bert.encoder.layer.0.attention.self.key.weight";
    let place = |base: &Weights| base.get(other).unwrap().data_ptr();
    assert_eq!(place(&base), place(&before));
}
