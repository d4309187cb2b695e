//! Replies: judged, read, and delivered to the clients that wait for them.

use std::time::Instant;

use bytes::Bytes;
use tokio::time;

use super::Coordinator;
use crate::ids::{Digest, JobId};
use crate::lanes::broker::{Broker, BrokerError};
use crate::lanes::parcels::{self, FetchError, PieceCache};
use crate::lanes::pool::{JobFailure, JobReport, JobResult};
use crate::lanes::remote::verify::Reached;
use crate::lanes::remote::wanted::Verdict;
use crate::lanes::wire::{Content, HostId, JobOutcome, JobReply, decode};
use crate::protocol::event::Event;
use crate::workload::Workload;
use crate::workload::job::Trained;
use crate::workload::update::Payload;

impl<W: Workload, B: Broker> Coordinator<W, B> {
    pub(super) async fn take_reply(&mut self, job: JobId, bytes: &Bytes) -> Result<(), String> {
        match decode::<JobReply>(bytes) {
            Ok(reply) if reply.id == job => self.judge(reply).await,
            Ok(_) | Err(_) => {
                self.redone(job, None, "its reply cannot be read".into());
                self.dispatch.refuse(job);
                self.to_forget.insert(job);
                Ok(())
            }
        }
    }

    pub(super) async fn judge(&mut self, reply: JobReply) -> Result<(), String> {
        let is_known = reply.canary == self.settings.canary;
        let is_sound = is_known && !self.distrusted.contains(reply.host.worker());
        let job = reply.id;
        let hosts: Vec<_> = self.hosts.taking_jobs().collect();
        match self.dispatch.judge(&reply, is_sound, &hosts) {
            Verdict::Unwanted => {}
            Verdict::Again => {
                self.explain(&reply, is_known);
                self.to_forget.insert(job);
            }
            Verdict::Verify => {
                self.forget_update(&reply).await;
                self.to_forget.insert(job);
            }
            Verdict::Deliver => self.read_and_deliver(reply, None).await,
            Verdict::Verified(agreement) => self.read_and_deliver(reply, Some(agreement)).await,
            Verdict::Disputed(given) => return Err(disputed(job, &given)),
        }
        Ok(())
    }

    /// Delivers a reply that can be read. `reached`: which hosts gave it, if they were compared.
    async fn read_and_deliver(&mut self, reply: JobReply, reached: Option<Reached>) {
        match self.read(&reply).await {
            Ok(result) => {
                if let Some(reached) = reached {
                    self.verified(reply.id, reached).await;
                }
                self.deliver(reply, result).await;
            }
            Err(reason) => {
                let why = format!("{}: {reason}", describe(&reply));
                self.redone(reply.id, Some(&reply.host), why);
                // Or the next host would find what is damaged, and leave it.
                self.forget_update(&reply).await;
                self.dispatch.refuse(reply.id);
                self.to_forget.insert(reply.id);
            }
        }
    }

    /// Hosts gave results that were compared: who was wrong is believed no more, and leaves.
    async fn verified(&mut self, job: JobId, Reached { right, wrong }: Reached) {
        if right.len() > 1 {
            let names = |hosts: &[HostId]| hosts.iter().map(|host| host.0.clone()).collect();
            self.run.bus.emit(Event::JobVerified {
                round: job.round,
                client: job.client,
                hosts: names(&right),
                wrong: names(&wrong),
            });
        }
        for host in wrong {
            self.dismiss(&host).await;
            self.distrusted.insert(host.worker().to_owned());
        }
    }

    fn explain(&mut self, reply: &JobReply, is_known: bool) {
        let place = describe(reply);
        let reason = match &reply.outcome {
            _ if !is_known => format!("{place}: this host was never admitted"),
            _ if self.distrusted.contains(reply.host.worker()) => {
                format!("{place}: this host gave what others did not")
            }
            JobOutcome::Failed(reason) | JobOutcome::OutOfMemory(reason) => {
                format!("{place}: {reason}")
            }
            JobOutcome::Trained { .. } | JobOutcome::Interrupted => {
                format!("{place}: it started from another state")
            }
        };
        self.redone(reply.id, Some(&reply.host), reason);
    }

