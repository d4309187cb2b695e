//! The frozen random matrices that VeRA and SORF-VeRA share between all layers.

use tch::{Device, Kind, Tensor};

use crate::adapter::info::LayerSize;
use crate::adapter::torch_random::TorchGenerator;
use crate::base::tensors::{HostTensor, TensorError};
use crate::model::linear_layer::LinearLayer;

/// A (r, max d_in) and B (max d_out, r); a layer uses the slice of its size.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// A, (r, max d_in).
    pub a: HostTensor,
    /// B, (max d_out, r).
    pub b: HostTensor,
}

impl Projection {
    /// The matrices that PEFT draws from `projection_prng_key`: uniform in ±√6/√fan_in, A first.
    #[must_use]
    pub fn from_key(key: u64, r: i64, layers: &[LinearLayer]) -> Self {
        let widest = |width: fn(&LinearLayer) -> i64| layers.iter().map(width).max().unwrap_or(0);
        let mut generator = TorchGenerator::new(key);
        let mut draw = |rows: i64, columns: i64| {
            // In this order of operations: another one rounds differently.
            let bound = 3.0_f64.sqrt() * (2.0_f64.sqrt() / (columns as f64).sqrt());
            let mut matrix = HostTensor::full(&[rows, columns], 0.0);
            let len = matrix.values().len();
            let values = generator.uniform(-bound as f32, bound as f32, len);
            matrix.values_mut().copy_from_slice(&values);
            matrix
        };
        let a = draw(r, widest(|layer| layer.d_in));
        let b = draw(widest(|layer| layer.d_out), r);
        Self { a, b }
    }

    /// Values of both matrices at rank `r`.
    #[must_use]
    pub fn values(r: u64, layers: &[LayerSize]) -> u64 {
        let widest = |width: fn(&LayerSize) -> u64| layers.iter().map(width).max().unwrap_or(0);
        r.saturating_mul(widest(|size| size.0) + widest(|size| size.1))
    }

    /// A for inputs of width `d_in`, (r, d_in), and B for outputs of width `d_out`, (d_out, r).
    ///
    /// # Errors
    /// If the device fails.
    pub fn slices(
        &self,
        d_out: i64,
        d_in: i64,
        kind: Kind,
        device: Device,
    ) -> Result<(Tensor, Tensor), TensorError> {
        let a = self
            .a
            .to_tensor(device)?
            .f_narrow(1, 0, d_in)?
            .f_contiguous()?;
        let b = self
            .b
            .to_tensor(device)?
            .f_narrow(0, 0, d_out)?
            .f_contiguous()?;
        Ok((a.f_to_kind(kind)?, b.f_to_kind(kind)?))
    }
}
