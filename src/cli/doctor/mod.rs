//! `regatta doctor`: what this machine has, what is wrong with it, and what helps.

pub(crate) mod calibrate;
pub(crate) mod files;
mod products;

use crate::base::machine::Host;
use crate::base::machine::gpus::{Gpus, NoGpu, several_slices};
use crate::base::table::count;
use crate::base::torch::info;
use crate::cli::args::DoctorArgs;
use crate::live::terminal::output::print_line;

/// The version that this program is made for.
const LIBTORCH: &str = "2.11";

/// What was found, line by line, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    lines: Vec<(&'static str, String)>,
    troubles: Vec<String>,
}

impl Findings {
    fn found(&mut self, what: &'static str, text: impl Into<String>) {
        self.lines.push((what, text.into()));
    }

    fn trouble(&mut self, text: impl Into<String>) {
        self.troubles.push(text.into());
    }
}

/// Prints the findings, or calibrates the lanes.
///
/// # Errors
/// If the calibration fails.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<()> {
    if args.calibrate == Some(true) {
        return calibrate::calibrate(args.model.as_deref());
    }
    print_findings();
    Ok(())
}

fn print_findings() {
    let machine = Host::detect();
    let mut findings = Findings::default();
    findings.found("regatta", env!("CARGO_PKG_VERSION"));
    look_at_libtorch(&mut findings);
    look_at_processor(&machine, &mut findings);
    look_at_gpus(&machine, &mut findings);
    files::look_at_data(&machine, &mut findings);
    files::look_at_models(&mut findings);
    let mut last = "";
    for (what, text) in &findings.lines {
        let title = if *what == last { "" } else { what };
        print_line(format_args!("{title:10}{text}"));
        last = what;
    }
    match findings.troubles.as_slice() {
        [] => print_line("\nnothing is wrong"),
        troubles => troubles
            .iter()
            .for_each(|trouble| print_line(format_args!("\nwrong: {trouble}"))),
    }
}

fn look_at_libtorch(findings: &mut Findings) {
    let Some(version) = info::version() else {
        findings.found("libtorch", "found, but does not report its version");
        return;
    };
    if !version.starts_with(LIBTORCH) {
        findings.trouble(format!(
            "libtorch is {version}, but this program needs {LIBTORCH}; run `make setup` to fetch \
             it, and make sure that LD_LIBRARY_PATH does not point to another"
        ));
    }
    let place = libtorch_folder().map_or_else(String::new, |folder| format!(", in {folder}"));
    findings.found("libtorch", format!("{version}{place}"));
}

/// The folder that libtorch was loaded from, as the system's table of this process's files says.
fn libtorch_folder() -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps
        .lines()
        .find(|line| line.contains("/libtorch_cpu.so"))?;
    let path = &line[line.find('/')?..];
    Some(path[..path.rfind('/')?].to_owned())
}

fn look_at_processor(machine: &Host, findings: &mut Findings) {
    let capability = info::cpu_capability().unwrap_or_else(|| "unknown".to_owned());
    findings.found(
        "cpu",
        format!(
            "{}, {} cores for this process",
            machine.processor, machine.cores
        ),
    );
    findings.found("cpu", format!("libtorch uses {capability}"));
    findings.found(
        "cpu",
        format!("libtorch would use {} threads", tch::get_num_threads()),
    );
    products::look_at_products(machine, findings);
    findings.found("lanes", lanes(machine));
}

/// The division of cores among lanes.
fn lanes(machine: &Host) -> String {
    let threads = machine.threads_per_lane.unwrap_or(1);
    let divided = format!(
        "{} of {}",
        count(machine.cores / threads, "lane"),
        count(threads, "thread")
    );
    match machine.threads_per_lane {
        Some(_) => format!("{divided} on the CPU, as calibrated"),
        None => format!("{divided} on the CPU; `regatta doctor --calibrate` finds what is fastest"),
    }
}

fn look_at_gpus(machine: &Host, findings: &mut Findings) {
    let gpus = &machine.gpus;
    for gpu in &gpus.usable {
        let memory = info::cuda_memory(gpu.number).map_or_else(
            || "memory unknown".to_owned(),
            |(free, total)| format!("{} of {} GiB free", gib(free), gib(total)),
        );
        let (major, minor) = gpu.capability;
        findings.found(
            "cuda",
            format!(
                "{}: {}, {memory}, compute capability {major}.{minor}, {}",
                gpu.number, gpu.name, gpu.uuid
            ),
        );
    }
    if gpus.usable.is_empty() {
        findings.found("cuda", "no device; everything runs on the CPU");
    }
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let troubles = gpus_trouble(gpus).into_iter();
    troubles
        .chain(several_slices(visible.as_deref()))
        .for_each(|trouble| findings.trouble(trouble));
}

/// What is wrong with GPUs; a machine without any is as it should be.
fn gpus_trouble(gpus: &Gpus) -> Option<String> {
    match &gpus.none {
        Some(NoGpu::NoDriver) => None,
        Some(none) => Some(none.to_string()),
        None => gpus.too_old_note(),
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1_u64 << 30) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_driver_is_sound_and_one_whose_gpus_are_hidden_is_not() {
        let of = |none| {
            gpus_trouble(&Gpus {
                none: Some(none),
                ..Gpus::default()
            })
        };
        assert_eq!(of(NoGpu::NoDriver), None);
        let told = of(NoGpu::WithoutCuda).unwrap();
        assert!(told.contains("make setup CUDA=1"), "{told}");
        assert_eq!(gpus_trouble(&Gpus::alike(1, "NVIDIA H100", (9, 0))), None);
    }
}
