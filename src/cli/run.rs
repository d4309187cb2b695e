//! `regatta run`: a federation from its scenario to its results.

use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use anyhow::{Context, bail};
use regatta_actors::observe::Observer;
use regatta_actors::observe::control::{Control, ControlHandle, control};
use regatta_actors::protocol::outcome::{EndReason, RunError, RunOutcome};

use crate::base::files::write_atomically;
use crate::base::machine::Host;
use crate::base::table::count;
use crate::base::time;
use crate::cli::args::{ResumeArgs, ScenarioArgs};
use crate::cli::doctor::libtorch;
use crate::cli::{check, interrupt};
use crate::config::load;
use crate::config::plan::Plan;
use crate::config::problems::Problems;
use crate::config::settings::SETTINGS;
use crate::experiment;
use crate::experiment::inputs::RunInputs;
use crate::experiment::prepared::Experiment;
use crate::live::control::Token;
use crate::live::control::server::{CommandHandler, ControlServer};
use crate::live::log::LogFile;
use crate::live::log::events::EventLog;
use crate::live::metrics::exporter::Exporter;
use crate::live::metrics::observer::{MetricsObserver, RunLabels};
use crate::live::metrics::sampler::Sampler;
use crate::live::page::feed::{Feed, WebObserver};
use crate::live::page::history::PageHeader;
use crate::live::page::server::WebServer;
use crate::live::ports::bounds::Bounds;
use crate::live::tensorboard::TensorBoard;
use crate::live::terminal::observer::TerminalObserver;
use crate::live::terminal::output::{print_line, show_bars};
use crate::runs::folder::RunFolder;
use crate::runs::folder::recorder::Recorder;
use crate::runs::folder::summary::RunInfo;

/// Runs a scenario.
///
/// # Errors
/// [`Problems`] with the input, before anything is trained; or what ended the run.
pub fn run(args: &ScenarioArgs, log: Option<LogFile>) -> anyhow::Result<()> {
    Bounds::check()?;
    let plan = load(args.scenario.as_deref(), &args.settings, &Host::detect())?;
    show_bars(!plan.telemetry.quiet);
    print_line(check::describe(&plan));
    if let Some(notice) = &plan.devices.notice {
        print_line(notice);
    }
    let inputs = RunInputs::load(&plan)?;
    let experiment = Experiment::prepare(plan, inputs)?;
    let services = RunServices::set_up(&experiment.plan, log)?;
    let folder = RunFolder::create(&experiment.plan)?;
    print_line(format_args!("results go to {}", folder.path().display()));
    carry_out(experiment, &folder, services, experiment::execute)
}

/// Resumes a run.
///
/// # Errors
/// As [`run`].
pub fn resume(args: &ResumeArgs, log: Option<LogFile>) -> anyhow::Result<()> {
    Bounds::check()?;
    let folder = RunFolder::open(&args.run)?.locked()?;
    let plan = load(Some(&folder.scenario()), &args.changed.0, &Host::detect())?;
    show_bars(!plan.telemetry.quiet);
    print_line(check::describe(&plan));
    let inputs = RunInputs::load(&plan)?;
    let experiment = Experiment::prepare(plan, inputs)?;
    let services = RunServices::set_up(&experiment.plan, log)?;
    carry_out(experiment, &folder, services, experiment::resume)
}

/// The services around a run.
struct RunServices {
    exporter: Option<Exporter>,
    page: Option<(WebServer, Feed)>,
    handle: ControlHandle,
    control: Control,
    log: Option<LogFile>,
}

impl RunServices {
    /// Listens where the plan says so; before there is a folder, since an address may be wrong.
    fn set_up(plan: &Plan, log: Option<LogFile>) -> Result<Self, Problems> {
        let serves = time::http_can_tell(SystemTime::now());
        if !serves && (plan.telemetry.metrics.is_some() || plan.telemetry.web.is_some()) {
            tracing::warn!(
                "no metrics and no live page: the system clock is before 1970 or after 9999, which \
                 HTTP cannot express"
            );
        }
        let exporter = if serves { serve_metrics(plan)? } else { None };
        let (handle, control) = control();
        serve_control(plan, &handle)?;
        let page = if serves {
            serve_page(plan, &handle)?
        } else {
            None
        };
        Ok(Self {
            exporter,
            page,
            handle,
            control,
            log,
        })
    }
}

/// How a run is started: [`experiment::execute`] or [`experiment::resume`].
type Begin =
    fn(Experiment, &RunFolder, Vec<Box<dyn Observer>>, Control) -> Result<RunOutcome, RunError>;

