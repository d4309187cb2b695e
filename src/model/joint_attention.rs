//! Attention of several batches that lie side by side, in one call.

use tch::Tensor;

use crate::base::torch::joint_kernels::{AttendedBatch, JointAttention};
use crate::model::ModelError;
use crate::model::dropout::PassMember;

/// The attended values of each member's batch by itself, (1, queries of all, hidden), with probabilities
/// dropped. `queries` are those of a row; `None`: as many as its tokens. `biases` are what is added to
/// scores, (rows, 1, 1, tokens), one of each member or none.
///
/// `None` where nothing is dropped, which libtorch's own kernels compute, or ours is not written for what
/// is given.
///
/// # Errors
/// If the batches are not what lies there, or the device fails.
pub(crate) fn attend<'a>(
    all: &JointAttention<'_>,
    members: &[PassMember],
    queries: Option<i64>,
    biases: impl IntoIterator<Item = Option<&'a Tensor>>,
    dropout: f64,
) -> Result<Option<Tensor>, ModelError> {
    if dropout == 0.0 || !all.is_known() {
        return Ok(None);
    }
    let mut batches = Vec::with_capacity(members.len());
    let mut threshold = 0;
    for (member, bias) in members.iter().zip(biases) {
        let mask = member.masks.next(dropout)?;
        threshold = mask.threshold;
        batches.push(AttendedBatch {
            rows: member.shape.rows,
            queries: queries.unwrap_or(member.shape.tokens),
            tokens: member.shape.tokens,
            seed: mask.seed,
            bias,
        });
    }
    Ok(Some(all.attend(&batches, threshold)?))
}
