//! `regatta report RUN…`: what happened to whom, on the terminal and as a page with figures.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::args::ReportArgs;
use crate::cli::terminal::say;
use crate::config::Problems;
use crate::files::write_atomically;
use crate::report::{Run, figures, page, tables};
use crate::table::{self, Format, Table};

/// Shows runs' accounts and writes their pages.
///
/// # Errors
/// When there is no run, its ledger cannot be read, or a file not be written.
pub fn report(args: &ReportArgs) -> anyhow::Result<()> {
    one_place_for_one_run(args)?;
    let runs = args.runs.iter().map(|path| Run::read(path));
    let runs: Vec<Run> = runs.collect::<Result<_, _>>()?;
    match args.format {
        Format::Table => runs.iter().try_for_each(show)?,
        format => {
            let joint = |of: fn(&Run) -> Table| {
                Table::joined(runs.iter().map(|run| {
                    let name = run.folder.path().display().to_string();
                    of(run).tagged("run", name)
                }))
            };
            let clients = joint(|run| tables::clients(&run.account));
            say(table::render(&[&clients, &joint(Run::costs)], format)?);
        }
    }
    for run in &runs {
        let (page, figures) = write(run, args)?;
        if args.format == Format::Table {
            say(format_args!(
                "wrote {} and the figures in {}",
                page.display(),
                figures.display()
            ));
        }
    }
    Ok(())
}

fn one_place_for_one_run(args: &ReportArgs) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let given = [("--out", &args.out), ("--figures", &args.figures)];
    for (flag, _) in given.into_iter().filter(|(_, path)| path.is_some()) {
        if args.runs.len() > 1 {
            problems.report_input(format_args!(
                "{flag} takes one run's report and there are {}; leave it away, and each goes \
                 into its run's folder",
                args.runs.len()
            ));
        }
    }
    problems.into_result(())
}

fn show(run: &Run) -> anyhow::Result<()> {
    let account = &run.account;
    say(tables::headline(account));
    say(table::render(&[&tables::clients(account)], Format::Table)?);
    let costs = run.costs();
    if !costs.rows().is_empty() {
        say(table::render(&[&costs], Format::Table)?);
    }
    for intervention in &account.interventions {
        say(format_args!(
            "after round {}: {:?}",
            intervention.after_round, intervention.command
        ));
    }
    Ok(())
}

/// Writes a run's page and figures; gives the file and the folder.
fn write(run: &Run, args: &ReportArgs) -> anyhow::Result<(PathBuf, PathBuf)> {
    let inside = |name: &str| run.folder.path().join(name);
    let out = args.out.clone().unwrap_or_else(|| inside("report.html"));
    let folder = args.figures.clone().unwrap_or_else(|| inside("figures"));
    let drawn = run.figures()?;
    let page = page::of_run(run, &drawn)?;
    write_page(&out, &page)?;
    figures::write(&drawn, &folder)?;
    Ok((out, folder))
}

/// Writes a page.
///
/// # Errors
/// When it cannot be written.
pub fn write_page(out: &Path, page: &str) -> anyhow::Result<()> {
    write_atomically(out, page.as_bytes())
        .with_context(|| format!("cannot write {}", out.display()))
}
