//! Whether a checkpoint holds the model that its `config.json` describes.

use std::collections::BTreeMap;
use std::path::Path;

use crate::base::tensors;
use crate::base::tensors::index::TensorInfo;
use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::architecture::Architecture;
use crate::model::config::KNOWN;
use crate::model::quantised::weight::QuantisedWeight;

/// Number of missing or misshapen tensors that are named; the others are counted.
const NAMED: usize = 2;

/// Looks for every tensor below the head: there, of the right shape, and finite. An optional one
/// may be missing, for it is drawn then.
///
/// # Errors
/// The problem and the expected value. `path`, the file they come from, is asked about what was
/// not read from it.
pub(crate) fn check(
    base: &TensorMap,
    quantised: &BTreeMap<String, QuantisedWeight>,
    architecture: &dyn Architecture,
    path: &Path,
) -> Result<(), String> {
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    let specs = architecture.base_tensors();
    for spec in &specs {
        match base.get(&spec.name) {
            // Looked at before it was quantised.
            None if quantised.contains_key(&spec.name) => {}
            Some(tensor) if tensor.shape() == spec.shape => {}
            Some(tensor) => misshapen.push((&spec.name, tensor.shape(), &spec.shape)),
            None if spec.optional => {}
            None => missing.push(spec.name.clone()),
        }
    }
    if let Some(first) = missing.first() {
        let index = tensors::index::index(path).unwrap_or_default();
        let remedy = why_missing(first, architecture.name(), &index);
        return Err(format!("there is no tensor {}; {remedy}", listed(&missing)));
    }
    if !misshapen.is_empty() {
        let shapes: Vec<_> = misshapen
            .iter()
            .map(|(name, got, right)| format!("{name} of shape {got:?} where it says {right:?}"))
            .collect();
        let shapes = listed(&shapes);
        return Err(format!(
            "it does not fit config.json: {shapes}; take both files from one checkpoint"
        ));
    }
    specs
        .iter()
        .filter_map(|spec| Some((&spec.name, base.get(&spec.name)?)))
        .try_for_each(|(name, tensor)| check_finite(name, tensor))
}

/// Refuses a tensor with a value that is NaN or infinite: whatever is computed from it is as well.
///
/// # Errors
/// The first such value and its position.
pub(crate) fn check_finite(name: &str, tensor: &HostTensor) -> Result<(), String> {
    let Some((position, value)) = tensor.not_finite() else {
        return Ok(());
    };
    Err(format!(
        "tensor {name} has {value} at {position:?}; every weight must be finite, so take a \
         checkpoint from before training diverged"
    ))
}

/// The first names, and the number of others.
fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Why a file has no tensor of that name, by the names that it has, and what would be right.
fn why_missing(name: &str, model: &str, index: &[TensorInfo]) -> String {
    if let Some(same) = index.iter().find(|tensor| tensor.name == name) {
        return format!(
            "the one of that name holds {}, and weights are F64, F32, F16 or BF16",
            same.kind
        );
    }
    if name == "lm_head.weight" {
        return "if the model's output is its embedding, config.json must say \
                \"tie_word_embeddings\": true; else take all files of weights from one whole \
                checkpoint"
            .to_owned();
    }
    let inside = name.split_once('.').map_or(name, |(_, inside)| inside);
    let prefix = |tensor: &TensorInfo| {
        let prefix = tensor.name.strip_suffix(name);
        let prefix = prefix.or_else(|| tensor.name.strip_suffix(inside))?;
        prefix.ends_with('.').then(|| prefix.to_owned())
    };
    let other = |prefix: &str| {
        let names = KNOWN.map(|known| known.name).into_iter();
        let mut others = names.filter(|name| *name != model);
        others.find(|other| prefix.strip_suffix('.') == Some(other))
    };
    let prefix = index.iter().find_map(prefix);
    match (prefix.as_deref().and_then(other), &prefix) {
        (Some(other), _) => format!(
            "its tensors are those of a {other}, config.json's those of a {model}: take both files \
             from one checkpoint"
        ),
        (None, Some(prefix)) => format!(
            "its tensors are named behind {prefix:?}, as a wrapper of the model saves them; save \
             the model inside the wrapper, or take {prefix:?} away: python -c 'from \
             safetensors.torch import load_file as l, save_file as s; f = \"model.safetensors\"; \
             s({{k.removeprefix(\"{prefix}\"): v for k, v in l(f).items()}}, f, {{\"format\": \
             \"pt\"}})'"
        ),
        (None, None) if index.is_empty() => {
            "take config.json and all files of weights from one whole checkpoint".to_owned()
        }
        (None, None) => {
            let first = index.first().map_or("nothing", |tensor| &tensor.name);
            format!(
                "it has {} tensors, the first of them {first}; take config.json and \
                 model.safetensors from one whole checkpoint",
                index.len()
            )
        }
    }
}

#[cfg(test)]
mod tests;
