//! `regatta report RUN…`: a run's summary, on the terminal and as a page with figures.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::base::files::write_atomically;
use crate::base::table;
use crate::base::table::{Format, Table};
use crate::cli::args::ReportArgs;
use crate::config::problems::Problems;
use crate::live::terminal::output::print_line;
use crate::runs::figures;
use crate::runs::folder::artifact::Artifact;
use crate::runs::report::{Run, hosts, page, tables};

/// Shows runs' statistics and writes their pages.
///
/// # Errors
/// If a run or its ledger cannot be read, or a file cannot be written.
pub fn report(args: &ReportArgs) -> anyhow::Result<()> {
    one_place_for_one_run(args)?;
    let runs = args.page.runs.iter().map(|path| Run::read(path));
    let runs: Vec<Run> = runs.collect::<Result<_, _>>()?;
    let shown = args.format.unwrap_or_default();
    match shown {
        Format::Table => runs.iter().try_for_each(show)?,
        format => {
            let joint = |of: fn(&Run) -> Table| {
                Table::joined(runs.iter().map(|run| {
                    let name = run.folder.path().display().to_string();
                    of(run).tagged("run", name)
                }))
            };
            let clients = joint(|run| tables::clients(&run.stats));
            let (costs, alone) = (joint(Run::costs), joint(Run::alone));
            let trained = joint(|run| hosts::table(&run.hosts));
            let mut all = vec![&clients, &costs];
            let if_any = [&alone, &trained].into_iter();
            all.extend(if_any.filter(|table| !table.rows().is_empty()));
            print_line(table::render(&all, format)?);
        }
    }
    for run in &runs {
        let places = Places::of(run, args);
        places.write(run)?;
        if shown == Format::Table && !places.is_empty() {
            print_line(format_args!("wrote {places}"));
        }
    }
    Ok(())
}

fn one_place_for_one_run(args: &ReportArgs) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let given = [("--out", &args.page.out), ("--figures", &args.page.figures)];
    for (flag, _) in given.into_iter().filter(|(_, path)| path.is_some()) {
        if args.page.runs.len() > 1 {
            problems.report_input(format_args!(
                "{flag} takes one run's report and there are {}; omit it, and each is \
                 written into its run folder",
                args.page.runs.len()
            ));
        }
    }
    problems.into_result(())
}

fn show(run: &Run) -> anyhow::Result<()> {
    let stats = &run.stats;
    print_line(tables::headline(stats));
    print_line(table::render(&[&tables::clients(stats)], Format::Table)?);
    for table in [run.alone(), run.costs(), hosts::table(&run.hosts)] {
        if !table.rows().is_empty() {
            print_line(table::render(&[&table], Format::Table)?);
        }
    }
    for intervention in &stats.interventions {
        print_line(format_args!(
            "after round {}: {:?}",
            intervention.after_round, intervention.command
        ));
    }
    Ok(())
}

/// Where a run's page and figures go: where the flags say, else into the run's folder, unless
/// the command asks for tables of some form.
struct Places {
    page: Option<PathBuf>,
    figures: Option<PathBuf>,
}

impl Places {
    fn of(run: &Run, args: &ReportArgs) -> Self {
        let inside = |artifact| args.format.is_none().then(|| run.folder.path_of(artifact));
        Self {
            page: args.page.out.clone().or_else(|| inside(Artifact::Report)),
            figures: args
                .page
                .figures
                .clone()
                .or_else(|| inside(Artifact::Figures)),
        }
    }

    fn is_empty(&self) -> bool {
        self.page.is_none() && self.figures.is_none()
    }

    fn write(&self, run: &Run) -> anyhow::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let drawn = run.figures()?;
        if let Some(out) = &self.page {
            write_page(out, &page::of_run(run, &drawn)?)?;
        }
        if let Some(folder) = &self.figures {
            figures::write(&drawn, folder)?;
        }
        Ok(())
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = self.page.as_ref().map(|page| page.display().to_string());
        let figures = self.figures.as_ref();
        let figures = figures.map(|folder| format!("the figures in {}", folder.display()));
        let places: Vec<String> = page.into_iter().chain(figures).collect();
        f.write_str(&places.join(" and "))
    }
}

/// Writes a page.
///
/// # Errors
/// If it cannot be written.
pub fn write_page(out: &Path, page: &str) -> anyhow::Result<()> {
    Ok(write_atomically(out, page.as_bytes())?)
}
