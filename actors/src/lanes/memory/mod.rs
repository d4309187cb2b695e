//! A broker in memory, for tests: it can be told to lose, double, delay and reorder what it is given.

mod store;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time;

use crate::ids::{Digest, JobId, RunId};
use crate::lanes::broker::{Audience, Broker, BrokerError, Claim, Delivery, Kept, Lease, Question};
use crate::lanes::memory::store::{Queued, Store};

pub use crate::lanes::memory::store::Mischief;

/// Messages that may wait for a slow reader.
const WAITING: usize = 256;

/// The largest message in bytes, unless said otherwise.
const LARGEST_MESSAGE: usize = 1 << 20;

/// A broker that all its clones lead to.
#[derive(Debug, Clone)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
    line: Line,
}

/// The line to a broker, which can be cut.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<AtomicBool>);

impl Line {
    /// Nothing gets through any more.
    pub fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Everything gets through again.
    pub fn mend(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    changed: watch::Sender<()>,
    notes: [broadcast::Sender<Bytes>; 2],
    mischief: Mischief,
    lease: Duration,
    largest_message: usize,
}

impl MemoryBroker {
    /// A broker whose leases and claims end after `lease`.
    #[must_use]
    pub fn new(lease: Duration, mischief: Mischief) -> Self {
        let shared = Shared {
            store: Mutex::new(Store::new(mischief.seed)),
            changed: watch::Sender::new(()),
            notes: [(); 2].map(|()| broadcast::Sender::new(WAITING)),
            mischief,
            lease,
            largest_message: LARGEST_MESSAGE,
        };
        Self {
            shared: Arc::new(shared),
            line: Line::default(),
        }
    }

    /// The same with messages of at most so many bytes.
    #[must_use]
    pub fn with_largest_message(mut self, bytes: usize) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.largest_message = bytes;
        }
        self
    }

    /// The same broker over a line of its own.
    #[must_use]
    pub fn over(&self, line: &Line) -> Self {
        Self {
            shared: self.shared.clone(),
            line: line.clone(),
        }
    }

    /// Forgets everything, as a broker that lost its disk.
    pub fn forget_all(&self) {
        let mut store = self.store();
        store.prepared = false;
        store.queue.clear();
        store.replies.clear();
        store.blobs.clear();
        store.claim = None;
        drop(store);
        self.shared.changed.send_replace(());
    }

    /// Gives out no job any more, as a queue whose server lost track of it, until it is restarted.
    pub fn stall(&self) {
        self.store().stalled = true;
    }

    /// Keeps jobs that are done in its queue, as if each host were killed before it says that one is.
    pub fn keep_done_jobs(&self) {
        self.store().keeps_done_jobs = true;
    }

    /// How often a job was given out.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.store().deliveries
    }

    /// Who claimed to coordinate last.
    #[must_use]
    pub fn coordinator(&self) -> Option<String> {
        let store = self.store();
        store.claim.as_ref().map(|(holder, _)| holder.clone())
    }

    /// Jobs in the queue, blobs and replies.
    #[must_use]
    pub fn holds(&self) -> (usize, usize, usize) {
        let store = self.store();
        let (queue, blobs) = (store.queue.len(), store.blobs.len());
        (queue, blobs, store.replies.len())
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something happens that has this probability.
    fn draw(&self, probability: f64) -> bool {
        probability > 0.0 && self.store().draws.random_bool(probability)
    }

    /// What may happen to a call before it has its effect, and after.
    async fn trouble(&self) -> Result<(), BrokerError> {
        if self.line.is_cut() {
            return Err(BrokerError::Away("the line is cut".into()));
        }
        let most = self.shared.mischief.delay;
        if !most.is_zero() {
            let part = self.store().draws.random_range(0.0..1.0);
            time::sleep(most.mul_f64(part)).await;
        }
        if self.draw(self.shared.mischief.fail) {
            return Err(BrokerError::Away("as the test wants".into()));
        }
        Ok(())
    }

    fn prepared(&self) -> Result<MutexGuard<'_, Store>, BrokerError> {
        let store = self.store();
        if store.prepared {
            Ok(store)
        } else {
            Err(BrokerError::Missing("store".into()))
        }
    }

    fn notes_to(&self, audience: Audience) -> &broadcast::Sender<Bytes> {
        match audience {
            Audience::Coordinator => &self.shared.notes[0],
            Audience::Hosts => &self.shared.notes[1],
        }
    }

    /// Does something to a job of which this is still the lease.
    fn with_lease(
        &self,
        (job, number): (JobId, u64),
        change: impl FnOnce(&mut Vec<Queued>, usize),
    ) -> Result<(), BrokerError> {
        let mut store = self.prepared()?;
        let is_held = |queued: &Queued| {
            queued.job == job && queued.lease.is_some_and(|(holder, _)| holder == number)
        };
        if let Some(at) = store.queue.iter().position(is_held) {
            change(&mut store.queue, at);
        }
        drop(store);
        self.shared.changed.send_replace(());
        Ok(())
    }
}