fn carry_out(
    experiment: Experiment,
    folder: &RunFolder,
    services: RunServices,
    begin: Begin,
) -> anyhow::Result<()> {
    let plan = experiment.plan.clone();
    let RunServices {
        exporter,
        page,
        handle,
        control,
        log,
    } = services;
    let exporter = exporter.as_ref();
    let recorder = Recorder::open(folder.clone(), &plan, handle.clone())?;
    let failure = recorder.failure();
    let leave = interrupt::watch(handle, log).context("cannot listen for signals")?;
    // Rounds that cannot be read are rewritten when the run begins.
    let earlier = folder.read_rounds().unwrap_or_default();
    let metrics = MetricsObserver::new(info(&plan)).recalling(earlier);
    let sampler = exporter.map(|_| sample(&plan, &metrics));
    let mut observers: Vec<Box<dyn Observer>> = vec![
        Box::new(recorder),
        Box::new(metrics),
        Box::new(EventLog::default()),
        Box::new(TerminalObserver::default()),
    ];
    if plan.telemetry.tensorboard {
        let most = plan.telemetry.client_series;
        observers.push(Box::new(TensorBoard::new(folder.tensorboard(), most)));
    }
    // Dropped last, so that open pages learn how the run ended.
    let page = page.map(|(server, feed)| {
        observers.push(Box::new(WebObserver::new(feed, folder.clone())));
        server
    });
    let outcome = begin(experiment, folder, observers, control);
    drop(sampler);
    keep_metrics(folder, exporter);
    if let Some(reason) = failure.get() {
        let place = folder.path().display();
        bail!("{reason}; earlier rounds are in {place}");
    }
    let outcome = outcome?;
    conclude(&outcome, folder)?;
    linger(&plan, exporter, page.as_ref(), &leave);
    Ok(())
}

/// Serves metrics where the plan says so. A port that is taken is an error if the user chose it,
/// otherwise worth a warning: another run may be active.
fn serve_metrics(plan: &Plan) -> Result<Option<Exporter>, Problems> {
    let Some(address) = plan.telemetry.metrics else {
        return Ok(None);
    };
    match Exporter::start(address, &plan.name) {
        Ok(exporter) => {
            print_line(format_args!(
                "metrics at http://{}/metrics",
                exporter.address()
            ));
            Ok(Some(exporter))
        }
        Err(error) if plan.settings.metrics != Some(SETTINGS.metrics.default_value()) => {
            let mut problems = plan.problems();
            let right = "name another address, port 0 for any that is free, or off";
            problems.report("metrics", error, right);
            Err(problems)
        }
        Err(error) => {
            tracing::warn!(
                "cannot serve metrics at {address}: {error}; name another address with --metrics"
            );
            Ok(None)
        }
    }
}

/// Listens for commands where the plan says so.
fn serve_control(plan: &Plan, handle: &ControlHandle) -> Result<(), Problems> {
    let Some(address) = plan.control else {
        return Ok(());
    };
    let token = Token::from_environment();
    match ControlServer::start(address, token, handle.clone()) {
        Ok(server) => {
            let address = server.address();
            print_line(format_args!(
                "control at {address}: regatta ctl --control {address} status"
            ));
            Ok(())
        }
        Err(error) => {
            let mut problems = plan.problems();
            let right = "name another address, port 0 for any that is free, or off";
            problems.report("control", error, right);
            Err(problems)
        }
    }
}

/// Serves the live page where the plan says so. If the default port is taken, another is tried; if
/// none is free, the run continues without the page.
fn serve_page(plan: &Plan, handle: &ControlHandle) -> Result<Option<(WebServer, Feed)>, Problems> {
    let Some(address) = plan.telemetry.web else {
        return Ok(None);
    };
    let feed = Feed::new(facts(plan));
    let handler = || {
        let token = Token::from_environment();
        plan.control
            .map(|_| CommandHandler::new(token, handle.clone()))
    };
    let chosen = plan.settings.web != Some(SETTINGS.web.default_value());
    let mut served = WebServer::start(address, feed.clone(), handler());
    if served.is_err() && !chosen {
        let any = SocketAddr::new(address.ip(), 0);
        served = WebServer::start(any, feed.clone(), handler());
    }
    match served {
        Ok(server) => {
            print_line(format_args!("watch at http://{}/", server.address()));
            Ok(Some((server, feed)))
        }
        Err(error) if chosen => {
            let mut problems = plan.problems();
            let right = "name another address, port 0 for any that is free, or off";
            problems.report("web", error, right);
            Err(problems)
        }
        Err(error) => {
            tracing::warn!(
                "cannot serve the live page at {address}: {error}; name another address with --web"
            );
            Ok(None)
        }
    }
}

fn facts(plan: &Plan) -> PageHeader {
    let lanes = plan.devices.lanes.iter();
    PageHeader {
        identity: RunInfo::of(plan),
        rounds: plan.rounds,
        lanes: lanes.map(|lane| lane.device.to_string()).collect(),
        ..PageHeader::default()
    }
}

/// Samples what no event tells; without it, these metrics are missing.
fn sample(plan: &Plan, metrics: &MetricsObserver) -> Option<Sampler> {
    let lanes = plan.devices.lanes.iter().map(|lane| lane.device);
    let devices: Vec<_> = lanes.chain([plan.devices.server]).collect();
    Sampler::start(metrics.lanes(), &devices)
        .inspect_err(|error| tracing::warn!("memory and lanes are not sampled: {error}"))
        .ok()
}

/// Writes the last exposition into the run folder.
fn keep_metrics(folder: &RunFolder, exporter: Option<&Exporter>) {
    let path = folder.metrics();
    if let Some(exporter) = exporter
        && let Err(error) = folder
            .check()
            .and_then(|()| write_atomically(&path, exporter.render().as_bytes()))
    {
        tracing::warn!("cannot write {}: {error}", path.display());
    }
}

fn info(plan: &Plan) -> RunLabels {
    let lanes = plan.devices.lanes.iter();
    RunLabels {
        version: env!("CARGO_PKG_VERSION"),
        libtorch: libtorch::version().unwrap_or_else(|| "unknown".to_owned()),
        task: plan.data.task.name(),
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
            bail!("stopped during a round; {rounds} before it are in {place}")
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
