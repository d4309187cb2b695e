//! The state before the first round.

use crate::adapter;
use crate::adapter::peft::BASE_DELTA;
use crate::adapter::peft::import::PeftFolder;
use crate::adapter::population::{WeightedUpdates, tensor_name};
use crate::aggregate::exactness::subtract_from_base;
use crate::aggregate::state::GlobalState;
use crate::base::tensors::HostTensor;
use crate::experiment::prepared::Experiment;
use crate::model::linear_layer::LinearLayer;

/// Adapter, head and base delta before the first round; an error comes with its setting.
pub(crate) fn initial_state(
    experiment: &Experiment,
    start_from: Option<PeftFolder>,
) -> Result<GlobalState, (&'static str, String)> {
    let seed = experiment.plan.seed;
    let adapter = &*experiment.adapter;
    let mut trained = adapter::initial_state(adapter, &experiment.layers, seed, 0);
    trained.0.extend(experiment.checkpoint.head.clone().0);
    for name in &experiment.trained_base {
        if let Some(tensor) = experiment.checkpoint.base.get(name) {
            trained.insert(name, tensor.clone());
        }
    }
    let mut state = GlobalState {
        trained,
        ..GlobalState::default()
    };
    if let Some(folder) = start_from {
        let path = folder.tensor_file();
        lay_over(&mut state, folder, experiment)
            .map_err(|error| ("init_adapter", format!("{}: {error}", path.display())))?;
    }
    if experiment.method.starts_at_pretrained() {
        start_at_pretrained(experiment, &mut state).map_err(|error| ("agg_type", error))?;
    }
    Ok(state)
}

/// Replaces tensors by those of a PEFT folder. The head may be absent there, the adapter may not;
/// what is not trained may be there if it is as in the model.
fn lay_over(
    state: &mut GlobalState,
    folder: PeftFolder,
    experiment: &Experiment,
) -> Result<(), String> {
    let base = &experiment.checkpoint.base;
    for layer in &experiment.layers {
        for tensor in experiment.adapter.tensors(layer) {
            let name = tensor_name(layer, tensor.suffix);
            if folder.tensors.get(&name).is_none() {
                return Err(format!("it has no tensor {name}"));
            }
        }
    }
    if let (Some(saved), Some(own)) = (&folder.projection, experiment.adapter.projection())
        && saved != own
    {
        return Err(
            "its projection is not the one that its projection_prng_key gives, which Regatta \
             uses; save the adapter in float32, with the key it was drawn from"
                .to_owned(),
        );
    }
    for (name, tensor) in folder.tensors.0 {
        if state.trained.get(&name).is_none() && base.get(&name) == Some(&tensor) {
            continue;
        }
        let known = state.trained.get(&name).ok_or_else(|| {
            format!(
                "the run trains no tensor {name}; bias and modules_to_save say what is trained \
                 beside adapter and head"
            )
        })?;
        same_shape(&name, known.shape(), &tensor)?;
        state.trained.insert(name, tensor);
    }
    for (name, delta) in folder.base_delta.0 {
        let known = experiment.checkpoint.base_shape(&name);
        let known =
            known.ok_or_else(|| format!("the model has no {name}, which {BASE_DELTA} changes"))?;
        same_shape(&name, &known, &delta)?;
        state.base_delta.insert(name, delta);
    }
    Ok(())
}

fn same_shape(name: &str, want: &[i64], saved: &HostTensor) -> Result<(), String> {
    let got = saved.shape();
    if got == want {
        return Ok(());
    }
    Err(format!(
        "tensor {name} has shape {got:?}, the run's has {want:?}"
    ))
}

/// Subtracts the first ΔW from the base.
fn start_at_pretrained(experiment: &Experiment, state: &mut GlobalState) -> Result<(), String> {
    for group in &experiment.groups {
        let trained = &state.trained.clone();
        let device = experiment.plan.devices.server.into();
        let own = WeightedUpdates::of_one(trained, &trained, device);
        experiment
            .adapter
            .factors(group, &own)
            .and_then(|update| subtract_from_base(&update, group, state))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Bytes of the adapter's tensors that never travel: every client draws them from the seed.
pub(crate) fn unsent_bytes(experiment: &Experiment) -> u64 {
    let unsent = |layer: &LinearLayer| {
        let tensors = experiment.adapter.tensors(layer).into_iter();
        let drawn = tensors.filter(|tensor| !experiment.method.sends(tensor));
        drawn
            .map(|t| t.shape.iter().product::<i64>() as u64 * size_of::<f32>() as u64)
            .sum::<u64>()
    };
    experiment.layers.iter().map(unsent).sum()
}
