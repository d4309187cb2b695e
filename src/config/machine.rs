//! What the decisions of a plan depend on beside the user's settings.

/// The machine a plan is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// CUDA devices that libtorch can use.
    pub cuda_devices: u32,
    /// Cores that this process may use.
    pub cores: u32,
    /// Value of `REGATTA_DATA`, if it is set.
    pub data_variable: Option<String>,
    /// Whether the folder for downloaded data, `data/glue`, is there.
    pub has_data_folder: bool,
}

impl Machine {
    /// Looks at this machine.
    #[must_use]
    pub fn detect() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            cuda_devices: u32::try_from(tch::Cuda::device_count()).unwrap_or(0),
            cores: u32::try_from(cores).unwrap_or(1),
            data_variable: std::env::var("REGATTA_DATA")
                .ok()
                .filter(|folder| !folder.is_empty()),
            has_data_folder: std::path::Path::new(super::DATA_FOLDER).is_dir(),
        }
    }
}
