//! Talks to the broker for a run: queues its jobs, takes replies, admits hosts, and notices what is
//! lost.

mod jobs;
mod members;
mod replies;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time;

use crate::ids::{Digest, JobId, RunId};
use crate::lanes::broker::{Audience, Broker, BrokerError, Claim};
use crate::lanes::parcels::Parcel;
use crate::lanes::pool::PoolContext;
use crate::lanes::queue::JobMember;
use crate::lanes::remote::dispatch::Dispatch;
use crate::lanes::remote::hosts::Hosts;
use crate::lanes::remote::right::Right;
use crate::lanes::remote::settings::RemoteSettings;
use crate::lanes::remote::wanted::Together;
use crate::lanes::wire::{CoordinatorNote, encode};
use crate::protocol::event::Event;
use crate::workload::Workload;

/// Time between two warnings of the same kind.
const WARN_EVERY: Duration = Duration::from_secs(30);
/// How long a broker that does not answer keeps a run from ending.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What clients want of the coordinator.
pub(crate) enum Request<W: Workload> {
    /// Jobs of clients that are trained together, of whom some may have none; or one alone.
    Train {
        jobs: Vec<JobMember<W>>,
        together: Together,
    },
    Cancel(JobId),
}

/// See the module.
pub(crate) struct Coordinator<W: Workload, B: Broker> {
    broker: Arc<B>,
    settings: RemoteSettings,
    right: Right<B>,
    run: PoolContext<W>,
    dispatch: Dispatch<W::Update>,
    hosts: Hosts,
    /// Workers that gave what others did not.
    distrusted: BTreeSet<String>,
    /// The states that jobs start from.
    parcels: BTreeMap<(RunId, u32), Parcel>,
    /// Blobs that the broker has.
    stored: HashSet<Digest>,
    /// Replies that the broker is to forget, together with their jobs: until it has, these cannot be
    /// done again.
    to_forget: BTreeSet<JobId>,
    /// Lanes that the scheduler knows of; it waits for the plan's number of them.
    reported_lanes: u32,
    /// Whether jobs wait for lanes, or the run's beginning does.
    needs_lanes: watch::Sender<bool>,
    /// Since when there has been no lane.
    without_lanes: Option<Instant>,
    /// Until when the broker is left alone, after an error.
    paused_until: Option<Instant>,
    /// Whether the broker did not answer, and has not since.
    is_broker_away: bool,
    warned: Option<Instant>,
    looked: Instant,
    /// When this last did what it does regularly.
    beaten: Instant,
}

impl<W: Workload, B: Broker> Coordinator<W, B> {
    /// Connects, and takes the right to coordinate.
    ///
    /// # Errors
    /// If the broker cannot be reached, or another coordinator has the run.
    pub async fn begin<C, F>(
        connect: C,
        settings: RemoteSettings,
        run: PoolContext<W>,
    ) -> Result<Self, String>
    where
        C: FnOnce() -> F,
        F: Future<Output = Result<B, BrokerError>>,
    {
        let broker = connect().await.map_err(|error| error.to_string())?;
        let broker = Arc::new(broker);
        broker.prepare().await.map_err(|error| error.to_string())?;
        let right = Right::take(broker.clone(), &settings).await?;
        let (now, verified) = (Instant::now(), settings.verified);
        run.bus.emit(Event::BrokerReached);
        Ok(Self {
            broker,
            settings,
            right,
            run,
            dispatch: Dispatch::new(verified),
            hosts: Hosts::default(),
            distrusted: BTreeSet::new(),
            parcels: BTreeMap::new(),
            stored: HashSet::new(),
            to_forget: BTreeSet::new(),
            reported_lanes: 0,
            needs_lanes: watch::Sender::new(true),
            without_lanes: Some(now),
            paused_until: None,
            is_broker_away: false,
            warned: None,
            looked: now,
            beaten: now,
        })
    }

    /// The right to coordinate.
    pub fn right(&self) -> &Right<B> {
        &self.right
    }

    /// Whether jobs wait for lanes, or the run's beginning does.
    pub fn needs_lanes(&self) -> watch::Receiver<bool> {
        self.needs_lanes.subscribe()
    }

