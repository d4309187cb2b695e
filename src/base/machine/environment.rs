//! Environment variables that libraries read when they are loaded or first used. To set them, the
//! program restarts itself.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What every run wants, by what goes together.
const ALWAYS: [&[(&str, &str)]; 2] = [
    // OpenMP's threads sleep while they wait; by default they spin, and take cores from lanes. But first
    // they spin for half a millisecond, unless there are more of them than cores: the parts of a step
    // follow one another faster than threads wake up.
    &[("OMP_WAIT_POLICY", "passive"), ("GOMP_SPINCOUNT", "30000")],
    // cuBLAS has deterministic matrix products only with a separate workspace.
    &[("CUBLAS_WORKSPACE_CONFIG", ":4096:8")],
];

/// What keeps ATen, MKL and oneDNN, each of which chooses for itself, from the instructions that
/// only some processors of the last ten years have. The kernels of this program give the same bits
/// with AVX2 and with more.
const PORTABLE: [(&str, &str); 3] = [
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
];

/// Sets what every run wants; what the user set stays. Where that cannot be done, the program does
/// without.
pub fn set_for_all() {
    let is_set = |(name, _): &(&str, &str)| std::env::var_os(name).is_some();
    let missing = ALWAYS.into_iter().filter(|group| !group.iter().any(is_set));
    let missing: Vec<_> = missing.flatten().copied().collect();
    if !missing.is_empty() {
        let _error = restart(&missing);
    }
}

/// Has libraries compute with the instructions that different processors have in common. To be
/// called before anything is computed: it restarts the program, unless that was done before.
///
/// # Errors
/// If the program cannot be restarted.
pub fn set_portable() -> io::Result<()> {
    let differs = |(name, value): &(&str, &str)| std::env::var_os(name).is_none_or(|v| v != *value);
    if PORTABLE.iter().any(differs) {
        return Err(restart(&PORTABLE));
    }
    Ok(())
}

/// Replaces this process by a new one of the same program with this environment. Returns only if
/// that fails.
fn restart(environment: &[(&str, &str)]) -> io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).envs(environment.iter().copied());
    command.exec()
}
