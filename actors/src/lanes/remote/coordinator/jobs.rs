//! Jobs: asked for by clients, queued in the broker, looked for there, forgotten.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use super::{Coordinator, Request};
use crate::ids::{Digest, JobId};
use crate::lanes::broker::{Broker, BrokerError};
use crate::lanes::parcels::Parcel;
use crate::lanes::pool::JobRequest;
use crate::lanes::queue::JobMember;
use crate::lanes::remote::wanted::{AskedJob, Together};
use crate::lanes::wire::{Answer, CoordinatorNote, JobOrder, encode};
use crate::workload::Workload;

impl<W: Workload, B: Broker> Coordinator<W, B> {
    pub(super) async fn request(&mut self, request: Request<W>) -> Result<(), String> {
        match request {
            Request::Train { jobs, together } => self.ask(jobs, &together).await,
            Request::Cancel(job) => {
                let (submitted, order) = self.dispatch.cancel(job);
                if let Some(order) = order {
                    let withdrawn = self.broker.withdraw(order).await;
                    self.notice(withdrawn);
                }
                if submitted {
                    let told = self.tell(&CoordinatorNote::Cancel(job)).await;
                    self.notice(told);
                }
                Ok(())
            }
        }
    }

    async fn ask(&mut self, jobs: Vec<JobMember<W>>, together: &Together) -> Result<(), String> {
        let mut early = Vec::new();
        for JobMember { request, reply } in jobs {
            // It may have been cancelled while the others of its group were on their way.
            if reply.is_closed() {
                continue;
            }
            let asked = AskedJob {
                id: request.id,
                faults: request.faults,
                state: self.state_of(&request).await?,
                together: together.clone(),
            };
            early.extend(self.dispatch.ask(asked, reply));
        }
        for reply in early {
            self.judge(reply).await?;
        }
        Ok(())
    }

    /// The name of the state that a job starts from.
    async fn state_of(&mut self, job: &JobRequest<W::State>) -> Result<Digest, String> {
        let key = (job.id.run, job.id.round);
        if let Some(parcel) = self.parcels.get(&key) {
            return Ok(parcel.name.clone());
        }
        let parcel = Parcel::pack(&*job.task.state);
        let parcel = parcel.map_err(|e| format!("the state cannot be sent: {e}"))?;
        let name = parcel.name.clone();
        self.parcels.insert(key, parcel);
        self.forget_outdated(job.id.round).await;
        Ok(name)
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
                self.dispatch.submitted(&order);
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
        let is_there = |order| queued.contains(&order) || hosts.is_running(order);
        let lost = self.dispatch.orders().compare(is_there);
        if lost > 0 {
            tracing::warn!(
                "{lost} jobs are no longer in the broker's queue: they are queued again"
            );
        }
        let waits = |order| queued.contains(&order) && !hosts.is_running(order);
        let waiting = queued.iter().copied().filter(|order| waits(*order));
        for order in self.dispatch.unwanted(waiting) {
            self.broker.withdraw(order).await?;
        }
        let idle: Vec<_> = hosts.idle().collect();
        let timing = &self.settings.timing;
        let looks = (3 * timing.silence).div_duration_f64(timing.look).ceil() as u32;
        let neglected = self.dispatch.orders().neglected(looks, waits, &idle);
        if neglected > 0 {
            tracing::warn!(
                "{neglected} jobs wait in the broker's queue while lanes are idle: the queue is restarted"
            );
            self.broker.restart_queue().await?;
        }
        Ok(())
    }

    pub(super) async fn unblock(&mut self) -> Result<(), String> {
        let hosts: BTreeSet<_> = self.hosts.taking_jobs().cloned().collect();
        let (again, too_large) = self.dispatch.unblock(&hosts);
        for order in again {
            let withdrawn = self.broker.withdraw(order).await;
            self.notice(withdrawn);
        }
        too_large.map_or(Ok(()), |(job, reason)| {
            let clients = self.clients_of(job);
            Err(format!(
                "no host has room for {clients} in round {}: {reason}",
                job.round
            ))
        })
    }

    /// Whom to name where a job is to blame: its client, and those that it is trained with, any of whom it
    /// may be.
    pub(super) fn clients_of(&self, job: JobId) -> String {
        match self.dispatch.others(job) {
            0 => format!("client {}", job.client),
            1 => format!("client {} and the one that it is trained with", job.client),
            others => format!(
                "client {} and the {others} that it is trained with",
                job.client
            ),
        }
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
