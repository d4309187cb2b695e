//! SORF-VeRA: `ΔW = S Γ(b) B Λ(m, θ) A`; a scale m and rotation angles θ trained, the rest frozen.
//!
//! S is a structured orthogonal matrix (Yu et al., *Orthogonal Random Features*, 2016), A and B
//! are VeRA's projection, `b = (b_re, b_im)` is set by the server. `Λ(m, θ) = m G(θ)` with G a
//! product of Givens rotations.
//!
//! Cost: through a round `P = S Γ(b) B` is constant, so a step costs what a LoRA step of the same
//! rank costs, plus G(θ), whose value and gradient are done by hand in O(r³) ([`givens`]).
//!
//! | file | holds |
//! |---|---|
//! | [`transform`] | S and Γ(b) |
//! | [`givens`] | G(θ), its gradient, and angles from a rotation |
//! | `lambdas` | Λ of all layers in a step |
//! | [`refit`] | what the server does: SVD and fits of b, m and θ |
//! | `info` | its row in the table of adapters |
//! | [`core`] | updates seen without S and without the rows of A, for the server |

pub mod core;
pub mod givens;
pub(crate) mod info;
pub(crate) mod lambdas;
pub mod refit;
pub mod transform;

use std::collections::HashMap;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use crate::adapter::factors::Factors;
use crate::adapter::population::{LayerGroup, WeightedUpdates, tensor_name};
use crate::adapter::projection::Projection;
use crate::adapter::sorf::givens::Rotation;
use crate::adapter::sorf::lambdas::{LambdaTensors, Lambdas};
use crate::adapter::{Adapter, AdapterTensor, Prepared, Role};
use crate::base::tensors::HostTensor;
use crate::base::torch;
use crate::model::ModelError;
use crate::model::delta::{Delta, LowRankChange};
use crate::model::dropout::{Masks, dropout};
use crate::model::linear_layer::LinearLayer;
use crate::model::weights::Weights;

/// Name of m, (1), below the layer.
pub const SCALE: &str = "sorf_scale";
/// Name of θ, (r (r − 1) / 2), below the layer.
pub const ANGLES: &str = "sorf_angles";
/// Name of b_re, (d_out / 2), below the layer.
pub const B_RE: &str = "sorf_b_re";
/// Name of b_im, (d_out / 2), below the layer.
pub const B_IM: &str = "sorf_b_im";

/// SORF-VeRA's settings, with the matrices that its seeds give.
#[derive(Debug, Clone, PartialEq)]
pub struct SorfVera {
    /// Rank r.
    pub r: i64,
    /// First value of m.
    pub d_initial: f64,
    /// Dropout on the adapter's input.
    pub dropout: f64,
    /// A and B.
    pub projection: Projection,
    /// S by d_out, each (d_out, d_out).
    pub transforms: HashMap<i64, HostTensor>,
}

impl SorfVera {
    /// S of width `d_out`, (d_out, d_out).
    ///
    /// # Errors
    /// If S of that width was not made or the device fails.
    pub fn transform(&self, d_out: i64, kind: Kind, device: Device) -> Result<Tensor, ModelError> {
        let missing = || ModelError::Missing {
            name: format!("S of width {d_out}"),
        };
        let s = self.transforms.get(&d_out).ok_or_else(missing)?;
        Ok(s.to_tensor(device)?.f_to_kind(kind)?)
    }

    /// S times each of L matrices, (L, d_out, r).
    fn transformed(&self, matrices: &Tensor) -> Result<Tensor, ModelError> {
        let s = self.transform(matrices.size()[1], matrices.kind(), matrices.device())?;
        Ok(s.f_matmul(matrices)?)
    }
}

