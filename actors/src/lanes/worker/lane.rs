//! One lane of a host: takes a job from the broker, has it trained, replies.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time;

use crate::ids::{JobId, LaneId};
use crate::lanes::broker::{Broker, Delivery, Lease};
use crate::lanes::pool::{JobFailure, JobReport, JobRequest};
use crate::lanes::queue::LaneGroup;
use crate::lanes::watchdog::Heartbeat;
use crate::lanes::wire::{JobOrder, decode};
use crate::lanes::worker::host::JoinedHost;
use crate::lanes::worker::leases::{
    done, end_lease, give_back, keeping, pause_for_others, postpone,
};
use crate::lanes::worker::replies::Replying;
use crate::protocol::job::JobPhase;
use crate::workload::Workload;
use crate::workload::job::TrainTask;

/// A lane's thread, as the host's own thread sees it.
pub(super) struct Lane<W: Workload> {
    /// Its number on this host.
    pub number: LaneId,
    group: LaneGroup<W>,
    heartbeat: Arc<Heartbeat>,
    watchdog: Option<Duration>,
}

impl<W: Workload> Clone for Lane<W> {
    fn clone(&self) -> Self {
        Self {
            number: self.number,
            group: self.group.clone(),
            heartbeat: self.heartbeat.clone(),
            watchdog: self.watchdog,
        }
    }
}

/// How a job ended on this lane.
pub(super) enum End<U> {
    Report(JobReport<U>),
    /// Nobody waits for it any more.
    Cancelled,
    /// Somebody else is to do it, for this reason, at once.
    GiveBack(String),
    /// It cannot be done now, for this reason, here or most likely elsewhere.
    Postpone(String),
    /// The lane is lost.
    Hung,
}

impl<W: Workload> Lane<W> {
    pub fn new(
        number: LaneId,
        group: LaneGroup<W>,
        heartbeat: Arc<Heartbeat>,
        watchdog: Option<Duration>,
    ) -> Self {
        Self {
            number,
            group,
            heartbeat,
            watchdog,
        }
    }

    /// Does jobs until the host takes no more or the lane is lost.
    pub async fn serve<B: Broker>(self, host: Rc<JoinedHost<W, B>>) {
        let mut replying = Replying::default();
        while !host.is_draining() {
            let next = tokio::select! {
                next = host.broker.next_order() => next,
                () = host.drained() => break,
            };
            match next {
                Ok(Some(delivery)) => {
                    if !self.take(&host, delivery, &mut replying).await {
                        break;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!("no job can be taken: {error}");
                    host.pause().await;
                }
            }
        }
        replying.end().await;
    }

    /// Does one job. Says whether the lane can go on.
    async fn take<B: Broker>(
        &self,
        host: &Rc<JoinedHost<W, B>>,
        delivery: Delivery<B::Lease>,
        replying: &mut Replying,
    ) -> bool {
        let Delivery {
            order,
            lease,
            times,
        } = delivery;
        let order: JobOrder = match decode(&order) {
            Ok(order) => order,
            Err(reason) => {
                tracing::warn!("a job in the queue cannot be read: {reason}");
                postpone(&lease, host.timing.retry).await;
                host.pause().await;
                return true;
            }
        };
        if order.avoid.contains(&host.id) {
            // Another host is to take it; the queue does not know which.
            let pause = pause_for_others(host.timing.retry, &host.id, order.id, times);
            end_lease(host.timing.retry, lease.give_back(pause)).await;
            return true;
        }
        let cancelled = host.begin(self.number, order.id);
        host.show_alive().await;
        let end = self.train(host, &order, &lease, &cancelled).await;
        host.end(self.number);
        let (end, can_go_on) = match end {
            // No client is to blame, and the host's other lanes may be on the same device.
            End::Report(JobReport {
                result: Err(JobFailure::DeviceLost(reason)),
                ..
            }) => (End::GiveBack(reason), false),
            End::Hung => (End::Hung, false),
            end => (end, true),
        };
        match end {
            End::Report(report) => {
                keeping(&lease, host.timing.beat, replying.end()).await;
                let (lane, host) = (self.clone(), host.clone());
                replying.begin(async move { lane.reply(&host, &order, &lease, report).await });
            }
            End::Cancelled => done(&lease, host.timing.retry).await,
            End::GiveBack(reason) => {
                give_back(&lease, host.timing.retry).await;
                self.tell_given_back(host, order.id, reason).await;
            }
            End::Postpone(reason) => {
                postpone(&lease, host.timing.retry).await;
                self.tell_given_back(host, order.id, reason).await;
            }
            End::Hung => {
                tracing::error!(
                    "lane {} hangs with client {} in round {}: it is given up, and its job back",
                    self.number.0,
                    order.id.client,
                    order.id.round
                );
                give_back(&lease, host.timing.retry).await;
                let reason = "the lane hangs".to_owned();
                host.show_given_back(self.number, order.id, reason).await;
            }
        }
        host.show_alive().await;
        can_go_on
    }

    /// Tells of a job that this lane could not do, and pauses: the next may be no better.
    async fn tell_given_back<B: Broker>(
        &self,
        host: &JoinedHost<W, B>,
        job: JobId,
        reason: String,
    ) {
        let (client, round) = (job.client, job.round);
        tracing::warn!("client {client} in round {round} is given back: {reason}");
        host.show_given_back(self.number, job, reason).await;
        host.pause().await;
    }

    /// Has the job trained, and renews the lease meanwhile.
    async fn train<B: Broker>(
        &self,
        host: &JoinedHost<W, B>,
        order: &JobOrder,
        lease: &B::Lease,
        cancelled: &Notify,
    ) -> End<W::Update> {
        tokio::select! {
            end = self.job(host, order) => end,
            () = cancelled.notified() => End::Cancelled,
            () = host.left() => End::GiveBack("the host leaves".into()),
            () = self.renew(host.timing.beat, lease) => End::Hung,
        }
    }

    /// Renews the lease until the lane hangs.
    async fn renew(&self, beat: Duration, lease: &impl Lease) {
        loop {
            time::sleep(beat).await;
            if self.hangs() {
                return;
            }
            if let Err(error) = lease.renew().await {
                tracing::debug!("a lease is not renewed: {error}");
            }
        }
    }

    fn hangs(&self) -> bool {
        let idle = self.heartbeat.idle(Instant::now());
        idle.zip(self.watchdog)
            .is_some_and(|(idle, most)| idle >= most)
    }

    async fn job<B: Broker>(&self, host: &JoinedHost<W, B>, order: &JobOrder) -> End<W::Update> {
        let state = match host.states.get(&*host.broker, &order.state).await {
            Ok(state) => state,
            Err(error) => return End::Postpone(error.to_string()),
        };
        host.proceed(self.number, JobPhase::Training);
        let id = order.id;
        let request = JobRequest {
            id,
            faults: order.faults,
            own_lane: None,
            group: None,
            task: TrainTask {
                client: id.client,
                client_name: order.client_name.clone(),
                round: id.round,
                attempt: id.attempt,
                state,
            },
        };
        match self.group.train(request).await {
            Ok(report) => End::Report(report),
            Err(_) => End::Hung,
        }
    }
}
