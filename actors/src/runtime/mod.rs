//! Runs a federation from its first round to its last.

mod assembly;
mod client;
mod messages;
mod outputs;
mod scheduler;
mod server;
mod update_buffer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use crate::journal::checkpoint::CheckpointStore;
use crate::journal::interventions::{self, InterventionLog};
use crate::journal::ledger::writer::LedgerWriter;
use crate::journal::ledger::{self, LedgerCheck, Sink};
use crate::journal::place::Place;
use crate::observe::Observer;
use crate::observe::control::Control;
use crate::panics;
use crate::plan::{ClockMode, FederationPlan};
use crate::protocol::control::Intervention;
use crate::protocol::outcome::{RecordError, RunError, RunOutcome};
use crate::runtime::assembly::{Journal, RunSetup};
use crate::workload::ServerWorkload;

/// The location of a run's record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFiles {
    /// The ledger, `events.jsonl`; `None`: there is none.
    pub ledger: Option<PathBuf>,
    /// The folder of checkpoints; `None`: the run's state is not saved.
    pub checkpoints: Option<PathBuf>,
}

/// Runs `plan` to its end, without a record, and returns when every thread that it started has
/// ended.
///
/// Blocks; may be called anywhere, also inside another runtime's thread. Observers see every event
/// before this returns.
///
/// # Errors
/// See [`RunError`].
pub fn run<L: ServerWorkload>(
    plan: FederationPlan,
    workload: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
) -> Result<RunOutcome, RunError> {
    run_recorded(plan, workload, observers, control, &RunFiles::default())
}

/// As [`run`], with a record from which the run can be resumed and checked.
///
/// # Errors
/// See [`RunError`]. A ledger that is there already is one.
pub fn run_recorded<L: ServerWorkload>(
    plan: FederationPlan,
    workload: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
    files: &RunFiles,
) -> Result<RunOutcome, RunError> {
    plan.check()?;
    let ledger = files.ledger.as_deref().map(LedgerWriter::create);
    let journal = Journal {
        sink: boxed(ledger.transpose()?),
        store: store(files, &plan),
        log: log(files, &[])?,
        ..Journal::default()
    };
    on_its_thread(plan, workload, observers, control, journal)
}

/// Resumes a run that was recorded and then killed or stopped, from its last checkpoint, or
/// from its beginning if it has none. What the ledger has after that is cut off, but for control
/// commands, which take effect again; so the finished ledger is that of a run that was never
/// disturbed. Observers see [`Event::RunResumed`](crate::protocol::event::Event::RunResumed) first.
///
/// # Errors
/// See [`RunError`].
pub fn resume<L: ServerWorkload>(
    plan: FederationPlan,
    workload: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
    files: &RunFiles,
) -> Result<RunOutcome, RunError> {
    plan.check()?;
    let store = store(files, &plan);
    let checkpoint = store.as_ref().map(CheckpointStore::latest).transpose()?;
    let checkpoint = checkpoint.flatten();
    let path = files.ledger.as_deref();
    let ledger = path.map(|path| LedgerWriter::resume(path, checkpoint.as_ref()));
    let ledger = ledger.transpose()?;
    let interventions = interventions::known(place(files).as_deref(), path)?;
    // Written down before the ledger loses them.
    let log = log(files, &interventions)?;
    let journal = Journal {
        sink: boxed(ledger.map(LedgerWriter::cut).transpose()?),
        store,
        beginning: checkpoint.map(Box::new),
        log,
        interventions,
    };
    on_its_thread(plan, workload, observers, control, journal)
}

/// Runs `plan` again and compares it with the ledger of a run of it, until they differ or the
/// ledger ends. Says how many entries are the same.
///
/// The workload must be the same, but should write its results elsewhere. Checkpoints go into a
/// separate folder, which should be empty; without one, a server that crashes as scripted does
/// all its rounds again.
///
/// # Errors
/// [`RecordError::Diverged`] in [`RunError::Record`], with both versions of the first entry that
/// differs; or else see [`RunError`].
pub fn replay_check<L: ServerWorkload>(
    plan: FederationPlan,
    workload: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
    ledger: &Path,
    checkpoints: Option<&Path>,
) -> Result<u64, RunError> {
    plan.check()?;
    if plan.clock != ClockMode::Virtual {
        return Err(RunError::DoesNotReplay);
    }
    let check = LedgerCheck::open(ledger)?;
    let agreed = check.agreed();
    let journal = Journal {
        sink: Some(Box::new(check)),
        store: checkpoints.map(|folder| CheckpointStore::new(folder, &plan)),
        interventions: ledger::interventions(ledger)?,
        ..Journal::default()
    };
    let result = on_its_thread(plan, workload, observers, control, journal);
    let agreed = agreed.load(Ordering::Acquire);
    match result {
        Err(RunError::Record(error @ RecordError::Diverged { .. })) => Err(error.into()),
        Ok(_) | Err(RunError::Record(RecordError::LedgerEnds(_))) => Ok(agreed),
        // An error that the ledger ends with is what is to be expected.
        Err(_) if agreed == ledger::entries(ledger)? => Ok(agreed),
        Err(error) => Err(error),
    }
}

fn boxed<S: Sink + Send + 'static>(sink: Option<S>) -> Option<Box<dyn Sink + Send>> {
    sink.map(|sink| Box::new(sink) as Box<dyn Sink + Send>)
}

/// The log of control commands: next to the checkpoints, or else to the ledger.
fn place(files: &RunFiles) -> Option<Arc<Place>> {
    let ledger = || Some(files.ledger.as_ref()?.parent()?.to_owned());
    let folder = files.checkpoints.clone().or_else(ledger)?;
    Some(Arc::new(Place::new(folder)))
}

fn log(files: &RunFiles, known: &[Intervention]) -> Result<Option<InterventionLog>, RecordError> {
    let place = place(files);
    place
        .map(|place| InterventionLog::open(place, known))
        .transpose()
}

fn store(files: &RunFiles, plan: &FederationPlan) -> Option<CheckpointStore> {
    let folder = files.checkpoints.as_ref()?;
    Some(CheckpointStore::new(folder, plan))
}

fn on_its_thread<L: ServerWorkload>(
    plan: FederationPlan,
    workload: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
    journal: Journal,
) -> Result<RunOutcome, RunError> {
    let start = RunSetup {
        plan: Arc::new(plan),
        workload,
        observers,
        control,
        journal,
    };
    thread::Builder::new()
        .name("regatta-run".into())
        .spawn(move || assembly::run(start))?
        .join()
        .unwrap_or_else(|panic| Err(RunError::Broken(panics::message(panic.as_ref()))))
}