impl Adapter for SorfVera {
    fn name(&self) -> &'static str {
        info::INFO.name
    }

    fn tensors(&self, layer: &LinearLayer) -> Vec<AdapterTensor> {
        let tensor = |suffix, len, role| AdapterTensor {
            suffix,
            shape: vec![len],
            role,
        };
        vec![
            tensor(SCALE, 1, Role::Linear),
            tensor(ANGLES, self.r * (self.r - 1) / 2, Role::Trained),
            tensor(B_RE, layer.d_out / 2, Role::Server),
            tensor(B_IM, layer.d_out / 2, Role::Server),
        ]
    }

    fn initial(&self, layer: &LinearLayer, _seed: u64, _round: u32) -> Vec<HostTensor> {
        vec![
            HostTensor::full(&[1], self.d_initial as f32),
            HostTensor::full(&[self.r * (self.r - 1) / 2], 0.0),
            HostTensor::full(&[layer.d_out / 2], 1.0),
            HostTensor::full(&[layer.d_out / 2], 0.0),
        ]
    }

    fn projection(&self) -> Option<&Projection> {
        Some(&self.projection)
    }

    fn prepare(
        &self,
        layers: &[LinearLayer],
        state: &Weights,
        device: Device,
    ) -> Result<Box<dyn Prepared>, ModelError> {
        let mut bases = HashMap::new();
        for group in LayerGroup::of(layers) {
            let (a, b) = self
                .projection
                .slices(group.d_out, group.d_in, Kind::Float, device)?;
            let stacked = |suffix| -> Result<Tensor, ModelError> {
                let names = group.layers.iter().map(|layer| tensor_name(layer, suffix));
                let tensors = names
                    .map(|name| state.get(&name))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(Tensor::f_stack(&tensors, 0)?)
            };
            let left = transform::apply_gamma(&b, &stacked(B_RE)?, &stacked(B_IM)?)?;
            let left = self.transformed(&left)?;
            for (layer, left) in group.layers.iter().zip(left.f_unbind(0)?) {
                bases.insert(layer.module.clone(), (left, a.shallow_clone()));
            }
        }
        Ok(Box::new(PreparedSorf {
            bases,
            dropout: self.dropout,
        }))
    }

    fn rank(&self, _group: &LayerGroup, _updates: usize) -> i64 {
        self.r
    }

    fn factors(
        &self,
        group: &LayerGroup,
        updates: &WeightedUpdates<'_>,
    ) -> Result<Factors, ModelError> {
        let (d_out, d_in) = (group.d_out, group.d_in);
        let (a, b) = self
            .projection
            .slices(d_out, d_in, Kind::Double, updates.device)?;
        Ok(Factors {
            left: self.transformed(&turned(&b, group, updates)?)?,
            right: mean_lambda(group, updates, self.r)?.f_matmul(&a)?,
        })
    }
}

/// `Γ(b) B` per layer with the state's b, (L, d_out, r).
fn turned(
    b: &Tensor,
    group: &LayerGroup,
    updates: &WeightedUpdates<'_>,
) -> Result<Tensor, ModelError> {
    let stacked = |suffix| updates.stack_state(group, suffix);
    transform::apply_gamma(b, &stacked(B_RE)?, &stacked(B_IM)?)
}

/// `Λ̄ = Σ wₖ Λ(mₖ, θₖ)` per layer, (L, r, r), float64. A layer's sum runs in client order, on one
/// core.
///
/// # Errors
/// If a tensor is missing or misshapen, or the device fails.
pub fn mean_lambda(
    group: &LayerGroup,
    updates: &WeightedUpdates<'_>,
    r: i64,
) -> Result<Tensor, ModelError> {
    let layers: Vec<_> = group.layers.iter().collect();
    let sum = |layer| mean_lambda_of(layer, updates, r);
    let sums = torch::threads::in_parallel(layers, sum).into_iter();
    let sums = sums.collect::<Result<Vec<_>, _>>()?.concat();
    let mean = Tensor::f_from_slice(&sums)?.f_view([group.len(), r, r])?;
    Ok(mean.f_to_device(updates.device)?)
}

