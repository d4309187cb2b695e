//! A host that trains for a run on another machine: joins, takes jobs from the broker, replies.
//!
//! The host's lanes are threads as those of a local run. What talks to the broker runs on the
//! calling thread, apart from them, so that no training keeps a lease from being renewed.

mod host;
mod lane;
mod states;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::{runtime, time};

use crate::ids::{Digest, LaneId};
use crate::lanes::broker::{Audience, Broker, BrokerError};
use crate::lanes::progress::LaneSignals;
use crate::lanes::queue::LaneGroup;
use crate::lanes::thread::{LaneKind, LaneReport, LaneThread};
use crate::lanes::timing::Timing;
use crate::lanes::watchdog::Heartbeat;
use crate::lanes::wire::{
    Answer, CoordinatorNote, HostNote, HostQuestion, Introduction, Invitation, LaneOffer,
    WIRE_VERSION, decode, encode,
};
use crate::lanes::worker::host::{JoinedHost, Progressed};
use crate::lanes::worker::lane::Lane;
use crate::observe::Observer;
use crate::observe::board::Board;
use crate::observe::bus::Bus;
use crate::observe::hosts::HostBoard;
use crate::protocol::event::Event;
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
    /// HostLanes to offer.
    pub lanes: u32,
}

/// The reason for which a host left without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerEnd {
    /// The run is over.
    RunOver,
    /// It was told to leave.
    Drained,
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
            _ = stop.wait_for(|stop| *stop) => return Ok(WorkerEnd::Drained),
        };
        let mut worker = Worker {
            broker,
            settings,
            stop,
        };
        let Some(invitation) = worker.await_invitation().await? else {
            return Ok(WorkerEnd::Drained);
        };
        let prepared = tokio::task::spawn_blocking(move || prepare(&invitation));
        let prepared = prepared.await.map_err(|e| e.to_string());
        let prepared = prepared.and_then(|prepared| prepared.map_err(|e| e.to_string()));
        let prepared = prepared.map_err(WorkerError::Unfit)?;
        let lanes = HostLanes::start(&worker, &prepared, &mut threads)?;
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

/// The lanes of this host.
struct HostLanes<W: Workload> {
    lanes: Vec<Lane<W>>,
    reports: mpsc::UnboundedReceiver<LaneReport>,
    progress: mpsc::UnboundedReceiver<Progressed>,
}

impl<W: Workload> HostLanes<W> {
    fn start<B: Broker>(
        worker: &Worker<B>,
        prepared: &PreparedWorkload<W>,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> Result<Self, WorkerError> {
        let (report, reports) = mpsc::unbounded_channel();
        let (progressed, progress) = mpsc::unbounded_channel();
        let (bus, observing) =
            Bus::start(vec![Box::new(Forward(progressed)) as Box<dyn Observer>])?;
        threads.extend(observing);
        let mut lanes = Vec::new();
        for lane in (0..prepared.lanes).map(LaneId) {
            let (group, jobs) = LaneGroup::new(1);
            let (heartbeat, report) = (Arc::<Heartbeat>::default(), report.clone());
            let main = LaneThread {
                signals: LaneSignals {
                    lane,
                    board: Arc::new(Board::default()),
                    hosts: Arc::new(HostBoard::default()),
                    bus: bus.clone(),
                    heartbeat: heartbeat.clone(),
                },
                workload: prepared.workload.clone(),
                jobs,
                report: Arc::new(move |of_lane| {
                    // Once the host leaves, nobody listens.
                    let _ = report.send(of_lane);
                }),
                kind: LaneKind::Remote,
            };
            threads.push(main.start()?);
            let watchdog = worker.settings.watchdog;
            lanes.push(Lane::new(lane, group, heartbeat, watchdog));
        }
        Ok(Self {
            lanes,
            reports,
            progress,
        })
    }

    /// Waits until each lane has done the canary job; leaves out those that could not.
    async fn offers(&mut self, workload: &W) -> Result<Vec<LaneOffer>, WorkerError> {
        let mut canaries = BTreeMap::new();
        let mut failed = Vec::new();
        while canaries.len() + failed.len() < self.lanes.len() {
            match self.reports.recv().await {
                Some(LaneReport::Ready { lane, canary }) => {
                    canaries.insert(lane, canary.unwrap_or_else(|| Digest::of(&[])));
                }
                Some(LaneReport::Gone { lane, reason }) => {
                    tracing::warn!("lane {} cannot be used: {reason}", lane.0);
                    failed.push(reason);
                }
                None => break,
            }
        }
        if canaries.is_empty() {
            let reason = failed.pop().unwrap_or_else(|| "it has no lane".into());
            return Err(WorkerError::Unfit(reason));
        }
        self.lanes
            .retain(|lane| canaries.contains_key(&lane.number));
        let offers = canaries.into_iter().map(|(lane, canary)| LaneOffer {
            device: workload.device(lane),
            canary,
        });
        Ok(offers.collect())
    }
}

/// Sends the progress of jobs on.
struct Forward(mpsc::UnboundedSender<Progressed>);

impl Observer for Forward {
    fn on_event(&mut self, event: &Event) {
        if let Event::Progress { lane, progress, .. } = event {
            // Once the host leaves, nobody listens.
            let _ = self.0.send((*lane, *progress));
        }
    }
}

impl<B: Broker> Worker<B> {
    /// Waits for a coordinator that invites. `None`: it was told to stop.
    async fn await_invitation(&mut self) -> Result<Option<Invitation>, WorkerError> {
        let question = HostQuestion::Invite {
            wire: WIRE_VERSION,
            build: self.settings.build.clone(),
        };
        match self.ask(&question).await? {
            Some(Answer::Invited(invitation)) => Ok(Some(invitation)),
            Some(answer) => Err(refusal(answer)),
            None => Ok(None),
        }
    }