    /// The result that a reply tells of.
    async fn read(&self, reply: &JobReply) -> Result<JobResult<W::Update>, String> {
        let (loss, examples, steps, digest, content) = match &reply.outcome {
            JobOutcome::Interrupted => return Ok(Err(JobFailure::Interruption)),
            JobOutcome::Failed(reason) => return Ok(Err(JobFailure::Failed(reason.clone()))),
            JobOutcome::OutOfMemory(reason) => {
                return Ok(Err(JobFailure::OutOfMemory(reason.clone())));
            }
            JobOutcome::Trained {
                loss,
                examples,
                steps,
                digest,
                update,
            } => (*loss, *examples, *steps, digest, update),
        };
        let update: W::Update = match content {
            Content::Inline(piece) => {
                let pieces = std::slice::from_ref(piece);
                W::Update::from_pieces(pieces).map_err(|error| error.to_string())?
            }
            Content::Blobs(name) => self.fetch(name).await?,
        };
        let found = update.digest();
        if found != *digest {
            return Err(format!("its update is {}, not {}", found.0, digest.0));
        }
        let trained = Trained::new(update, loss, examples, steps);
        Ok(Ok((trained, found)))
    }

    async fn fetch<P: Payload>(&self, name: &Digest) -> Result<P, String> {
        let until = Instant::now() + self.settings.timing.silence;
        loop {
            let (mut pieces, most) = (PieceCache::default(), self.settings.largest_update);
            match pieces.fetch(&*self.broker, name, most).await {
                Ok(payload) => return Ok(payload),
                Err(FetchError::Broker(BrokerError::Away(_))) if Instant::now() < until => {
                    time::sleep(self.settings.timing.retry).await;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn deliver(&mut self, reply: JobReply, result: JobResult<W::Update>) {
        let job = reply.id;
        self.forget_update(&reply).await;
        let digest = result.as_ref().ok().map(|(_, digest)| digest.clone());
        let Some((waiting, left)) = self.dispatch.deliver(job, digest) else {
            return;
        };
        let hosts = &self.run.hosts;
        hosts.update(&reply.host.0, |status| status.jobs_done += 1);
        if let Some(order) = left {
            let withdrawn = self.broker.withdraw(order).await;
            self.notice(withdrawn);
        }
        self.run.bus.emit(Event::JobDone {
            round: job.round,
            client: job.client,
            host: reply.host.0,
        });
        // A client that is no longer there has no use for it.
        let _ = waiting.send(JobReport {
            lane: reply.lane,
            seconds: reply.seconds,
            work: reply.work,
            result,
        });
    }

    /// Has the broker forget the blobs of a reply's update.
    async fn forget_update(&self, reply: &JobReply) {
        if let JobOutcome::Trained {
            update: Content::Blobs(name),
            ..
        } = &reply.outcome
        {
            self.forget_parcel(name).await;
        }
    }

    /// Has the broker forget the blobs of an update.
    pub(super) async fn forget_parcel(&self, name: &Digest) {
        if let Err(error) = parcels::forget(&*self.broker, name).await {
            tracing::debug!("blobs of an update stay until the run is over: {error}");
        }
    }

    /// A host did a job that has a reply already. One that was never read here is in the way. Says
    /// whether nobody waits for the job any more.
    pub(super) fn compare(&mut self, host: &HostId, job: JobId, digest: Option<&Digest>) -> bool {
        if self.dispatch.refuse(job) {
            self.to_forget.insert(job);
            return false;
        }
        let Some(first) = self.dispatch.delivered(job) else {
            return true;
        };
        if digest != first {
            let text = |digest: Option<&Digest>| digest.map_or("no update", |d| &d.0).to_owned();
            tracing::error!(
                "client {} in round {} gives {} on {host}, and gave {}: one of the two hosts computes \
                 wrongly",
                job.client,
                job.round,
                text(digest),
                text(first)
            );
        }
        true
    }
}

/// Why a run cannot go on whose hosts give different results.
fn disputed(job: JobId, given: &[(HostId, Digest)]) -> String {
    let given: Vec<_> = given
        .iter()
        .map(|(host, digest)| format!("{} on {host}", digest.0))
        .collect();
    format!(
        "client {} in round {} gives {}, and no other host is there to tell which computes wrongly; \
         nothing of it is in the ledger, and the run can be resumed without the faulty host",
        job.client,
        job.round,
        given.join(", ")
    )
}

fn describe(reply: &JobReply) -> String {
    format!("host {}, lane {}", reply.host, reply.lane.0)
}
