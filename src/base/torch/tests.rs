//! Operations of libtorch that tch does not offer.

use std::panic::catch_unwind;
use std::thread;

use tch::{Device, Kind, Tensor};

use super::kernels::*;
use super::norms::*;
use super::threads::*;

/// Values between −1 and 1 that bfloat16 has, in float64.
pub(super) fn values(shape: &[i64], step: f64) -> Tensor {
    let count = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
    let values = (count * step).sin().reshape(shape);
    values.to_kind(Kind::BFloat16).to_kind(Kind::Double)
}

/// Values that bfloat16 has, and whose sums do not cancel more than those of drawn ones.
pub(super) fn drawn(shape: &[i64], step: f64) -> Tensor {
    let waves = values(shape, step) * 43_758.545_3;
    (waves.frac() - 0.1)
        .to_kind(Kind::BFloat16)
        .to_kind(Kind::Double)
}

/// A copy that gathers a gradient.
pub(super) fn leaf(x: &Tensor, kind: Kind) -> Tensor {
    x.detach().to_kind(kind).copy().set_requires_grad(true)
}

#[test]
fn a_threads_number_of_threads_is_its_own() {
    let own = thread::spawn(|| {
        use_threads(1);
        thread::spawn(|| use_threads(3)).join().unwrap();
        let kernels = sharing_threads();
        (kernels, tch::get_num_threads())
    });
    assert_eq!(own.join().unwrap(), (1, 1));
}

#[test]
fn kernels_share_their_work_among_the_threads_that_a_thread_may_use() {
    for threads in [1, 2, 3] {
        let shared = thread::spawn(move || {
            use_threads(threads);
            sharing_threads()
        });
        assert_eq!(shared.join().unwrap(), threads);
    }
}

/// How a layer's parameters are given.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Plain,
    /// The weight lies the other way round.
    Transposed,
    WithoutBias,
}

/// A linear layer's output and the gradient of a weighted sum of it, by `x`.
fn forward_and_backward(kind: Kind, frozen: bool, layout: Layout, x: &Tensor) -> (Tensor, Tensor) {
    let values = |shape: &[i64], step: f64| -> Tensor {
        let len: i64 = shape.iter().product();
        let count = Tensor::arange(len, (Kind::Double, Device::Cpu)) * step;
        count.sin().reshape(shape).to_kind(kind)
    };
    let x = x.detach().to_kind(kind).set_requires_grad(true);
    let weight = values(&[48, 33], 0.7);
    let weight = match layout {
        Layout::Transposed => weight.transpose(0, 1).contiguous().transpose(0, 1),
        Layout::Plain | Layout::WithoutBias => weight,
    };
    let weight = weight.detach().set_requires_grad(!frozen);
    let bias = values(&[48], 1.3);
    let bias = (layout != Layout::WithoutBias).then_some(&bias);
    let y = linear(&x, &weight, bias).unwrap();
    (&y * values(&[48], 0.9)).sum(kind).backward();
    (y.detach(), x.grad())
}

#[test]
fn a_linear_layer_and_its_gradient_are_those_of_float64_frozen_or_not_long_or_short() {
    for rows in [3, 400] {
        let x = Tensor::arange(rows * 33, (Kind::Double, Device::Cpu)).cos();
        // No contiguous layout, as a view of other values has none.
        let x = x.reshape([33, 1, rows]).permute([2, 1, 0]);
        let layouts = [Layout::Plain, Layout::Transposed, Layout::WithoutBias];
        for (layout, frozen) in layouts.into_iter().flat_map(|it| [(it, true), (it, false)]) {
            let exact = forward_and_backward(Kind::Double, true, layout, &x);
            let found = forward_and_backward(Kind::Float, frozen, layout, &x);
            let error = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
            assert!(error(&found.0, &exact.0) < 1e-5, "{rows} rows, forward");
            assert!(error(&found.1, &exact.1) < 1e-5, "{rows} rows, backward");
        }
    }
}

#[test]
fn a_linear_layer_refuses_what_does_not_fit() {
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    for (x, bias) in [(5, 3), (4, 2)] {
        let error = linear(&zeros(&[500, x]), &zeros(&[3, 4]), Some(&zeros(&[bias])));
        assert!(error.is_err(), "{x} wide, {bias} of bias");
    }
}

#[test]
fn results_of_parallel_tasks_are_in_their_order_each_from_one_thread_of_torch() {
    let tasks: Vec<u64> = (0..101).collect();
    let results = in_parallel(tasks.clone(), |task| (task, tch::get_num_threads()));
    let expected: Vec<_> = tasks.into_iter().map(|task| (task, 1)).collect();
    assert_eq!(results, expected);
    assert!(in_parallel(Vec::<u64>::new(), |task| task).is_empty());
}

