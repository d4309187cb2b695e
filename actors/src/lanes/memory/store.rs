//! What a broker in memory holds, and what it does wrong with it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;

use crate::ids::{Digest, JobId};
use crate::lanes::broker::{Kept, Question};
use crate::random::Stream;

/// What a broker does wrong, with which probability.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mischief {
    /// A call fails, with or without effect.
    pub fail: f64,
    /// A job, a reply or a note is lost after it was accepted.
    pub lose: f64,
    /// A job, a reply or a note is given out twice.
    pub double: f64,
    /// A blob is stored without its last byte.
    pub damage: f64,
    /// Jobs are not given out in their order.
    pub reorder: bool,
    /// The longest time for which a call is delayed.
    pub delay: Duration,
    /// Keys the draws.
    pub seed: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    /// Whether [`Broker::prepare`](crate::lanes::broker::Broker::prepare) has been called since everything was forgotten.
    pub prepared: bool,
    pub queue: Vec<Queued>,
    /// Whether no job is given out.
    pub stalled: bool,
    /// Whether a job that is done stays in the queue.
    pub keeps_done_jobs: bool,
    pub replies: BTreeMap<JobId, (u64, Bytes)>,
    pub replied: u64,
    pub blobs: HashMap<Digest, Bytes>,
    pub claim: Option<(String, Instant)>,
    pub questions: Option<mpsc::Sender<Question>>,
    pub deliveries: u64,
    pub draws: Stream,
}

#[derive(Debug)]
pub(super) struct Queued {
    pub job: JobId,
    pub order: Bytes,
    pub times: u64,
    /// Who has it, until when.
    pub lease: Option<(u64, Instant)>,
}

impl Store {
    /// Nothing, and draws of this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            prepared: false,
            queue: Vec::new(),
            stalled: false,
            keeps_done_jobs: false,
            replies: BTreeMap::new(),
            replied: 0,
            blobs: HashMap::new(),
            claim: None,
            questions: None,
            deliveries: 0,
            draws: Stream::seed_from_u64(seed),
        }
    }

    /// Keeps the first reply to a job, unless it gets lost.
    pub fn keep(&mut self, job: JobId, reply: Bytes, lost: bool) -> Kept {
        if self.replies.contains_key(&job) {
            return Kept::Duplicate;
        }
        if !lost {
            self.replied += 1;
            self.replies.insert(job, (self.replied, reply));
        }
        Kept::First
    }

    /// When the next lease ends, if it is not renewed.
    pub fn next_end(&self) -> Option<Instant> {
        let now = Instant::now();
        let ends = self.queue.iter().filter_map(|queued| queued.lease);
        ends.map(|(_, end)| end).filter(|end| *end > now).min()
    }

    /// Gives out a job that nobody has.
    pub fn take(
        &mut self,
        mischief: Mischief,
        lease: Duration,
    ) -> Option<(JobId, u64, Bytes, u64)> {
        let now = Instant::now();
        let free = |queued: &Queued| queued.lease.is_none_or(|(_, until)| until <= now);
        let free: Vec<_> = (0..self.queue.len())
            .filter(|at| !self.stalled && free(&self.queue[*at]))
            .collect();
        let at = match free.len() {
            0 => return None,
            _ if !mischief.reorder => free[0],
            many => free[self.draws.random_range(0..many)],
        };
        self.deliveries += 1;
        let number = self.deliveries;
        let doubled = mischief.double > 0.0 && self.draws.random_bool(mischief.double);
        let queued = &mut self.queue[at];
        queued.times += 1;
        // What is given out twice looks as if nobody had it.
        queued.lease = (!doubled).then_some((number, now + lease));
        Some((queued.job, number, queued.order.clone(), queued.times))
    }
}
