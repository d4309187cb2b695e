//! A host that trains for a run on another machine: joins, takes jobs from the broker, replies.
//!
//! The host's lanes are threads as those of a local run. What talks to the broker runs on the
//! calling thread, apart from them, so that no training keeps a lease from being renewed.

mod host;
mod lane;
mod leases;
mod replies;
mod states;
mod threads;

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::{runtime, time};

use crate::lanes::broker::{Audience, Broker, BrokerError};
use crate::lanes::thread::LaneReport;
use crate::lanes::timing::Timing;
use crate::lanes::wire::{
    Answer, CoordinatorNote, HostNote, HostQuestion, Introduction, Invitation, WIRE_VERSION,
    decode, encode,
};
use crate::lanes::worker::host::JoinedHost;
use crate::lanes::worker::threads::HostLanes;
use crate::workload::Workload;
use crate::workload::update::BoxError;

/// A host before it knows for which run it trains.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Its name, for people.
    pub name: String,
    /// Its build; must be the coordinator's.
    pub build: String,
    /// What trains here, for people.
    pub description: String,
    /// Time without progress after which a lane is given up; `None`: never.
    pub watchdog: Option<Duration>,
    /// How long to wait for what.
    pub timing: Timing,
}

/// What a host made of an invitation.
pub struct PreparedWorkload<W> {
    /// The run's workload, from the host's own files.
    pub workload: Arc<W>,
    /// What decides the run's results, by name, as these files have it.
    pub fingerprint: BTreeMap<String, String>,
    /// Lanes to offer.
    pub lanes: u32,
}

/// The reason for which a host left without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerEnd {
    /// The run is over.
    RunOver,
    /// The coordinator told it to take no more jobs, and those that it had are done.
    Drained,
    /// It was told to leave at once, and gave back the jobs that it had.
    Stopped,
}

impl WorkerEnd {
    /// What the coordinator is told.
    fn reason(self) -> &'static str {
        match self {
            Self::RunOver => "the run is over",
            Self::Drained => "it was drained",
            Self::Stopped => "it was told to stop",
        }
    }
}

/// The error with which a host left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The broker does not let it in, or cannot be used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The coordinator does not let it in.
    #[error("the coordinator refuses this host: {0}")]
    Refused(String),
    /// Its own files or devices do not serve.
    #[error("{0}")]
    Unfit(String),
    /// The run that it found has no coordinator, or none any more. There may be another run.
    #[error("the run's coordinator does not answer")]
    NotInvited,
    /// No coordinator was heard for too long. Another try, later, may find one.
    #[error("no coordinator was heard for {} s", .0.as_secs())]
    NoCoordinator(Duration),
    /// A thread could not be started.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Trains for whichever run the broker leads to, until it is over or `stop` says so. Blocks.
///
/// # Errors
/// See [`WorkerError`].
pub fn serve<W, B, C, F, P>(
    connect: C,
    settings: WorkerSettings,
    prepare: P,
    stop: watch::Receiver<bool>,
) -> Result<WorkerEnd, WorkerError>
where
    W: Workload,
    B: Broker,
    C: FnOnce() -> F,
    F: Future<Output = Result<B, BrokerError>>,
    P: FnOnce(&Invitation) -> Result<PreparedWorkload<W>, BoxError> + Send + 'static,
{
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut threads = Vec::new();
    let work = async {
        let mut stop = stop;
        let broker = tokio::select! {
            broker = connect() => Rc::new(broker?),
            _ = stop.wait_for(|stop| *stop) => return Ok(WorkerEnd::Stopped),
        };
        let mut worker = Worker {
            broker,
            settings,
            stop,
        };
        let Some(invitation) = worker.await_invitation().await? else {
            return Ok(WorkerEnd::Stopped);
        };
        let prepared = tokio::task::spawn_blocking(move || prepare(&invitation));
        let prepared = prepared.await.map_err(|e| e.to_string());
        let prepared = prepared.and_then(|prepared| prepared.map_err(|e| e.to_string()));
        let prepared = prepared.map_err(WorkerError::Unfit)?;
        let watchdog = worker.settings.watchdog;
        let lanes = HostLanes::start(&prepared.workload, prepared.lanes, watchdog, &mut threads)?;
        worker.train(&prepared, lanes).await
    };
    let result = LocalSet::new().block_on(&runtime, work);
    drop(runtime);
    for thread in threads {
        if thread.join().is_err() {
            tracing::warn!("a lane's thread panicked while it ended");
        }
    }
    result
}

