//! Which jobs are asked for, which of them lie in the broker's queue, and whether a reply is to be
//! believed. Holds no connection and no clock.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

use crate::ids::{Digest, JobId, RunId};
use crate::lanes::pool::JobReport;
use crate::lanes::remote::orders::Orders;
use crate::lanes::remote::verify::VerifiedShare;
use crate::lanes::remote::wanted::{AskedJob, Verdict, Wanted};
use crate::lanes::wire::{HostId, JobOrder, JobReply, OrderedClient};

/// Hosts that may vanish while they do a job before it is taken for the cause.
const DEATHS: usize = 3;
/// Replies that may wait for a job to be asked for. They come from before a coordinator's restart.
const EARLY: usize = 4096;

/// The jobs of a run.
pub(crate) struct Dispatch<U> {
    verified: VerifiedShare,
    jobs: BTreeMap<JobId, Wanted<U>>,
    orders: Orders,
    early: BTreeMap<JobId, JobReply>,
    /// Orders that the last look found in the queue though nobody waits for them.
    unwanted: BTreeSet<JobId>,
    /// What was delivered lately; `None`: the job gave no update.
    delivered: BTreeMap<JobId, Option<Digest>>,
}

impl<U> Dispatch<U> {
    /// No jobs yet, of which this share is to be done on two hosts.
    pub fn new(verified: VerifiedShare) -> Self {
        Self {
            verified,
            jobs: BTreeMap::new(),
            orders: Orders::default(),
            early: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            delivered: BTreeMap::new(),
        }
    }

    /// A job is asked for. Gives a reply that came before.
    pub fn ask(
        &mut self,
        asked: AskedJob,
        reply: oneshot::Sender<JobReport<U>>,
    ) -> Option<JobReply> {
        let id = asked.id;
        let early = self.early.remove(&id);
        let wanted = Wanted::new(asked, reply, self.verified.has(id));
        self.jobs.insert(id, wanted);
        early
    }

    /// Nobody waits for a job any more. Says whether a host may be doing it, and gives the order that is
    /// to leave the queue, if nobody waits for any of its jobs.
    pub fn cancel(&mut self, job: JobId) -> (bool, Option<JobId>) {
        let cancelled = self.jobs.remove(&job);
        let submitted = cancelled.is_some_and(|job| job.submissions > 0);
        (submitted, self.orders.leave(job))
    }

    /// Orders to queue now, in their order, so that not more than `most` are queued. Of a group there is
    /// one at a time: each has the whole group trained.
    pub fn to_submit(&self, most: usize) -> Vec<JobOrder> {
        let room = most.saturating_sub(self.orders.len());
        let mut orders = Vec::new();
        if room == 0 {
            return orders;
        }
        let mut busy: BTreeSet<_> = self.orders.groups().collect();
        for job in self.jobs.values() {
            if orders.len() == room {
                break;
            }
            if busy.insert(job.group()) {
                orders.push(self.order(job));
            }
        }
        orders
    }

    /// The order of a job, and of those of its group that any host may do which may do this one; the
    /// others have to wait for the next.
    fn order(&self, first: &Wanted<U>) -> JobOrder {
        let AskedJob {
            id,
            state,
            together,
            ..
        } = &first.asked;
        let is_for_the_same = |job: &&Wanted<U>| {
            job.group() == first.group() && job.avoid.iter().all(|host| first.avoid.contains(host))
        };
        let clients = together.iter().map(|(client, name)| {
            let job = self.jobs.get(&id.of_client(*client));
            let faults = job.filter(is_for_the_same).map(|job| job.asked.faults);
            OrderedClient(*client, name.clone(), faults)
        });
        JobOrder {
            id: *id,
            state: state.clone(),
            avoid: first.avoid.clone(),
            clients: clients.collect(),
        }
    }

    /// An order is queued.
    pub fn submitted(&mut self, order: &JobOrder) {
        for job in order.jobs() {
            if let Some(job) = self.jobs.get_mut(&job) {
                job.submissions += 1;
            }
        }
        if let Some(first) = self.jobs.get(&order.id) {
            self.orders.add(order, first.group());
        }
    }

    /// The orders that should be in the queue.
    pub fn orders(&mut self) -> &mut Orders {
        &mut self.orders
    }

    /// Gives the orders that nobody waits for, if the last look found them waiting in the queue as well.
    /// A host that was killed before it said that a job is done leaves it there; the state it starts
    /// from is soon forgotten, so nobody can do it, and it keeps others from the lanes. A job from
    /// before a coordinator's restart may yet be asked for after the first look.
    pub fn unwanted(&mut self, waiting: impl Iterator<Item = JobId>) -> Vec<JobId> {
        let is_wanted = |order: &JobId| self.orders.has(*order) || self.jobs.contains_key(order);
        let unwanted = waiting.filter(|order| !is_wanted(order)).collect();
        let before = std::mem::replace(&mut self.unwanted, unwanted);
        before.intersection(&self.unwanted).copied().collect()
    }

    /// Judges a reply, which has to come from a lane with the right canary. `hosts` take jobs.
    pub fn judge(&mut self, reply: &JobReply, is_sound: bool, hosts: &[&HostId]) -> Verdict {
        let Some(job) = self.jobs.get_mut(&reply.id) else {
            return self.unexpected(reply, is_sound);
        };
        let known_by = (reply.host.clone(), reply.lane, reply.seconds.to_bits());
        if !job.replies.insert(known_by) {
            return Verdict::Unwanted;
        }
        let verdict = job.judge(reply, is_sound, hosts);
        if matches!(verdict, Verdict::Again | Verdict::Verify) {
            self.orders.leave(reply.id);
        }
        verdict
    }

