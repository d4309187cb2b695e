//! `regatta check`: everything that can be known to be wrong without training.

use crate::base::machine::Host;
use crate::base::table::count;
use crate::cli::args::ScenarioArgs;
use crate::config::load;
use crate::config::plan::{DataSource, Plan};
use crate::experiment::inputs::{RunInputs, check_local};
use crate::experiment::prepared::Experiment;
use crate::live::terminal::output::print_line;
use crate::model::source::location::ModelSource;

/// Checks a scenario and the files it names.
///
/// # Errors
/// Everything that is wrong.
pub fn check(args: &ScenarioArgs) -> anyhow::Result<()> {
    let plan = load(args.scenario.as_deref(), &args.settings, &Host::detect())?;
    let unchecked = on_the_hub(&plan);
    if unchecked.is_empty() {
        Experiment::prepare(plan.clone(), RunInputs::load(&plan)?)?;
    } else {
        check_local(&plan)?;
    }
    let devices = plan.devices.refusal.iter().chain(&plan.devices.notices);
    for notice in devices.chain(&plan.data.notices) {
        print_line(notice);
    }
    for what in unchecked {
        print_line(format_args!("{what} is on the hub and was not checked"));
    }
    print_line(describe(&plan));
    Ok(())
}

/// A plan in one line.
pub fn describe(plan: &Plan) -> String {
    format!(
        "{}: {} among {}, {} of rank {} with {}, {} of {}",
        plan.name,
        plan.data.task,
        count(plan.data.num_clients, "client"),
        plan.adapter.kind.title(),
        plan.adapter.r,
        plan.aggregation.method,
        count(plan.rounds, "round"),
        count(plan.training.local_epochs, "epoch"),
    )
}

/// The parts of a plan that would have to be fetched.
fn on_the_hub(plan: &Plan) -> Vec<String> {
    let model = match &plan.model.source {
        ModelSource::Hub(name) => Some(format!("the model {name}")),
        ModelSource::Local(_) | ModelSource::Random { .. } => None,
    };
    let data =
        (plan.data.source == DataSource::Hub).then(|| format!("the data of {}", plan.data.task));
    model.into_iter().chain(data).collect()
}