impl Broker for MemoryBroker {
    type Lease = MemoryLease;

    async fn prepare(&self) -> Result<bool, BrokerError> {
        self.trouble().await?;
        Ok(!std::mem::replace(&mut self.store().prepared, true))
    }

    async fn clear(&self) -> Result<(), BrokerError> {
        self.forget_all();
        Ok(())
    }

    async fn claim(&self, coordinator: &str) -> Result<Claim, BrokerError> {
        self.trouble().await?;
        let (mut store, now) = (self.store(), Instant::now());
        if let Some((holder, until)) = &store.claim
            && holder != coordinator
            && now < *until
        {
            return Ok(Claim::HeldBy(holder.clone()));
        }
        store.claim = Some((coordinator.to_owned(), now + self.shared.lease));
        Ok(Claim::Granted)
    }

    async fn release(&self, coordinator: &str) -> Result<(), BrokerError> {
        let mut store = self.store();
        store.claim = store
            .claim
            .take()
            .filter(|(holder, _)| holder != coordinator);
        Ok(())
    }

    async fn submit(&self, job: JobId, order: Bytes) -> Result<(), BrokerError> {
        self.trouble().await?;
        let lost = self.draw(self.shared.mischief.lose);
        {
            let queue = &mut self.prepared()?.queue;
            if !lost && !queue.iter().any(|queued| queued.job == job) {
                queue.push(Queued {
                    job,
                    order,
                    times: 0,
                    lease: None,
                });
            }
        }
        self.shared.changed.send_replace(());
        self.trouble().await
    }

    async fn withdraw(&self, job: JobId) -> Result<(), BrokerError> {
        self.trouble().await?;
        self.prepared()?.queue.retain(|queued| queued.job != job);
        Ok(())
    }

    async fn queued(&self) -> Result<BTreeSet<JobId>, BrokerError> {
        self.trouble().await?;
        let store = self.prepared()?;
        Ok(store.queue.iter().map(|queued| queued.job).collect())
    }

    async fn restart_queue(&self) -> Result<(), BrokerError> {
        self.trouble().await?;
        let mut store = self.prepared()?;
        store.stalled = false;
        store
            .queue
            .iter_mut()
            .for_each(|queued| queued.lease = None);
        drop(store);
        self.shared.changed.send_replace(());
        Ok(())
    }

    async fn next_order(&self) -> Result<Option<Delivery<MemoryLease>>, BrokerError> {
        self.trouble().await?;
        let mut changed = self.shared.changed.subscribe();
        let until = Instant::now() + self.shared.lease;
        while Instant::now() < until {
            let taken = self
                .prepared()?
                .take(self.shared.mischief, self.shared.lease);
            if let Some((job, number, order, times)) = taken {
                let lease = MemoryLease {
                    broker: self.clone(),
                    of: (job, number),
                };
                return Ok(Some(Delivery {
                    order,
                    lease,
                    times,
                }));
            }
            // Leases end without a word.
            let ends = self.store().next_end().unwrap_or(until).min(until);
            let _ = time::timeout_at(ends.into(), changed.changed()).await;
        }
        Ok(None)
    }

    async fn reply(&self, job: JobId, reply: Bytes) -> Result<Kept, BrokerError> {
        self.trouble().await?;
        let lost = self.draw(self.shared.mischief.lose);
        let kept = self.prepared()?.keep(job, reply, lost);
        self.shared.changed.send_replace(());
        self.trouble().await?;
        Ok(kept)
    }

