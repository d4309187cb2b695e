//! Two layers in bfloat16 with an activation between them, by the C++ in `csrc/narrow_mlp.cpp`: one operation.

use std::ffi::c_int;
use std::ptr::{null, null_mut};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::check;
use crate::base::torch::kernels::SigmoidGate;
use crate::base::torch::narrow::PackedWeight;

unsafe extern "C" {
    fn shim_narrow_mlp(
        x: *const C_tensor,
        widen: *const GivenLayer,
        narrow: *const GivenLayer,
        activation: c_int,
        linear: f64,
        cubic: f64,
        found: *mut *mut C_tensor,
        passed: *mut *mut C_tensor,
    ) -> c_int;
}

/// As in `csrc/narrow_mlp.cpp`.
#[repr(C)]
struct GivenLayer {
    weight: *const C_tensor,
    turned: *const C_tensor,
    bias: *const C_tensor,
    inputs: i64,
    outputs: i64,
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
    fn given(self) -> GivenLayer {
        let Self(weight, bias) = self;
        GivenLayer {
            weight: weight.forward.as_ptr(),
            turned: weight.backward.as_ptr(),
            bias: bias.map_or(null(), Tensor::as_ptr),
            inputs: weight.inputs,
            outputs: weight.outputs,
        }
    }
}

/// `y = narrow(activation(widen(x)))` in bfloat16; and `x` for whatever else reads it, whose gradient is
/// then added where that of the layers is made.
///
/// # Shapes
/// `x` (…, d_in of `widen`), `y` (…, d_out of `narrow`).
///
/// # Errors
/// If shapes do not fit, or memory runs out.
pub fn forward(
    x: &Tensor,
    widen: FrozenLayer<'_>,
    activation: NarrowActivation,
    narrow: FrozenLayer<'_>,
) -> Result<(Tensor, Tensor), TchError> {
    let (number, gate) = match activation {
        NarrowActivation::Gelu => (1, None),
        NarrowActivation::Gate(gate) => (2, Some(gate)),
    };
    let (linear, cubic) = gate.map_or((0.0, 0.0), |gate| (gate.linear, gate.cubic));
    let (widen, narrow) = (widen.given(), narrow.given());
    let (mut found, mut passed) = (null_mut(), null_mut());
    // SAFETY: the tensors are alive through the call, and null means no bias.
    check(unsafe {
        shim_narrow_mlp(
            x.as_ptr(),
            &raw const widen,
            &raw const narrow,
            number,
            linear,
            cubic,
            &raw mut found,
            &raw mut passed,
        )
    })?;
    // SAFETY: as the call did not fail, they are tensors of our own.
    let own = |made| unsafe { Tensor::from_ptr(made) };
    Ok((own(found), own(passed)))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::base::torch::narrow;
    use crate::base::torch::narrow::tests::{assert_near, results};
    use crate::base::torch::tests::{leaf, values};
    use crate::base::torch::threads::use_threads;

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

    /// Weights and biases of two layers.
    struct Case {
        x: Tensor,
        widen: (Tensor, Tensor),
        narrow: (Tensor, Tensor),
    }

    impl Case {
        /// So many rows, and the widths of what goes in, lies between and comes out.
        fn new([rows, d_in, wide, d_out]: [i64; 4]) -> Self {
            let layer = |d_in, d_out, step| (values(&[d_out, d_in], step), values(&[d_out], 2.1));
            Self {
                x: values(&[rows, d_in], 0.7),
                widen: layer(d_in, wide, 1.3),
                narrow: layer(wide, d_out, 1.7),
            }
        }

        /// A sum of the output and of what x is beside it, and the gradient by x.
        fn exact(&self, activation: NarrowActivation) -> Vec<Tensor> {
            let x = leaf(&self.x, Kind::Double);
            let y = x.linear(&self.widen.0, Some(&self.widen.1));
            let y = match activation {
                NarrowActivation::Gelu => y.gelu("none"),
                NarrowActivation::Gate(SigmoidGate { linear, cubic }) => {
                    &y * (&y * linear + y.pow_tensor_scalar(3) * cubic).sigmoid()
                }
            };
            let y = y.linear(&self.narrow.0, Some(&self.narrow.1));
            results(&Tensor::cat(&[&y, &(&x * 8.0)], 1), &[&x])
        }

        /// The same by packed weights, if the processor has tiles.
        fn packed(&self, activation: NarrowActivation) -> Option<Vec<Tensor>> {
            let wide = |x: &Tensor| x.to_kind(Kind::Float);
            let packed = |weight: &Tensor| PackedWeight::of(&wide(weight)).unwrap();
            let (widen, narrow) = (packed(&self.widen.0)?, packed(&self.narrow.0)?);
            let (of_widen, of_narrow) = (wide(&self.widen.1), wide(&self.narrow.1));
            let x = leaf(&self.x, Kind::BFloat16);
            let widen = FrozenLayer(&widen, Some(&of_widen));
            let narrow = FrozenLayer(&narrow, Some(&of_narrow));
            let (y, beside) = forward(&x, widen, activation, narrow).unwrap();
            Some(results(&Tensor::cat(&[&y, &(beside * 8.0)], 1), &[&x]))
        }
    }

    #[test]
    fn two_layers_and_the_gradient_by_what_they_read_are_those_of_float64() {
        // Rows and widths below, at and above what is computed at a time.
        for sizes in [
            [1, 32, 32, 32],
            [71, 64, 96, 64],
            [300, 32, 128, 96],
            [290, 96, 1056, 64],
        ] {
            let case = Case::new(sizes);
            for activation in ACTIVATIONS {
                let Some(found) = case.packed(activation) else {
                    assert!(!narrow::is_on(Device::Cpu));
                    return;
                };
                let exact = case.exact(activation);
                assert_near(&found, &exact, &format!("{sizes:?}, {activation:?}"));
            }
        }
    }

    #[test]
    fn two_layers_are_the_same_whatever_the_threads() {
        let case = Case::new([300, 64, 160, 96]);
        // Of 300 rows, one and two threads have parts enough; eight share the outputs.
        let found = [1, 2, 8].map(|threads| {
            use_threads(threads);
            case.packed(NarrowActivation::Gelu)
        });
        assert!(found.iter().all(|one| *one == found[0]));
    }

    #[test]
    fn layers_that_do_not_fit_one_another_are_refused() {
        let weight =
            |shape: [i64; 2]| PackedWeight::of(&values(&shape, 1.3).to_kind(Kind::Float)).unwrap();
        let (Some(widen), Some(narrow)) = (weight([96, 32]), weight([32, 64])) else {
            return;
        };
        let bias = values(&[64], 0.9).to_kind(Kind::Float);
        let of = |width, bias, narrow| {
            let x = values(&[3, width], 0.7).to_kind(Kind::BFloat16);
            let narrow = FrozenLayer(narrow, None);
            forward(
                &x,
                FrozenLayer(&widen, bias),
                NarrowActivation::Gelu,
                narrow,
            )
        };
        let fitting = narrow.transposed();
        assert!(of(32, None, &narrow).is_err());
        let (Some(fitting_in), true) = (weight([64, 96]), fitting.inputs == 32) else {
            return;
        };
        assert!(of(32, None, &fitting_in).is_ok());
        assert!(of(64, None, &fitting_in).is_err());
        assert!(of(32, Some(&bias), &fitting_in).is_err());
    }
}
