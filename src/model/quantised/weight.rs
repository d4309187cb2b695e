//! A linear layer's weight in fewer bits than float32, on the host.

use std::sync::Arc;

use half::bf16;
use tch::{Device, TchError, Tensor};

use crate::base::tensors::{HostTensor, TensorError};
use crate::base::torch::quantised::CodeForm;
use crate::base::torch::shared::share;
use crate::model::linear_layer::{LinearLayer, WeightLayout};
use crate::model::quantised::held::HeldWeight;
use crate::model::quantised::precision::BasePrecision;
use crate::model::quantised::{int8, nf4};

/// A linear layer's weight as codes. They lie as those of a (d_out, d_in) weight, also where the model's
/// file has it the other way round: so transformers turns the weights of GPT-2's `Conv1D` for
/// bitsandbytes, and a row is an output. Copies share the codes.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantisedWeight {
    layer: LinearLayer,
    codes: Codes,
}

#[derive(Debug, Clone, PartialEq)]
enum Codes {
    Bfloat16(Arc<Vec<bf16>>),
    /// Codes, and a scale a row.
    Int8(Arc<Vec<i8>>, Arc<Vec<f32>>),
    /// Pairs of codes, and a scale a block.
    Nf4(Arc<Vec<u8>>, Arc<Vec<f32>>),
}

impl QuantisedWeight {
    /// The weight of a layer, which must be finite and of the layer's shape, in a precision.
    ///
    /// # Errors
    /// If a value is too large for it, or the precision is float32, in which weights are tensors.
    pub fn new(
        weight: &HostTensor,
        layer: &LinearLayer,
        precision: BasePrecision,
    ) -> Result<Self, String> {
        let turned;
        let values = match layer.layout {
            WeightLayout::OutIn => weight.values(),
            WeightLayout::InOut => {
                turned = transposed(weight.values(), layer.d_out as usize);
                &turned
            }
        };
        let codes = match precision {
            BasePrecision::Float32 => return Err("is to stay in float32".to_owned()),
            BasePrecision::Bfloat16 => {
                let codes: Vec<_> = values.iter().map(|x| bf16::from_f32(*x)).collect();
                if let Some(at) = codes.iter().position(|code| !code.is_finite()) {
                    return Err(format!("has {}, too large for bfloat16", values[at]));
                }
                Codes::Bfloat16(Arc::new(codes))
            }
            BasePrecision::Int8 => {
                let (codes, scales) = int8::quantise(values, layer.d_in as usize);
                Codes::Int8(Arc::new(codes), Arc::new(scales))
            }
            BasePrecision::Nf4 => {
                let (codes, scales) = nf4::quantise(values);
                Codes::Nf4(Arc::new(codes), Arc::new(scales))
            }
        };
        let layer = layer.clone();
        Ok(Self { layer, codes })
    }

    /// The shape that the weight has in the model's file.
    #[must_use]
    pub fn shape(&self) -> [i64; 2] {
        self.layer.weight_shape()
    }

    /// Bytes of codes and scales.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = match &self.codes {
            Codes::Bfloat16(codes) => size_of_val(&***codes),
            Codes::Int8(codes, scales) => size_of_val(&***codes) + size_of_val(&***scales),
            Codes::Nf4(codes, scales) => size_of_val(&***codes) + size_of_val(&***scales),
        };
        bytes as u64
    }

    /// Feeds codes and scales to a hasher.
    pub fn hash_into(&self, hasher: &mut blake3::Hasher) {
        let scales = |hasher: &mut blake3::Hasher, scales: &[f32]| {
            for scale in scales {
                hasher.update(&scale.to_le_bytes());
            }
        };
        match &self.codes {
            Codes::Bfloat16(codes) => {
                for code in &**codes {
                    hasher.update(&code.to_le_bytes());
                }
            }
            Codes::Int8(codes, by) => {
                hasher.update(bytemuck::cast_slice(codes));
                scales(hasher, by);
            }
            Codes::Nf4(codes, by) => {
                hasher.update(codes);
                scales(hasher, by);
            }
        }
    }

    /// The weight on a device; on the processor it shares its memory with this.
    ///
    /// # Errors
    /// If the device fails.
    pub fn on(&self, device: Device) -> Result<HeldWeight, TchError> {
        let (form, codes, scales) = match &self.codes {
            Codes::Bfloat16(codes) => (CodeForm::Bfloat16, whole(codes)?, None),
            Codes::Int8(codes, scales) => (CodeForm::Int8, whole(codes)?, Some(whole(scales)?)),
            Codes::Nf4(codes, scales) => (CodeForm::Nf4, whole(codes)?, Some(whole(scales)?)),
        };
        let scales = scales
            .map(|scales| scales.f_to_device(device))
            .transpose()?;
        let codes = codes.f_to_device(device)?;
        Ok(HeldWeight::new(&self.layer, form, codes, scales))
    }

    /// The values of the codes in float32, as the model's file has the weight.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn to_host(&self) -> Result<HostTensor, TensorError> {
        let dense = self.on(Device::Cpu)?.dense()?;
        HostTensor::from_tensor(&self.layer.as_weight(&dense)?)
    }
}

fn whole<T: crate::base::torch::shared::Number>(numbers: &Arc<Vec<T>>) -> Result<Tensor, TchError> {
    share(numbers, 0..numbers.len(), &[numbers.len() as i64])
}

/// A matrix of rows of N values, turned.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    let mut turned = vec![0.0; values.len()];
    // In squares, so that what is read and what is written both stay in the caches.
    const SIDE: usize = 32;
    for row in (0..rows).step_by(SIDE) {
        for column in (0..columns).step_by(SIDE) {
            for i in row..(row + SIDE).min(rows) {
                for j in column..(column + SIDE).min(columns) {
                    turned[j * rows + i] = values[i * columns + j];
                }
            }
        }
    }
    turned
}
