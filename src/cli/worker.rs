//! `regatta worker`: a host that trains for runs on other machines.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use regatta_actors::lanes::broker::BrokerError;
use regatta_actors::lanes::timing::Timing;
use regatta_actors::lanes::worker::{WorkerEnd, WorkerError, WorkerSettings, serve};
use regatta_cluster::{ClusterFile, NatsBroker};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;
use tokio::time;

use crate::base::machine::Host;
use crate::base::table::count;
use crate::cli::cluster::{as_broker_error, connect};
use crate::cli::cluster_args::{LaneCount, WorkerArgs};
use crate::config::settings::Settings;
use crate::experiment::remote;
use crate::live::terminal::output::print_line;

/// How long to wait for a coordinator's answer, each time.
const ANSWER: Duration = Duration::from_secs(2);
/// Time without progress after which a lane is given up.
const WATCHDOG: Duration = Duration::from_secs(600);

/// Time without its coordinator after which a worker that stays looks for a run again: for another,
/// or for the same once it is resumed.
const LOST: Duration = Duration::from_secs(30);

/// Trains for the run that the broker leads to until it is over, or for one run after the other.
///
/// # Errors
/// If the host is refused, its files do not serve, or no coordinator is heard.
pub fn worker(args: &WorkerArgs) -> anyhow::Result<()> {
    let machine = Host::detect();
    let name = args.name.clone().unwrap_or_else(|| machine.name.clone());
    let stays = args.stay == Some(true);
    let mut timing = Timing::default();
    let patience = args.patience.unwrap_or(timing.without_coordinator);
    timing.without_coordinator = if stays { patience.min(LOST) } else { patience };
    let host = WorkerHost {
        file: ClusterFile::load(&args.cluster)?,
        stop: stop_on_signal().context("cannot listen for signals")?,
        settings: WorkerSettings {
            name,
            build: remote::build().context("cannot read this program's file")?,
            description: remote::describe(&machine),
            watchdog: Some(WATCHDOG),
            timing,
        },
        patience,
        own: own_settings(args),
        folder: Folder::new(args.cache.clone())?,
    };
    let mut runs = 0;
    loop {
        match host.train() {
            Ok(WorkerEnd::RunOver) if stays => {
                runs += 1;
                print_line("the run is over; waiting for the next");
            }
            Ok(end) => {
                print_line(farewell(end));
                return Ok(());
            }
            Err(WorkerError::NoCoordinator(_)) if stays => {
                print_line("the run's coordinator is gone; waiting for it or for another run");
            }
            Err(error) if runs > 0 && found_none(&error) => {
                let runs = count(runs, "run");
                print_line(format_args!("no further run came after {runs}"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn farewell(end: WorkerEnd) -> &'static str {
    match end {
        WorkerEnd::RunOver => "the run is over",
        WorkerEnd::Drained => "drained: the jobs that were being done are done",
        WorkerEnd::Stopped => "left; what was being done is done elsewhere",
    }
}

/// A host that trains, for whichever run there is.
struct WorkerHost {
    file: ClusterFile,
    stop: watch::Receiver<bool>,
    settings: WorkerSettings,
    /// How long it waits for a run.
    patience: Duration,
    /// What it decides for itself.
    own: Settings,
    folder: Folder,
}

impl WorkerHost {
    /// Trains for a run until it is over. Where the run that was found has ended meanwhile, another
    /// is looked for.
    fn train(&self) -> Result<WorkerEnd, WorkerError> {
        let began = Instant::now();
        loop {
            match self.serve() {
                Err(WorkerError::NotInvited) if began.elapsed() < self.patience => {
                    print_line("the run that was found is over, or its coordinator was lost");
                }
                end => return end,
            }
        }
    }

    fn serve(&self) -> Result<WorkerEnd, WorkerError> {
        let (own, folder) = (self.own.clone(), self.folder.path());
        let prepare = move |invitation: &_| {
            print_line("invited: reading the run's files");
            // It is told as an error once more.
            remote::prepare(invitation, &own, &folder)
                .map_err(|error| format!("{error:#}").trim_start_matches("error: ").into())
        };
        let (file, name, patience) = (&self.file, &self.settings.name, self.patience);
        let connect = || async move {
            let run = find_run(file, name, patience).await?;
            connect(file, &run, name).await.map_err(as_broker_error)
        };
        serve(connect, self.settings.clone(), prepare, self.stop.clone())
    }
}

/// Whether no run was found. Later there may be one.
fn found_none(error: &WorkerError) -> bool {
    matches!(
        error,
        WorkerError::NotInvited
            | WorkerError::Broker(BrokerError::Away(_) | BrokerError::Missing(_))
    )
}

/// Whether this ended a worker that may succeed later.
pub(crate) fn may_pass(error: &anyhow::Error) -> bool {
    let worker = error.downcast_ref();
    worker.is_some_and(|error| found_none(error) || matches!(error, WorkerError::NoCoordinator(_)))
}

/// What this host decides for itself.
fn own_settings(args: &WorkerArgs) -> Settings {
    Settings {
        lanes: args.lanes.and_then(|lanes| match lanes {
            LaneCount::Auto => None,
            LaneCount::Number(number) => Some(number),
        }),
        data: args.data.clone(),
        model: args.model.clone(),
        cpu: args.cpu,
        ..Settings::default()
    }
}

/// The run of a coordinator that looks for hosts.
async fn find_run(
    file: &ClusterFile,
    name: &str,
    patience: Duration,
) -> Result<String, BrokerError> {
    let began = time::Instant::now();
    let mut told = false;
    loop {
        let found = NatsBroker::find_run(file, name, ANSWER).await;
        let error = match found.map_err(as_broker_error) {
            Ok(Some(run)) => return Ok(run),
            Ok(None) => BrokerError::Missing("run that looks for workers".into()),
            Err(error) => error,
        };
        let may_pass = !matches!(error, BrokerError::Refused(_));
        if !may_pass || began.elapsed() >= patience {
            return Err(error);
        }
        if !std::mem::replace(&mut told, true) {
            print_line(format_args!("waiting for a run: {error}"));
        }
        time::sleep(ANSWER / 2).await;
    }
}

/// Says when SIGINT or SIGTERM has come.
fn stop_on_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for _ in signals.forever() {
                stop.send_replace(true);
            }
        })?;
    Ok(stopped)
}

/// The folder for the run's scenario: given, or temporary.
enum Folder {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    fn new(given: Option<PathBuf>) -> anyhow::Result<Self> {
        match given {
            Some(path) => {
                crate::base::files::make_folder(&path)?;
                Ok(Self::Given(path))
            }
            None => Ok(Self::Temporary(
                tempfile::tempdir().context("cannot make a temporary folder")?,
            )),
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Given(path) => path.clone(),
            Self::Temporary(folder) => folder.path().to_owned(),
        }
    }
}
