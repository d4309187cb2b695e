//! `regatta generate`: texts by the model of an ended run.

use std::sync::{Mutex, PoisonError};

use anyhow::Context;

use crate::base::files;
use crate::base::machine::Host;
use crate::base::table::{self, Cell, Table};
use crate::cli::args::GenerateArgs;
use crate::config::load_over;
use crate::config::plan::Plan;
use crate::config::problems::Problems;
use crate::config::settings::Settings;
use crate::config::tables::ScenarioTables;
use crate::experiment::inputs;
use crate::experiment::prompts::{EncodedPrompt, require_room};
use crate::experiment::texts::TextWriter;
use crate::live::terminal::output::print_line;
use crate::model::weights::{View, Weights};
use crate::runs::export::merge;
use crate::runs::export::trained::TrainedModel;
use crate::tasks::TextTask;
use crate::tasks::texts::{GenerationPlan, PromptWithAnswers, WrittenText};
use crate::train::precision::Compute;

/// Writes a text for each prompt.
///
/// # Errors
/// [`Problems`] with the run, the prompts or the flags; or why no text could be written.
pub fn generate(args: &GenerateArgs) -> anyhow::Result<()> {
    let trained = TrainedModel::of_run(&args.run.folder, args.best == Some(true));
    let trained = trained.map_err(Problems::with_input)?;
    let task = trained.plan.data.task.clone();
    let Some(texts) = task.texts() else {
        let wrong = format!(
            "the run in {} was for {task}, whose models write no texts",
            args.run.folder.display()
        );
        return Err(Problems::with_input(wrong).into());
    };
    let plan = generation(&trained.plan, &args.texts.0)?;
    let prompts = prompts(args, texts).map_err(Problems::with_input)?;
    let written = write(&trained, &plan, texts, &prompts)?;
    match args.format {
        Some(format) => print_line(table::render(&[&as_table(&written)], format)?),
        None => written
            .iter()
            .for_each(|it| print_line(it.text.replace(['\r', '\n'], " "))),
    }
    Ok(())
}

/// How texts are written: as flags say, else as in the run.
fn generation(run: &Plan, flags: &Settings) -> anyhow::Result<GenerationPlan> {
    let recorded = &run.settings;
    let mut settings = Settings {
        task: recorded.task.clone(),
        max_new_tokens: recorded.max_new_tokens,
        ..Settings::default()
    };
    let searches = [
        flags.num_beams.is_some(),
        flags.length_penalty.is_some(),
        flags.no_repeat_ngram.is_some(),
    ];
    // A run that searched says nothing of how texts are drawn, nor the other way round.
    let drawn = flags.temperature.is_some()
        || (recorded.temperature.is_some() && !searches.contains(&true));
    if drawn {
        settings.temperature = flags.temperature.or(recorded.temperature);
        settings.top_p = recorded.top_p;
        settings.top_k = recorded.top_k;
    } else {
        settings.num_beams = recorded.num_beams;
        settings.length_penalty = recorded.length_penalty;
        settings.no_repeat_ngram = recorded.no_repeat_ngram;
    }
    // Over the run's, with whatever does not go together refused.
    settings.num_beams = flags.num_beams.or(settings.num_beams);
    settings.length_penalty = flags.length_penalty.or(settings.length_penalty);
    settings.no_repeat_ngram = flags.no_repeat_ngram.or(settings.no_repeat_ngram);
    settings.top_p = flags.top_p.or(settings.top_p);
    settings.top_k = flags.top_k.or(settings.top_k);
    settings.max_new_tokens = flags.max_new_tokens.or(settings.max_new_tokens);
    let tables = ScenarioTables {
        task: run.tables.task.clone(),
        ..ScenarioTables::default()
    };
    let plan = load_over(tables, &settings, &Host::detect())?.into_plan();
    plan.generation
        .context("the task's texts are not written by any plan")
}

/// The prompts of the flags and the file, each as the task has it.
fn prompts(args: &GenerateArgs, texts: &dyn TextTask) -> Result<Vec<String>, String> {
    let mut given = args.prompt.clone();
    if let Some(file) = &args.file {
        let text = files::read_text(file).map_err(|error| error.to_string())?;
        given.extend(text.lines().map(str::to_owned));
    }
    if given.is_empty() {
        return Err(
            "nothing to read; give --prompt TEXT, or --file FILE with a prompt a line".into(),
        );
    }
    match given.iter().position(|text| text.trim().is_empty()) {
        Some(empty) => Err(format!("prompt {} is empty; give it a text", empty + 1)),
        None => Ok(given.iter().map(|text| texts.prompt(text)).collect()),
    }
}

/// Texts by the whole model: base, adapter and base delta merged.
fn write(
    trained: &TrainedModel,
    plan: &GenerationPlan,
    texts: &dyn TextTask,
    prompts: &[String],
) -> anyhow::Result<Vec<WrittenText>> {
    let run = &trained.plan;
    let objective = run.data.task.objective();
    let base = trained.base()?;
    let mut checkpoint = trained.checkpoint(&base)?;
    let merged = merge::merged(trained, &mut checkpoint)?;
    let architecture = &*checkpoint.architecture;
    let encoder = inputs::encoder(&base, architecture, run)?;
    let prompts = prompts.iter().map(|text| PromptWithAnswers {
        text,
        references: Vec::new(),
    });
    let prompts = EncodedPrompt::encode(&prompts.collect::<Vec<_>>(), texts, &encoder)?;
    let end_tokens: Vec<i64> = texts
        .end_tokens(&encoder)?
        .into_iter()
        .map(i64::from)
        .collect();
    if let Err((wrong, right)) = require_room(&prompts, plan, architecture) {
        return Err(Problems::with_input(format_args!("{wrong}; {right}")).into());
    }
    let compute = Compute::of(
        run.devices.precision(run.training.precision),
        run.devices.server.into(),
    );
    compute.settle()?;
    let mut weights = Weights::from_map(&merged, compute.device)?;
    weights.stack(&architecture.stacked_on(compute.device))?;
    // A tensor may be sent to another thread, but not be seen by two.
    let weights = Mutex::new(weights);
    let writer = TextWriter {
        plan,
        encoder: &encoder,
        end_tokens: &end_tokens,
        batch: run.training.eval_batch_size as usize,
        seed: run.seed,
        compute,
    };
    let model = || {
        let weights = weights.lock().unwrap_or_else(PoisonError::into_inner);
        architecture.build(&View::new(&weights), &objective)
    };
    Ok(writer.write(model, &prompts, &|_| {})?)
}

fn as_table(written: &[WrittenText]) -> Table {
    let columns = [("prompt", "prompt"), ("text", "text"), ("score", "score")];
    let mut table = Table::new("texts", &columns);
    for text in written {
        table.add_row(vec![
            text.prompt.clone().into(),
            text.text.clone().into(),
            Cell::number(text.score, 3),
        ]);
    }
    table
}
