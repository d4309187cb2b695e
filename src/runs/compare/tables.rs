//! The comparison's numbers: a row for each group, and one for each run.

use crate::base::table::{Cell, Table, show_bytes, show_number, show_score};
use crate::runs::compare::Compared;
use crate::runs::compare::groups::{Group, Mean, metrics};
use crate::runs::compare::target::Target;
use crate::tasks::metrics::set::base_of;

/// A row for each group: means, with sample standard deviations where there are several seeds.
#[must_use]
pub fn groups_table(groups: &[Group<'_>], target: &Target) -> Table {
    let score = metrics(groups).title(&target.score);
    let to_target = format!("{score} {}", show_score(target.value));
    let mut table = Table::new("groups", &[("group", "group"), ("runs", "runs")]);
    let base = has_base(groups, target).then(|| ("base", format!("{score} before training")));
    let measures = [
        ("final", format!("final {score}")),
        ("best", format!("best {score}")),
        ("rounds_to_target", format!("rounds to {to_target}")),
        ("virtual_seconds_to_target", "virtual s to it".to_owned()),
        ("bytes_up", "up".to_owned()),
        ("bytes_down", "down".to_owned()),
    ];
    for (key, title) in base.into_iter().chain(measures) {
        table.add_column(key, title);
        table.add_column(format!("{key}_deviation"), "");
    }
    table.add_column("reached_target", "reached it");
    table.add_column("worst_exactness_error", "worst exactness error");
    let with_base = has_base(groups, target);
    for group in groups {
        table.add_row(group_row(group, target, with_base));
    }
    table
}

/// Whether a run knows the score that its model had before training.
fn has_base(groups: &[Group<'_>], target: &Target) -> bool {
    let mut runs = groups.iter().flat_map(|group| &group.runs);
    runs.any(|run| run.last_score(&base_of(&target.score)).is_some())
}

fn group_row(group: &Group<'_>, target: &Target, with_base: bool) -> Vec<Cell> {
    let runs = &group.runs;
    let all = |value: &dyn Fn(&Compared) -> Option<f64>| -> Vec<f64> {
        runs.iter().filter_map(|run| value(run)).collect()
    };
    let name = target.score.as_str();
    let reached = all(&|run| Some(f64::from(target.reached(run)?.round)));
    let count = reached.len();
    let mut row = vec![group.label.as_str().into(), runs.len().into()];
    if with_base {
        let base = base_of(name);
        row.extend(spread(&all(&|run| run.last_score(&base)), show_score));
    }
    row.extend(spread(&all(&|run| run.last_score(name)), show_score));
    row.extend(spread(&all(&|run| run.best_score(name)), show_score));
    row.extend(spread(&reached, tenths));
    let seconds = all(&|run| Some(target.reached(run)?.virtual_seconds));
    row.extend(spread(&seconds, tenths));
    row.extend(bytes(&all(&|run| Some(run.totals.bytes_up as f64))));
    row.extend(bytes(&all(&|run| Some(run.totals.bytes_down as f64))));
    row.push(Cell::new(count, format!("{count} of {}", runs.len())));
    let errors = all(&|run| run.totals.worst_exactness_error);
    row.push(Cell::scientific(errors.into_iter().reduce(f64::max)));
    row
}

/// A mean with its deviation, and the deviation alone for programs.
fn spread(values: &[f64], show: impl Fn(f64) -> String) -> [Cell; 2] {
    let Some(Mean { mean, deviation }) = Mean::of(values) else {
        return [Cell::none(), Cell::none()];
    };
    let shown = match deviation {
        Some(deviation) => format!("{} ± {}", show(mean), show(deviation)),
        None => show(mean),
    };
    let deviation = deviation.map_or_else(Cell::none, |x| Cell::of_number(x, show(x)));
    [Cell::of_number(mean, shown), deviation]
}

fn tenths(value: f64) -> String {
    show_number(value, 1)
}

fn bytes(values: &[f64]) -> [Cell; 2] {
    spread(values, |bytes| show_bytes(bytes.round() as u64))
}

/// A row for each run.
#[must_use]
pub fn runs_table(groups: &[Group<'_>], target: &Target) -> Table {
    let score = metrics(groups).title(&target.score);
    let mut table = Table::new("runs", &[]);
    let columns = [
        ("run", "run".to_owned()),
        ("group", "group".to_owned()),
        ("seed", "seed".to_owned()),
        ("state", "state".to_owned()),
        ("rounds", "rounds".to_owned()),
        ("final", format!("final {score}")),
        ("best", format!("best {score}")),
        ("best_round", "in round".to_owned()),
        (
            "rounds_to_target",
            format!("rounds to {}", show_score(target.value)),
        ),
        ("virtual_seconds_to_target", "virtual s to it".to_owned()),
        ("virtual_seconds", "virtual s".to_owned()),
        ("bytes_up", "up".to_owned()),
        ("bytes_down", "down".to_owned()),
        ("worst_exactness_error", "worst exactness error".to_owned()),
    ];
    for (key, title) in columns {
        table.add_column(key, title);
    }
    for group in groups {
        for run in &group.runs {
            table.add_row(run_row(run, &group.label, target));
        }
    }
    table
}

fn run_row(run: &Compared, group: &str, target: &Target) -> [Cell; 14] {
    let best = run.totals.best.get(&target.score);
    let reached = target.reached(run);
    [
        run.path.display().to_string().into(),
        group.into(),
        run.seed.into(),
        run.state.to_string().into(),
        run.totals.rounds.into(),
        Cell::score(run.last_score(&target.score)),
        Cell::score(run.best_score(&target.score)),
        best.map_or_else(Cell::none, |best| best.round.into()),
        reached.map_or_else(Cell::none, |reached| reached.round.into()),
        Cell::number(reached.map(|reached| reached.virtual_seconds), 1),
        Cell::number(run.totals.virtual_seconds, 1),
        Cell::bytes(run.totals.bytes_up),
        Cell::bytes(run.totals.bytes_down),
        Cell::scientific(run.totals.worst_exactness_error),
    ]
}
