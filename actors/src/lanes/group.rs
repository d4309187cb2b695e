//! Jobs of clients that are trained together, on their way to a lane.
//!
//! Each comes from its own client's actor, and some may not come at all: an actor may have died, or
//! its job may have been cancelled meanwhile. So a group waits until it is known of each job whether
//! it comes.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::ids::ClientId;
use crate::lanes::pool::{JobReport, JobRequest};
use crate::lanes::queue::JobMember;
use crate::lanes::seat::GroupSeat;
use crate::plan::FederationPlan;
use crate::workload::Workload;
use crate::workload::job::TrainTask;

/// The groups whose jobs are on their way, by number.
type Waiting<W> = Arc<Mutex<HashMap<u64, Vec<JobMember<W>>>>>;

/// Gathers jobs into groups.
pub(crate) struct Gathering<W: Workload> {
    plan: Arc<FederationPlan>,
    waiting: Waiting<W>,
}

impl<W: Workload> Gathering<W> {
    pub fn new(plan: Arc<FederationPlan>) -> Self {
        Self {
            plan,
            waiting: Waiting::default(),
        }
    }

    /// Takes a job into its group. Once all its jobs have come that will, it is trained: `train` takes
    /// them, and the tasks of all clients of the group. To be called within an actor.
    pub fn add<F: Future<Output = ()> + Send>(
        &self,
        seat: GroupSeat,
        request: JobRequest<W::State>,
        train: impl FnOnce(Vec<JobMember<W>>, Vec<TrainTask<W::State>>) -> F + Send + 'static,
    ) -> oneshot::Receiver<JobReport<W::Update>> {
        let (reply, report) = oneshot::channel();
        let GroupSeat {
            number,
            clients,
            undecided,
            decided,
        } = seat;
        (self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
            .entry(number)
            .or_default()
            .push(JobMember { request, reply });
        let decided = decided
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(undecided);
        if let Some(mut decided) = decided {
            let (waiting, plan) = (self.waiting.clone(), self.plan.clone());
            tokio::spawn(async move {
                // Nothing is ever sent: it is closed.
                while decided.recv().await.is_some() {}
                let members = waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&number);
                let members = members.unwrap_or_default();
                if let Some(first) = members.first() {
                    let tasks = tasks(&plan, &clients, &first.request.task);
                    train(members, tasks).await;
                }
            });
        }
        report
    }
}

/// The tasks of all clients of a group, of whom one has `task`.
fn tasks<S>(plan: &FederationPlan, clients: &[ClientId], task: &TrainTask<S>) -> Vec<TrainTask<S>> {
    let of = |client: &ClientId| TrainTask {
        client: *client,
        client_name: plan.clients[client.0 as usize].name.as_str().into(),
        round: task.round,
        attempt: task.attempt,
        state: task.state.clone(),
    };
    clients.iter().map(of).collect()
}
