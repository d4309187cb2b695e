//! `regatta ctl`: steers a running run.

use std::net::SocketAddr;

use anyhow::{Context, bail};

use crate::base::table;
use crate::base::table::{Cell, Format, Table};
use crate::cli::args::CtlArgs;
use crate::live::control::client::send;
use crate::live::control::{Reply, Status, Token};
use crate::live::terminal::output::print_line;

/// Sends a command to a run and shows its reply.
///
/// # Errors
/// If no run answers, the run does not confirm within two seconds that it has heard, or it
/// refuses.
pub fn ctl(args: &CtlArgs) -> anyhow::Result<()> {
    let address = args.control.parse::<SocketAddr>().with_context(|| {
        format!(
            "--control={}: give an address such as 127.0.0.1:9465",
            args.control
        )
    })?;
    match send(address, Token::from_environment().as_ref(), args.action)? {
        Reply::Status(status) => show(&status, args.output.format)?,
        Reply::Done(what) => print_line(what),
        Reply::NotConfirmed(why) | Reply::Error(why) => bail!(why),
    }
    Ok(())
}

const COLUMNS: [(&str, &str); 4] = [
    ("client", "client"),
    ("state", "state"),
    ("round", "last selected in round"),
    ("loss", "loss"),
];

fn show(status: &Status, format: Format) -> anyhow::Result<()> {
    let mut table = Table::new("clients", &COLUMNS);
    for client in &status.clients {
        table.add_row([
            client.client.0.into(),
            client.state.as_str().into(),
            client.round.into(),
            Cell::number(client.loss, 4),
        ]);
    }
    if format == Format::Table {
        print_line(headline(status));
    }
    print_line(table::render(&[&table], format)?);
    Ok(())
}

/// The state of the run, in a line.
fn headline(status: &Status) -> String {
    let run = &status.run;
    let state = match (run.over, run.paused) {
        (true, _) => "over",
        (false, true) => "paused",
        (false, false) => "running",
    };
    format!(
        "round {}/{}, {state}, {} at work, {:.1} virtual s",
        run.round, run.rounds, run.working, run.virtual_seconds
    )
}
