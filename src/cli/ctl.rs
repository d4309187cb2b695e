//! `regatta ctl`: steers a running run.

use std::net::SocketAddr;

use anyhow::{Context, bail};

use crate::base::table;
use crate::base::table::{Cell, Format, Table, count};
use crate::cli::args::CtlArgs;
use crate::live::control::client::send;
use crate::live::control::workers::{HostLine, LaneLine, WorkLine, Workers};
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
    let token = Token::from_environment();
    match send(address, token.as_ref(), args.action.clone())? {
        Reply::Status(status) => show(&status, args.output.format)?,
        Reply::Workers(workers) => show_workers(&workers, args.output.format)?,
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

const HOST_COLUMNS: [(&str, &str); 10] = [
    ("host", "worker"),
    ("id", "id"),
    ("lanes", "lanes"),
    ("jobs_done", "jobs done"),
    ("jobs_redone", "done again"),
    ("bytes_received", "received"),
    ("bytes_sent", "sent"),
    ("silent_seconds", "silent, s"),
    ("state", "state"),
    ("description", ""),
];

const LANE_COLUMNS: [(&str, &str); 7] = [
    ("host", "worker"),
    ("lane", "lane"),
    ("device", "device"),
    ("client", "client"),
    ("round", "round"),
    ("phase", "phase"),
    ("seconds", "for, s"),
];

fn show_workers(workers: &Workers, format: Format) -> anyhow::Result<()> {
    let mut hosts = Table::new("workers", &HOST_COLUMNS);
    let mut lanes = Table::new("lanes", &LANE_COLUMNS);
    for host in &workers.hosts {
        for lane in &host.lanes {
            lanes.add_row(lane_row(&host.name, lane));
        }
        // The run's own process is no worker.
        if let Some(silent) = host.silent_seconds {
            hosts.add_row(host_row(host, silent));
        }
    }
    if format != Format::Table {
        print_line(table::render(&[&hosts, &lanes], format)?);
        return Ok(());
    }
    print_line(workers_headline(workers));
    let shown = [&hosts, &lanes].into_iter();
    let shown: Vec<_> = shown.filter(|table| !table.rows().is_empty()).collect();
    if !shown.is_empty() {
        print_line(table::render(&shown, format)?);
    }
    Ok(())
}

fn host_row(host: &HostLine, silent: f64) -> [Cell; 10] {
    let state = if host.draining { "draining" } else { "joined" };
    [
        host.name.as_str().into(),
        host.id.as_str().into(),
        host.lanes.len().into(),
        host.jobs_done.into(),
        Cell::count(host.jobs_redone),
        Cell::bytes(host.bytes_received),
        Cell::bytes(host.bytes_sent),
        Cell::number(silent, 1),
        state.into(),
        host.description.as_str().into(),
    ]
}

fn lane_row(host: &str, lane: &LaneLine) -> [Cell; 7] {
    let work = |cell: fn(&WorkLine) -> Cell| lane.work.as_ref().map_or_else(Cell::none, cell);
    [
        host.into(),
        lane.lane.into(),
        lane.device.as_str().into(),
        work(|work| work.client.0.into()),
        work(|work| work.round.into()),
        work(|work| work.phase.as_str().into()),
        work(|work| Cell::number(work.seconds, 1)),
    ]
}

/// Who trains, in a line.
fn workers_headline(workers: &Workers) -> String {
    let hosts = &workers.hosts;
    let lanes = count(
        hosts.iter().map(|host| host.lanes.len()).sum::<usize>(),
        "lane",
    );
    if workers.are_own_lanes() {
        return format!("the run trains on {lanes} of its own process, and has no workers");
    }
    if hosts.is_empty() {
        return "no worker has joined the run".to_owned();
    }
    let done: u64 = hosts.iter().map(|host| host.jobs_done).sum();
    format!(
        "{} with {lanes}, which did {}",
        count(hosts.len(), "worker"),
        count(done, "job")
    )
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
