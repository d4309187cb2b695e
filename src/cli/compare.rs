//! `regatta compare RUN RUN…`: runs in one table and one chart.

use std::path::{Path, PathBuf};

use crate::cli::args::CompareArgs;
use crate::cli::report::write_page;
use crate::cli::terminal::say;
use crate::compare::{self, Target};
use crate::config::Problems;
use crate::report::figures;
use crate::table::{self, Format};

/// Compares runs.
///
/// # Errors
/// [`Problems`] with the folders or the target; or why a file could not be written.
pub fn compare(args: &CompareArgs) -> anyhow::Result<()> {
    let (out, figures) = (args.out.as_deref(), args.figures.as_deref());
    side_by_side(&args.runs, args.target.as_ref(), args.format, out, figures)
}

/// Prints the tables, and writes the page and the figures where these are wanted.
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
    let groups = compare::group(&runs);
    let (by_group, by_run) = (
        compare::groups_table(&groups, &target),
        compare::runs_table(&groups, &target),
    );
    say(table::render(&[&by_group, &by_run], format)?);
    if out.is_none() && folder.is_none() {
        return Ok(());
    }
    let drawn = compare::figures(&groups, &target)?;
    if let Some(out) = out {
        write_page(out, &compare::page(&groups, &target, &drawn))?;
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
