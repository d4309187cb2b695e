//! What the decisions of a plan depend on besides the user's settings.

pub mod calibration;
pub mod device;
pub mod environment;
pub mod gpus;

use std::ffi::OsString;

use crate::base::machine::gpus::Gpus;

/// The default location of data sets.
pub const DATA_FOLDER: &str = "data/glue";

/// The machine a plan is made for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// NVIDIA GPUs.
    pub gpus: Gpus,
    /// Its name in the network.
    pub name: String,
    /// The processor's name.
    pub processor: String,
    /// The processor's features, in the system's words.
    pub features: Vec<String>,
    /// Cores that this process may use.
    pub cores: u32,
    /// Threads per lane that `regatta doctor --calibrate` found best; `None`: not measured here.
    pub threads_per_lane: Option<u32>,
    /// Value of `REGATTA_DATA`, if it is set.
    pub data_variable: Option<OsString>,
    /// Whether the folder for downloaded data, `data/glue`, is there.
    pub has_data_folder: bool,
}

impl Host {
    /// A machine without a GPU, with the data downloaded: for tests, which must not depend on the
    /// real one.
    #[must_use]
    pub fn cpu(cores: u32) -> Self {
        Self {
            cores,
            has_data_folder: true,
            ..Self::default()
        }
    }

    /// Whether the processor has a feature.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature == name)
    }

    /// Looks at this machine.
    #[must_use]
    pub fn detect() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cores = u32::try_from(cores).unwrap_or(1);
        let processor = processor();
        let calibrated =
            calibration::path().and_then(|path| calibration::recall(&path, &processor, cores));
        Self {
            gpus: Gpus::detect(),
            threads_per_lane: calibrated.map(|entry| entry.threads_per_lane),
            name: name(),
            processor,
            features: features(),
            cores,
            data_variable: std::env::var_os("REGATTA_DATA").filter(|folder| !folder.is_empty()),
            has_data_folder: std::path::Path::new(DATA_FOLDER).is_dir(),
        }
    }
}

/// The host's name as the system has it.
fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "host" } else { name }.to_owned()
}

/// The processor's name as the system has it, else its architecture.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':'));
    name.map_or(std::env::consts::ARCH, |(_, name)| name.trim())
        .to_owned()
}

/// The processor's features as the system has them; none where it does not say.
fn features() -> Vec<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info
        .lines()
        .find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let features = line.and_then(|line| line.split_once(':'));
    let words = features.map_or("", |(_, words)| words).split_whitespace();
    words.map(str::to_owned).collect()
}
