//! Jobs: asked for by clients, queued in the broker, looked for there, forgotten.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Coordinator, Request};
use crate::ids::Digest;
use crate::lanes::broker::{Broker, BrokerError};
use crate::lanes::parcels::Parcel;
use crate::lanes::pool::{JobReport, JobRequest};
use crate::lanes::wire::{Answer, CoordinatorNote, JobOrder, encode};
use crate::workload::Workload;

impl<W: Workload, B: Broker> Coordinator<W, B> {
    pub(super) async fn request(&mut self, request: Request<W>) -> Result<(), String> {
        match request {
            Request::Train { job, reply } => self.ask(job, reply).await,
            Request::Cancel(job) => {
                if self.dispatch.cancel(job) {
                    let withdrawn = self.broker.withdraw(job).await;
                    let told = self.tell(&CoordinatorNote::Cancel(job)).await;
                    self.notice(withdrawn.and(told));
                }
                Ok(())
            }
        }
    }

    async fn ask(
        &mut self,
        job: JobRequest<W::State>,
        reply: oneshot::Sender<JobReport<W::Update>>,
    ) -> Result<(), String> {
        let key = (job.id.run, job.id.round);
        let state = match self.parcels.get(&key) {
            Some(parcel) => parcel.name.clone(),
            None => {
                let parcel = Parcel::pack(&*job.task.state);
                let parcel = parcel.map_err(|e| format!("the state cannot be sent: {e}"))?;
                let name = parcel.name.clone();
                self.parcels.insert(key, parcel);
                self.forget_outdated(job.id.round).await;
                name
            }
        };
        let order = JobOrder {
            id: job.id,
            faults: job.faults,
            client_name: job.task.client_name,
            state,
            avoid: Vec::new(),
        };
        match self.dispatch.ask(order, reply) {
            Some(early) => self.judge(early).await,
            None => Ok(()),
        }
    }

    /// Forgets replies and states of rounds that are over.
    async fn forget_outdated(&mut self, round: u32) {
        for (run, round) in self.dispatch.outdated(round) {
            let forgotten = self.broker.forget_round(run, round).await;
            self.notice(forgotten);
        }
        let wanted: HashSet<_> = self.dispatch.states().cloned().collect();
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.parcels)
            .into_iter()
            .partition(|(key, parcel)| key.1 == round || wanted.contains(&parcel.name));
        self.parcels = kept;
        let kept: HashSet<_> = self.parcels.values().flat_map(Parcel::digests).collect();
        let gone = gone.values().flat_map(Parcel::digests);
        let gone: Vec<_> = gone.filter(|blob| !kept.contains(blob)).cloned().collect();
        for blob in gone {
            self.stored.remove(&blob);
            let forgotten = self.broker.forget(&blob).await;
            self.notice(forgotten);
        }
    }

    /// Queues jobs, so that the next is there when a lane is done with one.
    pub(super) async fn submit_waiting(&mut self) {
        if self
            .paused_until
            .is_some_and(|until| Instant::now() < until)
        {
            return;
        }
        if !self.forget_replies().await {
            return;
        }
        let most = (2 * self.hosts.lanes()).max(1);
        for order in self.dispatch.to_submit(most) {
            let submitted = self.submit(&order).await;
            if submitted.is_ok() {
                self.dispatch.submitted(order.id);
            }
            if self.notice(submitted) {
                return;
            }
        }
    }

    async fn submit(&mut self, order: &JobOrder) -> Result<(), BrokerError> {
        if let Some(parcel) = self.parcels.get(&(order.id.run, order.id.round)) {
            let stored = &self.stored;
            parcel
                .store(&*self.broker, |blob| !stored.contains(blob))
                .await?;
            self.stored.extend(parcel.digests().cloned());
        }
        self.broker.submit(order.id, encode(order)).await
    }

    /// Has the broker forget replies. Says whether it has.
    async fn forget_replies(&mut self) -> bool {
        while let Some(job) = self.to_forget.first().copied() {
            let withdrawn = self.broker.withdraw(job).await;
            let forgotten = self.broker.forget_reply(job).await;
            if self.notice(withdrawn.and(forgotten)) {
                return false;
            }
            self.to_forget.remove(&job);
        }
        true
    }

    /// Compares the broker's queue with what should be in it.
    pub(super) async fn look(&mut self) -> Result<(), BrokerError> {
        if self.broker.prepare().await? {
            tracing::warn!("the broker has lost the run's jobs: they are queued again");
            self.forget_what_is_stored();
            return Ok(());
        }
        let queued = self.broker.queued().await?;
        let hosts = &self.hosts;
        let is_there = |job| queued.contains(&job) || hosts.is_running(job);
        let lost = self.dispatch.compare(is_there);
        if lost > 0 {
            tracing::warn!(
                "{lost} jobs are no longer in the broker's queue: they are queued again"
            );
        }
        let waits = |job| queued.contains(&job) && !hosts.is_running(job);
        let waiting = queued.iter().copied().filter(|job| waits(*job));
        for job in self.dispatch.unwanted(waiting) {
            self.broker.withdraw(job).await?;
        }
        let idle: Vec<_> = hosts.idle().collect();
        let timing = &self.settings.timing;
        let looks = (3 * timing.silence).div_duration_f64(timing.look).ceil() as u32;
        let neglected = self.dispatch.neglected(looks, waits, &idle);
        if !neglected.is_empty() {
            let jobs = neglected.len();
            tracing::warn!(
                "{jobs} jobs wait in the broker's queue while lanes are idle: the queue is restarted"
            );
            self.broker.restart_queue().await?;
        }
        Ok(())
    }

    pub(super) async fn unblock(&mut self) -> Result<(), String> {
        let hosts: BTreeSet<_> = self.hosts.taking_jobs().cloned().collect();
        let (again, too_large) = self.dispatch.unblock(&hosts);
        for job in again {
            let withdrawn = self.broker.withdraw(job).await;
            self.notice(withdrawn);
        }
        too_large.map_or(Ok(()), |(job, reason)| {
            Err(format!(
                "no host has room for client {} in round {}: {reason}",
                job.client, job.round
            ))
        })
    }

    pub(super) async fn store_again(&mut self, name: &Digest) -> Answer {
        let Some(parcel) = self.parcels.values().find(|parcel| parcel.name == *name) else {
            return Answer::Refused("nobody needs that state any more".into());
        };
        match parcel.repair(&*self.broker).await {
            Ok(()) => Answer::Stored,
            Err(error) => Answer::Refused(error.to_string()),
        }
    }
}
