//! Use of the machine.

use crate::live::metrics::catalog::row::{BYTES, metric};
use crate::live::metrics::metric::{Counter, Gauge};

/// Share of time that lanes train.
pub static LANE_BUSY_RATIO: Gauge<2> = Gauge(metric(
    "regatta_lane_busy_ratio",
    None,
    ["lane", "device"],
    "Share of time that a lane spent training, over about the last 15 seconds",
));
/// Examples trained by lanes.
pub static LANE_EXAMPLES: Counter<2> = Counter(metric(
    "regatta_lane_examples_total",
    None,
    ["lane", "device"],
    "Examples trained on a lane, counted by batch, whatever became of the update",
));
/// Device memory in use.
pub static DEVICE_MEMORY: Gauge<1> = Gauge(metric(
    "regatta_device_memory_bytes",
    BYTES,
    ["device"],
    "Memory in use: on a GPU, by libtorch's allocator; on the CPU, by the process",
));
/// Peak device memory.
pub static DEVICE_MEMORY_PEAK: Gauge<1> = Gauge(metric(
    "regatta_device_memory_peak_bytes",
    BYTES,
    ["device"],
    "Peak memory in use on a device, as sampled",
));
/// Resident memory of the process.
pub static PROCESS_MEMORY: Gauge<0> = Gauge(metric(
    "regatta_process_resident_memory_bytes",
    BYTES,
    [],
    "Resident memory of the process",
));
