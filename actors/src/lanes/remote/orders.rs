//! The orders that lie in the broker's queue or are being done there, and the jobs whose replies they
//! are to bring.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::JobId;
use crate::lanes::wire::{HostId, JobOrder};

/// Looks at the queue that must miss an order before its jobs are queued again: one may fall between a
/// reply's arrival in the broker and here.
const LOOKS: u32 = 2;

/// Tells the jobs of a group from others: its first client's, and how many there are, for that client
/// may be trained alone at last.
pub(crate) type Group = (JobId, usize);

/// See the module. An order is here as long as somebody waits for a job of it.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    queued: BTreeMap<JobId, QueuedOrder>,
    /// The order of each job.
    of: BTreeMap<JobId, JobId>,
}

/// An order in the queue.
#[derive(Debug)]
struct QueuedOrder {
    group: Group,
    jobs: BTreeSet<JobId>,
    avoid: Vec<HostId>,
    /// Looks at the queue in a row that did not find it.
    absences: u32,
    /// Looks in a row that found it waiting there, and a host that may do it without a job.
    neglected: u32,
}

impl Orders {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.queued.len()
    }

    /// Whether somebody waits for a job of this order.
    pub fn has(&self, order: JobId) -> bool {
        self.queued.contains_key(&order)
    }

    /// The groups of which there is an order.
    pub fn groups(&self) -> impl Iterator<Item = Group> {
        self.queued.values().map(|queued| queued.group)
    }

    /// The jobs of an order whose replies are still to come.
    pub fn jobs(&self, order: JobId) -> impl Iterator<Item = JobId> {
        let queued = self.queued.get(&order);
        queued.into_iter().flat_map(|queued| &queued.jobs).copied()
    }

    /// An order is queued, for jobs of this group.
    pub fn add(&mut self, order: &JobOrder, group: Group) {
        let jobs: BTreeSet<_> = order.jobs().collect();
        self.of.extend(jobs.iter().map(|job| (*job, order.id)));
        let queued = QueuedOrder {
            group,
            jobs,
            avoid: order.avoid.clone(),
            absences: 0,
            neglected: 0,
        };
        self.queued.insert(order.id, queued);
    }

    /// A job is no longer to come by its order: there is a reply, or nobody waits for one. Gives the
    /// order if that was the last of its jobs.
    pub fn leave(&mut self, job: JobId) -> Option<JobId> {
        let order = self.of.remove(&job)?;
        let queued = self.queued.get_mut(&order)?;
        queued.jobs.remove(&job);
        if queued.jobs.is_empty() {
            self.queued.remove(&order);
            return Some(order);
        }
        // A lane is sending the replies, one after the other.
        (queued.absences, queued.neglected) = (0, 0);
        None
    }

    /// An order is not in the queue any more. Gives how many jobs it was to bring.
    fn remove(&mut self, order: JobId) -> usize {
        let Some(queued) = self.queued.remove(&order) else {
            return 0;
        };
        for job in &queued.jobs {
            self.of.remove(job);
        }
        queued.jobs.len()
    }

    /// The queue is lost with all that was in it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Compares with the orders that are in the queue or known to be done by some lane. Gives how many
    /// jobs are to be queued again.
    pub fn compare(&mut self, is_there: impl Fn(JobId) -> bool) -> usize {
        let mut lost = Vec::new();
        for (id, order) in &mut self.queued {
            order.absences = if is_there(*id) { 0 } else { order.absences + 1 };
            if order.absences >= LOOKS {
                lost.push(*id);
            }
        }
        lost.into_iter().map(|order| self.remove(order)).sum()
    }

    /// Gives how many orders waited in the queue at each of the last `looks` looks while one of the
    /// hosts with nothing to do might have done them.
    pub fn neglected(
        &mut self,
        looks: u32,
        waits: impl Fn(JobId) -> bool,
        idle: &[&HostId],
    ) -> usize {
        let mut neglected = 0;
        for (id, order) in &mut self.queued {
            let could = idle.iter().any(|host| !order.avoid.contains(host));
            order.neglected = if could && waits(*id) {
                order.neglected + 1
            } else {
                0
            };
            if order.neglected >= looks {
                order.neglected = 0;
                neglected += 1;
            }
        }
        neglected
    }

    /// Takes out the orders that all of these hosts avoid, and gives them.
    pub fn take_blocked(&mut self, hosts: &BTreeSet<HostId>) -> Vec<JobId> {
        let is_blocked = |order: &QueuedOrder| hosts.iter().all(|host| order.avoid.contains(host));
        let blocked = self.queued.iter().filter(|(_, order)| is_blocked(order));
        let blocked: Vec<JobId> = blocked.map(|(id, _)| *id).collect();
        for order in &blocked {
            self.remove(*order);
        }
        blocked
    }
}