/// [`mean_lambda`] of one layer, row-major (r, r).
fn mean_lambda_of(
    layer: &LinearLayer,
    updates: &WeightedUpdates<'_>,
    r: i64,
) -> Result<Vec<f64>, ModelError> {
    let (scale, angles) = (tensor_name(layer, SCALE), tensor_name(layer, ANGLES));
    let mut sum = vec![0.0; (r * r) as usize];
    for (update, weight) in updates.updates.iter().zip(updates.weights) {
        let scale = updates.values(update, &scale, &[1])?[0];
        let angles = updates.values(update, &angles, &[r * (r - 1) / 2])?;
        let angles: Vec<f64> = angles.iter().map(|t| f64::from(*t)).collect();
        let rotation = Rotation::from_angles(r as usize, &angles)?;
        let weight = weight * f64::from(scale);
        let entries = sum.iter_mut().zip(rotation.entries());
        entries.for_each(|(sum, g)| *sum += weight * g);
    }
    Ok(sum)
}

struct PreparedSorf {
    /// P (d_out, r) and A (r, d_in) by module.
    bases: HashMap<String, (Tensor, Tensor)>,
    dropout: f64,
}

impl PreparedSorf {
    /// What the delta of a layer needs besides Λ: P and A.
    fn bases_of(&self, layer: &LinearLayer) -> Result<(Tensor, Tensor), ModelError> {
        let missing = || ModelError::Missing {
            name: format!("{}.vera_A", layer.module),
        };
        let (left, a) = self.bases.get(&layer.module).ok_or_else(missing)?;
        Ok((left.shallow_clone(), a.shallow_clone()))
    }
}

impl Prepared for PreparedSorf {
    fn attach(&self, layer: &LinearLayer, trained: &Weights) -> Result<Rc<dyn Delta>, ModelError> {
        let mut attached = self.attach_all(std::slice::from_ref(layer), trained)?;
        let none = || ModelError::Refused(format!("{} has no adapter", layer.module));
        attached.pop().ok_or_else(none)
    }

    fn attach_all(
        &self,
        layers: &[LinearLayer],
        trained: &Weights,
    ) -> Result<Vec<Rc<dyn Delta>>, ModelError> {
        let (mut bases, mut turned) = (Vec::new(), Vec::new());
        for layer in layers {
            bases.push(self.bases_of(layer)?);
            turned.push(LambdaTensors {
                scale: trained.get(&tensor_name(layer, SCALE))?,
                angles: trained.get(&tensor_name(layer, ANGLES))?,
                a: bases[bases.len() - 1].1.shallow_clone(),
            });
        }
        let r = bases.first().map_or(0, |(_, a)| a.size()[0]);
        let lambdas = Rc::new(Lambdas::new(r, turned));
        let attached = bases.into_iter().enumerate().map(|(layer, (left, a))| {
            Rc::new(SorfDelta {
                left,
                a,
                lambdas: Rc::clone(&lambdas),
                layer,
                dropout: self.dropout,
            }) as Rc<dyn Delta>
        });
        Ok(attached.collect())
    }
}

struct SorfDelta {
    left: Tensor,
    a: Tensor,
    /// Those of all layers, and which is this one's.
    lambdas: Rc<Lambdas>,
    layer: usize,
    dropout: f64,
}

impl Delta for SorfDelta {
    fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let x = dropout(x, self.dropout, masks)?;
        let narrow = x.f_linear(&self.a, None::<&Tensor>)?;
        let turned = narrow.f_linear(&self.lambdas.of(self.layer)?, None::<&Tensor>)?;
        Ok(turned.f_linear(&self.left, None::<&Tensor>)?)
    }

    fn low_rank(&self) -> Result<Option<LowRankChange>, ModelError> {
        Ok(Some(LowRankChange {
            a: self.lambdas.times_a(self.layer)?,
            b: self.left.shallow_clone(),
            scaling: 1.0,
            dropout: self.dropout,
        }))
    }

    fn finish_backward(&self) -> Result<(), ModelError> {
        self.lambdas.finish_backward()
    }
}
