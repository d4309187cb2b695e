//! NVIDIA GPUs: which of them this process can use, and why not the others.

use std::fmt;

use crate::base::torch::info;
use crate::base::torch::info::{CudaGpu as Gpu, Driver};

/// The GPUs of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpus {
    /// Those that libtorch can use.
    pub usable: Vec<Gpu>,
    /// Those that it has no kernels for.
    pub too_old: Vec<Gpu>,
    /// Why none can be used.
    pub none: Option<NoGpu>,
}

impl Gpus {
    /// Looks for them.
    #[must_use]
    pub fn detect() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let facts = GpuFacts {
            cuda_of_libtorch: cuda_of_libtorch(&maps),
            kernel_module: std::fs::read_to_string("/proc/driver/nvidia/version").ok(),
            driver: info::cuda_driver(),
            visible: std::env::var("CUDA_VISIBLE_DEVICES").ok(),
            gpus: info::cuda_gpus(),
        };
        let mut gpus = Self::of(facts);
        // Asked last, since libtorch prints what it does not like of a driver.
        if !gpus.usable.is_empty() && tch::Cuda::device_count() == 0 {
            gpus.usable.clear();
            gpus.none = Some(NoGpu::Refused);
        }
        gpus
    }

    fn of(facts: GpuFacts) -> Self {
        let none = facts.trouble();
        let least = facts.cuda_of_libtorch.map_or((0, 0), least_capability);
        let all = facts.gpus.into_iter();
        let (usable, too_old): (Vec<_>, Vec<_>) = all.partition(|gpu| gpu.capability >= least);
        match none {
            Some(none) => Self {
                none: Some(none),
                ..Self::default()
            },
            None if usable.is_empty() => Self {
                none: too_old.first().map(|gpu| NoGpu::TooOld(gpu.clone(), least)),
                usable,
                too_old,
            },
            None => Self {
                usable,
                too_old,
                none: None,
            },
        }
    }

    /// What to say of GPUs that are too old beside others that are not.
    #[must_use]
    pub fn too_old_note(&self) -> Option<String> {
        let gpu = self.too_old.first()?;
        let (major, minor) = gpu.capability;
        Some(format!(
            "GPU {} ({}, compute capability {major}.{minor}) is too old for this libtorch, and is \
             not used",
            gpu.number, gpu.name
        ))
    }

    /// GPUs of one kind, for tests.
    #[cfg(test)]
    pub(crate) fn alike(count: u32, name: &str, capability: (u32, u32)) -> Self {
        let gpu = |number| Gpu {
            number,
            name: name.to_owned(),
            capability,
            multiprocessors: 132,
            uuid: format!("GPU-{number}"),
        };
        Self {
            usable: (0..count).map(gpu).collect(),
            ..Self::default()
        }
    }
}

/// What has to be known to say why there is no GPU.
#[derive(Debug, Clone, Default)]
struct GpuFacts {
    /// The major version of CUDA that libtorch was built with; `None`: without.
    cuda_of_libtorch: Option<u32>,
    /// What the driver's part in the kernel says of itself.
    kernel_module: Option<String>,
    /// The driver's library.
    driver: Driver,
    /// `CUDA_VISIBLE_DEVICES`.
    visible: Option<String>,
    /// The GPUs that the driver shows this process.
    gpus: Vec<Gpu>,
}

/// Why there is no GPU to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoGpu {
    /// No driver, hence no GPU.
    NoDriver,
    /// libtorch is the one without CUDA.
    WithoutCuda,
    /// The driver, of this release where it says so, is older than libtorch's CUDA.
    OldDriver {
        /// Its release.
        release: Option<u32>,
        /// libtorch's version of CUDA.
        cuda: u32,
    },
    /// The driver fails to start, with this code of CUDA's.
    Fails(i32),
    /// `CUDA_VISIBLE_DEVICES` has this value, which hides them.
    Hidden(String),
    /// The driver shows this process none.
    NotShown,
    /// All, the first of which is given, have a lower compute capability than this.
    TooOld(Gpu, (u32, u32)),
    /// libtorch counts none for another reason.
    Refused,
}

/// CUDA's code for a driver without a GPU, which is no failure.
const NO_DEVICE: i32 = 100;

