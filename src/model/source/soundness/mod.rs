//! Whether a checkpoint holds the model that its `config.json` describes.

use std::path::Path;

use crate::base::tensors;
use crate::base::tensors::index::TensorInfo;
use crate::base::tensors::{HostTensor, TensorMap};
use crate::model::config::{Family, ModelConfig};

/// Number of missing or misshapen tensors that are named; the others are counted.
const NAMED: usize = 2;

/// Looks for every tensor below the head: there, of the right shape, and finite. BERT's pooler may
/// be missing, for it is drawn then.
///
/// # Errors
/// The problem and the expected value. `path`, the file they come from, is asked about what was
/// not read from it.
pub(crate) fn check(base: &TensorMap, config: &ModelConfig, path: &Path) -> Result<(), String> {
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    for (name, shape) in config.base_tensors() {
        match base.get(&name) {
            Some(tensor) if tensor.shape() == shape => {}
            Some(tensor) => misshapen.push((name, tensor.shape(), shape)),
            None if name.contains(".pooler.") => {}
            None => missing.push(name),
        }
    }
    if let Some(first) = missing.first() {
        let index = tensors::index::index(path).unwrap_or_default();
        let remedy = why_missing(first, config.family, &index);
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
    let names = config.base_tensors().into_iter().map(|(name, _)| name);
    names
        .filter_map(|name| Some((base.get(&name)?, name)))
        .try_for_each(|(tensor, name)| check_finite(&name, tensor))
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
fn why_missing(name: &str, family: Family, index: &[TensorInfo]) -> String {
    if let Some(same) = index.iter().find(|tensor| tensor.name == name) {
        return format!(
            "the one of that name holds {}, and weights are F64, F32, F16 or BF16",
            same.kind
        );
    }
    let inside = name.split_once('.').map_or(name, |(_, inside)| inside);
    let prefix = |tensor: &TensorInfo| {
        let prefix = tensor.name.strip_suffix(name);
        let prefix = prefix.or_else(|| tensor.name.strip_suffix(inside))?;
        prefix.ends_with('.').then(|| prefix.to_owned())
    };
    let other = Family::ALL.into_iter().find(|other| *other != family);
    match (index.iter().find_map(prefix), other) {
        (Some(prefix), Some(other)) if prefix == format!("{}.", other.prefix()) => format!(
            "its tensors are those of a {}, config.json's those of a {}: take both files from one \
             checkpoint",
            other.prefix(),
            family.prefix()
        ),
        (Some(prefix), _) => format!(
            "its tensors are named behind {prefix:?}, as a wrapper of the model saves them; save \
             the model inside the wrapper, or take {prefix:?} away: python -c 'from \
             safetensors.torch import load_file as l, save_file as s; f = \"model.safetensors\"; \
             s({{k.removeprefix(\"{prefix}\"): v for k, v in l(f).items()}}, f, {{\"format\": \
             \"pt\"}})'"
        ),
        (None, _) => {
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
