//! Which jobs are asked for, which of them lie in the broker's queue, and whether a reply is to be
//! believed. Holds no connection and no clock.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::oneshot;

use crate::ids::{Digest, JobId, LaneId, RunId};
use crate::lanes::pool::JobReport;
use crate::lanes::remote::verify::{Agreement, Comparison, Reached, VerifiedShare};
use crate::lanes::wire::{HostId, JobOrder, JobOutcome, JobReply};

/// Looks at the queue that must miss a job before it is queued again: one may fall between a
/// reply's arrival in the broker and here.
const LOOKS: u32 = 2;
/// Hosts that may vanish while they do a job before it is taken for the cause.
const DEATHS: usize = 3;
/// Replies that may wait for a job to be asked for. They come from before a coordinator's restart.
const EARLY: usize = 4096;

/// The jobs of a run.
pub(crate) struct Dispatch<U> {
    verified: VerifiedShare,
    jobs: BTreeMap<JobId, Wanted<U>>,
    early: BTreeMap<JobId, JobReply>,
    /// Jobs that the last look found in the queue though nobody waits for them.
    unwanted: BTreeSet<JobId>,
    /// What was delivered lately; `None`: the job gave no update.
    delivered: BTreeMap<JobId, Option<Digest>>,
}

/// A job that somebody waits for.
struct Wanted<U> {
    order: JobOrder,
    reply: oneshot::Sender<JobReport<U>>,
    queued: bool,
    /// The host that was last seen to do it.
    on: Option<HostId>,
    /// Times that it was queued.
    submissions: u32,
    /// Looks at the queue in a row that did not find it.
    absences: u32,
    /// Looks in a row that found it waiting there, and a host that may do it without a job.
    neglected: u32,
    /// Hosts on which it failed.
    failed_on: BTreeSet<HostId>,
    /// Hosts that have no room for it, with what they said.
    no_room: BTreeMap<HostId, String>,
    /// Hosts that vanished while they did it.
    died: BTreeSet<HostId>,
    /// What hosts gave, where more than one is to do it.
    comparison: Option<Comparison>,
    /// Its replies so far, by what tells them apart: a broker may give one twice.
    replies: BTreeSet<(HostId, LaneId, u64)>,
}

impl<U> Wanted<U> {
    /// Whether a host that has done it is there, and can do it again.
    fn can_be_had(&self, hosts: &[&HostId]) -> bool {
        let has = |comparison: &Comparison| hosts.iter().any(|host| comparison.has(host));
        self.comparison.as_ref().is_some_and(has)
    }

    /// Takes a host's result. `hosts` take jobs.
    fn compare(&mut self, host: &HostId, digest: &Digest, hosts: &[&HostId]) -> Verdict {
        let Some(comparison) = &mut self.comparison else {
            return Verdict::Deliver;
        };
        let can = |host: &&&HostId| {
            !self.failed_on.contains(**host) && !self.no_room.contains_key(**host)
        };
        let able = hosts.iter().filter(can).copied();
        match comparison.add(host, digest, able) {
            Agreement::Wanted => {
                self.avoid(host);
                self.queued = false;
                self.on = None;
                Verdict::Verify
            }
            Agreement::Reached(reached) => Verdict::Verified(reached),
            Agreement::Impossible(given) => Verdict::Disputed(given),
        }
    }

    fn avoid(&mut self, host: &HostId) {
        let avoid = &mut self.order.avoid;
        if !avoid.contains(host) {
            avoid.push(host.clone());
        }
    }
}

/// What a reply means.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is the job's.
    Deliver,
    /// Another host is to do the job too.
    Verify,
    /// It is the job's, by what hosts gave.
    Verified(Reached),
    /// Hosts gave different results, and no host is there to tell which is right.
    Disputed(Vec<(HostId, Digest)>),
    /// Nobody waits for it, or it is known.
    Unwanted,
    /// It is not to be believed, or not final: it must be forgotten, so that the job can be queued
    /// again.
    Again,
}

impl<U> Dispatch<U> {
    /// No jobs yet, of which this share is to be done on two hosts.
    pub fn new(verified: VerifiedShare) -> Self {
        Self {
            verified,
            jobs: BTreeMap::new(),
            early: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            delivered: BTreeMap::new(),
        }
    }

