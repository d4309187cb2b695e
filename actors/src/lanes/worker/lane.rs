//! One lane of a host: takes an order from the broker, has its jobs trained, replies.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time;

use crate::ids::{JobId, LaneId};
use crate::lanes::broker::{Broker, Delivery, Lease};
use crate::lanes::pool::{JobFailure, JobReport, JobRequest};
use crate::lanes::queue::{JobMember, LaneGroup};
use crate::lanes::watchdog::Heartbeat;
use crate::lanes::wire::{JobOrder, OrderedClient, decode};
use crate::lanes::worker::host::JoinedHost;
use crate::lanes::worker::leases::{
    done, end_lease, give_back, keeping, pause_for_others, postpone,
};
use crate::lanes::worker::replies::{Replying, Reports, reply};
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

/// How an order ended on this lane.
enum End<U> {
    /// What became of its jobs, but for those that nobody waits for any more.
    Reports(Reports<U>),
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

    /// Does what an order says. Says whether the lane can go on.
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
        host.begin(self.number, &order);
        host.show_alive().await;
        let end = self.train(host, &order, &lease).await;
        host.end(self.number);
        let can_go_on = self.finish(host, order, lease, end, replying).await;
        host.show_alive().await;
        can_go_on
    }

    /// Replies, or gives the order back. Says whether the lane can go on.
    async fn finish<B: Broker>(
        &self,
        host: &Rc<JoinedHost<W, B>>,
        order: JobOrder,
        lease: B::Lease,
        end: End<W::Update>,
        replying: &mut Replying,
    ) -> bool {
        let (end, can_go_on) = match end {
            End::Reports(reports) => match lost_device(&reports) {
                // No client is to blame, and the host's other lanes may be on the same device.
                Some(reason) => (End::GiveBack(reason), false),
                None => (End::Reports(reports), true),
            },
            End::Hung => (End::Hung, false),
            end => (end, true),
        };
        match end {
            End::Reports(reports) if reports.is_empty() => done(&lease, host.timing.retry).await,
            End::Reports(reports) => {
                keeping(&lease, host.timing.beat, replying.end()).await;
                let (lane, host) = (self.number, host.clone());
                replying.begin(async move { reply(&host, lane, &order, &lease, reports).await });
            }
            End::GiveBack(reason) => {
                give_back(&lease, host.timing.retry).await;
                self.tell_given_back(host, &order, reason).await;
            }
            End::Postpone(reason) => {
                postpone(&lease, host.timing.retry).await;
                self.tell_given_back(host, &order, reason).await;
            }
            End::Hung => {
                tracing::error!(
                    "lane {} hangs with {}: it is given up, and its job back",
                    self.number.0,
                    named(&order)
                );
                give_back(&lease, host.timing.retry).await;
                let reason = "the lane hangs".to_owned();
                host.show_given_back(self.number, order.id, reason).await;
            }
        }
        can_go_on
    }

    /// Tells of an order that this lane could not do, and pauses: the next may be no better.
    async fn tell_given_back<B: Broker>(
        &self,
        host: &JoinedHost<W, B>,
        order: &JobOrder,
        reason: String,
    ) {
        tracing::warn!("{} is given back: {reason}", named(order));
        host.show_given_back(self.number, order.id, reason).await;
        host.pause().await;
    }

    /// Has the jobs trained, and renews the lease meanwhile.
    async fn train<B: Broker>(
        &self,
        host: &JoinedHost<W, B>,
        order: &JobOrder,
        lease: &B::Lease,
    ) -> End<W::Update> {
        tokio::select! {
            end = self.do_jobs(host, order) => end,
            () = host.all_cancelled(self.number, order) => End::Reports(Vec::new()),
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

    async fn do_jobs<B: Broker>(
        &self,
        host: &JoinedHost<W, B>,
        order: &JobOrder,
    ) -> End<W::Update> {
        let state = match host.states.get(&*host.broker, &order.state).await {
            Ok(state) => state,
            Err(error) => return End::Postpone(error.to_string()),
        };
        host.proceed(self.number, JobPhase::Training);
        let (mut jobs, mut reports) = (Vec::new(), Vec::new());
        for OrderedClient(client, name, faults) in &order.clients {
            let Some(faults) = *faults else { continue };
            let id = order.id.of_client(*client);
            let (reply, report) = oneshot::channel();
            let request = JobRequest {
                id,
                faults,
                own_lane: None,
                group: None,
                task: task(id, name, &state),
            };
            jobs.push(JobMember { request, reply });
            reports.push((id, report));
        }
        let together = order.clients.iter();
        let together = together
            .map(|OrderedClient(client, name, _)| task(order.id.of_client(*client), name, &state));
        self.group.train_together(jobs, together.collect()).await;
        self.await_reports(host, reports).await
    }

    /// Waits for what becomes of jobs, and cancels those that nobody waits for.
    async fn await_reports<B: Broker>(
        &self,
        host: &JoinedHost<W, B>,
        reports: Vec<(JobId, oneshot::Receiver<JobReport<W::Update>>)>,
    ) -> End<W::Update> {
        let mut ended = Vec::new();
        // All end at once. One that is cancelled before is computed to its end with the others.
        for (job, report) in reports {
            tokio::select! {
                biased;
                () = host.cancelled(self.number, job) => {}
                report = report => match report {
                    Ok(report) => ended.push((job, report)),
                    Err(_) => return End::Hung,
                },
            }
        }
        End::Reports(ended)
    }
}

fn task<S>(job: JobId, name: &Arc<str>, state: &Arc<S>) -> TrainTask<S> {
    TrainTask {
        client: job.client,
        client_name: name.clone(),
        round: job.round,
        attempt: job.attempt,
        state: state.clone(),
    }
}

/// Why the device is lost, if a job said so.
fn lost_device<U>(reports: &Reports<U>) -> Option<String> {
    reports.iter().find_map(|(_, report)| match &report.result {
        Err(JobFailure::DeviceLost(reason)) => Some(reason.clone()),
        _ => None,
    })
}

/// An order in a message for people.
fn named(order: &JobOrder) -> String {
    let JobId { round, client, .. } = order.id;
    match order.clients.len() {
        0 | 1 => format!("client {client} in round {round}"),
        all => format!("client {client} and {} others in round {round}", all - 1),
    }
}
