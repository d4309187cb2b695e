//! What libtorch says about itself and the devices, through `csrc/info.cpp`.

use std::ffi::{CStr, c_char, c_int};

unsafe extern "C" {
    fn regatta_torch_config(out: *mut c_char, size: usize) -> c_int;
    fn regatta_cpu_capability(out: *mut c_char, size: usize) -> c_int;
    fn regatta_cuda_driver(newest: *mut c_int, count: *mut c_int) -> c_int;
    fn regatta_cuda_gpu(
        number: c_int,
        name: *mut c_char,
        size: c_int,
        facts: *mut c_int,
        uuid: *mut u8,
    ) -> c_int;
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

/// The NVIDIA driver's library.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Driver {
    /// There is none.
    #[default]
    Missing,
    /// It does not start, with this code of CUDA's.
    Fails(i32),
    /// It runs programs for CUDA up to this major version.
    Runs {
        /// The version.
        newest_cuda: u32,
    },
}

/// Asks the NVIDIA driver, without libtorch, which prints what it does not like of one.
#[must_use]
pub fn cuda_driver() -> Driver {
    driver_and_gpus().0
}

fn driver_and_gpus() -> (Driver, c_int) {
    let (mut newest, mut count) = (0, 0);
    // SAFETY: the function writes one number through each pointer, and keeps neither.
    let driver = match unsafe { regatta_cuda_driver(&raw mut newest, &raw mut count) } {
        0 => Driver::Runs {
            newest_cuda: u32::try_from(newest / 1000).unwrap_or(0),
        },
        -1 => Driver::Missing,
        code => Driver::Fails(code),
    };
    (driver, count)
}

/// A GPU as the driver describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaGpu {
    /// The number that CUDA has for it, in libtorch as well.
    pub number: u32,
    /// Its name. CUDA shows a process one slice of a GPU in MIG mode, whose name says so.
    pub name: String,
    /// Its compute capability, (9, 0) say.
    pub capability: (u32, u32),
    /// Its multiprocessors, by whose number libraries choose algorithms.
    pub multiprocessors: u32,
    /// Its UUID, as `nvidia-smi` writes it, whose numbers are others.
    pub uuid: String,
}

/// The GPUs that the driver shows this process; those that it cannot describe are left out.
#[must_use]
pub fn cuda_gpus() -> Vec<CudaGpu> {
    let (_, count) = driver_and_gpus();
    (0..count).filter_map(cuda_gpu).collect()
}

fn cuda_gpu(number: c_int) -> Option<CudaGpu> {
    let (mut name, mut facts, mut uuid) = ([0_u8; 256], [0; 3], [0_u8; 16]);
    // SAFETY: the function writes a text of at most as many bytes as told, three numbers, and the 16
    // bytes of a UUID; it keeps no pointer.
    let code = unsafe {
        regatta_cuda_gpu(
            number,
            name.as_mut_ptr().cast(),
            name.len() as c_int,
            facts.as_mut_ptr(),
            uuid.as_mut_ptr(),
        )
    };
    let name = CStr::from_bytes_until_nul(&name).ok()?.to_string_lossy();
    let [major, minor, multiprocessors] = facts.map(|fact| u32::try_from(fact).unwrap_or(0));
    (code == 0).then(|| CudaGpu {
        number: u32::try_from(number).unwrap_or(0),
        uuid: written(&uuid, &name),
        name: name.into_owned(),
        capability: (major, minor),
        multiprocessors,
    })
}

/// A UUID as `nvidia-smi` writes it: a slice's begins in another way.
fn written(uuid: &[u8; 16], name: &str) -> String {
    let kind = if name.contains(" MIG ") { "MIG" } else { "GPU" };
    let digits: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    format!("{kind}-{a}-{b}-{c}-{d}-{e}")
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
    fn a_uuid_is_written_as_nvidia_smi_does() {
        let uuid = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
        let digits = "01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(written(&uuid, "NVIDIA H100"), format!("GPU-{digits}"));
        let slice = written(&uuid, "NVIDIA A100-SXM4-40GB MIG 1g.5gb");
        assert_eq!(slice, format!("MIG-{digits}"));
    }

    #[test]
    fn a_device_that_is_not_there_has_no_memory() {
        assert_eq!(cuda_memory(120), None);
    }
}
