//! The broker between a coordinator and its hosts, of the parts that lie beside this file.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use regatta_actors::ids::{Digest, JobId, RunId};
use regatta_actors::lanes::broker::{
    Audience, Broker, BrokerError, Claim, Delivery, Kept, Question,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::blobs::{Blobs, FolderBlobs, StreamBlobs};
use crate::config::ClusterFile;
use crate::connection::{Connection, ConnectionEvent};
use crate::errors::ConnectError;
use crate::jetstream::JetStream;
use crate::names::{LOOKING_FOR_RUNS, Names};
use crate::queue::JobLease;
use crate::{claim, notes, queue, replies};

/// What a message's subject and headers may take of the server's limit.
const ENVELOPE: usize = 1 << 10;

/// Which run, and how long to wait for what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The run's id: letters, digits, `_` and `-`, 64 of them at most.
    pub run: String,
    /// What the server's list of connections calls this one, for people.
    pub name: String,
    /// How long a job or the right to coordinate is held without being renewed. The coordinator's
    /// counts, when it prepares the run.
    pub lease: Duration,
    /// How long to wait for a job, for an answer to a question, and for the broker itself. A part of
    /// a blob may take four times as long.
    pub wait: Duration,
}

impl Options {
    /// A run's usual options: leases of 10 seconds, waits of 5.
    #[must_use]
    pub fn new(run: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            run: run.into(),
            name: name.into(),
            lease: Duration::from_secs(10),
            wait: Duration::from_secs(5),
        }
    }
}

/// A run's part of a NATS server.
#[derive(Debug)]
pub struct NatsBroker {
    streams: JetStream,
    names: Names,
    blobs: Blobs,
    options: Options,
    invitation: Mutex<Option<AbortHandle>>,
}

impl NatsBroker {
    /// Connects to the broker of a cluster file. After that the connection is made again by itself
    /// whenever it is lost, for ever; `observer` is told, and must not block.
    ///
    /// # Errors
    ///
    /// When nobody answers, or one that will not do; see [`ConnectError`].
    pub async fn connect(
        file: &ClusterFile,
        options: Options,
        observer: impl Fn(ConnectionEvent) + Send + Sync + 'static,
    ) -> Result<Self, ConnectError> {
        let names = Names::new(&options.run).ok_or_else(|| {
            let run = &options.run;
            ConnectError::Settings(format!(
                "{run:?} cannot be a run's id: use 1 to 64 letters, digits, _ and -"
            ))
        })?;
        let connection = Connection::open(file, &options.name, Arc::new(observer)).await?;
        let streams = JetStream::new(connection, options.wait);
        let blobs = match &file.blobs {
            Some(folder) => Blobs::Folder(FolderBlobs::new(folder, &options.run)),
            None => Blobs::Stream(StreamBlobs::new(&streams, &names)),
        };
        Ok(Self {
            streams,
            names,
            blobs,
            options,
            invitation: Mutex::default(),
        })
    }

    /// Tells hosts that look for a run of this one, until the right to coordinate is released.
    ///
    /// Must be called within a runtime.
    pub fn invite(&self) {
        let mut questions = notes::questions(self.connection().clone(), LOOKING_FOR_RUNS.into());
        let run = Bytes::from(self.options.run.clone());
        let inviting = tokio::spawn(async move {
            while let Some(question) = questions.recv().await {
                // A host that no longer waits asks again.
                let _ = question.answer.send(run.clone());
            }
        });
        self.replace_invitation(Some(inviting.abort_handle()));
    }

    fn replace_invitation(&self, new: Option<AbortHandle>) {
        let mut invitation = self
            .invitation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = std::mem::replace(&mut *invitation, new) {
            old.abort();
        }
    }

    /// The run of a coordinator that invites, waited for as long as `wait`.
    ///
    /// # Errors
    ///
    /// When the broker is away, or does not let this host ask.
    pub async fn find_run(
        file: &ClusterFile,
        name: &str,
        wait: Duration,
    ) -> Result<Option<String>, ConnectError> {
        let connection = Connection::open(file, name, Arc::new(|_| {})).await?;
        let answer = notes::ask(&connection, LOOKING_FOR_RUNS, Bytes::new(), wait).await;
        // Whoever is away for a moment is asked again.
        let answer = answer.unwrap_or_default();
        Ok(answer.and_then(|run| String::from_utf8(run.to_vec()).ok()))
    }

