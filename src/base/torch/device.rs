//! Devices: autocast, determinism, copies, streams, memory.

use std::ffi::c_int;

use tch::{Device, Kind, TchError, Tensor};
use torch_sys::C_tensor;

use crate::base::torch::{check, owned};

unsafe extern "C" {
    fn shim_to_cuda(host: *const C_tensor, device: c_int) -> *mut C_tensor;
    fn shim_autocast_enter(cuda: c_int, dtype: c_int) -> c_int;
    fn shim_autocast_exit(cuda: c_int) -> c_int;
    fn shim_autocast_kind(cuda: c_int) -> c_int;
    fn shim_own_stream(device: c_int) -> c_int;
    fn shim_exchange_stream(device: c_int, stream: i64, before: *mut i64) -> c_int;
    fn shim_wait_for_stream(device: c_int) -> c_int;
    fn shim_allow_tf32(on: c_int) -> c_int;
    fn shim_deterministic(on: c_int) -> c_int;
    fn shim_cuda_mem(device: c_int, out: *mut i64) -> c_int;
    fn shim_cuda_empty_cache() -> c_int;
}

fn is_cuda(device: Device) -> c_int {
    c_int::from(matches!(device, Device::Cuda(_)))
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

    /// The kind that is on for a device type on this thread; `None`: mixed precision is off.
    #[must_use]
    pub fn kind(device: Device) -> Option<Kind> {
        // SAFETY: reads this thread's autocast state.
        match unsafe { shim_autocast_kind(is_cuda(device)) } {
            15 => Some(Kind::BFloat16),
            5 => Some(Kind::Half),
            _ => None,
        }
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
        // SAFETY: `host` is alive through the call; what comes back is null or a tensor of our own.
        Device::Cuda(number) => unsafe { owned(shim_to_cuda(host.as_ptr(), number as c_int)) },
        device => host.f_to_device(device),
    }
}

/// Has all that this thread gives a GPU done in a stream of its own: in its order, and beside what other
/// threads give it. Backward passes are done on this thread, which libtorch otherwise does on one thread
/// for all of a device.
///
/// Memory belongs to the stream in which it was allocated, and is given to that stream again once
/// nothing on the host holds it. So whatever several threads read is made [on the default
/// stream](on_default_stream), and a thread [waits](wait_for_stream) before it lets go of it.
///
/// # Errors
/// If there is no such GPU.
pub fn own_stream(device: Device) -> Result<(), TchError> {
    let Device::Cuda(number) = device else {
        return Ok(());
    };
    // SAFETY: sets this thread's stream, of those that libtorch keeps, and a flag of its autograd.
    check(unsafe { shim_own_stream(number as c_int) })
}

/// Waits until a GPU has done all that this thread gave it.
///
/// # Errors
/// If any of it failed.
pub fn wait_for_stream(device: Device) -> Result<(), TchError> {
    let Device::Cuda(number) = device else {
        return Ok(());
    };
    // SAFETY: waits for a stream that libtorch keeps.
    check(unsafe { shim_wait_for_stream(number as c_int) })
}

/// Makes something on a GPU's default stream, and waits until it is there: then all threads may read
/// it, whatever stream they have.
///
/// # Errors
/// If the work fails, or the GPU does.
pub fn on_default_stream<T, E: From<TchError>>(
    device: Device,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let _back = OtherStream::enter(device)?;
    let made = work();
    let done = wait_for_stream(device);
    let made = made?;
    done?;
    Ok(made)
}

/// This thread's stream is the default one while it lives.
struct OtherStream {
    device: Device,
    before: i64,
}

impl OtherStream {
    fn enter(device: Device) -> Result<Self, TchError> {
        let before = exchange_stream(device, -1)?;
        Ok(Self { device, before })
    }
}

impl Drop for OtherStream {
    fn drop(&mut self) {
        // It was this thread's before: that it is known cannot fail.
        let _ = exchange_stream(self.device, self.before);
    }
}

/// Gives the number of the stream until now.
fn exchange_stream(device: Device, stream: i64) -> Result<i64, TchError> {
    let mut before = 0;
    if let Device::Cuda(number) = device {
        // SAFETY: the shim writes one number; the stream is one that libtorch keeps.
        check(unsafe { shim_exchange_stream(number as c_int, stream, &raw mut before) })?;
    }
    Ok(before)
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
