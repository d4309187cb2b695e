//! Adapters by name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::adapter::Adapter;
use crate::adapter::lora::Lora;
use crate::adapter::projection::Projection;
use crate::adapter::settings::AdapterPlan;
use crate::adapter::sorf::{SorfVera, transform};
use crate::adapter::vera::Vera;
use crate::base::tensors::HostTensor;
use crate::model::linear_layer::LinearLayer;

/// Builds an adapter for the layers it will attach to.
pub type Build = fn(&AdapterPlan, &[LinearLayer]) -> Result<Arc<dyn Adapter>, String>;

/// All adapters, by name. A new one adds its line here.
pub const ADAPTERS: &[(&str, Build)] = &[
    ("lora", build_lora),
    ("vera", build_vera),
    ("sorf_vera", build_sorf_vera),
];

/// The builder of that name.
#[must_use]
pub fn find(name: &str) -> Option<Build> {
    ADAPTERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, build)| *build)
}

fn build_lora(plan: &AdapterPlan, _layers: &[LinearLayer]) -> Result<Arc<dyn Adapter>, String> {
    Ok(Arc::new(Lora {
        r: i64::from(plan.r),
        alpha: plan.lora_alpha,
        own: plan.layer_ranks.clone(),
        dropout: plan.dropout,
        rank_stabilized: plan.rank_stabilised,
        init_weights: plan.init_weights,
    }))
}

fn build_vera(plan: &AdapterPlan, layers: &[LinearLayer]) -> Result<Arc<dyn Adapter>, String> {
    Ok(Arc::new(Vera {
        r: i64::from(plan.r),
        d_initial: plan.d_initial,
        dropout: plan.dropout,
        scaling: plan.scaling(plan.r),
        init_weights: plan.init_weights,
        projection: Projection::from_key(plan.projection_prng_key, i64::from(plan.r), layers),
    }))
}

fn build_sorf_vera(plan: &AdapterPlan, layers: &[LinearLayer]) -> Result<Arc<dyn Adapter>, String> {
    let mut transforms = HashMap::new();
    for layer in layers {
        let d = layer.d_out;
        if d % 2 != 0 {
            let module = &layer.module;
            return Err(format!(
                "{module} has {d} outputs; SORF-VeRA pairs them as complex numbers and needs an \
                 even number"
            ));
        }
        let narrowest = layer.d_in.min(d);
        if i64::from(plan.r) > narrowest {
            let (module, r) = (&layer.module, plan.r);
            return Err(format!(
                "r = {r} is more than the {narrowest} of {module}'s smaller side; SORF-VeRA needs \
                 a rank of at most that"
            ));
        }
        transforms.entry(d).or_insert_with(|| {
            let entries = transform::orthogonal(d as usize, plan.sorf_seed);
            let mut matrix = HostTensor::full(&[d, d], 0.0);
            let values = matrix.values_mut().iter_mut().zip(entries);
            values.for_each(|(value, entry)| *value = entry as f32);
            matrix
        });
    }
    Ok(Arc::new(SorfVera {
        r: i64::from(plan.r),
        d_initial: plan.d_initial,
        dropout: plan.dropout,
        projection: Projection::from_key(plan.projection_prng_key, i64::from(plan.r), layers),
        transforms,
    }))
}
