//! `regatta sweep SWEEP.toml`: methods × seeds × settings, one run after the other.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::base::files;
use crate::base::machine::Host;
use crate::base::table;
use crate::base::table::{Format, count};
use crate::cli::args::SweepArgs;
use crate::cli::compare::{Comparison, side_by_side};
use crate::cli::run;
use crate::config::problems::Problems;
use crate::live::log::LogFile;
use crate::live::terminal::output::print_line;
use crate::runs::sweep as runner;
use crate::runs::sweep::choose::{self, Choose};
use crate::runs::sweep::file::Sweep;
use crate::runs::sweep::planned::Planned;
use crate::runs::sweep::process::{Ended, Launch};
use crate::runs::sweep::slurm::{ArrayScript, Shares, cluster, quote};
use crate::runs::sweep::stop::{ReopenLog, Stop};
use crate::runs::sweep::{SweepPlan, TRIALS, file, process, slurm};

/// Runs what is missing of a sweep, and compares its runs.
///
/// # Errors
/// [`Problems`] with the file or any combination, before anything is run; or, when all was tried,
/// that not all runs are complete.
pub fn sweep(args: &SweepArgs, log: Option<LogFile>) -> anyhow::Result<()> {
    let sweep = file::read(&args.sweep)?;
    if sweep.choose.is_some() {
        check_flags(args)?;
    }
    let plan = runner::plan(&sweep, &Host::detect())?;
    let program = std::env::current_exe().context("cannot find this program's own executable")?;
    if let Some(path) = &args.slurm {
        return write_script(&plan, args, &program, path);
    }
    let runs = select(&plan, args.only.as_deref())?;
    // That its broker does not answer is told before anything is made.
    run::find(&args.cluster)?;
    files::make_folder(&plan.out)?;
    let reopen = log.map(|log| Box::new(move || log.reopen()) as ReopenLog);
    let mut progress = Progress {
        launch: Launch {
            program,
            arguments: args.cluster.arguments(),
        },
        stop: Stop::listen(reopen).context("cannot listen for signals")?,
        all: 0,
        complete: 0,
        failed: Vec::new(),
    };
    let runs = match &sweep.choose {
        None => runs,
        Some(choice) => chosen(&plan, choice, &mut progress)?,
    };
    let complete = progress.carry_out("run", &runs);
    if args.only.is_none() && !complete.is_empty() {
        compare(&plan, &sweep, &complete)?;
    }
    progress.conclude()
}

/// Runs on their way.
struct Progress {
    launch: Launch,
    stop: Stop,
    /// Runs that there are to be.
    all: usize,
    /// Runs that are complete.
    complete: usize,
    /// What is wrong with the others.
    failed: Vec<String>,
}

impl Progress {
    /// Carries out what is missing of runs, each with its number; gives the folders of those that are
    /// complete.
    fn carry_out(&mut self, what: &str, runs: &[(usize, &Planned)]) -> Vec<PathBuf> {
        self.all += runs.len();
        let mut complete = Vec::new();
        for (index, run) in runs {
            if self.stop.requested() {
                break;
            }
            let (label, place) = (&run.label, run.folder.display());
            print_line(format_args!("{what} {index}, {label}, in {place}"));
            let wait = |held: &io::Error| print_line(format_args!("waiting: {held}"));
            let failed = match process::execute(run, &self.launch, &mut self.stop, wait) {
                Ok(Ended::Kept) => {
                    print_line("already complete");
                    complete.push(run.folder.clone());
                    continue;
                }
                Ok(Ended::Complete) => {
                    complete.push(run.folder.clone());
                    continue;
                }
                Ok(Ended::Stopped) => "stopped; can be resumed".to_owned(),
                Ok(Ended::Elsewhere) => "another process is running it".to_owned(),
                Ok(Ended::Failed(why)) => why,
                Err(error) => error.to_string(),
            };
            self.failed.push(format!("{label}: {failed}"));
        }
        self.complete += complete.len();
        complete
    }