    /// Does what clients request, until none can any more.
    ///
    /// # Errors
    /// The reason for which the run cannot go on.
    pub async fn conduct(
        &mut self,
        requests: &mut mpsc::UnboundedReceiver<Request<W>>,
    ) -> Result<(), String> {
        let mut replies = self.broker.replies();
        let mut notes = self.broker.notes(Audience::Coordinator);
        let mut questions = self.broker.questions();
        let mut beat = time::interval(self.settings.timing.beat);
        beat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.request(request).await?,
                    None => return Ok(()),
                },
                Some((job, reply)) = replies.recv() => self.take_reply(job, &reply).await?,
                Some(note) = notes.recv() => self.take_note(&note).await?,
                Some(question) = questions.recv() => self.answer(question).await?,
                Some(order) = self.run.drains.recv() => self.drain(order).await,
                _ = beat.tick() => self.beat().await?,
            }
            let begins = self.reported_lanes < self.run.plan.lanes;
            let needs_lanes = begins || self.dispatch.wanted() > 0;
            self.needs_lanes.send_replace(needs_lanes);
            self.submit_waiting().await;
        }
    }

    /// Lets the hosts go, and leaves nothing in the broker.
    pub async fn end(self) {
        let last_words = async {
            // First, as it also ends the invitation: no host is to join any more.
            let released = self.right.release().await;
            released.and(self.tell(&CoordinatorNote::Over).await)
        };
        let ended = match time::timeout(LAST_WORDS, last_words).await {
            Ok(said) => self.broker.clear().await.and(said),
            Err(_) => Err(BrokerError::Away("it does not answer".into())),
        };
        if let Err(error) = ended {
            tracing::warn!("what the run left in the broker stays there: {error}");
        }
    }

    async fn tell(&self, note: &CoordinatorNote) -> Result<(), BrokerError> {
        self.broker.tell(Audience::Hosts, encode(note)).await
    }

    /// Notes an error of the broker. Says whether there was one: then it is left alone for a while.
    fn notice(&mut self, result: Result<(), BrokerError>) -> bool {
        let Err(error) = result else {
            return false;
        };
        match &error {
            BrokerError::Missing(_) => self.forget_what_is_stored(),
            BrokerError::Away(reason) if !self.is_broker_away => {
                self.is_broker_away = true;
                let reason = reason.clone();
                self.run.bus.emit(Event::BrokerAway { reason });
            }
            BrokerError::Away(_) | BrokerError::Refused(_) => {}
        }
        self.warn(&error.to_string());
        self.paused_until = Some(Instant::now() + self.settings.timing.retry);
        true
    }

    fn forget_what_is_stored(&mut self) {
        self.stored.clear();
        self.dispatch.orders().clear();
    }

    fn warn(&mut self, what: &str) {
        let now = Instant::now();
        if self.warned.is_none_or(|last| now - last >= WARN_EVERY) {
            self.warned = Some(now);
            tracing::warn!("{what}; the run goes on when it can");
        }
    }

    /// What is done regularly.
    async fn beat(&mut self) -> Result<(), String> {
        let since = std::mem::replace(&mut self.beaten, Instant::now());
        let mut hears = since.elapsed() < self.settings.timing.silence / 2;
        match self.right.renew().await {
            Ok(Claim::Granted) => {
                if std::mem::take(&mut self.is_broker_away) {
                    self.run.bus.emit(Event::BrokerReached);
                }
            }
            Ok(Claim::HeldBy(other)) => {
                return Err(format!(
                    "another coordinator has taken the run over: {other}"
                ));
            }
            Err(error) => {
                hears = false;
                self.notice(Err(error));
            }
        }
        let told = self.tell(&CoordinatorNote::Alive).await;
        self.notice(told);
        self.tell_draining().await;
        if hears {
            self.miss_hosts().await?;
        } else {
            // Nobody can be heard, so nobody is to be missed.
            self.hosts.excuse(Instant::now());
        }
        self.wait_for_lanes()?;
        if self.looked.elapsed() >= self.settings.timing.look {
            self.looked = Instant::now();
            let looked = self.look().await;
            self.notice(looked);
        }
        self.unblock().await
    }

    fn wait_for_lanes(&mut self) -> Result<(), String> {
        let Some(since) = self.without_lanes else {
            return Ok(());
        };
        let waited = since.elapsed();
        if waited >= self.settings.timing.without_lanes {
            let seconds = waited.as_secs();
            return Err(format!(
                "no host has offered a lane for {seconds} s; the run can be resumed"
            ));
        }
        if waited >= self.settings.timing.silence {
            let wanted = self.dispatch.wanted();
            self.warn(&format!("there is no lane, and {wanted} jobs wait for one"));
        }
        Ok(())
    }

    fn lanes_changed(&mut self) {
        self.without_lanes = match (self.hosts.lanes(), self.without_lanes) {
            (0, since) => since.or(Some(Instant::now())),
            _ => None,
        };
    }
}
