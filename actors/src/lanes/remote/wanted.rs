//! A job that somebody waits for, what became of it on the hosts that did it, and whether a reply is to
//! be believed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::ids::{ClientId, Digest, JobId, LaneId};
use crate::lanes::pool::JobReport;
use crate::lanes::remote::orders::Group;
use crate::lanes::remote::verify::{Agreement, Comparison, Reached};
use crate::lanes::wire::{HostId, JobOutcome, JobReply};
use crate::protocol::job::JobFaults;

/// Clients that are trained together, in this order, with their names; or one alone.
pub(crate) type Together = Arc<[(ClientId, Arc<str>)]>;

/// A job as it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct AskedJob {
    pub id: JobId,
    pub faults: JobFaults,
    pub state: Digest,
    /// Its client, and those that it is trained with.
    pub together: Together,
}

/// A job that somebody waits for.
pub(crate) struct Wanted<U> {
    pub asked: AskedJob,
    pub reply: oneshot::Sender<JobReport<U>>,
    /// The host that was last seen to do it.
    pub on: Option<HostId>,
    /// Times that it was queued.
    pub submissions: u32,
    /// Hosts that have no room for it, on which it failed, or that have done it where another is to do
    /// it too.
    pub avoid: Vec<HostId>,
    /// Hosts on which it failed.
    failed_on: BTreeSet<HostId>,
    /// Hosts that have no room for it, with what they said.
    pub no_room: BTreeMap<HostId, String>,
    /// Hosts that vanished while they did it.
    pub died: BTreeSet<HostId>,
    /// What hosts gave, where more than one is to do it.
    pub comparison: Option<Comparison>,
    /// Its replies so far, by what tells them apart: a broker may give one twice.
    pub replies: BTreeSet<(HostId, LaneId, u64)>,
}

impl<U> Wanted<U> {
    /// A job that is asked for, and whether it is verified.
    pub fn new(asked: AskedJob, reply: oneshot::Sender<JobReport<U>>, is_verified: bool) -> Self {
        Self {
            asked,
            reply,
            on: None,
            submissions: 0,
            avoid: Vec::new(),
            failed_on: BTreeSet::new(),
            no_room: BTreeMap::new(),
            died: BTreeSet::new(),
            comparison: is_verified.then(Comparison::default),
            replies: BTreeSet::new(),
        }
    }

    /// The group that it is trained with.
    pub fn group(&self) -> Group {
        let AskedJob { id, together, .. } = &self.asked;
        let first = together.first().map_or(id.client, |(client, _)| *client);
        (id.of_client(first), together.len())
    }

    /// Has the job done alone, as if it was asked for anew: what hosts gave for it with others is not to
    /// be compared with what they give for it alone. `false`: it is done alone already.
    fn train_alone(&mut self) -> bool {
        let AskedJob { id, together, .. } = &mut self.asked;
        if together.len() < 2 {
            return false;
        }
        let own = together.iter().filter(|(client, _)| *client == id.client);
        *together = own.cloned().collect();
        self.avoid.clear();
        self.failed_on.clear();
        self.no_room.clear();
        self.comparison = self.comparison.take().map(|_| Comparison::default());
        true
    }

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
                self.on = None;
                Verdict::Verify
            }
            Agreement::Reached(reached) => Verdict::Verified(reached),
            Agreement::Impossible(given) => Verdict::Disputed(given),
        }
    }

    /// What a reply means that is not known. `hosts` take jobs.
    pub fn judge(&mut self, reply: &JobReply, is_sound: bool, hosts: &[&HostId]) -> Verdict {
        if !is_sound || reply.state != self.asked.state {
            return Verdict::Again;
        }
        match &reply.outcome {
            JobOutcome::Trained { digest, .. } => return self.compare(&reply.host, digest, hosts),
            JobOutcome::Interrupted => return Verdict::Deliver,
            // A device may have failed rather than the client: another lane is asked. A group may
            // have failed for one of its clients alone.
            JobOutcome::Failed(_) if !self.failed_on.is_empty() && !self.can_be_had(hosts) => {
                return match self.train_alone() {
                    true => Verdict::Again,
                    false => Verdict::Deliver,
                };
            }
            JobOutcome::Failed(_) => {
                self.failed_on.insert(reply.host.clone());
            }
            JobOutcome::OutOfMemory(reason) => {
                self.no_room.insert(reply.host.clone(), reason.clone());
            }
        }
        if hosts.iter().any(|host| **host != reply.host) {
            self.avoid(&reply.host);
        }
        Verdict::Again
    }

    fn avoid(&mut self, host: &HostId) {
        if !self.avoid.contains(host) {
            self.avoid.push(host.clone());
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
