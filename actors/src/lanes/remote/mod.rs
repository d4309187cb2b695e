//! Lanes of other hosts, over a broker: the coordinator's side.
//!
//! `session` is the coordinator's course, from its beginning to its end; `coordinator` talks to the
//! broker meanwhile; what it decides from is in `dispatch` (all jobs), `wanted` (one), `orders` (the queue),
//! `verify` (jobs that two hosts do) and `hosts`.
//! The broker holds nothing that cannot be asked for again, and neither the scheduler nor the
//! ledger hears of a host that was lost: its job is done elsewhere, under the same id, hence with
//! the same bits.

mod admission;
mod coordinator;
mod dispatch;
mod hosts;
mod orders;
mod right;
mod session;
pub mod settings;
pub mod verify;
mod wanted;

use std::future::Future;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};

use crate::ids::JobId;
use crate::lanes::broker::{Broker, BrokerError};
use crate::lanes::group::Gathering;
use crate::lanes::pool::{
    JobFuture, JobRequest, LanePool, PoolClosed, PoolContext, StartLanes, StartedLanes,
};
use crate::lanes::queue::JobMember;
use crate::lanes::remote::coordinator::Request;
use crate::lanes::remote::session::Session;
use crate::lanes::remote::settings::RemoteSettings;
use crate::lanes::remote::wanted::Together;
use crate::protocol::outcome::RunError;
use crate::workload::Workload;

/// Starts a pool of other hosts' lanes, once connected to the broker.
pub(crate) struct RemoteLanes<C> {
    pub connect: C,
    pub settings: RemoteSettings,
}

impl<W, B, C, F> StartLanes<W> for RemoteLanes<C>
where
    W: Workload,
    B: Broker,
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<B, BrokerError>>,
{
    fn start(
        self: Box<Self>,
        run: PoolContext<W>,
        threads: &mut Vec<JoinHandle<()>>,
    ) -> Result<StartedLanes<W>, RunError> {
        let (sender, requests) = mpsc::unbounded_channel();
        let gathering = Gathering::new(run.plan.clone());
        let (lives, pool) = oneshot::channel();
        // What the connection does in the background, it does on this thread's runtime.
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new()
            .name("regatta-coordinator".into())
            .spawn(move || {
                let Self { connect, settings } = *self;
                let session = Session { requests, pool };
                runtime.block_on(session.hold(connect, settings, run));
            })?;
        threads.push(thread);
        let pool = Arc::new(RemotePool {
            requests: sender,
            gathering,
            _lives: lives,
        });
        let heartbeats = Vec::new();
        Ok(StartedLanes { pool, heartbeats })
    }
}

/// Leads to the coordinator. When this is dropped, it ends.
struct RemotePool<W: Workload> {
    requests: Requests<W>,
    gathering: Gathering<W>,
    /// Ends with the pool.
    _lives: oneshot::Sender<()>,
}

type Requests<W> = mpsc::UnboundedSender<Request<W>>;

impl<W: Workload> LanePool<W> for RemotePool<W> {
    fn train(&self, mut job: JobRequest<W::State>) -> JobFuture<W::Update> {
        let requests = self.requests.clone();
        let cancel = CancelOnDrop {
            requests: requests.clone(),
            job: Some(job.id),
        };
        let report = match job.group.take() {
            None => {
                let together = [(job.task.client, job.task.client_name.clone())];
                let (reply, report) = oneshot::channel();
                let job = JobMember {
                    request: job,
                    reply,
                };
                request(&requests, vec![job], together.into());
                report
            }
            Some(seat) => self.gathering.add(seat, job, |jobs, together| async move {
                let together = together.into_iter();
                let together = together.map(|task| (task.client, task.client_name));
                request(&requests, jobs, together.collect());
            }),
        };
        Box::pin(async move {
            // All of it, not the field alone.
            let mut cancel = cancel;
            let report = report.await.map_err(|_| PoolClosed);
            cancel.job = None;
            report
        })
    }
}

/// Has jobs trained. A coordinator that has ended lets go of them, which those who wait for them notice.
fn request<W: Workload>(requests: &Requests<W>, jobs: Vec<JobMember<W>>, together: Together) {
    let _ = requests.send(Request::Train { jobs, together });
}

/// Tells the coordinator when nobody waits for a job any more.
struct CancelOnDrop<W: Workload> {
    requests: Requests<W>,
    job: Option<JobId>,
}

impl<W: Workload> Drop for CancelOnDrop<W> {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            // A coordinator that has ended has cancelled everything.
            let _ = self.requests.send(Request::Cancel(job));
        }
    }
}
