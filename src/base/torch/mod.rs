//! What libtorch can do and tch does not offer, mostly through the C++ in `csrc/`.

pub mod error;

use std::ffi::{CStr, c_char, c_int};
use std::panic::resume_unwind;
use std::thread;

use tch::{Device, Kind, TchError, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn shim_err() -> *const c_char;
    fn shim_dropout(x: *const C_tensor, seed: u64, threshold: u32) -> *mut C_tensor;
    fn shim_attention(
        query: *const C_tensor,
        key: *const C_tensor,
        value: *const C_tensor,
        bias: *const C_tensor,
        heads: i64,
        seed: u64,
        threshold: u32,
        found: *mut *mut C_tensor,
    ) -> c_int;
    fn shim_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
    ) -> *mut C_tensor;
    fn shim_fused_adamw(
        parameters: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        means: *const *mut C_tensor,
        squares: *const *mut C_tensor,
        steps: *const *mut C_tensor,
        len: usize,
        rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
    ) -> c_int;
    fn shim_autocast_enter(cuda: c_int, dtype: c_int) -> c_int;
    fn shim_autocast_exit(cuda: c_int) -> c_int;
    fn shim_allow_tf32(on: c_int) -> c_int;
    fn shim_deterministic(on: c_int) -> c_int;
    fn shim_cuda_mem(device: c_int, out: *mut i64) -> c_int;
    fn shim_cuda_empty_cache() -> c_int;
    fn shim_cuda_capability(device: c_int, major: *mut c_int) -> c_int;
}

fn check(code: c_int) -> Result<(), TchError> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the shim returns a NUL-terminated string of this thread's own, alive until this
    // thread's next call of the shim; it is copied before that.
    let message = unsafe { CStr::from_ptr(shim_err()) };
    Err(TchError::Torch(message.to_string_lossy().into_owned()))
}

/// The tensor that a call of the shim gave, or why it gave none.
///
/// # Safety
/// `tensor` is null, or owned by no one else.
unsafe fn owned(tensor: *mut C_tensor) -> Result<Tensor, TchError> {
    if tensor.is_null() {
        check(-1)?;
    }
    // SAFETY: not null, and by the caller's word owned by nobody else.
    Ok(unsafe { Tensor::from_ptr(tensor) })
}

fn is_cuda(device: Device) -> c_int {
    c_int::from(matches!(device, Device::Cuda(_)))
}

/// Lets operations of this thread use N threads of the CPU.
///
/// A thread's first look at its number of threads takes over what any thread set last, whatever
/// this one set before. Two threads that set different numbers would so decide by a race how
/// sums are divided, and with it their last bits. So look first, and set afterwards.
pub fn use_threads(threads: u32) {
    tch::get_num_threads();
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

/// Cores that this process may use.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Does the same to each of some tasks, side by side on the machine's cores; the results in order.
/// A task's thread computes alone and without gradients, so the bits of its result depend on
/// nothing but the task.
///
/// # Panics
/// If a task does.
pub fn in_parallel<T: Send, U: Send>(tasks: Vec<T>, work: impl Fn(T) -> U + Sync) -> Vec<U> {
    let share = tasks.len().div_ceil(cores()).max(1);
    let (mut tasks, work) = (tasks.into_iter(), &work);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        while tasks.len() > 0 {
            let own: Vec<T> = tasks.by_ref().take(share).collect();
            threads.push(scope.spawn(move || {
                use_threads(1);
                let _guard = tch::no_grad_guard();
                own.into_iter().map(work).collect::<Vec<U>>()
            }));
        }
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .flat_map(|results| results.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// Zeroes values by a mask and scales the others, so that the mean is kept: y = x mask / (1 − p),
/// with p = `threshold` / 2¹⁶. The mask is a function of `seed`, of nothing else; also backward,
/// where it is drawn once more.
///
/// # Errors
/// If the device fails, or the values are not floating-point numbers.
pub fn dropout(x: &Tensor, seed: u64, threshold: u16) -> Result<Tensor, TchError> {
    // SAFETY: `x` is alive through the call; what comes back is null or a tensor of our own.
    unsafe { owned(shim_dropout(x.as_ptr(), seed, u32::from(threshold))) }
}

/// The inputs of multi-head attention.
///
/// # Shapes
/// `query` (rows, asked, hidden); `key` and `value` (rows, tokens, hidden); `bias`, added to all
/// scores of a row's keys, (rows, 1, 1, tokens).
#[derive(Debug, Clone, Copy)]
pub struct AttentionInputs<'a> {
    /// Whoever asks.
    pub query: &'a Tensor,
    /// The keys.
    pub key: &'a Tensor,
    /// The values.
    pub value: &'a Tensor,
    /// 0 where a key counts, −∞ or as near as can be where it does not.
    pub bias: Option<&'a Tensor>,
    /// Heads, side by side in `hidden`.
    pub heads: i64,
}

/// Scaled dot-product attention whose probabilities are dropped as [`dropout`] does it, computed in
/// one pass on a CPU: (rows, asked, hidden). `None` where that is not written for what is given
/// (another device or kind, heads whose width is not a multiple of 16), or where the processor, or
/// what the compiler made for it, has no wide vectors, without which it is slower than the
/// definition.
///
/// # Errors
/// If memory runs out.
pub fn attention_with_dropout(
    attended: AttentionInputs<'_>,
    seed: u64,
    threshold: u16,
) -> Result<Option<Tensor>, TchError> {
    let AttentionInputs {
        query,
        key,
        value,
        bias,
        heads,
    } = attended;
    let mut found = std::ptr::null_mut();
    // SAFETY: the tensors are alive through the call; null means no bias.
    let code = unsafe {
        shim_attention(
            query.as_ptr(),
            key.as_ptr(),
            value.as_ptr(),
            bias.map_or(std::ptr::null_mut(), Tensor::as_ptr),
            heads,
            seed,
            u32::from(threshold),
            &raw mut found,
        )
    };
    check(code)?;
    // SAFETY: what is not null is a tensor of our own.
    Ok((!found.is_null()).then(|| unsafe { Tensor::from_ptr(found) }))
}

/// A linear layer, `y = x Wᵀ + bias`: by oneDNN where that is faster, which is for many frozen
/// weights in float32 on a CPU, else as libtorch does it. The two round differently.
///
/// # Shapes
/// `x` (…, d_in), `weight` (d_out, d_in), `bias` (d_out), `y` (…, d_out).
///
/// # Errors
/// If shapes do not fit, or memory runs out.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor, TchError> {
    // SAFETY: the three are alive through the call; what comes back is null or a tensor of our own.
    unsafe { owned(shim_linear(x.as_ptr(), weight.as_ptr(), bias.as_ptr())) }
}

/// One tensor's part of an AdamW step.
#[derive(Debug)]
pub struct AdamWParameter<'a> {
    /// The trained tensor; changed in place.
    pub value: &'a Tensor,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// Mean of its gradients; changed in place.
    pub mean: &'a Tensor,
    /// Mean of their squares; changed in place.
    pub square: &'a Tensor,
    /// Steps taken, a float32 scalar; counted up.
    pub steps: &'a Tensor,
}

