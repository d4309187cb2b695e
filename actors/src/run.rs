//! Runs a federation from its first round to its last.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::checkpoint::CheckpointStore;
use crate::control::{Control, Intervention};
use crate::event::Observer;
use crate::federation::{Record, RunSetup};
use crate::interventions::{self, InterventionLog};
use crate::learner::{LaneId, Workload};
use crate::ledger::{self, LedgerCheck, LedgerWriter, RecordError, Sink};
use crate::message::ServerTask;
use crate::place::Place;
use crate::plan::{ClockMode, FederationPlan, PlanErrors};
use crate::record::RoundRecord;
use crate::{federation, guard};

/// How a run that met no error ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// All rounds are done.
    Complete,
    /// Told to stop, it finished its round, and all that it leaves behind is written.
    StoppedAfterRound,
    /// Told to stop at once: the round it was in is lost, and the folder was not finished.
    StoppedAtOnce,
}

/// What is left of a run. The rounds went to the observers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// How it ended.
    pub ending: EndReason,
    /// Rounds finished.
    pub rounds: u32,
    /// Rounds of these in which updates came and every one was refused.
    #[serde(default)]
    pub rounds_refused: u32,
    /// The last finished round.
    pub last: Option<RoundRecord>,
    /// Virtual time at the end, in seconds since the run's start.
    pub virtual_seconds: f64,
}

impl RunOutcome {
    /// Whether somebody stopped it before its last round.
    #[must_use]
    pub fn stopped_early(&self) -> bool {
        self.ending != EndReason::Complete
    }
}

/// What ended a run before its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The plan makes no sense; nothing was started.
    #[error(transparent)]
    Plan(#[from] PlanErrors),
    /// A lane could not be started, or started again after a failure.
    #[error("lane {} cannot start: {reason}", .lane.0)]
    Lane {
        /// Which.
        lane: LaneId,
        /// The learner's reason.
        reason: String,
    },
    /// Every client is retired, taken out, or gone for good.
    #[error("nobody is left to take part in round {round}{}", because(.last_failure))]
    NobodyLeft {
        /// The round that nobody could take part in.
        round: u32,
        /// What last happened to a client.
        last_failure: Option<String>,
    },
    /// Too few updates came, and the plan says to stop then.
    #[error("only {updates} of the {needed} updates that round {round} needs came")]
    TooFewUpdates {
        /// The round.
        round: u32,
        /// Updates that came.
        updates: u32,
        /// Updates that it needs.
        needed: u32,
    },
    /// All rounds are done, and no update was folded in any: the model is the one that the run
    /// began with.
    #[error("nothing was aggregated: {}", nothing(*.rounds, *.refused, .last_refusal))]
    NothingFolded {
        /// Rounds finished.
        rounds: u32,
        /// Rounds of these in which updates came and every one was refused.
        refused: u32,
        /// Whose update was last refused, and why.
        last_refusal: Option<String>,
    },
    /// The plan's clock is the wall's.
    #[error("a run by the wall's clock does not replay; only one by the virtual clock does")]
    DoesNotReplay,
    /// The run's record cannot be kept, or does not agree.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The server could not do its part.
    #[error("the server failed to {task}{}: {reason}", in_round(*.round))]
    Server {
        /// The round it was in; 0 before the first.
        round: u32,
        /// What it was doing.
        task: ServerTask,
        /// What happened.
        reason: String,
    },
    /// A thread could not be started, or a part of the machinery died.
    #[error("the run broke down: {0}")]
    Broken(String),
}

impl From<std::io::Error> for RunError {
    /// All that the machinery asks of the system is threads.
    fn from(error: std::io::Error) -> Self {
        Self::Broken(format!("no thread could be started: {error}"))
    }
}

fn because(failure: &Option<String>) -> String {
    failure
        .as_ref()
        .map_or_else(String::new, |failure| format!("; {failure}"))
}

fn nothing(rounds: u32, refused: u32, last_refusal: &Option<String>) -> String {
    let last = last_refusal
        .as_ref()
        .map_or_else(String::new, |last| format!(", lastly that of {last}"));
    match refused {
        0 => format!("in {rounds} rounds no update came"),
        refused => format!("in {refused} of {rounds} rounds every update was refused{last}"),
    }
}

fn in_round(round: u32) -> String {
    if round == 0 {
        String::new()
    } else {
        format!(" in round {round}")
    }
}

/// Where a run keeps its record.
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
pub fn run<L: Workload>(
    plan: FederationPlan,
    learner: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
) -> Result<RunOutcome, RunError> {
    run_recorded(plan, learner, observers, control, &RunFiles::default())
}

/// As [`run`], with a record from which the run can be resumed and checked.
///
/// # Errors
/// See [`RunError`]. A ledger that is there already is one.
pub fn run_recorded<L: Workload>(
    plan: FederationPlan,
    learner: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
    files: &RunFiles,
) -> Result<RunOutcome, RunError> {
    plan.check()?;
    let ledger = files.ledger.as_deref().map(LedgerWriter::create);
    let record = Record {
        sink: boxed(ledger.transpose()?),
        store: store(files, &plan),
        log: log(files, &[])?,
        ..Record::default()
    };
    on_its_thread(plan, learner, observers, control, record)
}

/// Goes on with a run that was recorded and then killed or stopped, from its last checkpoint, or
/// from its beginning if it has none. What the ledger has after that is cut off, but for commands
/// from outside, which take effect again; so the finished ledger is that of a run that was never
/// disturbed. Observers see [`Event::RunResumed`](crate::event::Event::RunResumed) first.
///
/// # Errors
/// See [`RunError`].
pub fn resume<L: Workload>(
    plan: FederationPlan,
    learner: Arc<L>,
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
    let record = Record {
        sink: boxed(ledger.map(LedgerWriter::cut).transpose()?),
        store,
        beginning: checkpoint.map(Box::new),
        log,
        interventions,
    };
    on_its_thread(plan, learner, observers, control, record)
}

/// Runs `plan` again and compares it with the ledger of a run of it, until they differ or the
/// ledger ends. Says how many entries are the same.
///
/// The learner must be the same, but should write its results elsewhere. Checkpoints go into a folder
/// of their own, which should be empty; without one, a server that crashes as scripted does all its
/// rounds again.
///
/// # Errors
/// [`RecordError::Diverged`] in [`RunError::Record`], with both versions of the first entry that
/// differs; or else see [`RunError`].
pub fn replay_check<L: Workload>(
    plan: FederationPlan,
    learner: Arc<L>,
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
    let record = Record {
        sink: Some(Box::new(check)),
        store: checkpoints.map(|folder| CheckpointStore::new(folder, &plan)),
        interventions: ledger::interventions(ledger)?,
        ..Record::default()
    };
    let result = on_its_thread(plan, learner, observers, control, record);
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

/// Where commands from outside are written down: beside the checkpoints, or else the ledger.
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

fn on_its_thread<L: Workload>(
    plan: FederationPlan,
    learner: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Control,
    record: Record,
) -> Result<RunOutcome, RunError> {
    let start = RunSetup {
        plan: Arc::new(plan),
        learner,
        observers,
        control,
        record,
    };
    thread::Builder::new()
        .name("regatta-run".into())
        .spawn(move || federation::run(start))?
        .join()
        .unwrap_or_else(|panic| Err(RunError::Broken(guard::message(panic.as_ref()))))
}
