//! `regatta doctor --calibrate`: how lanes divide the cores best, measured once, remembered, and
//! the default of every run after that.
//!
//! | file | holds |
//! |---|---|
//! | `divisions` | the possible divisions, and which one wins |
//! | `workload` | the training that is timed |

pub(crate) mod divisions;
pub(crate) mod workload;

use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use tch::Kind;

use crate::base::machine::calibration::Entry;
use crate::base::machine::{Host, calibration};
use crate::base::table::{Cell, Format, Table, count};
use crate::base::{table, time};
use crate::cli::doctor::calibrate::divisions::{ADVANTAGE, Measured, best, compare, divisions};
use crate::cli::doctor::calibrate::workload::Workload;
use crate::config::problems::Problems;
use crate::live::terminal::output::print_line;
use crate::model::ModelError;
use crate::model::source::checkpoint::Checkpoint;
use crate::model::source::files::ModelFiles;
use crate::model::source::known::ArchitectureName;
use crate::model::source::location::RANDOM;
use crate::train::probe::objective;

/// What is trained unless the user names a model: the quickstart's sizes.
const MODEL: &str = "random:minilm-l6";
/// Times that each division is measured.
const TURNS: usize = 5;

/// Measures, shows and remembers.
///
/// # Errors
/// [`Problems`] with the model; or when it cannot be trained, or nothing can be remembered.
pub fn calibrate(model: Option<&str>) -> anyhow::Result<()> {
    let name = model.unwrap_or(MODEL);
    let checkpoint = checkpoint(name).map_err(|error| {
        let mut problems = Problems::default();
        let right = "name a Hugging Face snapshot, or random:NAME";
        problems.report("model", format_args!("{name}: {error}"), right);
        problems
    })?;
    let path = calibration::path()
        .context("no home folder to store the calibration in; set XDG_STATE_HOME")?;
    let machine = Host::detect();
    let divisions = divisions(machine.cores);
    print_line(format_args!(
        "training {name} with {} in turn, {TURNS} times each",
        count(divisions.len(), "division")
    ));
    let workload = Workload::new(&checkpoint)?;
    drop(checkpoint);
    let measured = compare(&divisions, TURNS, |division| {
        workload.rate(division, Kind::Float)
    })?;
    print_line(table::render(&[&shown(&measured)], Format::Table)?);
    let best = best(&measured).context("nothing was measured")?;
    let rate = measured.iter().find(|m| m.choice == best);
    let entry = Entry {
        processor: machine.processor,
        cores: machine.cores,
        threads_per_lane: best.threads,
        model: name.to_owned(),
        examples_per_second: rate.map_or(0.0, |measured| measured.rate),
        measured: time::local(SystemTime::now())
            .map_or_else(String::new, |now| now.strftime("%Y-%m-%d").to_string()),
    };
    let (lanes, threads) = (count(best.lanes, "lane"), count(best.threads, "thread"));
    calibration::remember(&path, entry)?;
    let kinds = [Kind::Float, Kind::BFloat16];
    let measured = compare(&kinds, TURNS, |kind| workload.rate(best, kind))?;
    print_line(precisions(name, &measured));
    print_line(format_args!(
        "runs now use {lanes} of {threads} unless --lanes or --threads_per_lane is given; stored \
         in {}",
        path.display()
    ));
    Ok(())
}

/// What `--precision bfloat16` would bring, by the rates of both kinds.
fn precisions(model: &str, measured: &[Measured<Kind>]) -> String {
    let rate = |kind| {
        let found = measured.iter().find(|measured| measured.choice == kind);
        found.map_or(0.0, |measured| measured.rate)
    };
    let (wide, narrow) = (rate(Kind::Float), rate(Kind::BFloat16));
    let faster = narrow / wide;
    let verdict = match faster > ADVANTAGE {
        true => format!("--precision bfloat16 would train {model} {faster:.1} times as fast"),
        false => format!("--precision bfloat16 would train {model} no faster"),
    };
    format!(
        "{verdict}: {narrow:.1} examples/s, {wide:.1} in float32, which runs on a CPU use unless \
         told otherwise"
    )
}

fn checkpoint(name: &str) -> Result<Checkpoint, ModelError> {
    match name.strip_prefix(RANDOM) {
        None => {
            let files = ModelFiles::at(Path::new(name))?;
            let objective = objective(&*files.architecture()?);
            files.checkpoint(&objective, 0)
        }
        Some(architecture) => {
            let architecture: ArchitectureName =
                architecture.parse().map_err(ModelError::Refused)?;
            let architecture = architecture.read()?;
            let objective = objective(&*architecture);
            Checkpoint::random(architecture, &objective, 0)
        }
    }
}

fn shown(measured: &[Measured]) -> Table {
    let mut table = Table::new(
        "lanes",
        &[
            ("lanes", "lanes"),
            ("threads", "threads each"),
            ("examples_per_second", "examples/s"),
            ("slowest", "slowest"),
            ("fastest", "fastest"),
        ],
    );
    for one in measured {
        table.add_row([
            Cell::count(one.choice.lanes),
            Cell::count(one.choice.threads),
            Cell::number(one.rate, 1),
            Cell::number(one.range.0, 1),
            Cell::number(one.range.1, 1),
        ]);
    }
    table
}
