//! A run's tables: its clients, its rounds.

use regatta_actors::protocol::outcome::EndReason;
use regatta_actors::protocol::round_record::{Outcome, RoundRecord};
use regatta_actors::workload::update::Scores;

use crate::base::table::{Cell, Table, show_score};
use crate::runs::history::clients::{ClientStats, RunStats};
use crate::tasks::metrics::set::{MetricSet, base_of};

const CLIENTS: [(&str, &str); 15] = [
    ("client", "client"),
    ("examples", "examples"),
    ("asked", "selected"),
    ("aggregated", "aggregated"),
    ("late", "late"),
    ("dropped", "dropped"),
    ("lost", "lost"),
    ("refused", "refused"),
    ("failed", "failed"),
    ("restarts", "restarts"),
    ("retired", "retired"),
    ("bytes_up", "sent"),
    ("bytes_down", "received"),
    ("seconds_lost", "seconds lost"),
    ("faults", "faults"),
];

/// The clients' statistics.
#[must_use]
pub fn clients(stats: &RunStats) -> Table {
    let mut table = Table::new("clients", &CLIENTS);
    for client in stats.clients.values() {
        table.add_row(row(client));
    }
    table
}

fn row(client: &ClientStats) -> [Cell; 15] {
    let ended = |outcome| Cell::count(client.ended(outcome));
    let faults = client.faults.iter();
    let faults = faults.map(|(fault, times)| match times {
        1 => fault.as_str().to_owned(),
        times => format!("{} {times}×", fault.as_str()),
    });
    let late = client.ended(Outcome::Late) + client.dropped_updates;
    let lost = client.lost_seconds;
    [
        client.name.as_str().into(),
        client.examples.into(),
        Cell::count(client.selected),
        ended(Outcome::Aggregated),
        Cell::count(late),
        ended(Outcome::Dropped),
        ended(Outcome::Lost),
        ended(Outcome::Refused),
        ended(Outcome::Failed),
        Cell::count(client.restarts),
        Cell::new(client.retired, if client.retired { "yes" } else { "·" }),
        Cell::bytes(client.bytes_up),
        Cell::bytes(client.bytes_down),
        Cell::number(lost, 1),
        faults.collect::<Vec<_>>().join(", ").into(),
    ]
}

/// The rounds: losses, scores, exactness, traffic. Scores of the model before training are beside
/// the others in brackets.
#[must_use]
pub fn rounds(rounds: &[RoundRecord], metrics: &MetricSet) -> Table {
    let mut table = Table::new(
        "rounds",
        &[
            ("round", "round"),
            ("virtual_seconds", "ends at (virtual s)"),
            ("aggregated", "aggregated"),
            ("clients", "clients"),
            ("train_loss", "train loss"),
        ],
    );
    let scores = metrics.names(evals(rounds));
    for name in &scores {
        let base = match evals(rounds).any(|eval| eval.contains_key(&base_of(name))) {
            true => " (before training)",
            false => "",
        };
        let title = format!("{}{base}", metrics.eval_title(name));
        table.add_column(format!("eval_{name}"), title);
    }
    table.add_column("exactness_error", "exactness error");
    table.add_column("bytes_up", "up");
    table.add_column("bytes_down", "down");
    table.add_column("state_digest", "state");
    for record in rounds {
        let up = record.clients.iter().map(|client| client.bytes_up).sum();
        let down = record.clients.iter().map(|client| client.bytes_down).sum();
        let mut row = vec![
            record.round.into(),
            Cell::number(record.virtual_seconds, 1),
            record.aggregated().into(),
            record.clients.len().into(),
            Cell::score(record.train_loss),
        ];
        row.extend(scores.iter().map(|name| score(record, name)));
        let digest = &record.state_digest.0;
        row.extend([
            Cell::scientific(record.exactness_error),
            Cell::bytes(up),
            Cell::bytes(down),
            Cell::new(digest.as_str(), digest.get(..12).unwrap_or(digest)),
        ]);
        table.add_row(row);
    }
    table
}

/// A score, with the base model's behind it in brackets.
fn score(record: &RoundRecord, name: &str) -> Cell {
    let value = |name: &str| record.eval.as_ref()?.get(name).copied();
    let mut cell = Cell::score(value(name));
    if let Some(base) = value(&base_of(name)) {
        cell.shown += &format!(" ({})", show_score(base));
    }
    cell
}

/// The scores of each round that has any.
pub(crate) fn evals(rounds: &[RoundRecord]) -> impl Iterator<Item = &Scores> {
    rounds.iter().filter_map(|record| record.eval.as_ref())
}

/// The updates that were refused, with the reason.
#[must_use]
pub fn refusals(rounds: &[RoundRecord]) -> Table {
    let columns = [
        ("round", "round"),
        ("client", "client"),
        ("reason", "reason"),
    ];
    let mut table = Table::new("refusals", &columns);
    for record in rounds {
        for refusal in &record.refused {
            table.add_row([
                record.round.into(),
                record.name(refusal.client).into(),
                refusal.reason.as_str().into(),
            ]);
        }
    }
    table
}

/// The outcome of a run, in words.
#[must_use]
pub fn ending(stats: &RunStats) -> String {
    match (&stats.error, stats.ending) {
        (Some(error), _) => format!("ended by an error: {error}"),
        (None, Some(EndReason::Complete)) => "complete".to_owned(),
        (None, Some(EndReason::StoppedAfterRound)) => "stopped after a round".to_owned(),
        (None, Some(EndReason::StoppedAtOnce)) => "stopped during the round".to_owned(),
        (None, None) => "not ended".to_owned(),
    }
}

/// The run in a few words.
#[must_use]
pub fn headline(stats: &RunStats) -> String {
    let mut parts = vec![
        format!(
            "{}: {} of {} rounds",
            stats.run, stats.rounds, stats.rounds_planned
        ),
        ending(stats),
        format!("{:.1} virtual s", stats.virtual_seconds),
    ];
    let counted = [
        (stats.skipped, "skipped round", "skipped rounds"),
        (
            stats.refused,
            "round with every update refused",
            "rounds with every update refused",
        ),
        (stats.retries, "retry", "retries"),
        (stats.server_crashes, "server crash", "server crashes"),
    ];
    let happened = counted.into_iter().filter(|(number, ..)| *number > 0);
    parts.extend(happened.map(|(number, one, many)| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    }));
    parts.join(", ")
}
