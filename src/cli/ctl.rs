//! `regatta ctl`: steers a run that goes on.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use crate::cli::args::CtlArgs;
use crate::cli::terminal::say;
use crate::control::{Reply, Status, Token, ask};

/// Sends a command to a run and shows its reply.
///
/// # Errors
/// When no run answers, or the run refuses.
pub fn ctl(args: &CtlArgs) -> anyhow::Result<()> {
    let address = args.control.parse::<SocketAddr>().with_context(|| {
        format!(
            "--control={}: give an address such as 127.0.0.1:9465",
            args.control
        )
    })?;
    match ask(address, Token::from_environment().as_ref(), args.ask)? {
        Reply::Status(status) => show(&status),
        Reply::Done(what) => say(what),
        Reply::Error(why) => bail!(why),
    }
    Ok(())
}

fn show(status: &Status) {
    let run = &status.run;
    let state = match (run.over, run.paused) {
        (true, _) => "over",
        (false, true) => "paused",
        (false, false) => "running",
    };
    say(format_args!(
        "round {}/{}, {state}, {} at work, {:.1} virtual s",
        run.round, run.rounds, run.working, run.virtual_seconds
    ));
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["client", "state", "last asked in round", "loss"]);
    for client in &status.clients {
        let loss = client
            .loss
            .map_or_else(|| "–".to_owned(), |loss| format!("{loss:.4}"));
        table.add_row([
            client.client.to_string(),
            client.state.as_str().to_owned(),
            client.round.to_string(),
            loss,
        ]);
    }
    say(table);
}
