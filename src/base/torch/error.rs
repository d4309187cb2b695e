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
