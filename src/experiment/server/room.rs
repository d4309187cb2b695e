//! The server's work with less memory than it would like.

use tch::Device;

use crate::base::torch::error::Meaning;
use crate::model::ModelError;

/// Does the server's work on its device, and on the CPU where a GPU has no room for it: slower, and
/// with other last bits, which is better than a run that is lost.
///
/// # Errors
/// If it fails for another reason, or there too.
pub(super) fn with_room<T>(
    what: &str,
    device: Device,
    work: impl Fn(Device) -> Result<T, ModelError>,
) -> Result<T, ModelError> {
    match work(device) {
        Err(error) if device != Device::Cpu && is_lack_of_memory(&error) => {
            tracing::warn!("the server's GPU is out of memory, {what} on the CPU: {error}");
            work(Device::Cpu)
        }
        result => result,
    }
}

/// Does work on `count` things at a time, and on half as many as long as there is no room for them.
///
/// # Errors
/// If it fails for another reason, or for each alone.
pub(super) fn with_fewer<T>(
    mut count: usize,
    work: impl Fn(usize) -> Result<T, ModelError>,
) -> Result<T, ModelError> {
    loop {
        match work(count) {
            Err(error) if count > 1 && is_lack_of_memory(&error) => {
                count /= 2;
                tracing::warn!("out of memory, evaluating {count} at a time: {error}");
            }
            result => return result,
        }
    }
}

fn is_lack_of_memory(error: &ModelError) -> bool {
    Meaning::of(&error.to_string()) == Meaning::OutOfMemory
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn full<T>() -> Result<T, ModelError> {
        Err(ModelError::Refused("CUDA out of memory".to_owned()))
    }

    #[test]
    fn work_that_a_gpu_has_no_room_for_is_done_on_the_cpu() {
        let on_gpu = |device: Device| if device == Device::Cpu { Ok(7) } else { full() };
        assert_eq!(with_room("merging", Device::Cuda(0), on_gpu).unwrap(), 7);
        let broken = |_| -> Result<u8, _> { Err(ModelError::Refused("shapes differ".to_owned())) };
        assert!(with_room("merging", Device::Cuda(0), broken).is_err());
        let tried = RefCell::new(Vec::new());
        let never = |device| -> Result<u8, _> {
            tried.borrow_mut().push(device);
            full()
        };
        assert!(with_room("merging", Device::Cpu, never).is_err());
        assert!(with_room("merging", Device::Cuda(1), never).is_err());
        let expected = [Device::Cpu, Device::Cuda(1), Device::Cpu];
        assert_eq!(*tried.borrow(), expected);
    }

    #[test]
    fn batches_are_halved_until_they_fit() {
        let fits = |count| if count <= 10 { Ok(count) } else { full() };
        assert_eq!(with_fewer(64, fits).unwrap(), 8);
        assert_eq!(with_fewer(3, fits).unwrap(), 3);
        assert!(with_fewer(4, |_| full::<u8>()).is_err());
    }
}
