//! `regatta run` and `regatta resume`: a federation from its scenario, or from its last checkpoint,
//! to its results.

#[cfg(not(feature = "cluster"))]
use std::convert::Infallible as Cluster;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use anyhow::{Context, anyhow, bail};
use regatta_actors::Run;
use regatta_actors::observe::Observer;
use regatta_actors::observe::hosts::HostBoard;
use regatta_actors::protocol::outcome::{EndReason, RunError, RunOutcome};

use crate::base::files::write_atomically;
use crate::base::machine::{Host, environment};
use crate::base::table::{NAN, count, show_score};
use crate::base::torch::info;
use crate::cli::args::{ResumeArgs, RunArgs};
#[cfg(feature = "cluster")]
use crate::cli::cluster::Cluster;
use crate::cli::cluster_args::ClusterArgs;
use crate::cli::services::RunServices;
use crate::cli::{check, interrupt};
use crate::config::load;
use crate::config::plan::{Plan, PlanDraft};
use crate::config::settings::Numerics;
use crate::experiment::FederatedRun;
use crate::experiment::inputs::RunInputs;
use crate::experiment::local_baseline::LocalBaselineTraining;
use crate::experiment::prepared::Experiment;
use crate::experiment::workload::Federation;
use crate::live::log::LogFile;
use crate::live::log::events::EventLog;
use crate::live::metrics::exporter::Exporter;
use crate::live::metrics::observer::{MetricsObserver, RunLabels};
use crate::live::metrics::sampler::Sampler;
use crate::live::page::observer::WebObserver;
use crate::live::page::server::WebServer;
use crate::live::ports::bounds::Bounds;
use crate::live::tensorboard::TensorBoard;
use crate::live::terminal::observer::TerminalObserver;
use crate::live::terminal::output::{print_line, show_bars};
use crate::runs::folder::RunFolder;
use crate::runs::folder::artifact::Artifact;
use crate::runs::folder::hosts::HostRecorder;
use crate::runs::folder::recorder::Recorder;

/// Runs a scenario.
///
/// # Errors
/// [`Problems`](crate::config::problems::Problems) with the input, before anything is trained; or
/// what ended the run.
pub fn run(args: &RunArgs, log: Option<LogFile>) -> anyhow::Result<()> {
    Bounds::check()?;
    let RunArgs { scenario, cluster } = args;
    let plan = load(
        scenario.scenario.as_deref(),
        &scenario.settings,
        &Host::detect(),
    )?;
    set_numerics(&plan)?;
    announce(&plan);
    plan.data.notices.iter().for_each(print_line);
    let cluster = find_for(&plan, cluster)?;
    // Of this machine, which only coordinates where others train.
    if cluster.is_none() {
        require_gpus(&plan)?;
        plan.devices.notices.iter().for_each(print_line);
    }
    let (experiment, services) = set_up(plan, cluster.is_some(), log)?;
    let folder = RunFolder::create(&experiment.plan)?;
    print_line(format_args!("results go to {}", folder.path().display()));
    execute(experiment, &folder, services, cluster, Run::start)
}

/// Resumes a run.
///
/// # Errors
/// As [`run`].
pub fn resume(args: &ResumeArgs, log: Option<LogFile>) -> anyhow::Result<()> {
    Bounds::check()?;
    let folder = RunFolder::open(&args.run.folder)?.locked()?;
    let scenario = folder.path_of(Artifact::Scenario);
    let plan = load(Some(&scenario), &args.changed.0, &Host::detect())?;
    set_numerics(&plan)?;
    announce(&plan);
    let cluster = find_for(&plan, &args.cluster)?;
    if cluster.is_none() {
        require_gpus(&plan)?;
    }
    let (experiment, services) = set_up(plan, cluster.is_some(), log)?;
    execute(experiment, &folder, services, cluster, Run::resume)
}

/// That a run which asks for GPUs has them.
fn require_gpus(plan: &Plan) -> anyhow::Result<()> {
    match &plan.devices.refusal {
        Some(refusal) => bail!("{refusal}"),
        None => Ok(()),
    }
}

/// Has libraries compute as the plan says. May restart the program.
pub(crate) fn set_numerics(plan: &Plan) -> anyhow::Result<()> {
    match plan.devices.numerics {
        Numerics::Native => Ok(()),
        Numerics::Portable => environment::set_portable().context("cannot set --numerics"),
    }
}

fn announce(plan: &Plan) {
    show_bars(!plan.telemetry.quiet);
    print_line(check::describe(plan));
}

