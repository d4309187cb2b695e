//! Linear layers in float32 with a low-rank change, by the C++ in `csrc/low_rank.cpp`: the layer's output,
//! the change's, and the gradients of both in one operation, which adds them where they are made.

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::owned;

unsafe extern "C" {
    fn shim_has_low_rank(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
    ) -> bool;
    fn shim_low_rank(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        a: *const C_tensor,
        b: *const C_tensor,
        scaling: f64,
        seed: u64,
        threshold: u32,
    ) -> *mut C_tensor;
}

/// A change `s B A dropout(x)` to a layer's output.
#[derive(Debug, Clone, Copy)]
pub struct LowRank<'a> {
    /// A, (r, d_in), in float32.
    pub a: &'a Tensor,
    /// B, (d_out, r), in float32.
    pub b: &'a Tensor,
    /// s.
    pub scaling: f64,
    /// The key of the mask of [`dropout`](super::kernels::dropout).
    pub seed: u64,
    /// The probability to drop a value, times 2¹⁶; 0 drops nothing.
    pub threshold: u16,
}

/// Whether [`linear_with`] computes this layer: frozen, in float32 on a CPU, of many rows.
#[must_use]
pub fn suits(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> bool {
    let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: the tensors are alive through the call, and null means no bias.
    unsafe { shim_has_low_rank(x.as_ptr(), weight.as_ptr(), bias) }
}

/// `y = x Wᵀ + bias + s dropout(x) Aᵀ Bᵀ` in float32, where [`suits`] says so.
///
/// # Shapes
/// As of [`linear`](super::kernels::linear).
///
/// # Errors
/// If shapes do not fit, or memory runs out.
pub fn linear_with(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    change: &LowRank<'_>,
) -> Result<Tensor, TchError> {
    // SAFETY: the tensors are alive through the call, and null means no bias; what comes back is null or
    // a tensor of our own.
    unsafe {
        owned(shim_low_rank(
            x.as_ptr(),
            weight.as_ptr(),
            bias.map_or(std::ptr::null(), Tensor::as_ptr),
            change.a.as_ptr(),
            change.b.as_ptr(),
            change.scaling,
            change.seed,
            u32::from(change.threshold),
        ))
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::base::torch::kernels::dropout;
    use crate::base::torch::narrow::PackedWeight;
    use crate::base::torch::narrow_layers::{self, NarrowLayer};
    use crate::base::torch::tests::{drawn as values, leaf};
    use crate::base::torch::threads::use_threads;

    const SCALING: f64 = 2.0;

    /// A layer, its change, and what comes in.
    struct Case {
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        a: Tensor,
        b: Tensor,
        threshold: u16,
    }

    impl Case {
        fn new([rows, d_in, d_out, r]: [i64; 4], threshold: u16) -> Self {
            Self {
                x: values(&[rows, d_in], 0.7),
                weight: values(&[d_out, d_in], 1.3),
                bias: values(&[d_out], 2.1),
                a: values(&[r, d_in], 1.7),
                b: values(&[d_out, r], 0.9),
                threshold,
            }
        }

        fn change<'a>(&self, a: &'a Tensor, b: &'a Tensor) -> LowRank<'a> {
            LowRank {
                a,
                b,
                scaling: SCALING,
                seed: 11,
                threshold: self.threshold,
            }
        }

        /// The output, and the gradients of a weighted sum of it by x, A and B, where numbers are of a
        /// kind and a function computes the layer.
        fn results(
            &self,
            kind: Kind,
            layer: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor,
        ) -> Vec<Tensor> {
            let x = leaf(&self.x, kind);
            let factor = match kind {
                Kind::BFloat16 => Kind::Float,
                kind => kind,
            };
            let (a, b) = (leaf(&self.a, factor), leaf(&self.b, factor));
            let y = layer(&x, &a, &b);
            (&y * values(&y.size(), 0.3).to_kind(y.kind()))
                .sum(Kind::Double)
                .backward();
            let found = [y.detach(), x.grad(), a.grad(), b.grad()];
            found.map(|it| it.to_kind(Kind::Double)).into()
        }

        fn by_definition(&self, x: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
            let kind = x.kind();
            let (weight, bias) = (self.weight.to_kind(kind), self.bias.to_kind(kind));
            let dropped = match self.threshold {
                0 => x.shallow_clone(),
                threshold => dropout(x, 11, threshold).unwrap(),
            };
            let change = dropped.matmul(&a.tr()).matmul(&b.tr()) * SCALING;
            x.linear(&weight, Some(&bias)) + change
        }

        /// By the packed weight, if the processor has tiles.
        fn packed(&self) -> Option<Vec<Tensor>> {
            let packed = PackedWeight::of(&self.weight.to_kind(Kind::Float)).unwrap()?;
            let bias = self.bias.to_kind(Kind::Float);
            Some(self.results(Kind::BFloat16, |x, a, b| {
                let layer = NarrowLayer {
                    weight: &packed,
                    bias: Some(&bias),
                    change: Some(self.change(a, b)),
                };
                let ([y], _) = narrow_layers::forward(x, [layer]).unwrap();
                y
            }))
        }
    }

    fn assert_near(found: &[Tensor], exact: &[Tensor], allowed: f64, what: &str) {
        for (at, (found, exact)) in found.iter().zip(exact).enumerate() {
            let miss = (found - exact).abs().max().double_value(&[]);
            let largest = exact.abs().max().double_value(&[]);
            assert!(
                miss < allowed * largest,
                "{what}: tensor {at} misses by {miss:e} of {largest}"
            );
        }
    }

    #[test]
    fn a_packed_layer_with_a_change_and_its_gradients_are_those_of_float64() {
        // Rows, widths and ranks below, at and above what is computed at a time.
        for sizes in [
            [1, 32, 64, 1],
            [71, 96, 64, 4],
            [300, 64, 160, 32],
            [290, 160, 32, 45],
            [64, 5120, 32, 130],
        ] {
            for threshold in [0, 6554] {
                let case = Case::new(sizes, threshold);
                let Some(found) = case.packed() else { return };
                let exact = case.results(Kind::Double, |x, a, b| case.by_definition(x, a, b));
                let what = format!("{sizes:?}, threshold {threshold}");
                // Rounded to 8 bits, and sums of such.
                assert_near(&found, &exact, 1.0 / 50.0, &what);
            }
        }
    }

    #[test]
    fn a_wide_layer_with_a_change_and_its_gradients_are_those_of_float64() {
        for sizes in [[256, 96, 64, 4], [301, 64, 160, 45]] {
            for threshold in [0, 6554] {
                let case = Case::new(sizes, threshold);
                let [weight, bias] = [&case.weight, &case.bias].map(|it| it.to_kind(Kind::Float));
                // As (d_in, d_out) too, which is how GPT-2 has it.
                for weight in [weight.copy(), weight.tr().contiguous().tr()] {
                    let found = case.results(Kind::Float, |x, a, b| {
                        assert!(suits(x, &weight, Some(&bias)));
                        linear_with(x, &weight, Some(&bias), &case.change(a, b)).unwrap()
                    });
                    let exact = case.results(Kind::Double, |x, a, b| case.by_definition(x, a, b));
                    let what = format!("{sizes:?}, threshold {threshold}");
                    assert_near(&found, &exact, 1e-5, &what);
                }
            }
        }
        let trained = values(&[64, 96], 1.0).to_kind(Kind::Float);
        let x = values(&[256, 96], 0.7);
        assert!(!suits(&x, &trained, None), "float64 values");
        let x = x.to_kind(Kind::Float);
        assert!(suits(&x, &trained, None) && !suits(&x.narrow(0, 0, 8), &trained, None));
        assert!(!suits(&x, &trained.set_requires_grad(true), None));
    }

    #[test]
    fn a_layer_with_a_change_and_its_gradients_are_the_same_whatever_the_threads() {
        let case = Case::new([520, 96, 64, 45], 6554);
        let found = [1, 2, 8].map(|threads| {
            use_threads(threads);
            case.packed()
        });
        assert!(found.iter().all(|one| *one == found[0]));
    }

    #[test]
    fn factors_that_do_not_fit_are_refused() {
        let case = Case::new([3, 32, 64, 4], 0);
        let weight = PackedWeight::of(&case.weight.to_kind(Kind::Float)).unwrap();
        let Some(packed) = weight else { return };
        let x = case.x.to_kind(Kind::BFloat16);
        let [a, b] = [&case.a, &case.b].map(|it| it.to_kind(Kind::Float));
        for (a, b) in [(&b, &a), (&a, &b.narrow(1, 0, 3)), (&case.a, &case.b)] {
            let layer = NarrowLayer {
                weight: &packed,
                bias: None,
                change: Some(case.change(a, b)),
            };
            let error = narrow_layers::forward(&x, [layer]);
            let error = error.unwrap_err().to_string();
            assert!(error.contains("is not one by"), "{error}");
        }
    }
}
