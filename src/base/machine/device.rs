//! Devices, and the lanes that own them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// A device as PyTorch's programs are told it: `cpu`, `cuda` or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^(cpu|cuda(:[0-9]+)?)$"))]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// GPUs where there are any, else the processor.
    Cuda,
    /// The NVIDIA GPU of this number.
    CudaNumber(u32),
}

impl FromStr for DeviceName {
    type Err = String;

    /// Reads a name.
    ///
    /// # Errors
    /// It is another; the message says which there are.
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => return Ok(Self::Cuda),
            _ => {}
        }
        let number = name.strip_prefix("cuda:").map(str::parse);
        match number {
            Some(Ok(number)) => Ok(Self::CudaNumber(number)),
            _ => Err(format!(
                "{name:?} is no device; give cpu, cuda, or a GPU by its number, such as cuda:0"
            )),
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        match name {
            DeviceName::Cpu => DeviceSpec::Cpu.to_string(),
            DeviceName::Cuda => "cuda".to_owned(),
            DeviceName::CudaNumber(number) => DeviceSpec::Cuda(number).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_in_pytorch() {
        for (name, device) in [
            ("cpu", DeviceName::Cpu),
            ("cuda", DeviceName::Cuda),
            ("cuda:3", DeviceName::CudaNumber(3)),
        ] {
            assert_eq!(name.parse(), Ok(device));
            assert_eq!(String::from(device), name);
        }
        for wrong in [
            "",
            "gpu",
            "cuda:",
            "cuda:x",
            "cuda:-1",
            "cuda:99999999999",
            "CPU ",
        ] {
            let error = wrong.parse::<DeviceName>().unwrap_err();
            assert!(error.contains("cuda:0"), "{error}");
        }
    }
}