#[test]
fn tasks_on_an_operations_threads_end_in_their_order_whatever_the_threads() {
    for threads in [1, 2, 3] {
        use_threads(threads);
        let results = in_parallel_here((0..101).collect(), |task: u64| task * task);
        assert_eq!(
            results,
            (0..101).map(|task| task * task).collect::<Vec<_>>()
        );
        assert!(in_parallel_here(Vec::<u64>::new(), |task| task).is_empty());
        let work = |task: u64| assert!(task != 3, "the third");
        let ended = catch_unwind(|| in_parallel_here((0..7).collect(), work));
        let panic = ended.unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the third"));
    }
}

#[test]
fn a_parallel_task_that_panics_is_not_lost() {
    let work = |task: u64| assert!(task != 3, "the third");
    let ended = catch_unwind(|| in_parallel((0..7).collect(), work));
    let panic = ended.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the third"));
}

/// The output of a norm by the root mean square and the gradient of a weighted sum of it, by `x`.
fn norm_and_gradient(norm: impl Fn(&Tensor) -> Tensor, x: &Tensor, kind: Kind) -> [Tensor; 2] {
    let x = x.to_kind(kind).copy().set_requires_grad(true);
    let y = norm(&x);
    let weights = Tensor::arange(y.size()[2], (Kind::Double, Device::Cpu)).cos();
    (&y * weights).sum(Kind::Double).backward();
    [y.detach(), x.grad()].map(|x| x.to_kind(Kind::Double))
}

#[test]
fn a_norm_by_the_root_mean_square_and_its_gradient_are_those_of_float64() {
    for (width, offset) in [(16, 0.0), (48, 1.0), (576, 0.0)] {
        let x = Tensor::arange(3 * 37 * width, (Kind::Double, Device::Cpu)).sin() * 3.0;
        // No contiguous layout.
        let x = x.reshape([37, 3, width]).transpose(0, 1);
        let x = x.to_kind(Kind::BFloat16).to_kind(Kind::Double);
        let weight = Tensor::arange(width, (Kind::Double, Device::Cpu)).cos() + 0.5;
        let definition = |x: &Tensor| {
            let square = x.square().mean_dim(-1, true, Kind::Double);
            x / (square + 1e-5).sqrt() * (&weight + offset)
        };
        let exact = norm_and_gradient(definition, &x, Kind::Double);
        let narrow_weight = weight.to_kind(Kind::Float);
        let norm = FrozenRmsNorm {
            weight: &narrow_weight,
            eps: 1e-5,
            offset,
        };
        for (kind, narrow, allowed) in [
            (Kind::Float, false, 1e-6),
            (Kind::Float, true, 5e-3),
            (Kind::BFloat16, false, 8e-3),
            (Kind::BFloat16, true, 8e-3),
        ] {
            let name = format!("{kind:?} of {width}, narrow {narrow}");
            let forward = |x: &Tensor| norm.forward(x, narrow).unwrap().unwrap();
            let want = if narrow { Kind::BFloat16 } else { kind };
            assert_eq!(forward(&x.to_kind(kind)).kind(), want, "{name}");
            let found = norm_and_gradient(forward, &x, kind);
            for (found, exact) in found.iter().zip(&exact) {
                let miss = (found - exact).abs().max().double_value(&[]);
                let largest = exact.abs().max().double_value(&[]);
                assert!(miss < allowed * largest, "{name}: {miss:e} of {largest}");
            }
        }
    }
}

#[test]
fn a_norm_that_is_trained_or_of_another_kind_or_width_is_left_to_libtorch() {
    let ones = |shape: &[i64], kind| Tensor::ones(shape, (kind, Device::Cpu));
    let is_taken = |x: &Tensor, weight: &Tensor| {
        let (eps, offset) = (1e-5, 0.0);
        let norm = FrozenRmsNorm {
            weight,
            eps,
            offset,
        };
        norm.forward(x, false).unwrap().is_some()
    };
    let (x, weight) = (ones(&[2, 32], Kind::Float), ones(&[32], Kind::Float));
    assert!(is_taken(&x, &weight));
    assert!(!is_taken(&x.to_kind(Kind::Double), &weight));
    assert!(!is_taken(&x, &ones(&[16], Kind::Float)));
    assert!(!is_taken(
        &ones(&[2, 24], Kind::Float),
        &ones(&[24], Kind::Float)
    ));
    assert!(!is_taken(&x, &weight.set_requires_grad(true)));
}
