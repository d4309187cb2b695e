//! A sweep as a Slurm array: the script that `sbatch` takes.

use std::path::Path;

use super::SweepPlan;

/// The script: one task of the array for each run. `folder` is where paths are taken from.
#[must_use]
pub fn script(plan: &SweepPlan, sweep: &Path, program: &Path, folder: &Path) -> String {
    let last = plan.runs.len().saturating_sub(1);
    let (name, runs) = (&plan.name, plan.runs.len());
    let [program, sweep, folder] = [program, sweep, folder].map(quoted);
    format!(
        "#!/usr/bin/env bash\n\
         #SBATCH --job-name={name}\n\
         #SBATCH --array=0-{last}\n\
         #SBATCH --output=%x-%A_%a.log\n\
         # Before a run's time is over, it finishes its round and saves its state.\n\
         #SBATCH --signal=B:TERM@300\n\
         #\n\
         # {runs} runs. Add what your cluster wants to know, here or on sbatch's command line:\n\
         # --time, --gres, --cpus-per-task, --partition. A run that was cut off goes on when the\n\
         # script is submitted again. When all have ended,\n\
         #     {program} sweep {sweep}\n\
         # keeps them, and compares them.\n\
         set -euo pipefail\n\
         cd {folder}\n\
         exec {program} sweep {sweep} --only \"$SLURM_ARRAY_TASK_ID\"\n"
    )
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::sweep::Planned;

    #[test]
    fn the_script_is_one_that_bash_understands_whatever_the_paths_hold() {
        let run = Planned {
            label: "ours".into(),
            folder: "runs/s/ours".into(),
            arguments: Vec::new(),
        };
        let plan = SweepPlan {
            name: "s".into(),
            out: "runs/s".into(),
            target: None,
            runs: vec![run; 12],
        };
        let text = script(
            &plan,
            Path::new("it's a sweep.toml"),
            Path::new("/bin/echo"),
            Path::new("/"),
        );
        assert!(text.contains("#SBATCH --array=0-11\n"), "{text}");
        let output = Command::new("bash")
            .args(["-c", &text])
            .env("SLURM_ARRAY_TASK_ID", "7")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, "sweep it's a sweep.toml --only 7\n");
    }
}
