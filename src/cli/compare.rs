//! `regatta compare RUN RUN…`: runs in one table and one chart.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::table;
use crate::base::table::Format;
use crate::cli::args::CompareArgs;
use crate::cli::report::write_page;
use crate::config::problems::Problems;
use crate::live::terminal::output::print_line;
use crate::runs::compare::Compared;
use crate::runs::compare::paired::Pairing;
use crate::runs::compare::target::Target;
use crate::runs::compare::{chart, groups, page, paired_table, tables};
use crate::runs::{compare, figures};

/// What to compare, and where the comparison goes.
#[derive(Debug, Clone, Copy)]
pub struct Comparison<'a> {
    /// The runs' folders.
    pub runs: &'a [PathBuf],
    /// The score to reach.
    pub target: Option<&'a Target>,
    /// The score to compare, where no target names one; `None`: the task's own.
    pub score: Option<&'a str>,
    /// The settings by which runs are paired; `None`: they are not.
    pub paired: Option<&'a [String]>,
    /// What the others of a pair are compared with.
    pub reference: Option<&'a str>,
    /// The page's file.
    pub page: Option<&'a Path>,
    /// The figures' folder.
    pub figures: Option<&'a Path>,
}

impl<'a> Comparison<'a> {
    /// Of these runs, by the task's own score.
    #[must_use]
    pub fn of(runs: &'a [PathBuf]) -> Self {
        Self {
            runs,
            target: None,
            score: None,
            paired: None,
            reference: None,
            page: None,
            figures: None,
        }
    }
}

/// Compares runs.
///
/// # Errors
/// [`Problems`] with the folders, the target or the pairing; or why a file could not be written.
pub fn compare(args: &CompareArgs) -> anyhow::Result<()> {
    let comparison = Comparison {
        runs: &args.page.runs,
        target: args.target.as_ref(),
        score: args.score.as_deref(),
        paired: args.paired.as_deref(),
        reference: args.reference.as_deref(),
        page: args.page.out.as_deref(),
        figures: args.page.figures.as_deref(),
    };
    side_by_side(&comparison, Some(args.output.format))
}

/// Prints the tables in this format, if any, and writes the page and the figures if requested.
///
/// # Errors
/// As [`compare`].
pub fn side_by_side(comparison: &Comparison<'_>, format: Option<Format>) -> anyhow::Result<()> {
    let runs = compare::read(comparison.runs)?;
    let target = target(comparison, &runs)?;
    let groups = groups::group(&runs);
    let pairing = match comparison.paired {
        Some(by) => {
            let reference = comparison.reference;
            Some(Pairing::new(by, reference, &target.score, &groups)?)
        }
        None => None,
    };
    let paired = pairing.as_ref().map(|pairing| pairing.pair(&groups));
    if let Some(format) = format {
        let mut all = vec![
            tables::groups_table(&groups, &target),
            tables::runs_table(&groups, &target),
        ];
        if let Some(paired) = &paired {
            let metrics = groups::metrics(&groups);
            all.push(paired_table::differences_table(
                paired,
                &target.score,
                metrics,
            ));
            let unpaired = paired_table::unpaired_table(paired);
            all.extend((!paired.unpaired.is_empty()).then_some(unpaired));
        }
        print_line(table::render(&all.iter().collect::<Vec<_>>(), format)?);
    }
    if comparison.page.is_none() && comparison.figures.is_none() {
        return Ok(());
    }
    let drawn = chart::figures(&groups, &target)?;
    if let Some(out) = comparison.page {
        let paired = pairing.as_ref().zip(paired.as_ref());
        write_page(out, &page::page(&groups, &target, paired, &drawn))?;
    }
    if let Some(folder) = comparison.figures {
        figures::write(&drawn, folder)?;
    }
    Ok(())
}

/// The target that is given, or the best value that all runs reach.
fn target(comparison: &Comparison<'_>, runs: &[Compared]) -> Result<Target, Problems> {
    if let Some(target) = comparison.target {
        target.check(runs)?;
        return Ok(target.clone());
    }
    let common = Target::common(runs, comparison.score);
    common.ok_or_else(|| match comparison.score {
        None => Problems::with_input("a run has no scores yet; compare runs that were evaluated"),
        Some(score) => Problems::with_input(format!(
            "--score={score}: a run has no such score; there are: {}",
            names(runs).join(", ")
        )),
    })
}

/// The scores that all runs have.
fn names(runs: &[Compared]) -> Vec<String> {
    let of = |run: &Compared| -> BTreeSet<String> {
        let evals = run.rounds.iter().filter_map(|record| record.eval.as_ref());
        evals.flat_map(|eval| eval.keys().cloned()).collect()
    };
    let common = runs.iter().map(of).reduce(|all, own| &all & &own);
    common.unwrap_or_default().into_iter().collect()
}