/// A host on its way into a run.
struct Worker<B: Broker> {
    broker: Rc<B>,
    settings: WorkerSettings,
    stop: watch::Receiver<bool>,
}

impl<B: Broker> Worker<B> {
    /// Waits for a coordinator that invites. `None`: it was told to stop.
    async fn await_invitation(&mut self) -> Result<Option<Invitation>, WorkerError> {
        let question = HostQuestion::Invite {
            wire: WIRE_VERSION,
            build: self.settings.build.clone(),
        };
        let patience = self.settings.timing.without_invitation;
        match self.ask(&question, patience).await {
            Ok(Some(Answer::Invited(invitation))) => Ok(Some(invitation)),
            Ok(Some(answer)) => Err(refusal(answer)),
            Ok(None) => Ok(None),
            Err(WorkerError::NoCoordinator(_)) => Err(WorkerError::NotInvited),
            Err(error) => Err(error),
        }
    }

    /// Asks until a coordinator answers. `None`: it was told to stop.
    async fn ask(
        &mut self,
        question: &HostQuestion,
        patience: Duration,
    ) -> Result<Option<Answer>, WorkerError> {
        let retry = self.settings.timing.retry;
        let (began, question) = (Instant::now(), encode(question));
        let mut told = false;
        while began.elapsed() < patience {
            let answered = tokio::select! {
                answered = self.broker.ask(question.clone()) => answered,
                _ = self.stop.wait_for(|stop| *stop) => return Ok(None),
            };
            match answered {
                Ok(Some(answer)) => match decode(&answer) {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(reason) => {
                        let wrong = format!("the coordinator's answer cannot be read: {reason}");
                        return Err(WorkerError::Refused(wrong));
                    }
                },
                Err(error @ BrokerError::Refused(_)) => return Err(error.into()),
                Ok(None) | Err(_) => {}
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!("waiting for a coordinator");
            }
            time::sleep(retry).await;
        }
        Err(WorkerError::NoCoordinator(patience))
    }

    /// Joins, and trains; joins again when the coordinator no longer knows this host.
    async fn train<W: Workload>(
        &mut self,
        prepared: &PreparedWorkload<W>,
        mut lanes: HostLanes<W>,
    ) -> Result<WorkerEnd, WorkerError> {
        let offers = lanes.offers(&prepared.workload).await;
        let introduction = Introduction {
            name: self.settings.name.clone(),
            // Whoever draws it: two workers draw different ones.
            worker: RandomState::new().build_hasher().finish() as u32,
            description: self.settings.description.clone(),
            fingerprint: prepared.fingerprint.clone(),
            lanes: offers.map_err(WorkerError::Unfit)?,
        };
        let introduced: Vec<_> = lanes.lanes.iter().map(|lane| lane.number).collect();
        let canaries = introduction.lanes.iter().map(|lane| lane.canary.clone());
        let canaries: Vec<_> = canaries.collect();
        let patience = self.settings.timing.without_coordinator;
        loop {
            let question = HostQuestion::Join(introduction.clone());
            let answer = self.ask(&question, patience).await?;
            let (host, numbers) = match answer {
                Some(Answer::Admitted { host, lanes }) => (host, lanes),
                Some(answer) => return Err(refusal(answer)),
                None => return Ok(WorkerEnd::Stopped),
            };
            let admitted = numbers.iter().flatten().count();
            tracing::info!("joined as {host} with {admitted} lanes");
            let host = Rc::new(JoinedHost::new(
                self.broker.clone(),
                host,
                self.settings.timing,
                introduced.iter().copied().zip(numbers).collect(),
                introduced.iter().copied().zip(canaries.clone()).collect(),
            ));
            if let Some(end) = self.serve_as(&host, &mut lanes).await? {
                return Ok(end);
            }
        }
    }

