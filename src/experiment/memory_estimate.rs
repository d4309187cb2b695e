//! What a client's memory allows: how many examples at once, if any.

use crate::experiment::prepared::Experiment;
use crate::model::quantised::precision::BasePrecision;

/// Estimates the parts that a batch has to be cut into on a device of N bytes.
///
/// Weights take what they are held in, and trained tensors with their gradients and AdamW's two moments
/// 16 bytes a value; an example's activations take what the architecture says. Of weights in fewer bits
/// one at a time is in float32.
///
/// # Errors
/// If not even one example fits; the reason, in bytes.
pub(crate) fn parts(experiment: &Experiment, memory: u64) -> Result<usize, String> {
    let tokens = u64::from(experiment.plan.data.max_seq_length);
    let example = experiment.checkpoint.architecture.activation_bytes(tokens);
    let trained = experiment.initial.trained.bytes();
    let fixed = experiment.checkpoint.base_bytes() + largest_layer(experiment) + 4 * trained;
    let batch = u64::from(experiment.plan.training.batch_size);
    cut(memory, fixed, example, batch)
}

/// Bytes in float32 of the largest weight that is held in fewer bits.
fn largest_layer(experiment: &Experiment) -> u64 {
    let shapes = experiment.checkpoint.quantised.values();
    let bytes = shapes.map(|weight| {
        let [rows, columns] = weight.shape();
        BasePrecision::Float32.bytes(rows, columns)
    });
    bytes.max().unwrap_or(0)
}

/// Parts of at most as many examples as fit in addition to the fixed part.
fn cut(memory: u64, fixed: u64, example: u64, batch: u64) -> Result<usize, String> {
    let fit = memory.saturating_sub(fixed) / example.max(1);
    if fit == 0 {
        let needed = fixed.saturating_add(example);
        return Err(format!(
            "the client has {memory} bytes, and one example takes about {needed}"
        ));
    }
    Ok(batch.div_ceil(fit) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_into_parts_that_fit_and_one_example_has_to() {
        assert_eq!(cut(1000, 100, 50, 16), Ok(1));
        assert_eq!(cut(500, 100, 50, 16), Ok(2));
        assert_eq!(cut(150, 100, 50, 16), Ok(16));
        assert!(cut(149, 100, 50, 16).is_err());
        assert!(cut(50, 100, 50, 16).is_err());
    }
}