impl GpuFacts {
    /// What keeps all GPUs from being used, apart from their age.
    fn trouble(&self) -> Option<NoGpu> {
        let has_driver = self.kernel_module.is_some() || self.driver != Driver::Missing;
        let Some(cuda) = self.cuda_of_libtorch else {
            return Some(if has_driver {
                NoGpu::WithoutCuda
            } else {
                NoGpu::NoDriver
            });
        };
        let newest = match self.driver {
            _ if !has_driver => return Some(NoGpu::NoDriver),
            Driver::Missing => return Some(NoGpu::NotShown),
            Driver::Fails(code) if code != NO_DEVICE => return Some(NoGpu::Fails(code)),
            Driver::Fails(_) => None,
            Driver::Runs { newest_cuda } => Some(newest_cuda),
        };
        if newest.is_some_and(|newest| newest < cuda) {
            let module = self.kernel_module.as_deref();
            let release = module.and_then(release);
            return Some(NoGpu::OldDriver { release, cuda });
        }
        match &self.visible {
            _ if !self.gpus.is_empty() => None,
            Some(value) => Some(NoGpu::Hidden(value.clone())),
            None => Some(NoGpu::NotShown),
        }
    }
}

/// The release of a driver, 580 say, in the text of its kernel module.
fn release(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Kernel Module")?;
    let mut words = rest.split_whitespace();
    let numbers = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    numbers.split('.').next()?.parse().ok()
}

/// The major version of CUDA of the libtorch among a process's files.
fn cuda_of_libtorch(maps: &str) -> Option<u32> {
    if !maps.contains("/libtorch_cuda.so") {
        return None;
    }
    let (_, rest) = maps.split_once("/libcudart.so.")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The least compute capability that the libtorch of PyTorch's wheels has kernels for.
fn least_capability(cuda: u32) -> (u32, u32) {
    if cuda >= 13 { (7, 5) } else { (5, 0) }
}

/// The remedy for what is too old for CUDA 13.
const OLDER_LIBTORCH: &str = "name a libtorch 2.11 for CUDA 12.6 (a wheel of cu126) by LIBTORCH";

impl fmt::Display for NoGpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver => f.write_str("there is no NVIDIA driver"),
            Self::WithoutCuda => f.write_str(
                "there is an NVIDIA driver, but this libtorch is without CUDA; `make setup CUDA=1` \
                 fetches one that has it",
            ),
            Self::OldDriver { release, cuda } => {
                let release = release.map_or_else(String::new, |release| format!(" {release}"));
                write!(
                    f,
                    "the NVIDIA driver{release} is too old for libtorch's CUDA {cuda}: update it, \
                     put NVIDIA's cuda-compat into LD_LIBRARY_PATH, or {OLDER_LIBTORCH}"
                )
            }
            Self::Fails(code) => write!(
                f,
                "the NVIDIA driver does not start (CUDA's error {code}); `nvidia-smi` may say more"
            ),
            Self::Hidden(value) => write!(
                f,
                "CUDA_VISIBLE_DEVICES is {value:?}, which shows no GPU: unset it, or name one"
            ),
            Self::NotShown => f.write_str(
                "there is an NVIDIA driver, but it shows this process no GPU: ask for one where \
                 the process is started (Slurm: --gres=gpu:1; containers: --gpus all, --nv)",
            ),
            Self::TooOld(gpu, least) => {
                let (major, minor) = gpu.capability;
                write!(
                    f,
                    "GPU {} ({}) has compute capability {major}.{minor}, and this libtorch needs \
                     {}.{} at least: {OLDER_LIBTORCH}",
                    gpu.number, gpu.name, least.0, least.1
                )
            }
            Self::Refused => f.write_str(
                "the NVIDIA driver shows GPUs, but libtorch counts none; what it printed may say \
                 why",
            ),
        }
    }
}

/// What several slices of a GPU need, where `CUDA_VISIBLE_DEVICES` names more than one: CUDA shows a
/// process one of them.
#[must_use]
pub fn several_slices(visible: Option<&str>) -> Option<String> {
    let slices = visible?
        .split(',')
        .filter(|one| one.trim().starts_with("MIG-"));
    let count = slices.count();
    (count > 1).then(|| {
        format!(
            "CUDA_VISIBLE_DEVICES names {count} slices, of which CUDA shows a process the first: \
             use a process for each, such as `regatta worker`"
        )
    })
}

#[cfg(test)]
mod tests;