/// Constants of an AdamW step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConstants {
    /// Learning rate.
    pub rate: f64,
    /// β₁ and β₂.
    pub betas: (f64, f64),
    /// Weight decay.
    pub weight_decay: f64,
    /// ε.
    pub epsilon: f64,
}

/// A step of AdamW over all tensors in one call.
///
/// # Errors
/// If tensors differ in shape or device.
pub fn fused_adamw(
    parameters: &[AdamWParameter<'_>],
    constants: AdamWConstants,
) -> Result<(), TchError> {
    let pointers = |of: fn(&AdamWParameter<'_>) -> *mut C_tensor| -> Vec<_> {
        parameters.iter().map(of).collect()
    };
    let values = pointers(|p| p.value.as_ptr().cast_mut());
    let gradients = pointers(|p| p.gradient.as_ptr().cast_mut());
    let means = pointers(|p| p.mean.as_ptr().cast_mut());
    let squares = pointers(|p| p.square.as_ptr().cast_mut());
    let steps = pointers(|p| p.steps.as_ptr().cast_mut());
    let (beta1, beta2) = constants.betas;
    // SAFETY: five arrays of as many pointers to tensors that are alive through the call, which
    // keeps none of them. It writes what the tensors refer to, as all in-place operations do.
    check(unsafe {
        shim_fused_adamw(
            values.as_ptr(),
            gradients.as_ptr(),
            means.as_ptr(),
            squares.as_ptr(),
            steps.as_ptr(),
            parameters.len(),
            constants.rate,
            beta1,
            beta2,
            constants.weight_decay,
            constants.epsilon,
        )
    })
}

/// Mixed precision on this thread while it lives: matrix products in a narrower kind, what needs
/// the range in float32.
#[derive(Debug)]
pub struct Autocast {
    cuda: c_int,
}

impl Autocast {
    /// Turns it on for a device type and `Kind::Half` or `Kind::BFloat16`.
    ///
    /// # Errors
    /// If the device type does not know that kind.
    pub fn enter(device: Device, kind: Kind) -> Result<Self, TchError> {
        // The numbers of c10::ScalarType.
        let dtype = if kind == Kind::BFloat16 { 15 } else { 5 };
        let cuda = is_cuda(device);
        // SAFETY: changes this thread's autocast state only; errors come back as a code.
        check(unsafe { shim_autocast_enter(cuda, dtype) })?;
        Ok(Self { cuda })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: undoes the constructor's call on the same thread; it cannot fail once entered.
        unsafe { shim_autocast_exit(self.cuda) };
    }
}

/// Whether float32 matrix products on a GPU may use TF32, which keeps 10 bits of the mantissa.
///
/// # Errors
/// If libtorch refuses.
pub fn allow_tf32(on: bool) -> Result<(), TchError> {
    // SAFETY: sets two flags of libtorch's global context.
    check(unsafe { shim_allow_tf32(c_int::from(on)) })
}

/// Makes operations that have a deterministic algorithm use it, and the others fail.
///
/// # Errors
/// If libtorch refuses.
pub fn deterministic(on: bool) -> Result<(), TchError> {
    // SAFETY: sets a flag of libtorch's global context.
    check(unsafe { shim_deterministic(c_int::from(on)) })
}

/// Copies a tensor of the host to a device. To a GPU it goes by page-locked memory, and the host
/// does not wait for it; what is computed from it on the device comes after it all the same.
///
/// # Errors
/// If the device fails.
pub fn to_device(host: &Tensor, device: Device) -> Result<Tensor, TchError> {
    match device {
        Device::Cpu => Ok(host.shallow_clone()),
        // libtorch keeps the page-locked memory until the copy is done.
        device => host
            .f_pin_memory(device)?
            .f_to_device_(device, host.kind(), true, false),
    }
}

/// Memory of libtorch's allocator on a CUDA device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CudaMemory {
    /// In tensors now.
    pub allocated: i64,
    /// In tensors at most, so far.
    pub allocated_peak: i64,
    /// Taken from the device now.
    pub reserved: i64,
    /// Taken from the device at most, so far.
    pub reserved_peak: i64,
}