fn set_up(
    plan: PlanDraft,
    on_hosts: bool,
    log: Option<LogFile>,
) -> anyhow::Result<(Experiment, RunServices)> {
    let inputs = RunInputs::load(&plan)?;
    let experiment = Experiment::prepare(plan, inputs)?;
    let services = RunServices::set_up(&experiment.plan, on_hosts, log)?;
    Ok((experiment, services))
}

/// How a run begins: [`Run::start`] or [`Run::resume`].
type Begin = fn(Run<Federation>) -> Result<RunOutcome, RunError>;

fn execute(
    experiment: Experiment,
    folder: &RunFolder,
    services: RunServices,
    cluster: Option<Cluster>,
    begin: Begin,
) -> anyhow::Result<()> {
    let plan = experiment.plan.clone();
    let exporter = services.exporter.as_ref();
    let recorder = Recorder::open(folder.clone(), &plan, services.handle.clone())?;
    let failure = recorder.failure();
    let hosts = services.handle.hosts().clone();
    let leave =
        interrupt::watch(services.handle, services.log).context("cannot listen for signals")?;
    // Rounds that cannot be read are rewritten when the run begins.
    let earlier = folder.read_rounds().unwrap_or_default();
    let task = &plan.data.task;
    let metrics = MetricsObserver::new(labels(&plan, cluster.is_some()), task.metric_set())
        .recalling(earlier);
    let sampler = exporter.map(|_| sample(&plan, &metrics, hosts));
    let mut observers: Vec<Box<dyn Observer>> = vec![
        Box::new(recorder),
        Box::new(HostRecorder::open(folder.clone())),
        Box::new(metrics),
        Box::new(EventLog::default()),
        Box::new(TerminalObserver::new(task.metric_set())),
    ];
    if plan.telemetry.tensorboard {
        let place = folder.path_of(Artifact::TensorBoard);
        let most = plan.telemetry.client_series;
        observers.push(Box::new(TensorBoard::new(place, most)));
    }
    // Dropped last, so that open pages learn how the run ended.
    let (page, feed) = services.page.unzip();
    if let Some(feed) = feed {
        let observer = WebObserver::new(feed, folder.clone(), task.clone());
        observers.push(Box::new(observer));
    }
    let run = FederatedRun::new(experiment, folder).map_err(|error| anyhow!(error))?;
    let federation = Arc::clone(&run.workload);
    let run = on_lanes(run, folder, cluster)?
        .observed_by(observers)
        .controlled_by(services.control);
    let outcome = begin(run);
    drop(sampler);
    keep_metrics(folder, exporter);
    if let Some(reason) = failure.get() {
        let place = folder.path().display();
        bail!("{reason}; earlier rounds are in {place}");
    }
    let outcome = outcome?;
    conclude(&outcome, folder)?;
    if plan.local_baseline && outcome.ending == EndReason::Complete {
        train_alone(&federation, &leave)?;
    }
    linger(&plan, exporter, page.as_ref(), &leave);
    Ok(())
}

/// The run on this machine's lanes, or on those of a cluster.
#[cfg(feature = "cluster")]
fn on_lanes(
    run: FederatedRun,
    folder: &RunFolder,
    cluster: Option<Cluster>,
) -> anyhow::Result<Run<Federation>> {
    match cluster {
        Some(cluster) => super::cluster::on_hosts(run, folder, cluster),
        None => Ok(run.local()),
    }
}

/// The cluster that a run is to train on, if the arguments name one.
fn find_for(plan: &Plan, args: &ClusterArgs) -> anyhow::Result<Option<Cluster>> {
    if !args.name_one() {
        return find(args);
    }
    let mut problems = plan.problems();
    if plan.local_baseline {
        let wrong = "clients train alone on this machine's lanes, not on those of a cluster";
        let right = "omit it here, and give it to `regatta resume` without --cluster once all \
                     rounds are done";
        problems.report("local_baseline", wrong, right);
    }
    problems.into_result(())?;
    find(args)
}

/// The cluster of the arguments, if they name one.
///
/// # Errors
/// See [`Cluster::find`].
#[cfg(feature = "cluster")]
pub(crate) fn find(args: &ClusterArgs) -> anyhow::Result<Option<Cluster>> {
    Cluster::find(args)
}

/// A program without clusters finds none.
#[cfg(not(feature = "cluster"))]
pub(crate) fn find(_: &ClusterArgs) -> anyhow::Result<Option<Cluster>> {
    Ok(None)
}

/// The run on this machine's lanes.
#[cfg(not(feature = "cluster"))]
fn on_lanes(
    run: FederatedRun,
    _: &RunFolder,
    _: Option<Cluster>,
) -> anyhow::Result<Run<Federation>> {
    Ok(run.local())
}

