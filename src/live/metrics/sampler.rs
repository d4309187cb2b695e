//! Measures what no event tells: memory, how busy lanes are, and what goes over hosts' lines.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use regatta_actors::observe::hosts::{HostBoard, HostStatus, OWN_PROCESS};

use crate::base::machine::device::DeviceSpec;
use crate::base::torch;
use crate::live::metrics::catalog as c;
use crate::live::metrics::lanes::SharedLanes;

const PERIOD: Duration = Duration::from_secs(1);

/// A thread that samples every second until this is dropped.
#[derive(Debug)]
pub struct Sampler {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts to sample the lanes, the hosts, the process, and the devices that the run uses.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(
        lanes: SharedLanes,
        hosts: Arc<HostBoard>,
        devices: &[DeviceSpec],
    ) -> io::Result<Self> {
        let mut lines = HostLines::default();
        let mut memory = Memory::of(devices);
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new()
            .name("metrics-sampler".to_owned())
            .spawn(move || {
                memory.sample();
                while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                    memory.sample();
                    lanes.with(|lanes| lanes.sample(Instant::now()));
                    lines.sample(hosts.snapshot());
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to report but a panic, which has been logged.
            let _ = thread.join();
        }
    }
}

/// Memory of the process and the devices; the values are the peaks.
struct Memory(BTreeMap<String, (DeviceSpec, u64)>);

impl Memory {
    fn of(devices: &[DeviceSpec]) -> Self {
        let named = devices
            .iter()
            .map(|device| (device.to_string(), (*device, 0)));
        Self(named.collect())
    }

    fn sample(&mut self) {
        let resident = memory_stats::memory_stats().map(|stats| stats.physical_mem as u64);
        if let Some(resident) = resident {
            c::PROCESS_MEMORY.set([], resident as f64);
        }
        for (name, (device, peak)) in &mut self.0 {
            // A GPU has no numbers before its first tensor.
            let Some((now, most)) = held(*device, resident) else {
                continue;
            };
            *peak = most.max(*peak);
            c::DEVICE_MEMORY.set([name], now as f64);
            c::DEVICE_MEMORY_PEAK.set([name], *peak as f64);
        }
    }
}

/// What was last read of each host: bytes that it sent and received.
#[derive(Default)]
struct HostLines(BTreeMap<String, [u64; 2]>);

impl HostLines {
    fn sample(&mut self, hosts: Vec<(String, HostStatus)>) {
        let others = hosts.into_iter().filter(|(id, _)| id != OWN_PROCESS);
        let now = others.map(|(id, host)| (id, [host.bytes_sent, host.bytes_received]));
        let now: BTreeMap<_, _> = now.collect();
        for (id, bytes) in &now {
            let before = self.0.get(id).copied().unwrap_or_default();
            for (at, direction) in ["sent", "received"].into_iter().enumerate() {
                c::HOST_BYTES.add([direction], bytes[at].saturating_sub(before[at]));
            }
        }
        self.0 = now;
    }
}

/// Bytes that the run holds on a device now, and held at most.
fn held(device: DeviceSpec, resident: Option<u64>) -> Option<(u64, u64)> {
    match device {
        DeviceSpec::Cpu => resident.map(|bytes| (bytes, bytes)),
        DeviceSpec::Cuda(number) => {
            let memory = torch::device::cuda_memory(number as usize).ok()?;
            let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
            Some((bytes(memory.reserved), bytes(memory.reserved_peak)))
        }
    }
}