    /// A job is asked for. Gives a reply that came before.
    pub fn ask(
        &mut self,
        order: JobOrder,
        reply: oneshot::Sender<JobReport<U>>,
    ) -> Option<JobReply> {
        let id = order.id;
        let early = self.early.remove(&id);
        let wanted = Wanted {
            order,
            reply,
            queued: false,
            on: None,
            submissions: 0,
            absences: 0,
            neglected: 0,
            failed_on: BTreeSet::new(),
            no_room: BTreeMap::new(),
            died: BTreeSet::new(),
            comparison: self.verified.has(id).then(Comparison::default),
            replies: BTreeSet::new(),
        };
        self.jobs.insert(id, wanted);
        early
    }

    /// Nobody waits for a job any more. Says whether somebody did, and it may be queued.
    pub fn cancel(&mut self, job: JobId) -> bool {
        self.jobs
            .remove(&job)
            .is_some_and(|job| job.submissions > 0)
    }

    /// Jobs to queue now, in their order, so that not more than `most` are queued.
    pub fn to_submit(&self, most: usize) -> Vec<JobOrder> {
        let queued = self.jobs.values().filter(|job| job.queued).count();
        let waiting = self.jobs.values().filter(|job| !job.queued);
        let room = most.saturating_sub(queued);
        waiting.take(room).map(|job| job.order.clone()).collect()
    }

