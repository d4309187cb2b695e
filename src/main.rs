//! The program `regatta`; see [`regatta::cli`].

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// What libraries read from the environment when they are loaded, before `main`.
const ENVIRONMENT: [(&str, &str); 2] = [
    // OpenMP's threads sleep while they wait; by default they spin, and take cores from lanes.
    ("OMP_WAIT_POLICY", "passive"),
    // cuBLAS has deterministic matrix products only with a separate workspace.
    ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
];

fn main() -> ExitCode {
    if ENVIRONMENT
        .iter()
        .any(|(name, _)| std::env::var_os(name).is_none())
    {
        restart();
    }
    regatta::base::allocator::keep_what_is_freed();
    regatta::live::ports::bounds::raise_limit();
    regatta::cli::main(std::env::args_os())
}

/// Puts this program in its own place, with the environment that it needs; what the user set stays.
/// Returns only where that cannot be done, and the program then does without.
fn restart() {
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let missing = ENVIRONMENT
        .iter()
        .filter(|(name, _)| std::env::var_os(name).is_none());
    command.args(arguments).envs(missing.copied());
    let _error = command.exec();
}
