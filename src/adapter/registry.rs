//! Adapters by name.

use std::collections::HashMap;
use std::sync::Arc;

use super::Adapter;
use super::lora::Lora;
use super::projection::Projection;
use super::sorf::{SorfVera, transform};
use super::vera::Vera;
use crate::model::LinearLayer;
use crate::tensors::HostTensor;

/// What the command line and scenario files say of adapters; each kind takes what concerns it.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterSettings {
    /// Rank r, at least 1.
    pub r: i64,
    /// α, for LoRA and rsVeRA.
    pub alpha: f64,
    /// Dropout on the adapter's input.
    pub dropout: f64,
    /// Scales by α/√r: rsLoRA, rsVeRA.
    pub rank_stabilized: bool,
    /// First value of VeRA's d and SORF-VeRA's m.
    pub d_initial: f64,
    /// Key of VeRA's projection.
    pub projection_prng_key: u64,
    /// Seed of SORF's matrices.
    pub sorf_seed: u64,
    /// Starts with ΔW zero where the adapter can.
    pub init_weights: bool,
}

/// Builds an adapter for the layers it will attach to.
pub type Build = fn(&AdapterSettings, &[LinearLayer]) -> Result<Arc<dyn Adapter>, String>;

/// All adapters that can be asked for by name. A new one adds its line here.
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

fn build_lora(
    settings: &AdapterSettings,
    _layers: &[LinearLayer],
) -> Result<Arc<dyn Adapter>, String> {
    Ok(Arc::new(Lora {
        r: settings.r,
        alpha: settings.alpha,
        dropout: settings.dropout,
        rank_stabilized: settings.rank_stabilized,
        init_weights: settings.init_weights,
    }))
}

fn build_vera(
    settings: &AdapterSettings,
    layers: &[LinearLayer],
) -> Result<Arc<dyn Adapter>, String> {
    let rank_stabilized = settings.alpha / (settings.r as f64).sqrt();
    Ok(Arc::new(Vera {
        r: settings.r,
        d_initial: settings.d_initial,
        dropout: settings.dropout,
        scaling: if settings.rank_stabilized {
            rank_stabilized
        } else {
            1.0
        },
        init_weights: settings.init_weights,
        projection: Projection::from_key(settings.projection_prng_key, settings.r, layers),
    }))
}

fn build_sorf_vera(
    settings: &AdapterSettings,
    layers: &[LinearLayer],
) -> Result<Arc<dyn Adapter>, String> {
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
        if settings.r > narrowest {
            let (module, r) = (&layer.module, settings.r);
            return Err(format!(
                "r = {r} is more than the {narrowest} of {module}'s smaller side; SORF-VeRA needs \
                 a rank of at most that"
            ));
        }
        transforms.entry(d).or_insert_with(|| {
            let entries = transform::orthogonal(d as usize, settings.sorf_seed);
            let mut matrix = HostTensor::full(&[d, d], 0.0);
            let values = matrix.values_mut().iter_mut().zip(entries);
            values.for_each(|(value, entry)| *value = entry as f32);
            matrix
        });
    }
    Ok(Arc::new(SorfVera {
        r: settings.r,
        d_initial: settings.d_initial,
        dropout: settings.dropout,
        projection: Projection::from_key(settings.projection_prng_key, settings.r, layers),
        transforms,
    }))
}
