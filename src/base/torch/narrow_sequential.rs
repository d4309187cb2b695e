//! Frozen layers in bfloat16 one after the other, by the C++ in `csrc/narrow_sequential.cpp`: one operation, with
//! the activation between two, and with the norm of the residual sum behind them.

use std::ffi::c_int;
use std::ptr::{from_ref, null};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::kernels::SigmoidGate;
use crate::base::torch::narrow::PackedWeight;
use crate::base::torch::norms::{FrozenNorm, MaskedRows};
use crate::base::torch::owned;

unsafe extern "C" {
    fn shim_narrow_sequential(
        x: *const C_tensor,
        layers: *const GivenFrozenLayer,
        count: usize,
        activation: c_int,
        linear: f64,
        cubic: f64,
        norm: *const GivenNorm,
    ) -> *mut C_tensor;
}

/// As in `csrc/narrow_sequential.cpp`.
#[repr(C)]
struct GivenFrozenLayer {
    weight: *const C_tensor,
    turned: *const C_tensor,
    bias: *const C_tensor,
    inputs: i64,
    outputs: i64,
}

/// As there.
#[repr(C)]
struct GivenNorm {
    weight: *const C_tensor,
    bias: *const C_tensor,
    residual: *const C_tensor,
    eps: f64,
    rows: *const i64,
    seeds: *const u64,
    count: usize,
    threshold: u32,
}

/// What is made of a layer's output while it is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NarrowActivation {
    /// `y Φ(y)`: Hendrycks and Gimpel, *Gaussian Error Linear Units*, 2016.
    Gelu,
    /// The output times a sigmoid of it.
    Gate(SigmoidGate),
}

/// A frozen layer: its weight, and its bias, (d_out), in float32.
#[derive(Debug, Clone, Copy)]
pub struct FrozenLayer<'a>(pub &'a PackedWeight, pub Option<&'a Tensor>);

impl FrozenLayer<'_> {
    /// `y = x Wᵀ + bias` in bfloat16.
    ///
    /// # Shapes
    /// `x` (…, d_in), `y` (…, d_out).
    ///
    /// # Errors
    /// If shapes do not fit, or memory runs out.
    pub fn forward(self, x: &Tensor) -> Result<Tensor, TchError> {
        forward(x, &[self], None, None)
    }

    fn given(self) -> GivenFrozenLayer {
        let Self(weight, bias) = self;
        GivenFrozenLayer {
            weight: weight.forward.as_ptr(),
            turned: weight.backward.as_ptr(),
            bias: bias.map_or(null(), Tensor::as_ptr),
            inputs: weight.inputs,
            outputs: weight.outputs,
        }
    }
}

/// The norm of a residual sum, `norm(dropout(y) + residual)`, of what layers make.
#[derive(Debug, Clone, Copy)]
pub struct NormBehind<'a> {
    /// The norm.
    pub norm: FrozenNorm<'a>,
    /// What is added, of the output's shape; none where it is what the layers read.
    pub residual: Option<&'a Tensor>,
    /// What is dropped of the layers' output.
    pub masks: MaskedRows<'a>,
}

