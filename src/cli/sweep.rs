//! `regatta sweep SWEEP.toml`: methods × seeds × settings, one run after the other.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::base::files;
use crate::base::machine::Host;
use crate::base::table::{Format, count};
use crate::cli::args::SweepArgs;
use crate::cli::compare::side_by_side;
use crate::cli::run;
use crate::config::problems::Problems;
use crate::live::log::LogFile;
use crate::live::terminal::output::print_line;
use crate::runs::sweep as runner;
use crate::runs::sweep::process::{Ended, Launch};
use crate::runs::sweep::slurm::{ArrayScript, Shares, cluster, quote};
use crate::runs::sweep::stop::{ReopenLog, Stop};
use crate::runs::sweep::{Planned, SweepPlan, file, process, slurm};

/// Runs what is missing of a sweep, and compares its runs.
///
/// # Errors
/// [`Problems`] with the file or any combination, before anything is run; or, when all was tried,
/// that not all runs are complete.
pub fn sweep(args: &SweepArgs, log: Option<LogFile>) -> anyhow::Result<()> {
    let plan = runner::plan(&file::read(&args.sweep)?, &Host::detect())?;
    let program = std::env::current_exe().context("cannot find this program's own executable")?;
    if let Some(path) = &args.slurm {
        return write_script(&plan, args, &program, path);
    }
    let chosen = choose(&plan, args.only.as_deref())?;
    // That its broker does not answer is told before anything is made.
    run::find(&args.cluster)?;
    let launch = Launch {
        program,
        arguments: args.cluster.arguments(),
    };
    files::make_folder(&plan.out)?;
    let reopen = log.map(|log| Box::new(move || log.reopen()) as ReopenLog);
    let mut stop = Stop::listen(reopen).context("cannot listen for signals")?;
    let (mut complete, mut failed) = (Vec::new(), Vec::new());
    for (index, run) in &chosen {
        if stop.requested() {
            break;
        }
        let (label, place) = (&run.label, run.folder.display());
        print_line(format_args!("run {index}, {label}, in {place}"));
        let wait = |held: &io::Error| print_line(format_args!("waiting: {held}"));
        match process::execute(run, &launch, &mut stop, wait) {
            Ok(Ended::Kept) => {
                print_line("already complete");
                complete.push(run.folder.clone());
            }
            Ok(Ended::Complete) => complete.push(run.folder.clone()),
            Ok(Ended::Stopped) => failed.push(format!("{label}: stopped; can be resumed")),
            Ok(Ended::Elsewhere) => failed.push(format!("{label}: another process is running it")),
            Ok(Ended::Failed(why)) => failed.push(format!("{label}: {why}")),
            Err(error) => failed.push(format!("{label}: {error}")),
        }
    }
    if args.only.is_none() && !complete.is_empty() {
        compare(&plan, &complete)?;
    }
    conclude(chosen.len(), complete.len(), &failed, stop.requested())
}

fn write_script(
    plan: &SweepPlan,
    args: &SweepArgs,
    program: &Path,
    path: &Path,
) -> anyhow::Result<()> {
    let folder = std::env::current_dir().context("cannot find the current directory")?;
    let job = ArrayScript {
        sweep: &args.sweep,
        program,
        folder: &folder,
        limit: cluster::array_limit().map_err(Problems::with_input)?,
        at_most: args.slurm_at_most,
    };
    files::write_atomically(path, slurm::script(plan, &job).as_bytes())?;
    let shares = Shares::of(plan.runs.len(), job.limit);
    print_line(format_args!(
        "{} in an array of {}; the limit is {}",
        count(plan.runs.len(), "run"),
        count(shares.tasks, "task"),
        job.limit
    ));
    if shares.runs > 1 {
        let runs = shares.runs;
        print_line(format_args!(
            "each task runs up to {runs} runs in sequence, and needs time for all of them"
        ));
    }
    print_line(format_args!(
        "`sbatch {}` submits them as an array",
        quote::for_bash(path)
    ));
    Ok(())
}

/// The runs to carry out, with their numbers.
fn choose<'a>(
    plan: &'a SweepPlan,
    only: Option<&[usize]>,
) -> Result<Vec<(usize, &'a Planned)>, Problems> {
    let mut all: Vec<_> = plan.runs.iter().enumerate().collect();
    let mut problems = Problems::default();
    let Some(only) = only else { return Ok(all) };
    for index in only.iter().filter(|index| **index >= all.len()) {
        let right = format!("give a number from 0 to {}", all.len() - 1);
        let runs = count(all.len(), "run");
        problems.report_input(format_args!(
            "--only={index}: the sweep has {runs}; {right}"
        ));
    }
    all.retain(|(index, _)| only.contains(index));
    problems.into_result(all)
}

/// Compares the runs that are complete, in the sweep's folder.
fn compare(plan: &SweepPlan, complete: &[PathBuf]) -> anyhow::Result<()> {
    let (page, figures) = (plan.out.join("compare.html"), plan.out.join("figures"));
    let target = plan.target.as_ref();
    side_by_side(complete, target, Format::Table, Some(&page), Some(&figures))?;
    print_line(format_args!(
        "wrote {} and the charts in {}",
        page.display(),
        figures.display()
    ));
    Ok(())
}

fn conclude(
    chosen: usize,
    complete: usize,
    failed: &[String],
    stopped: bool,
) -> anyhow::Result<()> {
    if complete == chosen {
        return Ok(());
    }
    let mut lines = vec![format!(
        "{complete} of {} are complete",
        count(chosen, "run")
    )];
    lines.extend(failed.iter().map(|failed| format!("  {failed}")));
    if stopped {
        lines.push("  the sweep was stopped; start it again to continue".to_owned());
    }
    bail!(lines.join("\n"))
}
