//! Which devices the server and the clients' lanes get.

use crate::base::machine::device::{DeviceSpec, LaneSpec};
use crate::config::plan::DevicesPlan;
use crate::config::resolve::Resolver;
use crate::config::settings::{DeviceKind, Numerics, SETTINGS};

/// The most threads of all lanes together.
const MOST_THREADS: u32 = 8_192;

impl Resolver<'_> {
    /// Decides the devices. They follow the machine, so nothing of it goes back into the settings
    /// but the threads per lane, on which the last bits of a result depend.
    pub(crate) fn devices(&mut self, num_clients: u32) -> DevicesPlan {
        let gpus = self.gpus();
        let threads = self.threads(gpus.is_empty());
        let server = match (gpus.is_empty(), self.settings.server_gpu) {
            (true, _) => DeviceSpec::Cpu,
            (false, number) => DeviceSpec::Cuda(number.unwrap_or(0)),
        };
        let lanes = self.lanes(&gpus, threads, num_clients);
        let all = threads.saturating_mul(u32::try_from(lanes.len()).unwrap_or(u32::MAX));
        self.problems.require(
            all <= MOST_THREADS,
            "threads_per_lane",
            format_args!("{} lanes have {all} threads together", lanes.len()),
            format_args!("give fewer, or fewer lanes: at most {MOST_THREADS} threads in all"),
        );
        let notice = self.notice(lanes.len());
        let lanes = lanes
            .into_iter()
            .map(|device| LaneSpec { device, threads })
            .collect();
        DevicesPlan {
            server,
            numerics: self.settings.numerics.unwrap_or(Numerics::Native),
            lanes,
            notice,
        }
    }

    /// Threads of each lane: as given, else as calibrated if the number of lanes is not given, else
    /// one.
    fn threads(&mut self, on_cpu: bool) -> u32 {
        let calibrated = self.machine.threads_per_lane;
        let free = on_cpu && self.settings.lanes.is_none();
        let default = calibrated.filter(|_| free).unwrap_or(1);
        *self.settings.threads_per_lane.get_or_insert(default)
    }

    /// The clients' GPUs; empty: everything runs on the CPU.
    fn gpus(&mut self) -> Vec<u32> {
        let there = self.machine.cuda_devices;
        let device = self.settings.device.take();
        if device == Some(DeviceKind::Cuda) && self.settings.cpu == Some(true) {
            self.problems
                .report("device", "--cpu is given too", "give one of the two");
        }
        if device == Some(DeviceKind::Cpu) {
            self.settings.cpu = Some(true);
        }
        if self.unrecorded(&SETTINGS.cpu) {
            for key in ["server_gpu", "client_gpus"] {
                self.reject_unused(key, "--cpu");
            }
            return Vec::new();
        }
        let chosen = self.settings.client_gpus.clone();
        let right = "give numbers such as 0,1, or omit it for all";
        let none = chosen.as_ref().is_some_and(Vec::is_empty);
        self.problems
            .require(!none, "client_gpus", "no GPU for the clients", right);
        if there == 0 {
            return Vec::new();
        }
        self.require_gpus("server_gpu", self.settings.server_gpu.as_slice().to_vec());
        self.require_gpus("client_gpus", chosen.clone().unwrap_or_default());
        chosen.unwrap_or_else(|| (0..there).collect())
    }

    fn require_gpus(&mut self, key: &str, numbers: Vec<u32>) {
        let there = self.machine.cuda_devices;
        for number in numbers.into_iter().filter(|number| *number >= there) {
            self.problems.report(
                key,
                format_args!("there is no GPU {number} on this machine"),
                format_args!("its GPUs are numbered from 0 to {}", there - 1),
            );
        }
    }

    /// The lanes' devices: all on the CPU, or dealt out over the GPUs in turn.
    fn lanes(&mut self, gpus: &[u32], threads: u32, num_clients: u32) -> Vec<DeviceSpec> {
        let available = match gpus.len() {
            0 => cpu_lanes(self.machine.cores / threads.max(1), num_clients),
            count => u32::try_from(count).unwrap_or(u32::MAX),
        };
        let given = self.settings.lanes;
        let parallel = self.unrecorded(&SETTINGS.parallel_clients);
        if !parallel {
            let contradicts = given.is_some_and(|lanes| lanes > 1);
            let wrong = "clients that train one after the other use one lane";
            self.problems.require(
                !contradicts,
                "lanes",
                wrong,
                "drop --parallel_clients=false",
            );
        }
        let wanted = if parallel {
            given.unwrap_or(available)
        } else {
            1
        };
        let count = wanted.clamp(1, num_clients.max(1));
        let mut turns = gpus.iter().cycle();
        (0..count)
            .map(|_| {
                turns
                    .next()
                    .map_or(DeviceSpec::Cpu, |gpu| DeviceSpec::Cuda(*gpu))
            })
            .collect()
    }

    /// Notes GPUs that were requested on a machine without any.
    fn notice(&self, lanes: usize) -> Option<String> {
        let origins = self.problems.origins();
        let given = origins.given("server_gpu") || origins.given("client_gpus");
        (given && self.machine.cuda_devices == 0).then(|| {
            let lanes = if lanes == 1 {
                "1 lane".to_owned()
            } else {
                format!("{lanes} lanes")
            };
            format!("no CUDA device here: the server and the clients run on the CPU, in {lanes}")
        })
    }
}

/// Lanes for a CPU that has room for N side by side: these, and one for each client that
/// would be left over when all lanes have had equally many. Those who share the cores end
/// together; who is left over would have one core, and leave the others idle.
fn cpu_lanes(room: u32, num_clients: u32) -> u32 {
    let room = room.max(1);
    room + num_clients % room
}
