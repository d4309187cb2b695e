//! LoRA: `ΔW = B A`, both trained.
//!
//! Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, 2021. rsLoRA changes the
//! scaling from α/r to α/√r: Kalajdzievski, *A Rank Stabilization Scaling Factor for Fine-Tuning
//! with LoRA*, 2023.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use rand::RngExt;
use regatta_actors::random::StreamKey;
use tch::{Device, Tensor};

use crate::adapter::factors::Factors;
use crate::adapter::info::AdapterInfo;
use crate::adapter::population::{LayerGroup, WeightedUpdates, tensor_name};
use crate::adapter::settings::{AdapterPlan, LayerRank};
use crate::adapter::{Adapter, AdapterTensor, Prepared, Role};
use crate::base::tensors::HostTensor;
use crate::model::ModelError;
use crate::model::delta::{Delta, ThinProduct};
use crate::model::dropout::{Masks, dropout};
use crate::model::linear_layer::LinearLayer;
use crate::model::weights::Weights;

/// Name of A, (r, d_in), below the layer.
pub const A: &str = "lora_A.weight";
/// Name of B, (d_out, r), below the layer.
pub const B: &str = "lora_B.weight";

/// The row of LoRA.
pub(crate) static INFO: AdapterInfo = AdapterInfo {
    name: "lora",
    title: "LoRA",
    paper: "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021",
    peft_type: "LORA",
    is_in_peft: true,
    scaling: |plan, rank| match plan.rank_stabilised {
        false => plan.lora_alpha / rank,
        true => plan.lora_alpha / rank.sqrt(),
    },
    trained_values: |r, (d_in, d_out)| r.saturating_mul(d_in + d_out),
    drawn_values: |_, _| 0,
    build,
};

fn build(plan: &AdapterPlan, _layers: &[LinearLayer]) -> Result<Arc<dyn Adapter>, String> {
    Ok(Arc::new(Lora {
        r: i64::from(plan.r),
        alpha: plan.lora_alpha,
        own: plan.layer_ranks.clone(),
        dropout: plan.dropout,
        rank_stabilized: plan.rank_stabilised,
        init_weights: plan.init_weights,
    }))
}

/// LoRA's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// Rank r.
    pub r: i64,
    /// α.
    pub alpha: f64,
    /// r and α of the layers that have others, by module.
    pub own: BTreeMap<String, LayerRank>,
    /// Dropout on the adapter's input.
    pub dropout: f64,
    /// Scales by α/√r rather than α/r.
    pub rank_stabilized: bool,
    /// Starts with B zero, so that ΔW is zero; otherwise B is drawn like A.
    pub init_weights: bool,
}

impl Lora {
    /// A layer's rank.
    #[must_use]
    pub fn rank_of(&self, layer: &LinearLayer) -> i64 {
        let own = self.own.get(&layer.module);
        own.map_or(self.r, |own| i64::from(own.r))
    }

    /// s, by which a layer's ΔW is scaled.
    #[must_use]
    pub fn scaling(&self, layer: &LinearLayer) -> f64 {
        let own = self.own.get(&layer.module);
        let alpha = own.map_or(self.alpha, |own| own.alpha);
        let r = self.rank_of(layer) as f64;
        alpha / if self.rank_stabilized { r.sqrt() } else { r }
    }
}

impl Adapter for Lora {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn tensors(&self, layer: &LinearLayer) -> Vec<AdapterTensor> {
        let a = AdapterTensor {
            suffix: A,
            shape: vec![self.rank_of(layer), layer.d_in],
            role: Role::Trained,
        };
        let b = AdapterTensor {
            suffix: B,
            shape: vec![layer.d_out, self.rank_of(layer)],
            role: Role::Linear,
        };
        vec![a, b]
    }

    fn initial(&self, layer: &LinearLayer, seed: u64, round: u32) -> Vec<HostTensor> {
        let r = self.rank_of(layer);
        let a = kaiming_uniform(&[r, layer.d_in], &tensor_name(layer, A), seed, round);
        let shape = [layer.d_out, r];
        let b = match self.init_weights {
            true => HostTensor::full(&shape, 0.0),
            false => kaiming_uniform(&shape, &tensor_name(layer, B), seed, round),
        };
        vec![a, b]
    }

    fn prepare(
        &self,
        _layers: &[LinearLayer],
        _state: &Weights,
        _device: Device,
    ) -> Result<Box<dyn Prepared>, ModelError> {
        Ok(Box::new(self.clone()))
    }

    fn rank(&self, group: &LayerGroup, updates: usize) -> i64 {
        let r = group.layers.first().map_or(self.r, |l| self.rank_of(l));
        r * updates as i64
    }

    fn factors(
        &self,
        group: &LayerGroup,
        updates: &WeightedUpdates<'_>,
    ) -> Result<Factors, ModelError> {
        let (a, b) = (updates.stack(group, A)?, updates.stack(group, B)?);
        let scaling: Vec<f64> = group.layers.iter().map(|l| self.scaling(l)).collect();
        let scaling = Tensor::f_from_slice(&scaling)?.f_to_device(updates.device)?;
        let weights = updates.weights()?.f_view([-1, 1, 1, 1])?;
        let weights = weights.f_mul(&scaling.f_view([1, -1, 1, 1])?)?;
        let weighted = b.f_mul(&weights)?.f_permute([1, 2, 0, 3])?;
        let right = a.f_transpose(0, 1)?;
        Ok(Factors {
            left: weighted.f_reshape([group.len(), group.d_out, -1])?,
            right: right.f_reshape([group.len(), -1, group.d_in])?,
        })
    }
}

impl Prepared for Lora {
    fn attach(&self, layer: &LinearLayer, trained: &Weights) -> Result<Rc<dyn Delta>, ModelError> {
        Ok(Rc::new(LoraDelta {
            a: trained.get(&tensor_name(layer, A))?,
            b: trained.get(&tensor_name(layer, B))?,
            scaling: self.scaling(layer),
            dropout: self.dropout,
        }))
    }
}

/// Kaiming-uniform with a = √5, as `torch.nn.Linear` starts: uniform in ±1/√fan_in.
fn kaiming_uniform(shape: &[i64], name: &str, seed: u64, round: u32) -> HostTensor {
    let key = StreamKey {
        seed,
        purpose: "adapter",
        name,
        round,
        attempt: 0,
    };
    let mut stream = key.stream();
    let bound = (shape[1] as f32).sqrt().recip();
    let mut tensor = HostTensor::full(shape, 0.0);
    tensor
        .values_mut()
        .fill_with(|| stream.random_range(-bound..bound));
    tensor
}

struct LoraDelta {
    a: Tensor,
    b: Tensor,
    scaling: f64,
    dropout: f64,
}

impl Delta for LoraDelta {
    fn forward(&self, x: &Tensor, masks: Option<&Masks>) -> Result<Tensor, ModelError> {
        let x = dropout(x, self.dropout, masks)?;
        let narrow = x
            .f_linear(&self.a, None::<&Tensor>)?
            .f_mul_scalar(self.scaling)?;
        Ok(narrow.f_linear(&self.b, None::<&Tensor>)?)
    }

    fn thin_product(&self) -> Option<ThinProduct<'_>> {
        Some(ThinProduct {
            a: &self.a,
            b: &self.b,
            vectors: None,
            scaling: self.scaling,
            dropout: self.dropout,
        })
    }
}