    /// Asks until a coordinator answers. `None`: it was told to stop.
    async fn ask(&mut self, question: &HostQuestion) -> Result<Option<Answer>, WorkerError> {
        let Timing {
            retry,
            without_coordinator: patience,
            ..
        } = self.settings.timing;
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
        let introduction = Introduction {
            name: self.settings.name.clone(),
            description: self.settings.description.clone(),
            fingerprint: prepared.fingerprint.clone(),
            lanes: lanes.offers(&*prepared.workload).await?,
        };
        let introduced: Vec<_> = lanes.lanes.iter().map(|lane| lane.number).collect();
        let canaries = introduction.lanes.iter().map(|lane| lane.canary.clone());
        let canaries: Vec<_> = canaries.collect();
        loop {
            let answer = self.ask(&HostQuestion::Join(introduction.clone())).await?;
            let (host, numbers) = match answer {
                Some(Answer::Admitted { host, lanes }) => (host, lanes),
                Some(answer) => return Err(refusal(answer)),
                None => return Ok(WorkerEnd::Drained),
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
        let tasks: Vec<_> = (lanes.lanes.iter())
            .filter(|lane| host.number(lane.number).is_some())
            .map(|lane| tokio::task::spawn_local(lane.clone().serve(host.clone())))
            .collect();
        let mut beat = time::interval(timing.beat);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let heard = Cell::new(Instant::now());
        let end = loop {
            tokio::select! {
                _ = beat.tick() => {
                    host.show_alive().await;
                    if heard.get().elapsed() >= timing.without_coordinator {
                        break Err(WorkerError::NoCoordinator(timing.without_coordinator));
                    }
                    if tasks.iter().all(tokio::task::JoinHandle::is_finished) {
                        break Err(WorkerError::Unfit("no lane is left".into()));
                    }
                }
                Some(note) = notes.recv() => {
                    heard.set(Instant::now());
                    match decode(&note) {
                        Ok(CoordinatorNote::Cancel(job)) => host.cancel(job),
                        Ok(CoordinatorNote::Unknown(id)) if id == host.id => break Ok(None),
                        Ok(CoordinatorNote::Drain(id)) if id == host.id => {
                            break Ok(Some(WorkerEnd::Drained));
                        }
                        Ok(CoordinatorNote::Over) => break Ok(Some(WorkerEnd::RunOver)),
                        _ => {}
                    }
                }
                Some((lane, progress)) = lanes.progress.recv() => host.show(lane, progress).await,
                Some(report) = lanes.reports.recv() => {
                    if let LaneReport::Gone { lane, reason } = report {
                        tracing::warn!("lane {} is lost: {reason}", lane.0);
                    }
                }
                _ = self.stop.wait_for(|stop| *stop) => break Ok(Some(WorkerEnd::Drained)),
            }
        };
        // Jobs that are not done go back to the queue, where others find them at once.
        host.leave();
        for task in tasks {
            let ended = time::timeout(timing.retry, task).await;
            if ended.is_err() {
                tracing::warn!("a lane does not give back its job; its lease will end");
            }
        }
        if let Ok(Some(end)) = &end {
            let reason = format!("{end:?}").to_lowercase();
            let host = host.id.clone();
            let note = encode(&HostNote::Leaving { host, reason });
            // The coordinator finds out by itself, later.
            let _ = self.broker.tell(Audience::Coordinator, note).await;
        }
        end
    }
}

fn refusal(answer: Answer) -> WorkerError {
    WorkerError::Refused(match answer {
        Answer::Refused(reason) => reason,
        answer => format!("its answer makes no sense here: {answer:?}"),
    })
}