    fn unexpected(&mut self, reply: &JobReply, is_sound: bool) -> Verdict {
        if !is_sound {
            return Verdict::Again;
        }
        if !self.delivered.contains_key(&reply.id) && self.early.len() < EARLY {
            self.early.insert(reply.id, reply.clone());
        }
        Verdict::Unwanted
    }

    /// Takes a job that has its reply. Gives where the report goes, and an order that may still be in
    /// the queue though nobody waits for it.
    pub fn deliver(
        &mut self,
        job: JobId,
        digest: Option<Digest>,
    ) -> Option<(oneshot::Sender<JobReport<U>>, Option<JobId>)> {
        let wanted = self.jobs.remove(&job)?;
        self.delivered.insert(job, digest);
        let order = self.orders.leave(job);
        // A lane that replies takes the order out; another may have it since.
        Some((wanted.reply, order.filter(|_| wanted.submissions > 1)))
    }

    /// What a job gave, if it was delivered lately.
    pub fn delivered(&self, job: JobId) -> Option<Option<&Digest>> {
        self.delivered.get(&job).map(Option::as_ref)
    }

    /// A reply is not to be had. Says whether somebody waits for the job, which is to be done again.
    pub fn refuse(&mut self, job: JobId) -> bool {
        self.orders.leave(job);
        self.jobs.contains_key(&job)
    }

    /// Rounds whose replies can be forgotten, now that a job of `round` is asked for and nobody waits
    /// for one of theirs: a resumed run starts from the round before, at the earliest.
    pub fn outdated(&mut self, round: u32) -> BTreeSet<(RunId, u32)> {
        let of = |id: &JobId| (id.run, id.round);
        let wanted: BTreeSet<_> = self.jobs.keys().map(of).collect();
        let is_old = |id: &JobId| id.round + 1 < round && !wanted.contains(&of(id));
        self.early.retain(|id, _| !is_old(id));
        let old = self.delivered.keys().filter(|id| is_old(id));
        let rounds = old.map(of).collect();
        self.delivered.retain(|id, _| !is_old(id));
        rounds
    }

    /// A host vanished while it did these jobs. Gives the first that is taken for the cause, if there
    /// is one.
    pub fn host_died(&mut self, host: &HostId, running: &[JobId]) -> Option<JobId> {
        let mut cause = None;
        for id in running {
            let Some(job) = self.jobs.get_mut(id) else {
                continue;
            };
            job.died.insert(host.clone());
            if job.died.len() >= DEATHS {
                cause = cause.or(Some(*id));
            }
        }
        cause
    }

    /// A host that was taken for dead speaks: no job has killed it.
    pub fn host_lives(&mut self, host: &HostId) {
        for job in self.jobs.values_mut() {
            job.died.remove(host);
        }
    }

    /// Lets any host do the jobs that all of these were to avoid because they failed there, or are done.
    /// Gives the orders of such jobs, which have to leave the queue; and a job that no host has room for,
    /// with what one said.
    pub fn unblock(&mut self, hosts: &BTreeSet<HostId>) -> (Vec<JobId>, Option<(JobId, String)>) {
        let mut too_large = None;
        if hosts.is_empty() {
            return (Vec::new(), too_large);
        }
        for (id, job) in &mut self.jobs {
            if hosts.iter().all(|host| job.no_room.contains_key(host)) {
                let reason = job.no_room.values().next().cloned().unwrap_or_default();
                too_large = too_large.or(Some((*id, reason)));
            }
            if hosts.iter().all(|host| job.avoid.contains(host)) {
                job.avoid.retain(|host| job.no_room.contains_key(host));
            }
        }
        (self.orders.take_blocked(hosts), too_large)
    }

    /// How many clients a job is trained with.
    pub fn others(&self, job: JobId) -> usize {
        let job = self.jobs.get(&job);
        job.map_or(0, |job| job.asked.together.len().saturating_sub(1))
    }

    /// The jobs of an order whose replies are still to come; the one that it is known by if there is no
    /// such order.
    pub fn jobs_of(&self, order: JobId) -> Vec<JobId> {
        match self.orders.has(order) {
            true => self.orders.jobs(order).collect(),
            false => vec![order],
        }
    }

    /// States that jobs start from which somebody waits for.
    pub fn states(&self) -> impl Iterator<Item = &Digest> {
        self.jobs.values().map(|job| &job.asked.state)
    }

    /// A host was seen to do a job. Says whether somebody waits for it, and gives the host that had
    /// it before and was not known to have lost it.
    pub fn begun(&mut self, job: JobId, host: &HostId) -> (bool, Option<HostId>) {
        let Some(job) = self.jobs.get_mut(&job) else {
            return (false, None);
        };
        if job.comparison.as_ref().is_some_and(|it| it.has(host)) {
            // A note that came after its reply, most likely.
            return (true, None);
        }
        let before = job.on.replace(host.clone());
        (true, before.filter(|before| before != host))
    }

    /// A host does a job no more, though it is not done. Says whether that is news: somebody waits
    /// for it, and no other host has it already.
    pub fn gave_up(&mut self, job: JobId, host: Option<&HostId>) -> bool {
        let Some(job) = self.jobs.get_mut(&job) else {
            return false;
        };
        let is_elsewhere = job
            .on
            .as_ref()
            .zip(host)
            .is_some_and(|(on, host)| on != host);
        if !is_elsewhere {
            job.on = None;
        }
        !is_elsewhere
    }

    /// Jobs that somebody waits for.
    pub fn wanted(&self) -> usize {
        self.jobs.len()
    }
}

#[cfg(test)]
mod tests;
