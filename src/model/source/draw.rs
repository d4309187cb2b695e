//! The values of a tensor before any training.

use rand_distr::{Distribution, Normal};
use regatta_actors::random::StreamKey;

use crate::base::tensors::HostTensor;
use crate::model::tensor_spec::{StartValues, TensorSpec};

/// A tensor's values before any training, normal ones with this standard deviation.
pub(crate) fn draw(spec: &TensorSpec, spread: f64, seed: u64) -> HostTensor {
    let value = if spec.start == StartValues::Ones {
        1.0
    } else {
        0.0
    };
    let mut tensor = HostTensor::full(&spec.shape, value);
    match spec.start {
        StartValues::Zeros | StartValues::Ones => {}
        StartValues::Normal => draw_normal(tensor.values_mut(), spread, &spec.name, seed),
        StartValues::NormalOfResidual { layers } => {
            let spread = spread / (2.0 * layers as f64).sqrt();
            draw_normal(tensor.values_mut(), spread, &spec.name, seed);
        }
        StartValues::NormalButRow(row) => {
            draw_normal(tensor.values_mut(), spread, &spec.name, seed);
            let width = spec.shape.last().map_or(0, |width| *width as usize);
            let start = row as usize * width;
            if let Some(row) = tensor.values_mut().get_mut(start..start + width) {
                row.fill(0.0);
            }
        }
    }
    tensor
}

/// Fills values with normal draws that are keyed by the seed and the tensor's name.
fn draw_normal(values: &mut [f32], spread: f64, name: &str, seed: u64) {
    let key = StreamKey {
        seed,
        purpose: "fresh weights",
        name,
        round: 0,
        attempt: 0,
    };
    let mut stream = key.stream();
    // A negative or infinite spread cannot be drawn from; zeros are what is left of it.
    if let Ok(normal) = Normal::new(0.0, spread) {
        values.fill_with(|| normal.sample(&mut stream) as f32);
    }
}
