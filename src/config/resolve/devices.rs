//! Which devices the server and the clients' lanes get.

use crate::base::machine::device::{DeviceName, DeviceSpec, LaneSpec};
use crate::base::machine::gpus::NoGpu;
use crate::base::table::count;
use crate::base::torch::info::CudaGpu;
use crate::config::plan::DevicesPlan;
use crate::config::resolve::Resolver;
use crate::config::settings::{Numerics, SETTINGS};
use crate::train::settings::Precision;

/// The most threads of all lanes together.
const MOST_THREADS: u32 = 8_192;

impl Resolver<'_> {
    /// Decides the devices. They follow the machine, so nothing of it goes back into the settings
    /// but the threads per lane, on which the last bits of a result depend, and what --device stands
    /// for.
    pub(crate) fn devices(&mut self, num_clients: u32) -> DevicesPlan {
        let gpus = self.gpus();
        let threads = self.threads(gpus.is_empty());
        let server = match gpus.first() {
            None => DeviceSpec::Cpu,
            // Beside the clients' GPUs: another may be somebody else's.
            Some(first) => DeviceSpec::Cuda(self.settings.server_gpu.unwrap_or(*first)),
        };
        let lanes = self.lanes(&gpus, threads, num_clients);
        let all = threads.saturating_mul(u32::try_from(lanes.len()).unwrap_or(u32::MAX));
        self.problems.require(
            all <= MOST_THREADS,
            "threads_per_lane",
            format_args!("{} lanes have {all} threads together", lanes.len()),
            format_args!("give fewer, or fewer lanes: at most {MOST_THREADS} threads in all"),
        );
        let in_use = self.in_use(server, &lanes);
        let notices = [
            self.missing_gpus(lanes.len()),
            self.unused_gpus(),
            self.few_cores(&lanes),
            self.emulated(&lanes),
        ];
        let lanes = lanes
            .into_iter()
            .map(|device| LaneSpec { device, threads })
            .collect();
        DevicesPlan {
            server,
            numerics: self.settings.numerics.unwrap_or(Numerics::Native),
            lanes,
            notices: notices.into_iter().flatten().collect(),
            refusal: self.refusal(),
            gpus: in_use,
        }
    }

    /// The GPUs that the run computes on.
    fn in_use(&self, server: DeviceSpec, lanes: &[DeviceSpec]) -> Vec<CudaGpu> {
        let all = self.machine.gpus.usable.iter();
        let used = |gpu: &&CudaGpu| {
            let device = DeviceSpec::Cuda(gpu.number);
            server == device || lanes.contains(&device)
        };
        all.filter(used).cloned().collect()
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
        let there: Vec<u32> = self.usable().collect();
        self.take_device();
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
        if there.is_empty() {
            return Vec::new();
        }
        self.require_gpus("server_gpu", self.settings.server_gpu.as_slice().to_vec());
        self.require_gpus("client_gpus", chosen.clone().unwrap_or_default());
        chosen.unwrap_or(there)
    }

    /// Numbers of the GPUs that libtorch can use.
    fn usable(&self) -> impl Iterator<Item = u32> {
        self.machine.gpus.usable.iter().map(|gpu| gpu.number)
    }

    /// Puts `--device` into the settings that it is a short form of.
    fn take_device(&mut self) {
        let device = self.settings.device.take();
        let origins = self.problems.origins();
        let numbered = ["server_gpu", "client_gpus"]
            .into_iter()
            .find(|key| origins.given(key));
        let other = match device {
            Some(DeviceName::Cuda) => self.settings.cpu.unwrap_or(false).then_some("cpu"),
            Some(DeviceName::CudaNumber(_)) => {
                let cpu = self.settings.cpu.unwrap_or(false).then_some("cpu");
                cpu.or(numbered)
            }
            Some(DeviceName::Cpu) | None => None,
        };
        if let Some(other) = other {
            let wrong = format_args!("--{other} is given too");
            self.problems.report("device", wrong, "give one of the two");
        }
        match device {
            Some(DeviceName::Cpu) => self.settings.cpu = Some(true),
            Some(DeviceName::CudaNumber(number)) => {
                self.settings.server_gpu = Some(number);
                self.settings.client_gpus = Some(vec![number]);
            }
            Some(DeviceName::Cuda) | None => {}
        }
    }

    fn require_gpus(&mut self, key: &str, numbers: Vec<u32>) {
        let there: Vec<u32> = self.usable().collect();
        let gpus = &self.machine.gpus;
        for number in numbers.into_iter().filter(|number| !there.contains(number)) {
            let is_old = gpus.too_old.iter().any(|gpu| gpu.number == number);
            let wrong = match gpus.too_old_note() {
                Some(note) if is_old => note,
                _ => format!("there is no GPU {number} on this machine"),
            };
            let right = format!("its GPUs are {}", listed(&there));
            self.problems.report(key, wrong, right);
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

    /// Whether somebody asked for GPUs.
    fn asks_for_gpus(&self) -> bool {
        let origins = self.problems.origins();
        let given = ["server_gpu", "client_gpus", "device"].map(|key| origins.given(key));
        given.contains(&true) && self.settings.cpu != Some(true)
    }

    /// Notes GPUs that were requested on a machine without any: commands for GPUs work on a laptop.
    fn missing_gpus(&self, lanes: usize) -> Option<String> {
        let none = matches!(self.machine.gpus.none, None | Some(NoGpu::NoDriver));
        let missing = none && self.machine.gpus.usable.is_empty();
        (missing && self.asks_for_gpus()).then(|| {
            format!(
                "no CUDA device here: the server and the clients run on the CPU, in {}",
                count(lanes, "lane")
            )
        })
    }

    /// Why a run that asks for GPUs does not start on the CPU: there are some, but none can be used.
    fn refusal(&self) -> Option<String> {
        match &self.machine.gpus.none {
            None | Some(NoGpu::NoDriver) => None,
            Some(none) => self.asks_for_gpus().then(|| {
                format!("the run asks for GPUs, but none can be used: {none}; or give --cpu")
            }),
        }
    }

    /// Notes GPUs that cannot be used, where nobody asked for them.
    fn unused_gpus(&self) -> Option<String> {
        let gpus = &self.machine.gpus;
        if self.settings.cpu == Some(true) || self.asks_for_gpus() {
            return None;
        }
        match &gpus.none {
            Some(NoGpu::NoDriver) => None,
            Some(none) => Some(format!("the run is on the CPU: {none}")),
            None => gpus.too_old_note(),
        }
    }

    /// Notes lanes on GPUs that the processor has no cores for: each has a thread that launches, and
    /// libtorch one for each device's backward passes.
    fn few_cores(&self, lanes: &[DeviceSpec]) -> Option<String> {
        let on_gpus = lanes
            .iter()
            .filter(|lane| **lane != DeviceSpec::Cpu)
            .count();
        let wanted = 2 * on_gpus + 1;
        (on_gpus > 0 && (self.machine.cores as usize) < wanted).then(|| {
            format!(
                "{} on GPUs and {} for this process: the GPUs may wait for the processor; {wanted} \
                 cores would do (Slurm: --cpus-per-task={wanted})",
                count(on_gpus, "lane"),
                count(self.machine.cores, "core")
            )
        })
    }

    /// Notes numbers that libraries emulate on a CPU without instructions for them.
    fn emulated(&self, lanes: &[DeviceSpec]) -> Option<String> {
        let (precision, features) = match self.settings.precision? {
            Precision::Bfloat16 => ("bfloat16", &["avx512_bf16", "amx_bf16", "bf16"][..]),
            Precision::Float16 => ("float16", &["avx512_fp16", "amx_fp16", "asimdhp"][..]),
            Precision::Auto | Precision::Float32 => return None,
        };
        let has = features.iter().any(|it| self.machine.has_feature(it));
        // Which keeps libraries to older instructions.
        let native = has && self.settings.numerics != Some(Numerics::Portable);
        (lanes.contains(&DeviceSpec::Cpu) && !native).then(|| {
            format!(
                "--precision {precision}: this processor has no instructions for {precision} that \
                 libraries may use: it is emulated, several times as slow as float32"
            )
        })
    }
}

/// Numbers, for people.
fn listed(numbers: &[u32]) -> String {
    let words: Vec<_> = numbers.iter().map(u32::to_string).collect();
    words.join(", ")
}

/// Lanes for a CPU that has room for N side by side: these, and one for each client that
/// would be left over when all lanes have had equally many. Those who share the cores end
/// together; who is left over would have one core, and leave the others idle.
fn cpu_lanes(room: u32, num_clients: u32) -> u32 {
    let room = room.max(1);
    room + num_clients % room
}
