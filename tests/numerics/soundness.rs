//! What may become the server's state, for every method: what is too large is distinguished from
//! what is not, and none of it is an error of libtorch's.

use regatta::adapter::initial_state;
use regatta::adapter::population::LayerGroup;
use regatta::adapter::settings::AdapterPlan;
use regatta::aggregate::methods::METHODS;
use regatta::aggregate::sound::{LIMIT, check_aggregate, update_norm};
use regatta::aggregate::state::GlobalState;
use regatta::base::tensors::{HostTensor, TensorMap};
use regatta::model::linear_layer::{LinearLayer, WeightLayout};
use tch::Device;

use crate::aggregation::aggregate;

fn layers() -> Vec<LinearLayer> {
    let layer = |layer, d_out| LinearLayer {
        module: format!("layer.{layer}"),
        layer,
        d_in: 12,
        d_out,
        layout: WeightLayout::OutIn,
    };
    vec![layer(0, 12), layer(1, 12), layer(2, 8)]
}

/// Tensors like these, whose largest value is `largest`; no two updates are alike.
fn scaled(like: &TensorMap, largest: f32, client: usize) -> TensorMap {
    let scale = |(at, (name, tensor)): (usize, (&str, &HostTensor))| {
        let mut tensor = tensor.clone();
        for (i, value) in tensor.values_mut().iter_mut().enumerate() {
            let wave = (i as f32 + 1.7 * (at + 3 * client) as f32).sin();
            *value = if i == 0 { largest } else { largest * wave };
        }
        (name.to_owned(), tensor)
    };
    like.iter().enumerate().map(scale).collect()
}

#[test]
fn every_method_makes_a_sound_state_of_ordinary_updates_and_none_of_huge_ones() {
    let layers = layers();
    for info in METHODS {
        let method = info.name;
        let plan = AdapterPlan::plain(info.adapters[0], 4);
        let adapter = plan.build(&layers).unwrap();
        let first = initial_state(&*adapter, &layers, 1, 0);
        let outcome = |largest: [f32; 3]| {
            let updates = largest.into_iter().enumerate();
            let updates: Vec<_> = updates.map(|(i, most)| scaled(&first, most, i)).collect();
            let mut state = GlobalState {
                trained: first.clone(),
                ..GlobalState::default()
            };
            let weights = [0.5, 0.25, 0.25];
            let report = aggregate(method, &*adapter, &layers, &updates, &weights, &mut state);
            let groups = LayerGroup::of(&layers);
            let norms = updates
                .iter()
                .map(|one| update_norm(&*adapter, &groups, &first, one, Device::Cpu));
            (check_aggregate(&state, &report), norms.collect::<Vec<_>>())
        };
        let (sound, norms) = outcome([1.0, 0.5, 2.0]);
        assert_eq!(sound, Ok(()), "{method}");
        assert!(
            norms.iter().all(|norm| *norm > 0.0 && *norm < 1e6),
            "{method} {norms:?}"
        );
        // Each value is below the limit, but what is made of them is not.
        let below = f32::from_bits(LIMIT.to_bits() - 1);
        let (sound, norms) = outcome([1.0, below, 2.0]);
        assert!(norms[1] >= f64::from(LIMIT), "{method} {norms:?}");
        if method != "sorf_vera" {
            assert!(sound.is_err(), "{method}");
        }
        // Past float32.
        let (sound, norms) = outcome([1.0, f32::MAX, 2.0]);
        assert!(sound.is_err() && norms[1] >= f64::from(LIMIT), "{method}");
    }
}
