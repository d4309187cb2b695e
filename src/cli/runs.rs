//! `regatta runs [DIR]`: the runs in a folder.

use std::io;
use std::path::{Path, PathBuf};

use crate::aggregate::methods;
use crate::base::table::{Cell, Format, Table};
use crate::base::{table, time};
use crate::cli::args::RunsArgs;
use crate::config::problems::Problems;
use crate::live::terminal::output::print_line;
use crate::runs::folder::overview::RunOverview;
use crate::runs::folder::state::RunState;

const COLUMNS: [(&str, &str); 11] = [
    ("run", "run"),
    ("task", "task"),
    ("method", "method"),
    ("adapter", "adapter"),
    ("clients", "clients"),
    ("rounds", "rounds"),
    ("rounds_planned", "of"),
    ("state", "state"),
    ("best", "best score"),
    ("begun", "begun"),
    ("bytes", "size"),
];

/// Lists the runs in a folder, and in the folders of sweeps in it.
///
/// # Errors
/// If the folder cannot be read.
pub fn runs(args: &RunsArgs) -> anyhow::Result<()> {
    let mut table = Table::new("runs", &COLUMNS);
    let dir = args.dir.display();
    let folders = subfolders(&args.dir).map_err(|error| {
        Problems::with_input(format_args!(
            "cannot read {dir}: {error}; name a folder with runs"
        ))
    })?;
    for path in folders {
        match RunOverview::of(&path) {
            Ok(Some(overview)) => table.add_row(row(&path, &overview)),
            Ok(None) => add_inner(&path, &mut table),
            Err(error) => table.add_row(unreadable(&path, &error)),
        }
    }
    if table.rows().is_empty() && args.output.format == Format::Table {
        print_line(format_args!("there are no runs in {dir}"));
        return Ok(());
    }
    print_line(table::render(&[&table], args.output.format)?);
    Ok(())
}

/// Adds the runs of a folder that is none itself.
fn add_inner(path: &Path, table: &mut Table) {
    // A folder that is not a run and cannot be read is ignored.
    for inner in subfolders(path).unwrap_or_default() {
        match RunOverview::of(&inner) {
            Ok(Some(overview)) => table.add_row(row(&inner, &overview)),
            Ok(None) => {}
            Err(error) => table.add_row(unreadable(&inner, &error)),
        }
    }
}

/// The folders in a folder, by name.
fn subfolders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn row(path: &Path, overview: &RunOverview) -> [Cell; 11] {
    let scenario = &overview.scenario;
    let state = match &overview.state {
        RunState::Failed(why) => Cell::new(overview.state.to_string(), format!("failed: {why}")),
        state => state.to_string().into(),
    };
    let best = overview
        .best
        .as_ref()
        .map_or_else(Cell::none, |(name, best)| {
            let Some(best) = best else {
                return Cell::of_number(f64::NAN, format!("{name} {}", table::NAN));
            };
            let value = table::show_score(best.value);
            let shown = format!("{name} {value} (round {})", best.round);
            Cell::of_number(best.value, shown)
        });
    let begun = time::local(overview.begun);
    let method = methods::find(&scenario.agg_type);
    let method = method.map_or(scenario.agg_type.as_str(), |info| info.name);
    [
        path.display().to_string().into(),
        scenario.task.as_str().into(),
        method.into(),
        scenario.adapter.as_str().into(),
        scenario.num_clients.into(),
        overview.rounds.into(),
        scenario.rounds.into(),
        state,
        best,
        begun.map_or_else(Cell::none, |begun| {
            let value = begun.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
            Cell::new(value, begun.strftime("%Y-%m-%d %H:%M").to_string())
        }),
        Cell::bytes(overview.bytes),
    ]
}

fn unreadable(path: &Path, error: &io::Error) -> [Cell; 11] {
    let mut row = [const { None }; 11].map(|_: Option<()>| Cell::none());
    row[0] = path.display().to_string().into();
    row[7] = Cell::new("unreadable", format!("unreadable: {error}"));
    row
}