    /// Trains under the id that the coordinator gave. `None`: the host is to join again.
    async fn serve_as<W: Workload>(
        &mut self,
        host: &Rc<JoinedHost<W, B>>,
        lanes: &mut HostLanes<W>,
    ) -> Result<Option<WorkerEnd>, WorkerError> {
        let mut notes = self.broker.notes(Audience::Hosts);
        let timing = self.settings.timing;
        let mut serving = JoinSet::new();
        for lane in &lanes.lanes {
            if host.number(lane.number).is_some() {
                serving.spawn_local(lane.clone().serve(host.clone()));
            }
        }
        let mut beat = time::interval(timing.beat);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let end = loop {
            tokio::select! {
                _ = beat.tick() => {
                    host.show_alive().await;
                    if heard.elapsed() >= timing.without_coordinator {
                        break Err(WorkerError::NoCoordinator(timing.without_coordinator));
                    }
                }
                Some(note) = notes.recv() => {
                    heard = Instant::now();
                    if let Some(end) = follow(&note, host) {
                        break Ok(end);
                    }
                }
                Some(progressed) = lanes.progress.recv() => host.show(progressed).await,
                Some(report) = lanes.reports.recv() => {
                    if let LaneReport::Gone { lane, reason }
                    | LaneReport::DeviceLost { lane, reason } = report
                    {
                        tracing::warn!("lane {} is lost: {reason}", lane.0);
                    }
                }
                _ = serving.join_next() => {
                    if serving.is_empty() && host.is_draining() {
                        break Ok(Some(WorkerEnd::Drained));
                    } else if serving.is_empty() {
                        break Err(WorkerError::Unfit("no lane is left".into()));
                    }
                }
                _ = self.stop.wait_for(|stop| *stop) => break Ok(Some(WorkerEnd::Stopped)),
            }
        };
        // Jobs that are not done go back to the queue, where others find them at once.
        host.leave();
        while let Ok(Some(_)) = time::timeout(timing.retry, serving.join_next()).await {}
        if !serving.is_empty() {
            tracing::warn!("a lane does not give back its job; its lease will end");
        }
        if let Ok(Some(end)) = &end {
            let (host, reason) = (host.id.clone(), end.reason().to_owned());
            let note = encode(&HostNote::Leaving { host, reason });
            // The coordinator finds out by itself, later.
            let _ = self.broker.tell(Audience::Coordinator, note).await;
        }
        end
    }
}

/// Does what the coordinator notes. Gives how the host's membership ends, if it does; in it `None`:
/// the host is to join again.
fn follow<W: Workload, B: Broker>(
    note: &Bytes,
    host: &JoinedHost<W, B>,
) -> Option<Option<WorkerEnd>> {
    match decode(note) {
        Ok(CoordinatorNote::Cancel(job)) => host.cancel(job),
        Ok(CoordinatorNote::Unknown(id)) if id == host.id => {
            return Some(host.is_draining().then_some(WorkerEnd::Drained));
        }
        Ok(CoordinatorNote::Drain(id)) if id == host.id => host.drain(),
        Ok(CoordinatorNote::Over) => return Some(Some(WorkerEnd::RunOver)),
        _ => {}
    }
    None
}

fn refusal(answer: Answer) -> WorkerError {
    WorkerError::Refused(match answer {
        Answer::Refused(reason) => reason,
        answer => format!("its answer makes no sense here: {answer:?}"),
    })
}