    fn replies(&self) -> mpsc::Receiver<(JobId, Bytes)> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (broker, mut last) = (self.clone(), 0);
        tokio::spawn(async move {
            let mut changed = broker.shared.changed.subscribe();
            loop {
                let mut new: Vec<_> = (broker.store().replies.iter())
                    .filter(|(_, (number, _))| *number > last)
                    .map(|(job, (number, reply))| (*number, *job, reply.clone()))
                    .collect();
                new.sort_unstable_by_key(|(number, ..)| *number);
                for (number, job, reply) in new {
                    last = number;
                    let times = if broker.draw(broker.shared.mischief.double) {
                        2
                    } else {
                        1
                    };
                    for _ in 0..times {
                        if sender.send((job, reply.clone())).await.is_err() {
                            return;
                        }
                    }
                }
                tokio::select! {
                    // The broker holds the sender itself.
                    _ = changed.changed() => {}
                    () = sender.closed() => return,
                }
            }
        });
        receiver
    }

    async fn forget_reply(&self, job: JobId) -> Result<(), BrokerError> {
        self.trouble().await?;
        self.store().replies.remove(&job);
        Ok(())
    }

    async fn forget_round(&self, run: RunId, round: u32) -> Result<(), BrokerError> {
        self.trouble().await?;
        let is_other = |job: &JobId| (job.run, job.round) != (run, round);
        self.store().replies.retain(|job, _| is_other(job));
        Ok(())
    }

    async fn put(&self, digest: &Digest, blob: Bytes) -> Result<(), BrokerError> {
        self.trouble().await?;
        let lost = usize::from(self.draw(self.shared.mischief.damage));
        let kept = blob.len().saturating_sub(lost);
        let blobs = &mut self.prepared()?.blobs;
        blobs
            .entry(digest.clone())
            .or_insert_with(|| blob.slice(..kept));
        Ok(())
    }

    async fn get(&self, digest: &Digest, most: u64) -> Result<Option<Bytes>, BrokerError> {
        self.trouble().await?;
        let blob = self.store().blobs.get(digest).cloned();
        let bytes = blob.as_ref().map_or(0, |blob| blob.len() as u64);
        if bytes > most {
            return Err(BrokerError::too_large(digest, bytes, most));
        }
        Ok(blob)
    }

    async fn forget(&self, digest: &Digest) -> Result<(), BrokerError> {
        self.trouble().await?;
        self.store().blobs.remove(digest);
        Ok(())
    }

    async fn tell(&self, audience: Audience, note: Bytes) -> Result<(), BrokerError> {
        self.trouble().await?;
        let mischief = self.shared.mischief;
        if self.draw(mischief.lose) {
            return Ok(());
        }
        let times = if self.draw(mischief.double) { 2 } else { 1 };
        for _ in 0..times {
            // Nobody may be listening.
            let _ = self.notes_to(audience).send(note.clone());
        }
        Ok(())
    }

    fn notes(&self, audience: Audience) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (mut notes, line) = (self.notes_to(audience).subscribe(), self.line.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    note = notes.recv() => match note {
                        Ok(_) if line.is_cut() => {}
                        Ok(note) => if sender.send(note).await.is_err() { return },
                        Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return,
                    },
                    () = sender.closed() => return,
                }
            }
        });
        receiver
    }

    async fn ask(&self, content: Bytes) -> Result<Option<Bytes>, BrokerError> {
        self.trouble().await?;
        let (answer, answered) = oneshot::channel();
        let Some(questions) = self.store().questions.clone() else {
            return Ok(None);
        };
        if questions.send(Question { content, answer }).await.is_err() {
            return Ok(None);
        }
        let answered = time::timeout(self.shared.lease * 4, answered).await;
        Ok(answered.ok().and_then(Result::ok))
    }

    fn questions(&self) -> mpsc::Receiver<Question> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.store().questions = Some(sender);
        receiver
    }

    fn largest_message(&self) -> usize {
        self.shared.largest_message
    }
}

/// A lease of a [`MemoryBroker`].
#[derive(Debug)]
pub struct MemoryLease {
    broker: MemoryBroker,
    of: (JobId, u64),
}

impl Lease for MemoryLease {
    async fn renew(&self) -> Result<(), BrokerError> {
        self.broker.trouble().await?;
        let (number, lease) = (self.of.1, self.broker.shared.lease);
        self.broker.with_lease(self.of, |queue, at| {
            queue[at].lease = Some((number, Instant::now() + lease));
        })
    }

    async fn done(&self) -> Result<(), BrokerError> {
        self.broker.trouble().await?;
        // As with real brokers: what was given out twice is done when one says so.
        let job = self.of.0;
        let mut store = self.broker.prepared()?;
        if !store.keeps_done_jobs {
            store.queue.retain(|queued| queued.job != job);
        }
        Ok(())
    }

    async fn give_back(&self, pause: Duration) -> Result<(), BrokerError> {
        self.broker.trouble().await?;
        let (number, until) = (self.of.1, Instant::now() + pause);
        self.broker.with_lease(self.of, |queue, at| {
            queue[at].lease = (!pause.is_zero()).then_some((number, until));
        })
    }
}
