//! `regatta compare RUN RUN…`: runs in one table and one chart.

use std::path::{Path, PathBuf};

use crate::base::table;
use crate::base::table::Format;
use crate::cli::args::CompareArgs;
use crate::cli::report::write_page;
use crate::config::problems::Problems;
use crate::live::terminal::output::print_line;
use crate::runs::compare::target::Target;
use crate::runs::compare::{chart, groups, page, tables};
use crate::runs::{compare, figures};

/// Compares runs.
///
/// # Errors
/// [`Problems`] with the folders or the target; or why a file could not be written.
pub fn compare(args: &CompareArgs) -> anyhow::Result<()> {
    let (out, figures) = (args.page.out.as_deref(), args.page.figures.as_deref());
    let target = args.target.as_ref();
    side_by_side(&args.page.runs, target, args.output.format, out, figures)
}

/// Prints the tables, and writes the page and the figures if requested.
///
/// # Errors
/// As [`compare`].
pub fn side_by_side(
    paths: &[PathBuf],
    target: Option<&Target>,
    format: Format,
    out: Option<&Path>,
    folder: Option<&Path>,
) -> anyhow::Result<()> {
    let runs = compare::read(paths)?;
    let target = match target {
        Some(target) => {
            target.check(&runs)?;
            target.clone()
        }
        None => Target::common(&runs).ok_or_else(no_scores)?,
    };
    let groups = groups::group(&runs);
    let (by_group, by_run) = (
        tables::groups_table(&groups, &target),
        tables::runs_table(&groups, &target),
    );
    print_line(table::render(&[&by_group, &by_run], format)?);
    if out.is_none() && folder.is_none() {
        return Ok(());
    }
    let drawn = chart::figures(&groups, &target)?;
    if let Some(out) = out {
        write_page(out, &page::page(&groups, &target, &drawn))?;
    }
    if let Some(folder) = folder {
        figures::write(&drawn, folder)?;
    }
    Ok(())
}

fn no_scores() -> Problems {
    let mut problems = Problems::default();
    problems.report_input("a run has no scores yet; compare runs that were evaluated");
    problems
}
