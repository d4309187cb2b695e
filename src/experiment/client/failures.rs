//! What an error of a client's training means for the job.

use regatta_actors::workload::job::{DeviceLost, JobError};
use tch::Device;

use crate::base::torch;
use crate::base::torch::error::Meaning;
use crate::model::ModelError;

/// What an error means for a job on a device.
pub(crate) fn job_error(error: ModelError, device: Device) -> JobError {
    let text = error.to_string();
    match Meaning::of(&text) {
        Meaning::OutOfMemory => {
            let reason = text.lines().next().unwrap_or_default().to_owned();
            JobError::OutOfMemory(with_memory(reason, device))
        }
        Meaning::DeviceLost => device_lost(&text).into(),
        Meaning::Other => JobError::Failed(error.into()),
    }
}

/// A lack of memory with how much there was, where libtorch's libraries do not say.
fn with_memory(reason: String, device: Device) -> String {
    let memory = match device {
        Device::Cuda(number) if !reason.contains("GiB") => u32::try_from(number).ok(),
        _ => None,
    };
    match memory.and_then(torch::info::cuda_memory) {
        Some((free, total)) => {
            let mib = |bytes: u64| bytes >> 20;
            format!("{reason}; {} of {} MiB are free", mib(free), mib(total))
        }
        None => reason,
    }
}

/// What to say where a device is lost.
pub(crate) fn device_lost(text: &str) -> DeviceLost {
    let reason = text.lines().next().unwrap_or_default();
    DeviceLost(format!(
        "{reason}; a new process can use it again: `regatta resume` continues from the last \
         checkpoint. With CUDA_LAUNCH_BLOCKING=1 the operation that failed is the one that is named"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> JobError {
        job_error(ModelError::Refused(text.into()), Device::Cpu)
    }

    #[test]
    fn want_of_memory_is_told_from_other_failures() {
        let cuda = "CUDA out of memory. Tried to allocate 2.00 GiB\nException raised from malloc";
        for text in [cuda, "DefaultCPUAllocator: can't allocate memory"] {
            let JobError::OutOfMemory(reason) = of(text) else {
                panic!("{text}");
            };
            assert_eq!(reason.lines().count(), 1, "{reason}");
            assert!(
                reason.contains("allocate") || reason.contains("memory"),
                "{reason}"
            );
        }
        assert!(matches!(of("shapes differ"), JobError::Failed(_)));
    }

    #[test]
    fn a_lost_device_is_named_with_what_helps() {
        let JobError::DeviceLost(lost) =
            of("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be")
        else {
            panic!("not a lost device");
        };
        let text = lost.to_string();
        assert!(
            text.starts_with("the device is lost: CUDA error: an illegal memory access"),
            "{text}"
        );
        assert!(
            text.contains("regatta resume") && text.contains("CUDA_LAUNCH_BLOCKING=1"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
    }
}
