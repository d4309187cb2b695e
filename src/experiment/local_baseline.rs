//! What each client reaches alone, to be read beside what they reach together.
//!
//! A client trains for as many rounds as the federation did, on its own shard, with the same random
//! streams, from the state that the run began with. After each round the method aggregates its update
//! alone into the state that the next round starts from.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use regatta_actors::ids::ClientId;
use regatta_actors::workload::ClientTrainer;
use regatta_actors::workload::job::{JobContext, JobError, Progress, TrainTask, Trained};
use regatta_actors::workload::update::{BoxError, Contribution};

use crate::base::machine::device::LaneSpec;
use crate::base::torch;
use crate::experiment::client::LaneTrainer;
use crate::experiment::payload::{ClientUpdate, Snapshot};
use crate::experiment::server::state::Server;
use crate::experiment::workload::Federation;
use crate::runs::local_baselines::{LocalBaseline, LocalBaselines};

/// The longest time between questions whether to stop.
const ASKED: Duration = Duration::from_millis(200);

/// A job that ends when training is told to stop.
struct Interruptible<'a>(&'a AtomicBool);

impl JobContext for Interruptible<'_> {
    fn step(&mut self, _: Progress) -> ControlFlow<()> {
        match self.0.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Trains clients alone on a run's lanes.
pub struct LocalBaselineTraining<'a> {
    federation: &'a Federation,
    stop: AtomicBool,
}

impl<'a> LocalBaselineTraining<'a> {
    /// On the lanes of a run.
    #[must_use]
    pub fn new(federation: &'a Federation) -> Self {
        let stop = AtomicBool::new(false);
        Self { federation, stop }
    }

    /// Trains each client that has no record in the run's folder yet, and keeps what it reached there.
    /// `done` is told of each, with the number of clients done and of all. `is_over` is asked
    /// regularly whether to stop; `None`: it was stopped.
    ///
    /// # Errors
    /// If a client cannot be trained, or its record cannot be kept.
    pub fn run(
        &self,
        mut is_over: impl FnMut() -> bool,
        mut done: impl FnMut(&LocalBaseline, usize, usize),
    ) -> Result<Option<LocalBaselines>, BoxError> {
        let experiment = &self.federation.experiment;
        let clients = experiment.shards.len();
        let mut known = self.earlier()?;
        let missing: Vec<u32> = (0..clients as u32)
            .filter(|client| !known.0.contains_key(client))
            .collect();
        let next = AtomicUsize::new(0);
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| -> Result<(), BoxError> {
            let lanes = experiment.plan.devices.lanes.iter().take(missing.len());
            let start = |lane: &LaneSpec| {
                let (lane, sender, next, missing) = (*lane, sender.clone(), &next, &missing);
                scope.spawn(move || self.work(lane, missing, next, &sender))
            };
            let lanes: Vec<_> = lanes.map(start).collect();
            drop(sender);
            loop {
                // Also where clients are done faster than that.
                if is_over() {
                    self.stop.store(true, Ordering::Relaxed);
                }
                match receiver.recv_timeout(ASKED) {
                    Ok(one) => {
                        let one = self.stopping(one)?;
                        known.0.insert(one.client, one.clone());
                        self.stopping(known.write(&self.federation.folder))?;
                        done(&one, known.0.len(), clients);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            let failed = lanes.into_iter().any(|lane| lane.join().is_err());
            if failed {
                return Err("a lane that trained a client alone panicked".into());
            }
            Ok(())
        })?;
        Ok((known.0.len() == clients).then_some(known))
    }

    /// The result itself; if it is an error, the lanes are told to stop.
    fn stopping<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        result.inspect_err(|_| self.stop.store(true, Ordering::Relaxed))
    }

    /// The clients that an earlier process trained for as many rounds as the plan has.
    fn earlier(&self) -> io::Result<LocalBaselines> {
        let mut known = LocalBaselines::read(&self.federation.folder)?;
        let rounds = self.federation.experiment.plan.rounds;
        known.0.retain(|_, one| one.rounds == rounds);
        Ok(known)
    }

    /// Trains one client after the other on a lane.
    fn work(
        &self,
        lane: LaneSpec,
        clients: &[u32],
        next: &AtomicUsize,
        results: &Sender<Result<LocalBaseline, BoxError>>,
    ) {
        while let Some(client) = clients.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = match self.train(lane, ClientId(*client)) {
                Ok(Some(one)) => Ok(one),
                Ok(None) => return,
                Err(error) => {
                    let name = &self.federation.experiment.client_names[*client as usize];
                    Err(format!("{name} cannot be trained alone: {error}").into())
                }
            };
            if results.send(result).is_err() {
                return;
            }
        }
    }

    /// Trains a client; `None` if it was stopped.
    fn train(&self, lane: LaneSpec, client: ClientId) -> Result<Option<LocalBaseline>, BoxError> {
        let Federation {
            experiment,
            bases,
            folder,
        } = self.federation;
        let mut trainer = LaneTrainer::new(Arc::clone(experiment), Arc::clone(bases), lane)?;
        let mut server = Server::new(Arc::clone(experiment), Arc::clone(bases), folder.clone())?;
        let server_threads = tch::get_num_threads();
        let name = &experiment.client_names[client.0 as usize];
        for round in 1..=experiment.plan.rounds {
            let task = TrainTask {
                client,
                client_name: name.as_str().into(),
                round,
                attempt: 0,
                state: Arc::clone(server.snapshot()),
            };
            torch::threads::use_threads(lane.threads);
            let context = &mut Interruptible(&self.stop);
            let Some(trained) = train_round(&mut trainer, &task, context)? else {
                return Ok(None);
            };
            tch::set_num_threads(server_threads);
            let aggregated = server.aggregate_round(
                round,
                vec![Contribution {
                    client,
                    base_round: round,
                    weight: 1.0,
                    examples: trained.examples,
                    update: trained.update,
                }],
            )?;
            // As in the federation, the state then stays as it was.
            if let Some(refusal) = aggregated.refused.first() {
                let reason = &refusal.reason;
                tracing::warn!("{name} alone: its update of round {round} is refused: {reason}");
            }
            server.publish(round);
            server.forget_starts_before(round + 1);
        }
        let snapshot = Arc::clone(server.snapshot());
        Ok(Some(LocalBaseline {
            client: client.0,
            name: name.clone(),
            examples: experiment.shards[client.0 as usize].len() as u64,
            rounds: experiment.plan.rounds,
            scores: server.losses(&snapshot)?,
        }))
    }
}

/// A client's round; `None`: it was stopped. Where the device has too little memory, it is tried once
/// more with less at a time, as a lane of the run does.
fn train_round(
    trainer: &mut LaneTrainer,
    task: &TrainTask<Snapshot>,
    context: &mut Interruptible<'_>,
) -> Result<Option<Trained<ClientUpdate>>, BoxError> {
    let mut result = ClientTrainer::<Federation>::train(trainer, task, context);
    if let Err(JobError::OutOfMemory(_)) = result {
        trainer.free_memory();
        result = ClientTrainer::<Federation>::train(trainer, task, context);
    }
    match result {
        Ok(trained) => Ok(Some(trained)),
        Err(JobError::Cancelled) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
