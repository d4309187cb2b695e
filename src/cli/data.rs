//! `regatta data`: a task's examples, and what each client gets of them.

use crate::base::machine::Host;
use crate::base::table;
use crate::base::table::{Format, Table};
use crate::cli::args::DataArgs;
use crate::config::load;
use crate::experiment::inputs::RunInputs;
use crate::live::terminal::output::print_line;
use crate::tasks::label_groups::LabelGroups;
use crate::tasks::summary::{DataSummary, SplitSummary};
use crate::tasks::{show, summary};

/// Shows the data of a scenario.
///
/// # Errors
/// Everything that is wrong with the scenario or the files it names.
pub fn data(args: &DataArgs) -> anyhow::Result<()> {
    let plan = load(
        args.scenario.scenario.as_deref(),
        &args.scenario.settings,
        &Host::detect(),
    )?;
    let inputs = RunInputs::load(&plan)?;
    let task = &inputs.task;
    let groups = LabelGroups::of(&**task, &inputs.data.train);
    let splits = std::iter::once(&inputs.data.train)
        .chain(&inputs.data.validation)
        .chain(&inputs.data.test);
    let summarise = |split| {
        let encoded = task.encode(split, &inputs.encoder, None)?;
        inputs.encoder.warn_of_unread(&encoded);
        anyhow::Ok(SplitSummary::of(&groups, split, Some(&encoded)))
    };
    let data = DataSummary {
        task: task.name().to_owned(),
        splits: splits.map(summarise).collect::<Result<_, _>>()?,
        clients: summary::shards(&groups, &inputs.data.train, &inputs.shards),
    };
    let (splits, shares) = (data.splits_table(), data.clients_table());
    let examples = show::examples(&**task, &inputs.data.train, &inputs.encoder, args.show)?;
    let shown: &[&Table] = match args.show {
        0 => &[],
        _ => &[&examples],
    };
    if args.output.format != Format::Table {
        let tables = [&[&splits, &shares], shown].concat();
        print_line(table::render(&tables, args.output.format)?);
        return Ok(());
    }
    plan.data.notices.iter().for_each(print_line);
    let template = task
        .template()
        .map(|name| format!(", with the template {name}"));
    print_line(format_args!(
        "{task} from {}{}",
        inputs.data.folder.display(),
        template.unwrap_or_default()
    ));
    print_line(table::render(&[&splits], args.output.format)?);
    print_line(format_args!(
        "\n{} among {} clients",
        plan.data.partition, plan.data.num_clients
    ));
    print_line(table::render(&[&shares], args.output.format)?);
    if !shown.is_empty() {
        print_line(format_args!("\ntraining examples"));
        print_line(table::render(shown, args.output.format)?);
    }
    Ok(())
}
