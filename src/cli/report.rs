//! `regatta report RUN`: what happened to whom.

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use regatta_actors::record::Outcome;
use regatta_actors::run::Ending;

use crate::cli::args::RunArgs;
use crate::cli::terminal::{count, say};
use crate::record::{Account, ClientAccount, RunFolder};

const HEADER: [&str; 13] = [
    "client",
    "examples",
    "asked",
    "folded",
    "late",
    "dropped",
    "lost",
    "refused",
    "failed",
    "restarts",
    "kB up/down",
    "seconds lost",
    "faults",
];

/// Shows a run's account.
///
/// # Errors
/// When there is no run, or its ledger cannot be read.
pub fn report(args: &RunArgs) -> anyhow::Result<()> {
    let folder = RunFolder::open(&args.run)?;
    let account = Account::read(&folder.ledger())?;
    say(headline(&account));
    say(table(&account));
    for intervention in &account.interventions {
        say(format_args!(
            "after round {}: {:?}",
            intervention.after_round, intervention.command
        ));
    }
    Ok(())
}

/// The run in a few words.
fn headline(account: &Account) -> String {
    let ending = match (&account.error, account.ending) {
        (Some(error), _) => format!("ended by an error: {error}"),
        (None, Some(Ending::Complete)) => "complete".to_owned(),
        (None, Some(Ending::StoppedAfterRound)) => "stopped after a round".to_owned(),
        (None, Some(Ending::StoppedAtOnce)) => "stopped in mid-round".to_owned(),
        (None, None) => "not ended".to_owned(),
    };
    let mut parts = vec![
        format!(
            "{}: {} of {}",
            account.run,
            account.rounds,
            count(account.rounds_planned, "round")
        ),
        ending,
        format!("{:.1} virtual s", account.virtual_seconds),
    ];
    let counted = [
        (account.skipped, "skipped round"),
        (account.retries, "retry"),
        (account.server_crashes, "server crash"),
    ];
    for (number, what) in counted.into_iter().filter(|(number, _)| *number > 0) {
        parts.push(match (number, what) {
            (1, what) => format!("1 {what}"),
            (number, "retry") => format!("{number} retries"),
            (number, "server crash") => format!("{number} server crashes"),
            (number, what) => format!("{number} {what}s"),
        });
    }
    parts.join(", ")
}

fn table(account: &Account) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(HEADER);
    for client in account.clients.values() {
        table.add_row(row(client));
    }
    table
}

fn row(client: &ClientAccount) -> [String; 13] {
    let ended = |outcome| number(client.ended(outcome));
    let retired = if client.retired { ", retired" } else { "" };
    let faults = client.faults.iter();
    let faults = faults.map(|(fault, times)| match times {
        1 => fault.as_str().to_owned(),
        times => format!("{} {times}×", fault.as_str()),
    });
    let late = client.ended(Outcome::Late) + client.dropped_updates;
    [
        client.name.clone(),
        client.examples.to_string(),
        number(client.asked),
        ended(Outcome::Folded),
        number(late),
        ended(Outcome::Dropped),
        ended(Outcome::Lost),
        ended(Outcome::Refused),
        ended(Outcome::Failed),
        format!("{}{retired}", number(client.restarts)),
        format!("{}/{}", client.bytes_up / 1000, client.bytes_down / 1000),
        format!("{:.1}", client.lost_seconds),
        faults.collect::<Vec<_>>().join(", "),
    ]
}

/// A number, or a dot for none: a table of zeros hides what happened.
fn number(number: u32) -> String {
    match number {
        0 => "·".to_owned(),
        number => number.to_string(),
    }
}
