//! SORF-VeRA's row in the table of adapters.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::adapter::Adapter;
use crate::adapter::info::{AdapterInfo, LayerSize};
use crate::adapter::projection::Projection;
use crate::adapter::settings::AdapterPlan;
use crate::adapter::sorf::{SorfVera, transform};
use crate::base::tensors::HostTensor;
use crate::model::linear_layer::LinearLayer;

/// The row of SORF-VeRA.
pub(crate) static INFO: AdapterInfo = AdapterInfo {
    name: "sorf_vera",
    title: "SORF-VeRA",
    paper: "no paper: as in the Python project that Regatta's flags come from; S after Yu et al., \
            Orthogonal Random Features, 2016",
    peft_type: "SORF_VERA",
    is_in_peft: false,
    scaling: |_, _| 1.0,
    trained_values: |r, (_, d_out)| r.saturating_mul(r) / 2 + d_out,
    drawn_values,
    build,
};

/// A and B, and an S of each width.
fn drawn_values(r: u64, layers: &[LayerSize]) -> u64 {
    let widths: BTreeSet<u64> = layers.iter().map(|(_, d_out)| *d_out).collect();
    let squares = widths.iter().map(|d| d.saturating_mul(*d));
    squares.fold(Projection::values(r, layers), u64::saturating_add)
}

fn build(plan: &AdapterPlan, layers: &[LinearLayer]) -> Result<Arc<dyn Adapter>, String> {
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
