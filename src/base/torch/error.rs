//! Errors of libtorch without the C++ stack trace that it appends to its messages.
//!
//! What went wrong comes before it; where in libtorch, only its authors want to know. All of it
//! goes to the log, at the level that `-vv` shows.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

use tch::TchError;

/// The reason that libtorch refused an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TorchError(String);

impl From<TchError> for TorchError {
    fn from(error: TchError) -> Self {
        let text = match error {
            TchError::Torch(text) => text,
            other => other.to_string(),
        };
        let reason = without_stack_trace(&text);
        if reason.len() < text.trim().len() {
            tracing::debug!("libtorch: {text}");
        }
        Self(reason.to_owned())
    }
}

/// Where the C++ stack trace in a message begins. Line breaks can be spelled out: the panics of tch
/// show an error as Rust code has it.
const STACK_TRACE: [&str; 4] = [
    "\nException raised from",
    "\\nException raised from",
    "\nframe #",
    "\\nframe #",
];

/// What a message says before its C++ stack trace, if it has one.
#[must_use]
pub fn without_stack_trace(text: &str) -> &str {
    let starts = STACK_TRACE.iter().filter_map(|start| text.find(start));
    text[..starts.min().unwrap_or(text.len())].trim()
}

/// What an error of libtorch means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A device, or the host, has too little memory: less at a time may do.
    OutOfMemory,
    /// The device does nothing more in this process: whatever is asked of it next fails as well.
    DeviceLost,
    /// It concerns what was asked alone.
    Other,
}

/// The spellings of a lack of memory: libtorch's for the host and for CUDA, the driver's, and those
/// of the libraries for products and decompositions, which allocate for themselves. cuBLAS calls it
/// not initialised where it finds no room for its handle.
const OUT_OF_MEMORY: [&str; 8] = [
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "STATUS_ALLOC_FAILED",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "cudaErrorMemoryAllocation",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "std::bad_alloc",
];

/// How errors of a device begin, the driver's among them.
const OF_A_DEVICE: [&str; 4] = [
    "CUDA error:",
    "CUDA driver error:",
    "cuDNN error:",
    "cusolver error:",
];

/// Errors among them of one call, by which it alone is refused.
const OF_A_CALL: [&str; 4] = [
    "invalid argument",
    "invalid configuration argument",
    "_INVALID_VALUE",
    "_NOT_SUPPORTED",
];

impl Meaning {
    /// What the text of an error means: libtorch has no other sign of it. An error of a device is
    /// taken for its end unless it is known to be of one call: a context of CUDA's survives neither
    /// a fault of the memory, an assertion, nor a GPU that fell off the bus, and a GPU that has no
    /// kernels is of no use either.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if any(&OUT_OF_MEMORY) {
            Self::OutOfMemory
        } else if any(&OF_A_DEVICE) && !any(&OF_A_CALL) {
            Self::DeviceLost
        } else {
            Self::Other
        }
    }
}

/// From now on, panics are logged, without C++ stack traces unless `-vv` is given.
pub fn log_panics() {
    panic::set_hook(Box::new(tell));
}

fn tell(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("(no message)");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!("panicked at {place}: {}", without_stack_trace(text));
    tracing::debug!("panicked at {place}: {text}");
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        tracing::error!("the stack at that:\n{trace}");
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn an_error_of_libtorch_is_one_line_without_its_stack_trace() {
        let table = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let beyond = Tensor::from_slice(&[0_i64, 2]);
        let error = Tensor::f_embedding(&table, &beyond, -1, false, false).unwrap_err();
        assert!(error.to_string().contains("frame #0"), "{error}");
        let ours = TorchError::from(error).to_string();
        assert_eq!(ours, "index out of range in self");
    }

    #[test]
    fn a_lack_of_memory_is_known_in_all_its_spellings() {
        for text in [
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB",
            "CUDA error: out of memory",
            "CUDA driver error: out of memory",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
            "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: \
             you tried to allocate 8 bytes. Error code 12 (Cannot allocate memory)",
            "std::bad_alloc",
        ] {
            assert_eq!(Meaning::of(text), Meaning::OutOfMemory, "{text}");
        }
    }

    #[test]
    fn an_error_that_a_device_does_not_survive_is_told_from_one_of_a_call() {
        for (text, meaning) in [
            (
                "CUDA error: an illegal memory access was encountered",
                Meaning::DeviceLost,
            ),
            (
                "CUDA error: device-side assert triggered",
                Meaning::DeviceLost,
            ),
            (
                "CUDA error: uncorrectable ECC error encountered",
                Meaning::DeviceLost,
            ),
            (
                "CUDA error: unspecified launch failure",
                Meaning::DeviceLost,
            ),
            (
                "CUDA error: no kernel image is available for execution on the device",
                Meaning::DeviceLost,
            ),
            (
                "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
                Meaning::DeviceLost,
            ),
            ("CUDA error: invalid configuration argument", Meaning::Other),
            (
                "CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling",
                Meaning::Other,
            ),
            ("The size of tensor a (3) must match", Meaning::Other),
        ] {
            assert_eq!(Meaning::of(text), meaning, "{text}");
        }
    }

    #[test]
    fn all_that_comes_before_the_stack_trace_is_kept() {
        for trace in [
            "\nException raised from at",
            "\\nframe #0: at",
            "\nframe #0: at",
        ] {
            let text = format!("sizes differ:\n3 and 4{trace} csrc/x.cpp:3");
            assert_eq!(without_stack_trace(&text), "sizes differ:\n3 and 4");
        }
        assert_eq!(
            without_stack_trace("left: 1\nright: 2\n"),
            "left: 1\nright: 2"
        );
    }
}
