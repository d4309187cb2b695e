//! What a classification head on an encoder is like.

use crate::model::activation::Activation;
use crate::model::tensor_spec::{StartValues, TensorSpec};

/// What a head reads of the last hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The first token's.
    FirstToken,
    /// The mean over the real tokens.
    Mean,
}

/// A norm in a head.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadNorm {
    /// Its module.
    pub module: &'static str,
    /// Added to the variance.
    pub eps: f64,
    /// Whether it has a bias.
    pub bias: bool,
}

/// A head: `output(dropout(norm(activation(dense(dropout(pooled))))))`.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadSpec {
    /// Width of the hidden states.
    pub width: i64,
    /// What it reads.
    pub pooling: Pooling,
    /// Dropout on what it reads.
    pub input_dropout: f64,
    /// The module of its first layer, (width, width).
    pub dense: String,
    /// Whether that has a bias.
    pub dense_bias: bool,
    /// Its first values.
    pub dense_start: StartValues,
    /// Whether the first layer, and the norm, belong to the base: PEFT does not train them with
    /// the head.
    pub dense_in_base: bool,
    /// The activation behind the first layer.
    pub activation: Activation,
    /// The norm behind that.
    pub norm: Option<HeadNorm>,
    /// Dropout before the last layer.
    pub output_dropout: f64,
    /// The module of its last layer, (outputs, width).
    pub output: &'static str,
    /// Its first values.
    pub output_start: StartValues,
}

impl HeadSpec {
    /// `output(dropout(activation(dense(h₀))))`, where all weights are drawn with the architecture's
    /// spread.
    pub(crate) fn of_first_token(width: i64, dense: String, output: &'static str) -> Self {
        Self {
            width,
            pooling: Pooling::FirstToken,
            input_dropout: 0.0,
            dense,
            dense_bias: true,
            dense_start: StartValues::Normal,
            dense_in_base: false,
            activation: Activation::Tanh,
            norm: None,
            output_dropout: 0.0,
            output,
            output_start: StartValues::Normal,
        }
    }

    /// The tensors that are trained with the head, for N outputs.
    pub(crate) fn trained(&self, outputs: i64) -> Vec<TensorSpec> {
        let shape = vec![outputs, self.width];
        let output = linear_tensors(self.output, shape, self.output_start, true);
        match self.dense_in_base {
            true => output,
            false => self.dense().into_iter().chain(output).collect(),
        }
    }

    /// The tensors that belong to the base, which a checkpoint may lack.
    pub(crate) fn in_base(&self) -> Vec<TensorSpec> {
        let tensors = match self.dense_in_base {
            true => self.dense(),
            false => Vec::new(),
        };
        let optional = |tensor| TensorSpec {
            optional: true,
            ..tensor
        };
        tensors.into_iter().map(optional).collect()
    }

    /// The first layer and the norm.
    fn dense(&self) -> Vec<TensorSpec> {
        let shape = vec![self.width, self.width];
        let mut tensors = linear_tensors(&self.dense, shape, self.dense_start, self.dense_bias);
        if let Some(norm) = &self.norm {
            tensors.extend(norm_tensors(norm.module, self.width, norm.bias));
        }
        tensors
    }
}

/// A weight of this shape, (d_out, d_in), and a bias if the layer has one.
fn linear_tensors(
    module: &str,
    shape: Vec<i64>,
    start: StartValues,
    has_bias: bool,
) -> Vec<TensorSpec> {
    let bias = vec![shape[0]];
    let mut tensors = vec![TensorSpec::new(format!("{module}.weight"), shape, start)];
    if has_bias {
        let name = format!("{module}.bias");
        tensors.push(TensorSpec::new(name, bias, StartValues::Zeros));
    }
    tensors
}

/// The tensors of a layer norm.
pub(crate) fn norm_tensors(module: &str, width: i64, has_bias: bool) -> Vec<TensorSpec> {
    let tensor = |end: &str, start| TensorSpec::new(format!("{module}.{end}"), vec![width], start);
    let mut tensors = vec![tensor("weight", StartValues::Ones)];
    if has_bias {
        tensors.push(tensor("bias", StartValues::Zeros));
    }
    tensors
}
