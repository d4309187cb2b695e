//! `regatta replay RUN --check`: does a run again and compares it with its ledger.

use anyhow::anyhow;

use crate::base::machine::Host;
use crate::cli::args::ReplayArgs;
use crate::cli::run::set_numerics;
use crate::config::load;
use crate::config::settings::Settings;
use crate::experiment::FederatedRun;
use crate::experiment::inputs::RunInputs;
use crate::experiment::prepared::Experiment;
use crate::live::terminal::observer::TerminalObserver;
use crate::live::terminal::output::{print_line, show_bars};
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;

/// Runs again what a run's ledger has.
///
/// # Errors
/// The first event that differs, in both versions; or what stands in the way of running at all.
pub fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    let folder = RunFolder::open(&args.run.folder)?;
    let differing = Settings {
        lanes: args.lanes,
        ..Settings::default()
    };
    let plan = load(
        Some(&folder.path_of(Artifact::Scenario)),
        &differing,
        &Host::detect(),
    )?;
    set_numerics(&plan)?;
    show_bars(!plan.telemetry.quiet);
    let inputs = RunInputs::load(&plan)?;
    let experiment = Experiment::prepare(plan, inputs)?;
    let metrics = experiment.plan.data.task.metric_set();
    let temporary = tempfile::tempdir()?;
    let scratch = RunFolder::at(temporary.path());
    let run = FederatedRun::new(experiment, &scratch).map_err(|error| anyhow!(error))?;
    let same = run
        .local()
        .observed_by(vec![Box::new(TerminalObserver::new(metrics))])
        .replay(&folder.path_of(Artifact::Ledger))?;
    print_line(format_args!("all {same} events are the same, bit for bit"));
    Ok(())
}
