//! Replies: made of what a lane's thread reports, and sent while the lane takes its next job.

use std::future::Future;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::ids::{JobId, LaneId};
use crate::lanes::broker::{Broker, Kept};
use crate::lanes::parcels::Parcel;
use crate::lanes::pool::{JobFailure, JobReport, JobResult};
use crate::lanes::wire::{Content, HostNote, JobOrder, JobOutcome, JobReply, encode};
use crate::lanes::worker::host::JoinedHost;
use crate::lanes::worker::leases::{done, give_back, keeping};
use crate::workload::Workload;
use crate::workload::update::Payload;

/// The largest update that is sent in a message even where larger ones may be: the coordinator
/// holds some of them at once.
const LARGEST_INLINE: usize = 4 << 20;
/// Room in a message for what comes with an update.
const AROUND: usize = 4096;

/// What became of jobs.
pub(super) type Reports<U> = Vec<(JobId, JobReport<U>)>;

/// Replies to each job of an order, however long that takes: a job that is done is not done again for a
/// broker that is away for a moment.
pub(super) async fn reply<W: Workload, B: Broker>(
    host: &JoinedHost<W, B>,
    lane: LaneId,
    order: &JobOrder,
    lease: &B::Lease,
    reports: Reports<W::Update>,
) {
    let sending = async {
        // The job that the order is known by comes last: the coordinator may take that one out of the
        // queue once it has the reply.
        for (job, report) in reports.into_iter().rev() {
            if !reply_to(host, lane, order, job, report).await {
                return false;
            }
        }
        true
    };
    match keeping(lease, host.timing.beat, sending).await {
        true => done(lease, host.timing.retry).await,
        false => give_back(lease, host.timing.retry).await,
    }
}

/// Replies to a job. `false`: the host leaves without.
async fn reply_to<W: Workload, B: Broker>(
    host: &JoinedHost<W, B>,
    lane: LaneId,
    order: &JobOrder,
    job: JobId,
    report: JobReport<W::Update>,
) -> bool {
    let Some((outcome, parcel)) = outcome(report.result, host.broker.largest_message()) else {
        return true;
    };
    let digest = match &outcome {
        JobOutcome::Trained { digest, .. } => Some(digest.clone()),
        _ => None,
    };
    let reply = JobReply {
        id: job,
        state: order.state.clone(),
        host: host.id.clone(),
        lane: host.number(lane).unwrap_or(lane),
        canary: host.canary(lane),
        seconds: report.seconds,
        work: report.work,
        outcome,
    };
    let kept = send(host, job, &encode(&reply), parcel.as_ref()).await;
    if kept == Some(Kept::Duplicate) {
        let note = HostNote::Repeated {
            host: host.id.clone(),
            job,
            digest,
            blobs: parcel.map(|parcel| parcel.name),
        };
        host.tell(encode(&note)).await;
    }
    kept.is_some()
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

/// The reply that a lane is sending while it trains the next job: one at a time.
#[derive(Default)]
pub(super) struct Replying(Option<JoinHandle<()>>);

impl Replying {
    pub(super) fn begin(&mut self, reply: impl Future<Output = ()> + 'static) {
        self.0 = Some(tokio::task::spawn_local(reply));
    }

    /// Waits until it is sent.
    pub(super) async fn end(&mut self) {
        if let Some(reply) = self.0.take()
            && let Err(error) = reply.await
        {
            tracing::error!("a reply is not sent: {error}");
        }
    }
}

/// A job's result as it is sent, with the blobs that go with it. `None`: nobody waits for it, or it has
/// none, for the device is lost and its order is given back.
fn outcome<U: Payload>(
    result: JobResult<U>,
    largest_message: usize,
) -> Option<(JobOutcome, Option<Parcel>)> {
    let (trained, digest) = match result {
        Ok(trained) => trained,
        Err(JobFailure::Interruption) => return Some((JobOutcome::Interrupted, None)),
        Err(JobFailure::OutOfMemory(reason)) => {
            return Some((JobOutcome::OutOfMemory(reason), None));
        }
        Err(JobFailure::Failed(reason)) => return Some((JobOutcome::Failed(reason), None)),
        Err(JobFailure::DeviceLost(_) | JobFailure::Cancelled) => return None,
    };
    let pieces = match trained.update.to_pieces() {
        Ok(pieces) => pieces,
        Err(error) => {
            let reason = format!("its update cannot be sent: {error}");
            return Some((JobOutcome::Failed(reason), None));
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
    Some((outcome, parcel))
}
