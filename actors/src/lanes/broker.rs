//! The broker between a coordinator and the hosts that train for it: bytes, at least once.
//!
//! A broker may lose, double, delay or reorder whatever it is given, or forget all of it at once.
//! Nothing that it holds is the only copy: the coordinator asks for it again, and a job that is
//! done twice gives the same bits. So an implementation needs no durability, only honesty about
//! errors.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::ids::{Digest, JobId, RunId};

/// One run's part of a message broker. An error of any method is followed by another try, after a
/// pause; methods do not wait for a broker that is away longer than some seconds.
pub trait Broker: Send + Sync + 'static {
    /// What a host holds while it does a job.
    type Lease: Lease;

    /// Makes whatever is missing: the queue, the place of replies, the store of blobs. Says whether
    /// anything was. Called by the coordinator at its start and then regularly.
    fn prepare(&self) -> impl Future<Output = Result<bool, BrokerError>> + Send;

    /// Forgets everything of the run.
    fn clear(&self) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Takes or renews the right to coordinate the run, which ends by itself when it is not renewed
    /// for some seconds. Gives who holds it.
    fn claim(&self, coordinator: &str) -> impl Future<Output = Result<Claim, BrokerError>> + Send;

    /// Gives up the right to coordinate, if this coordinator has it.
    fn release(&self, coordinator: &str) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Queues a job, unless it is queued already.
    fn submit(
        &self,
        job: JobId,
        order: Bytes,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Takes a job from the queue, whether it waits or is being done.
    fn withdraw(&self, job: JobId) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// The jobs that wait in the queue or are being done.
    fn queued(&self) -> impl Future<Output = Result<BTreeSet<JobId>, BrokerError>> + Send;

    /// Restarts a queue that gives out no jobs, though there are some and lanes that wait for one. What
    /// is being done may be given out once more.
    fn restart_queue(&self) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// The next job for a lane, which has it until its lease ends. Waits for one for some seconds.
    fn next_order(
        &self,
    ) -> impl Future<Output = Result<Option<Delivery<Self::Lease>>, BrokerError>> + Send;

    /// Keeps the reply to a job for the coordinator, unless there is one already.
    fn reply(
        &self,
        job: JobId,
        reply: Bytes,
    ) -> impl Future<Output = Result<Kept, BrokerError>> + Send;

    /// All replies that are kept, from the first, and then each as it comes. May give one twice, and
    /// one that is not kept since another was.
    fn replies(&self) -> mpsc::Receiver<(JobId, Bytes)>;

    /// Forgets the reply to a job.
    fn forget_reply(&self, job: JobId) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Forgets the replies to all jobs of a round.
    fn forget_round(
        &self,
        run: RunId,
        round: u32,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Stores a blob under its digest, unless it is there.
    fn put(
        &self,
        digest: &Digest,
        blob: Bytes,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// The blob with this digest, as it is stored: whether it is the right one is for the caller
    /// to check. `None`: there is none. One of more than `most` bytes is refused before memory is
    /// asked for.
    fn get(
        &self,
        digest: &Digest,
        most: u64,
    ) -> impl Future<Output = Result<Option<Bytes>, BrokerError>> + Send;

    /// Forgets a blob.
    fn forget(&self, digest: &Digest) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Tells an audience something. It may get lost.
    fn tell(
        &self,
        audience: Audience,
        note: Bytes,
    ) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// What is told to an audience from now on.
    fn notes(&self, audience: Audience) -> mpsc::Receiver<Bytes>;

    /// Asks the coordinator something. `None`: no coordinator answered within some seconds.
    fn ask(
        &self,
        question: Bytes,
    ) -> impl Future<Output = Result<Option<Bytes>, BrokerError>> + Send;

    /// What hosts ask the coordinator.
    fn questions(&self) -> mpsc::Receiver<Question>;

    /// The largest message in bytes that [`Broker::submit`], [`Broker::reply`], [`Broker::tell`] and
    /// [`Broker::ask`] take; what is larger has to be a blob.
    fn largest_message(&self) -> usize;
}

/// The right to do a job, which ends by itself when it is not renewed for some seconds; the job is
/// then given to another lane.
pub trait Lease: Send + Sync + 'static {
    /// Keeps the lease from ending.
    fn renew(&self) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// The job is done, and its reply is kept: it leaves the queue.
    fn done(&self) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// The job goes back to the queue, which gives it out again after `pause`.
    fn give_back(&self, pause: Duration) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// A job for a lane.
#[derive(Debug)]
pub struct Delivery<L> {
    /// What was submitted.
    pub order: Bytes,
    /// The right to do it.
    pub lease: L,
    /// How often the job was given out, with this time.
    pub times: u64,
}

/// Who coordinates the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The one that asked.
    Granted,
    /// Another one, by the name that it gave.
    HeldBy(String),
}

/// Whether a reply was the first to its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It was, and is kept.
    First,
    /// Another is kept; this one is dropped.
    Duplicate,
}

/// For whom a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// The run's coordinator.
    Coordinator,
    /// All of the run's hosts.
    Hosts,
}

/// What a host asks.
#[derive(Debug)]
pub struct Question {
    /// The question.
    pub content: Bytes,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Bytes>,
}

/// An error of a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// It cannot be reached, or does not answer.
    #[error("the broker cannot be reached: {0}")]
    Away(String),
    /// It lost what it was to keep, or never had it.
    #[error("the broker has no {0}")]
    Missing(String),
    /// It does not allow this, now or ever.
    #[error("the broker refuses: {0}")]
    Refused(String),
}

impl BrokerError {
    /// A blob is larger than what asked for it has room for.
    #[must_use]
    pub fn too_large(digest: &Digest, bytes: u64, most: u64) -> Self {
        let name = &digest.0;
        Self::Refused(format!(
            "blob {name} has {bytes} bytes, and may have {most}"
        ))
    }
}
