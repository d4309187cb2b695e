//! The activations that a `config.json` can name: all of transformers' `ACT2FN`.

use std::f64::consts::{FRAC_2_SQRT_PI, SQRT_2};

use serde::{Serialize, Serializer};
use tch::{TchError, Tensor};

use crate::base::torch::kernels::SigmoidGate;
use crate::base::torch::narrow_sequential::NarrowActivation;

/// The activation between the two feed-forward layers, by its name in `hidden_act`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x Φ(x)` (Hendrycks and Gimpel, *Gaussian Error Linear Units*, 2016).
    Gelu,
    /// The same, which transformers computes from `erf`.
    GeluPython,
    /// GELU, cut off at −10 and 10.
    Gelu10,
    /// GELU by its tanh approximation, as are the next three; they differ in their rounding.
    GeluNew,
    /// See [`Activation::GeluNew`].
    GeluFast,
    /// See [`Activation::GeluNew`].
    GeluAccurate,
    /// See [`Activation::GeluNew`].
    GeluPytorchTanh,
    /// `x σ(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²`.
    Relu2,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x`, or `0.01 x` below 0.
    LeakyRelu,
    /// `x σ(x)`.
    Silu,
    /// Another name of [`Activation::Silu`].
    Swish,
    /// `x tanh(softplus(x))`.
    Mish,
    /// `tanh(x)`.
    Tanh,
    /// `σ(x)`.
    Sigmoid,
    /// `x`.
    Linear,
    /// `(1 + erf((x − μ) / (σ √2))) / 2` with μ = 0.707107 and σ = 0.282095.
    Laplace,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Gelu,
        Self::GeluPython,
        Self::Gelu10,
        Self::GeluNew,
        Self::GeluFast,
        Self::GeluAccurate,
        Self::GeluPytorchTanh,
        Self::QuickGelu,
        Self::Relu,
        Self::Relu2,
        Self::Relu6,
        Self::LeakyRelu,
        Self::Silu,
        Self::Swish,
        Self::Mish,
        Self::Tanh,
        Self::Sigmoid,
        Self::Linear,
        Self::Laplace,
    ];

    /// Its name in `hidden_act`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluPython => "gelu_python",
            Self::Gelu10 => "gelu_10",
            Self::GeluNew => "gelu_new",
            Self::GeluFast => "gelu_fast",
            Self::GeluAccurate => "gelu_accurate",
            Self::GeluPytorchTanh => "gelu_pytorch_tanh",
            Self::QuickGelu => "quick_gelu",
            Self::Relu => "relu",
            Self::Relu2 => "relu2",
            Self::Relu6 => "relu6",
            Self::LeakyRelu => "leaky_relu",
            Self::Silu => "silu",
            Self::Swish => "swish",
            Self::Mish => "mish",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Linear => "linear",
            Self::Laplace => "laplace",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// What a layer in bfloat16 makes of its output, if it can be this.
    #[must_use]
    pub fn in_bfloat16(self) -> Option<NarrowActivation> {
        match self {
            Self::Gelu | Self::GeluPython => Some(NarrowActivation::Gelu),
            _ => self.sigmoid_gate().map(NarrowActivation::Gate),
        }
    }

    /// The sigmoid that it multiplies its input by, if it does.
    fn sigmoid_gate(self) -> Option<SigmoidGate> {
        let (linear, cubic) = match self {
            // 1 + tanh(u) is 2 σ(2 u), and u is √(2/π) (x + 0.044715 x³).
            Self::GeluNew | Self::GeluFast | Self::GeluAccurate | Self::GeluPytorchTanh => {
                let linear = SQRT_2 * FRAC_2_SQRT_PI;
                (linear, 0.044715 * linear)
            }
            Self::QuickGelu => (1.702, 0.0),
            Self::Silu | Self::Swish => (1.0, 0.0),
            _ => return None,
        };
        Some(SigmoidGate { linear, cubic })
    }

    /// The activation of each value.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(self, x: &Tensor) -> Result<Tensor, TchError> {
        if let Some(gate) = self.sigmoid_gate()
            && let Some(y) = gate.forward(x, None)?
        {
            return Ok(y);
        }
        self.by_libtorch(x)
    }

    /// The activation of each value times another, of the same shape.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn gating(self, x: &Tensor, gated: &Tensor) -> Result<Tensor, TchError> {
        if let Some(gate) = self.sigmoid_gate()
            && let Some(y) = gate.forward(x, Some(gated))?
        {
            return Ok(y);
        }
        self.by_libtorch(x)?.f_mul(gated)
    }

    fn by_libtorch(self, x: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Gelu | Self::GeluPython => x.f_gelu("none"),
            Self::Gelu10 => x.f_gelu("none")?.f_clamp(-10.0, 10.0),
            Self::GeluNew | Self::GeluFast | Self::GeluAccurate | Self::GeluPytorchTanh => {
                x.f_gelu("tanh")
            }
            Self::QuickGelu => x.f_mul_scalar(1.702)?.f_sigmoid()?.f_mul(x),
            Self::Relu => x.f_relu(),
            Self::Relu2 => x.f_relu()?.f_square(),
            Self::Relu6 => x.f_relu6(),
            Self::LeakyRelu => x.f_leaky_relu(),
            Self::Silu | Self::Swish => x.f_silu(),
            Self::Mish => x.f_mish(),
            Self::Tanh => x.f_tanh(),
            Self::Sigmoid => x.f_sigmoid(),
            Self::Linear => Ok(x.shallow_clone()),
            Self::Laplace => {
                // As transformers writes them: 1/√2 and 1/(2√π) to six digits.
                #[expect(
                    clippy::approx_constant,
                    reason = "the digits are part of the definition"
                )]
                let (mean, deviation) = (0.707_107, 0.282_095);
                let x = x.f_sub_scalar(mean)?.f_div_scalar(deviation * SQRT_2)?;
                x.f_erf()?.f_add_scalar(1.0)?.f_mul_scalar(0.5)
            }
        }
    }
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// What transformers 4.46.2 gives in float64 for [`AT`]: the names, and the values.
    const RIGHT: &str = "
        gelu gelu_python: 0.0 -0.004049694 -0.158655254 -0.100323419 0.0 0.345731231 0.841344746 1.954499736 7.0 11.5
        gelu_10: 0.0 -0.004049694 -0.158655254 -0.100323419 0.0 0.345731231 0.841344746 1.954499736 7.0 10.0
        gelu_fast gelu_new gelu_pytorch_tanh gelu_accurate: 0.0 -0.003637392 -0.158808009 -0.100324649 0.0 0.34571401 0.841191991 1.954597694 7.0 11.5
        laplace: 0.0 0.0 1e-9 0.000345843 0.00609446 0.231421148 0.850429649 0.99999771 1.0 1.0
        leaky_relu: -0.12 -0.03 -0.01 -0.0025 0.0 0.5 1.0 2.0 7.0 11.5
        linear: -12.0 -3.0 -1.0 -0.25 0.0 0.5 1.0 2.0 7.0 11.5
        mish: -7.373e-5 -0.145647461 -0.303401461 -0.129926964 0.0 0.375245211 0.865098388 1.94395896 6.99998838 11.499999998
        quick_gelu: -1.6e-8 -0.01807131 -0.154204234 -0.09880035 0.0 0.350388437 0.845795766 1.935658623 6.999953128 11.499999964
        relu: 0.0 0.0 0.0 0.0 0.0 0.5 1.0 2.0 7.0 11.5
        relu2: 0.0 0.0 0.0 0.0 0.0 0.25 1.0 4.0 49.0 132.25
        relu6: 0.0 0.0 0.0 0.0 0.0 0.5 1.0 2.0 6.0 6.0
        sigmoid: 6.144e-6 0.047425873 0.268941421 0.437823499 0.5 0.622459331 0.731058579 0.880797078 0.999088949 0.99998987
        silu swish: -7.373e-5 -0.14227762 -0.268941421 -0.109455875 0.0 0.311229666 0.731058579 1.761594156 6.993622642 11.499883505
        tanh: -1.0 -0.995054754 -0.761594156 -0.244918662 0.0 0.462117157 0.761594156 0.96402758 0.999998337 1.0
    ";
    const AT: [f64; 10] = [-12.0, -3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0, 7.0, 11.5];

    #[test]
    fn every_activation_that_transformers_names_gives_its_values() {
        let mut named = Vec::new();
        for row in RIGHT.trim().lines() {
            let (names, right) = row.split_once(':').unwrap();
            let right: Vec<f64> = right
                .split_whitespace()
                .map(|x| x.parse().unwrap())
                .collect();
            assert_eq!(right.len(), AT.len());
            for name in names.split_whitespace() {
                let activation = Activation::find(name).unwrap();
                let got = activation.forward(&Tensor::from_slice(&AT)).unwrap();
                let got = Vec::<f64>::try_from(&got).unwrap();
                for ((x, got), right) in AT.iter().zip(got).zip(&right) {
                    assert!(
                        (got - right).abs() < 2e-8,
                        "{name}({x}) is {got}, not {right}"
                    );
                }
                named.push(name);
            }
        }
        assert_eq!(named.len(), 19);
        assert!(Activation::ALL.iter().all(|it| named.contains(&it.name())));
    }

    /// Values from −12 to 12, to which rounding to bfloat16 does nothing.
    fn values(count: i64, step: f64) -> Tensor {
        let places = Tensor::arange(count, (Kind::Double, Device::Cpu));
        let values = (places * step).sin() * 12.0;
        values.to_kind(Kind::BFloat16).to_kind(Kind::Double)
    }

    /// A weighted sum's gradients by the leaves, and its terms.
    fn results(y: &Tensor, leaves: [&Tensor; 2]) -> [Tensor; 3] {
        let weights = values(y.size()[0], 0.9).to_kind(y.kind());
        (y * weights).sum(Kind::Double).backward();
        let all = [y.detach(), leaves[0].grad(), leaves[1].grad()];
        all.map(|x| x.to_kind(Kind::Double))
    }

    #[test]
    fn what_is_gated_in_one_pass_and_its_gradients_are_those_of_float64() {
        let leaf = |x: &Tensor, kind| x.to_kind(kind).copy().set_requires_grad(true);
        let is_gate = |it: &Activation| it.sigmoid_gate().is_some();
        for activation in Activation::ALL.into_iter().filter(is_gate) {
            // Below, at and above what is computed at a time.
            for count in [1, 8, 29, 9001] {
                let (x, gated) = (values(count, 0.7), values(count, 1.3));
                let (left, right) = (leaf(&x, Kind::Double), leaf(&gated, Kind::Double));
                let y = activation.by_libtorch(&left).unwrap() * &right;
                let exact = results(&y, [&left, &right]);
                for (kind, allowed) in [(Kind::Float, 1e-6), (Kind::BFloat16, 4e-3)] {
                    let (left, right) = (leaf(&x, kind), leaf(&gated, kind));
                    let y = activation.gating(&left, &right).unwrap();
                    let alone = activation.forward(&left).unwrap() * &right;
                    let found = results(&y, [&left, &right]);
                    let name = activation.name();
                    for (found, exact) in found.iter().zip(&exact) {
                        let miss = (found - exact).abs().max().double_value(&[]);
                        let largest = exact.abs().max().double_value(&[]);
                        assert!(miss <= allowed * largest, "{name} of {count}: {miss:e}");
                    }
                    let apart = (alone - y).abs().max().double_value(&[]);
                    assert!(
                        apart <= 2.0 * allowed * 144.0,
                        "{name} of {count}: {apart:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_has_no_sigmoid_is_multiplied_by_what_it_gates() {
        let (x, gated) = (Tensor::from_slice(&AT), values(10, 1.3));
        for activation in [Activation::Gelu, Activation::Relu, Activation::Mish] {
            let y = activation.gating(&x, &gated).unwrap();
            assert_eq!(y, activation.forward(&x).unwrap() * &gated);
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for activation in [Activation::GeluNew, Activation::Silu, Activation::QuickGelu] {
            let x = Tensor::from_slice(&[f32::NAN, 100.0, -100.0, -1e4]);
            let y = Vec::<f32>::try_from(activation.forward(&x).unwrap()).unwrap();
            assert!(y[0].is_nan() && y[1] == 100.0, "{y:?}");
            assert!(y[2].abs() < 1e-30 && y[3].abs() < 1e-30, "{y:?}");
        }
    }
}