    /// A job is queued.
    pub fn submitted(&mut self, job: JobId) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.queued = true;
            job.submissions += 1;
            job.absences = 0;
            job.neglected = 0;
        }
    }

    /// Compares with the jobs that are in the queue or known to be done by some lane. Gives how
    /// many are to be queued again.
    pub fn compare(&mut self, is_there: impl Fn(JobId) -> bool) -> usize {
        let mut lost = 0;
        for (id, job) in self.jobs.iter_mut().filter(|(_, job)| job.queued) {
            if is_there(*id) {
                job.absences = 0;
                continue;
            }
            job.absences += 1;
            if job.absences >= LOOKS {
                job.queued = false;
                lost += 1;
            }
        }
        lost
    }

    /// Gives the jobs that nobody waits for, if the last look found them waiting in the queue as well.
    /// A host that was killed before it said that a job is done leaves it there; the state it starts
    /// from is soon forgotten, so nobody can do it, and it keeps others from the lanes. A job from
    /// before a coordinator's restart may yet be asked for after the first look.
    pub fn unwanted(&mut self, waiting: impl Iterator<Item = JobId>) -> Vec<JobId> {
        let unwanted = waiting.filter(|job| !self.jobs.contains_key(job)).collect();
        let before = std::mem::replace(&mut self.unwanted, unwanted);
        before.intersection(&self.unwanted).copied().collect()
    }

    /// Gives the jobs that waited in the queue at each of the last `looks` looks while one of the hosts
    /// with nothing to do might have done them.
    pub fn neglected(
        &mut self,
        looks: u32,
        waits: impl Fn(JobId) -> bool,
        idle: &[&HostId],
    ) -> Vec<JobId> {
        let mut neglected = Vec::new();
        for (id, job) in self.jobs.iter_mut().filter(|(_, job)| job.queued) {
            let avoid = &job.order.avoid;
            let could = idle.iter().any(|host| !avoid.contains(host));
            job.neglected = if could && waits(*id) {
                job.neglected + 1
            } else {
                0
            };
            if job.neglected >= looks {
                job.neglected = 0;
                neglected.push(*id);
            }
        }
        neglected
    }

    /// The broker lost what it had.
    pub fn queue_lost(&mut self) {
        self.jobs.values_mut().for_each(|job| job.queued = false);
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
        if !is_sound || reply.state != job.order.state {
            job.queued = false;
            return Verdict::Again;
        }
        match &reply.outcome {
            JobOutcome::Trained { digest, .. } => return job.compare(&reply.host, digest, hosts),
            JobOutcome::Interrupted => return Verdict::Deliver,
            // A device may have failed rather than the client: another lane is asked.
            JobOutcome::Failed(_) if !job.failed_on.is_empty() && !job.can_be_had(hosts) => {
                return Verdict::Deliver;
            }
            JobOutcome::Failed(_) => {
                job.failed_on.insert(reply.host.clone());
            }
            JobOutcome::OutOfMemory(reason) => {
                job.no_room.insert(reply.host.clone(), reason.clone());
            }
        }
        job.queued = false;
        if hosts.iter().any(|host| **host != reply.host) {
            job.avoid(&reply.host);
        }
        Verdict::Again
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

    /// Takes a job that has its reply. Gives where the report goes, and whether the job may still
    /// be in the queue.
    pub fn deliver(
        &mut self,
        job: JobId,
        digest: Option<Digest>,
    ) -> Option<(oneshot::Sender<JobReport<U>>, bool)> {
        let wanted = self.jobs.remove(&job)?;
        self.delivered.insert(job, digest);
        Some((wanted.reply, wanted.submissions > 1))
    }

    /// What a job gave, if it was delivered lately.
    pub fn delivered(&self, job: JobId) -> Option<Option<&Digest>> {
        self.delivered.get(&job).map(Option::as_ref)
    }

    /// A reply is not to be had. Says whether somebody waits for the job, which is to be done again.
    pub fn refuse(&mut self, job: JobId) -> bool {
        let Some(job) = self.jobs.get_mut(&job) else {
            return false;
        };
        job.queued = false;
        true
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

    /// A host vanished while it did these jobs. Gives the job that is taken for the cause, if there
    /// is one.
    pub fn host_died(&mut self, host: &HostId, running: &[JobId]) -> Option<JobId> {
        let mut cause = None;
        for id in running {
            let Some(job) = self.jobs.get_mut(id) else {
                continue;
            };
            job.died.insert(host.clone());
            if job.died.len() >= DEATHS {
                cause = Some(*id);
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
    /// Gives these jobs, which have to leave the queue; and a job that no host has room for, with what one
    /// said.
    pub fn unblock(&mut self, hosts: &BTreeSet<HostId>) -> (Vec<JobId>, Option<(JobId, String)>) {
        let (mut again, mut too_large) = (Vec::new(), None);
        for (id, job) in self.jobs.iter_mut().filter(|_| !hosts.is_empty()) {
            if hosts.iter().all(|host| job.no_room.contains_key(host)) {
                let reason = job.no_room.values().next().cloned().unwrap_or_default();
                too_large = too_large.or(Some((*id, reason)));
            }
            let avoid = &mut job.order.avoid;
            if hosts.iter().all(|host| avoid.contains(host)) {
                avoid.retain(|host| job.no_room.contains_key(host));
                job.queued = false;
                again.push(*id);
            }
        }
        (again, too_large)
    }

    /// States that jobs start from which somebody waits for.
    pub fn states(&self) -> impl Iterator<Item = &Digest> {
        self.jobs.values().map(|job| &job.order.state)
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
mod tests {
    use super::*;
    use crate::ids::{ClientId, RunId};
    use crate::protocol::job::JobFaults;

    fn asked(client: u32) -> (Dispatch<()>, JobId) {
        let mut dispatch = Dispatch::new(VerifiedShare::NONE);
        let id = JobId {
            run: RunId(1),
            round: 1,
            client: ClientId(client),
            attempt: 0,
        };
        let order = JobOrder {
            id,
            faults: JobFaults::default(),
            client_name: "c".into(),
            state: Digest::of(b"state"),
            avoid: Vec::new(),
        };
        assert!(dispatch.ask(order, oneshot::channel().0).is_none());
        (dispatch, id)
    }

    #[test]
    fn a_job_that_another_host_has_is_told_to_be_redone_once() {
        let (mut dispatch, job) = asked(1);
        let [a, b] = ["a", "b"].map(|name| HostId(name.into()));
        assert_eq!(dispatch.begun(job, &a), (true, None));
        // Its lease ended, which nobody says.
        assert_eq!(dispatch.begun(job, &b), (true, Some(a.clone())));
        assert!(!dispatch.gave_up(job, Some(&a)), "it was told");
        assert!(dispatch.gave_up(job, Some(&b)));
        assert_eq!(dispatch.begun(job, &a), (true, None));
        dispatch.deliver(job, None);
        assert_eq!(dispatch.begun(job, &b), (false, None));
        assert!(!dispatch.gave_up(job, Some(&a)), "it is done");
    }
}
