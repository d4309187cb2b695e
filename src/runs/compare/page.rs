//! The comparison as a page.

use crate::base::table::{count, show_score};
use crate::runs::compare::groups::{Group, metrics};
use crate::runs::compare::paired::{Paired, Pairing};
use crate::runs::compare::paired_table::{self, differences_table, unpaired_table};
use crate::runs::compare::tables::{groups_table, runs_table};
use crate::runs::compare::target::Target;
use crate::runs::figures::Figure;
use crate::runs::report::page::Page;

/// One HTML file, as a report is.
#[must_use]
pub fn page(
    groups: &[Group<'_>],
    target: &Target,
    paired: Option<(&Pairing, &Paired)>,
    figures: &[Figure],
) -> String {
    let runs: usize = groups.iter().map(|group| group.runs.len()).sum();
    let task = groups.iter().flat_map(|group| &group.runs).next();
    let task = task.map_or_else(String::new, |run| run.task.to_string());
    let subtitle = format!("{} in {}", count(runs, "run"), count(groups.len(), "group"));
    let mut page = Page::new(format!("{task}: runs compared"), subtitle);
    for (index, figure) in figures.iter().enumerate() {
        page.figure(index + 1, figure);
    }
    let note = format!(
        "Runs that differ only in their seed form one group: the mean, and ± the sample standard \
         deviation. The target is {} {}.",
        metrics(groups).title(&target.score),
        show_score(target.value)
    );
    page.table("Groups", &note, &groups_table(groups, target));
    if let Some((pairing, paired)) = paired {
        let differences = differences_table(paired, &pairing.score, metrics(groups));
        let note = paired_table::note(paired, &pairing.by);
        page.table("Differences by seed", &note, &differences);
        if !paired.unpaired.is_empty() {
            page.table("Runs in no pair", "", &unpaired_table(paired));
        }
    }
    page.table("Runs", "", &runs_table(groups, target));
    page.finish()
}
