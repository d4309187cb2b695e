//! One lane of a host: takes a job from the broker, has it trained, replies.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time;

use crate::ids::{JobId, LaneId};
use crate::lanes::broker::{Broker, BrokerError, Delivery, Kept, Lease};
use crate::lanes::parcels::Parcel;
use crate::lanes::pool::{JobFailure, JobReport, JobRequest, JobResult};
use crate::lanes::queue::LaneGroup;
use crate::lanes::watchdog::Heartbeat;
use crate::lanes::wire::{
    Content, HostId, HostNote, JobOrder, JobOutcome, JobReply, decode, encode,
};
use crate::lanes::worker::host::JoinedHost;
use crate::protocol::job::JobPhase;
use crate::workload::Workload;
use crate::workload::job::TrainTask;
use crate::workload::update::Payload;

/// The largest update that is sent in a message even where larger ones may be: the coordinator
/// holds some of them at once.
const LARGEST_INLINE: usize = 4 << 20;
/// Room in a message for what comes with an update.
const AROUND: usize = 4096;

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
enum End<U> {
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

    /// Replies, however long that takes: a job that is done is not done again for a broker that is
    /// away for a moment.
    async fn reply<B: Broker>(
        &self,
        host: &JoinedHost<W, B>,
        order: &JobOrder,
        lease: &B::Lease,
        report: JobReport<W::Update>,
    ) {
        let (outcome, parcel) = match outcome(report.result, host.broker.largest_message()) {
            Ok(outcome) => outcome,
            Err(End::Cancelled) => return done(lease, host.timing.retry).await,
            Err(_) => return give_back(lease, host.timing.retry).await,
        };
        let digest = match &outcome {
            JobOutcome::Trained { digest, .. } => Some(digest.clone()),
            _ => None,
        };
        let reply = JobReply {
            id: order.id,
            state: order.state.clone(),
            host: host.id.clone(),
            lane: host.number(self.number).unwrap_or(self.number),
            canary: host.canary(self.number),
            seconds: report.seconds,
            work: report.work,
            outcome,
        };
        let reply = encode(&reply);
        let sending = send(host, order.id, &reply, parcel.as_ref());
        let Some(kept) = keeping(lease, host.timing.beat, sending).await else {
            return give_back(lease, host.timing.retry).await;
        };
        if kept == Kept::Duplicate {
            let note = HostNote::Repeated {
                host: host.id.clone(),
                job: order.id,
                digest,
                blobs: parcel.map(|parcel| parcel.name),
            };
            host.tell(encode(&note)).await;
        }
        done(lease, host.timing.retry).await;
    }
}

/// Sends a reply until the broker has it; `None`: the host leaves without.
async fn send<W: Workload, B: Broker>(
    host: &JoinedHost<W, B>,
    job: JobId,
    reply: &Bytes,
    parcel: Option<&Parcel>,
) -> Option<Kept> {
    loop {
        let sent = async {
            if let Some(parcel) = parcel {
                parcel.store(&*host.broker, |_| true).await?;
            }
            host.broker.reply(job, reply.clone()).await
        };
        match sent.await {
            Ok(kept) => {
                host.sent(reply.len() as u64 + parcel.map_or(0, Parcel::bytes));
                return Some(kept);
            }
            Err(error) => tracing::debug!("a reply is not sent: {error}"),
        }
        if host.is_leaving() {
            return None;
        }
        host.pause().await;
    }
}

/// Does what belongs to a job, which stays this lane's meanwhile: nobody else is to do it.
async fn keeping<T>(lease: &impl Lease, beat: Duration, work: impl Future<Output = T>) -> T {
    let renewing = async {
        loop {
            time::sleep(beat).await;
            if let Err(error) = lease.renew().await {
                tracing::debug!("a lease is not renewed: {error}");
            }
        }
    };
    tokio::select! {
        done = work => done,
        never = renewing => never,
    }
}

/// The reply that a lane is sending while it trains the next job: one at a time.
#[derive(Default)]
struct Replying(Option<JoinHandle<()>>);

impl Replying {
    fn begin(&mut self, reply: impl Future<Output = ()> + 'static) {
        self.0 = Some(tokio::task::spawn_local(reply));
    }

