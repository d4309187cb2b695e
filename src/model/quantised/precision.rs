//! What a frozen weight is held in.

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::quantised::nf4;

/// What the frozen weights of a transformer's layers are held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum BasePrecision {
    /// 32 bits, as many as a model's file has at most.
    Float32,
    /// Half of float32's bits: 8 bits of precision.
    Bfloat16,
    /// 8 bits, with a scale for each output of a layer.
    Int8,
    /// 4 bits, with a scale for each 64 weights.
    Nf4,
}

impl BasePrecision {
    /// Bytes of a weight.
    #[must_use]
    pub fn bytes(self, d_out: i64, d_in: i64) -> u64 {
        let (rows, columns) = (d_out.max(0) as u64, d_in.max(0) as u64);
        let values = rows.saturating_mul(columns);
        match self {
            Self::Float32 => values.saturating_mul(4),
            Self::Bfloat16 => values.saturating_mul(2),
            Self::Int8 => values.saturating_add(rows.saturating_mul(4)),
            Self::Nf4 => values.div_ceil(2) + values.div_ceil(nf4::BLOCK as u64).saturating_mul(4),
        }
    }
}