    fn conclude(mut self) -> anyhow::Result<()> {
        if self.complete == self.all {
            return Ok(());
        }
        let runs = count(self.all, "run");
        let mut lines = vec![format!("{} of {runs} are complete", self.complete)];
        lines.extend(self.failed.iter().map(|failed| format!("  {failed}")));
        if self.stop.requested() {
            lines.push("  the sweep was stopped; start it again to continue".to_owned());
        }
        bail!(lines.join("\n"))
    }
}

/// Carries out the trials of a sweep, chooses, and gives the runs of what was chosen.
fn chosen<'a>(
    plan: &'a SweepPlan,
    choose: &Choose,
    progress: &mut Progress,
) -> anyhow::Result<Vec<(usize, &'a Planned)>> {
    let candidates = plan.choices.iter().flat_map(|choice| &choice.candidates);
    let trials: Vec<_> = candidates.flat_map(|one| &one.trials).enumerate().collect();
    let complete = progress.carry_out("trial", &trials);
    let (mut made, mut runs) = (Vec::new(), Vec::new());
    for choice in &plan.choices {
        let trials = choice.candidates.iter().flat_map(|one| &one.trials);
        let missing = trials
            .filter(|trial| !complete.contains(&trial.folder))
            .count();
        let chosen = match missing {
            0 => choice.make(choose.score.as_deref()),
            missing => Err(format!("{} not complete", count(missing, "trial"))),
        };
        match chosen {
            Ok(chosen) => {
                runs.extend(chosen.runs());
                made.push(chosen);
            }
            Err(why) => {
                let (of, setting) = (&choice.label, &choose.setting);
                progress.all += choice.candidates.first().map_or(0, |one| one.runs.len());
                progress
                    .failed
                    .push(format!("{of}: {setting} is not chosen: {why}"));
            }
        }
    }
    if !made.is_empty() {
        print_line(table::render(
            &[&choose::table(&made, &choose.setting)],
            Format::Table,
        )?);
        let trials = Comparison {
            score: choose.score.as_deref(),
            ..Comparison::of(&complete)
        };
        // No run depends on it, and trials of several tasks cannot be compared.
        if let Err(error) = write_comparison(&plan.out.join(TRIALS), &trials, None) {
            let reason = error.to_string();
            let reason = reason.trim_start_matches("error: ");
            print_line(format_args!("the trials are not compared: {reason}"));
        }
    }
    Ok(runs.into_iter().enumerate().collect())
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
fn select<'a>(
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
fn compare(plan: &SweepPlan, sweep: &Sweep, complete: &[PathBuf]) -> anyhow::Result<()> {
    let comparison = Comparison {
        target: plan.target.as_ref(),
        paired: sweep.paired.as_deref(),
        reference: sweep.reference.as_deref(),
        ..Comparison::of(complete)
    };
    write_comparison(&plan.out, &comparison, Some(Format::Table))
}

/// Compares runs, with the page and the figures in a folder.
fn write_comparison(
    folder: &Path,
    comparison: &Comparison<'_>,
    format: Option<Format>,
) -> anyhow::Result<()> {
    let (page, figures) = (folder.join("compare.html"), folder.join("figures"));
    let comparison = Comparison {
        page: Some(&page),
        figures: Some(&figures),
        ..*comparison
    };
    side_by_side(&comparison, format)?;
    print_line(format_args!(
        "wrote {} and the charts in {}",
        page.display(),
        figures.display()
    ));
    Ok(())
}

/// Refuses what needs all runs known in advance.
fn check_flags(args: &SweepArgs) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let given = [
        ("--only", args.only.is_some()),
        ("--slurm", args.slurm.is_some()),
    ];
    for (flag, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.report_input(format_args!(
            "{flag}: which runs a sweep with [choose] has is known after its trials; omit it, and \
             give --cluster to train on many machines"
        ));
    }
    problems.into_result(())
}
