//! What libtorch says about itself and the devices, through `csrc/info.cpp`.

use std::ffi::{CStr, c_char, c_int};

unsafe extern "C" {
    fn regatta_torch_config(out: *mut c_char, size: usize) -> c_int;
    fn regatta_cpu_capability(out: *mut c_char, size: usize) -> c_int;
    fn regatta_cuda_memory(device: c_int, free: *mut u64, total: *mut u64) -> c_int;
}

/// libtorch's version, `2.11.0` say; `None` when it does not tell.
pub fn version() -> Option<String> {
    let config = text(regatta_torch_config)?;
    let (_, rest) = config.split_once("TORCH_VERSION=")?;
    let end = rest
        .find(|c: char| c == ',' || c.is_whitespace())
        .unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

/// The vector instructions that libtorch uses here, `AVX512` say.
pub fn cpu_capability() -> Option<String> {
    text(regatta_cpu_capability)
}

/// Free and total bytes of a CUDA device; `None` if it cannot be queried.
pub fn cuda_memory(device: u32) -> Option<(u64, u64)> {
    let (mut free, mut total) = (0, 0);
    let device = c_int::try_from(device).ok()?;
    // SAFETY: the function writes one number through each pointer, and keeps neither.
    let status = unsafe { regatta_cuda_memory(device, &raw mut free, &raw mut total) };
    (status == 0).then_some((free, total))
}

fn text(ask: unsafe extern "C" fn(*mut c_char, usize) -> c_int) -> Option<String> {
    let mut buffer = [0_u8; 8192];
    // SAFETY: the function writes at most as many bytes as given, the last of them zero.
    let status = unsafe { ask(buffer.as_mut_ptr().cast(), buffer.len()) };
    let text = CStr::from_bytes_until_nul(&buffer).ok()?;
    (status == 0).then(|| text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_tells_a_version_with_three_numbers() {
        let version = version().unwrap();
        let numbers = version.split(['.', '+']).take(3).map(str::parse::<u32>);
        assert!(
            numbers.clone().count() == 3 && numbers.into_iter().all(|n| n.is_ok()),
            "{version}"
        );
    }

    #[test]
    fn a_device_that_is_not_there_has_no_memory() {
        assert_eq!(cuda_memory(120), None);
    }
}
