//! VeRA: `ΔW = diag(b) B diag(d) A`; b and d trained, A and B frozen and shared by all layers.
//!
//! Kopiczko et al., *VeRA: Vector-based Random Matrix Adaptation*, 2023; A and B as PEFT draws
//! them, so that adapters can be exchanged with it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use rand_distr::{Distribution, StandardNormal};
use regatta_actors::random::StreamKey;
use tch::{Device, Kind, Tensor};

use crate::adapter::factors::Factors;
use crate::adapter::info::AdapterInfo;
use crate::adapter::population::{CLIENTS_AT_ONCE, LayerGroup, WeightedUpdates, tensor_name};
use crate::adapter::projection::Projection;
use crate::adapter::settings::AdapterPlan;
use crate::adapter::{Adapter, AdapterTensor, Prepared, Role};
use crate::base::tensors::HostTensor;
use crate::model::ModelError;
use crate::model::delta::{Delta, ThinProduct};
use crate::model::dropout::{Masks, dropout};
use crate::model::linear_layer::LinearLayer;
use crate::model::weights::Weights;

/// Name of b, (d_out), below the layer.
pub const LAMBDA_B: &str = "vera_lambda_b";
/// Name of d, (r), below the layer.
pub const LAMBDA_D: &str = "vera_lambda_d";

/// The row of VeRA.
pub(crate) static INFO: AdapterInfo = AdapterInfo {
    name: "vera",
    title: "VeRA",
    paper: "Kopiczko et al., VeRA: Vector-based Random Matrix Adaptation, 2023",
    peft_type: "VERA",
    is_in_peft: true,
    scaling,
    trained_values: |r, (_, d_out)| r + d_out,
    drawn_values: Projection::values,
    build,
};

fn scaling(plan: &AdapterPlan, rank: f64) -> f64 {
    match plan.rank_stabilised {
        false => 1.0,
        true => plan.lora_alpha / rank.sqrt(),
    }
}

fn build(plan: &AdapterPlan, layers: &[LinearLayer]) -> Result<Arc<dyn Adapter>, String> {
    Ok(Arc::new(Vera {
        r: i64::from(plan.r),
        d_initial: plan.d_initial,
        dropout: plan.dropout,
        scaling: scaling(plan, f64::from(plan.r)),
        init_weights: plan.init_weights,
        projection: Projection::from_key(plan.projection_prng_key, i64::from(plan.r), layers),
    }))
}

/// VeRA's settings, with the projection that its key gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Vera {
    /// Rank r.
    pub r: i64,
    /// First value of d.
    pub d_initial: f64,
    /// Dropout on the adapter's input.
    pub dropout: f64,
    /// s: 1, or α/√r when rank-stabilised.
    pub scaling: f64,
    /// Starts with b zero, so that ΔW is zero; otherwise b is one and d is drawn, as in PEFT.
    pub init_weights: bool,
    /// A and B.
    pub projection: Projection,
}

impl Adapter for Vera {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn tensors(&self, layer: &LinearLayer) -> Vec<AdapterTensor> {
        vec![
            AdapterTensor {
                suffix: LAMBDA_B,
                shape: vec![layer.d_out],
                role: Role::Linear,
            },
            AdapterTensor {
                suffix: LAMBDA_D,
                shape: vec![self.r],
                role: Role::Trained,
            },
        ]
    }

    fn initial(&self, layer: &LinearLayer, seed: u64, round: u32) -> Vec<HostTensor> {
        if self.init_weights {
            let d = HostTensor::full(&[self.r], self.d_initial as f32);
            return vec![HostTensor::full(&[layer.d_out], 0.0), d];
        }
        let name = tensor_name(layer, LAMBDA_D);
        let key = StreamKey {
            seed,
            purpose: "adapter",
            name: &name,
            round,
            attempt: 0,
        };
        let mut stream = key.stream();
        let mut d = HostTensor::full(&[self.r], 0.0);
        d.values_mut()
            .fill_with(|| StandardNormal.sample(&mut stream));
        vec![HostTensor::full(&[layer.d_out], 1.0), d]
    }