/// Samples what no event tells; without it, these metrics are missing.
fn sample(plan: &Plan, metrics: &MetricsObserver, hosts: Arc<HostBoard>) -> Option<Sampler> {
    let lanes = plan.devices.lanes.iter().map(|lane| lane.device);
    let devices: Vec<_> = lanes.chain([plan.devices.server]).collect();
    Sampler::start(metrics.lanes(), hosts, &devices)
        .inspect_err(|error| tracing::warn!("memory and lanes are not sampled: {error}"))
        .ok()
}

/// Writes the last exposition into the run folder.
fn keep_metrics(folder: &RunFolder, exporter: Option<&Exporter>) {
    let path = folder.path_of(Artifact::Metrics);
    if let Some(exporter) = exporter
        && let Err(error) = folder
            .check()
            .and_then(|()| Ok(write_atomically(&path, exporter.render().as_bytes())?))
    {
        tracing::warn!("the last metrics are not kept: {error}");
    }
}

fn labels(plan: &Plan, on_other_hosts: bool) -> RunLabels {
    // Lanes of other hosts are not known yet.
    let own = if on_other_hosts { 0 } else { usize::MAX };
    let lanes = plan.devices.lanes.iter().take(own);
    RunLabels {
        version: env!("CARGO_PKG_VERSION"),
        libtorch: info::version().unwrap_or_else(|| "unknown".to_owned()),
        task: plan.data.task.name().to_owned(),
        adapter: plan.adapter.kind.title(),
        method: plan.aggregation.method.name(),
        lanes: lanes.map(|lane| lane.device.to_string()).collect(),
        client_series: plan.telemetry.client_series,
    }
}

fn conclude(outcome: &RunOutcome, folder: &RunFolder) -> anyhow::Result<()> {
    let rounds = count(outcome.rounds, "round");
    let place = folder.path().display();
    match outcome.ending {
        EndReason::Complete => print_line(format_args!("done: {rounds}, results in {place}")),
        EndReason::StoppedAfterRound => {
            print_line(format_args!(
                "stopped after {rounds}, results so far in {place}; `regatta resume` continues"
            ));
        }
        EndReason::StoppedAtOnce => {
            print_line(format_args!(
                "stopped before the end of a round; {rounds} before it, results so far in {place}; \
                 `regatta resume` continues"
            ));
        }
    }
    if outcome.rounds_refused > 0 {
        let refused = outcome.rounds_refused;
        print_line(format_args!(
            "in {refused} of {rounds} every update was refused"
        ));
    }
    Ok(())
}

/// Trains each client alone, until all are done or somebody wants the end.
fn train_alone(federation: &Federation, leave: &Receiver<()>) -> anyhow::Result<()> {
    let (plan, folder) = (&federation.experiment.plan, &federation.folder);
    let (metrics, primary) = (plan.data.task.metric_set(), plan.data.task.primary_metric());
    print_line("what each client reaches alone, without the others:");
    let is_over = || leave.try_recv().is_ok();
    let trained = LocalBaselineTraining::new(federation).run(is_over, |one, done, all| {
        let score = one.scores.get(primary.name).copied();
        let score = score.map_or_else(|| NAN.to_owned(), show_score);
        let (name, title) = (&one.name, metrics.title(primary.name));
        print_line(format_args!(
            "{name} alone: {title} {score} ({done} of {all})"
        ));
    });
    let Some(alone) = trained.map_err(|error| anyhow!(error))? else {
        print_line("stopped before all clients had trained alone; `regatta resume` continues");
        return Ok(());
    };
    let rounds = folder.read_rounds()?;
    let last = rounds.iter().rev().find_map(|record| record.eval.as_ref());
    let federated = last.and_then(|scores| scores.get(primary.name)).copied();
    if let Some(words) = alone.in_words(primary.name, &metrics, federated) {
        print_line(words);
    }
    Ok(())
}

/// Keeps the process, and with it metrics and page, for as long as the plan says.
fn linger(
    plan: &Plan,
    exporter: Option<&Exporter>,
    page: Option<&WebServer>,
    leave: &Receiver<()>,
) {
    let metrics = exporter.map(|e| format!("metrics stay at http://{}/metrics", e.address()));
    let page = page.map(|page| format!("the page stays at http://{}/", page.address()));
    let staying: Vec<String> = [metrics, page].into_iter().flatten().collect();
    if !staying.is_empty() && !plan.telemetry.linger.is_zero() {
        let seconds = plan.telemetry.linger.as_secs_f64();
        let staying = staying.join(", ");
        print_line(format_args!("{staying} for {seconds} s; Ctrl-C ends it"));
        // Whichever comes first: the time is over, or somebody wants the end.
        let _ = leave.recv_timeout(plan.telemetry.linger);
    }
}
