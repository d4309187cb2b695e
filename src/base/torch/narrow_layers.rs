//! Layers in bfloat16 that take one input, each with a low-rank change or without one, by the C++ in
//! `csrc/narrow_layers.cpp`: one operation, which adds outputs and gradients where they are made.

use std::ffi::c_int;
use std::ptr::{null, null_mut};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::check;
use crate::base::torch::low_rank::LowRank;
use crate::base::torch::narrow::PackedWeight;

unsafe extern "C" {
    fn shim_narrow_layers(
        x: *const C_tensor,
        inputs: i64,
        layers: *const GivenLayer,
        count: usize,
        found: *mut *mut C_tensor,
        passed: *mut *mut C_tensor,
    ) -> c_int;
}

/// As in `csrc/narrow_layers.cpp`.
#[repr(C)]
struct GivenLayer {
    weight: *const C_tensor,
    turned: *const C_tensor,
    bias: *const C_tensor,
    outputs: i64,
    a: *const C_tensor,
    b: *const C_tensor,
    scaling: f64,
    seed: u64,
    threshold: u32,
}

/// A frozen layer, and what is added to it.
#[derive(Debug, Clone, Copy)]
pub struct NarrowLayer<'a> {
    /// The weight, (d_out, d_in).
    pub weight: &'a PackedWeight,
    /// The bias, (d_out), in float32 and frozen.
    pub bias: Option<&'a Tensor>,
    /// Its change.
    pub change: Option<LowRank<'a>>,
}

impl NarrowLayer<'_> {
    fn given(&self) -> GivenLayer {
        let pointer = |tensor: Option<&Tensor>| tensor.map_or(null(), Tensor::as_ptr);
        let change = self.change.as_ref();
        GivenLayer {
            weight: self.weight.forward.as_ptr(),
            turned: self.weight.backward.as_ptr(),
            bias: pointer(self.bias),
            outputs: self.weight.outputs,
            a: pointer(change.map(|change| change.a)),
            b: pointer(change.map(|change| change.b)),
            scaling: change.map_or(0.0, |change| change.scaling),
            seed: change.map_or(0, |change| change.seed),
            threshold: change.map_or(0, |change| u32::from(change.threshold)),
        }
    }
}

