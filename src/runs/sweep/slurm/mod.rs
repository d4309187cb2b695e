//! A sweep as a Slurm array: the script that `sbatch` takes.

pub mod cluster;
pub mod quote;

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::path::Path;

use crate::runs::sweep::SweepPlan;
use crate::runs::sweep::slurm::cluster::ArrayLimit;
use crate::runs::sweep::slurm::quote::for_bash;

/// The command that a script starts, and its options.
#[derive(Debug, Clone, Copy)]
pub struct ArrayScript<'a> {
    /// The sweep's file.
    pub sweep: &'a Path,
    /// This program.
    pub program: &'a Path,
    /// The folder that paths are taken from.
    pub folder: &'a Path,
    /// The maximum size of an array.
    pub limit: ArrayLimit,
    /// How many of its tasks may run at once; `None`: as many as the cluster has room for.
    pub at_most: Option<NonZeroU32>,
}

/// How a sweep's runs are dealt out to the tasks of an array: task i carries out the runs i,
/// i + `tasks`, i + 2 `tasks` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Tasks of the array, at least 1.
    pub tasks: usize,
    /// Runs of a task, at most.
    pub runs: usize,
}

impl Shares {
    /// One run for each task where the cluster allows that many; otherwise as few for each as it
    /// takes, and no more tasks than that needs.
    #[must_use]
    pub fn of(runs: usize, limit: ArrayLimit) -> Self {
        let each = runs.div_ceil(limit.tasks.get() as usize).max(1);
        Self {
            tasks: runs.div_ceil(each).max(1),
            runs: each,
        }
    }
}

/// The script: an array whose tasks carry out the runs.
#[must_use]
pub fn script(plan: &SweepPlan, job: &ArrayScript<'_>) -> String {
    let runs = plan.runs.len();
    let shares = Shares::of(runs, job.limit);
    let [program, sweep, folder] = [job.program, job.sweep, job.folder].map(for_bash);
    let name = quote::for_directive(&plan.name);
    let (last, most) = (shares.tasks - 1, job.limit);
    let throttle = job.at_most.map_or_else(String::new, |n| format!("%{n}"));
    let mut shared = String::new();
    let mut only = "$SLURM_ARRAY_TASK_ID".to_owned();
    if shares.runs > 1 {
        shared = format!(
            "# An array may have {most}: each task carries out up to {} runs, one after the\n\
             # other, and needs the time of all.\n",
            shares.runs
        );
        let (step, end) = (shares.tasks, runs - 1);
        only = format!("$(seq -s , \"$SLURM_ARRAY_TASK_ID\" {step} {end})");
    }
    format!(
        "#!/usr/bin/env bash\n\
         #SBATCH --job-name={name}\n\
         #SBATCH --array=0-{last}{throttle}\n\
         #SBATCH --output=%x-%A_%a.log\n\
         # Before a task's time is over, its run finishes its round and saves its state.\n\
         #SBATCH --signal=B:TERM@300\n\
         #\n\
         {shared}\
         # {runs} runs. Add what your cluster wants to know, here or on sbatch's command line:\n\
         # --time, --gres, --cpus-per-task, --partition. A run that was cut off resumes when the\n\
         # script is submitted again. When all have ended,\n\
         #     {program} sweep -- {sweep}\n\
         # keeps them, and compares them.\n\
         set -euo pipefail\n\
         cd -- {folder}\n\
         exec {program} sweep --only \"{only}\" -- {sweep}\n"
    )
}
