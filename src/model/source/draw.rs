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
        StartValues::Normal => draw_normal(tensor.values_mut(), spread, WHOLE, &spec.name, seed),
        StartValues::NormalOfResidual { layers } => {
            let spread = spread / (2.0 * layers as f64).sqrt();
            draw_normal(tensor.values_mut(), spread, WHOLE, &spec.name, seed);
        }
        StartValues::TruncatedNormal { spread, cutoff } => {
            draw_normal(tensor.values_mut(), spread, cutoff, &spec.name, seed);
        }
        StartValues::Sinusoids => {
            let width = spec
                .shape
                .last()
                .map_or(1, |width| (*width).max(1) as usize);
            for (row, values) in tensor.values_mut().chunks_mut(width).enumerate() {
                fill_with_waves(row, values);
            }
        }
        StartValues::NormalButRow(row) => {
            draw_normal(tensor.values_mut(), spread, WHOLE, &spec.name, seed);
            let width = spec.shape.last().map_or(0, |width| *width as usize);
            let start = row as usize * width;
            if let Some(row) = tensor.values_mut().get_mut(start..start + width) {
                row.fill(0.0);
            }
        }
    }
    tensor
}

/// The cutoff of a distribution that is not cut.
const WHOLE: f64 = f64::INFINITY;

/// Fills a row of [`StartValues::Sinusoids`].
fn fill_with_waves(row: usize, values: &mut [f32]) {
    let width = values.len() as f64;
    for (column, value) in values.iter_mut().enumerate() {
        let pair = (column / 2 * 2) as f64;
        let angle = row as f64 / 10_000_f64.powf(pair / width);
        *value = match column % 2 {
            0 => angle.sin(),
            _ => angle.cos(),
        } as f32;
    }
}

/// Fills values with normal draws that are keyed by the seed and the tensor's name, none further
/// from 0 than `cutoff` times their spread.
fn draw_normal(values: &mut [f32], spread: f64, cutoff: f64, name: &str, seed: u64) {
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
        let most = match cutoff.is_finite() {
            true => (cutoff * spread).abs(),
            false => f64::INFINITY,
        };
        let within = |value: &f64| value.abs() <= most;
        let mut draws = normal.sample_iter(&mut stream).filter(within);
        // The draws never end.
        values.fill_with(|| draws.next().unwrap_or_default() as f32);
    }
}