/// Asks the allocator of a CUDA device.
///
/// # Errors
/// If there is no such device.
pub fn cuda_memory(device: usize) -> Result<CudaMemory, TchError> {
    let mut out = [0_i64; 4];
    // SAFETY: the shim writes four numbers.
    check(unsafe { shim_cuda_mem(device as c_int, out.as_mut_ptr()) })?;
    let [allocated, allocated_peak, reserved, reserved_peak] = out;
    Ok(CudaMemory {
        allocated,
        allocated_peak,
        reserved,
        reserved_peak,
    })
}

/// Gives memory that the allocator holds but no tensor uses back to the device.
///
/// # Errors
/// If there is no CUDA.
pub fn empty_cuda_cache() -> Result<(), TchError> {
    // SAFETY: frees cached blocks only.
    check(unsafe { shim_cuda_empty_cache() })
}

/// The major number of a CUDA device's compute capability: 8 and above compute in bfloat16.
///
/// # Errors
/// If there is no NVIDIA driver or no such device.
pub fn cuda_capability(device: usize) -> Result<i32, TchError> {
    let mut major = 0;
    // SAFETY: the shim writes one number.
    check(unsafe { shim_cuda_capability(device as c_int, &raw mut major) })?;
    Ok(major)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_threads_number_of_threads_is_its_own() {
        let own = thread::spawn(|| {
            use_threads(1);
            thread::spawn(|| use_threads(3)).join().unwrap();
            tch::get_num_threads()
        });
        assert_eq!(own.join().unwrap(), 1);
    }

    /// A linear layer's output and the gradient of a weighted sum of it, by `x`.
    fn forward_and_backward(kind: Kind, frozen: bool, x: &Tensor) -> (Tensor, Tensor) {
        let values = |shape: &[i64], step: f64| -> Tensor {
            let len: i64 = shape.iter().product();
            let count = Tensor::arange(len, (Kind::Double, Device::Cpu)) * step;
            count.sin().reshape(shape).to_kind(kind)
        };
        let x = x.detach().to_kind(kind).set_requires_grad(true);
        let weight = values(&[48, 33], 0.7).set_requires_grad(!frozen);
        let y = linear(&x, &weight, &values(&[48], 1.3)).unwrap();
        (&y * values(&[48], 0.9)).sum(kind).backward();
        (y.detach(), x.grad())
    }

    #[test]
    fn a_linear_layer_and_its_gradient_are_those_of_float64_frozen_or_not_long_or_short() {
        for rows in [3, 400] {
            let x = Tensor::arange(rows * 33, (Kind::Double, Device::Cpu)).cos();
            // No contiguous layout, as a view of other values has none.
            let x = x.reshape([33, 1, rows]).permute([2, 1, 0]);
            let exact = forward_and_backward(Kind::Double, true, &x);
            for frozen in [true, false] {
                let found = forward_and_backward(Kind::Float, frozen, &x);
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
            let error = linear(&zeros(&[500, x]), &zeros(&[3, 4]), &zeros(&[bias]));
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
    fn a_parallel_task_that_panics_is_not_lost() {
        let work = |task: u64| assert!(task != 3, "the third");
        let ended = catch_unwind(|| in_parallel((0..7).collect(), work));
        let panic = ended.unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the third"));
    }
}
