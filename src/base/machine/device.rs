//! Devices, and the lanes that own them.

use std::fmt;

/// A device of libtorch's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU by its number.
    Cuda(u32),
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl From<DeviceSpec> for tch::Device {
    fn from(device: DeviceSpec) -> Self {
        match device {
            DeviceSpec::Cpu => Self::Cpu,
            DeviceSpec::Cuda(number) => Self::Cuda(number as usize),
        }
    }
}

/// One lane: a thread that trains clients on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneSpec {
    /// Its device.
    pub device: DeviceSpec,
    /// Threads that one operation may use on the CPU.
    pub threads: u32,
}