/// `y = x Wᵀ + bias + s dropout(x) Aᵀ Bᵀ` of each layer in bfloat16, the sum of both products in
/// float32; and `x` for whatever else reads it, whose gradient is then added where that of the layers is
/// made.
///
/// # Shapes
/// `x` (…, d_in), each `y` (…, d_out).
///
/// # Errors
/// If shapes do not fit, or memory runs out.
pub fn forward<const N: usize>(
    x: &Tensor,
    layers: [NarrowLayer<'_>; N],
) -> Result<([Tensor; N], Tensor), TchError> {
    let inputs = layers.first().map_or(0, |layer| layer.weight.inputs);
    if layers.iter().any(|layer| layer.weight.inputs != inputs) {
        return Err(TchError::Shape(
            "layers of one input differ in its width".to_owned(),
        ));
    }
    let given = layers.each_ref().map(NarrowLayer::given);
    let (mut found, mut passed) = ([null_mut(); N], null_mut());
    // SAFETY: the tensors are alive through the call, and null means that there is none; there is room
    // for as many tensors as layers.
    check(unsafe {
        shim_narrow_layers(
            x.as_ptr(),
            inputs,
            given.as_ptr(),
            N,
            found.as_mut_ptr(),
            &raw mut passed,
        )
    })?;
    // SAFETY: as the call did not fail, they are tensors of our own.
    let own = |made| unsafe { Tensor::from_ptr(made) };
    Ok((found.map(own), own(passed)))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::base::torch::kernels::dropout;
    use crate::base::torch::narrow;
    use crate::base::torch::narrow_sequential::FrozenLayer;
    use crate::base::torch::tests::{drawn as values, leaf};
    use crate::base::torch::threads::use_threads;

    const SCALING: f64 = 2.0;
    const D_IN: i64 = 96;

    /// Weights and biases of three layers, and the factors of two changes, one of which drops values.
    struct Case {
        x: Tensor,
        layers: [(Tensor, Tensor); 3],
        factors: [Tensor; 4],
    }

    impl Case {
        fn new(rows: i64) -> Self {
            let layer = |d_out: i64, step| {
                let weight = values(&[d_out, D_IN], step);
                (weight, values(&[d_out], 2.1))
            };
            Self {
                x: values(&[rows, D_IN], 0.7),
                layers: [layer(64, 1.3), layer(32, 1.7), layer(160, 1.1)],
                factors: [
                    values(&[4, D_IN], 1.9),
                    values(&[64, 4], 0.9),
                    values(&[45, D_IN], 1.5),
                    values(&[160, 45], 2.3),
                ],
            }
        }

        /// Outputs, and the gradients of a weighted sum of those that count, the last of them what x is
        /// beside them, by x and the factors.
        fn results(
            &self,
            kind: Kind,
            counts: [bool; 4],
            layers: impl Fn(&Tensor, [&Tensor; 4]) -> ([Tensor; 3], Tensor),
        ) -> Vec<Tensor> {
            let x = leaf(&self.x, kind);
            let wide = if kind == Kind::BFloat16 {
                Kind::Float
            } else {
                kind
            };
            let factors = self.factors.each_ref().map(|factor| leaf(factor, wide));
            let (made, beside) = layers(&x, factors.each_ref());
            let mut sum = Tensor::zeros([], (Kind::Double, Device::Cpu));
            let all = made.iter().chain([&beside]).enumerate();
            for (at, y) in all.filter(|(at, _)| counts[*at]) {
                let weights = values(&y.size(), 0.3 + at as f64).to_kind(y.kind());
                sum += (y * weights).sum(Kind::Double);
            }
            sum.backward();
            let outputs = made.iter().map(Tensor::detach);
            let gradients = [&x].into_iter().chain(&factors).map(Tensor::grad);
            let all = outputs.chain(gradients.filter(Tensor::defined));
            all.map(|it| it.to_kind(Kind::Double)).collect()
        }

        fn by_definition(&self, x: &Tensor, [a, b, c, d]: [&Tensor; 4]) -> ([Tensor; 3], Tensor) {
            let [first, second, third] = self.layers.each_ref().map(|(weight, bias)| {
                x.linear(&weight.to_kind(x.kind()), Some(&bias.to_kind(x.kind())))
            });
            let change =
                |x: &Tensor, a: &Tensor, b: &Tensor| x.matmul(&a.tr()).matmul(&b.tr()) * SCALING;
            let dropped = dropout(x, 11, 6554).unwrap();
            let made = [
                first + change(&dropped, a, b),
                second,
                third + change(x, c, d),
            ];
            (made, x.shallow_clone())
        }

        /// By packed weights, if the processor has tiles.
        fn packed(&self, counts: [bool; 4]) -> Option<Vec<Tensor>> {
            let mut packed = Vec::new();
            for (weight, bias) in &self.layers {
                let weight = PackedWeight::of(&weight.to_kind(Kind::Float)).unwrap()?;
                packed.push((weight, bias.to_kind(Kind::Float)));
            }
            Some(self.results(Kind::BFloat16, counts, |x, [a, b, c, d]| {
                let change = |a, b, threshold| LowRank {
                    a,
                    b,
                    scaling: SCALING,
                    seed: 11,
                    threshold,
                };
                let changes = [Some(change(a, b, 6554)), None, Some(change(c, d, 0))];
                forward(
                    x,
                    std::array::from_fn(|at| NarrowLayer {
                        weight: &packed[at].0,
                        bias: Some(&packed[at].1),
                        change: changes[at],
                    }),
                )
                .unwrap()
            }))
        }
    }

    #[test]
    fn layers_of_one_input_and_their_gradients_are_those_of_float64() {
        for rows in [1, 45, 300] {
            for counts in [
                [true; 4],
                [false, true, true, false],
                [false, true, false, true],
                [true, false, false, true],
                [false, false, false, true],
            ] {
                let case = Case::new(rows);
                let Some(found) = case.packed(counts) else {
                    assert!(!narrow::is_on(Device::Cpu));
                    return;
                };
                let exact = case.results(Kind::Double, counts, |x, factors| {
                    case.by_definition(x, factors)
                });
                assert_eq!(found.len(), exact.len(), "{rows} rows, {counts:?}");
                for (at, (found, exact)) in found.iter().zip(&exact).enumerate() {
                    let miss = (found - exact).abs().max().double_value(&[]);
                    let largest = exact.abs().max().double_value(&[]);
                    // Rounded to 8 bits, and sums of such.
                    assert!(
                        miss < largest / 50.0,
                        "{rows} rows, {counts:?}: tensor {at} misses by {miss:e} of {largest}"
                    );
                }
            }
        }
    }

    #[test]
    fn layers_of_one_input_are_the_same_whatever_the_threads() {
        let case = Case::new(520);
        let found = [1, 2, 8].map(|threads| {
            use_threads(threads);
            case.packed([true; 4])
        });
        assert!(found.iter().all(|one| *one == found[0]));
    }

    #[test]
    fn layers_of_other_inputs_are_refused() {
        let weight =
            |d_in| PackedWeight::of(&values(&[32, d_in], 1.3).to_kind(Kind::Float)).unwrap();
        let (Some(one), Some(other)) = (weight(64), weight(96)) else {
            return;
        };
        let x = values(&[3, 64], 0.7).to_kind(Kind::BFloat16);
        let layer = |weight| NarrowLayer {
            weight,
            bias: None,
            change: None,
        };
        assert!(forward(&x, [layer(&one), layer(&other)]).is_err());
        assert!(forward(&x, [layer(&other)]).is_err());
        let ([y], _) = forward(&x, [layer(&one)]).unwrap();
        assert_eq!(y, FrozenLayer(&one, None).forward(&x).unwrap());
    }
}
