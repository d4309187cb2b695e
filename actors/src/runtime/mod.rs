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
use crate::lanes::Lanes;
use crate::observe::Observer;
use crate::observe::control::{Control, control};
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

/// A run before it begins: what is run, where, who watches it, and where its record lies.
///
/// [`Run::start`], [`Run::resume`] and [`Run::replay`] block until every thread that they started
/// has ended; they may be called anywhere, also inside another runtime's thread. Observers see
/// every event before they return.
pub struct Run<L: ServerWorkload> {
    plan: FederationPlan,
    workload: Arc<L>,
    observers: Vec<Box<dyn Observer>>,
    control: Option<Control>,
    files: RunFiles,
    lanes: Lanes<L>,
}

impl<L: ServerWorkload> Run<L> {
    /// A run that nobody watches or steers, without a record, on lanes of this process.
    #[must_use]
    pub fn new(plan: FederationPlan, workload: Arc<L>) -> Self {
        Self {
            plan,
            workload,
            observers: Vec::new(),
            control: None,
            files: RunFiles::default(),
            lanes: Lanes::local(),
        }
    }

    /// Adds observers.
    #[must_use]
    pub fn observed_by(mut self, observers: Vec<Box<dyn Observer>>) -> Self {
        self.observers.extend(observers);
        self
    }

    /// Sets the line by which the run is steered.
    #[must_use]
    pub fn controlled_by(mut self, control: Control) -> Self {
        self.control = Some(control);
        self
    }

    /// Sets the location of a record from which the run can be resumed and checked.
    #[must_use]
    pub fn recorded_in(mut self, files: &RunFiles) -> Self {
        self.files = files.clone();
        self
    }

    /// Sets the lanes that train.
    #[must_use]
    pub fn on(mut self, lanes: Lanes<L>) -> Self {
        self.lanes = lanes;
        self
    }

    /// Runs from the beginning to the end.
    ///
    /// # Errors
    /// See [`RunError`]. A ledger that is there already is one.
    pub fn start(self) -> Result<RunOutcome, RunError> {
        self.plan.check()?;
        let files = &self.files;
        let ledger = files.ledger.as_deref().map(LedgerWriter::create);
        let journal = Journal {
            sink: boxed(ledger.transpose()?),
            store: store(files, &self.plan),
            log: log(files, &[])?,
            ..Journal::default()
        };
        self.on_its_thread(journal)
    }

    /// Resumes a run that was recorded and then killed or stopped, from its last checkpoint, or
    /// from its beginning if it has none. What the ledger has after that is cut off, but for
    /// control commands, which take effect again; so the finished ledger is that of a run that was
    /// never disturbed. Observers see
    /// [`Event::RunResumed`](crate::protocol::event::Event::RunResumed) first.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn resume(self) -> Result<RunOutcome, RunError> {
        self.plan.check()?;
        let files = &self.files;
        let store = store(files, &self.plan);
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
        self.on_its_thread(journal)
    }

    /// Runs the plan again and compares it with the ledger of a run of it, until they differ or the
    /// ledger ends. Says how many entries are the same.
    ///
    /// The workload must be the same, but should write its results elsewhere. Checkpoints go into
    /// the folder of [`Run::recorded_in`], which should be empty; without one, a server that
    /// crashes as scripted does all its rounds again. No ledger is written.
    ///
    /// # Errors
    /// [`RecordError::Diverged`] in [`RunError::Record`], with both versions of the first entry
    /// that differs; or else see [`RunError`].
    pub fn replay(self, ledger: &Path) -> Result<u64, RunError> {
        self.plan.check()?;
        if self.plan.clock != ClockMode::Virtual {
            return Err(RunError::DoesNotReplay);
        }
        let check = LedgerCheck::open(ledger)?;
        let agreed = check.agreed();
        let journal = Journal {
            sink: Some(Box::new(check)),
            store: store(&self.files, &self.plan),
            interventions: ledger::interventions(ledger)?,
            ..Journal::default()
        };
        let result = self.on_its_thread(journal);
        let agreed = agreed.load(Ordering::Acquire);
        match result {
            Err(RunError::Record(error @ RecordError::Diverged { .. })) => Err(error.into()),
            Ok(_) | Err(RunError::Record(RecordError::LedgerEnds(_))) => Ok(agreed),
            // An error that the ledger ends with is what is to be expected.
            Err(_) if agreed == ledger::entries(ledger)? => Ok(agreed),
            Err(error) => Err(error),
        }
    }

    fn on_its_thread(self, journal: Journal) -> Result<RunOutcome, RunError> {
        let setup = RunSetup {
            plan: Arc::new(self.plan),
            workload: self.workload,
            observers: self.observers,
            control: self.control.unwrap_or_else(|| control().1),
            journal,
            lanes: self.lanes,
        };
        thread::Builder::new()
            .name("regatta-run".into())
            .spawn(move || assembly::run(setup))?
            .join()
            .unwrap_or_else(|panic| Err(RunError::Broken(panics::message(panic.as_ref()))))
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