    fn projection(&self) -> Option<&Projection> {
        Some(&self.projection)
    }

    fn prepare(
        &self,
        layers: &[LinearLayer],
        _state: &Weights,
        device: Device,
    ) -> Result<Box<dyn Prepared>, ModelError> {
        let mut projections = HashMap::new();
        for group in LayerGroup::of(layers) {
            let shape = (group.d_out, group.d_in);
            let slices = self
                .projection
                .slices(shape.0, shape.1, Kind::Float, device)?;
            projections.insert(shape, slices);
        }
        Ok(Box::new(PreparedVera {
            vera: self.clone(),
            projections,
        }))
    }

    fn rank(&self, _group: &LayerGroup, _updates: usize) -> i64 {
        self.r
    }

    /// `Σ wₖ diag(bₖ) B diag(dₖ) A = (B ∘ M) A` with `M = Σ wₖ bₖ dₖᵀ`: of rank r, however many
    /// the clients.
    fn factors(
        &self,
        group: &LayerGroup,
        updates: &WeightedUpdates<'_>,
    ) -> Result<Factors, ModelError> {
        let (d_out, d_in) = (group.d_out, group.d_in);
        let (a, b) = self
            .projection
            .slices(d_out, d_in, Kind::Double, updates.device)?;
        let shape = [group.len(), d_out, self.r];
        let mut m = Tensor::f_zeros(shape, (Kind::Double, updates.device))?;
        for some in updates.chunks(CLIENTS_AT_ONCE) {
            let lambda_b = some.stack(group, LAMBDA_B)?.f_permute([1, 2, 0])?;
            let lambda_d = some.stack(group, LAMBDA_D)?.f_transpose(0, 1)?;
            let weights = some.weights()?.f_mul_scalar(self.scaling)?;
            let _ = m.f_add_(&lambda_b.f_mul(&weights)?.f_matmul(&lambda_d)?)?;
        }
        Ok(Factors {
            left: m.f_mul(&b)?,
            right: a.f_expand([group.len(), -1, -1], false)?,
        })
    }
}

struct PreparedVera {
    vera: Vera,
    projections: HashMap<(i64, i64), (Tensor, Tensor)>,
}

impl Prepared for PreparedVera {
    fn attach(&self, layer: &LinearLayer, trained: &Weights) -> Result<Rc<dyn Delta>, ModelError> {
        let projection = self.projections.get(&(layer.d_out, layer.d_in));
        let missing = || ModelError::Missing {
            name: format!("{}.vera_A", layer.module),
        };
        let (a, b) = projection.ok_or_else(missing)?;
        Ok(Rc::new(VeraDelta {
            a: a.shallow_clone(),
            b: b.shallow_clone(),
            lambda_b: trained.get(&tensor_name(layer, LAMBDA_B))?,
            lambda_d: trained.get(&tensor_name(layer, LAMBDA_D))?,
            scaling: self.vera.scaling,
            dropout: self.vera.dropout,
        }))
    }
}

struct VeraDelta {
    a: Tensor,
    b: Tensor,
    lambda_b: Tensor,
    lambda_d: Tensor,
    scaling: f64,
    dropout: f64,
}

impl Delta for VeraDelta {
    fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let x = dropout(x, self.dropout, masks)?;
        let narrow = x.f_linear(&self.a, None::<&Tensor>)?;
        // In the kind of what they multiply, or all that comes after would be as wide as they are.
        let lambda_d = self.lambda_d.f_mul_scalar(self.scaling)?;
        let narrow = narrow.f_mul(&lambda_d.f_to_kind(narrow.kind())?)?;
        let wide = narrow.f_linear(&self.b, None::<&Tensor>)?;
        Ok(wide.f_mul(&self.lambda_b.f_to_kind(wide.kind())?)?)
    }

    fn thin_product(&self) -> Option<ThinProduct<'_>> {
        Some(ThinProduct {
            a: &self.a,
            b: &self.b,
            vectors: Some((&self.lambda_d, &self.lambda_b)),
            scaling: self.scaling,
            dropout: self.dropout,
        })
    }
}