    fn connection(&self) -> &Connection {
        self.streams.connection()
    }
}

impl Broker for NatsBroker {
    type Lease = JobLease;

    async fn prepare(&self) -> Result<bool, BrokerError> {
        let Options { lease, .. } = self.options;
        // All of them, whatever was missing.
        let claim = claim::prepare(&self.streams, &self.names, lease).await?;
        let queue = queue::prepare(&self.streams, &self.names, lease).await?;
        let replies = replies::prepare(&self.streams, &self.names).await?;
        let blobs = self.blobs.prepare().await?;
        Ok(claim || queue || replies || blobs)
    }

    async fn clear(&self) -> Result<(), BrokerError> {
        for stream in [self.names.jobs(), self.names.done(), self.names.claim()] {
            self.streams.delete_stream(&stream).await?;
        }
        self.blobs.remove().await
    }

    async fn claim(&self, coordinator: &str) -> Result<Claim, BrokerError> {
        claim::claim(&self.streams, &self.names, coordinator).await
    }

    async fn release(&self, coordinator: &str) -> Result<(), BrokerError> {
        self.replace_invitation(None);
        claim::release(&self.streams, &self.names, coordinator).await
    }

    async fn submit(&self, job: JobId, order: Bytes) -> Result<(), BrokerError> {
        queue::submit(&self.streams, &self.names, job, order).await
    }

    async fn withdraw(&self, job: JobId) -> Result<(), BrokerError> {
        let jobs = self.names.jobs();
        self.streams.purge(&jobs, &self.names.job(job)).await
    }

    async fn queued(&self) -> Result<BTreeSet<JobId>, BrokerError> {
        queue::queued(&self.streams, &self.names).await
    }

    async fn restart_queue(&self) -> Result<(), BrokerError> {
        queue::restart(&self.streams, &self.names, self.options.lease).await
    }

    async fn next_order(&self) -> Result<Option<Delivery<JobLease>>, BrokerError> {
        queue::next_order(&self.streams, &self.names, self.options.wait).await
    }

    async fn reply(&self, job: JobId, reply: Bytes) -> Result<Kept, BrokerError> {
        replies::reply(&self.streams, &self.names, job, reply).await
    }

    fn replies(&self) -> mpsc::Receiver<(JobId, Bytes)> {
        replies::all(self.streams.clone(), &self.names)
    }

    async fn forget_reply(&self, job: JobId) -> Result<(), BrokerError> {
        let done = self.names.done();
        self.streams.purge(&done, &self.names.reply(job)).await
    }

    async fn forget_round(&self, run: RunId, round: u32) -> Result<(), BrokerError> {
        let (done, round) = (self.names.done(), self.names.replies_of(run, round));
        self.streams.purge(&done, &round).await
    }

    async fn put(&self, digest: &Digest, blob: Bytes) -> Result<(), BrokerError> {
        self.blobs.put(digest, blob).await
    }

    async fn get(&self, digest: &Digest, most: u64) -> Result<Option<Bytes>, BrokerError> {
        self.blobs.get(digest, most).await
    }

    async fn forget(&self, digest: &Digest) -> Result<(), BrokerError> {
        self.blobs.forget(digest).await
    }

    async fn tell(&self, audience: Audience, note: Bytes) -> Result<(), BrokerError> {
        let subject = self.names.notes(audience);
        self.connection().publish(&subject, note).await
    }

    fn notes(&self, audience: Audience) -> mpsc::Receiver<Bytes> {
        let subject = self.names.notes(audience);
        notes::notes(self.connection().clone(), subject)
    }

    async fn ask(&self, question: Bytes) -> Result<Option<Bytes>, BrokerError> {
        let subject = self.names.questions();
        notes::ask(self.connection(), &subject, question, self.options.wait).await
    }

    fn questions(&self) -> mpsc::Receiver<Question> {
        notes::questions(self.connection().clone(), self.names.questions())
    }

    fn largest_message(&self) -> usize {
        self.connection().max_payload().saturating_sub(ENVELOPE)
    }
}
