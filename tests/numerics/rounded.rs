//! Linear layers whose weights are held in the kind that mixed precision multiplies in, against
//! weights that are rounded at each product.

use regatta::adapter::settings::AdapterKind;
use regatta::model::weights::{RoundedTensors, Weights};
use tch::{Device, Kind};

use crate::recompute::{MODELS, checkpoint, of_base, of_checkpoint, results};

#[test]
fn rounded_weights_give_the_same_bits_forward_and_backward() {
    for json in MODELS {
        let (checkpoint, objective) = checkpoint(json);
        for kind in [AdapterKind::Lora, AdapterKind::Vera] {
            for precision in [Kind::BFloat16, Kind::Half] {
                let layers = checkpoint.architecture.linear_layers();
                let rounded = RoundedTensors::of_layers(&layers, precision);
                let (base, quantised) = (&checkpoint.base, &checkpoint.quantised);
                let base =
                    Weights::frozen_and_rounded(base, quantised, Device::Cpu, &rounded).unwrap();
                let weight = base.get(&layers[0].weight()).unwrap();
                assert_eq!(weight.kind(), precision);
                let held = of_base(base, &checkpoint, &objective, kind, 0, &[]);
                let wide = of_checkpoint(&checkpoint, &objective, kind, 0, &[]);
                let (found, want) = (
                    results(&held, Some(precision)),
                    results(&wide, Some(precision)),
                );
                assert!(want.len() > 3);
                assert_eq!(found, want, "{kind:?} in {precision:?} on {json}");
            }
        }
    }
}