    /// Waits until it is sent.
    async fn end(&mut self) {
        if let Some(reply) = self.0.take()
            && let Err(error) = reply.await
        {
            tracing::error!("a reply is not sent: {error}");
        }
    }
}

/// A job's result as it is sent, with the blobs that go with it.
fn outcome<U: Payload>(
    result: JobResult<U>,
    largest_message: usize,
) -> Result<(JobOutcome, Option<Parcel>), End<U>> {
    let (trained, digest) = match result {
        Ok(trained) => trained,
        Err(JobFailure::Interruption) => return Ok((JobOutcome::Interrupted, None)),
        Err(JobFailure::OutOfMemory(reason)) => {
            return Ok((JobOutcome::OutOfMemory(reason), None));
        }
        Err(JobFailure::Failed(reason)) => return Ok((JobOutcome::Failed(reason), None)),
        Err(JobFailure::DeviceLost(reason)) => return Err(End::GiveBack(reason)),
        Err(JobFailure::Cancelled) => return Err(End::Cancelled),
    };
    let pieces = match trained.update.to_pieces() {
        Ok(pieces) => pieces,
        Err(error) => {
            let reason = format!("its update cannot be sent: {error}");
            return Ok((JobOutcome::Failed(reason), None));
        }
    };
    let most = largest_message.saturating_sub(AROUND).min(LARGEST_INLINE);
    let (update, parcel) = match &pieces[..] {
        [piece] if piece.len() <= most => (Content::Inline(piece.clone()), None),
        _ => {
            let parcel = Parcel::of(pieces);
            (Content::Blobs(parcel.name.clone()), Some(parcel))
        }
    };
    let outcome = JobOutcome::Trained {
        loss: trained.loss,
        examples: trained.examples,
        steps: trained.steps,
        digest,
        update,
    };
    Ok((outcome, parcel))
}

/// How long a job that this host is to avoid is kept from all hosts, this one among them: about
/// `retry`, and another time whenever it is given out. With equal pauses, two hosts of which each
/// avoids what the other may do could be given the wrong one of two jobs for ever.
fn pause_for_others(retry: Duration, host: &HostId, job: JobId, times: u64) -> Duration {
    let mut hasher = blake3::Hasher::new();
    hasher.update(host.0.as_bytes());
    for number in [job.round, job.client.0, job.attempt] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(&times.to_le_bytes());
    let drawn = hasher.finalize().as_bytes()[0];
    retry.mul_f64(0.5 + f64::from(drawn) / 256.0)
}

/// The job is done. Waits for the broker to know it, but not long: one that forgot the lease when it
/// was killed says nothing, and then the job is done once more for nothing.
async fn done(lease: &impl Lease, wait: Duration) {
    end_lease(wait, lease.done()).await;
}

/// The job is somebody else's to do.
async fn give_back(lease: &impl Lease, wait: Duration) {
    end_lease(wait, lease.give_back(Duration::ZERO)).await;
}

/// The job is for later: after `wait`, which is also how long this waits. A queue gives out first what
/// was given back, so that a job that nobody can do would keep all others from the lanes.
async fn postpone(lease: &impl Lease, wait: Duration) {
    end_lease(wait, lease.give_back(wait)).await;
}

/// Ends a lease, which otherwise ends by itself.
async fn end_lease(wait: Duration, ending: impl Future<Output = Result<(), BrokerError>>) {
    match time::timeout(wait, ending).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a lease ends by itself: {error}"),
        Err(_) => tracing::debug!("a lease ends by itself, if the broker has not heard"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClientId, RunId};

    #[test]
    fn a_job_to_avoid_is_kept_from_the_host_for_another_time_each_time() {
        let retry = Duration::from_millis(500);
        let job = JobId {
            run: RunId(1),
            round: 2,
            client: ClientId(3),
            attempt: 0,
        };
        let pauses = |host: &str| -> Vec<Duration> {
            let host = HostId(host.into());
            let pause = |times| pause_for_others(retry, &host, job, times);
            (1..=8).map(pause).collect()
        };
        let (one, other) = (pauses("one"), pauses("other"));
        for pause in one.iter().chain(&other) {
            assert!(*pause >= retry / 2 && *pause < retry * 3 / 2, "{pause:?}");
        }
        assert!(one.windows(2).all(|pair| pair[0] != pair[1]), "{one:?}");
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    }
}
