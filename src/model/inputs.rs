//! A batch as a model takes it.

use tch::Tensor;

/// One padded batch on a device.
#[derive(Debug)]
pub struct Inputs {
    /// Token ids, (rows, tokens), int64.
    pub ids: Tensor,
    /// 1 at real tokens, 0 at padding, (rows, tokens), int64.
    pub mask: Tensor,
    /// Token types, (rows, tokens), int64; a RoBERTa with one type ignores them.
    pub types: Tensor,
    /// Whether any position is padding. Known on the host, so that no device has to be asked.
    pub padded: bool,
}
