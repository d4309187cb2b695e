//! A run's tables: its clients, its rounds.

use std::collections::BTreeSet;

use regatta_actors::protocol::outcome::EndReason;
use regatta_actors::protocol::round_record::{Outcome, RoundRecord};

use crate::base::table::{Cell, Table};
use crate::runs::history::clients::{ClientStats, RunStats};
use crate::runs::history::totals::is_loss;

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

/// The rounds: losses, scores, exactness, traffic.
#[must_use]
pub fn rounds(rounds: &[RoundRecord]) -> Table {
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
    let scores = score_names(rounds);
    for name in &scores {
        let eval = if is_loss(name) { "eval " } else { "" };
        table.add_column(
            format!("eval_{name}"),
            format!("{eval}{}", name.replace('_', " ")),
        );
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
            Cell::number(record.train_loss, 4),
        ];
        row.extend(scores.iter().map(|name| {
            let score = record.eval.as_ref().and_then(|eval| eval.get(name));
            Cell::number(score.copied(), 4)
        }));
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

/// The names of all scores, losses last.
#[must_use]
pub fn score_names(rounds: &[RoundRecord]) -> Vec<String> {
    let evals = rounds.iter().filter_map(|record| record.eval.as_ref());
    let names: BTreeSet<String> = evals.flat_map(|eval| eval.keys().cloned()).collect();
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort_by_key(|name| is_loss(name));
    names
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
