//! The record of a run on disk, whole or as a kill leaves it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use regatta_actors::control;
use regatta_actors::observe::Observer;
use regatta_actors::plan::FederationPlan;
use regatta_actors::protocol::event::Event;
use regatta_actors::protocol::outcome::{RunError, RunOutcome};
use regatta_actors::runtime::{Run, RunFiles};

use crate::common::Toy;

/// A run's record in a separate folder.
pub struct Record {
    folder: tempfile::TempDir,
}

impl Record {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn files(&self) -> RunFiles {
        RunFiles {
            ledger: Some(self.path().join("events.jsonl")),
            checkpoints: Some(self.path().join("checkpoints")),
        }
    }

    pub fn ledger(&self) -> String {
        std::fs::read_to_string(self.path().join("events.jsonl")).unwrap()
    }

    /// What `kill -9` would leave at this moment: checkpoints first, since they never run ahead
    /// of the ledger.
    pub fn copy(&self) -> Self {
        Self::copy_of(self.path())
    }

    pub fn copy_of(folder: &Path) -> Self {
        let copy = Self::new();
        let checkpoints = copy.path().join("checkpoints");
        std::fs::create_dir(&checkpoints).unwrap();
        let entries = std::fs::read_dir(folder.join("checkpoints"));
        for entry in entries.into_iter().flatten().flatten() {
            // One that is pruned meanwhile is not needed.
            let _ = std::fs::copy(entry.path(), checkpoints.join(entry.file_name()));
        }
        let ledger = "events.jsonl";
        std::fs::copy(folder.join(ledger), copy.path().join(ledger)).unwrap();
        copy
    }

    pub fn record(&self, plan: FederationPlan, toy: Toy) -> Result<RunOutcome, RunError> {
        let (_handle, line) = control();
        Run::new(plan, Arc::new(toy))
            .controlled_by(line)
            .recorded_in(&self.files())
            .start()
    }

    pub fn resume(&self, plan: FederationPlan) -> Result<RunOutcome, RunError> {
        let (_handle, line) = control();
        let toy = Arc::new(Toy::default());
        Run::new(plan, toy)
            .controlled_by(line)
            .recorded_in(&self.files())
            .resume()
    }

    pub fn replay(&self, plan: FederationPlan) -> Result<u64, RunError> {
        let scratch = tempfile::tempdir().unwrap();
        self.replay_with(plan, Toy::default(), Some(scratch.path()))
    }

    /// The same with a workload and a folder for checkpoints.
    pub fn replay_with(
        &self,
        plan: FederationPlan,
        toy: Toy,
        checkpoints: Option<&Path>,
    ) -> Result<u64, RunError> {
        let (_handle, line) = control();
        let ledger = self.path().join("events.jsonl");
        let toy = Arc::new(toy);
        let files = RunFiles {
            ledger: None,
            checkpoints: checkpoints.map(Path::to_owned),
        };
        Run::new(plan, toy)
            .controlled_by(line)
            .recorded_in(&files)
            .replay(&ledger)
    }
}

/// Does something when it sees an event that was asked for, once.
struct When<F> {
    at: Option<usize>,
    act: F,
}

impl<F: FnMut() + Send> Observer for When<F> {
    fn on_event(&mut self, event: &Event) {
        if event.is_recorded()
            && let Some(left) = self.at
        {
            self.at = left.checked_sub(1);
            if left == 0 {
                (self.act)();
            }
        }
    }
}

/// What a kill at the `at`-th event leaves.
pub fn kill(plan: &FederationPlan, at: usize) -> Record {
    let folder = Arc::new(Record::new());
    let copy = Arc::new(Mutex::new(None));
    let (from, to) = (folder.clone(), copy.clone());
    let killer = When {
        at: Some(at),
        act: move || *to.lock().unwrap() = Some(from.copy()),
    };
    let (_handle, line) = control();
    let toy = Arc::new(Toy::default());
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(killer)];
    // How it would have ended does not matter.
    let _ = Run::new(plan.clone(), toy)
        .observed_by(observers)
        .controlled_by(line)
        .recorded_in(&folder.files())
        .start();
    let left = copy.lock().unwrap().take();
    left.expect("there were too few events")
}

/// What a kill at the `at`-th event leaves of a run that was resumed; `None`: it ended before.
pub fn kill_resumed(left: &Record, plan: &FederationPlan, at: usize) -> Option<Record> {
    let (files, copy) = (left.files(), Arc::new(Mutex::new(None)));
    let (from, to) = (left.path().to_owned(), copy.clone());
    let killer = When {
        at: Some(at),
        act: move || *to.lock().unwrap() = Some(Record::copy_of(&from)),
    };
    let (_handle, line) = control();
    let toy = Arc::new(Toy::default());
    // How it would have ended does not matter.
    let _ = Run::new(plan.clone(), toy)
        .observed_by(vec![Box::new(killer)])
        .controlled_by(line)
        .recorded_in(&files)
        .resume();
    copy.lock().unwrap().take()
}