/// What layers make of `x` in bfloat16: one without an activation, or two with one between them; and what a
/// norm behind them makes of that.
///
/// # Shapes
/// `x` (…, d_in of the first), what comes back (…, d_out of the last).
///
/// # Errors
/// If shapes do not fit, these are neither one nor two layers, the batches do not add up to all rows, or
/// memory runs out.
pub fn forward(
    x: &Tensor,
    layers: &[FrozenLayer<'_>],
    activation: Option<NarrowActivation>,
    norm: Option<&NormBehind<'_>>,
) -> Result<Tensor, TchError> {
    let (number, gate) = match activation {
        None => (0, None),
        Some(NarrowActivation::Gelu) => (1, None),
        Some(NarrowActivation::Gate(gate)) => (2, Some(gate)),
    };
    let (linear, cubic) = gate.map_or((0.0, 0.0), |gate| (gate.linear, gate.cubic));
    let layers: Vec<_> = layers.iter().map(|layer| layer.given()).collect();
    let batches = norm.map(|norm| norm.masks.checked(x)).transpose()?;
    let (rows, seeds) = batches.unwrap_or_default();
    let pointer = |tensor: Option<&Tensor>| tensor.map_or(null(), Tensor::as_ptr);
    let norm = norm.map(|behind| GivenNorm {
        weight: behind.norm.weight.as_ptr(),
        bias: pointer(behind.norm.bias),
        residual: pointer(behind.residual),
        eps: behind.norm.eps,
        rows: rows.as_ptr(),
        seeds: seeds.as_ptr(),
        count: rows.len(),
        threshold: u32::from(behind.masks.threshold),
    });
    // SAFETY: the tensors are alive through the call, and so are the slices, of as many elements as told;
    // null means no bias, and no norm; what comes back is null or a tensor of our own.
    unsafe {
        owned(shim_narrow_sequential(
            x.as_ptr(),
            layers.as_ptr(),
            layers.len(),
            number,
            linear,
            cubic,
            norm.as_ref().map_or(null(), from_ref),
        ))
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::base::torch::joint_kernels::dropout_of_parts;
    use crate::base::torch::narrow;
    use crate::base::torch::tests::{leaf, values};
    use crate::base::torch::threads::use_threads;

    /// A weighted sum's gradients by the leaves, and its terms.
    fn results(y: &Tensor, leaves: &[&Tensor]) -> Vec<Tensor> {
        (y * values(&y.size(), 0.3).to_kind(y.kind()))
            .sum(Kind::Double)
            .backward();
        let gradients = leaves.iter().map(|leaf| leaf.grad());
        let all = [y.detach()].into_iter().chain(gradients);
        all.map(|x| x.to_kind(Kind::Double)).collect()
    }

    /// Rounded to bfloat16, values miss by up to 2⁻⁹ of the largest, and several times that where they are
    /// sums of such; those of two layers and a norm twice as much again.
    fn assert_near(found: &[Tensor], exact: &[Tensor], what: &str) {
        assert_within(1.0 / 50.0, found, exact, what);
    }

    fn assert_within(share: f64, found: &[Tensor], exact: &[Tensor], what: &str) {
        assert_eq!(found.len(), exact.len(), "{what}");
        for (at, (found, exact)) in found.iter().zip(exact).enumerate() {
            let miss = (found - exact).abs().max().double_value(&[]);
            let largest = exact.abs().max().double_value(&[]);
            assert!(
                miss < largest * share,
                "{what}: tensor {at} misses by {miss:e} of {largest}"
            );
        }
    }

    #[test]
    fn a_packed_layer_and_its_gradient_are_those_of_float64() {
        // Rows, outputs and inputs below, at and above what is computed at a time.
        for [rows, d_out, d_in] in [
            [1, 32, 32],
            [71, 96, 64],
            [64, 64, 160],
            [300, 32, 128],
            [5, 160, 32],
            [290, 96, 1056],
        ] {
            let (x, weight) = (values(&[rows, d_in], 0.7), values(&[d_out, d_in], 1.3));
            let bias = values(&[d_out], 2.1);
            let Some(packed) = PackedWeight::of(&weight.to_kind(Kind::Float)).unwrap() else {
                assert!(!narrow::is_on(Device::Cpu));
                return;
            };
            let exact = leaf(&x, Kind::Double);
            let y = exact.linear(&weight, Some(&bias));
            let exact = results(&y, &[&exact]);
            let narrow = leaf(&x, Kind::BFloat16);
            let y = FrozenLayer(&packed, Some(&bias.to_kind(Kind::Float))).forward(&narrow);
            let found = results(&y.unwrap(), &[&narrow]);
            assert_near(&found, &exact, &format!("{rows} rows of {d_in} to {d_out}"));
        }
        let odd = values(&[32, 24], 0.7).to_kind(Kind::Float);
        assert!(PackedWeight::of(&odd).unwrap().is_none());
    }

    #[test]
    fn a_padded_weight_makes_zeros_behind_what_its_own_rows_make_and_takes_no_notice_of_them() {
        let (x, weight) = (values(&[5, 64], 0.7), values(&[45, 64], 1.3));
        let Some(packed) = PackedWeight::padded(&weight.to_kind(Kind::Float)).unwrap() else {
            return;
        };
        let narrow = x.to_kind(Kind::BFloat16);
        let y = FrozenLayer(&packed, None).forward(&narrow).unwrap();
        assert_eq!(y.size(), [5, 64]);
        assert!(y.narrow(1, 45, 19).abs().max().double_value(&[]) == 0.0);
        let back = FrozenLayer(&packed.transposed(), None).forward(&y).unwrap();
        let exact = x.matmul(&weight.tr());
        let found = [y.narrow(1, 0, 45), back].map(|it| it.to_kind(Kind::Double));
        assert_near(&found, &[exact.copy(), exact.matmul(&weight)], "padded");
        let narrower = values(&[45, 24], 1.3).to_kind(Kind::Float);
        assert!(PackedWeight::padded(&narrower).unwrap().is_none());
    }

    #[test]
    fn a_value_is_the_same_whichever_threads_share_the_rows_or_the_outputs() {
        let (x, weight) = (values(&[300, 1056], 0.7), values(&[64, 1056], 1.3));
        let Some(packed) = PackedWeight::of(&weight.to_kind(Kind::Float)).unwrap() else {
            return;
        };
        let x = x.to_kind(Kind::BFloat16);
        // Of 300 rows, one and two threads have parts enough; eight share the outputs.
        let found = [1, 2, 8].map(|threads| {
            use_threads(threads);
            FrozenLayer(&packed, None).forward(&x).unwrap()
        });
        assert!(found.iter().all(|y| *y == found[0]));
    }

    #[test]
    fn a_row_has_the_same_bits_whatever_rows_are_beside_it() {
        let (x, weight) = (values(&[90, 64], 0.7), values(&[96, 64], 1.3));
        let Some(packed) = PackedWeight::of(&weight.to_kind(Kind::Float)).unwrap() else {
            return;
        };
        let of = |x: &Tensor| FrozenLayer(&packed, None).forward(x).unwrap();
        let together = of(&x);
        for row in [0, 31, 32, 89] {
            let alone = of(&x.narrow(0, row, 1));
            assert_eq!(alone, together.narrow(0, row, 1), "row {row}");
        }
    }

    /// GELU by tanh and SiLU among them.
    const ACTIVATIONS: [NarrowActivation; 3] = [
        NarrowActivation::Gelu,
        NarrowActivation::Gate(SigmoidGate {
            linear: 1.595_769,
            cubic: 0.071_355,
        }),
        NarrowActivation::Gate(SigmoidGate {
            linear: 1.0,
            cubic: 0.0,
        }),
    ];

    /// The residual of a norm behind two layers.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Residual {
        /// There is no norm.
        None,
        /// What the layers read.
        Read,
        /// Another tensor.
        Other,
    }

    const THRESHOLD: u16 = 6554;

    /// Two layers' weights and biases, those of a norm behind them, and what is put in.
    struct Case {
        x: Tensor,
        other: Tensor,
        widen: (Tensor, Tensor),
        narrow: (Tensor, Tensor),
        norm: (Tensor, Tensor),
        activation: NarrowActivation,
        residual: Residual,
    }

    impl Case {
        /// So many rows, and widths outside and between.
        fn new(
            [rows, width, wide]: [i64; 3],
            activation: NarrowActivation,
            residual: Residual,
        ) -> Self {
            let layer = |d_in, d_out, step| (values(&[d_out, d_in], step), values(&[d_out], 2.1));
            Self {
                x: values(&[rows, width], 0.7),
                other: values(&[rows, width], 1.9),
                widen: layer(width, wide, 1.3),
                narrow: layer(wide, width, 1.7),
                norm: (values(&[width], 1.1) + 2.0, values(&[width], 0.9)),
                activation,
                residual,
            }
        }

        /// The rows of two batches, and the seeds of their masks.
        fn batches(&self) -> [(i64, u64); 2] {
            let rows = self.x.size()[0];
            [(rows / 3, 11), (rows - rows / 3, 13)]
        }

        /// The output, and its gradients by what is put in.
        fn exact(&self) -> Vec<Tensor> {
            let (x, other) = (leaf(&self.x, Kind::Double), leaf(&self.other, Kind::Double));
            let y = x.linear(&self.widen.0, Some(&self.widen.1));
            let y = match self.activation {
                NarrowActivation::Gelu => y.gelu("none"),
                NarrowActivation::Gate(SigmoidGate { linear, cubic }) => {
                    &y * (&y * linear + y.pow_tensor_scalar(3) * cubic).sigmoid()
                }
            };
            let y = y.linear(&self.narrow.0, Some(&self.narrow.1));
            let residual = match self.residual {
                Residual::None => return results(&y, &[&x]),
                Residual::Read => &x,
                Residual::Other => &other,
            };
            let width = self.x.size()[1];
            let parts = self.batches().map(|(rows, seed)| (rows * width, seed));
            let sum = dropout_of_parts(&y, &parts, THRESHOLD).unwrap() + residual;
            let (weight, bias) = &self.norm;
            let y = sum.layer_norm([width], Some(weight), Some(bias), 1e-5, false);
            match self.residual {
                Residual::Other => results(&y, &[&x, &other]),
                _ => results(&y, &[&x]),
            }
        }

        /// The same by packed weights, if the processor has tiles.
        fn packed(&self) -> Option<Vec<Tensor>> {
            let wide = |x: &Tensor| x.to_kind(Kind::Float);
            let packed = |weight: &Tensor| PackedWeight::of(&wide(weight)).unwrap();
            let (widen, narrow) = (packed(&self.widen.0)?, packed(&self.narrow.0)?);
            let biases = [wide(&self.widen.1), wide(&self.narrow.1)];
            let (x, other) = (
                leaf(&self.x, Kind::BFloat16),
                leaf(&self.other, Kind::BFloat16),
            );
            let (weight, bias) = (wide(&self.norm.0), wide(&self.norm.1));
            let batches = self.batches();
            let norm = NormBehind {
                norm: FrozenNorm {
                    weight: &weight,
                    bias: Some(&bias),
                    eps: 1e-5,
                },
                residual: (self.residual == Residual::Other).then_some(&other),
                masks: MaskedRows {
                    batches: &batches,
                    threshold: THRESHOLD,
                },
            };
            let layers = [
                FrozenLayer(&widen, Some(&biases[0])),
                FrozenLayer(&narrow, Some(&biases[1])),
            ];
            let norm = (self.residual != Residual::None).then_some(&norm);
            let y = forward(&x, &layers, Some(self.activation), norm).unwrap();
            Some(match self.residual {
                Residual::Other => results(&y, &[&x, &other]),
                _ => results(&y, &[&x]),
            })
        }
    }

    #[test]
    fn two_layers_and_a_norm_behind_them_and_their_gradients_are_those_of_float64() {
        // Rows and widths below, at and above what is computed at a time.
        for sizes in [[1, 32, 32], [71, 64, 96], [300, 32, 128], [290, 96, 1056]] {
            for activation in ACTIVATIONS {
                for residual in [Residual::None, Residual::Read, Residual::Other] {
                    let case = Case::new(sizes, activation, residual);
                    let Some(found) = case.packed() else {
                        assert!(!narrow::is_on(Device::Cpu));
                        return;
                    };
                    let what = format!("{sizes:?}, {activation:?}, {residual:?}");
                    assert_within(1.0 / 25.0, &found, &case.exact(), &what);
                }
            }
        }
    }

    #[test]
    fn a_residual_has_its_gradient_where_the_layers_input_wants_none() {
        let case = Case::new([45, 64, 96], NarrowActivation::Gelu, Residual::Other);
        let (Some(whole), Some(packed)) = (
            case.packed(),
            PackedWeight::of(&case.narrow.0.to_kind(Kind::Float)).unwrap(),
        ) else {
            return;
        };
        assert_eq!(whole.len(), 3);
        let [weight, bias] = [&case.norm.0, &case.norm.1].map(|it| it.to_kind(Kind::Float));
        let other = leaf(&case.other, Kind::BFloat16);
        let norm = NormBehind {
            norm: FrozenNorm {
                weight: &weight,
                bias: Some(&bias),
                eps: 1e-5,
            },
            residual: Some(&other),
            masks: MaskedRows {
                batches: &[(45, 0)],
                threshold: 0,
            },
        };
        let x = values(&[45, 96], 0.3).to_kind(Kind::BFloat16);
        let layers = [FrozenLayer(&packed, None)];
        let found = results(&forward(&x, &layers, None, Some(&norm)).unwrap(), &[&other]);
        let right = leaf(&case.other, Kind::Double);
        let sum = x
            .to_kind(Kind::Double)
            .linear(&case.narrow.0, None::<&Tensor>)
            + &right;
        let (weight, bias) = (&case.norm.0, &case.norm.1);
        let y = sum.layer_norm([64], Some(weight), Some(bias), 1e-5, false);
        assert_within(1.0 / 25.0, &found, &results(&y, &[&right]), "one layer");
    }

    #[test]
    fn layers_one_after_the_other_are_the_same_whatever_the_threads() {
        let case = Case::new([300, 64, 160], NarrowActivation::Gelu, Residual::Read);
        // Of 300 rows, one and two threads have parts enough; eight share the outputs.
        let found = [1, 2, 8].map(|threads| {
            use_threads(threads);
            case.packed()
        });
        assert!(found.iter().all(|one| *one == found[0]));
    }

    #[test]
    fn layers_that_do_not_fit_one_another_are_refused() {
        let weight =
            |shape: [i64; 2]| PackedWeight::of(&values(&shape, 1.3).to_kind(Kind::Float)).unwrap();
        let (Some(widen), Some(narrow)) = (weight([96, 32]), weight([32, 96])) else {
            return;
        };
        let [wide, short] = [32, 24].map(|width| values(&[width], 0.9).to_kind(Kind::Float));
        let of =
            |width, layers: &[&PackedWeight], bias: Option<&Tensor>, rows: i64, scale: &Tensor| {
                let x = values(&[3, width], 0.7).to_kind(Kind::BFloat16);
                let layers: Vec<_> = layers
                    .iter()
                    .map(|weight| FrozenLayer(weight, None))
                    .collect();
                let norm = NormBehind {
                    norm: FrozenNorm {
                        weight: scale,
                        bias,
                        eps: 1e-5,
                    },
                    residual: None,
                    masks: MaskedRows {
                        batches: &[(rows, 1)],
                        threshold: 0,
                    },
                };
                let activation = (layers.len() > 1).then_some(NarrowActivation::Gelu);
                forward(&x, &layers, activation, Some(&norm))
            };
        assert!(of(32, &[&widen, &narrow], Some(&wide), 3, &wide).is_ok());
        assert!(of(96, &[&widen, &narrow], Some(&wide), 3, &wide).is_err());
        assert!(of(32, &[&widen, &widen], Some(&wide), 3, &wide).is_err());
        assert!(of(32, &[&widen, &narrow, &widen], None, 3, &wide).is_err());
        assert!(of(32, &[], None, 3, &wide).is_err());
        assert!(of(32, &[&widen, &narrow], Some(&short), 3, &wide).is_err());
        assert!(of(32, &[&widen, &narrow], None, 3, &short).is_err());
        assert!(of(32, &[&widen, &narrow], None, 4, &wide).is_err());
        assert!(
            of(
                32,
                &[&widen],
                None,
                3,
                &values(&[96], 0.9).to_kind(Kind::Float)
            )
            .is_err()
        );
        let x = values(&[3, 32], 0.7).to_kind(Kind::BFloat16);
        let [first, second] = [&widen, &narrow].map(|weight| FrozenLayer(weight, None));
        assert!(forward(&x, &[first, second], None, None).is_err());
        assert!(forward(&x, &[first], Some(NarrowActivation::Gelu), None).is_err());
    }
}
